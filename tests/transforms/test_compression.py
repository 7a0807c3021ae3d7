"""A PCA and a codebook fitted on an engine equal a direct computation, and are not fitted twice."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.transforms.harness import run
from yt8m_pipeline.compression.moments import Magnitudes, Moments
from yt8m_pipeline.compression.pca import Pca
from yt8m_pipeline.config import Parallelism, PcaConfig, QuantizerConfig
from yt8m_pipeline.data_model import Float32Array, Partition, StoredVideo, Video
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.steps import Step
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.jobs.journal import Journal
from yt8m_pipeline.store.failures import Source
from yt8m_pipeline.store.feature_store import FeatureStore
from yt8m_pipeline.store.features import VideoFeatures
from yt8m_pipeline.transforms.compression import FitPca, FitQuantizer, Fitting, load_pca, load_quantizer

CONFIG = PcaConfig(components=3)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(str(tmp_path / "features"), "space")


@pytest.fixture
def features() -> dict[str, Float32Array]:
    random = np.random.default_rng(0)
    return {name: random.standard_normal((5 + row, 6)).astype(np.float32) for row, name in enumerate("abcdefg")}


@pytest.fixture
def videos(store: FeatureStore, features: dict[str, Float32Array]) -> list[StoredVideo]:
    return stored_videos(store, features)


def stored_videos(store: FeatureStore, features: dict[str, Float32Array]) -> list[StoredVideo]:
    found = []
    for name, rows in features.items():
        pts = np.arange(len(rows), dtype=np.float64)
        entry = store.write(VideoFeatures(name, rows, pts), Source("uri", 1, ""), 1.0, Fraction(1)).entry
        found.append(StoredVideo(Video(name, "uri", Partition.TRAIN, ("/m/a",)), entry))
    return found


def fitting(store: FeatureStore, folder: Path, *, units: int = 3, frozen: bool = False) -> Fitting:
    return Fitting(store, Journal(Layout(str(folder))), frozen, Parallelism(fitting_units=units, accumulators=2))


def fit(found: Fitting, videos: list[StoredVideo]) -> Step:
    (step,) = run(lambda train: train | FitPca(found, CONFIG), train=videos)
    assert isinstance(step, Step)
    return step


@pytest.mark.parametrize(("number", "components"), [(7, 4), (11, 6)])
def test_decided_components_have_ten_times_as_many_frames_and_are_no_more_than_dimensions(
    store: FeatureStore, tmp_path: Path, number: int, components: int
) -> None:
    features = np.random.default_rng(1).standard_normal((number, 8, 6)).astype(np.float32)
    names = {f"video {index}": rows for index, rows in enumerate(features)}
    found = fitting(store, tmp_path / "dataset")
    (step,) = run(lambda train: train | FitPca(found, PcaConfig(components="auto")), train=stored_videos(store, names))
    assert step.facts.components == load_pca(found.layout, step).components == components
    assert [PcaConfig(components=step.facts.components).number, PcaConfig(components="auto").number] == [
        components,
        None,
    ]


@pytest.mark.parametrize("units", [1, 3, 50])
def test_the_pca_is_that_of_all_frames_whatever_the_units(
    store: FeatureStore, videos: list[StoredVideo], features: dict[str, Float32Array], tmp_path: Path, units: int
) -> None:
    found = fitting(store, tmp_path / "dataset", units=units)
    step = fit(found, videos)
    magnitudes = [Magnitudes.of(video.entry.magnitude, video.video.video_id) for video in videos]
    exponent = sum(magnitudes[1:], magnitudes[0]).grid_exponent()
    moments = Moments.from_blocks(iter(features.values()), 6, exponent)
    direct = Pca.fit(moments, components=3, epsilon=0.0, relative_epsilon=CONFIG.relative_epsilon)
    assert load_pca(found.layout, step).fingerprint == direct.fingerprint == step.facts.fingerprint
    assert step.facts.more["frames"] == sum(map(len, features.values()))


def test_what_is_fitted_is_found_again_and_what_is_damaged_is_fitted_anew_to_the_same_bytes(
    store: FeatureStore, videos: list[StoredVideo], tmp_path: Path
) -> None:
    found = fitting(store, tmp_path / "dataset")
    step = fit(found, videos)
    path = tmp_path / "dataset" / "pca" / "eigenvecs.npy"
    before = path.stat().st_mtime_ns
    assert fit(found, videos) == step
    assert path.stat().st_mtime_ns == before
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="A file of the dataset is damaged"):
        load_pca(found.layout, step)
    assert fit(found, videos) == step
    assert load_pca(found.layout, step).fingerprint == step.facts.fingerprint


def test_nothing_is_fitted_where_it_may_not_change(
    store: FeatureStore, videos: list[StoredVideo], tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match="DataError: The pca would change"):
        fit(fitting(store, tmp_path / "dataset", frozen=True), videos)


@pytest.mark.parametrize("method", ["optimal", "uniform"])
def test_a_codebook_depends_on_the_bytes_of_its_pca(
    store: FeatureStore, videos: list[StoredVideo], tmp_path: Path, method: str
) -> None:
    found, config = fitting(store, tmp_path / "dataset"), QuantizerConfig.model_validate({"method": method})
    step = fit(found, videos)
    (codebook,) = run(lambda train, pca: train | FitQuantizer(found, config, pca), train=videos, pca=[step])
    assert load_quantizer(found.layout, codebook).fingerprint == codebook.facts.fingerprint
    assert codebook.facts.method == method
    (path, *_), key = step.files, codebook.key
    other = type(step)(step.name, step.key, (type(path)(path.path, path.bytes, "0" * 64), *step.files[1:]), step.facts)
    (again,) = run(lambda pca: pca | "key" >> keys(config), pca=[other])
    assert again != key


def keys(config: QuantizerConfig):  # type: ignore[no-untyped-def]
    import apache_beam as beam

    from yt8m_pipeline.transforms.compression import quantizer_key

    return beam.Map(quantizer_key, config)
