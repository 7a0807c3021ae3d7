"""What metrics are computed from: the scores and the true labels of some videos, checked."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from yt8m_pipeline.accounting.outcome import BoolArray
from yt8m_pipeline.data_model import Float64Array, Int64Array


class Positives(NamedTuple):
    """The true labels of the videos of a batch, one after another: each field has the shape (labels,).

    Attributes:
        videos: int64, the row of the video.
        classes: int64, the class.
        scores: float64, the score of that class for that video.
        ranks: int64, its place among the scores of the video, from 1; `Batch.unranked` where it is not predicted.
    """

    videos: Int64Array
    classes: Int64Array
    scores: Float64Array
    ranks: Int64Array


@dataclass(frozen=True, eq=False, repr=False)
class Batch:
    """The scores of some videos, and their true labels.

    The score 0 means that a class is not predicted: it has no rank, and no metric counts it as retrieved. So whoever
    predicts may give the best classes of a video only. Of equal scores, that of the smaller class index comes first.

    >>> batch = Batch.of(np.array([[0.9, 0.2, 0.0]]), np.array([[False, True, True]]))
    >>> batch.positives.ranks
    array([2, 4])

    Attributes:
        scores: float64, (videos, classes), in [0, 1].
        labels: bool, (videos, classes).
        weights: int64, (videos,), at least 0: how often each video counts.
    """

    scores: Float64Array
    labels: BoolArray
    weights: Int64Array

    def __post_init__(self) -> None:
        if self.scores.ndim != 2 or self.scores.shape != self.labels.shape or self.labels.dtype != np.bool_:
            raise ValueError(f"expected (videos, classes) twice, got {self.scores.shape} and {self.labels.shape}")
        if self.weights.shape != (len(self.scores),) or (self.weights < 0).any():
            raise ValueError(f"expected {len(self.scores)} weights of at least 0")
        if not ((self.scores >= 0) & (self.scores <= 1)).all():
            raise ValueError("a score is in [0, 1], and is no NaN")

    def __repr__(self) -> str:
        return f"Batch(videos={len(self.scores)}, classes={self.classes})"

    @classmethod
    def of(cls, scores: Float64Array, labels: BoolArray, weights: Int64Array | None = None) -> "Batch":
        """Makes a batch in which each video counts once, unless weights are given."""
        return cls(scores, labels, np.ones(len(scores), np.int64) if weights is None else weights)

    @property
    def classes(self) -> int:
        return int(self.scores.shape[1])

    @property
    def unranked(self) -> int:
        """The rank that stands for none; it is larger than all others."""
        return self.classes + 1

    @cached_property
    def positives(self) -> Positives:
        """The true labels with their scores and ranks."""
        videos, classes = np.nonzero(self.labels)
        scores = self.scores[videos, classes]
        rivals, others = self.scores[videos], np.arange(self.classes) < classes[:, None]
        ahead = (rivals > scores[:, None]) | ((rivals == scores[:, None]) & others)
        ranks = np.where(scores > 0, 1 + np.count_nonzero(ahead, axis=1), self.unranked)
        return Positives(videos, classes, scores, ranks)

    def best(self, number: int) -> tuple[Int64Array, Float64Array]:
        """The rows and scores of the best predictions of each video, at most `number` of each."""
        size = min(number, self.classes)
        scores = -np.partition(-self.scores, size - 1, axis=1)[:, :size] if size else self.scores
        videos = np.repeat(np.arange(len(scores)), scores.shape[1])[scores.ravel() > 0]
        return videos, scores[scores > 0]
