"""The metrics of the paper (§5.1), and GAP, as values that add up: exact, and the same to the bit in any order.

>>> scores = np.array([[0.9, 0.3, 0.0], [0.6, 0.8, 0.1]])
>>> labels = np.array([[True, False, False], [True, False, False]])
>>> halves = [Evaluation.from_batch(Batch.of(scores[i : i + 1], labels[i : i + 1])) for i in range(2)]
>>> both = halves[0] + halves[1]
>>> both.hits.at(1), both.hits.at(5), both.perr.value
(0.5, 1.0, 0.5)
>>> round(both.average_precision.mean, 3), both.average_precision.classes
(1.0, 1)

Each metric counts in whole numbers, and divides at the end. So `+` is associative and commutative, and an evaluation
may be split over shards, threads and engines.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from yt8m_pipeline.data_model import Float64Array, Int64Array
from yt8m_pipeline.evaluation.batch import Batch

BUCKETS = 10_000
"""Scores are rounded to multiples of 1/10,000 before precision and recall are taken of them (paper §5.1, equation 10).
"""

GAP_PREDICTIONS = 20
"""The best predictions of a video that GAP looks at, as in the starter code of YouTube-8M."""

DROPPED_BITS = 8
"""The last bits of a float32 score that GAP does not tell apart: scores that differ by less than one part in 32,768
are equal to it. Its counts then take 33 MB, whatever the number of videos; the starter code sorts all scores."""

GAP_KEYS = (int(np.float32(1.0).view(np.int32)) >> DROPPED_BITS) + 1
"""The number of scores that GAP tells apart: the bit patterns of float32 from 0 to 1 are ascending integers."""

UInt32Array = npt.NDArray[np.uint32]


@dataclass(frozen=True, eq=False, repr=False)
class Hits:
    """Hit@k: the share of videos that have a true label among their k best predictions (paper §5.1, equation 11).

    Attributes:
        best_ranks: int64, (classes + 2,): the number of videos whose best ranked label has this rank. Those of which
            no label is predicted, or that have none, stand at the end.
    """

    best_ranks: Int64Array

    @classmethod
    def zero(cls, classes: int) -> "Hits":
        return cls(np.zeros(classes + 2, np.int64))

    def include(self, batch: Batch) -> None:
        """Adds a batch to this very value."""
        ranks = np.full(len(batch.scores), batch.unranked)
        np.minimum.at(ranks, batch.positives.videos, batch.positives.ranks)
        np.add.at(self.best_ranks, ranks, batch.weights)

    def __add__(self, other: "Hits") -> "Hits":
        return Hits(self.best_ranks + other.best_ranks)

    @property
    def videos(self) -> int:
        """The number of videos."""
        return int(self.best_ranks.sum())

    def at(self, k: int) -> float:
        """Hit@k; NaN where there is no video.

        Raises:
            ValueError: if k is below 1.
        """
        if k < 1:
            raise ValueError(f"k is at least 1, got {k}")
        return _share(int(self.best_ranks[: min(k, len(self.best_ranks) - 2) + 1].sum()), self.videos)


@dataclass(frozen=True, eq=False, repr=False)
class Perr:
    """PERR: the precision of as many predictions of a video as it has labels, averaged over videos (paper §5.1).

    A video that has no label does not count.

    Attributes:
        retrieved: int64, (classes + 1,): of the videos with so many labels, how many labels have a rank up to that
            number, in all.
        videos: int64, (classes + 1,): the number of videos with so many labels.
    """

    retrieved: Int64Array
    videos: Int64Array

    @classmethod
    def zero(cls, classes: int) -> "Perr":
        return cls(np.zeros(classes + 1, np.int64), np.zeros(classes + 1, np.int64))

    def include(self, batch: Batch) -> None:
        """Adds a batch to this very value."""
        owners, sizes = batch.positives.videos, np.count_nonzero(batch.labels, axis=1)
        is_retrieved = batch.positives.ranks <= sizes[owners]
        np.add.at(self.retrieved, sizes[owners], is_retrieved * batch.weights[owners])
        np.add.at(self.videos, sizes, batch.weights)

    def __add__(self, other: "Perr") -> "Perr":
        return Perr(self.retrieved + other.retrieved, self.videos + other.videos)

    @property
    def value(self) -> float:
        """PERR; NaN where no video has a label."""
        precisions = self.retrieved[1:] / np.arange(1, len(self.retrieved))
        return _share(float(precisions.sum()), int(self.videos[1:].sum()))


@dataclass(frozen=True, eq=False, repr=False)
class AveragePrecision:
    """The average precision of each class, and its unweighted mean over classes, mAP (paper §5.1, equations 8 to 10).

    At 4,800 classes it takes 384 MB, whatever the number of videos, of which there may be 2³² - 1.

    Attributes:
        predicted: uint32, (classes, 10,001): how many videos have this score, in 1/10,000, for this class. The first
            column is 0: what is not predicted is never retrieved ("all the non-zero annotations").
        positives: uint32, (classes, 10,001): how many of them have the class as a label. The first column counts the
            labels that are not predicted.
    """

    predicted: UInt32Array
    positives: UInt32Array

    @classmethod
    def zero(cls, classes: int) -> "AveragePrecision":
        shape = classes, BUCKETS + 1
        return cls(np.zeros(shape, np.uint32), np.zeros(shape, np.uint32))

    def include(self, batch: Batch) -> None:
        """Adds a batch to this very value."""
        buckets = np.rint(batch.scores * BUCKETS).astype(np.int64)
        videos, classes = np.nonzero(buckets)
        _count(self.predicted, classes, buckets[videos, classes], batch.weights[videos])
        owners, labels = batch.positives.videos, batch.positives.classes
        _count(self.positives, labels, buckets[owners, labels], batch.weights[owners])

    def __add__(self, other: "AveragePrecision") -> "AveragePrecision":
        return AveragePrecision(self.predicted + other.predicted, self.positives + other.positives)

    @property
    def labels(self) -> Int64Array:
        """The number of videos that have each class as a label: int64, (classes,)."""
        return np.asarray(self.positives.sum(axis=1, dtype=np.int64))

    @property
    def of_classes(self) -> Float64Array:
        """The average precision of each class: float64, (classes,); NaN for a class that is no label."""
        return np.array([_average_precision(*counts) for counts in zip(self.predicted, self.positives, strict=True)])

    @property
    def classes(self) -> int:
        """The number of classes that the mean is taken over: those that are a label."""
        return int(np.count_nonzero(self.labels))

    @property
    def mean(self) -> float:
        """The mAP; NaN where no class is a label."""
        values = self.of_classes
        return _share(float(np.nansum(values)), self.classes)

    def precision_and_recall(self, threshold: float) -> tuple[Float64Array, Float64Array]:
        """The precision and recall of each class where scores of at least the threshold are taken as labels.

        Args:
            threshold: Above 0, at most 1; it is rounded to 1/10,000, as scores are.

        Returns:
            float64, (classes,), twice; NaN where nothing is predicted, or the class is no label.
        """
        first = max(round(threshold * BUCKETS), 1)
        found = self.positives[:, first:].sum(axis=1, dtype=np.int64)
        retrieved = self.predicted[:, first:].sum(axis=1, dtype=np.int64)
        return _shares(found, retrieved), _shares(found, self.labels)


@dataclass(frozen=True, eq=False, repr=False)
class Gap:
    """GAP@20, global average precision: that of the 20 best predictions of each video, all classes as one.

    It is the metric of the starter code of YouTube-8M and of its Kaggle challenges; the paper has none like it. All
    labels are in the denominator, also those that are not among the 20. Equal scores are retrieved together; the
    starter code shuffles them.

    Attributes:
        predicted: uint32, (GAP_KEYS,): the number of predictions with this score, ascending.
        positives: uint32, (GAP_KEYS,): how many of them are labels. The first counts the labels that are none of them.
    """

    predicted: UInt32Array
    positives: UInt32Array

    @classmethod
    def zero(cls) -> "Gap":
        return cls(np.zeros(GAP_KEYS, np.uint32), np.zeros(GAP_KEYS, np.uint32))

    def include(self, batch: Batch) -> None:
        """Adds a batch to this very value."""
        videos, scores = batch.best(GAP_PREDICTIONS)
        np.add.at(self.predicted, _gap_keys(scores), batch.weights[videos].astype(np.uint32))
        is_among = batch.positives.ranks <= GAP_PREDICTIONS
        keys = np.where(is_among, _gap_keys(batch.positives.scores), 0)
        np.add.at(self.positives, keys, batch.weights[batch.positives.videos].astype(np.uint32))

    def __add__(self, other: "Gap") -> "Gap":
        return Gap(self.predicted + other.predicted, self.positives + other.positives)

    @property
    def value(self) -> float:
        """GAP@20; NaN where there is no label."""
        keys = np.flatnonzero(self.predicted[1:])[::-1] + 1
        found = self.positives[keys].astype(np.int64)
        precisions = np.cumsum(found) / np.cumsum(self.predicted[keys].astype(np.int64))
        return _share(float((precisions * found).sum()), int(self.positives.sum(dtype=np.int64)))


@dataclass(frozen=True)
class Evaluation:
    """All metrics of the same predictions: a commutative monoid under `+`, as each of them is."""

    hits: Hits
    perr: Perr
    average_precision: AveragePrecision
    gap: Gap

    @classmethod
    def zero(cls, classes: int) -> "Evaluation":
        """The evaluation of no video."""
        return cls(Hits.zero(classes), Perr.zero(classes), AveragePrecision.zero(classes), Gap.zero())

    @classmethod
    def from_batch(cls, batch: Batch) -> "Evaluation":
        return cls.from_batches([batch], batch.classes)

    @classmethod
    def from_batches(cls, batches: Iterable[Batch], classes: int) -> "Evaluation":
        """The evaluation of batches, in the memory of one evaluation and one batch."""
        evaluation = cls.zero(classes)
        for batch in batches:
            for metric in (evaluation.hits, evaluation.perr, evaluation.average_precision, evaluation.gap):
                metric.include(batch)
        return evaluation

    def __add__(self, other: "Evaluation") -> "Evaluation":
        return Evaluation(
            self.hits + other.hits,
            self.perr + other.perr,
            self.average_precision + other.average_precision,
            self.gap + other.gap,
        )

    @property
    def values(self) -> dict[str, float]:
        """The metrics by their usual short names; one that nothing is known of is NaN."""
        return {
            "map": self.average_precision.mean,
            "hit@1": self.hits.at(1),
            "hit@5": self.hits.at(5),
            "perr": self.perr.value,
            "gap": self.gap.value,
        }


def _count(table: UInt32Array, rows: Int64Array, columns: Int64Array, weights: Int64Array) -> None:
    """Adds weights to cells of a table. With a single index NumPy takes a fraction of the time that two take."""
    np.add.at(table.reshape(-1), rows * table.shape[1] + columns, weights.astype(np.uint32))


def _average_precision(predicted: UInt32Array, positives: UInt32Array) -> float:
    """Equation 10 for one class: the sum over thresholds of precision times the gain in recall."""
    buckets = np.flatnonzero(predicted[1:])[::-1] + 1
    found = positives[buckets].astype(np.int64)
    precisions = np.cumsum(found) / np.cumsum(predicted[buckets].astype(np.int64))
    return _share(float((precisions * found).sum()), int(positives.sum(dtype=np.int64)))


def _gap_keys(scores: Float64Array) -> Int64Array:
    return scores.astype(np.float32).view(np.int32).astype(np.int64) >> DROPPED_BITS


def _share(part: float, whole: int) -> float:
    return part / whole if whole else float("nan")


def _shares(part: Int64Array, whole: Int64Array) -> Float64Array:
    shares = np.full(len(part), np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares
