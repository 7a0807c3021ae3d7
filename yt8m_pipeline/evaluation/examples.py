"""The videos of which a model is surest: some whose best prediction is right, and some whose best is wrong.

>>> scores = np.array([[0.9, 0.2], [0.7, 0.0]])
>>> labels = np.array([[True, False], [False, True]])
>>> found = Examples.from_batch(["a", "b"], Batch.of(scores, labels), number=1)
>>> found.right[0].video_id, found.wrong[0].predictions
('a', ((0, 0.7),))
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from yt8m_pipeline.data_model import Float64Array
from yt8m_pipeline.evaluation.batch import Batch

PREDICTIONS = 5
"""An example has at most so many of the best predictions of a video, as Hit@5 looks at."""

Prediction: TypeAlias = tuple[int, float]
"""A class and its score."""


@dataclass(frozen=True)
class Example:
    """A video beside what is predicted of it.

    Attributes:
        video_id: The video's id.
        labels: Its true labels, ascending.
        predictions: The classes that are predicted best, with their scores, best first; at least one.
    """

    video_id: str
    labels: tuple[int, ...]
    predictions: tuple[Prediction, ...]

    @property
    def is_right(self) -> bool:
        """Whether the best prediction is a label."""
        return self.predictions[0][0] in self.labels


@dataclass(frozen=True)
class Examples:
    """The surest predictions: a commutative monoid under `+`. Of equally sure ones, smaller ids come first.

    Attributes:
        number: At most so many are kept, of the right and of the wrong ones each.
        right: Videos whose best prediction is a label, the highest score first.
        wrong: Videos whose best prediction is no label, the highest score first.
    """

    number: int
    right: tuple[Example, ...] = ()
    wrong: tuple[Example, ...] = ()

    @classmethod
    def from_batch(cls, video_ids: Sequence[str], batch: Batch, number: int) -> "Examples":
        """The examples of a batch, of whose videos these are the ids. Weights count for nothing."""
        return cls._of(number, _surest(video_ids, batch, number))

    @classmethod
    def _of(cls, number: int, examples: Iterable[Example]) -> "Examples":
        ranked = sorted(examples, key=lambda example: (-example.predictions[0][1], example.video_id))
        right = [example for example in ranked if example.is_right]
        wrong = [example for example in ranked if not example.is_right]
        return cls(number, tuple(right[:number]), tuple(wrong[:number]))

    def __add__(self, other: "Examples") -> "Examples":
        together = (*self.right, *self.wrong, *other.right, *other.wrong)
        return self._of(min(self.number, other.number), together)


def _surest(video_ids: Sequence[str], batch: Batch, number: int) -> Iterator[Example]:
    """The examples that may be among the surest: those at least as sure as the last of so many right, or wrong."""
    best = batch.scores.argmax(axis=1) if batch.classes else np.zeros(0, np.int64)
    rows = np.arange(len(best))
    sure, is_right = batch.scores[rows, best], batch.labels[rows, best]
    for group in (np.flatnonzero(is_right & (sure > 0)), np.flatnonzero(~is_right & (sure > 0))):
        floor = np.sort(sure[group])[-number:][:1]
        for row in group[sure[group] >= floor] if number else ():
            labels = tuple(np.flatnonzero(batch.labels[row]).tolist())
            yield Example(video_ids[row], labels, _best(batch.scores[row]))


def _best(scores: Float64Array) -> tuple[Prediction, ...]:
    order = np.argsort(-scores, kind="stable")[:PREDICTIONS]
    return tuple((int(index), float(scores[index])) for index in order if scores[index] > 0)
