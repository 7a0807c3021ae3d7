"""What a results page says, as values: the page in each of its formats is a function of these, and of nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isnan
from typing import Any

from yt8m_pipeline.baselines.history import Epoch
from yt8m_pipeline.evaluation.bootstrap import Sampled

FORMAT = 1
"""The number of the format of results.json."""


@dataclass(frozen=True)
class Measured:
    """A figure with its bootstrap interval; None for what is not known.

    Attributes:
        value: In [0, 1]; a difference is in [-1, 1].
        low: The lower end of the 95 % interval; None without a bootstrap.
        high: The upper end.
    """

    value: float | None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, metric: Sampled) -> "Measured":
        return cls(known(metric.value), *map(known, metric.interval))


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        model: The name of the model, by which `Facts.models` tells how it was made.
        labels: The texts of the first columns.
        values: Our figures by the name of the metric; {} where there are none.
        papers: The figures of each of the table's papers, by the name of the metric.
        why: Why there are no figures of ours.
    """

    model: str
    labels: tuple[str, ...]
    values: Mapping[str, Measured]
    papers: tuple[Mapping[str, float], ...] = ()
    why: str | None = None


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Attributes:
        name: Its name in results.csv, such as table-3.
        title: The text above it.
        note: What a reader must know of it.
        heads: The heads of the first columns.
        metrics: The names of the metrics, in the order of the columns.
        papers: What the paper's figures are of, such as YouTube-8M; () where the paper has none.
        rows: The rows.
        is_difference: Whether the figures are differences, which are shown with their sign, in percentage points.
    """

    name: str
    title: str
    note: str
    heads: tuple[str, ...]
    metrics: tuple[str, ...]
    papers: tuple[str, ...]
    rows: tuple[Row, ...]
    is_difference: bool = False


@dataclass(frozen=True)
class Bin:
    """A bin of a reliability diagram, as `evaluation.calibration.Calibration` has them."""

    predictions: int
    score: float | None
    frequency: float | None


@dataclass(frozen=True)
class Model:
    """A model that was trained, and what its table rows do not say.

    Attributes:
        name: Its name on the page, and that of its folder.
        inputs: What it is trained on.
        settings: Its settings by name.
        epochs: The history of its training.
        best_epoch: The number of the epoch that was kept.
        average_precisions: The average precision of each class; None for a class without positives.
        calibration: Its reliability diagram.
        calibration_error: Its expected calibration error.
        why: Why it has no results.
    """

    name: str
    inputs: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    epochs: tuple[Epoch, ...] = ()
    best_epoch: int | None = None
    average_precisions: tuple[float | None, ...] = ()
    calibration: tuple[Bin, ...] = ()
    calibration_error: float | None = None
    why: str | None = None


@dataclass(frozen=True)
class Class:
    """A class of the vocabulary.

    Attributes:
        name: Its name; its entity id where it has none.
        entity_id: Its entity id.
        train_videos: The number of train videos that it labels.
        positives: The number of videos that it labels among those that the models are evaluated on.
    """

    name: str
    entity_id: str
    train_videos: int
    positives: int


@dataclass(frozen=True)
class Confused:
    """A class that is taken for another, by their names, and the number of videos."""

    label: str
    predicted: str
    videos: int


@dataclass(frozen=True)
class Guess:
    """A predicted class by its name, and its score."""

    name: str
    score: float


@dataclass(frozen=True)
class Looked:
    """A video to look at, beside what is predicted of it, best first."""

    video_id: str
    labels: tuple[str, ...]
    guesses: tuple[Guess, ...]


@dataclass(frozen=True)
class Facts:
    """All that a results page says.

    Attributes:
        format: The number of this format.
        dataset: The name of the dataset, which is that of its folder.
        build_key: The key of its build.
        partition: The partition that the models are evaluated on.
        videos: The number of videos of each partition.
        samples: The number of bootstrap samples.
        command: The command that makes the page.
        versions: The versions of the programs.
        warnings: What a reader must know before he believes the figures.
        classes: The classes, in the order of their label indices.
        tables: The tables of figures.
        models: The models in the order of their rows.
        best: The name of the model that confusions and examples are of; None where none was evaluated.
        confusions: Its most frequent confusions.
        right: Videos of which it is surest, and right.
        wrong: Videos of which it is surest, and wrong.
        seconds: How long each part took, by its name.
    """

    format: int
    dataset: str
    build_key: str
    partition: str
    videos: Mapping[str, int]
    samples: int
    command: str
    versions: Mapping[str, str]
    warnings: tuple[str, ...]
    classes: tuple[Class, ...]
    tables: tuple[Table, ...]
    models: tuple[Model, ...]
    best: str | None
    confusions: tuple[Confused, ...]
    right: tuple[Looked, ...]
    wrong: tuple[Looked, ...]
    seconds: Mapping[str, float]

    @property
    def benchmarked(self) -> list[Model]:
        """The models of the first table that have results: those that the pictures of classes and scores show."""
        names = {row.model for table in self.tables[:1] for row in table.rows}
        return [model for model in self.models if model.name in names and model.why is None]


def known(value: float) -> float | None:
    """The value; None in place of NaN, which JSON has no word for."""
    return None if isnan(value) else float(value)
