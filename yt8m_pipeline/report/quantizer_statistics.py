"""How good a codebook is on given coefficients (paper §3.3: non-uniform bins, 256 values, one byte each)."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from yt8m_pipeline.compression.histogram import BOUND, EDGES, Histogram
from yt8m_pipeline.compression.quantization import UNIFORM_BOUND, Quantizer
from yt8m_pipeline.data_model import Float32Array, Float64Array, Int64Array

VALUES_PER_BIN = 100
"""A bin of a density holds about this many values. With fewer, ∫f^⅓ comes out too small, since the cube root of a
noisy count is on average too small; with more, it comes out too large, since a bin's mean hides how the density falls
within it."""

LEAST_BINS = 10
"""A density needs this many bins, hence 1,000 values, to say anything about the bound of Panter and Dite."""

PASSES = ("range", "measure")
"""The passes in which `measure` reads the coefficients: for their least and greatest values, then for all else."""

HIGHER_IS_BETTER = frozenset({"effective_bits"})
"""The measures of which the best dimension has the greatest; of all others it has the least."""


def central_span(counts: Int64Array, tail: float) -> tuple[float, float]:
    """The quantiles of probability `tail` and 1 − `tail` of the values in buckets, as exact as the buckets are.

    Args:
        counts: int64, (BUCKETS,), not all zero.
        tail: The share of the values that lie below the span, and of those above it.
    """
    edges, totals = _cumulated(counts)
    low, high = np.interp([tail * totals[-1], (1 - tail) * totals[-1]], totals, edges)
    return float(low), float(high)


@dataclass(frozen=True, eq=False, slots=True)
class Density:
    """A histogram density.

    Attributes:
        edges: float64, (bins + 1,), increasing.
        heights: float64, (bins,), not negative; they integrate to 1.
    """

    edges: Float64Array
    heights: Float64Array

    @classmethod
    def of_buckets(cls, counts: Int64Array) -> "Density":
        """Joins the buckets of one dimension of a `Histogram` into bins of about `VALUES_PER_BIN` values each.

        Args:
            counts: int64, (BUCKETS,), not all zero.
        """
        edges, totals = _cumulated(counts)
        bins = max(1, totals[-1] // VALUES_PER_BIN)
        cuts = np.unique(np.searchsorted(totals, np.ceil(np.linspace(0, totals[-1], bins + 1))))
        return cls(edges[cuts], np.diff(totals[cuts]) / totals[-1] / np.diff(edges[cuts]))

    @classmethod
    def over_cells(cls, counts: Int64Array, levels: Float32Array) -> "Density":
        """The density over the cells of a codebook, which are narrow where values are many, out to the last value.

        Where a cell holds fewer than `VALUES_PER_BIN` values on average, several cells make a bin.

        Args:
            counts: int64, (BUCKETS,), not all zero.
            levels: float32, (levels,).
        """
        edges, totals = _cumulated(counts)
        exact = levels.astype(np.float64)
        each = math.ceil(VALUES_PER_BIN * len(levels) / totals[-1])
        inner = ((exact[:-1] + exact[1:]) / 2)[each - 1 :: each]
        ends = np.concatenate([edges[:1], inner[(edges[0] < inner) & (inner < edges[-1])], edges[-1:]])
        return cls(ends, np.diff(np.interp(ends, edges, totals)) / totals[-1] / np.diff(ends))

    @property
    def cube_root_integral(self) -> float:
        """The integral of the cube root of the density, ∫ f^⅓."""
        return float(np.cbrt(self.heights) @ np.diff(self.edges))

    def panter_dite(self, levels: int) -> float:
        """(∫ f^⅓)³ / (12 · levels²): the least distortion in the limit of many levels (Panter and Dite 1951).

        So many levels may do a little better, by a few per cent, on as many values as there are. NaN where the density
        has fewer than `LEAST_BINS` bins.
        """
        return self.cube_root_integral**3 / (12 * levels**2) if len(self.heights) >= LEAST_BINS else np.nan


@dataclass(frozen=True, eq=False, slots=True)
class Distortions:
    """Figures of merit of a codebook, each float64 (dimensions,); (1,) where all dimensions are taken together.

    A distortion is a mean squared error, in squared units of the whitened coefficients.

    Attributes:
        variance: The variance of the coefficients.
        distortion: The distortion of the codebook.
        uniform: The distortion of the public uniform quantizer: 256 levels over [−2, 2].
        min_max_uniform: The distortion of as many even cells as the codebook has levels, from the least coefficient of
            the dimension to its greatest.
        panter_dite: The high-rate bound for as many levels, of the density of the coefficients; NaN if not known.
        clipped_by_uniform: The fraction of coefficients outside [−2, 2].
        overload: The fraction of coefficients beyond the outer cells of the codebook (`Quantizer.overloaded`).
        overload_error: Their part of the codebook's distortion.
    """

    variance: Float64Array
    distortion: Float64Array
    uniform: Float64Array
    min_max_uniform: Float64Array
    panter_dite: Float64Array
    clipped_by_uniform: Float64Array
    overload: Float64Array
    overload_error: Float64Array

    def measures(self) -> dict[str, Float64Array]:
        """What the summary has, by name.

        A ratio is the codebook's distortion over another; the effective bits are ½ · log2(variance / distortion). NaN
        where one of the two is zero or not known.
        """
        return {
            "distortion": self.distortion,
            "effective_bits": np.log2(_ratio(self.variance, self.distortion)) / 2,
            "ratio_to_uniform": _ratio(self.distortion, self.uniform),
            "ratio_to_min_max_uniform": _ratio(self.distortion, self.min_max_uniform),
            "ratio_to_panter_dite": _ratio(self.distortion, self.panter_dite),
            "clipped_by_uniform": self.clipped_by_uniform,
            "overload": self.overload,
            "overload_share_of_distortion": np.where(
                self.distortion > 0, self.overload_error / np.where(self.distortion > 0, self.distortion, 1.0), 0.0
            ),
        }


@dataclass(frozen=True, eq=False, slots=True)
class QuantizerStatistics:
    """What `measure` found.

    Attributes:
        frames: How many frames were measured.
        by_dimension: Each dimension by itself. Where dimensions share their levels, the bound is still that of levels
            of its own, so that the ratio to it contains the price of sharing.
        together: All coefficients. A figure is the mean of those of the dimensions, except for the variance, and for
            the bound of shared levels, which are those of all coefficients as one set.
        histogram: The histogram of the coefficients, dimension by dimension.
    """

    frames: int
    by_dimension: Distortions
    together: Distortions
    histogram: Histogram

    def summary(self) -> list[dict[str, Any]]:
        """For each measure: that of all coefficients together, and mean, median, best and worst over the dimensions.

        Dimensions without a value are left out; None where none has one.
        """
        whole = self.together.measures()
        return [
            {"measure": name, "together": _known(whole[name][0]), **_summarize(values, name in HIGHER_IS_BETTER)}
            for name, values in self.by_dimension.measures().items()
        ]

    def arrays(self) -> dict[str, list[float | None]]:
        """Every figure and measure of each dimension, in the order of the dimensions; None where it has none."""
        figures = {field.name: getattr(self.by_dimension, field.name) for field in fields(self.by_dimension)}
        return {name: [*map(_known, values)] for name, values in {**figures, **self.by_dimension.measures()}.items()}


def measure(blocks: Iterable[Float32Array], quantizer: Quantizer) -> QuantizerStatistics:
    """Measures a codebook in two passes, in the memory of one histogram per dimension (128 MB for 1024) and one block.

    Args:
        blocks: float32, (frames, dimensions) each, at least one frame in all; iterated twice.
        quantizer: The codebook.

    Raises:
        DataError: if a coefficient is not finite, or the dimensions are not the codebook's.
    """
    lowest, highest = _range(blocks)
    sums = np.zeros((len(_SUMS), len(lowest)))

    def added() -> Iterator[Float32Array]:
        for block in blocks:
            np.add(sums, _sums(block, quantizer, lowest, highest), out=sums)
            yield block

    histogram = Histogram.from_blocks(added(), len(lowest))
    return _statistics(sums * len(lowest) / histogram.count, lowest, histogram, quantizer)


_SUMS = (
    "above_lowest",
    "their_squares",
    "distortion",
    "uniform",
    "min_max_uniform",
    "clipped_by_uniform",
    "overload",
    "overload_error",
)


def _cumulated(counts: Int64Array) -> tuple[Float64Array, Int64Array]:
    """The ends of the buckets from the first that has values to the last, and how many values are below each."""
    ends = np.concatenate([[-BOUND], EDGES.astype(np.float64), [BOUND]])
    occupied = np.flatnonzero(counts)
    first, last = occupied[0], occupied[-1] + 1
    return ends[first : last + 1], np.concatenate([[0], np.cumsum(counts[first:last])])


def _range(blocks: Iterable[Float32Array]) -> tuple[Float32Array, Float32Array]:
    extremes = [(block.min(axis=0), block.max(axis=0)) for block in blocks]
    lowest, highest = zip(*extremes, strict=True)
    return np.min(lowest, axis=0), np.max(highest, axis=0)


def _sums(values: Float32Array, quantizer: Quantizer, lowest: Float32Array, highest: Float32Array) -> Float64Array:
    """The sums over the frames of a block, in the order of `_SUMS`, of values above the lowest: (8, dimensions)."""
    exact, uniform = values.astype(np.float64), Quantizer.uniform()
    decoded = (
        quantizer.decode(quantizer.encode(values)),
        uniform.decode(uniform.encode(values)),
        _middles_of_even_cells(exact, quantizer.length, lowest, highest),
    )
    errors = [((exact - approximate) ** 2).sum(axis=0) for approximate in decoded]
    clipped, beyond = (np.abs(values) > UNIFORM_BOUND).sum(axis=0), quantizer.overloaded(values)
    overload_error = np.where(beyond, (exact - decoded[0]) ** 2, 0.0).sum(axis=0)
    above = exact - lowest
    return np.stack([above.sum(axis=0), (above**2).sum(axis=0), *errors, clipped, beyond.sum(axis=0), overload_error])


def _middles_of_even_cells(
    values: Float64Array, cells: int, lowest: Float32Array, highest: Float32Array
) -> Float64Array:
    low = lowest.astype(np.float64)
    width = np.where(highest > lowest, (highest - low) / cells, 1.0)
    middles: Float64Array = low + (np.minimum(np.floor((values - low) / width), cells - 1) + 0.5) * width
    return np.where(highest > lowest, middles, low)


def _statistics(
    means: Float64Array, lowest: Float32Array, histogram: Histogram, quantizer: Quantizer
) -> QuantizerStatistics:
    above, squares, distortion, uniform, min_max_uniform, clipped, *overload = means
    variance = np.maximum(squares - above**2, 0.0)
    bounds = np.array([Density.of_buckets(row).panter_dite(quantizer.length) for row in histogram.bucket_counts])
    by_dimension = Distortions(variance, distortion, uniform, min_max_uniform, bounds, clipped, *overload)
    of_all = Density.of_buckets(histogram.bucket_counts.sum(axis=0)).panter_dite(quantizer.length)
    together = (
        variance.mean() + (lowest + above).var(),
        *(values.mean() for values in (distortion, uniform, min_max_uniform)),
        of_all if quantizer.scope == "shared" else bounds.mean(),
        *(values.mean() for values in (clipped, *overload)),
    )
    frames = histogram.count // histogram.dimensions
    return QuantizerStatistics(frames, by_dimension, Distortions(*map(np.atleast_1d, together)), histogram)


def _ratio(numerators: Float64Array, denominators: Float64Array) -> Float64Array:
    """NaN where either is zero or not known."""
    defined = (numerators > 0) & (denominators > 0)
    return np.where(defined, numerators, np.nan) / np.where(defined, denominators, 1.0)


def _summarize(values: Float64Array, higher_is_better: bool) -> dict[str, float | int | None]:
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        names = ("mean", "median", "best", "best_dimension", "worst", "worst_dimension")
        return dict.fromkeys(names)
    least, most = (int(known[choose(values[known])]) for choose in (np.argmin, np.argmax))
    best, worst = (most, least) if higher_is_better else (least, most)
    return {
        "mean": float(values[known].mean()),
        "median": float(np.median(values[known])),
        "best": float(values[best]),
        "best_dimension": best,
        "worst": float(values[worst]),
        "worst_dimension": worst,
    }


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
