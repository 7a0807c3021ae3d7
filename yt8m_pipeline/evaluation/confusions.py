"""Which classes are taken for which: the true labels of the videos whose best prediction is none of them.

>>> scores = np.array([[0.9, 0.2, 0.0], [0.9, 0.0, 0.0], [0.0, 0.8, 0.1]])
>>> labels = np.array([[False, True, False], [True, False, False], [False, False, True]])
>>> Confusions.from_batch(Batch.of(scores, labels)).most(1)
[Confusion(label=1, predicted=0, videos=1)]
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from yt8m_pipeline.evaluation.batch import Batch
from yt8m_pipeline.evaluation.metrics import UInt32Array


class Confusion(NamedTuple):
    """A class that is taken for another.

    Attributes:
        label: The true class.
        predicted: The class that is predicted best, and is no label of these videos.
        videos: The number of videos.
    """

    label: int
    predicted: int
    videos: int


@dataclass(frozen=True, eq=False, repr=False)
class Confusions:
    """How often each class is taken for each other one: a commutative monoid under `+`.

    A video whose best prediction is one of its labels is not confused. Any other counts once for each of its labels. A
    video of which nothing is predicted has no best prediction, and does not count.

    Attributes:
        counts: uint32, (classes, classes): label by best prediction. At 4,800 classes it takes 92 MB, whatever the
            number of videos.
    """

    counts: UInt32Array

    @classmethod
    def zero(cls, classes: int) -> "Confusions":
        return cls(np.zeros((classes, classes), np.uint32))

    @classmethod
    def from_batch(cls, batch: Batch) -> "Confusions":
        confusions = cls.zero(batch.classes)
        confusions.include(batch)
        return confusions

    def include(self, batch: Batch) -> None:
        """Adds a batch to this very value."""
        if not batch.classes:
            return
        rows, best = np.arange(len(batch.scores)), batch.scores.argmax(axis=1)
        is_confused = (batch.scores[rows, best] > 0) & ~batch.labels[rows, best]
        videos, labels = np.nonzero(batch.labels & is_confused[:, None])
        np.add.at(self.counts, (labels, best[videos]), batch.weights[videos].astype(np.uint32))

    def __add__(self, other: "Confusions") -> "Confusions":
        return Confusions(self.counts + other.counts)

    def most(self, number: int) -> list[Confusion]:
        """The most frequent confusions, at most so many; of equal ones, those of smaller indices come first."""
        labels, predicted = np.nonzero(self.counts)
        videos = self.counts[labels, predicted].astype(np.int64)
        first = np.lexsort((predicted, labels, -videos))[:number]
        found = (labels[first], predicted[first], videos[first])
        return [Confusion(*map(int, row)) for row in zip(*found, strict=True)]
