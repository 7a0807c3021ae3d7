"""The PCA of fewer vectors than they have dimensions, by their Gram matrix: the same bits on every machine.

The covariance of 300 vectors of 14,336 dimensions is a matrix of 1.6 GB that has 299 directions. The Gram matrix of the
centred vectors, X · Xᵀ, is one of 300 × 300 numbers that has the same eigenvalues; of its eigenvectors u, Xᵀ · u are
those of the covariance (Turk and Pentland 1991, "Eigenfaces for recognition", §2.1).
"""

from collections.abc import Iterator

import numpy as np

from yt8m_pipeline.compression.exact_products import fold, product
from yt8m_pipeline.data_model import Float32Array, Float64Array

PANEL = 512
"""The number of dimensions that are multiplied at a time. The six slices of the factors (`exact_products`) of 14,335
vectors then take 350 MB, however many dimensions there are."""


def mean_of(vectors: Float32Array) -> Float64Array:
    """float64, (dimensions,): the mean of vectors, float32 (vectors, dimensions), of which there is at least one."""
    means = [fold(panel.astype(np.float64)) / len(vectors) for panel in np.split(vectors, _cuts(vectors), axis=1)]
    return np.concatenate(means)


def gram_matrix(vectors: Float32Array, mean: Float64Array) -> Float64Array:
    """The Gram matrix of the centred vectors over n − 1: it has the eigenvalues of their unbiased covariance.

    >>> gram_matrix(np.array([[0, 1], [2, 3]], np.float32), np.array([1.0, 2.0]))
    array([[ 2., -2.],
           [-2.,  2.]])

    Args:
        vectors: float32, (vectors, dimensions), at least two.
        mean: float64, (dimensions,), from `mean_of`.

    Returns:
        float64, (vectors, vectors), exactly symmetric.
    """
    total = np.zeros((len(vectors), len(vectors)))
    for panel in _centred(vectors, mean):
        total += product(panel, panel.T)
    lower = np.tril(total) / (len(vectors) - 1)
    symmetric: Float64Array = lower + np.tril(lower, -1).T
    return symmetric


def right_vectors(left: Float64Array, vectors: Float32Array, mean: Float64Array) -> Float64Array:
    """The eigenvectors of the covariance that belong to those of the Gram matrix.

    Args:
        left: float64, (components, vectors), eigenvectors of the Gram matrix as rows, of eigenvalues above 0.
        vectors: float32, (vectors, dimensions).
        mean: float64, (dimensions,), from `mean_of`.

    Returns:
        float64, (components, dimensions), rows of unit length.
    """
    rows = np.concatenate([product(left, panel) for panel in _centred(vectors, mean)], axis=1)
    lengths = np.sqrt(fold(np.square(rows.T)))
    unit: Float64Array = rows / lengths[:, np.newaxis]
    return unit


def _centred(vectors: Float32Array, mean: Float64Array) -> Iterator[Float64Array]:
    """The centred vectors, some dimensions at a time."""
    cuts = _cuts(vectors)
    for panel, own in zip(np.split(vectors, cuts, axis=1), np.split(mean, cuts), strict=True):
        yield panel - own


def _cuts(vectors: Float32Array) -> range:
    return range(PANEL, vectors.shape[1], PANEL)
