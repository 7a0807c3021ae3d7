"""How good predictions are for a partition of a dataset: all metrics, each class, and what was not predicted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from yt8m_pipeline import files
from yt8m_pipeline.accounting.outcome import BoolArray
from yt8m_pipeline.chance import salted_hashes
from yt8m_pipeline.data_model import Float64Array, Int64Array, Partition
from yt8m_pipeline.dataset.index import read_parquet
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.reader import FinishedDataset, open_dataset
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.evaluation.batch import Batch
from yt8m_pipeline.evaluation.metrics import Evaluation
from yt8m_pipeline.evaluation.predictions import SCORES_AT_ONCE, read_predictions

SHOWN_IDS = 10
"""The number of ids of unknown or missing videos that a report names."""

INTERVAL = 0.95
"""The confidence of the intervals: 2.5 % of the samples are below, and 2.5 % above."""


@dataclass(frozen=True)
class Report:
    """How good predictions are.

    Attributes:
        evaluation: The metrics of all videos of the partition.
        names: The name of each class.
        videos: The number of videos of the partition.
        missing: How many of them have no prediction. They count as videos of which nothing is predicted.
        missing_ids: The first of their ids.
        unknown: How many predictions are of no video of the partition. They count for nothing.
        unknown_ids: The first of their ids.
        intervals: The lower and upper end of the bootstrap interval of each metric; empty without a bootstrap.
    """

    evaluation: Evaluation
    names: tuple[str, ...]
    videos: int
    missing: int
    missing_ids: tuple[str, ...]
    unknown: int
    unknown_ids: tuple[str, ...]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Truth:
    """The true labels of a partition, sorted by video id.

    Attributes:
        video_ids: string, (videos,).
        offsets: int64, (videos + 1,): where the labels of each video begin and end.
        labels: int64, (labels,).
        classes: The number of classes of the vocabulary.
    """

    video_ids: pa.Array
    offsets: Int64Array
    labels: Int64Array
    classes: int

    def of(self, videos: Int64Array) -> BoolArray:
        """The labels of some videos: bool, (videos, classes)."""
        sizes = self.offsets[videos + 1] - self.offsets[videos]
        rows = np.repeat(np.arange(len(videos)), sizes)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        matrix = np.zeros((len(videos), self.classes), np.bool_)
        matrix[rows, self.labels[self.offsets[videos][rows] + within]] = True
        return matrix


def read_truth(dataset: FinishedDataset, partition: Partition) -> Truth:
    """Reads the true labels of a partition.

    Raises:
        UsageError: the labels are those of the test partition, and the dataset that is at hand withholds them.
        DataError: a table is damaged.
    """
    rows = read_parquet(dataset.layout, Layout.VIDEOS, ["video_id", "partition", "labels"])
    rows = rows.filter(pc.equal(rows["partition"], partition.value))
    if rows["labels"].null_count:
        if not files.exists(dataset.layout.path(Layout.TEST_LABELS)):
            raise UsageError(
                what="The labels of this partition are withheld",
                where=dataset.layout.root,
                why=f"there is no {Layout.TEST_LABELS}",
                fix="evaluate another partition, or ask whoever made the dataset",
            )
        rows = read_parquet(dataset.layout, Layout.TEST_LABELS, ["video_id", "labels"])
    rows = rows.sort_by("video_id")
    labels = rows["labels"].combine_chunks()
    offsets = np.append(0, np.cumsum(np.asarray(pc.list_value_length(labels), np.int64)))
    flat = np.asarray(pc.list_flatten(labels), np.int64)
    return Truth(rows["video_id"].combine_chunks(), offsets, flat, len(dataset.vocabulary))


def evaluate(dataset: str, predictions: str, partition: Partition | str, *, bootstrap: int = 0) -> Report:
    """Compares predictions with the labels of a partition.

    Args:
        dataset: The folder of a finished dataset.
        predictions: A table of them (`read_predictions`).
        partition: The partition, or its name.
        bootstrap: The number of samples for the confidence intervals. For each, the predictions are read once more, and
            each video counts as often as a Poisson variable of mean 1 says, which its id decides.

    Raises:
        UsageError: as `open_dataset`, `read_truth` and `read_predictions` do.
        DataError: as these do, and if a video is predicted twice.
    """
    opened = open_dataset(dataset)
    truth = read_truth(opened, Partition(partition))
    samples = [  # before the evaluation that is kept, since one of them at a time takes 450 MB at 4,800 classes
        Evaluation.from_batches(_Run(truth, predictions).batches(sample), truth.classes).values
        for sample in range(1, bootstrap + 1)
    ]
    run = _Run(truth, predictions)
    evaluation = Evaluation.from_batches(run.batches(), truth.classes)
    missing = truth.video_ids.filter(pa.array(~run.seen))
    return Report(
        evaluation,
        tuple(entity.name or entity.entity_id for entity in opened.vocabulary),
        len(truth.video_ids),
        len(missing),
        tuple(missing[:SHOWN_IDS].to_pylist()),
        run.unknown,
        tuple(run.unknown_ids),
        {name: _interval([values[name] for values in samples]) for name in evaluation.values} if samples else {},
    )


class _Run:
    """One reading of the predictions, which notes what they have and lack.

    Attributes:
        seen: bool, (videos,): whether each video of the partition is predicted.
        unknown: How many predictions are of other videos.
        unknown_ids: The first of their ids.
    """

    def __init__(self, truth: Truth, path: str) -> None:
        self._truth, self._path = truth, path
        self.seen = np.zeros(len(truth.video_ids), np.bool_)
        self.unknown, self.unknown_ids = 0, list[str]()

    def batches(self, sample: int = 0) -> Iterator[Batch]:
        """The predicted videos of the partition, then those that are not predicted."""
        for video_ids, scores in read_predictions(self._path, self._truth.classes):
            rows = np.asarray(pc.fill_null(pc.index_in(pa.array(video_ids), self._truth.video_ids), -1), np.int64)
            self._note(video_ids, rows)
            yield self._batch(rows[rows >= 0], scores[rows >= 0], sample)
        missing = np.flatnonzero(~self.seen)
        size = max(1, SCORES_AT_ONCE // max(1, self._truth.classes))
        for start in range(0, len(missing), size):
            rows = missing[start : start + size]
            yield self._batch(rows, np.zeros((len(rows), self._truth.classes)), sample)

    def _batch(self, rows: Int64Array, scores: Float64Array, sample: int) -> Batch:
        ids = self._truth.video_ids.take(pa.array(rows)).to_pylist()
        return Batch.of(scores, self._truth.of(rows), poisson_weights(ids, sample) if sample else None)

    def _note(self, video_ids: Sequence[str], rows: Int64Array) -> None:
        known = rows[rows >= 0]
        counts = np.bincount(known, minlength=len(self.seen))
        twice = np.flatnonzero(counts + self.seen > 1)
        if len(twice):
            raise DataError(
                what="A video is predicted twice",
                where=self._path,
                why=f"{self._truth.video_ids[int(twice[0])]} has several rows",
                fix="remove all but one of them",
            )
        self.seen[known] = True
        strangers = [video_ids[int(row)] for row in np.flatnonzero(rows < 0)]
        self.unknown += len(strangers)
        self.unknown_ids += strangers[: SHOWN_IDS - len(self.unknown_ids)]


def poisson_weights(video_ids: Sequence[str], sample: int) -> Int64Array:
    """How often each video is in a bootstrap sample: int64, (videos,), Poisson of mean 1.

    The id and the number of the sample decide, so that no order or division of the videos changes a sample.
    """
    uniform = salted_hashes(f"bootstrap-{sample}", video_ids).astype(np.float64) / 2.0**64
    return np.searchsorted(_POISSON, uniform, side="right").astype(np.int64)


_POISSON = np.cumsum(np.exp(-1.0) / np.cumprod(np.append(1.0, np.arange(1.0, 18.0))))
"""The probabilities that a Poisson variable of mean 1 is at most 0, 1, …, 17."""


def _interval(values: list[float]) -> tuple[float, float]:
    """The percentile interval; samples in which a metric is not known are left out."""
    known = [value for value in values if not np.isnan(value)]
    if not known:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2])
    return float(low), float(high)
