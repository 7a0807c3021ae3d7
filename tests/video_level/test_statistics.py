"""The representation of a video against NumPy's own functions, and quantization and PCA inverted."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from yt8m_pipeline import files
from yt8m_pipeline.compression.moments import Moments, grid_exponent
from yt8m_pipeline.compression.pca import Pca
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.data_model import Float32Array, Partition
from yt8m_pipeline.dataset.layout import Layout, Shard
from yt8m_pipeline.jobs.features_plan import REVISION
from yt8m_pipeline.video_level.names import Blocks
from yt8m_pipeline.video_level.statistics import PARTS, TOP, by_batches, describe, length, normalize_length
from yt8m_pipeline.video_level.writing import Labelled, write_vectors

NUMBERS = st.floats(-100, 100, width=32)
FRAMES = npst.arrays(np.float32, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=NUMBERS)


@given(FRAMES)
def test_mean_and_deviation_are_those_of_numpy(frames: Float32Array) -> None:
    exact = frames.astype(np.float64)
    expected = np.concatenate([exact.mean(axis=0), exact.std(axis=0)])
    np.testing.assert_allclose(describe(frames, ("mu", "sigma")), expected, rtol=1e-6, atol=1e-6)


@given(FRAMES, st.integers(1, 7))
def test_the_largest_values_descend_and_the_smallest_stands_for_missing_frames(frames: Float32Array, top: int) -> None:
    rows = sorted(frames.T.tolist()) and [sorted(column, reverse=True) for column in frames.T.tolist()]
    expected = [[(row + [row[-1]] * top)[place] for row in rows] for place in range(top)]
    assert describe(frames, ("top",), top=top).tolist() == np.ravel(expected).tolist()


@given(FRAMES)
def test_the_order_of_frames_changes_only_rounding(frames: Float32Array) -> None:
    turned = describe(frames[::-1], ("mu", "sigma", "top"))
    np.testing.assert_allclose(turned, describe(frames, ("mu", "sigma", "top")), rtol=1e-6, atol=1e-5)
    assert len(turned) == length(frames.shape[1], ("mu", "sigma", "top")) == frames.shape[1] * (2 + TOP)


def test_blocks_come_in_the_order_in_which_they_are_wanted() -> None:
    frames = np.array([[1.0], [3.0]], np.float32)
    assert describe(frames, ("sigma", "mu")).tolist() == [1.0, 2.0]


def test_a_video_without_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        describe(np.zeros((0, 3), np.float32), ("mu",))


@given(npst.arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 6)), elements=NUMBERS))
def test_vectors_have_unit_length_and_zeros_stay(vectors: Float32Array) -> None:
    lengths = np.linalg.norm(normalize_length(vectors).astype(np.float64), axis=1)
    assert lengths == pytest.approx(np.any(vectors, axis=1).astype(float), abs=1e-6)


def test_all_components_give_the_features_back_but_for_the_error_of_the_codes() -> None:
    frames = np.random.default_rng(0).normal(3, 2, (500, 6)).astype(np.float32)
    pca = Pca.fit(Moments.from_frames(frames, grid_exponent(float(abs(frames).max()))), components=6)
    np.testing.assert_allclose(pca.inverse_transform(pca.transform(frames)), frames, atol=1e-5)
    uniform = Quantizer.uniform()
    found = pca.inverse_transform(uniform.decode(uniform.encode(pca.transform(frames).clip(-1.99, 1.99))))
    inside = (abs(pca.transform(frames)) < 1.9).all(axis=1)
    assert inside.sum() > 50
    step = 4 / 255
    assert abs(found - frames)[inside].max() < step * np.sqrt(pca.eigenvalues).sum()


@given(st.lists(st.integers(1, 9), max_size=6), st.integers(1, 20))
def test_batches_change_no_bit_of_a_video(lengths: list[int], size: int) -> None:
    random = np.random.default_rng(0)
    videos = [random.normal(size=(frames, 3)).astype(np.float32) for frames in lengths]
    pca = Pca(np.ones(3), np.array([2.0, 0.5]), np.eye(3)[:2], 3.0, 1e-4)
    found = list(by_batches(pca.transform, videos, size))
    assert [one.tobytes() for one in found] == [pca.transform(video).tobytes() for video in videos]


def test_fewer_components_give_the_nearest_point_of_their_plane() -> None:
    frames = np.random.default_rng(1).normal(size=(400, 5)).astype(np.float32) * np.array([5, 3, 1, 0.5, 0.1])
    pca = Pca.fit(Moments.from_frames(frames, grid_exponent(32.0)), components=2, epsilon=0.1)
    found = pca.inverse_transform(pca.transform(frames))
    expected = pca.mean + (frames - pca.mean) @ pca.eigenvectors.T @ pca.eigenvectors
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_who_changes_a_bit_of_a_vector_or_record_raises_their_revision(tmp_path: Path) -> None:
    """Else a feature set would keep shards of older bits, and have two kinds."""
    frames = ((np.arange(28).reshape(7, 4) ** 2 % 19) / 3).astype(np.float32)
    vectors = normalize_length(np.stack([describe(part, PARTS[Blocks.MU_SIGMA_TOP5]) for part in (frames[:3], frames)]))
    shard, layout = Shard(Partition.TRAIN, 0, 1), Layout(str(tmp_path))
    write_vectors(layout, shard, [Labelled("a", (0, 300)), Labelled("é", None)], [vectors])
    assert (REVISION, files.sha256(layout.path(shard.file("video")))[:16]) == (1, "9cc4332760b01474")
