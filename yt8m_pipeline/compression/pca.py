"""Stage 6. PCA with whitening (paper §3.3), fitted or learnt elsewhere (paper §5.4)."""

import hashlib
import io
import json
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from yt8m_pipeline import files
from yt8m_pipeline.compression.artefacts import damage_named, read_artefact, require_readable
from yt8m_pipeline.compression.eigen import leading_eigenpairs
from yt8m_pipeline.compression.exact_products import fold, product
from yt8m_pipeline.compression.gram import gram_matrix, mean_of, right_vectors
from yt8m_pipeline.compression.histogram import Scope
from yt8m_pipeline.compression.moments import Moments
from yt8m_pipeline.data_model import Float32Array, Float64Array, Int64Array
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.parsing import parse_json, parse_npy

REVISION = 2
"""The revision of `Pca.fit`. Whoever changes a bit of what it returns raises this number, so that finished fits are
made again. 1: LAPACK's eigenvectors, which had other bits on each kind of processor."""

FORMAT = 1
"""The number of the format of the saved files, in pca.json. Files without that one are of version 0.1.0 of this
package or of the public extractor, and are read, too."""

PUBLISHED_EPSILON = 1e-4
"""The number that the public extractor adds to eigenvals.npy (google/youtube-8m, feature_extractor.py)."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a PCA is fitted to, as its errors name it.

    Attributes:
        rows: What there must be enough of.
        components: The setting that says how many components are kept.
        epsilon: The setting that says what is added to the eigenvalues; None: it is fixed.
    """

    rows: str
    components: str
    epsilon: str | None


FRAMES = Fitted("frames", "pca.components", "pca.epsilon")
"""A build fits a PCA to the frames of its train videos."""


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Pca:
    """A projection with whitening: y = (x − mean) · eigenvectorsᵀ / sqrt(eigenvalues + epsilon).

    >>> from yt8m_pipeline.compression.moments import grid_exponent
    >>> frames = np.array([[0, 0], [4, 0], [0, 2], [4, 2]], np.float32)
    >>> pca = Pca.fit(Moments.from_frames(frames, grid_exponent(4.0)), components=1, epsilon=0.0)
    >>> pca.eigenvectors, pca.transform(frames).round(2).ravel()
    (array([[1., 0.]]), array([-0.87,  0.87, -0.87,  0.87], dtype=float32))

    Attributes:
        FILES: The names of the files that `save` writes: four arrays, and what they do not tell.
        mean: float64, (dimensions,), the mean of the frames.
        eigenvalues: float64, (components,), those of the unbiased covariance. Fitted ones do not increase and are ≥ 0.
        eigenvectors: float64, (components, dimensions), rows of unit length. In each row of a fitted PCA, the largest
            entry by absolute value (the first of several) is positive.
        total_variance: The trace of the covariance; NaN where it is not known.
        epsilon: The number added to the eigenvalues before the square root.
    """

    FILES: ClassVar = ("mean.npy", "eigenvals.npy", "eigenvecs.npy", "total_variance.npy", "pca.json")

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
    def whitened_variances(self) -> Float64Array:
        """float64, (components,): the variances of the coefficients of the frames that the PCA was fitted on."""
        variances: Float64Array = self.eigenvalues / (self.eigenvalues + self.epsilon)
        return variances

    def scale_exponents(self, scope: Scope) -> Int64Array:
        """int64, (1,) or (components,): e such that the coefficients, times 2**−e, have a variance from ½ to 2.

        They are those of a `Histogram` of all dimensions as one, or of each by itself.
        """
        variances = self.whitened_variances if scope == "per_dimension" else self.whitened_variances.mean(keepdims=True)
        exponents: Int64Array = np.frexp(np.maximum(variances, 0.0))[1].astype(np.int64) // 2
        return exponents

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
    def fit(
        cls,
        moments: Moments,
        *,
        components: int,
        epsilon: float = 0.0,
        relative_epsilon: float = 0.0,
        to: Fitted = FRAMES,
    ) -> "Pca":
        """The leading components of the frames' covariance, with the same bits on every machine.

        Args:
            moments: The moments of the frames.
            components: How many components to keep.
            epsilon: The number added to the eigenvalues before the square root.
            relative_epsilon: What is added besides, as a share of the smallest eigenvalue that is kept. The whitened
                variance of a component is λ / (λ + ε), hence at least 1 / (1 + relative_epsilon), at every scale.
            to: What the rows are, if they are no frames.

        Raises:
            DataError: if the frames or their dimensions are too few for the components, if no feature varies, or if
                components without variance would be divided by an epsilon of zero.
        """
        shape = moments.count, moments.dimensions
        require_enough(shape, components, to)
        covariance = moments.covariance()
        total_variance = math.fsum(covariance.diagonal())
        _require_any_variance(shape, total_variance, to)
        eigenvalues, eigenvectors = leading_eigenpairs(covariance, components)
        eigenvalues = np.maximum(eigenvalues, 0.0)
        epsilon += relative_epsilon * float(eigenvalues[-1])
        _require_variance(eigenvalues, moments.dimensions, epsilon, to)
        return cls(moments.mean(), eigenvalues, _with_fixed_signs(eigenvectors), total_variance, epsilon)

    @classmethod
    def fit_by_gram(
        cls, vectors: Float32Array, *, components: int, relative_epsilon: float = 0.0, to: Fitted = FRAMES
    ) -> "Pca":
        """The same for fewer vectors than they have dimensions, without their covariance, by the Gram matrix.

        The vectors are not rounded to a grid, and so the last digits are not those of `fit`.

        Args:
            vectors: float32, (vectors, dimensions). Their order changes the last digits.
            components: How many components to keep, fewer than vectors.
            relative_epsilon: As for `fit`.
            to: What the vectors are.

        Raises:
            DataError: as `fit` does.
        """
        require_enough(vectors.shape, components, to)
        mean = mean_of(vectors)
        gram = gram_matrix(vectors, mean)
        total_variance = math.fsum(gram.diagonal())
        _require_any_variance(vectors.shape, total_variance, to)
        eigenvalues, left = leading_eigenpairs(gram, components)
        eigenvalues = np.maximum(eigenvalues, 0.0)
        epsilon = relative_epsilon * float(eigenvalues[-1])
        _require_variance(eigenvalues, len(vectors), epsilon, to)
        eigenvectors = _with_fixed_signs(right_vectors(left, vectors, mean))
        return cls(mean, eigenvalues, eigenvectors, total_variance, epsilon)

    @classmethod
    def from_projection(cls, mean: Float64Array, projection: Float64Array, epsilon: float) -> "Pca":
        """The same product as projection · (x − mean), whatever the epsilon: a row's length is its whitening.

        Args:
            mean: float64, (dimensions,).
            projection: float64, (components, dimensions), with the whitening folded in; no row is zero.
            epsilon: The number that was added to the eigenvalues; they are 1 / length² − epsilon.
        """
        lengths = np.sqrt(fold(np.square(projection.T)))
        return cls(mean, lengths**-2 - epsilon, projection / lengths[:, np.newaxis], np.nan, epsilon)

    def transform(self, features: npt.NDArray[np.floating]) -> Float32Array:
        """Projects and whitens frames, with the same bits on every machine and whatever frames are beside them.

        Args:
            features: float16, float32 or float64, (frames, dimensions).

        Returns:
            float32, (frames, components).
        """
        projected = product(features - self.mean, self.eigenvectors.T)
        whitened: Float32Array = (projected / np.sqrt(self.eigenvalues + self.epsilon)).astype(np.float32)
        return whitened

    def inverse_transform(self, coefficients: npt.NDArray[np.floating]) -> Float32Array:
        """The frames that coefficients come from, as far as the components tell, with the same bits on every machine.

        Args:
            coefficients: float32 or float64, (frames, components).

        Returns:
            float32, (frames, dimensions).
        """
        projected = coefficients.astype(np.float64) * np.sqrt(self.eigenvalues + self.epsilon)
        frames: Float32Array = (product(projected, self.eigenvectors) + self.mean).astype(np.float32)
        return frames

    def save(self, folder: str) -> None:
        """Writes the files of `to_files` to a folder.

        Raises:
            DataError: if a file cannot be written.
        """
        for name, data in self.to_files().items():
            files.write_bytes(files.join(folder, name), data)

    def to_files(self) -> dict[str, bytes]:
        """The float64 .npy files of the published YouTube-8M layout by name, and beside them what these do not tell.

        The published ones are mean.npy (dimensions, 1), eigenvals.npy (components, 1) and eigenvecs.npy (components,
        dimensions). total_variance.npy is (1, 1); pca.json has the epsilon and the number of the format.
        """
        columns = self.mean[:, np.newaxis], self.eigenvalues[:, np.newaxis]
        arrays = map(npy_bytes, (*columns, self.eigenvectors, np.array([[self.total_variance]])))
        told = json.dumps({"epsilon": self.epsilon, "format": FORMAT}).encode()
        return dict(zip(self.FILES, (*arrays, told), strict=True))

    @classmethod
    def load(cls, folder: str, components: int | None = None, *, epsilon: float = PUBLISHED_EPSILON) -> "Pca":
        """Reads what `save` wrote, in this version or an older one, or the published files.

        Arrays may be float32 or float64, and a vector may be a row or a column.

        Args:
            folder: The folder with the files.
            components: How many of the leading components to take, if there are more; None for all.
            epsilon: The number added to the eigenvalues where no pca.json tells it.

        Raises:
            DataError: if a file is missing, damaged, of another shape or of a newer format.
        """
        means, values, vectors, variance, told = (files.join(folder, name) for name in cls.FILES)
        epsilon = _load_epsilon(told) if files.exists(told) else epsilon
        mean, eigenvalues = _load_vector(means), _load_vector(values)[:components]
        eigenvectors = _load(vectors)[:components]
        total_variance = _load_number(variance) if files.exists(variance) else np.nan
        with damage_named(vectors):
            return cls(mean, eigenvalues, eigenvectors, total_variance, epsilon)


def noise_level(eigenvalues: Float64Array, dimensions: int) -> float:
    """What is at most rounding noise: dimensions · 2**-52 of the largest eigenvalue, as in numpy.linalg.matrix_rank."""
    return float(eigenvalues[0]) * dimensions * float(np.finfo(np.float64).eps)


MOST_COMPONENTS = 1024
"""The largest number of components that is taken unasked: that of the paper (§3.3)."""

FRAMES_PER_COMPONENT = 10
"""How many frames a component needs to be worth fitting, by the rule of thumb of ten observations for each variable."""


def components_for(frames: int) -> int:
    """The largest power of two of which there are ten times as many frames, from 1 to 1,024.

    >>> [components_for(frames) for frames in (3, 137, 2559, 2560, 10**9)]
    [1, 8, 128, 256, 1024]
    """
    return 1 << max(min(frames // FRAMES_PER_COMPONENT, MOST_COMPONENTS).bit_length() - 1, 0)


def require_enough(shape: tuple[int, ...], components: int, to: Fitted) -> None:
    """Refuses to fit more components than rows or dimensions tell.

    Args:
        shape: The number of rows, and of their dimensions.
        components: How many components are wanted.
        to: What the rows are.

    Raises:
        DataError: if there are too few.
    """
    count, dimensions = shape
    if count <= components:
        raise DataError(
            what="The train partition is too small for this PCA",
            where=to.components,
            why=f"{count} {to.rows}, but {components} components need at least {components + 1}",
            fix=f"add train videos, or set {to.components} below the number of train {to.rows}",
        )
    if dimensions < components:
        raise DataError(
            what="The PCA asks for more components than there are dimensions",
            where=to.components,
            why=f"{components} components of features with {dimensions} dimensions",
            fix=f"set {to.components} to at most {dimensions}",
        )


def _require_any_variance(shape: tuple[int, ...], total_variance: float, to: Fitted) -> None:
    count, dimensions = shape
    if total_variance == 0:
        raise DataError(
            what="The features of the train partition do not vary",
            where=f"train {to.rows}",
            why=f"all {count} {to.rows} have the same {dimensions} features: their total variance is 0",
            fix="see what the model makes of the videos: it answers the same to each of them",
        )


def _require_variance(eigenvalues: Float64Array, dimensions: int, epsilon: float, to: Fitted) -> None:
    """Refuses to divide by rounding noise."""
    noise = noise_level(eigenvalues, dimensions)
    if eigenvalues[-1] + epsilon <= noise:
        raising = f"raise {to.epsilon}, or " if to.epsilon else ""
        raise DataError(
            what="Whitening would divide by zero",
            where=to.epsilon or to.components,
            why=f"only {np.count_nonzero(eigenvalues > noise)} of {len(eigenvalues)} components vary, "
            f"epsilon is {epsilon}",
            fix=f"{raising}lower {to.components} to the components that vary",
        )


def _with_fixed_signs(vectors: Float64Array) -> Float64Array:
    """The rows with such signs that each one's largest entry by absolute value, the first of several, is positive."""
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, np.newaxis], axis=1)
    return np.ascontiguousarray(vectors * np.where(largest < 0, -1.0, 1.0))


def npy_bytes(array: Float64Array) -> bytes:
    """The bytes of a .npy file with the array as little-endian float64."""
    stream = io.BytesIO()
    np.save(stream, array.astype("<f8"), allow_pickle=False)
    return stream.getvalue()


def _read(uri: str) -> Float64Array:
    with damage_named(uri):
        array = parse_npy(read_artefact(uri))
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


def _load_epsilon(uri: str) -> float:
    """The epsilon in a pca.json; fields that this version does not know are left alone."""
    with damage_named(uri):
        told = parse_json(read_artefact(uri))
        require_readable(uri, int(told["format"]), FORMAT)
        epsilon = float(told["epsilon"])
        if not (math.isfinite(epsilon) and epsilon >= 0):
            raise ValueError(f"its epsilon is {epsilon}")
    return epsilon
