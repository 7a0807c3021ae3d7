"""Reading a finished dataset as a `tf.data.Dataset`: the same values in the same order as `reader` gives.

TensorFlow is imported when a dataset is asked for. While it reads, faults are TensorFlow's errors: `DataLossError` for
a damaged or truncated shard, `FailedPreconditionError` for a shard with another number of records than the manifest
says, `InvalidArgumentError` for a record of another encoding.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.reader import ShardFile, open_dataset

TfDataset: TypeAlias = Any
Tensor: TypeAlias = Any


def frame_dataset(dataset: str, partition: Partition | str) -> TfDataset:
    """Reads every video of a partition, frame by frame.

    >>> for video in frame_dataset(DATASET, "train").take(2).as_numpy_iterator():
    ...     print(video["id"], video["labels"], video["rgb"].shape)
    b'a' [0 2] (3, 4)
    b'b' [1] (2, 4)

    Args:
        dataset: The folder of a finished dataset.
        partition: A partition, or its name: "train", "validate" or "test".

    Returns:
        A dataset of known cardinality, of `id` (string, ()), `labels` (int64, (labels,)) and `rgb` (float32,
        (frames, dimensions), de-quantized).

    Raises:
        DataError: at once, what `reader.open_dataset` and `FinishedDataset.shards` refuse.
    """
    import tensorflow as tf  # noqa: PLC0415

    opened = open_dataset(dataset)
    name = opened.quantizer.feature_name
    sequence = {name: tf.io.FixedLenSequenceFeature([], tf.string)}

    def parse(record: Tensor) -> dict[str, Tensor]:
        context, frames = tf.io.parse_single_sequence_example(record, _id_and_labels(), sequence)
        codes = tf.ensure_shape(tf.io.decode_raw(frames[name], tf.uint8), (None, opened.dimensions))
        return {"id": context["id"], "labels": context["labels"].values, "rgb": _decode(opened.quantizer, codes)}

    return _records(opened.shards("frame", partition)).map(parse, num_parallel_calls=tf.data.AUTOTUNE)


def video_dataset(dataset: str, partition: Partition | str) -> TfDataset:
    """Reads every video of a partition as the mean of its frames.

    An element has `id`, `labels` and `mean_rgb` (float32, (dimensions,)).

    The arguments and the errors are those of `frame_dataset`.
    """
    import tensorflow as tf  # noqa: PLC0415

    opened = open_dataset(dataset)
    features = {**_id_and_labels(), "mean_rgb": tf.io.FixedLenFeature([opened.dimensions], tf.float32)}

    def parse(record: Tensor) -> dict[str, Tensor]:
        example = tf.io.parse_single_example(record, features)
        return {"id": example["id"], "labels": example["labels"].values, "mean_rgb": example["mean_rgb"]}

    return _records(opened.shards("video", partition)).map(parse, num_parallel_calls=tf.data.AUTOTUNE)


def _decode(quantizer: Quantizer, codes: Tensor) -> Tensor:
    """The level of each code: float32, (frames, dimensions)."""
    import tensorflow as tf  # noqa: PLC0415

    indices = tf.cast(codes, tf.int32)
    if quantizer.scope == "shared":
        return tf.gather(quantizer.levels, indices)
    return tf.transpose(tf.gather(quantizer.levels, tf.transpose(indices), batch_dims=1))


def _id_and_labels() -> dict[str, Any]:
    import tensorflow as tf  # noqa: PLC0415

    return {"id": tf.io.FixedLenFeature([], tf.string), "labels": tf.io.VarLenFeature(tf.int64)}


def _records(shards: Sequence[ShardFile]) -> TfDataset:
    """The serialised records of the shards in order; each shard must have as many as the manifest says."""
    import tensorflow as tf  # noqa: PLC0415

    uris = tf.constant([shard.uri for shard in shards])
    counts = tf.constant([shard.records for shard in shards], tf.int64)

    def read(uri: Tensor, count: Tensor) -> TfDataset:
        return tf.data.TFRecordDataset(uri).apply(tf.data.experimental.assert_cardinality(count))

    total = sum(shard.records for shard in shards)
    records = tf.data.Dataset.from_tensor_slices((uris, counts)).flat_map(read)
    return records.apply(tf.data.experimental.assert_cardinality(total))
