"""The published starter code's schema and formula, as its `readers.py` and `utils.py` have them, on our datasets."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.command_line import run
from tests.conftest import CONFIGS, Workshop
from yt8m_pipeline.config import load
from yt8m_pipeline.data_model import Float32Array, Partition
from yt8m_pipeline.dataset.reader import read_frames, read_videos

COMPONENTS = 16
"""Of the little datasets here; the published ones have 1,024."""


def dequantize(codes: Any, max_quantized_value: float = 2, min_quantized_value: float = -2) -> Any:
    quantized_range = max_quantized_value - min_quantized_value
    scalar = quantized_range / 255.0
    bias = (quantized_range / 512.0) + min_quantized_value
    return codes * scalar + bias


def starter_frames(shard: Path) -> dict[str, Float32Array]:
    """As `YT8MFrameFeatureReader` parses a shard of frame-level records."""
    import tensorflow as tf

    frames = {}
    for record in tf.data.TFRecordDataset(str(shard)):
        context, features = tf.io.parse_single_sequence_example(
            record,
            context_features={
                "id": tf.io.FixedLenFeature([], tf.string),
                "labels": tf.io.VarLenFeature(tf.int64),
            },
            sequence_features={"rgb": tf.io.FixedLenSequenceFeature([], dtype=tf.string)},
        )
        codes = tf.reshape(tf.cast(tf.io.decode_raw(features["rgb"], tf.uint8), tf.float32), [-1, COMPONENTS])
        frames[context["id"].numpy().decode()] = dequantize(codes).numpy()
    return frames


def starter_videos(shard: Path) -> dict[str, tuple[list[int], Float32Array]]:
    """As `YT8MAggregatedFeatureReader` parses a shard of video-level records."""
    import tensorflow as tf

    schema = {
        "id": tf.io.FixedLenFeature([], tf.string),
        "labels": tf.io.VarLenFeature(tf.int64),
        "mean_rgb": tf.io.FixedLenFeature([COMPONENTS], tf.float32),
    }
    parsed = [tf.io.parse_single_example(record, schema) for record in tf.data.TFRecordDataset(str(shard))]
    return {
        row["id"].numpy().decode(): (row["labels"].values.numpy().tolist(), row["mean_rgb"].numpy()) for row in parsed
    }


@pytest.fixture(scope="module")
def uniform(workshop: Workshop, built: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A dataset quantized as `configs/starter_code.yaml` says, from the store of the finished build."""
    quantizer = load(CONFIGS / "starter_code.yaml").quantizer.model_dump()
    folder = tmp_path_factory.mktemp("uniform")
    config = workshop.config(folder, stored=built, quantizer=quantizer)
    finished = run("build", str(config))
    assert finished.returncode == 0, finished.stderr
    return str(folder / "dataset")


@pytest.mark.parametrize("partition", Partition)
def test_it_reads_the_frames_of_a_uniform_dataset_as_we_do(uniform: str, partition: Partition) -> None:
    ours = {example.video_id: example.features for example in read_frames(uniform, partition)}
    theirs: dict[str, Float32Array] = {}
    for shard in Path(uniform, "frame", partition.value).iterdir():
        theirs |= starter_frames(shard)
    assert ours.keys() == theirs.keys()
    assert all(np.abs(ours[video_id] - theirs[video_id]).max() <= 1e-6 for video_id in ours)


@pytest.mark.parametrize("partition", Partition)
def test_it_reads_the_videos_of_a_uniform_dataset_as_we_do(uniform: str, partition: Partition) -> None:
    ours = {
        example.video_id: (example.labels.tolist(), example.mean_rgb) for example in read_videos(uniform, partition)
    }
    theirs: dict[str, tuple[list[int], Float32Array]] = {}
    for shard in Path(uniform, "video", partition.value).iterdir():
        theirs |= starter_videos(shard)
    assert ours.keys() == theirs.keys()
    for video_id, (labels, mean) in ours.items():
        assert (partition == Partition.TEST) == (labels == [])
        assert theirs[video_id][0] == labels
        np.testing.assert_array_equal(theirs[video_id][1], mean)


def test_it_stops_at_the_codes_of_an_optimal_codebook(built: Path) -> None:
    import tensorflow as tf

    shards = [path for path in (built / "dataset" / "frame" / "train").iterdir() if path.stat().st_size]
    with pytest.raises(tf.errors.InvalidArgumentError, match="rgb"):
        starter_frames(shards[0])
