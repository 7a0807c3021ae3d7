"""A PCA from and for other programs: the published .npy files and MediaPipe's MatrixData (paper §5.4)."""

from dataclasses import replace

import numpy as np

from yt8m_pipeline import files
from yt8m_pipeline.compression.exact_products import one_blas_thread
from yt8m_pipeline.compression.pca import PUBLISHED_EPSILON, Pca, npy_bytes
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.interop.matrix_data import load_projection, projection_files, save_projection

NOT_ORTHONORMAL = 1e-3
"""The scalar products of eigenvectors may differ by at most this much from those of orthonormal vectors. Files in
float32 keep them within 1e-5; a transposed or shuffled matrix is off by about 1."""

RISING = 1e-3
"""An eigenvalue may be larger than the one before it by at most this share, since equal ones come rounded."""


def save_published(pca: Pca, folder: str) -> None:
    """Writes what the public extractor reads, for its epsilon of 1e-4: float64 arrays of the shapes of `Pca.save`.

    Raises:
        DataError: if a file cannot be written.
    """
    eigenvalues = pca.eigenvalues + (pca.epsilon - PUBLISHED_EPSILON)
    arrays = pca.mean[:, np.newaxis], eigenvalues[:, np.newaxis], pca.eigenvectors
    for name, array in zip(Pca.FILES[:3], arrays, strict=True):
        files.write_bytes(files.join(folder, name), npy_bytes(array))


def save_mediapipe(pca: Pca, folder: str) -> None:
    """Writes the two files that MediaPipe's YouTube-8M graph reads; errors as for `save_published`."""
    save_projection(folder, pca.mean, pca.projection)


def imported_files(folder: str) -> list[str]:
    """The names of the files in a folder that `import_pca` reads."""
    names = set(files.list_files(folder))
    return [name for name in Pca.FILES if name in names] or projection_files(folder)


def import_pca(folder: str, components: int | None, epsilon: float | None = None) -> Pca:
    """A PCA that was learnt elsewhere (paper §5.4), from the published files or MediaPipe's.

    Args:
        folder: Where its files are: those of `Pca.load` or, if there is none of them, of `load_projection`.
        components: How many of its leading components to take; None for all.
        epsilon: The number added to the eigenvalues. None takes the one that the PCA was saved with, or the public
            extractor's 1e-4 where the files do not tell. It does not change MediaPipe's files, in which the whitening
            is folded.

    Raises:
        UsageError: if a file is missing or damaged, if there are fewer components, or if this is no PCA.
    """
    try:
        pca = _load_any(folder, components, epsilon)
    except DataError as error:
        fix = "give pca.source a folder with mean.npy, eigenvals.npy and eigenvecs.npy, or with MediaPipe's two files"
        raise _unusable(error.where, error.why, fix) from error
    if components is not None and pca.components < components:
        fix = f"set pca.components to at most {pca.components}, or import another PCA"
        raise _unusable(folder, f"it has {pca.components} components, pca.components asks for {components}", fix)
    _require_whitening(pca, folder)
    return pca


def require_dimensions(pca: Pca, dimensions: int, folder: str) -> None:
    """Raises a UsageError if an imported PCA is not one of features with so many dimensions."""
    if len(pca.mean) != dimensions:
        why = f"it is of {len(pca.mean)} dimensions, the features have {dimensions}"
        raise _unusable(folder, why, "import a PCA that was learnt on features of the same network")


def _load_any(folder: str, components: int | None, epsilon: float | None) -> Pca:
    if any(name in Pca.FILES for name in imported_files(folder)):
        pca = Pca.load(folder, components)
        return pca if epsilon is None else replace(pca, epsilon=epsilon)
    mean, projection = load_projection(folder)
    return Pca.from_projection(mean, projection[:components], PUBLISHED_EPSILON if epsilon is None else epsilon)


def _require_whitening(pca: Pca, folder: str) -> None:
    with one_blas_thread():
        products = pca.eigenvectors @ pca.eigenvectors.T
    error = np.abs(products - np.eye(pca.components)).max()
    if error > NOT_ORTHONORMAL:
        fix = "check that rows are components, and in which order they were written: MatrixData is column-major"
        raise _unusable(folder, f"its eigenvectors are not orthonormal: their products are off by {error:.2g}", fix)
    variances = pca.eigenvalues + pca.epsilon
    if not (variances > 0).all() or not pca.eigenvalues.any():
        why = f"an eigenvalue is {pca.eigenvalues.min():g}, and pca.epsilon {pca.epsilon:g}"
        raise _unusable(folder, why, "raise pca.epsilon, or lower pca.components to the components that vary")
    rising = np.flatnonzero(variances[1:] > variances[:-1] * (1 + RISING))
    if len(rising):
        before, after = pca.eigenvalues[rising[0] : rising[0] + 2]
        why = f"its eigenvalues do not fall: {after:g} follows {before:g}"
        raise _unusable(folder, why, "sort its components by variance, the greatest first")


def _unusable(where: str, why: str, fix: str) -> UsageError:
    return UsageError(what="The PCA to import cannot be used", where=where, why=why, fix=fix)
