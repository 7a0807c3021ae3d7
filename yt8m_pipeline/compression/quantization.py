"""Stage 7. One byte per coefficient (paper §3.3: 256 distinct values, optimally computed, non-uniform bins)."""

import hashlib
import io
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast, get_args

import numpy as np

from yt8m_pipeline import files
from yt8m_pipeline.compression.artefacts import damage_named
from yt8m_pipeline.compression.histogram import STEPS_PER_UNIT, Histogram
from yt8m_pipeline.data_model import Float32Array, Float64Array, Int64Array, UInt8Array
from yt8m_pipeline.errors import DataError

QuantizerName: TypeAlias = Literal["optimal", "uniform"]

MAX_LEVELS = 256
UNIFORM_BOUND = 2.0
"""The public readers' range: min_quantized_value = −2, max_quantized_value = 2."""


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Quantizer:
    """Encodes coefficients as one byte each, and decodes them.

    Attributes:
        levels: float32, (levels,), at most 256, finite and strictly increasing: code q stands for levels[q].
        name: `optimal` encodes to the nearest level; `uniform` by the public YouTube-8M rule.
    """

    levels: Float32Array
    name: QuantizerName

    def __post_init__(self) -> None:
        if self.name not in get_args(QuantizerName):
            raise ValueError(f"there is no quantizer {self.name!r}")
        if self.levels.dtype != np.float32 or self.levels.ndim != 1 or not 1 <= len(self.levels) <= MAX_LEVELS:
            raise ValueError(f"levels are float32, 1 to {MAX_LEVELS}, got {self.levels.dtype} {self.levels.shape}")
        if not np.isfinite(self.levels).all() or (self.levels[1:] <= self.levels[:-1]).any():
            raise ValueError("levels must be finite and strictly increasing")
        if self.name == "uniform" and not np.array_equal(self.levels, _uniform_levels()):
            raise ValueError("the levels are not those of the public uniform quantizer")

    def __repr__(self) -> str:
        return f"Quantizer({self.name!r}, levels={len(self.levels)})"

    @property
    def feature_name(self) -> str:
        """The feature list that holds the codes: public readers may misread all but uniform ones, so not `rgb`."""
        return "rgb" if self.name == "uniform" else "rgb_codes"

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the name and levels, in hexadecimal."""
        return hashlib.sha256(self.name.encode() + b"\0" + self.levels.astype("<f4").tobytes()).hexdigest()

    @classmethod
    def fit(cls, histogram: Histogram, levels: int = MAX_LEVELS) -> "Quantizer":
        """The levels of least mean squared error over all quantizers of a histogram: the global optimum.

        Exact dynamic programming over the buckets (Bruce 1965; Wu 1991, "Optimal quantization by matrix searching"),
        O(levels · buckets · log buckets). Each level is the centroid of its cell. Where there are fewer distinct
        centroids than levels, each is a level.

        Raises:
            DataError: if the histogram is empty.
        """
        if histogram.count == 0:
            raise DataError(
                "There is nothing to fit a quantizer to", "train frames", "no coefficient", "add videos to train"
            )
        counts, sums = _prefix(histogram.counts), _prefix(histogram.sums)
        ends = _optimal_cells(counts, sums, min(levels, len(counts) - 1))
        centroids = np.diff(sums[ends]) / np.diff(counts[ends]) / STEPS_PER_UNIT
        return cls(np.unique(centroids.astype(np.float32)), "optimal")

    @classmethod
    def uniform(cls) -> "Quantizer":
        """The quantizer that every public YouTube-8M reader assumes: 256 even levels over [−2, 2]."""
        return cls(_uniform_levels(), "uniform")

    def encode(self, values: Float32Array) -> UInt8Array:
        """The code of each value, in the same shape; infinite values go to the end levels.

        `optimal`: the nearest level, the lower one of a tie, by midpoints in float64. `uniform`: floor((clip(y, −2, 2)
        + 2) · 255 / 4), as MediaPipe's and AudioSet's extractors do; its level is the middle of the floor's interval.

        Raises:
            DataError: if a value is NaN.
        """
        exact = values.astype(np.float64)
        if np.isnan(exact).any():
            raise DataError(
                "A PCA coefficient cannot be encoded",
                f"{np.isnan(exact).sum()} of {exact.size} coefficients",
                "it is not a number",
                "verify the feature store and the PCA of this dataset",
            )
        if self.name == "uniform":
            clipped = np.clip(exact, -UNIFORM_BOUND, UNIFORM_BOUND)
            return np.floor((clipped + UNIFORM_BOUND) * 255 / (2 * UNIFORM_BOUND)).astype(np.uint8)
        bounds = self.levels.astype(np.float64)
        return np.searchsorted((bounds[:-1] + bounds[1:]) / 2, exact).astype(np.uint8)

    def decode(self, codes: UInt8Array) -> Float32Array:
        """float32: the level of each code, in the same shape.

        Raises:
            DataError: if a code has no level.
        """
        if codes.size and codes.max() >= len(self.levels):
            raise DataError(
                "A code has no level",
                f"feature {self.feature_name}",
                f"code {codes.max()}, but the codebook has {len(self.levels)} levels",
                "read the records with the quantizer.npz of their own dataset",
            )
        return self.levels[codes]

    def save(self, uri: str) -> None:
        """Writes `levels` and `name` as an .npz, the same bytes every time.

        Raises:
            DataError: if the file cannot be written.
        """
        stream = io.BytesIO()
        np.savez(stream, levels=self.levels.astype("<f4"), name=np.array(self.name))
        files.write_bytes(uri, stream.getvalue())

    @classmethod
    def load(cls, uri: str) -> "Quantizer":
        """Reads what `save` wrote.

        Raises:
            DataError: if the file is missing, damaged or not a quantizer.
        """
        with damage_named(uri):
            arrays = np.load(io.BytesIO(files.read_bytes(uri)), allow_pickle=False)
            return cls(arrays["levels"], cast(QuantizerName, str(arrays["name"])))


def _uniform_levels() -> Float32Array:
    """float32 throughout, as the public reader's `Dequantize`: q · 4 / 255 + 4 / 512 − 2."""
    width = 2 * UNIFORM_BOUND
    return np.arange(MAX_LEVELS, dtype=np.float32) * np.float32(width / 255) + np.float32(width / 512 - UNIFORM_BOUND)


def _prefix(values: Int64Array) -> Float64Array:
    """(values + 1,): sums of the first 0, 1, … values, added as integers."""
    return np.concatenate([[0], np.cumsum(values)]).astype(np.float64)


def _optimal_cells(counts: Float64Array, sums: Float64Array, cells: int) -> Int64Array:
    """The ends of the cells of least squared error, (cells + 1,), from 0 to the number of buckets.

    The squared error is a constant less Σ sum² / count over the cells, which is maximised: G₁(j) = sums² / counts of
    the first j buckets, Gₖ(j) = max over i < j of Gₖ₋₁(i) + (sums[j] − sums[i])² / (counts[j] − counts[i]). Only
    the float64 rounding of these sums, about 3e-14 of the second moment, can decide between nearly equal optima.

    Args:
        counts: (buckets + 1,), prefix sums.
        sums: (buckets + 1,), prefix sums.
    """
    gains = np.full(len(counts), -np.inf)
    gains[1:] = sums[1:] ** 2 / counts[1:]
    last_cuts = []
    for _ in range(cells - 1):
        gains, cuts = _with_one_more_cell(gains, counts, sums)
        last_cuts.append(cuts)
    ends = [len(counts) - 1]
    for cuts in reversed(last_cuts):
        ends.append(int(cuts[ends[-1]]))
    return np.array([*ends, 0][::-1])


def _with_one_more_cell(
    gains: Float64Array, counts: Float64Array, sums: Float64Array
) -> tuple[Float64Array, Int64Array]:
    """Gₖ from Gₖ₋₁, and the cut that attains it, for each end.

    The best cut never decreases with the end (the squared error is Monge), so those of ends one stride away on either
    side bound it: strides halve, and all ends of a stride are solved together.
    """
    buckets = len(counts) - 1
    top = 1 << buckets.bit_length()
    best = np.full(buckets + 1, -np.inf)
    cuts = np.full(top + 1, buckets)
    cuts[0] = 0
    stride = top // 2
    while stride:
        ends = np.arange(stride, buckets + 1, 2 * stride)
        low = cuts[ends - stride]
        high = np.minimum(cuts[ends + stride], ends - 1)
        best[ends], cuts[ends] = _best_cuts(gains, counts, sums, ends, low, high)
        stride //= 2
    return best, cuts[: buckets + 1]


def _best_cuts(
    gains: Float64Array, counts: Float64Array, sums: Float64Array, ends: Int64Array, low: Int64Array, high: Int64Array
) -> tuple[Float64Array, Int64Array]:
    """For each end, the greatest total gain of a cut in low … high, and the first cut that attains it."""
    lengths = high - low + 1
    starts = np.cumsum(lengths) - lengths
    cuts = np.arange(lengths.sum()) + np.repeat(low - starts, lengths)
    totals = np.repeat(sums[ends], lengths) - sums[cuts]
    totals *= totals
    totals /= np.repeat(counts[ends], lengths) - counts[cuts]
    totals += gains[cuts]
    best = np.maximum.reduceat(totals, starts)
    attained = np.flatnonzero(totals == np.repeat(best, lengths))
    return best, cuts[attained[np.searchsorted(attained, starts)]]
