"""The distortion of quantization: what it costs to keep each coefficient in one byte (paper §3.3).

The paper's "factor of 8" and "less than 1 %" are shown by scripts/prove_compression.py.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import fsum
from typing import Any

import numpy as np

from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.data_model import Float32Array, Float64Array


@dataclass(frozen=True, slots=True)
class Distortion:
    """Sums over coefficients from which the distortion follows: a monoid under `+`.

    Attributes:
        coefficients: The number of coefficients.
        clipped: The number of those that are outside the quantizer's range (`Quantizer.clipped`).
        total: The sum of the coefficients.
        squares: The sum of their squares.
        squared_error: The sum of the squared differences between each coefficient and the level of its code.
        overloaded: The number of coefficients beyond the outer cells of the codebook (`Quantizer.overloaded`).
        overload_error: Their part of the squared error.
    """

    coefficients: int = 0
    clipped: int = 0
    total: float = 0.0
    squares: float = 0.0
    squared_error: float = 0.0
    overloaded: int = 0
    overload_error: float = 0.0

    @classmethod
    def of(cls, quantizer: Quantizer, values: Float32Array, decoded: Float32Array) -> "Distortion":
        """The distortion of some frames.

        Args:
            quantizer: The quantizer that encoded them.
            values: float32, (frames, dimensions), the coefficients.
            decoded: float32, (frames, dimensions), the levels of their codes.
        """
        exact, beyond = values.astype(np.float64), quantizer.overloaded(values)
        errors = np.square(exact - decoded)
        return cls(
            coefficients=exact.size,
            clipped=quantizer.clipped(values),
            total=_sum(exact),
            squares=_sum(np.square(exact)),
            squared_error=_sum(errors),
            overloaded=int(np.count_nonzero(beyond)),
            overload_error=_sum(np.where(beyond, errors, 0.0)),
        )

    def __add__(self, other: "Distortion") -> "Distortion":
        return Distortion(
            self.coefficients + other.coefficients,
            self.clipped + other.clipped,
            self.total + other.total,
            self.squares + other.squares,
            self.squared_error + other.squared_error,
            self.overloaded + other.overloaded,
            self.overload_error + other.overload_error,
        )

    @property
    def clipped_fraction(self) -> float:
        """The share of the coefficients that are clipped; 0 where there are none."""
        return self.clipped / max(self.coefficients, 1)

    @property
    def overload_fraction(self) -> float:
        """The share of the coefficients that lie beyond the outer cells; 0 where there are none."""
        return self.overloaded / max(self.coefficients, 1)

    @property
    def overload_error_fraction(self) -> float:
        """The share of the squared error that these make; 0 where there is no error."""
        return self.overload_error / self.squared_error if self.squared_error else 0.0

    @property
    def variance(self) -> float:
        """The variance of all coefficients about their common mean; 0 where there are none."""
        count = max(self.coefficients, 1)
        return max(self.squares / count - (self.total / count) ** 2, 0.0)

    @property
    def mean_squared_error(self) -> float:
        """The squared error per coefficient; 0 where there are none."""
        return self.squared_error / max(self.coefficients, 1)

    @property
    def relative_error(self) -> float | None:
        """The mean squared error as a share of the variance; None where nothing varies."""
        return self.mean_squared_error / self.variance if self.variance else None


def relative_error_of_both(first: float, added: float) -> float:
    """The relative error of codes that were made from codes: the errors of two steps add up.

    The levels of the first codebook are the centroids of its cells. On what it was fitted to, the errors of the two
    steps are therefore uncorrelated, and what the first one took from the variance is its own error.

    Args:
        first: The relative error of the first codes.
        added: The relative error of the second ones, relative to the variance of what the first ones decode to.
    """
    return first + added * (1 - first)


def relative_error_of_facts(partitions: Iterable[Mapping[str, Any]]) -> float:
    """The relative error of all partitions together, from the facts of each in a manifest; 0 where nothing varies."""
    facts = list(partitions)
    error, variance = (
        fsum(part[name] * part["coefficients"] for part in facts) for name in ("mean_squared_error", "variance")
    )
    return error / variance if variance else 0.0


def _sum(values: Float64Array) -> float:
    """Adds the frames in their order, then the dimensions exactly, so that no machine adds in an order of its own."""
    return fsum(values.sum(axis=0))
