"""What `yt8m features` will do, found out before it starts: what vectors are made of, and which PCA makes them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from yt8m_pipeline import __version__, files
from yt8m_pipeline.compression.pca import FRAMES_PER_COMPONENT, Fitted, components_for, require_enough
from yt8m_pipeline.config import RelativeEpsilon
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import Manifest
from yt8m_pipeline.dataset.reader import FinishedDataset, open_dataset
from yt8m_pipeline.dataset.steps import FileEntry, step_key
from yt8m_pipeline.dataset.typed_json import to_json
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.jobs.build_folder import require_apart
from yt8m_pipeline.jobs.export_plan import require_store
from yt8m_pipeline.jobs.journal import Journal
from yt8m_pipeline.jobs.listed_folder import is_whole, require_own_list
from yt8m_pipeline.store.feature_store import FeatureStore
from yt8m_pipeline.video_level.feature_list import FORMAT, LIST, FeatureList
from yt8m_pipeline.video_level.feature_set import FeatureSet, open_features
from yt8m_pipeline.video_level.names import Blocks, Source, Space
from yt8m_pipeline.video_level.statistics import PARTS, TOP, length

REVISION = 1
"""The revision of the vectors and of what is written of them. Whoever changes a byte of it raises this number."""

WHITENING = RelativeEpsilon().relative
"""What is added to the eigenvalues, as a share of the smallest one kept: as for the PCA of frames. The paper has none
(§4.2.2); without any, a component without variance would be divided by zero."""

VECTORS = Fitted("videos", "--components", None)
"""The PCA is fitted to φ of the train videos, as its errors say it."""

INCOMPARABLE = ("feature_space", "space", "blocks", "top", "described")
"""What two feature sets must share, in their lists, for one PCA to serve both."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a user wants of a dataset.

    Attributes:
        store: The feature store that it was built from; None: its codes are read.
        space: The features of frames that φ is computed of; None: the network's own.
        blocks: The parts of φ; None: all.
        top: The number of largest values of each feature; None: five, as in the paper (§4.2.1).
        components: The number of values of a vector; None: decided by the number of train videos.
        like: A feature set whose PCA is taken; None: it is fitted.
        model: A trained LSTM, whose states at the last frame are taken in place of φ (paper §4.1.3).
    """

    store: str | None = None
    space: Space | None = None
    blocks: Blocks | None = None
    top: int | None = None
    components: int | None = None
    like: str | None = None
    model: str | None = None

    def __post_init__(self) -> None:
        """Refuses choices that exclude each other.

        Raises:
            UsageError: if one choice has no meaning beside another, or there are fewer than one component.
        """
        names: dict[str, object] = {"--store": self.store, "--space": self.space, "--blocks": self.blocks}
        names |= {"--top": self.top, "--components": self.components, "--like": self.like}
        needless = [name for name, value in names.items() if value is not None]
        if self.model and needless:
            why = "the states of a model come from the codes that it was trained on, and have no blocks and no PCA"
            raise _excluded("--from", needless[0], why)
        if self.like and self.components is not None:
            raise _excluded("--like", "--components", "the PCA of the other features has its own number of components")
        if self.top is not None and "top" not in PARTS[self.described]:
            raise _excluded("--blocks", "--top", f"{self.described.value} has no largest values")
        for option, number in (("--components", self.components), ("--top", self.top)):
            if number is not None and number < 1:
                raise UsageError(
                    what="A vector needs a value",
                    where=option,
                    why=f"it is {number}",
                    fix="give 1 or more, or leave it out",
                )

    @property
    def described(self) -> Blocks:
        """The parts of φ."""
        return self.blocks or Blocks.MU_SIGMA_TOP5


def _excluded(option: str, needless: str, why: str) -> UsageError:
    fix = f"leave {needless} out, or {option}"
    return UsageError(what=f"{option} takes no {needless}", where="yt8m features", why=why, fix=fix)


@dataclass(frozen=True, slots=True)
class FeaturesPlan:
    """Everything that the steps need to know. It is small, since every one of them gets it.

    Attributes:
        dataset: The finished dataset. It travels as its path, and each worker opens it once.
        videos: Its videos.parquet.
        vocabulary: Its vocabulary.csv.
        counts: The number of videos of each partition.
        published: The partitions whose labels are not withheld.
        store: The feature store; None: the codes are read.
        like: The features whose PCA is taken; None: it is fitted.
        model: The folder of the model whose states are taken; None: φ is computed.
        layout: Where the features go.
        told: What the list says of them, but for its PCA and its files.
    """

    dataset: FinishedDataset
    videos: FileEntry
    vocabulary: FileEntry
    counts: Mapping[Partition, int]
    published: frozenset[Partition]
    store: FeatureStore | None
    like: FeatureSet | None
    model: str | None
    layout: Layout
    told: FeatureList

    @property
    def sizes(self) -> dict[Partition, int]:
        """How many shards each partition has."""
        return {part: len(self.dataset.shards("frame", part)) for part in Partition}

    @property
    def number_of_videos(self) -> int:
        return sum(self.counts.values())

    @property
    def by_gram(self) -> bool:
        """Whether the PCA is fitted by the Gram matrix of the train videos: where it is smaller than the covariance."""
        return self.counts[Partition.TRAIN] < self.told.described

    @property
    def is_fitted(self) -> bool:
        """Whether a PCA is fitted: that of other features is taken, and the states of a model have none."""
        return self.like is None and self.model is None

    @property
    def journal(self) -> Journal:
        return Journal(self.layout)

    @property
    def is_done(self) -> bool:
        """Whether the folder holds these very features, finished, with no listed file gone."""
        found = FeatureList.find(self.layout.root)
        return bool(found and found.key == self.told.key and is_whole(self.layout, found.files))


def plan_features(dataset: str, output: str, wanted: Wanted) -> FeaturesPlan:
    """Looks at the dataset, the store and the output folder; the errors are those of `jobs.features.features`."""
    opened = open_dataset(dataset)
    require_apart(dataset, output, "A feature set")
    manifest = Manifest.of(opened.layout)
    store = require_store(wanted.store, manifest.feature_space.fingerprint) if wanted.store else None
    like = open_features(wanted.like) if wanted.like else None
    told = _of_states(opened, manifest, wanted.model) if wanted.model else _of_phi(opened, manifest, wanted, like)
    told = replace(told, key=_key(told, manifest, like))
    layout, found = Layout(output), FeatureList.find(output)
    require_own_list(layout, LIST, "these features", is_other=bool(found and found.key != told.key))
    return FeaturesPlan(
        opened,
        _entry(manifest, Layout.VIDEOS),
        _entry(manifest, Layout.VOCABULARY),
        {part: row.videos for part, row in manifest.partitions.items()},
        manifest.published,
        store,
        like,
        wanted.model,
        layout,
        told,
    )


def _entry(manifest: Manifest, path: str) -> FileEntry:
    return next(file for file in manifest.tables if file.path == path)


def _of_phi(opened: FinishedDataset, manifest: Manifest, wanted: Wanted, like: FeatureSet | None) -> FeatureList:
    """What the list will say of φ, but for its key, its PCA and its files."""
    space, blocks = wanted.space or Space.RELU, wanted.described
    top = (wanted.top or TOP) if "top" in PARTS[blocks] else 0
    described = length(_dimensions(opened, space), PARTS[blocks], top)
    source = Source.STORE if wanted.store else Source.CODES
    told = replace(_planned(manifest, source, described), space=space, blocks=blocks, top=top)
    train = manifest.partitions[Partition.TRAIN].videos
    if like:
        _require_like(told, like)
    dimensions = like.dimensions if like else wanted.components or min(components_for(train), described)
    if not like:
        require_enough((train, described), dimensions, VECTORS)
    return replace(told, dimensions=dimensions, warnings=tuple(_warnings(told, train, dimensions, like)))


def _of_states(opened: FinishedDataset, manifest: Manifest, model: str) -> FeatureList:
    """What the list will say of the states of a model, but for its key and its files."""
    from yt8m_pipeline.baselines.saved import BEST  # noqa: PLC0415  a model: only where there is one
    from yt8m_pipeline.baselines.sources import open_source, require_same  # noqa: PLC0415
    from yt8m_pipeline.baselines.states import open_states  # noqa: PLC0415

    states = open_states(model)
    dataset = opened.layout.root
    require_same(states.identity, open_source("lstm", dataset).identity, model, dataset, but=["vocabulary"])
    weights = files.sha256(files.join(model, BEST))
    return replace(_planned(manifest, Source.STATES, states.dimensions), model=weights)


def _planned(manifest: Manifest, source: Source, described: int) -> FeatureList:
    return FeatureList(
        format=FORMAT,
        version=__version__,
        key="",
        build_key=manifest.build_key,
        feature_space=manifest.feature_space.fingerprint,
        frame_pca=manifest.pca.facts.fingerprint,
        source=source,
        space=None,
        blocks=None,
        top=0,
        described=described,
        dimensions=described,
        pca=None,
        model=None,
        warnings=(),
        files=(),
    )


def _dimensions(opened: FinishedDataset, space: Space) -> int:
    """The number of features of a frame. The network's own are as many as the PCA of the dataset takes."""
    return opened.dimensions if space is Space.PCA else len(opened.pca.mean)


def _require_like(told: FeatureList, like: FeatureSet) -> None:
    """Refuses a feature set whose φ is another one, so that its PCA means nothing here."""
    shared = (*INCOMPARABLE, *(("frame_pca",) if told.space is Space.PCA else ()))
    differing = [name for name in shared if getattr(told, name) != getattr(like.told, name)]
    if differing:
        here, there = (getattr(found, differing[0]) for found in (told, like.told))
        raise UsageError(
            what="The other features are of another kind",
            where=like.layout.root,
            why=f"their {', '.join(differing)} differ: {differing[0]} is {there} there, and {here} here",
            fix="give features of the same network, --space and --blocks with --like, or leave it out to fit a PCA",
        )


def _key(told: FeatureList, manifest: Manifest, like: FeatureSet | None) -> str:
    """A digest of everything that the bytes of the vectors depend on."""
    pca = like.told.identity["pca"] if like else WHITENING
    codes = [row.file for row in manifest.shards if row.level == "frame" and told.source is not Source.STORE]
    tables = [_entry(manifest, path) for path in (Layout.VIDEOS, Layout.VOCABULARY)]
    fitted = [*manifest.pca.files, *manifest.quantizer.files]
    read = sorted((file.path, file.sha256) for file in (*fitted, *tables, *codes))
    return step_key(REVISION, to_json(told), pca, sorted(manifest.published), read)


def _warnings(told: FeatureList, train: int, components: int, like: FeatureSet | None) -> Iterator[str]:
    if like and like.told.source != told.source:
        yield (
            f"the PCA was fitted to vectors from {like.told.source.value}, and these are from {told.source.value}: "
            "they differ by what compression loses"
        )
    if components == 1:
        yield (
            "a vector has one component, of which only the sign is left when its length is made 1: give more with "
            "--components, or more train videos"
        )
    elif not like and train < FRAMES_PER_COMPONENT * components:
        yield (
            f"{components} components were fitted to {train} train videos: with fewer than {FRAMES_PER_COMPONENT} for "
            "each, the last ones are noise, and whitening makes them as large as the first"
        )
