"""What models are given: which frames, in which order, the same again after a kill, and padding that counts nowhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.baselines import planted
from yt8m_pipeline import open_dataset
from yt8m_pipeline.baselines.inputs import partition_batches, read, train_batches
from yt8m_pipeline.baselines.layers import tf
from yt8m_pipeline.baselines.models import FAMILIES
from yt8m_pipeline.baselines.settings import FRAME_MODELS, Settings, settings_of
from yt8m_pipeline.baselines.sources import Source, open_source
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.errors import DataError

FRAMES = 40
LEVELS = Quantizer.uniform().levels


def counting(random: np.random.Generator, number: int) -> tuple[tuple[int, ...], Any]:
    """A video whose frames tell their own number, in steps of the uniform codebook; a third have 5 frames alone."""
    del random
    frames = LEVELS[:FRAMES, None].repeat(2, axis=1)
    return (number % 3,), frames[:5] if number % 3 == 0 else frames


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    sizes = {Partition.TRAIN: 30, Partition.VALIDATE: 6, Partition.TEST: 2}
    folder = tmp_path_factory.mktemp("counting") / "dataset"
    return planted.plant(folder, counting, dimensions=2, classes=3, sizes=sizes)


def numbers(batch: Any) -> list[list[int]]:
    """The numbers of the frames of each video of a batch."""
    features, counts = batch["features"].numpy(), batch["counts"].numpy()
    assert not any(features[row, count:].any() for row, count in enumerate(counts))
    places = np.searchsorted(LEVELS, features[..., 0])
    return [places[row, :count].tolist() for row, count in enumerate(counts)]


def epoch(source: Source, settings: Settings, number: int = 1, skip: int = 0) -> dict[str, list[int]]:
    """The frames of each video of an epoch, in its order."""
    found: dict[str, list[int]] = {}
    for batch in train_batches(source, settings, number, skip):
        found |= dict(zip(batch["id"].numpy().tolist(), numbers(batch), strict=True))
    return found


def test_random_frames_are_different_and_change_with_the_epoch(dataset: str) -> None:
    source, settings = open_source("frame_logistic", dataset), settings_of("frame_logistic", ["batch_size=4"])
    first, second = epoch(source, settings), epoch(source, settings, 2)
    assert set(first) == set(second)
    assert {len(frames) for frames in first.values()} == {5, 20}
    assert all(frames == sorted(set(frames)) for frames in first.values())
    assert all(first[name] != second[name] for name in first if len(first[name]) == 20)
    seen = np.bincount(np.concatenate([frames for frames in first.values() if len(frames) == 20]), minlength=FRAMES)
    assert seen.min() > 0
    assert seen.max() < 20


def test_a_window_is_of_consecutive_frames_anywhere(dataset: str) -> None:
    source = open_source("lstm", dataset)
    found = [epoch(source, settings_of("lstm", ["window=10"]), number) for number in range(1, 6)]
    windows = [frames for one in found for frames in one.values()]
    assert all(frames == list(range(frames[0], frames[0] + len(frames))) for frames in windows)
    assert {len(frames) for frames in windows} == {5, 10}
    starts = {frames[0] for frames in windows if len(frames) == 10}
    assert {0, FRAMES - 10} <= starts | {0}
    assert max(starts) - min(starts) > 20


@pytest.mark.parametrize(("model", "kept"), [("frame_logistic", FRAMES), ("lstm", FRAMES), ("dbof", 8)])
def test_a_video_is_scored_by_all_frames_and_by_dbof_as_many_as_it_learnt_from(
    model: Any, kept: int, dataset: str
) -> None:
    settings = settings_of(model, ["frames=8"] if model == "dbof" else [])
    (batch,) = partition_batches(open_source(model, dataset), settings, Partition.VALIDATE)
    found = {len(frames): frames for frames in numbers(batch)}
    assert found[5] == list(range(5))
    assert found[kept] == (list(range(FRAMES)) if kept == FRAMES else [2, 7, 12, 17, 22, 27, 32, 37])


def test_videos_are_shuffled_anew_in_each_epoch_and_each_seed(dataset: str) -> None:
    source = open_source("logistic", dataset)
    settings = [settings_of("logistic", [f"seed={seed}", "batch_size=7"]) for seed in (0, 1)]
    orders = [order(source, settings[0], 1), order(source, settings[0], 2), order(source, settings[1], 1)]
    files_order = [video.video_id.encode() for video in open_dataset(dataset).videos("train")]
    assert all(sorted(found) == sorted(files_order) for found in orders)
    assert len({tuple(found) for found in [*orders, files_order]}) == 4
    assert order(source, settings[0], 1) == orders[0]


def order(source: Source, settings: Settings, number: int, skip: int = 0) -> list[bytes]:
    batches = list(train_batches(source, settings, number, skip))
    return [video_id for batch in batches for video_id in batch["id"].numpy().tolist()]


@pytest.mark.parametrize("model", ["logistic", "dbof"])
def test_an_epoch_goes_on_with_the_batches_that_were_left(model: Any, dataset: str) -> None:
    source, settings = open_source(model, dataset), settings_of(model, ["batch_size=4"])
    whole, rest = (list(train_batches(source, settings, 3, skip)) for skip in (0, 5))
    assert len(whole) == 8
    assert len(rest) == 3
    for name in whole[0]:
        assert all(np.array_equal(a[name], b[name]) for a, b in zip(whole[5:], rest, strict=True))


def test_mean_vectors_have_length_1_and_labels_are_multi_hot(dataset: str) -> None:
    source = open_source("moe", dataset)
    (batch,) = partition_batches(source, settings_of("moe"), Partition.VALIDATE)
    videos = list(open_dataset(dataset).videos("validate"))
    assert batch["id"].numpy().tolist() == [video.video_id.encode() for video in videos]
    for row, video in enumerate(videos):
        assert np.flatnonzero(batch["labels"][row]).tolist() == video.labels.tolist()
        np.testing.assert_allclose(batch["features"][row], video.mean_rgb / np.linalg.norm(video.mean_rgb), rtol=1e-6)


def test_videos_without_labels_can_be_scored(dataset: str) -> None:
    (batch,) = partition_batches(open_source("moe", dataset), settings_of("moe"), Partition.TEST)
    assert batch["labels"].shape == (2, 3)
    assert not batch["labels"].numpy().any()


@pytest.mark.parametrize("model", ["logistic", "frame_logistic"])
def test_a_damaged_record_is_told(model: Any, dataset: str, tmp_path: Path, copy: Callable[[str, Path], str]) -> None:
    damaged = copy(dataset, tmp_path)
    level = "video" if model == "logistic" else "frame"
    path = Path(damaged, level, "train", "train-00000-of-00002.tfrecord")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="record cannot be read"):
        list(read(train_batches(open_source(model, damaged), settings_of(model), 1), damaged))


@pytest.mark.parametrize("model", sorted(FRAME_MODELS))
def test_padding_changes_no_score_and_no_gradient(model: Any) -> None:
    """The same videos with twice as much padding, which here is not even zero."""
    changes = {"dbof": ["projection=6", "hidden=5"], "lstm": ["units=4"]}.get(model, [])
    settings, random = settings_of(model, changes), np.random.default_rng(0)
    family = FAMILIES[model]
    counts, labels = tf.constant([4, 1, 3]), tf.constant([[1, 0], [0, 1], [1, 1]], tf.uint8)
    frames = random.standard_normal((3, 4, 3)).astype(np.float32)
    more = np.concatenate([frames, random.standard_normal((3, 4, 3)).astype(np.float32)], axis=1)
    for row, count in enumerate(counts.numpy()):
        more[row, count:] = 7.0
        frames[row, count:] = 0.0
    found = []
    for features in (frames, more):
        tf.keras.utils.set_random_seed(0)
        network = family.build(settings, 3, 2)
        inputs = {"features": tf.constant(features), "counts": counts}
        with tf.GradientTape() as tape:
            loss = family.loss(settings, network(inputs, training=True), {**inputs, "labels": labels})
        gradients = tape.gradient(loss, network.trainable_variables)
        scores = family.probabilities(network(inputs, training=False), inputs)
        found.append([loss, scores, *gradients])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-6)
