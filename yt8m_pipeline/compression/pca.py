"""Stage 6. PCA with whitening (paper §3.3), fitted or learnt elsewhere (paper §5.4)."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from yt8m_pipeline import files
from yt8m_pipeline.compression.artefacts import damage_named
from yt8m_pipeline.compression.moments import Moments
from yt8m_pipeline.data_model import Float32Array, Float64Array
from yt8m_pipeline.errors import DataError

_BLAS = ThreadpoolController()
_BLAS_LOCK = Lock()


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Pca:
    """A projection: y = (x − mean) · eigenvectorsᵀ / sqrt(eigenvalues + epsilon).

    Attributes:
        FILES: The names of the files that `save` writes.
        mean: float64, (dimensions,).
        eigenvalues: float64, (components,), of the unbiased covariance. Fitted: not increasing, ≥ 0.
        eigenvectors: float64, (components, dimensions); rows of unit length. Fitted: the largest entry of each by
            absolute value (the first, of several) is positive.
        total_variance: The trace of the covariance; NaN where it is not known.
        epsilon: Added to the eigenvalues before the square root.
    """

    FILES: ClassVar = ("mean.npy", "eigenvals.npy", "eigenvecs.npy", "total_variance.npy")

    mean: Float64Array
    eigenvalues: Float64Array
    eigenvectors: Float64Array
    total_variance: float
    epsilon: float

    def __post_init__(self) -> None:
        shape = (len(self.eigenvalues), len(self.mean))
        if self.eigenvectors.shape != shape or self.mean.ndim != 1 or self.eigenvalues.ndim != 1:
            raise ValueError(f"eigenvectors must be {shape}, got {self.eigenvectors.shape}")

    def __repr__(self) -> str:
        return f"Pca(components={self.components}, dimensions={len(self.mean)}, epsilon={self.epsilon:g})"

    @property
    def components(self) -> int:
        return len(self.eigenvalues)

    @property
    def explained_variance_ratio(self) -> Float64Array:
        """float64, (components,): each component's share of the total variance; NaN where that is 0 or not known."""
        return self.eigenvalues / self.total_variance if self.total_variance else np.full(self.components, np.nan)

    @property
    def projection(self) -> Float64Array:
        """float64, (components, dimensions): the eigenvectors with the whitening folded in, as MediaPipe has them."""
        return self.eigenvectors / np.sqrt(self.eigenvalues + self.epsilon)[:, np.newaxis]

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of all that `transform` depends on, in hexadecimal."""
        arrays = (self.mean, self.eigenvalues, self.eigenvectors, np.array(self.epsilon))
        return hashlib.sha256(b"".join(array.astype("<f8").tobytes() for array in arrays)).hexdigest()

    @classmethod
    def fit(cls, moments: Moments, *, components: int, epsilon: float) -> "Pca":
        """The leading components of the frames' covariance, by a symmetric eigendecomposition on one thread.

        Raises:
            DataError: if the frames or their dimensions are too few for the components, or if components without
                variance would be divided by an epsilon of zero.
        """
        _require_enough(moments, components)
        covariance = moments.covariance()
        with one_blas_thread():
            ascending, vectors = np.linalg.eigh(covariance)
        eigenvalues = np.maximum(ascending[::-1][:components], 0.0)
        _require_variance(eigenvalues, moments.dimensions, epsilon)
        total_variance = float(np.trace(covariance))
        return cls(
            moments.mean(), eigenvalues, _with_fixed_signs(vectors.T[::-1][:components]), total_variance, epsilon
        )

    @classmethod
    def from_projection(cls, mean: Float64Array, projection: Float64Array, epsilon: float) -> "Pca":
        """The same product as projection · (x − mean), whatever the epsilon: a row's length is its whitening.

        Args:
            mean: float64, (dimensions,).
            projection: float64, (components, dimensions), with the whitening folded in; no row is zero.
            epsilon: What was added to the eigenvalues; they are 1 / length² − epsilon.
        """
        lengths = np.linalg.norm(projection, axis=1)
        return cls(mean, lengths**-2 - epsilon, projection / lengths[:, np.newaxis], np.nan, epsilon)

    def transform(self, features: npt.NDArray[np.floating]) -> Float32Array:
        """Projects and whitens frames, in float64 and on one thread, so that equal input gives equal bytes.

        The last bits of a frame may depend on the frames beside it (BLAS sums the edge of a matrix in another order):
        where bytes matter, transform whole videos.

        Args:
            features: Any floating type, (frames, dimensions).

        Returns:
            float32, (frames, components).
        """
        centred = features - self.mean
        with one_blas_thread():
            projected = centred @ self.eigenvectors.T
        whitened: Float32Array = (projected / np.sqrt(self.eigenvalues + self.epsilon)).astype(np.float32)
        return whitened

    def save(self, folder: str) -> None:
        """Writes float64 .npy files in the published YouTube-8M layout, and the total variance beside them.

        mean.npy (dimensions, 1), eigenvals.npy (components, 1), eigenvecs.npy (components, dimensions).

        Raises:
            DataError: if a file cannot be written.
        """
        columns = self.mean[:, np.newaxis], self.eigenvalues[:, np.newaxis]
        arrays = (*columns, self.eigenvectors, np.array([[self.total_variance]]))
        for name, array in zip(self.FILES, arrays, strict=True):
            files.write_bytes(files.join(folder, name), npy_bytes(array))

    @classmethod
    def load(cls, folder: str, epsilon: float, components: int | None = None) -> "Pca":
        """Reads what `save` wrote, or the published files, which lack the total variance.

        Arrays may be float32 or float64, and a vector may be a row or a column.

        Args:
            folder: Where the files are.
            epsilon: Added to the eigenvalues before the square root.
            components: How many of the leading components to take, if there are more; None for all.

        Raises:
            DataError: if a file is missing, damaged or of another shape.
        """
        means, values, vectors, variance = (files.join(folder, name) for name in cls.FILES)
        mean, eigenvalues = _load_vector(means), _load_vector(values)[:components]
        eigenvectors = _load(vectors)[:components]
        total_variance = _load_number(variance) if files.exists(variance) else np.nan
        with damage_named(vectors):
            return cls(mean, eigenvalues, eigenvectors, total_variance, epsilon)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """The limit is the process's, so only one caller may set and restore it at a time."""
    with _BLAS_LOCK, _BLAS.limit(limits=1, user_api="blas"):
        yield


def _require_enough(moments: Moments, components: int) -> None:
    if moments.count <= components:
        raise DataError(
            what="The train split is too small for this PCA",
            where="pca.components",
            why=f"{moments.count} frames, but {components} components need at least {components + 1}",
            fix="add train videos, or set pca.components below the number of train frames",
        )
    if moments.dimensions < components:
        raise DataError(
            what="The PCA asks for more components than there are dimensions",
            where="pca.components",
            why=f"{components} components of features with {moments.dimensions} dimensions",
            fix=f"set pca.components to at most {moments.dimensions}",
        )


def _require_variance(eigenvalues: Float64Array, dimensions: int, epsilon: float) -> None:
    """Below dimensions · 2**-52 of the largest, an eigenvalue is rounding noise (as in numpy.linalg.matrix_rank)."""
    noise = eigenvalues[0] * dimensions * np.finfo(np.float64).eps
    if eigenvalues[-1] + epsilon <= noise:
        raise DataError(
            what="Whitening would divide by zero",
            where="pca.epsilon",
            why=f"only {np.count_nonzero(eigenvalues > noise)} of {len(eigenvalues)} components vary, "
            f"epsilon is {epsilon}",
            fix="raise pca.epsilon, or lower pca.components to the components that vary",
        )


def _with_fixed_signs(vectors: Float64Array) -> Float64Array:
    """Each row's largest entry by absolute value, the first of several, becomes positive."""
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, np.newaxis], axis=1)
    return np.ascontiguousarray(vectors * np.where(largest < 0, -1.0, 1.0))


def npy_bytes(array: Float64Array) -> bytes:
    """The bytes of a .npy file with the array as little-endian float64."""
    stream = io.BytesIO()
    np.save(stream, array.astype("<f8"), allow_pickle=False)
    return stream.getvalue()


def _read(uri: str) -> Float64Array:
    with damage_named(uri):
        array = np.load(io.BytesIO(files.read_bytes(uri)), allow_pickle=False)
        if array.dtype not in (np.float32, np.float64) or array.ndim not in (1, 2):
            raise ValueError(f"holds {array.dtype} {array.shape}, not a vector or matrix of float32 or float64")
    return np.ascontiguousarray(array, np.float64)


def _load(uri: str) -> Float64Array:
    array = _read(uri)
    with damage_named(uri):
        if not np.isfinite(array).all():
            raise ValueError("holds values that are not finite")
    return array


def _load_vector(uri: str) -> Float64Array:
    array = _load(uri)
    with damage_named(uri):
        if array.size != max(array.shape):
            raise ValueError(f"holds {array.shape}, not a vector")
    return array.ravel()


def _load_number(uri: str) -> float:
    array = _read(uri)
    with damage_named(uri):
        return float(array.item())
