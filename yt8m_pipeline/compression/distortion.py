"""The distortion of quantization: what it costs to keep each coefficient in one byte (paper §3.3)."""

from dataclasses import dataclass
from math import fsum

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
    """

    coefficients: int = 0
    clipped: int = 0
    total: float = 0.0
    squares: float = 0.0
    squared_error: float = 0.0

    @classmethod
    def of(cls, quantizer: Quantizer, values: Float32Array, decoded: Float32Array) -> "Distortion":
        """The distortion of some frames.

        Args:
            quantizer: The quantizer that encoded them.
            values: float32, (frames, dimensions), the coefficients.
            decoded: float32, (frames, dimensions), the levels of their codes.
        """
        exact = values.astype(np.float64)
        return cls(
            exact.size, quantizer.clipped(values), _sum(exact), _sum(np.square(exact)), _sum(np.square(exact - decoded))
        )

    def __add__(self, other: "Distortion") -> "Distortion":
        return Distortion(
            self.coefficients + other.coefficients,
            self.clipped + other.clipped,
            self.total + other.total,
            self.squares + other.squares,
            self.squared_error + other.squared_error,
        )

    @property
    def clipped_fraction(self) -> float:
        """The share of the coefficients that are clipped; 0 where there are none."""
        return self.clipped / max(self.coefficients, 1)

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


def _sum(values: Float64Array) -> float:
    """Adds the frames in their order, then the dimensions exactly, so that no machine adds in an order of its own."""
    return fsum(values.sum(axis=0))
