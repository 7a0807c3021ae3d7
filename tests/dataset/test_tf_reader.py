"""What the TensorFlow reader offers beside the values: batches, labels, shuffling, and an end whatever is damaged."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dataset.example import write_example
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.dataset.reader import read_frames, read_videos
from yt8m_pipeline.dataset.tf_reader import frame_dataset, frame_decoder, video_dataset

READERS = [frame_dataset, video_dataset]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_example(tmp_path_factory.mktemp("example"))


def elements(found: Any) -> list[dict[str, Any]]:
    return list(found.as_numpy_iterator())


def test_a_batch_of_frames_is_padded_and_says_how_many_are_real(dataset: str) -> None:
    a, b, c = read_frames(dataset, "train")
    first, last = elements(frame_dataset(dataset, "train", batch=2))
    assert first["video_id"].tolist() == [b"a", b"b"]
    assert first["frames"].tolist() == [3, 2]
    np.testing.assert_array_equal(first["features"][0], a.features, strict=True)
    np.testing.assert_array_equal(first["features"][1], np.concatenate([b.features, np.zeros_like(b.features[:1])]))
    np.testing.assert_array_equal(last["features"], c.features[None], strict=True)


def test_a_batch_of_videos_is_parsed_at_once(dataset: str) -> None:
    first, last = elements(video_dataset(dataset, "train", batch=2))
    expected = [example.mean_rgb for example in read_videos(dataset, "train")]
    np.testing.assert_array_equal(np.concatenate([first["mean_rgb"], last["mean_rgb"]]), expected)


@pytest.mark.parametrize("read", READERS)
def test_no_padding_of_labels_reads_as_a_class(dataset: str, read: Any) -> None:
    first, last = elements(read(dataset, "train", batch=2))
    assert first["labels"].tolist() == [[0, 2], [1, -1]]
    assert last["labels"].tolist() == [[0]]
    (withheld,) = elements(read(dataset, "test", batch=2))
    assert withheld["labels"].shape == (1, 0)


@pytest.mark.parametrize("read", READERS)
def test_labels_may_be_multi_hot(dataset: str, read: Any) -> None:
    expected = [[1, 0, 1], [0, 1, 0], [1, 0, 0]]
    assert [video["labels"].tolist() for video in elements(read(dataset, "train", multi_hot=True))] == expected
    (batch,) = elements(read(dataset, "train", batch=3, multi_hot=True))
    assert batch["labels"].tolist() == expected
    for options in ({}, {"batch": 1}):
        (withheld,) = elements(read(dataset, "test", multi_hot=True, **options))
        assert not withheld["labels"].any()
        assert withheld["labels"].shape[-1] == 3


@pytest.mark.parametrize("read", READERS)
def test_a_shuffled_epoch_has_every_video_once_in_an_order_of_its_own(dataset: str, read: Any) -> None:
    shuffled = read(dataset, "train", shuffle=3, seed=7)
    orders = [tuple(video["video_id"] for video in elements(shuffled)) for _ in range(20)]
    assert {tuple(sorted(order)) for order in orders} == {(b"a", b"b", b"c")}
    assert len(set(orders)) > 1
    again = read(dataset, "train", shuffle=3, seed=7)
    assert [tuple(video["video_id"] for video in elements(again)) for _ in range(20)] == orders


@pytest.mark.parametrize("read", READERS)
def test_workers_share_the_shards(dataset: str, read: Any) -> None:
    parts = [elements(read(dataset, "train", shards=slice(worker, None, 2))) for worker in range(3)]
    assert [[video["video_id"] for video in part] for part in parts] == [[b"a", b"b"], [b"c"], []]


DIMENSIONS = 5


def rising(shape: tuple[int, ...]) -> Any:
    """Random levels, a negative zero among them."""
    levels = np.sort(np.random.default_rng(0).standard_normal(shape).astype(np.float32))
    levels[..., np.argmin(np.abs(levels.reshape(-1, shape[-1])[0]))] = -0.0
    return np.sort(levels)


QUANTIZERS = {
    "uniform": Quantizer.uniform(),
    "shared": Quantizer(rising((256,)), "optimal"),
    "per_dimension": Quantizer(rising((DIMENSIONS, 256)), "optimal"),
}
DECODERS = {kind: frame_decoder(quantizer, DIMENSIONS) for kind, quantizer in QUANTIZERS.items()}


@pytest.mark.parametrize("kind", QUANTIZERS)
@settings(deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_features_are_the_levels_of_the_codebook_bit_for_bit(kind: str, frames: list[int], seed: int) -> None:
    """Of one video, and of a batch of videos, where every frame beyond the last is positive zero."""
    codes = np.random.default_rng(seed).integers(0, 256, (len(frames), max(frames), DIMENSIONS), np.uint8)
    expected = QUANTIZERS[kind].decode(codes)
    one = DECODERS[kind](tf.constant(codes[0]), tf.constant(codes.shape[1], tf.int64)).numpy()
    assert one.tobytes() == expected[0].tobytes()
    for row, length in zip(expected, frames, strict=True):
        row[length:] = 0
    batch = DECODERS[kind](tf.constant(codes), tf.constant(frames, tf.int64)).numpy()
    assert batch.shape == expected.shape
    assert batch.tobytes() == expected.tobytes()


COMBINED = """
import sys
from yt8m_pipeline.dataset.tf_reader import frame_dataset, video_dataset
combine = {
    "ignore_errors": lambda read: read.ignore_errors(),
    "take": lambda read: read.ignore_errors().take(5),
    "shard": lambda read: read.shard(2, 0).ignore_errors(),
    "repeat": lambda read: read.repeat(3).ignore_errors(),
    "cache": lambda read: read.cache().ignore_errors(),
    "shuffle": lambda read: read.shuffle(10).ignore_errors(),
    "prefetch": lambda read: read.ignore_errors().prefetch(2),
    "batch": lambda read: read.batch(1).ignore_errors(),
}
for folder in sys.argv[1:]:
    for name, combined in combine.items():
        for read in (frame_dataset, video_dataset):
            for options in ({}, {"batch": 1}, {"shuffle": 3}):
                elements = combined(read(folder, "train", **options)).as_numpy_iterator()
                found = [element["video_id"] for element in elements]
                print(read.__name__, name, options, len(found), found, flush=True)
"""


DAMAGED = {"length": 0, "data": 14, "checksum": -1}
"""The position of a byte in each part of a record."""


def test_it_ends_behind_every_combinator_whatever_is_damaged(tmp_path: Path) -> None:
    """On damage an iterator that fails for ever hangs whoever ignores errors, so this runs in a child with a limit."""
    folders = [write_example(tmp_path / part) for part in DAMAGED]
    for part, position in DAMAGED.items():
        for level in ("frame", "video"):
            path = tmp_path / part / level / "train" / "train-00000-of-00002.tfrecord"
            data = bytearray(path.read_bytes())
            data[position] ^= 1
            path.write_bytes(data)
    command = [sys.executable, "-c", COMBINED, *folders]
    finished = subprocess.run(command, timeout=240, check=True, capture_output=True, text=True)
    lines = finished.stdout.splitlines()
    assert len(lines) == len(DAMAGED) * 8 * 2 * 3
    assert all("b'c'" in line for line in lines if "ignore_errors" in line)
