"""The PCA by the Gram matrix against the one by moments, against NumPy, and bit by bit."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from yt8m_pipeline.compression import gram
from yt8m_pipeline.compression.moments import Moments, grid_exponent
from yt8m_pipeline.compression.pca import Fitted, Pca
from yt8m_pipeline.data_model import Float32Array
from yt8m_pipeline.errors import DataError

VECTORS = Fitted("vectors", "--components", None)


def vectors_of(count: int, dimensions: int, seed: int = 0) -> Float32Array:
    """Vectors of a falling spectrum, in multiples of 2**-10, which the grid of the moments holds exactly."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(count, count)) * np.geomspace(8, 0.5, count)
    axes = np.linalg.qr(rng.normal(size=(dimensions, count)))[0]
    vectors: Float32Array = (np.rint((scores @ axes.T + 1) * 1024) / 1024).astype(np.float32)
    return vectors


@given(st.integers(3, 30), st.integers(0, 40), st.integers(0, 9))
@settings(max_examples=25)
def test_it_is_the_pca_of_the_moments(count: int, more: int, seed: int) -> None:
    vectors = vectors_of(count, count + more, seed)
    components = count // 2
    ours = Pca.fit_by_gram(vectors, components=components, relative_epsilon=0.01)
    moments = Moments.from_frames(vectors, grid_exponent(float(abs(vectors).max())))
    theirs = Pca.fit(moments, components=components, relative_epsilon=0.01)
    np.testing.assert_allclose(ours.mean, theirs.mean, atol=1e-6)
    np.testing.assert_allclose(ours.eigenvalues, theirs.eigenvalues, rtol=1e-6)
    assert (ours.total_variance, ours.epsilon) == pytest.approx((theirs.total_variance, theirs.epsilon), rel=1e-6)
    signs = np.sign((ours.eigenvectors * theirs.eigenvectors).sum(axis=1))[:, np.newaxis]
    np.testing.assert_allclose(ours.eigenvectors, theirs.eigenvectors * signs, atol=1e-6)
    planes = [pca.eigenvectors.T @ pca.eigenvectors for pca in (ours, theirs)]
    np.testing.assert_allclose(planes[0], planes[1], atol=1e-6)
    np.testing.assert_allclose(ours.eigenvectors @ ours.eigenvectors.T, np.eye(components), atol=1e-12)


def test_it_agrees_with_numpy_over_several_panels() -> None:
    vectors = vectors_of(20, 3 * gram.PANEL + 7)
    pca = Pca.fit_by_gram(vectors, components=10)
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(pca.eigenvalues, singular[:10] ** 2 / 19, rtol=1e-12)
    np.testing.assert_allclose(np.abs((pca.eigenvectors * axes[:10]).sum(axis=1)), 1, atol=1e-12)
    assert pca.total_variance == pytest.approx(np.square(singular).sum() / 19, rel=1e-12)


def test_it_has_the_same_bits_whatever_the_threads() -> None:
    vectors = vectors_of(40, 700)
    prints = set()
    for threads in (1, 2, 2):
        with threadpool_limits(threads):
            prints.add(Pca.fit_by_gram(vectors, components=20, relative_epsilon=0.01).fingerprint)
    assert len(prints) == 1


def test_the_gram_matrix_is_symmetric_to_the_bit() -> None:
    vectors = vectors_of(50, 600)
    found = gram.gram_matrix(vectors, gram.mean_of(vectors))
    np.testing.assert_array_equal(found, found.T)


@pytest.mark.parametrize(
    ("vectors", "components", "what", "why"),
    [
        (vectors_of(4, 9), 4, "too small for this PCA", "4 vectors, but 4 components need at least 5"),
        (vectors_of(9, 9)[:, :3], 4, "more components than there are dimensions", "4 components of features with 3"),
        (np.full((5, 9), 1.1, np.float32), 2, "do not vary", "all 5 vectors have the same 9 features"),
        (np.repeat(vectors_of(2, 9), 3, axis=0), 3, "divide by zero", "only 1 of 3 components vary"),
    ],
)
def test_what_cannot_be_fitted_is_refused(vectors: Float32Array, components: int, what: str, why: str) -> None:
    with pytest.raises(DataError, match=f"(?s){re.escape(what)}.*{re.escape(why)}") as caught:
        Pca.fit_by_gram(vectors, components=components, relative_epsilon=0.01, to=VECTORS)
    assert "pca." not in str(caught.value)
    assert "None" not in str(caught.value)
