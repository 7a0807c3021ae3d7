"""The distribution of whitened coefficients, in exact integer arithmetic, of any range and in one pass."""

from dataclasses import dataclass

import numpy as np

from yt8m_pipeline.data_model import Float32Array, Float64Array, Int64Array
from yt8m_pipeline.errors import DataError

BUCKET_BITS = 12
"""There are 2**BUCKET_BITS buckets per octave of 1 + |y|, so a bucket is at most 2**-12 · (1 + |y|) wide."""

OCTAVES = 20
"""1 + |y| must be below 2**OCTAVES. A whitened train frame has |y| < sqrt(frames), so 2**39 frames always fit."""

STEPS_PER_UNIT = 2**20
"""Sums are of y rounded to multiples of 2**-20."""

SIDE = OCTAVES << BUCKET_BITS
"""Buckets on either side of zero; a histogram is 2 · SIDE · 16 bytes = 2.6 MB."""

_MANTISSA_BITS = 23
_ONE_AS_BITS = np.float32(1).view(np.uint32)


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Histogram:
    """Counts and sums by bucket: a commutative monoid under `+`, bit for bit.

    No sum overflows int64 up to 2**42 coefficients whose mean square is at most 1, which whitening ensures.

    Attributes:
        bucket_counts: int64, (2 · SIDE,), from the most negative bucket to the most positive.
        bucket_sums: int64, (2 · SIDE,), in steps of 2**-20.
    """

    bucket_counts: Int64Array
    bucket_sums: Int64Array

    def __post_init__(self) -> None:
        if self.bucket_counts.shape != (2 * SIDE,) or self.bucket_sums.shape != (2 * SIDE,):
            raise ValueError(f"expected {2 * SIDE} buckets, got {self.bucket_counts.shape}, {self.bucket_sums.shape}")

    def __repr__(self) -> str:
        return f"Histogram(count={self.count}, occupied_buckets={len(self.counts)})"

    @classmethod
    def zero(cls) -> "Histogram":
        """The histogram of no values."""
        return cls.from_values(np.zeros(0, np.float32))

    @classmethod
    def from_values(cls, values: Float32Array) -> "Histogram":
        """The histogram of float32 values of any shape.

        Raises:
            DataError: if a value is NaN, infinite or 2**20 − 1 or more.
        """
        flat = values.ravel()
        buckets = _buckets(flat)
        sums = np.zeros(2 * SIDE, np.int64)
        np.add.at(sums, buckets, np.rint(flat.astype(np.float64) * STEPS_PER_UNIT).astype(np.int64))
        return cls(np.bincount(buckets, minlength=2 * SIDE), sums)

    def __add__(self, other: "Histogram") -> "Histogram":
        """The histogram of both sets of values."""
        return Histogram(self.bucket_counts + other.bucket_counts, self.bucket_sums + other.bucket_sums)

    @property
    def count(self) -> int:
        """The number of values."""
        return int(self.bucket_counts.sum())

    @property
    def counts(self) -> Int64Array:
        """int64, (occupied,): the number of values in each bucket that has any."""
        return self.bucket_counts[self.bucket_counts > 0]

    @property
    def sums(self) -> Int64Array:
        """int64, (occupied,): the sum of each such bucket, in steps of 2**-20."""
        return self.bucket_sums[self.bucket_counts > 0]

    def centroids(self) -> Float64Array:
        """float64, (occupied,): the mean of each such bucket, not decreasing."""
        return self.sums / self.counts / STEPS_PER_UNIT


def _buckets(values: Float32Array) -> Int64Array:
    """The bits of a positive float count up through its octaves, so their leading bits are the bucket."""
    shifted = np.abs(values) + np.float32(1)
    inside = shifted < 2.0**OCTAVES
    if not inside.all():
        raise DataError(
            "A PCA coefficient is out of range",
            "train frames",
            f"it is {values[~inside][0]}; whitened coefficients are finite and far below 2**{OCTAVES}",
            "raise pca.epsilon, or lower pca.components: a component without variance is being divided by zero",
        )
    codes = ((shifted.view(np.uint32) - _ONE_AS_BITS) >> (_MANTISSA_BITS - BUCKET_BITS)).astype(np.int64)
    return np.where(values < 0, SIDE - 1 - codes, SIDE + codes)
