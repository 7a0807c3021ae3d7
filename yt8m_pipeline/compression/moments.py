"""The mean and covariance of frames in exact integer arithmetic: the same on every engine, machine and thread.

The paper takes them over the frames of all train videos (§3.3); `pipeline.py` chooses these.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import median_high

import numpy as np
import numpy.typing as npt
from scipy.linalg.blas import dsyrk

from yt8m_pipeline.data_model import Float64Array, Int64Array
from yt8m_pipeline.errors import DataError

GRID_BITS = 21
"""A feature is rounded to an integer of at most this many bits, times the step of the grid. 21 bits are the most for
which a block of 1,024 products still sums exactly in float64."""

BLOCK_FRAMES = 2 ** (52 - 2 * GRID_BITS)
"""The frames of a block. This many products of two such integers sum to at most 2**52, and float64 holds every integer
up to 2**53."""

RUN_BLOCKS = 2**10
"""The number of blocks after which sums are carried from the low to the high limb. The products of this many blocks
sum to at most 2**62, which int64 holds."""

LIMB_BITS = 32
"""The number of bits of the low limb of a sum of products."""

PANEL_ROWS = 256
"""The rows of the upper triangle that are added up at a time: 4 MiB of int64 at 2,048 dimensions."""

MEDIAN_BITS = 11
"""The number of bits of the grid that must be left to the video of median magnitude: as many as float16 has."""


@dataclass(frozen=True, slots=True)
class Magnitudes:
    """The magnitudes of videos, each the largest absolute value of its features: a commutative monoid under `+`.

    Attributes:
        largest: The largest magnitude, and the id of its video.
        exponents: By exponent, how many videos have a magnitude below 2**exponent and not below half of that. Videos
            of magnitude 0 are not counted.
    """

    largest: tuple[float, str]
    exponents: Counter[int]

    @classmethod
    def of(cls, magnitude: float, video_id: str) -> "Magnitudes":
        """The magnitudes of one video."""
        return cls((magnitude, video_id), Counter([math.frexp(magnitude)[1]] if magnitude else []))

    def __add__(self, other: "Magnitudes") -> "Magnitudes":
        return Magnitudes(max(self.largest, other.largest), self.exponents + other.exponents)

    def grid_exponent(self) -> int:
        """The exponent of the finest grid that holds the features of all videos.

        Raises:
            DataError: if that grid is too coarse for the video of median magnitude, or no magnitude is finite.
        """
        magnitude, video_id = self.largest
        exponent = grid_exponent(magnitude)
        median = median_high(self.exponents.elements()) if self.exponents else exponent + GRID_BITS
        if exponent > median - MEDIAN_BITS:
            raise DataError(
                what="The features of a video are out of all proportion",
                where=f"video {video_id}",
                why=f"its largest is {magnitude:g}; in half of the train videos none "
                f"reaches {math.ldexp(1.0, median):g}",
                fix="see what the model makes of this video, and leave it out of the videos table",
            )
        return exponent


def grid_exponent(magnitude: float) -> int:
    """The exponent of the finest grid that holds features up to a magnitude: |feature| / 2**exponent < 2**21.

    Args:
        magnitude: The largest absolute value over all train frames.

    Raises:
        DataError: if the magnitude is not a finite float32.
    """
    if not 0.0 <= magnitude <= float(np.finfo(np.float32).max):
        raise DataError(
            what="The features have no finite magnitude",
            where="train frames",
            why=f"their largest absolute value is {magnitude}",
            fix="find the video with non-finite features and extract it again, or remove it",
        )
    return math.frexp(magnitude)[1] - GRID_BITS


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Moments:
    """Count, sum and sum of outer products of frames: a commutative monoid under `+`, bit for bit.

    Each feature is rounded once, to the nearest multiple of 2**step_exponent. That moves a feature by at most 2**-22 of
    the bound of the grid, and the covariance of two by at most (sd₁ + sd₂) · step / 2 + step² / 4. All that follows is
    exact. The outer products of a block of integers are one float64 SYRK in which no partial sum exceeds 2**53, so that
    neither the order of its sums nor its threads matter. Their totals have two limbs, high · 2**32 + low, which are
    enough for 2**41 frames.

    >>> frames, exponent = np.array([[1, 0], [2, 0], [3, 6]], np.float32), grid_exponent(6.0)
    >>> moments = Moments.from_frames(frames[:1], exponent) + Moments.from_frames(frames[1:], exponent)
    >>> moments.mean().tolist(), moments.covariance().tolist()
    ([2.0, 2.0], [[1.0, 3.0], [3.0, 12.0]])

    Attributes:
        count: The number of frames.
        step_exponent: The grid's step is 2**step_exponent.
        sums: int64, (dimensions,), in steps.
        products_high: int64, (dimensions, dimensions), in 2**32 squared steps; below the diagonal 0.
        products_low: uint32, (dimensions, dimensions), in squared steps; below the diagonal 0.
    """

    count: int
    step_exponent: int
    sums: Int64Array
    products_high: Int64Array
    products_low: npt.NDArray[np.uint32]

    def __post_init__(self) -> None:
        square = (self.dimensions, self.dimensions)
        if self.products_high.shape != square or self.products_low.shape != square:
            raise ValueError(f"products must be {square}, got {self.products_high.shape}, {self.products_low.shape}")

    def __repr__(self) -> str:
        return f"Moments(count={self.count}, dimensions={self.dimensions}, step=2**{self.step_exponent})"

    @property
    def dimensions(self) -> int:
        return len(self.sums)

    @classmethod
    def zero(cls, dimensions: int, step_exponent: int) -> "Moments":
        """The moments of no frames."""
        return cls.from_frames(np.zeros((0, dimensions)), step_exponent)

    @classmethod
    def from_frames(cls, features: npt.NDArray[np.floating], step_exponent: int) -> "Moments":
        """The moments of some frames.

        Args:
            features: float16, float32 or float64, (frames, dimensions).
            step_exponent: The exponent of the grid's step, from `grid_exponent`.

        Raises:
            DataError: if a feature is not finite or lies outside the grid.
        """
        return cls.from_blocks([features], features.shape[1], step_exponent)

    @classmethod
    def from_blocks(cls, blocks: Iterable[npt.NDArray[np.floating]], dimensions: int, step_exponent: int) -> "Moments":
        """The moments of frames in blocks of any length; arguments and errors as for `from_frames`."""
        square = (dimensions, dimensions)
        sums, high, low = np.zeros(dimensions, np.int64), np.zeros(square, np.int64), np.zeros(square, np.int64)
        count, products = 0, np.zeros(square)
        for number, steps in enumerate(_on_grid(blocks, dimensions, step_exponent), start=1):
            count += len(steps)
            sums += steps.sum(axis=0).astype(np.int64)
            dsyrk(1.0, steps.T, c=products.T, lower=1, overwrite_c=1)
            _add_upper(low, products)
            if number % RUN_BLOCKS == 0:
                high += low >> LIMB_BITS
                low &= 2**LIMB_BITS - 1
        high += low >> LIMB_BITS
        return cls(count, step_exponent, sums, high, low.astype(np.uint32))

    def __add__(self, other: "Moments") -> "Moments":
        """The moments of both sets of frames."""
        if (self.dimensions, self.step_exponent) != (other.dimensions, other.step_exponent):
            raise ValueError(f"moments of different spaces do not add: {self} + {other}")
        low = self.products_low + other.products_low
        high = self.products_high + other.products_high
        high += low < self.products_low
        return Moments(self.count + other.count, self.step_exponent, self.sums + other.sums, high, low)

    def mean(self) -> Float64Array:
        """float64, (dimensions,): the exact mean on the grid, correctly rounded.

        Raises:
            ZeroDivisionError: of no frames.
        """
        means = np.array([total / self.count for total in self.sums.tolist()], dtype=np.float64)
        return np.ldexp(means, self.step_exponent)

    def covariance(self) -> Float64Array:
        """float64, (dimensions, dimensions): the unbiased covariance (divisor n − 1), exactly symmetric.

        Each entry is (n · Σxy − Σx · Σy) / (n · (n − 1)) in Python's integers, correctly rounded: its relative error
        against the exact covariance on the grid is at most 2**-53, whatever the mean.

        Raises:
            ZeroDivisionError: of fewer than two frames.
        """
        covariance = np.empty((self.dimensions, self.dimensions))
        for row in range(self.dimensions):
            covariance[row, row:] = covariance[row:, row] = self._covariance_row(row)
        return np.ldexp(covariance, 2 * self.step_exponent)

    def _covariance_row(self, row: int) -> Float64Array:
        """One row of the covariance from the diagonal on, in squared steps."""
        sums = self.sums[row:].astype(object)
        high = self.products_high[row, row:].astype(object)
        products = (high << LIMB_BITS) + self.products_low[row, row:].astype(object)
        scatter = self.count * products - sums[0] * sums
        row_of_covariance: Float64Array = (scatter / (self.count * (self.count - 1))).astype(np.float64)
        return row_of_covariance


def _add_upper(totals: Int64Array, integers: Float64Array) -> None:
    """Adds a square matrix of integers to another, on and above the diagonal."""
    for row in range(0, len(totals), PANEL_ROWS):
        panel = slice(row, row + PANEL_ROWS), slice(row, None)
        np.add(totals[panel], integers[panel], out=totals[panel], dtype=np.int64, casting="unsafe")


def _on_grid(blocks: Iterable[npt.NDArray[np.floating]], dimensions: int, step_exponent: int) -> Iterator[Float64Array]:
    """The features in steps of the grid, `BLOCK_FRAMES` at a time. Each block overwrites the one before it."""
    steps, filled = np.empty((BLOCK_FRAMES, dimensions)), 0
    for features in blocks:
        for taken in np.split(features, range(BLOCK_FRAMES - filled, len(features), BLOCK_FRAMES)):
            _round(taken, step_exponent, steps[filled : filled + len(taken)])
            filled += len(taken)
            if filled == BLOCK_FRAMES:
                yield steps
                filled = 0
    if filled:
        yield steps[:filled]


def _round(features: npt.NDArray[np.floating], step_exponent: int, steps: Float64Array) -> None:
    """Sets `steps` to the features in steps of the grid, rounded to nearest: integers as float64."""
    np.multiply(features, 2.0**-step_exponent, out=steps, dtype=np.float64)
    np.rint(steps, out=steps)
    if steps.size and not (steps.min() >= -(2**GRID_BITS) and steps.max() <= 2**GRID_BITS):
        raise _outside(features, steps, step_exponent)


def _outside(features: npt.NDArray[np.floating], steps: Float64Array, step_exponent: int) -> DataError:
    frame, dimension = np.argwhere(~(np.abs(steps) <= 2**GRID_BITS))[0]
    return DataError(
        what="A feature lies outside the grid of the moments",
        where=f"frame {frame} of a block, dimension {dimension}",
        why=f"it is {features[frame, dimension]}, but the grid ends at ±{math.ldexp(1.0, step_exponent + GRID_BITS)}",
        fix="verify the feature store; the grid must come from the largest magnitude over all train frames",
    )
