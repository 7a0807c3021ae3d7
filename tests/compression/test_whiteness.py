"""How white coefficients are, against the coefficients themselves."""

from typing import Any

import numpy as np
import pytest

from yt8m_pipeline.compression.moments import Moments, grid_exponent
from yt8m_pipeline.compression.pca import Pca
from yt8m_pipeline.compression.whiteness import Suitability, Whitening, warnings_of_few_frames
from yt8m_pipeline.data_model import Float32Array
from yt8m_pipeline.errors import DataError


def steep(scale: float) -> Float32Array:
    """Frames whose components have standard deviations from 3 down to 0.03, times a scale."""
    random = np.random.default_rng(0)
    axes = np.linalg.qr(random.normal(size=(20, 20)))[0]
    frames: Float32Array = (random.normal(size=(3000, 20)) * np.geomspace(3, 0.03, 20) @ axes * scale).astype(
        np.float32
    )
    return frames


def fitted(features: Float32Array, **epsilon: Any) -> Pca:
    return Pca.fit(
        Moments.from_frames(features, grid_exponent(float(np.abs(features).max()))), components=20, **epsilon
    )


@pytest.mark.parametrize("epsilon", [0.0, 1e-4, 0.1])
def test_the_facts_are_those_of_the_coefficients(epsilon: float) -> None:
    features = steep(1.0)
    pca = fitted(features, epsilon=epsilon)
    variances = pca.transform(features).var(axis=0, ddof=1, dtype=np.float64)
    found = Whitening.of(pca)
    assert (found.minimum, found.median, found.mean) == pytest.approx(
        (variances.min(), np.median(variances), variances.mean()), rel=1e-3
    )
    assert found.components_below_epsilon == (variances < 0.5).sum()
    assert Whitening(**found.facts()) == found  # type: ignore[arg-type]


def test_white_coefficients_need_no_word() -> None:
    found = Whitening.of(fitted(steep(1e-3), relative_epsilon=0.01))
    found.require_most()
    assert found.warnings() == []
    assert found.components_below_epsilon == 0


def test_more_than_1_per_cent_off_is_a_warning_with_the_number() -> None:
    (warning,) = Whitening.of(fitted(steep(1.0), epsilon=1e-3)).warnings()
    found = Whitening.of(fitted(steep(1.0), epsilon=1e-3))
    assert 0 < found.components_below_epsilon < 10
    assert warning.startswith(
        f"the PCA whitens only in part: the mean variance of the whitened coefficients is {found.mean:.3g}"
    )
    assert f"{found.components_below_epsilon} of 20 components are below pca.epsilon" in warning


def test_whitening_that_is_off_is_an_error() -> None:
    """The published 1e-4 on features of small scale."""
    found = Whitening.of(fitted(steep(0.01), epsilon=1e-4))
    assert found.components_below_epsilon > 10
    with pytest.raises(DataError) as caught:
        found.require_most()
    assert caught.value.what == "The PCA does not whiten the features"
    assert f"the variance of {found.components_below_epsilon} of 20 components is below epsilon" in caught.value.why
    assert "relative" in caught.value.fix


def test_components_without_variance_are_counted() -> None:
    features = steep(1.0)
    features[:, 10:] = features[:, :10]
    found = Whitening.of(fitted(features, epsilon=1e-4))
    assert found.components_without_variance == 10
    assert any("10 of 20 PCA components have no variance" in warning for warning in found.warnings())


def test_an_imported_pca_that_does_not_whiten_is_named() -> None:
    features = steep(1.0)
    pca = fitted(features, epsilon=1e-6)
    unwhitened = Pca(pca.mean, np.ones(20), pca.eigenvectors, np.nan, 0.0)
    transposed = Pca(pca.mean, pca.eigenvalues, pca.eigenvectors.T, np.nan, pca.epsilon)
    suits = Suitability.of(np.split(pca.transform(features), 3))
    assert suits.warnings() == []
    assert (suits.minimum, suits.median, suits.maximum) == pytest.approx((1, 1, 1), rel=1e-2)
    for other in (unwhitened, transposed):
        coefficients = other.transform(features)
        found = Suitability.of([coefficients[:1], coefficients[1:]])
        mean_squares = np.square(coefficients, dtype=np.float64).mean(axis=0)
        assert (found.frames, found.minimum, found.median, found.maximum) == pytest.approx(
            (3000, mean_squares.min(), np.median(mean_squares), mean_squares.max())
        )
        (warning,) = found.warnings()
        assert f"on 3,000 train frames the mean squares of its coefficients are {found.minimum:.3g} to" in warning
    scale = np.sqrt(np.median(pca.eigenvalues))
    typical = Pca(pca.mean, np.full(20, scale**2), pca.eigenvectors, np.nan, 0.0)
    displaced = Pca(
        pca.mean + 9 * pca.eigenvectors[0] * np.sqrt(pca.eigenvalues[0]),
        pca.eigenvalues,
        pca.eigenvectors,
        np.nan,
        pca.epsilon,
    )
    for other in (typical, displaced):
        found = Suitability.of([other.transform(features)])
        assert found.median == pytest.approx(1, rel=0.2)
        assert len(found.warnings()) == 1
    shifted = Suitability.of([pca.transform(features + np.float32(1))])
    assert shifted.mean == pytest.approx(pca.transform(features + np.float32(1)).mean(dtype=np.float64))


def test_codebooks_per_dimension_of_few_frames_are_warned_of_with_the_number() -> None:
    assert warnings_of_few_frames("shared", 256, 3) == warnings_of_few_frames("per_dimension", 256, 25_600) == []
    (warning,) = warnings_of_few_frames("per_dimension", 256, 1504)
    assert "fitted to 1,504 train frames; below 25,600 frames" in warning
