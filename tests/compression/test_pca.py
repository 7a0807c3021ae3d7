import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from tests.command_line import four_parts, run
from tests.conftest import Workshop, published_bytes
from yt8m_pipeline.compression.moments import Moments, grid_exponent
from yt8m_pipeline.compression.pca import Pca
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.config import load
from yt8m_pipeline.data_model import Float32Array, Float64Array, Partition
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import PartitionSummary
from yt8m_pipeline.dataset.reader import read_frames
from yt8m_pipeline.dataset.verify import verify
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.interop.matrix_data import matrix_from_bytes
from yt8m_pipeline.interop.pca_formats import import_pca, require_dimensions, save_mediapipe, save_published
from yt8m_pipeline.jobs.sufficiency import check_train_frames
from yt8m_pipeline.store.stored_file import open_stored


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


def test_unseen_frames_are_white_within_sampling_error() -> None:
    """An entry of the covariance of n white frames has a standard error of about √(2 / n)."""
    rng = np.random.default_rng(5)
    frames, dimensions = 20_000, 12
    features = np.maximum(rng.normal(size=(2 * frames, 30)) @ rng.normal(size=(30, dimensions)), 0).astype(np.float32)
    pca = Pca.fit(moments_of(features[:frames]), components=dimensions, epsilon=0.0)
    unseen = pca.transform(features[frames:])
    kurtosis = float((unseen.astype(np.float64) ** 4).mean())
    standard_error = np.sqrt(2 * kurtosis / frames)
    np.testing.assert_allclose(np.cov(unseen, rowvar=False), np.eye(dimensions), atol=5 * standard_error)
    np.testing.assert_allclose(unseen.mean(axis=0), 0, atol=5 * np.sqrt(2 / frames))


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


def test_frames_that_are_all_equal_cannot_be_fitted() -> None:
    same = np.full((9, 4), 1.5, np.float32)
    with pytest.raises(DataError) as caught:
        Pca.fit(moments_of(same), components=4, epsilon=1e-4)
    assert caught.value.what == "The features of the train partition do not vary"
    assert caught.value.why == "all 9 frames have the same 4 features: their total variance is 0"


@pytest.mark.parametrize("scale", [1e-6, 1e-2, 1.0, 1e6])
def test_a_relative_epsilon_whitens_features_of_every_scale_alike(features: Float32Array, scale: float) -> None:
    scaled = (features * scale).astype(np.float32)
    pca = Pca.fit(moments_of(scaled), components=30, relative_epsilon=0.01)
    assert pca.epsilon == pytest.approx(0.01 * pca.eigenvalues[-1])
    variances = pca.transform(scaled).var(axis=0, ddof=1)
    assert variances.min() == pytest.approx(1 / 1.01, rel=1e-3)
    np.testing.assert_allclose(variances, pca.whitened_variances, rtol=1e-3)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e6])
def test_the_exponents_bring_coefficients_near_a_variance_of_1(features: Float32Array, scale: float) -> None:
    """Without whitening, that is with an epsilon far above the eigenvalues, they differ by orders of magnitude."""
    scaled = (features * scale).astype(np.float32)
    pca = Pca.fit(moments_of(scaled), components=30, epsilon=1.0)
    own, shared = pca.scale_exponents("per_dimension"), pca.scale_exponents("shared")
    units = pca.transform(scaled) / 2.0**own
    assert ((units.var(axis=0) >= 0.49) & (units.var(axis=0) <= 2.01)).all()
    assert shared.shape == (1,)
    assert 0.49 <= (pca.transform(scaled) / 2.0 ** shared[0]).var(axis=0).mean() <= 2.01


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


def test_a_frame_has_the_same_coefficients_whatever_is_beside_it(fitted: Pca, features: Float32Array) -> None:
    together = fitted.transform(features)
    for frame in (0, 7, len(features) - 1):
        np.testing.assert_array_equal(fitted.transform(features[frame : frame + 1])[0], together[frame])


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
    arrays = {path.stem: np.load(path) for path in tmp_path.glob("*.npy")}
    assert {name: array.shape for name, array in arrays.items()} == {
        "mean": (30, 1), "eigenvals": (10, 1), "eigenvecs": (10, 30), "total_variance": (1, 1)
    }  # fmt: skip
    public = (features - arrays["mean"][:, 0]).dot(arrays["eigenvecs"].T) / np.sqrt(arrays["eigenvals"][:, 0] + 1e-4)
    np.testing.assert_allclose(fitted.transform(features), public, rtol=1e-5, atol=1e-5)
    loaded = Pca.load(str(tmp_path))
    assert (loaded.epsilon, loaded.fingerprint) == (1e-4, fitted.fingerprint)
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
    if name not in ("total_variance.npy", "pca.json"):
        with pytest.raises(DataError, match=rf"cannot be read\n.*{name}\n.*No such file.*\n.*fix:"):
            Pca.load(str(tmp_path))
    for damaged in (b"", whole[:-1], whole[: min(40, len(whole) // 2)], b"not an array"):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=rf"cannot be read\n.*{name}\n.*why: +\S.*\n.*restore the file"):
            Pca.load(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "array", "why"),
    [
        ("mean.npy", np.zeros((2, 15)), r"\(2, 15\), not a vector"),
        ("mean.npy", np.zeros((29, 1)), r"must be \(10, 29\), got \(10, 30\)"),
        ("eigenvals.npy", np.zeros((10, 1), np.float16), "float16"),
        ("eigenvals.npy", np.zeros((9, 1)), r"must be \(9, 30\), got \(10, 30\)"),
        ("eigenvecs.npy", np.zeros((30, 10)), r"must be \(10, 30\), got \(30, 10\)"),
        ("eigenvecs.npy", np.full((10, 30), np.nan), "not finite"),
        ("total_variance.npy", np.zeros(()), "holds"),
        ("total_variance.npy", np.zeros(2), "size 1"),
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
        Pca.load(str(tmp_path))


@pytest.mark.parametrize("epsilon", [0.0, 3e-7])
def test_a_folder_tells_its_epsilon(features: Float32Array, tmp_path: Path, epsilon: float) -> None:
    pca = Pca.fit(moments_of(features), components=10, epsilon=epsilon)
    pca.save(str(tmp_path))
    assert Pca.load(str(tmp_path), epsilon=1.0).epsilon == import_pca(str(tmp_path), 10).epsilon == epsilon
    assert import_pca(str(tmp_path), 10, 0.5).epsilon == 0.5


def test_a_newer_format_asks_for_an_upgrade_and_unknown_fields_are_left_alone(fitted: Pca, tmp_path: Path) -> None:
    fitted.save(str(tmp_path))
    path = tmp_path / "pca.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, "colour": "blue"}))
    assert Pca.load(str(tmp_path)).fingerprint == fitted.fingerprint
    path.write_text(json.dumps({**told, "format": told["format"] + 1}))
    with pytest.raises(DataError) as caught:
        Pca.load(str(tmp_path))
    assert caught.value.what == "A fitted artefact was written by a newer version of yt8m_pipeline"
    assert caught.value.where == str(path)
    assert caught.value.why == "its format is 2, and this version reads formats up to 1"
    assert "upgrade" in caught.value.fix


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"format": 1}', '{"format": 0, "epsilon": 0}', '{"format": 1, "epsilon": -1}',
             '{"format": 1, "epsilon": NaN}', '{"format": "one", "epsilon": 0}']
)  # fmt: skip
def test_a_damaged_pca_json_is_named(fitted: Pca, tmp_path: Path, text: str) -> None:
    fitted.save(str(tmp_path))
    (tmp_path / "pca.json").write_text(text)
    with pytest.raises(DataError, match=r"cannot be read\n.*pca.json\n.*\n.*restore the file"):
        Pca.load(str(tmp_path))


def test_shapes_that_do_not_fit_are_refused_at_birth() -> None:
    with pytest.raises(ValueError, match=r"must be \(2, 3\)"):
        Pca(np.zeros(3), np.ones(2), np.zeros((3, 2)), 1.0, 0.0)


def test_repr_shows_shapes_not_data(fitted: Pca) -> None:
    assert repr(fitted) == "Pca(components=10, dimensions=30, epsilon=0.0001)"


def save_arrays(folder: Path, **arrays: np.ndarray) -> str:
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return str(folder)


class TestExchange:
    def test_the_published_files_are_read_in_either_precision_and_as_rows_or_columns(
        self, fitted: Pca, features: Float32Array, tmp_path: Path
    ) -> None:
        mean, values, vectors = fitted.mean, fitted.eigenvalues, fitted.eigenvectors
        longer = np.vstack([vectors, vectors[:1]])
        for shape in ((-1, 1), (1, -1), (-1,)):
            folder = save_arrays(tmp_path, mean=mean.reshape(shape), eigenvals=values.reshape(shape), eigenvecs=longer)
            np.testing.assert_array_equal(
                import_pca(folder, 10, 1e-4).transform(features), fitted.transform(features), strict=True
            )
        single = {"mean": mean, "eigenvals": values, "eigenvecs": vectors}
        folder = save_arrays(tmp_path, **{name: array.astype(np.float32) for name, array in single.items()})
        np.testing.assert_allclose(
            import_pca(folder, 10, 1e-4).transform(features), fitted.transform(features), atol=1e-5
        )

    def test_what_the_published_files_do_not_say_is_not_known(self, fitted: Pca, tmp_path: Path) -> None:
        save_published(fitted, str(tmp_path))
        imported = import_pca(str(tmp_path), 10, 1e-4)
        assert np.isnan(imported.explained_variance_ratio).all()
        imported.save(str(tmp_path))
        assert np.isnan(Pca.load(str(tmp_path)).total_variance)

    @pytest.mark.parametrize("epsilon", [1e-4, 0.0, 0.5])
    def test_the_public_formula_gives_our_numbers_whatever_our_epsilon(
        self, features: Float32Array, tmp_path: Path, epsilon: float
    ) -> None:
        pca = Pca.fit(moments_of(features), components=10, epsilon=epsilon)
        save_published(pca, str(tmp_path))
        mean, values, vectors = (np.load(tmp_path / f"{name}.npy") for name in ("mean", "eigenvals", "eigenvecs"))
        public = (features - mean[:, 0]).dot(vectors.T[:, :10]) / np.sqrt(values[:10, 0] + 1e-4)
        np.testing.assert_allclose(public, pca.transform(features), rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("epsilon", [1e-4, 0.0, 0.5])
    def test_mediapipes_graph_gives_our_numbers(self, features: Float32Array, tmp_path: Path, epsilon: float) -> None:
        """It subtracts the mean of a column and multiplies from the left, in float32; it divides by nothing."""
        pca = Pca.fit(moments_of(features), components=10, epsilon=epsilon)
        save_mediapipe(pca, str(tmp_path))
        mean, projection = (
            matrix_from_bytes((tmp_path / f"inception3_{name}_matrix_data.pb").read_bytes())
            for name in ("mean", "projection")
        )
        assert (mean.shape, projection.shape) == ((30, 1), (10, 30))
        np.testing.assert_allclose((projection @ (features.T - mean)).T, pca.transform(features), atol=1e-4)

    @pytest.mark.parametrize("save", [save_mediapipe, save_published])
    @pytest.mark.parametrize("epsilon", [1e-4, 0.0, 0.5])
    def test_export_and_import_give_the_same_transform(
        self, fitted: Pca, features: Float32Array, tmp_path: Path, save: Callable[[Pca, str], None], epsilon: float
    ) -> None:
        save(fitted, str(tmp_path))
        imported = import_pca(str(tmp_path), 7, 1e-4 if save is save_published else epsilon)
        np.testing.assert_allclose(imported.transform(features), fitted.transform(features)[:, :7], atol=1e-5)
        np.testing.assert_allclose(imported.eigenvalues + imported.epsilon, fitted.eigenvalues[:7] + 1e-4, rtol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(imported.eigenvectors, axis=1), 1, atol=1e-7)
        before = published_bytes(tmp_path)
        save(fitted, str(tmp_path))
        assert published_bytes(tmp_path) == before

    @pytest.mark.parametrize(
        ("changes", "where", "why"),
        [
            ({"mean": np.zeros((2, 15))}, "mean.npy", r"\(2, 15\), not a vector"),
            ({"eigenvecs": np.full((10, 30), np.inf)}, "eigenvecs.npy", "not finite"),
            (
                {"eigenvals": np.zeros((9, 1)), "eigenvecs": np.eye(9, 30)},
                "",
                "9 components, pca.components asks for 10",
            ),
            ({"eigenvals": np.zeros((9, 1))}, "eigenvecs.npy", r"must be \(9, 30\), got \(10, 30\)"),
            ({"eigenvals": np.full((10, 1), -1.0)}, "", "an eigenvalue is -1, and pca.epsilon 0.0001"),
            ({"eigenvals": np.append(np.ones(9), -1e-4)}, "", "an eigenvalue is -0.0001, and pca.epsilon 0.0001"),
            ({"eigenvals": np.zeros((10, 1))}, "", "an eigenvalue is 0, and pca.epsilon 0.0001"),
            ({"eigenvals": np.arange(1.0, 11)[:, None]}, "", "its eigenvalues do not fall: 2 follows 1"),
            ({"eigenvecs": np.ones((10, 30))}, "", "not orthonormal: their products are off by 30"),
        ],
    )
    def test_what_is_no_such_pca_is_refused(
        self, fitted: Pca, tmp_path: Path, changes: dict[str, np.ndarray], where: str, why: str
    ) -> None:
        fitted.save(str(tmp_path))
        save_arrays(tmp_path, **changes)
        place = str(tmp_path / where)
        with pytest.raises(
            UsageError, match=rf"PCA to import cannot be used\n  where: {place}\n  why: .*{why}\n  fix:"
        ):
            import_pca(str(tmp_path), 10, 1e-4)

    def test_a_folder_without_a_pca_is_refused_with_the_names_of_its_files(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"0 files \*_mean_matrix_data.pb, not one\n.*mean.npy, .*MediaPipe"):
            import_pca(str(tmp_path), 10, 1e-4)

    def test_a_projection_written_in_the_other_order_is_refused(self, fitted: Pca, tmp_path: Path) -> None:
        save_mediapipe(fitted, str(tmp_path))
        with (tmp_path / "inception3_projection_matrix_data.pb").open("ab") as stream:
            stream.write(b"\x20\x01")
        with pytest.raises(UsageError, match=r"not orthonormal.*\n  fix:.*column-major"):
            import_pca(str(tmp_path), 10, 1e-4)

    def test_other_dimensions_than_the_features_have_are_refused(self, fitted: Pca) -> None:
        require_dimensions(fitted, 30, "folder")
        with pytest.raises(UsageError, match=r"where: folder\n  why:   it is of 30 dimensions, the features have 2048"):
            require_dimensions(fitted, 2048, "folder")


def test_a_pca_of_many_frames_whitens_unseen_frames_better_than_one_of_few(features: Float32Array) -> None:
    """Why a PCA learnt on a large set serves a small one (paper §5.4)."""
    unseen = features[1500:]

    def distance_from_white(frames: int) -> float:
        pca = Pca.fit(moments_of(features[:frames]), components=30, epsilon=1e-4)
        return float(np.abs(np.cov(pca.transform(unseen), rowvar=False) - np.eye(30)).max())

    assert distance_from_white(1500) < distance_from_white(60) / 3


@pytest.fixture(scope="module")
def small(workshop: Workshop, built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of few videos with the PCA of the finished, larger one."""
    folder = tmp_path_factory.mktemp("small")
    sample: dict[str, object] = {"video_sampling__sample_size": 9, "video_sampling__popular_videos_above": 0}
    sample |= {"partitioning__salt": "third"}  # no partition is empty
    config = workshop.config(
        folder, **sample, stored=built, quantizer__method="uniform",
        video_sampling__min_videos_per_entity=1, pca__source=str(built / "dataset" / "pca")
    )  # fmt: skip
    finished = run("build", str(config))
    assert finished.returncode == 0, finished.stderr
    return folder


def manifest_of(folder: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / "dataset" / "manifest.json").read_text())
    return manifest


class TestBuildWithAnImportedPca:
    def test_its_codes_are_those_of_the_dataset_that_the_pca_was_learnt_on(self, built: Path, small: Path) -> None:
        large, uniform = Pca.load(str(built / "dataset" / "pca")), Quantizer.uniform()
        stored = {
            file.video.video_id: file.video for file in map(open_stored, map(str, (built / "features").rglob("*.npz")))
        }
        compared = 0
        for partition in Partition:
            for example in read_frames(str(small / "dataset"), partition):
                codes = uniform.encode(large.transform(stored[example.video_id].features))
                np.testing.assert_array_equal(example.features, uniform.decode(codes))
                compared += len(codes)
        assert compared == sum(totals["frames"] for totals in manifest_of(small)["partitions"].values()) > 0

    def test_its_train_frames_need_not_be_enough_to_fit_it_but_there_must_be_some(self, small: Path) -> None:
        config = load(small / "config.yaml")
        fitted = load(small / "config.yaml", ["pca.source=fit"])
        few, layout = {"train": PartitionSummary(videos=1, frames=3)}, Layout("dataset")
        check_train_frames(few, config, layout)
        with pytest.raises(DataError, match=r"3 train frames of 1 videos cannot fit 16 components, at least 17"):
            check_train_frames(few, fitted, layout)
        with pytest.raises(DataError, match=r"0 train frames of 0 videos cannot fit 16 components, at least 1 are"):
            check_train_frames({}, config, layout)

    def test_the_manifest_says_where_it_comes_from(self, built: Path, small: Path) -> None:
        manifest, large = manifest_of(small), manifest_of(built)
        assert manifest["pca"]["source"] == "imported"
        assert large["pca"]["source"] == "fitted"
        assert manifest["pca"]["feature_space"] == large["feature_space"]["fingerprint"]
        for fact in ("fingerprint", "components", "dimensions", "explained_variance_ratio"):
            assert manifest["pca"][fact] == large["pca"][fact]
        there = {file["path"].removeprefix("pca/"): file["sha256"] for file in large["pca"]["files"]}
        assert {file["file"]: file["sha256"] for file in manifest["inputs"]["pca"]} == there
        assert not any("PCA" in text for text in manifest["warnings"])
        assert str(small) not in json.dumps(manifest)

    def test_it_is_sound_and_a_second_run_has_nothing_to_do(self, small: Path) -> None:
        assert verify(str(small / "dataset")) == []
        assert run("build", str(small / "config.yaml")).stdout.startswith("Nothing to do")

    def test_a_split_is_rebuilt_to_the_same_bytes(self, small: Path, tmp_path: Path) -> None:
        shutil.copytree(small / "dataset", tmp_path / "dataset")
        again = run("rebuild-split", "train", str(small / "config.yaml"), "--output", str(tmp_path / "dataset"))
        assert again.returncode == 0, again.stderr
        assert published_bytes(tmp_path / "dataset") == published_bytes(small / "dataset")

    def test_exported_files_are_imported_with_a_warning_and_give_another_build(
        self, built: Path, small: Path, tmp_path: Path
    ) -> None:
        exported = run("export-pca", str(built / "dataset"), str(tmp_path / "public"))
        assert exported.stdout == (
            f"The PCA of {built}/dataset is in {tmp_path}/public: 16 components of 40 dimensions\n"
        )
        output, source = ("--output", str(tmp_path / "dataset")), ("--set", f"pca.source={tmp_path}/public")
        finished = run("build", str(small / "config.yaml"), *output, *source)
        assert finished.returncode == 0, finished.stderr
        manifest = manifest_of(tmp_path)
        assert manifest["build_key"] != manifest_of(small)["build_key"]
        assert manifest["pca"]["key"] != manifest_of(small)["pca"]["key"]
        assert manifest["pca"]["explained_variance_ratio"] is manifest["pca"]["feature_space"] is None
        assert any("does not say what features it was fitted on" in text for text in manifest["warnings"])
        assert verify(str(tmp_path / "dataset")) == []

    @pytest.mark.parametrize(
        ("setting", "why"),
        [
            ("decoding.frames_per_second=2", r"frames_per_second: 1.0 there, 2.0 here"),
            ("inception.dtype=float32", r"dtype: float16 there, float32 here; fingerprint: \w+ there, \w+ here"),
            ("pca.components=17", "it has 16 components, pca.components asks for 17"),
            ("pca.source=/nowhere", "0 files"),
        ],
    )
    def test_one_that_does_not_fit_is_refused_before_a_video_is_opened(
        self, small: Path, tmp_path: Path, setting: str, why: str
    ) -> None:
        refused = run("build", str(small / "config.yaml"), "--output", str(tmp_path / "new"), "--set", setting)
        assert refused.returncode == 2
        assert not (tmp_path / "new").exists()
        what, _, found, _ = four_parts(refused)
        assert what.startswith("The PCA to import ")
        assert re.search(why, found)

    def test_one_of_other_dimensions_is_refused_early_if_the_network_is_known(
        self, built: Path, workshop: Workshop, tmp_path: Path
    ) -> None:
        shutil.copytree(built / "dataset" / "pca", tmp_path / "public")
        config = workshop.config(tmp_path, pca__source=str(tmp_path / "public"), inception__model={"random": 0})
        assert four_parts(run("build", str(config)))[2] == "it is of 40 dimensions, the features have 2048"

    def test_one_of_other_dimensions_is_refused_when_the_features_are_there(
        self, small: Path, fitted: Pca, tmp_path: Path
    ) -> None:
        fitted.save(str(tmp_path / "public"))
        settings = ("--set", f"pca.source={tmp_path}/public", "--set", "pca.components=10")
        refused = run("build", str(small / "config.yaml"), "--output", str(tmp_path / "new"), *settings)
        assert four_parts(refused)[2] == "it is of 30 dimensions, the features have 40"

    def test_the_pca_of_a_folder_that_is_no_dataset_or_of_another_cannot_be_exported(
        self, small: Path, fitted: Pca, tmp_path: Path
    ) -> None:
        empty = tmp_path / "empty"
        no_dataset = four_parts(run("export-pca", str(empty), str(tmp_path / "out")))
        assert no_dataset == ("There is no dataset", str(empty), "the folder has no manifest.json",
                              "give the folder that `output` in the config names")  # fmt: skip
        shutil.copytree(small / "dataset", tmp_path / "dataset")
        fitted.save(str(tmp_path / "dataset" / "pca"))
        other = four_parts(run("export-pca", str(tmp_path / "dataset"), str(tmp_path / "out"), "--format", "published"))
        assert other == ("The PCA is not this dataset's", f"{tmp_path}/dataset/pca",
                         "its fingerprint is not the one in the manifest",
                         "run `yt8m verify`, then `yt8m build` again")  # fmt: skip
        assert not (tmp_path / "out").exists()

    def test_a_pca_is_not_exported_into_its_dataset(self, copied: Path) -> None:
        dataset = copied / "dataset"
        before = published_bytes(dataset)
        refused = run("export-pca", str(dataset), str(dataset / "pca"), "--format", "published")
        assert refused.returncode == 2
        assert four_parts(refused)[0] == "An export needs a folder of its own"
        assert published_bytes(dataset) == before
