import io
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from yt8m_pipeline.compression.moments import Moments, grid_exponent
from yt8m_pipeline.compression.pca import Pca
from yt8m_pipeline.data_model import Float32Array, Float64Array
from yt8m_pipeline.errors import DataError


def moments_of(features: Float64Array | Float32Array) -> Moments:
    return Moments.from_frames(features, grid_exponent(float(np.abs(features).max())))


def correlated(frames: int, dimensions: int, seed: int = 0) -> Float32Array:
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(dimensions, dimensions)) * np.geomspace(1, 0.1, dimensions)
    return (rng.normal(size=(frames, dimensions)) @ mixing.T + 3).astype(np.float32)


@pytest.fixture(scope="module")
def features() -> Float32Array:
    return correlated(2500, 30)


@pytest.fixture(scope="module")
def fitted(features: Float32Array) -> Pca:
    return Pca.fit(moments_of(features), components=10, epsilon=1e-4)


def test_it_agrees_with_scikit_learn_up_to_sign(features: Float32Array) -> None:
    ours = Pca.fit(moments_of(features), components=10, epsilon=0.0)
    theirs = PCA(10, whiten=True, svd_solver="full").fit(features.astype(np.float64))
    signs = np.sign((ours.eigenvectors * theirs.components_).sum(axis=1))
    np.testing.assert_allclose(ours.eigenvalues, theirs.explained_variance_, rtol=1e-5)
    np.testing.assert_allclose(ours.explained_variance_ratio, theirs.explained_variance_ratio_, rtol=1e-5)
    np.testing.assert_allclose(ours.eigenvectors, theirs.components_ * signs[:, np.newaxis], atol=1e-4)
    np.testing.assert_allclose(ours.transform(features), theirs.transform(features) * signs, atol=1e-3)


def test_whitened_frames_have_zero_mean_and_unit_covariance(features: Float32Array) -> None:
    whitened = Pca.fit(moments_of(features), components=30, epsilon=0.0).transform(features)
    assert whitened.dtype == np.float32
    np.testing.assert_allclose(whitened.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(np.cov(whitened, rowvar=False), np.eye(30), atol=1e-3)


def test_a_planted_spectrum_is_recovered() -> None:
    rng = np.random.default_rng(4)
    axes = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    scores = np.linalg.qr(rng.normal(size=(500, 6)) @ np.eye(6))[0]
    scores = np.linalg.qr(scores - scores.mean(axis=0))[0]
    spectrum = np.array([50.0, 20.0, 9.0, 4.0, 1.0, 0.25])
    planted = scores * np.sqrt(spectrum * 499) @ axes.T + 100
    pca = Pca.fit(moments_of(planted), components=6, epsilon=0.0)
    np.testing.assert_allclose(pca.eigenvalues, spectrum, rtol=1e-4)
    np.testing.assert_allclose(np.abs(pca.eigenvectors @ axes), np.eye(6), atol=1e-3)
    np.testing.assert_allclose(pca.explained_variance_ratio, spectrum / spectrum.sum(), rtol=1e-4)


def test_the_formula_is_the_published_one_with_epsilon(fitted: Pca, features: Float32Array) -> None:
    expected = (features - fitted.mean) @ fitted.eigenvectors.T / np.sqrt(fitted.eigenvalues + 1e-4)
    np.testing.assert_allclose(fitted.transform(features), expected, rtol=1e-5, atol=1e-5)
    larger = Pca.fit(moments_of(features), components=10, epsilon=1.0)
    assert (np.abs(larger.transform(features)) < np.abs(fitted.transform(features))).all()


def test_half_precision_features_are_projected_as_their_float64_values(fitted: Pca, features: Float32Array) -> None:
    halves = features[:5].astype(np.float16)
    np.testing.assert_array_equal(fitted.transform(halves), fitted.transform(halves.astype(np.float64)))


def test_constant_and_duplicated_dimensions_are_harmless_with_epsilon(features: Float32Array) -> None:
    redundant = np.hstack([features[:, :5], features[:, :5], np.full((len(features), 2), 7, np.float32)])
    pca = Pca.fit(moments_of(redundant), components=12, epsilon=1e-4)
    whitened = pca.transform(redundant)
    assert (pca.eigenvalues >= 0).all()
    assert np.isfinite(whitened).all()
    np.testing.assert_allclose(whitened[:, 5:], 0, atol=1e-3)
    np.testing.assert_allclose(whitened[:, :5].var(axis=0), 1, atol=0.05)


def test_frames_that_are_all_equal_become_zeros() -> None:
    same = np.full((9, 4), 2.5, np.float32)
    pca = Pca.fit(moments_of(same), components=4, epsilon=1e-4)
    assert not pca.transform(same).any()
    assert np.isnan(pca.explained_variance_ratio).all()


def test_eigenvalues_descend_and_each_eigenvectors_largest_entry_is_positive(fitted: Pca) -> None:
    assert (np.diff(fitted.eigenvalues) <= 0).all()
    largest = np.abs(fitted.eigenvectors).argmax(axis=1)
    assert (fitted.eigenvectors[np.arange(10), largest] > 0).all()
    np.testing.assert_allclose(fitted.eigenvectors @ fitted.eigenvectors.T, np.eye(10), atol=1e-12)


def test_of_largest_entries_that_tie_the_first_is_positive() -> None:
    opposite = np.array([[1, -1], [-1, 1], [2, -2], [-2, 2]], np.float64)
    np.testing.assert_allclose(
        Pca.fit(moments_of(opposite), components=1, epsilon=1e-4).eigenvectors, [[0.5**0.5, -(0.5**0.5)]]
    )


def test_neither_order_nor_split_nor_threads_change_a_bit() -> None:
    wide = correlated(400, 250)
    magnitude = grid_exponent(float(np.abs(wide).max()))
    parts = [Moments.from_frames(part, magnitude) for part in np.split(wide, [7, 150, 151])]
    with threadpool_limits(2):
        whole = Pca.fit(moments_of(wide), components=200, epsilon=1e-4)
        projected = whole.transform(wide)
    with threadpool_limits(1):
        merged = Pca.fit(parts[3] + (parts[1] + parts[0]) + parts[2], components=200, epsilon=1e-4)
        assert merged.fingerprint == whole.fingerprint
        np.testing.assert_array_equal(merged.transform(wide), projected)


def test_the_fingerprint_tells_different_projections_apart(fitted: Pca, features: Float32Array) -> None:
    others = [
        Pca.fit(moments_of(features), components=9, epsilon=1e-4),
        Pca.fit(moments_of(features), components=10, epsilon=2e-4),
        Pca.fit(moments_of(features[1:]), components=10, epsilon=1e-4),
    ]
    assert len({fitted.fingerprint, *(other.fingerprint for other in others)}) == 4


def test_it_is_saved_in_the_published_layout_and_loaded_unchanged(
    fitted: Pca, features: Float32Array, tmp_path: Path
) -> None:
    fitted.save(str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(Pca.FILES)
    arrays = {path.stem: np.load(path) for path in tmp_path.iterdir()}
    assert {name: array.shape for name, array in arrays.items()} == {
        "mean": (30, 1), "eigenvals": (10, 1), "eigenvecs": (10, 30), "total_variance": (1, 1)
    }  # fmt: skip
    public = (features - arrays["mean"][:, 0]).dot(arrays["eigenvecs"].T) / np.sqrt(arrays["eigenvals"][:, 0] + 1e-4)
    np.testing.assert_allclose(fitted.transform(features), public, rtol=1e-5, atol=1e-5)
    loaded = Pca.load(str(tmp_path), 1e-4)
    assert loaded.fingerprint == fitted.fingerprint
    assert loaded.total_variance == fitted.total_variance
    np.testing.assert_array_equal(loaded.transform(features), fitted.transform(features))


def test_too_few_frames_are_counted() -> None:
    moments = moments_of(correlated(8, 10))
    with pytest.raises(
        DataError, match=r"too small.*\n.*pca.components\n.*8 frames, but 8 components need.*9\n.*add train"
    ):
        Pca.fit(moments, components=8, epsilon=1e-4)
    assert Pca.fit(moments, components=7, epsilon=1e-4).components == 7


def test_more_components_than_dimensions_are_an_error() -> None:
    with pytest.raises(DataError, match=r"than there are dimensions\n.*\n.*11 components.*10 dim.*\n.*at most 10"):
        Pca.fit(moments_of(correlated(50, 10)), components=11, epsilon=1e-4)


def test_components_without_variance_need_an_epsilon() -> None:
    flat = np.hstack([correlated(50, 3), np.ones((50, 2), np.float32)])
    with pytest.raises(DataError, match=r"divide by zero\n.*pca.epsilon\n.*only 3 of 5 components vary.*\n.*raise"):
        Pca.fit(moments_of(flat), components=5, epsilon=0.0)


@pytest.mark.parametrize("name", Pca.FILES)
def test_a_missing_or_damaged_file_is_named(fitted: Pca, tmp_path: Path, name: str) -> None:
    fitted.save(str(tmp_path))
    path = tmp_path / name
    whole = path.read_bytes()
    path.unlink()
    with pytest.raises(DataError, match=rf"cannot be read\n.*{name}\n.*No such file.*\n.*fix:"):
        Pca.load(str(tmp_path), 1e-4)
    for damaged in (b"", whole[:-1], whole[:40], b"not an array"):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=rf"cannot be read\n.*{name}\n.*why: +\S.*\n.*restore the file"):
            Pca.load(str(tmp_path), 1e-4)


@pytest.mark.parametrize(
    ("name", "array", "why"),
    [
        ("mean.npy", np.zeros(30), r"float64 \(30,\), not"),
        ("mean.npy", np.zeros((29, 1)), r"float64 \(10, 30\), not float64 \(10, 29\)"),
        ("eigenvals.npy", np.zeros((10, 1), np.float32), "float32"),
        ("eigenvecs.npy", np.zeros((30, 10)), r"\(30, 10\), not float64 \(10, 30\)"),
        ("eigenvecs.npy", np.full((10, 30), np.nan), "not finite"),
        ("total_variance.npy", np.zeros(()), "holds"),
        ("mean.npy", np.array([["pickle"]], object), "pickle"),
    ],
)
def test_a_file_of_another_shape_is_refused(
    fitted: Pca, tmp_path: Path, name: str, array: np.ndarray, why: str
) -> None:
    fitted.save(str(tmp_path))
    stream = io.BytesIO()
    np.save(stream, array)
    (tmp_path / name).write_bytes(stream.getvalue())
    with pytest.raises(DataError, match=why):
        Pca.load(str(tmp_path), 1e-4)


def test_shapes_that_do_not_fit_are_refused_at_birth() -> None:
    with pytest.raises(ValueError, match=r"must be \(2, 3\)"):
        Pca(np.zeros(3), np.ones(2), np.zeros((3, 2)), 1.0, 0.0)


def test_repr_shows_shapes_not_data(fitted: Pca) -> None:
    assert repr(fitted) == "Pca(components=10, dimensions=30, epsilon=0.0001)"
