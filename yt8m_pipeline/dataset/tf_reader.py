"""Reading a finished dataset as a `tf.data.Dataset`: the same values in the same order as `reader` gives.

TensorFlow is imported when a dataset is asked for. Shards of another size than the manifest says are refused at once.
Other faults are TensorFlow's errors, raised while it reads: `DataLossError` for a damaged record, after which the next
shard is read if errors are ignored, and `InvalidArgumentError` for a record of another encoding.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from yt8m_pipeline.compression.quantization import MAX_LEVELS, Quantizer
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.reader import FinishedDataset, ShardFile, open_dataset

TfDataset: TypeAlias = Any
Tensor: TypeAlias = Any

NO_LABEL = -1
"""The number that the labels of a batch are padded with: 0 is the index of a class."""
UNIFORM_STEP, UNIFORM_START = np.float32(4 / 255), np.float32(4 / 512 - 2)
"""The public formula of the levels (youtube-8m, utils.py, `Dequantize`): code · 4 / 255 + 4 / 512 − 2."""
ROWS = [eighths << exponent for exponent in range(27) for eighths in range(8, 16)]
"""The numbers of rows that lookups are compiled for: 8 in each octave, so that at most an eighth is filling."""
ALL = slice(None)


def frame_dataset(
    dataset: str,
    partition: Partition | str,
    *,
    batch: int | None = None,
    shuffle: int | None = None,
    seed: int | None = None,
    shards: slice = ALL,
    multi_hot: bool = False,
) -> TfDataset:
    """Reads every video of a partition, frame by frame.

    >>> for video in frame_dataset(DATASET, "train").take(2).as_numpy_iterator():
    ...     print(video["video_id"], video["labels"], video["features"].shape)
    b'a' [0 2] (3, 4)
    b'b' [1] (2, 4)
    >>> (two, one) = frame_dataset(DATASET, "train", batch=2).as_numpy_iterator()
    >>> two["labels"].tolist(), two["frames"].tolist(), two["features"].shape
    ([[0, 2], [1, -1]], [3, 2], (2, 3, 4))

    Records are shuffled as they stand in the files, at a quarter of their decoded size. How many elements there are is
    not known to TensorFlow; the manifest says it.

    Args:
        dataset: The folder of a finished dataset.
        partition: A partition, or its name: "train", "validate" or "test".
        batch: The number of videos of a batch; None for single videos. The last batch may be smaller.
        shuffle: The number of records in the shuffle buffer; shards are read in random order too. None for the order
            of the shards.
        seed: The seed of the shuffling; each epoch has another order.
        shards: Which of the shards are read, e.g. slice(worker, None, workers).
        multi_hot: Whether labels are a vector with a 1 for each label of the video, rather than indices.

    Returns:
        A dataset of `video_id` (string, ()), `labels` (int64, (labels,)) and `features` (float32, (frames, dimensions),
        de-quantized). If multi_hot, `labels` is float32, (classes,). In batches each has one more, first axis;
        `features` is padded with zeros, `labels` with -1, and `frames` (int64, (batch,)) is the number of frames of
        each video.

    Raises:
        UsageError: at once, if there is no such folder or partition.
        DataError: at once, what `reader.open_dataset` and `FinishedDataset.shards` refuse.
    """
    import tensorflow as tf  # noqa: PLC0415

    opened = open_dataset(dataset)
    name, decode = opened.quantizer.feature_name, frame_decoder(opened.quantizer, opened.dimensions)
    label_values = _labels(opened, multi_hot)

    def parse(record: Tensor) -> dict[str, Tensor]:
        sequence = {name: tf.io.FixedLenSequenceFeature([], tf.string)}
        context, frames = tf.io.parse_single_sequence_example(record, _id_and_labels(), sequence)
        codes = tf.ensure_shape(tf.io.decode_raw(frames[name], tf.uint8), (None, opened.dimensions))
        if opened.quantizer.length < MAX_LEVELS:
            tf.debugging.assert_less(
                codes, tf.constant(opened.quantizer.length, tf.uint8), "the codebook has no such code"
            )
        return {**_facts(context, label_values), "codes": codes, "frames": tf.size(frames[name], tf.int64)}

    def dequantize(parsed: dict[str, Tensor]) -> dict[str, Tensor]:
        facts = {fact: parsed[fact] for fact in ("video_id", "labels", *(["frames"] if batch else []))}
        return {**facts, "features": decode(parsed["codes"], parsed["frames"])}

    records = _records(opened.shards("frame", partition)[shards], shuffle, seed)
    if not batch:
        return records.map(lambda record: dequantize(parse(record)), num_parallel_calls=tf.data.AUTOTUNE)
    videos = records.map(parse, num_parallel_calls=tf.data.AUTOTUNE)
    no_label = tf.constant(0, tf.float32) if multi_hot else tf.constant(NO_LABEL, tf.int64)
    padding = {
        "video_id": "",
        "labels": no_label,
        "codes": tf.constant(0, tf.uint8),
        "frames": tf.constant(0, tf.int64),
    }
    return videos.padded_batch(batch, padding_values=padding).map(dequantize, num_parallel_calls=tf.data.AUTOTUNE)


def video_dataset(
    dataset: str,
    partition: Partition | str,
    *,
    batch: int | None = None,
    shuffle: int | None = None,
    seed: int | None = None,
    shards: slice = ALL,
    multi_hot: bool = False,
) -> TfDataset:
    """Reads every video of a partition as the mean of its frames.

    An element has `video_id`, `labels` and `mean_rgb` (float32, (dimensions,)). The arguments, the batches and the
    errors are those of `frame_dataset`.
    """
    import tensorflow as tf  # noqa: PLC0415

    opened = open_dataset(dataset)
    features = {**_id_and_labels(), "mean_rgb": tf.io.FixedLenFeature([opened.dimensions], tf.float32)}
    label_values = _labels(opened, multi_hot)

    def parse(records: Tensor) -> dict[str, Tensor]:
        example = tf.io.parse_example(records, features)
        return {**_facts(example, label_values), "mean_rgb": example["mean_rgb"]}

    records = _records(opened.shards("video", partition)[shards], shuffle, seed)
    return (records.batch(batch) if batch else records).map(parse, num_parallel_calls=tf.data.AUTOTUNE)


def frame_decoder(quantizer: Quantizer, dimensions: int) -> Callable[[Tensor, Tensor], Tensor]:
    """The function from codes, uint8 (…, frames, dimensions), and the numbers of real frames, int64 (…), to features.

    The features are float32 and of the shape of the codes: the level of each code, and 0 where frames are padding.
    XLA compiles the lookup to one loop over the codes; TensorFlow's own gather of single numbers takes several times as
    long. XLA compiles anew for each number of rows, so rows are filled up to one of `ROWS`. A call costs
    about 0.1 ms beside the lookup: the `uniform` levels of a single video are therefore computed by the public formula,
    in the same float32 steps as `Quantizer`.
    """
    import tensorflow as tf  # noqa: PLC0415

    levels = tf.constant(quantizer.levels.reshape(-1))
    own = quantizer.scope == "per_dimension"
    starts = quantizer.length * tf.range(dimensions) if own else tf.constant(0)

    def look_up(codes: Tensor, frames: Tensor, longest: Tensor) -> Tensor:
        row = tf.range(tf.shape(codes)[0])
        real = row % longest < tf.gather(frames, row // longest)
        return tf.where(real[:, tf.newaxis], tf.gather(levels, tf.cast(codes, tf.int32) + starts), 0.0)

    compiled = tf.function(look_up, jit_compile=True)

    def decode(codes: Tensor, frames: Tensor) -> Tensor:
        if quantizer.name == "uniform" and codes.shape.rank == 2:
            return tf.cast(codes, tf.float32) * UNIFORM_STEP + UNIFORM_START
        rows = tf.reshape(codes, (-1, dimensions))
        count, longest = tf.shape(rows)[0], tf.shape(codes)[-2]
        more = tf.constant(ROWS)[tf.searchsorted(ROWS, [count])[0]] - count
        filled = tf.concat([rows, tf.zeros((more, dimensions), tf.uint8)], axis=0)
        features = compiled(filled, tf.cast(tf.reshape(frames, [-1]), tf.int32), longest)
        return tf.reshape(features[:count], tf.shape(codes))

    return decode


def _labels(opened: FinishedDataset, multi_hot: bool) -> Callable[[Tensor], Tensor]:
    """The function from the sparse labels of one video, or of a batch, to what an element has."""
    import tensorflow as tf  # noqa: PLC0415

    def indices(sparse: Tensor) -> Tensor:
        return sparse.values if len(sparse.shape) == 1 else tf.sparse.to_dense(sparse, NO_LABEL)

    def hot(sparse: Tensor) -> Tensor:
        each = tf.one_hot(tf.sparse.to_dense(sparse, NO_LABEL), classes, on_value=True, off_value=False, dtype=tf.bool)
        return tf.cast(tf.reduce_any(each, axis=-2), tf.float32)

    classes = opened.count_classes() if multi_hot else 0
    return hot if multi_hot else indices


def _id_and_labels() -> dict[str, Any]:
    import tensorflow as tf  # noqa: PLC0415

    return {"id": tf.io.FixedLenFeature([], tf.string), "labels": tf.io.VarLenFeature(tf.int64)}


def _facts(parsed: Mapping[str, Tensor], label_values: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    return {"video_id": parsed["id"], "labels": label_values(parsed["labels"])}


def _records(shards: Sequence[ShardFile], shuffle: int | None, seed: int | None) -> TfDataset:
    """The serialised records of the shards, in order or shuffled."""
    import tensorflow as tf  # noqa: PLC0415

    uris = tf.data.Dataset.from_tensor_slices(tf.constant([shard.uri for shard in shards], tf.string))
    if shuffle:
        uris = uris.shuffle(max(len(shards), 1), seed)
    records = uris.flat_map(tf.data.TFRecordDataset)
    return records.shuffle(shuffle, seed) if shuffle else records
