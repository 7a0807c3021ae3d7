"""Which feature sets and models a results page needs, and which rows they stand in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.results import paper
from yt8m_pipeline.results.paper import UNKNOWN, Figures

MODELS = ("frame_logistic", "dbof", "lstm", "hinge", "logistic", "moe")
"""The models of the paper's section 4, in its order."""

COMPRESSED_MODELS = ("logistic", "moe")
"""The models that are compared on compressed features: those of Table 3 whose loss is a likelihood."""

MU, ALL = "mu", "mu+sigma+top5"


@dataclass(frozen=True)
class FeatureSet:
    """A feature set to make (paper §4.2).

    Attributes:
        name: The name of its folder.
        blocks: The blocks of phi; "" for the states of a model.
        space: relu or pca.
        is_exact: Whether phi is computed from the feature store, and not from the codes of the dataset.
        of_other: Whether it is of the dataset that is transferred to.
        like: The feature set whose PCA is taken in place of one of its own.
        states_of: The model whose states at the last frame are the features.
    """

    name: str
    blocks: str
    space: str = "relu"
    is_exact: bool = False
    of_other: bool = False
    like: "FeatureSet | None" = None
    states_of: "TrainedModel | None" = None

    @property
    def told(self) -> str:
        """What it is, in words."""
        if self.states_of:
            return f"states of {self.states_of.name} at the last frame"
        source = "uncompressed features" if self.is_exact else "codes"
        learnt = f", PCA of {self.like.name}" if self.like else ""
        return f"[{'; '.join(self.blocks.split('+'))}] of {source}, {self.space} space{learnt}"


@dataclass(frozen=True)
class TrainedModel:
    """A model to train.

    Attributes:
        name: The name of its folder.
        model: One of `MODELS`.
        features: The feature set that it is trained on; None for the frames of the dataset.
        of_other: Whether it is trained on the dataset that is transferred to.
        init_from: The model whose weights it starts from.
    """

    name: str
    model: str
    features: FeatureSet | None = None
    of_other: bool = False
    init_from: "TrainedModel | None" = None

    @property
    def told(self) -> str:
        """What it is trained on, in words."""
        start = f", from the weights of {self.init_from.name}" if self.init_from else ""
        return (self.features.told if self.features else "frames of codes") + start

    @property
    def kinds(self) -> set[str]:
        """Which of `MODELS` are trained for it: itself, and those that it goes on from."""
        before = [self.init_from, self.features.states_of if self.features else None]
        return {self.model}.union(*(model.kinds for model in before if model))


@dataclass(frozen=True)
class PlannedRow:
    """A row of a table: its model, the texts of its first columns, and the figures of each of the table's papers."""

    model: TrainedModel
    labels: tuple[str, ...]
    papers: tuple[Figures, ...] = ()


@dataclass(frozen=True)
class PlannedTables:
    """The rows of each table; () for a table that is not asked for.

    Attributes:
        benchmarks: The rows of Table 3.
        rated: The rows of Table 4.
        compression: The same models on full features, float PCA and codes, in this order.
        transfer: The rows of Table 5.
    """

    benchmarks: tuple[PlannedRow, ...]
    rated: tuple[PlannedRow, ...]
    compression: tuple[PlannedRow, ...]
    transfer: tuple[PlannedRow, ...]

    @property
    def models(self) -> list[TrainedModel]:
        """All models, each once, in the order of the tables."""
        rows = (*self.benchmarks, *self.compression, *self.transfer)
        return list({row.model.name: row.model for row in rows}.values())


def plan_tables(
    models: Sequence[str] = MODELS, *, has_store: bool = False, compression: bool = False, transfer: bool = False
) -> PlannedTables:
    """Plans the tables of the models that are asked for.

    Args:
        models: Names out of `MODELS`.
        has_store: Whether there is a feature store to compute phi from.
        compression: Whether models on full and on compressed features are compared.
        transfer: Whether there is another dataset, to which what is learnt here is transferred.

    Raises:
        UsageError: there is no such model, or no store to compare with.
    """
    unknown = [name for name in models if name not in MODELS]
    if unknown or not models:
        raise UsageError(
            what="There is no such model",
            where="--models",
            why=f"{unknown[0]!r} is none of them" if unknown else "none is named",
            fix=f"name some of {', '.join(MODELS)}",
        )
    if compression and not has_store:
        raise UsageError(
            what="There are no uncompressed features to compare with",
            where="--compression",
            why="they are in the feature store, and none is given",
            fix="give the store that the dataset was built from with --store, or leave --compression out",
        )
    benchmarks = tuple(row for row in _benchmarks(has_store) if row.model.model in models)
    rated = tuple(
        PlannedRow(row.model, row.labels[1:] + row.labels[:1], (paper.TABLE_4.get(row.model.name, UNKNOWN),))
        for row in benchmarks
    )
    chosen = [name for name in COMPRESSED_MODELS if name in models]
    return PlannedTables(
        benchmarks,
        rated,
        tuple(row for name in chosen for row in _compression(name)) if compression else (),
        tuple(row for row in _transfer(has_store) if row.model.kinds <= {*models}) if transfer else (),
    )


def _features(blocks: str, *, has_store: bool) -> FeatureSet:
    return FeatureSet(blocks, blocks, is_exact=has_store)


def _benchmarks(has_store: bool) -> Iterator[PlannedRow]:
    frames, mu, everything = "Frame-level", "Video-level, μ", "Video-level, [μ; σ; Top5]"
    of_blocks = partial(_features, has_store=has_store)
    for model, labels in (
        (TrainedModel("frame_logistic", "frame_logistic"), (frames, "Logistic + Average (4.1.1)")),
        (TrainedModel("dbof", "dbof"), (frames, "Deep Bag of Frames (4.1.2)")),
        (TrainedModel("lstm", "lstm"), (frames, "LSTM (4.1.3)")),
        (TrainedModel("hinge-mu", "hinge", of_blocks(MU)), (mu, "Hinge loss (4.3)")),
        (TrainedModel("logistic-mu", "logistic", of_blocks(MU)), (mu, "Logistic Regression (4.3)")),
        (TrainedModel("moe-mu", "moe", of_blocks(MU)), (mu, "Mixture-of-2-Experts (4.3)")),
        (TrainedModel(f"moe-{ALL}", "moe", of_blocks(ALL)), (everything, "Mixture-of-2-Experts (4.3)")),
    ):
        yield PlannedRow(model, labels, (paper.TABLE_3[model.name],))


def _compression(model: str) -> Iterator[PlannedRow]:
    """The model on the mean of a video's frames: full, through the float PCA, and through its codes (§3.3)."""
    approach = {"logistic": "Logistic Regression, μ", "moe": "Mixture-of-2-Experts, μ"}[model]
    for features, source in (
        (_features(MU, has_store=True), "full size"),
        (FeatureSet(f"{MU}-float-pca", MU, "pca", is_exact=True), "PCA, not quantized"),
        (FeatureSet(f"{MU}-codes", MU, "pca"), "PCA and codes"),
    ):
        yield PlannedRow(TrainedModel(f"{model}-{features.name}", model, features), (approach, source))


def _transfer(has_store: bool) -> Iterator[PlannedRow]:
    """What is learnt on the dataset, tried on another (§5.3, §5.4). Of the other there are codes alone."""
    lstm = TrainedModel("lstm", "lstm")
    states = FeatureSet("transfer-lstm-states", "", of_other=True, states_of=lstm)
    yield _on_other("logistic-mu", "logistic", "Logistic Regression (μ)", _of_other(MU))
    for blocks, title in ((MU, "μ"), (ALL, "[μ; σ; Top5]")):
        yield _on_other(f"moe-{blocks}", "moe", f"Mixture-of-2-Experts ({title})", _of_other(blocks))
        like = _features(blocks, has_store=has_store)
        yield _on_other(f"moe-{blocks}-transferred", "moe", "with the PCA learnt here", _of_other(blocks, like))
    yield _on_other("lstm", "lstm", "LSTM", None)
    yield _on_other("lstm-fine-tuned", "lstm", "with the weights learnt here, fine-tuned", None, lstm)
    yield _on_other(
        "lstm-states", "logistic", "with the weights learnt here, states at the last frame as features", states
    )


def _of_other(blocks: str, like: FeatureSet | None = None) -> FeatureSet:
    name = f"transfer-{blocks}" + ("-transferred" if like else "")
    return FeatureSet(name, blocks, of_other=True, like=like)


def _on_other(
    name: str, model: str, label: str, features: FeatureSet | None, init_from: TrainedModel | None = None
) -> PlannedRow:
    trained = TrainedModel(f"transfer-{name}", model, features, of_other=True, init_from=init_from)
    papers = (paper.SPORTS_1M.get(name, UNKNOWN), paper.ACTIVITY_NET.get(name, UNKNOWN))
    return PlannedRow(trained, (label,), papers)
