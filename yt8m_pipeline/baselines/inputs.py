"""The batches that models are trained on and asked about: `tf.data` over the records, no more than a buffer in memory.

The order of an epoch is a function of (seed, epoch): the shards in random order, then a buffer from which the next
record is drawn. The frames of a video are a function of (seed, epoch, video id). So a training that was killed skips
the batches that it has seen, and goes on with the same ones.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from yt8m_pipeline.baselines.settings import DbofSettings, FrameLogisticSettings, LstmSettings, Settings
from yt8m_pipeline.baselines.sources import Source
from yt8m_pipeline.compression.quantization import MAX_LEVELS, Quantizer
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.tf_reader import frame_decoder
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.extraction.networks import tensorflow

TfDataset: TypeAlias = Any
Tensor: TypeAlias = Any
Choose: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""A function of a video's id and number of frames that gives the indices of frames, ascending."""

SCORED_TOGETHER = 16
"""The videos of a batch that models of frames only score: they have all frames, and a score for each."""

tf = tensorflow()


def train_batches(source: Source, settings: Settings, epoch: int, skip: int = 0) -> TfDataset:
    """The batches of an epoch, but for the first ones that are skipped.

    An element has `id`, `features`, `labels` and, of frames, `counts` (`models` says their shapes).
    """
    random = np.random.default_rng([settings.seed, epoch])
    files = source.files[Partition.TRAIN]
    uris = [files[index].uri for index in random.permutation(len(files))]
    records = tf.data.TFRecordDataset(uris).shuffle(settings.shuffle_buffer, int(random.integers(1 << 31)))
    left = records.skip(skip * settings.batch_size)
    if source.kind != "frames":
        return _vectors(source, left, settings.batch_size)
    choose, longest = _trained_on(settings, epoch)
    return _frames(source, left, settings.batch_size, choose, longest)


def partition_batches(source: Source, settings: Settings, partition: Partition) -> TfDataset:
    """All videos of a partition in the order of the shards, as `train_batches` has them; of frames, those scored."""
    records = tf.data.TFRecordDataset([file.uri for file in source.files[partition]])
    if source.kind != "frames":
        return _vectors(source, records, settings.batch_size)
    return _frames(source, records, SCORED_TOGETHER, _scored(settings), None)


def read(batches: TfDataset, where: str) -> Iterator[Mapping[str, Tensor]]:
    """Yields the batches.

    Raises:
        DataError: if a record is damaged, or is not of this dataset.
    """
    batch = iter(batches)
    while True:
        try:
            yield next(batch)
        except StopIteration:
            return
        except (tf.errors.DataLossError, tf.errors.InvalidArgumentError, tf.errors.NotFoundError) as error:
            raise DataError(
                what="A record cannot be read",
                where=where,
                why=" ".join(error.message.split())[:300],
                fix="`yt8m verify` lists all damage of a dataset; a feature set is made anew by `yt8m features`",
            ) from None


def _vectors(source: Source, records: TfDataset, size: int) -> TfDataset:
    name = "mean_rgb" if source.kind == "mean_rgb" else "features"
    schema = {**_id_and_labels(), name: tf.io.FixedLenFeature([source.dimensions], tf.float32)}

    def parse(serialised: Tensor) -> dict[str, Tensor]:
        parsed = tf.io.parse_example(serialised, schema)
        features = parsed[name]
        if name == "mean_rgb":
            features = tf.math.l2_normalize(features, axis=-1)
        rows, labels = parsed["labels"].indices[:, :1], parsed["labels"].values
        hot = _multi_hot(tf.concat([rows, labels[:, tf.newaxis]], 1), tf.size(serialised), source.classes)
        return {"id": parsed["id"], "features": features, "labels": hot}

    return _ahead(records.batch(size).map(parse, num_parallel_calls=tf.data.AUTOTUNE))


def _frames(source: Source, records: TfDataset, size: int, choose: Choose, longest: int | None) -> TfDataset:
    """Batches of frames, padded to `longest`, or to the longest video of the batch."""
    quantizer, dimensions = source.dataset.quantizer, source.dimensions
    name, decode = quantizer.feature_name, _decoder(quantizer, dimensions)

    def parse(serialised: Tensor) -> dict[str, Tensor]:
        sequence = {name: tf.io.FixedLenSequenceFeature([], tf.string)}
        context, lists = tf.io.parse_single_sequence_example(serialised, _id_and_labels(), sequence)
        chosen = tf.gather(lists[name], choose(context["id"], tf.size(lists[name])))
        labels = context["labels"].values
        return {
            "id": context["id"],
            "codes": tf.ensure_shape(tf.io.decode_raw(chosen, tf.uint8), (None, dimensions)),
            "counts": tf.size(chosen),
            "labels": _multi_hot(labels[:, tf.newaxis], None, source.classes),
        }

    def dequantize(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        if quantizer.length < MAX_LEVELS:
            tf.debugging.assert_less(batch["codes"], tf.constant(quantizer.length, tf.uint8), "there is no such code")
        features = decode(batch.pop("codes"), tf.cast(batch["counts"], tf.int64))
        return {**batch, "features": tf.ensure_shape(features, (None, longest, dimensions))}

    shapes = {"id": (), "codes": (longest, dimensions), "counts": (), "labels": (source.classes,)}
    videos = records.map(parse, num_parallel_calls=tf.data.AUTOTUNE)
    return _ahead(videos.padded_batch(size, padded_shapes=shapes).map(dequantize, num_parallel_calls=tf.data.AUTOTUNE))


@lru_cache(maxsize=2)
def _decoder(quantizer: Quantizer, dimensions: int) -> Callable[[Tensor, Tensor], Tensor]:
    """The decoder of a codebook, which all epochs share: it is compiled anew for each length of a batch."""
    return frame_decoder(quantizer, dimensions)


def _ahead(batches: TfDataset) -> TfDataset:
    """The batches, made while the model works on those before; in the same order however many threads make them."""
    options = tf.data.Options()
    options.deterministic = True
    return batches.prefetch(tf.data.AUTOTUNE).with_options(options)


def _id_and_labels() -> dict[str, Any]:
    return {"id": tf.io.FixedLenFeature([], tf.string), "labels": tf.io.VarLenFeature(tf.int64)}


def _multi_hot(places: Tensor, videos: Tensor | None, classes: int) -> Tensor:
    """uint8, (classes,) or (videos, classes): 1 at each of the places, which are of as many columns."""
    shape = tf.constant([classes], tf.int64) if videos is None else tf.stack([tf.cast(videos, tf.int64), classes])
    return tf.scatter_nd(places, tf.ones(tf.shape(places)[:1], tf.uint8), shape)


def _trained_on(settings: Settings, epoch: int) -> tuple[Choose, int]:
    """The frames that an epoch trains on, and the most that there are: random ones, or a random window."""
    if isinstance(settings, LstmSettings):
        return _window(settings, epoch), settings.window
    assert isinstance(settings, FrameLogisticSettings | DbofSettings)  # noqa: S101  other models read no frames
    return _random_frames(settings.seed, epoch, settings.frames), settings.frames


def _scored(settings: Settings) -> Choose:
    """The frames that a video is scored by: all; of DBoF as many as in training, so that maxima are of as many.

    They are the middles of k equal parts of the video: k other random frames would score it otherwise each time.
    """
    if not isinstance(settings, DbofSettings):
        return lambda _, count: tf.range(count)
    frames = settings.frames
    return lambda _, count: tf.cond(
        count <= frames, lambda: tf.range(count), lambda: (2 * tf.range(frames) + 1) * count // (2 * frames)
    )


def _random_frames(seed: int, epoch: int, frames: int) -> Choose:
    """Different frames, each as likely as all others; all of a video that has no more."""

    def choose(video_id: Tensor, count: Tensor) -> Tensor:
        ranks = tf.random.stateless_uniform([count], _chance(seed, epoch, video_id))
        return tf.sort(tf.math.top_k(ranks, tf.minimum(frames, count)).indices)

    return choose


def _window(settings: LstmSettings, epoch: int) -> Choose:
    """Consecutive frames, from any start as likely as from others; all of a video that has no more."""

    def choose(video_id: Tensor, count: Tensor) -> Tensor:
        length = tf.minimum(settings.window, count)
        seeds = _chance(settings.seed, epoch, video_id)
        start = tf.random.stateless_uniform([], seeds, 0, count - length + 1, tf.int32)
        return start + tf.range(length)

    return choose


def _chance(seed: int, epoch: int, video_id: Tensor) -> Tensor:
    """The two numbers that decide a random choice of TensorFlow: of the video, and of seed and epoch."""
    mixed = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
    return tf.stack([tf.strings.to_hash_bucket_fast(video_id, (1 << 63) - 1), tf.constant(mixed, tf.int64)])
