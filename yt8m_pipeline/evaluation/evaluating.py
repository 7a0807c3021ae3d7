"""How good predictions are for a partition of a dataset: all metrics, each class, and what was not predicted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from yt8m_pipeline.data_model import Float64Array, Int64Array, Partition
from yt8m_pipeline.dataset.reader import FinishedDataset, choice, open_dataset
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.evaluation.batch import Batch
from yt8m_pipeline.evaluation.bootstrap import Sampled, poisson_weights
from yt8m_pipeline.evaluation.metrics import Evaluation
from yt8m_pipeline.evaluation.predictions import SCORES_AT_ONCE, read_predictions
from yt8m_pipeline.evaluation.truth import Truth, read_rated, read_truth

SHOWN_IDS = 10
"""The number of ids of unknown or missing videos that a report names."""


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
        metrics: The value of each metric, with those of the bootstrap samples.
    """

    evaluation: Evaluation
    names: tuple[str, ...]
    videos: int
    missing: int
    missing_ids: tuple[str, ...]
    unknown: int
    unknown_ids: tuple[str, ...]
    metrics: Mapping[str, Sampled]

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """The lower and upper end of the bootstrap interval of each metric; empty without a bootstrap."""
        return {name: metric.interval for name, metric in self.metrics.items() if metric.samples}


def evaluate(
    dataset: str,
    predictions: str,
    partition: Partition | str = Partition.VALIDATE,
    *,
    rated: str | None = None,
    bootstrap: int = 0,
) -> Report:
    """Compares predictions with the labels of a partition, or with those that people gave.

    Args:
        dataset: The folder of a finished dataset.
        predictions: A table of them (`read_predictions`).
        partition: The partition, or its name.
        rated: A table of human ratings (`read_rated`), which is the truth in place of the partition.
        bootstrap: The number of samples for the confidence intervals. For each, the predictions are read once more, and
            each video counts as often as a Poisson variable of mean 1 says, which its id decides.

    Raises:
        UsageError: as `open_dataset`, `read_truth`, `read_rated` and `read_predictions` do.
        DataError: as these do, if there is no video to evaluate, and if one is predicted twice.
    """
    opened = open_dataset(dataset)
    truth = truth_of(opened, partition, rated)
    _require_videos(truth, rated or f"{dataset}, {partition}")
    samples = [  # before the evaluation that is kept, since one of them at a time takes 420 MB at 4,800 classes
        _evaluation(Reading(truth, predictions), sample).values for sample in range(1, bootstrap + 1)
    ]
    reading = Reading(truth, predictions)
    evaluation = _evaluation(reading)
    missing = truth.video_ids.filter(pa.array(~reading.seen))
    return Report(
        evaluation,
        tuple(opened.classes),
        len(truth.video_ids),
        len(missing),
        tuple(missing[:SHOWN_IDS].to_pylist()),
        reading.unknown,
        tuple(reading.unknown_ids),
        {name: Sampled(value, tuple(values[name] for values in samples)) for name, value in evaluation.values.items()},
    )


def _require_videos(truth: Truth, where: str) -> None:
    if not len(truth.video_ids):
        raise DataError(
            what="There is no video to evaluate",
            where=where,
            why="it has none",
            fix="evaluate a partition that has videos, or give ratings of some",
        )


def truth_of(dataset: FinishedDataset, partition: Partition | str, rated: str | None) -> Truth:
    """The labels of a table of human ratings, or of a partition where there is none."""
    return read_rated(dataset, rated) if rated else read_truth(dataset, choice(Partition, partition, "partition"))


def _evaluation(reading: "Reading", sample: int = 0) -> Evaluation:
    return Evaluation.from_batches((batch for _, batch in reading.batches(sample)), reading.truth.classes)


class Reading:
    """One reading of the predictions, which notes what they have and lack.

    Attributes:
        truth: The true labels.
        seen: bool, (videos,): whether each video of the truth is predicted.
        unknown: How many predictions are of other videos.
        unknown_ids: The first of their ids.
    """

    def __init__(self, truth: Truth, path: str) -> None:
        self.truth, self._path = truth, path
        self.seen = np.zeros(len(truth.video_ids), np.bool_)
        self.unknown, self.unknown_ids = 0, list[str]()

    def batches(self, sample: int = 0) -> Iterator[tuple[list[str], Batch]]:
        """The predicted videos of the truth with their ids, then those that are not predicted."""
        for video_ids, scores in read_predictions(self._path, self.truth.classes):
            rows = np.asarray(pc.fill_null(pc.index_in(pa.array(video_ids), self.truth.video_ids), -1), np.int64)
            self._note(video_ids, rows)
            yield self._batch(rows[rows >= 0], scores[rows >= 0], sample)
        missing = np.flatnonzero(~self.seen)
        size = max(1, SCORES_AT_ONCE // max(1, self.truth.classes))
        for start in range(0, len(missing), size):
            rows = missing[start : start + size]
            yield self._batch(rows, np.zeros((len(rows), self.truth.classes)), sample)

    def _batch(self, rows: Int64Array, scores: Float64Array, sample: int) -> tuple[list[str], Batch]:
        ids: list[str] = self.truth.video_ids.take(pa.array(rows)).to_pylist()
        return ids, Batch.of(scores, self.truth.of(rows), poisson_weights(ids, sample) if sample else None)

    def _note(self, video_ids: Sequence[str], rows: Int64Array) -> None:
        known = rows[rows >= 0]
        counts = np.bincount(known, minlength=len(self.seen))
        twice = np.flatnonzero(counts + self.seen > 1)
        if len(twice):
            raise DataError(
                what="A video is predicted twice",
                where=self._path,
                why=f"{self.truth.video_ids[int(twice[0])]} has several rows",
                fix="remove all but one of them",
            )
        self.seen[known] = True
        strangers = [video_ids[int(row)] for row in np.flatnonzero(rows < 0)]
        self.unknown += len(strangers)
        self.unknown_ids += strangers[: SHOWN_IDS - len(self.unknown_ids)]
