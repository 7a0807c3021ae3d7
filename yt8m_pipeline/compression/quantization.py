"""Stage 7. One byte per coefficient (paper §3.3: 256 distinct values, optimally computed, non-uniform bins)."""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast, get_args

import numpy as np
import numpy.typing as npt

from yt8m_pipeline import files
from yt8m_pipeline.compression.artefacts import damage_named, read_artefact, require_readable
from yt8m_pipeline.compression.histogram import STEPS_PER_UNIT, Histogram, Scope
from yt8m_pipeline.compression.optimal_cells import Line, optimal_cells
from yt8m_pipeline.data_model import Float32Array, Int64Array, UInt8Array
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.parsing import parse_npz

QuantizerName: TypeAlias = Literal["optimal", "uniform"]

LEVELS_KEY: Mapping[Scope, str] = {"shared": "levels", "per_dimension": "levels_of_dimension"}
"""The name of the array of levels in the .npz."""

FIT_REVISION = 2
"""The revision of `Quantizer.fit`. Whoever changes a bit of the levels that it returns raises this number."""

ENCODE_REVISION = 2
"""The revision of what stands in a shard: `Pca.transform` and `Quantizer.encode`. Whoever changes a code raises it."""

FORMAT = 1
"""The number of the format of a saved codebook. One without a number is of version 0.1.0, and is read, too."""

MAX_LEVELS = 256
"""The number of values of a code, which is one byte (paper §3.3: 256 distinct values)."""

UNIFORM_BOUND = 2.0
"""The range of the public readers is [−2, 2]: their min_quantized_value and max_quantized_value."""


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Quantizer:
    """A codebook that encodes coefficients as one byte each, and decodes them.

    >>> quantizer = Quantizer.fit(Histogram.from_values(np.array([-1, -1, 0, 1, 5], np.float32)), levels=3)
    >>> quantizer.encode(np.array([-2, 0.25, 9], np.float32)), quantizer.levels
    (array([0, 1, 2], dtype=uint8), array([-1. ,  0.5,  5. ], dtype=float32))

    Attributes:
        levels: float32, (levels,), shared by all dimensions, code q standing for levels[q]; or (dimensions, levels),
            code q of dimension d standing for levels[d, q]. At most 256, finite and strictly increasing.
        name: `optimal` encodes to the nearest level; `uniform` by the public YouTube-8M rule.
    """

    levels: Float32Array
    name: QuantizerName

    def __post_init__(self) -> None:
        if self.name not in get_args(QuantizerName):
            raise ValueError(f"there is no quantizer {self.name!r}")
        if self.levels.dtype != np.float32 or self.levels.ndim not in (1, 2) or self.levels.size == 0:
            raise ValueError(f"levels are float32 of one or two axes, got {self.levels.dtype} {self.levels.shape}")
        if self.length > MAX_LEVELS:
            raise ValueError(f"a code has {MAX_LEVELS} values, got levels {self.levels.shape}")
        if not np.isfinite(self.levels).all() or (np.diff(self.levels) <= 0).any():
            raise ValueError("levels must be finite and strictly increasing")
        if self.name == "uniform" and not np.array_equal(self.levels, _uniform_levels()):
            raise ValueError("the levels are not those of the public uniform quantizer")

    def __repr__(self) -> str:
        return f"Quantizer({self.name!r}, {self.scope}, levels={self.length})"

    @property
    def scope(self) -> Scope:
        """Whether all dimensions share the levels or each has its own."""
        return "shared" if self.levels.ndim == 1 else "per_dimension"

    @property
    def length(self) -> int:
        """The number of levels of a dimension."""
        return int(self.levels.shape[-1])

    @property
    def feature_name(self) -> str:
        """The feature list that holds the codes: public readers may misread all but uniform ones, so not `rgb`."""
        return "rgb" if self.name == "uniform" else "rgb_codes"

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the name, the levels and, if each dimension has its own, their shape, in hexadecimal."""
        head = self.name if self.scope == "shared" else f"{self.name} {self.levels.shape}"
        return hashlib.sha256(head.encode() + b"\0" + self.levels.astype("<f4").tobytes()).hexdigest()

    @classmethod
    def fit(cls, histogram: Histogram, levels: int = MAX_LEVELS) -> "Quantizer":
        """The levels of least mean squared error over all quantizers of a histogram: the global optimum.

        The optimum is exact (`optimal_cells`), and each level is the centroid of its cell. From a histogram of several
        dimensions, each dimension gets its own levels. Where there are fewer distinct centroids than levels, each
        centroid is a level; beside longer rows, such a row is filled up with levels just above its last one.

        Raises:
            DataError: if the histogram is empty.
        """
        if histogram.count == 0:
            raise DataError(
                what="There is nothing to fit a quantizer to",
                where="train frames",
                why="no coefficient",
                fix="add videos to train",
            )
        lines = [_line(*histogram.occupied(dimension)) for dimension in range(histogram.dimensions)]
        rows = list(map(_centroids, lines, optimal_cells(lines, levels), histogram.steps.tolist()))
        length = max(map(len, rows))
        table = np.stack(list(map(_lengthened, rows, [length] * len(rows), histogram.steps.tolist())))
        return cls(table[0] if histogram.dimensions == 1 else table, "optimal")

    @classmethod
    def uniform(cls) -> "Quantizer":
        """The quantizer that every public YouTube-8M reader assumes: 256 even levels over [−2, 2]."""
        return cls(_uniform_levels(), "uniform")

    def encode(self, values: Float32Array) -> UInt8Array:
        """The code of each value, in the same shape, (…, dimensions); infinite values go to the end levels.

        `optimal` takes the nearest level, and the lower one of a tie, by midpoints in float64. `uniform` takes
        floor((clip(y, −2, 2) + 2) · 255 / 4), where the sum is in float32 and the product exact, as in MediaPipe's
        extractor; its level is the middle of the floor's interval.

        Raises:
            DataError: if a value is NaN, or the dimensions are not the codebook's.
        """
        self._require_dimensions(values)
        exact = values.astype(np.float64)
        if np.isnan(exact).any():
            raise DataError(
                what="A PCA coefficient cannot be encoded",
                where=f"{np.isnan(exact).sum()} of {exact.size} coefficients",
                why="it is not a number",
                fix="verify the feature store and the PCA of this dataset",
            )
        if self.name == "uniform":
            bound = np.float32(UNIFORM_BOUND)
            raised = np.clip(values.astype(np.float32), -bound, bound) + bound
            return np.floor(raised.astype(np.float64) * 255 / (2 * UNIFORM_BOUND)).astype(np.uint8)
        levels = self.levels.astype(np.float64)
        bounds = (levels[..., :-1] + levels[..., 1:]) / 2
        if self.scope == "shared":
            return np.searchsorted(bounds, exact).astype(np.uint8)
        codes = np.empty(values.shape, np.uint8)
        for dimension, own in enumerate(bounds):
            codes[..., dimension] = np.searchsorted(own, exact[..., dimension])
        return codes

    def clipped(self, values: Float32Array) -> int:
        """How many values are outside [−2, 2], which `uniform` clips; `optimal` has no range and clips none."""
        return int(np.count_nonzero(np.abs(values) > UNIFORM_BOUND)) if self.name == "uniform" else 0

    def overloaded(self, values: Float32Array) -> npt.NDArray[np.bool_]:
        """Which values lie beyond the outer cells, in the same shape, (…, dimensions).

        The outer cells have no end; they are taken to reach as far beyond their level as within, half the step to the
        next level. The error of a value within is small; what lies beyond may be any distance from its level.
        """
        levels = self.levels.astype(np.float64)
        steps = np.diff(levels) if self.length > 1 else np.zeros_like(levels)
        beyond: npt.NDArray[np.bool_] = (values < levels[..., 0] - steps[..., 0] / 2) | (
            values > levels[..., -1] + steps[..., -1] / 2
        )
        return beyond

    def decode(self, codes: UInt8Array) -> Float32Array:
        """float32: the level of each code, in the same shape.

        Raises:
            DataError: if a code has no level, or the dimensions are not the codebook's.
        """
        self._require_dimensions(codes)
        self.require_levels(codes)
        return self.levels[codes] if self.scope == "shared" else self.levels[np.arange(len(self.levels)), codes]

    def require_levels(self, codes: UInt8Array) -> None:
        """Refuses codes that have no level.

        Raises:
            DataError: if there is one.
        """
        if self.length < MAX_LEVELS and codes.size and codes.max() >= self.length:
            raise DataError(
                what="A code has no level",
                where=f"feature {self.feature_name}",
                why=f"code {codes.max()}, but the codebook has {self.length} levels",
                fix="read the records with the quantizer.npz of their own dataset",
            )

    def _require_dimensions(self, array: Float32Array | UInt8Array) -> None:
        if self.scope == "per_dimension" and array.shape[-1:] != self.levels.shape[:1]:
            raise DataError(
                what="The codebook is of another number of dimensions",
                where=f"feature {self.feature_name}",
                why=f"an array of shape {array.shape}, but the codebook has levels for {len(self.levels)} dimensions",
                fix="use the quantizer.npz and the PCA of one and the same dataset",
            )

    def save(self, uri: str) -> None:
        """Writes the codebook to a file.

        Raises:
            DataError: if the file cannot be written.
        """
        files.write_bytes(uri, self.to_bytes())

    def to_bytes(self) -> bytes:
        """The levels, the name and the number of the format as an .npz, the same bytes every time.

        Levels per dimension have a name of their own, so that a reader that knows only shared ones stops at once.
        """
        stream = io.BytesIO()
        arrays = {LEVELS_KEY[self.scope]: self.levels.astype("<f4"), "name": np.array(self.name)}
        np.savez(stream, **arrays, format=np.array(FORMAT, "<i8"))  # type: ignore[arg-type]
        return stream.getvalue()

    @classmethod
    def load(cls, uri: str) -> "Quantizer":
        """Reads what `save` wrote, in this version or an older one.

        Raises:
            DataError: if the file is missing, damaged, not a quantizer or of a newer format.
        """
        with damage_named(uri):
            arrays = parse_npz(read_artefact(uri))
            require_readable(uri, int(arrays["format"]) if "format" in arrays else FORMAT, FORMAT)
            scope: Scope = "per_dimension" if LEVELS_KEY["per_dimension"] in arrays else "shared"
            loaded = cls(arrays[LEVELS_KEY[scope]], cast(QuantizerName, str(arrays["name"])))
            if loaded.scope != scope:
                raise ValueError(f"{LEVELS_KEY[scope]} of shape {loaded.levels.shape} are not {scope}")
            return loaded


def _uniform_levels() -> Float32Array:
    """The levels q · 4 / 255 + 4 / 512 − 2, computed in float32 throughout as the public reader's `Dequantize` does."""
    width = 2 * UNIFORM_BOUND
    return np.arange(MAX_LEVELS, dtype=np.float32) * np.float32(width / 255) + np.float32(width / 512 - UNIFORM_BOUND)


def _line(counts: Int64Array, sums: Int64Array) -> Line:
    return Line(*(np.concatenate([[0], np.cumsum(values)]).astype(np.float64) for values in (counts, sums)))


def _centroids(line: Line, ends: Int64Array, step: float) -> Float32Array:
    """The mean of each cell; means that are one float32 are one level."""
    means = np.diff(line.sums[ends]) / np.diff(line.counts[ends]) * step
    return np.unique(means.astype(np.float32))


def _lengthened(levels: Float32Array, length: int, step: float) -> Float32Array:
    """The levels of a dimension with too few distinct values. More follow the last one closely, and harm nothing."""
    last = float(levels[-1])
    more = last + max(step, abs(last) / STEPS_PER_UNIT) * np.arange(1, length - len(levels) + 1)
    return np.concatenate([levels, more.astype(np.float32)])
