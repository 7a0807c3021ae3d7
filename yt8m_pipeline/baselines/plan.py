"""What a training will do, found out before it starts and before TensorFlow is loaded."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata

import numpy as np

from yt8m_pipeline import __version__, files
from yt8m_pipeline.baselines.saved import BEST, CARD, CHECKPOINT, CURVE_FILES, ModelCard
from yt8m_pipeline.baselines.settings import ModelName, Settings, model_name, settings_of
from yt8m_pipeline.baselines.sources import Source, open_source, require_same
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.steps import step_key
from yt8m_pipeline.dataset.typed_json import to_json
from yt8m_pipeline.errors import UsageError, printable
from yt8m_pipeline.jobs.build_folder import require_apart

LOGGER = logging.getLogger(__name__)

REVISION = 1
"""The revision of how models are trained. Whoever changes a bit of the weights of a training raises this number."""

NAMED_CLASSES = 10
"""The number of classes that a warning names."""

DEEP = frozenset[ModelName]({"dbof", "lstm"})
"""The models that have layers before the last: what another model's training can give them."""


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that a training needs to know.

    Attributes:
        model: The model.
        settings: Its settings.
        source: What it reads.
        layout: Where it goes.
        card: What model.json says before the first epoch.
        init_from: The folder of the model whose weights it begins with; None for random ones.
        keeps_classes: Whether the classes of that model are its own.
    """

    model: ModelName
    settings: Settings
    source: Source
    layout: Layout
    card: ModelCard
    init_from: str | None
    keeps_classes: bool

    @property
    def is_done(self) -> bool:
        """Whether the folder holds this very model, finished, with its learning curves, which are written last."""
        found = ModelCard.find(self.layout.root)
        is_whole = all(files.exists(self.layout.path(name)) for name in (BEST, *CURVE_FILES))
        return found is not None and found.is_finished and is_whole


def plan_training(
    model: str,
    dataset: str,
    output: str,
    *,
    features: str | None = None,
    settings: Sequence[str] = (),
    small: bool = False,
    init_from: str | None = None,
) -> TrainingPlan:
    """Looks at everything that a training reads, and at its folder; arguments and errors are those of `train`."""
    name, chosen = model_name(model), settings_of(model, settings, small=small)
    source = open_source(name, dataset, features)
    for read in filter(None, (dataset, features)):
        require_apart(read, output, "A model")
    source.require_videos(Partition.TRAIN, "there is nothing to learn from")
    source.require_videos(Partition.VALIDATE, "after each epoch they decide whether training goes on")
    keeps_classes, taken = (True, None) if init_from is None else _initial(name, source, init_from)
    key = step_key(
        REVISION, name, chosen.model_dump(mode="json"), to_json(source.identity), source.key, taken, __version__
    )
    card = ModelCard(
        model=name,
        settings=chosen.model_dump(mode="json"),
        identity=source.identity,
        dimensions=source.dimensions,
        classes=source.classes,
        key=key,
        history=(),
        best=0,
        warnings=tuple(_warnings(source)),
        versions={name: metadata.version(name) for name in ("tensorflow", "keras")} | {"yt8m_pipeline": __version__},
    )
    layout = Layout(output)
    _require_own_folder(layout, card)
    return TrainingPlan(name, chosen, source, layout, card, init_from, keeps_classes)


def _initial(model: ModelName, source: Source, init_from: str) -> tuple[bool, str]:
    """Whether another model has the classes of this training, and the digest of its weights."""
    card = ModelCard.of(init_from)
    if card.name != model:
        raise UsageError(
            what="The other model is of another kind",
            where=f"--init-from {init_from}",
            why=f"it is {card.name}, and {model} is to be trained",
            fix=f"give the folder of a {model}",
        )
    require_same(card.identity, source.identity, init_from, source.dataset.layout.root, but=["vocabulary"])
    keeps_classes = card.identity.vocabulary == source.identity.vocabulary
    if not keeps_classes and model not in DEEP:
        raise UsageError(
            what="Nothing of the other model can be taken",
            where=f"--init-from {init_from}",
            why=f"the only layer of {model} has the weights of the classes, and the classes are others",
            fix=f"leave --init-from out, or train one of {', '.join(sorted(DEEP))}",
        )
    return keeps_classes, files.sha256(files.join(init_from, BEST))


def _warnings(source: Source) -> list[str]:
    """What who uses the model should know: classes that it cannot learn."""
    missing = np.flatnonzero(source.train_counts() == 0)
    if not len(missing):
        return []
    names = source.dataset.classes
    named = ", ".join(names[index] for index in missing[:NAMED_CLASSES])
    more = f" and {len(missing) - NAMED_CLASSES} more" if len(missing) > NAMED_CLASSES else ""
    text = f"{len(missing)} of {source.classes} classes have no train video, and are not learnt: {named}{more}"
    LOGGER.warning(printable(text))
    return [text]


def _require_own_folder(layout: Layout, card: ModelCard) -> None:
    """Raises a UsageError if the folder has anything in it but this training, finished or not."""
    found = ModelCard.find(layout.root)
    if found is not None and found.key != card.key:
        differing = [name for name in ("model", "settings", "identity") if getattr(found, name) != getattr(card, name)]
        raise UsageError(
            what="The folder has another model",
            where=layout.root,
            why=f"it was trained with another {' and '.join(differing) or 'dataset, --init-from or version'}",
            fix="give a new folder with --output",
        )
    names = [name for name in files.list_files(layout.root) if not layout.is_beginning(name)]
    is_file = files.exists(layout.root)
    if found is None and (is_file or (names and CHECKPOINT not in names)):
        raise UsageError(
            what="The output is not the folder of a model",
            where=layout.root,
            why="it is a file" if is_file else f"it holds {names[0]} and has no {CARD}",
            fix="give a new or empty folder with --output",
        )
