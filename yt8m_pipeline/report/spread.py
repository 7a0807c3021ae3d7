"""How a quantity that is never negative is spread over videos: counts by whole units, for each partition. A monoid."""

from dataclasses import dataclass

import numpy as np

from yt8m_pipeline.data_model import Float64Array, Int64Array, Partition

PARTITIONS = tuple(Partition)
"""The partitions in the order in which every array of statistics has them."""


@dataclass(frozen=True, eq=False, slots=True)
class Spread:
    """The counts of a quantity, by partition and whole units, and its exact sums.

    >>> spread = Spread.of(np.array([0, 0, 2]), np.array([1.0, 2.5, 7.0]), bins=4)
    >>> spread.counts.tolist()
    [[0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    >>> spread.number, spread.mean, spread.largest, spread.median
    (3, 3.5, 7.0, 2)

    Attributes:
        counts: int64, (partitions, bins). Bin k holds the values in [k, k + 1), the last bin all that are larger too.
        sums: float64, (partitions,): the sums of the values.
        largest: The largest value, 0 where there is none.
    """

    counts: Int64Array
    sums: Float64Array
    largest: float

    @classmethod
    def zero(cls, bins: int) -> "Spread":
        return cls(np.zeros((len(PARTITIONS), bins), np.int64), np.zeros(len(PARTITIONS)), 0.0)

    @classmethod
    def of(cls, partitions: Int64Array, values: Float64Array, bins: int) -> "Spread":
        """The spread of some videos.

        Args:
            partitions: int64, (videos,): the place of each video's partition in `PARTITIONS`.
            values: float64, (videos,): finite, at least 0.
            bins: The number of bins.
        """
        cells = partitions * bins + np.minimum(values, bins - 1).astype(np.int64)
        counts = np.bincount(cells, minlength=len(PARTITIONS) * bins).reshape(len(PARTITIONS), bins)
        sums = np.bincount(partitions, values, minlength=len(PARTITIONS)).astype(np.float64)
        return cls(counts, sums, float(values.max(initial=0.0)))

    def __add__(self, other: "Spread") -> "Spread":
        return Spread(self.counts + other.counts, self.sums + other.sums, max(self.largest, other.largest))

    def part(self, partition: Partition) -> "Spread":
        """The spread of one partition alone; its largest value is not known beside those of the others."""
        keep = np.array([part is partition for part in PARTITIONS])
        return Spread(self.counts * keep[:, None], self.sums * keep, self.largest)

    @property
    def number(self) -> int:
        """The number of values."""
        return int(self.counts.sum())

    @property
    def mean(self) -> float | None:
        """The mean of all values; None where there is none."""
        return float(self.sums.sum()) / self.number if self.number else None

    @property
    def median(self) -> int | None:
        """The bin of the median of all values, the lower one of an even number. None where there is none, or where it
        is in the last bin, whose values may be much larger."""
        place = int(np.searchsorted(np.cumsum(self.counts.sum(axis=0)), (self.number + 1) // 2))
        return place if self.number and place < self.counts.shape[1] - 1 else None
