#!/usr/bin/env python
"""What reading a dataset with TensorFlow costs, beside the stock way: parse, and de-quantize by the public formula.

    scripts/bench_read.py [--videos 100] [--frames 200] [--rounds 7]

Each round reads an epoch of the same records with both readers, one after the other; what is told is the median of the
rounds, and the median of the ratios within the rounds: of the time by the clock, and of the processor's.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from yt8m_pipeline.compression.distortion import Distortion
from yt8m_pipeline.compression.histogram import Histogram
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.layout import Layout, Shard
from yt8m_pipeline.dataset.manifest import (
    PartitionSummary,
    distortion_facts,
    fitted_row,
    mark_complete,
    shard_parts,
    write_manifest,
)
from yt8m_pipeline.dataset.shards import Member, write_shard
from yt8m_pipeline.dataset.steps import CodebookFacts, CodebookStep, PcaFacts, PcaStep
from yt8m_pipeline.dataset.tf_reader import frame_dataset, video_dataset

DIMENSIONS, BATCH = 1024, 32


def codebooks() -> Mapping[str, Quantizer]:
    values = np.random.default_rng(0).standard_normal((4000, DIMENSIONS)).astype(np.float32)
    return {
        "uniform": Quantizer.uniform(),
        "optimal, shared": Quantizer.fit(Histogram.from_values(values.reshape(-1, 1))),
        "optimal, per dimension": Quantizer.fit(Histogram.from_values(values, DIMENSIONS)),
    }


def write_dataset(folder: Path, quantizer: Quantizer, videos: int, frames: int) -> str:
    """A dataset of random coefficients, all in one shard of train."""
    layout, random = Layout(str(folder)), np.random.default_rng(0)
    quantizer.save(layout.path(Layout.QUANTIZER))
    members = [
        (Member(f"{number:06d}", "", (1, 2, 3)), random.standard_normal((frames, DIMENSIONS)).astype(np.float32))
        for number in range(videos)
    ]
    shard = write_shard(layout, Shard(Partition.TRAIN, 0, 1), "", members, quantizer)
    pca = PcaStep("pca", "", (), PcaFacts("none", DIMENSIONS, None, None))
    codebook = CodebookFacts(quantizer.name, quantizer.scope, quantizer.fingerprint)
    values = {
        **{name: {} for name in ("config", "inputs", "versions")},
        **{name: [] for name in ("accounting", "warnings", "files")},
        "build_key": "",
        "feature_space": {"fingerprint": "none"},
        "encoded": {"from": "features"},
        "pca": fitted_row(pca),
        "quantizer": fitted_row(CodebookStep("quantizer", "", (), codebook)),
        "partitions": {partition: PartitionSummary().to_json() for partition in Partition},
        **shard_parts([shard]),
        "distortion": {partition: distortion_facts(Distortion()) for partition in Partition},
    }
    write_manifest(layout, values)
    mark_complete(layout)
    return str(folder)


def stock_frames(folder: str, name: str) -> Any:
    """As `readers.py` and `utils.py` of the published starter code parse and de-quantize frames."""
    context = {"id": tf.io.FixedLenFeature([], tf.string), "labels": tf.io.VarLenFeature(tf.int64)}
    sequence = {name: tf.io.FixedLenSequenceFeature([], tf.string)}

    def parse(record: Any) -> Any:
        found, lists = tf.io.parse_single_sequence_example(record, context, sequence)
        codes = tf.reshape(tf.cast(tf.io.decode_raw(lists[name], tf.uint8), tf.float32), [-1, DIMENSIONS])
        return {"id": found["id"], "labels": found["labels"].values, "rgb": codes * (4 / 255) + (4 / 512 - 2)}

    return stock(folder, "frame").map(parse, num_parallel_calls=tf.data.AUTOTUNE)


def stock_videos(folder: str) -> Any:
    """As `readers.py` parses video-level records: a batch at once."""
    features = {
        "id": tf.io.FixedLenFeature([], tf.string),
        "labels": tf.io.VarLenFeature(tf.int64),
        "mean_rgb": tf.io.FixedLenFeature([DIMENSIONS], tf.float32),
    }
    parsed = stock(folder, "video").batch(BATCH)
    return parsed.map(lambda records: tf.io.parse_example(records, features), num_parallel_calls=tf.data.AUTOTUNE)


def stock(folder: str, level: str) -> Any:
    return tf.data.TFRecordDataset(f"{folder}/{level}/train/train-00000-of-00001.tfrecord")


def seconds(dataset: Any) -> tuple[float, float]:
    """How long an epoch takes, by the clock and of the processor."""
    start, spent = time.perf_counter(), time.process_time()
    for _ in dataset:
        pass
    return time.perf_counter() - start, time.process_time() - spent


def compare(what: str, ours: Any, theirs: Any, rounds: int) -> None:
    seconds(ours), seconds(theirs)
    pairs = [(*seconds(ours), *seconds(theirs)) for _ in range(rounds)]
    own, own_cpu, other, other_cpu = (1e3 * statistics.median(column) for column in zip(*pairs, strict=True))
    clock, cpu = (statistics.median(pair[k] / pair[k + 2] for pair in pairs) for k in range(2))
    print(f"{what:45} {own:6.0f} ms, CPU {own_cpu:6.0f}; stock {other:6.0f} ms, CPU {other_cpu:6.0f}", end="; ")
    print(f"ratio {clock:.2f}, CPU {cpu:.2f}", flush=True)


def compare_frames(dataset: str, codebook: str, rounds: int) -> None:
    theirs = stock_frames(dataset, "rgb" if codebook == "uniform" else "rgb_codes")
    compare(f"frames, one by one, {codebook}", frame_dataset(dataset, "train"), theirs, rounds)
    batches = frame_dataset(dataset, "train", batch=BATCH), theirs.padded_batch(BATCH)
    compare(f"frames, batches of {BATCH}, {codebook}", *batches, rounds)


def compare_videos(dataset: str, rounds: int) -> None:
    compare(f"videos, batches of {BATCH}", video_dataset(dataset, "train", batch=BATCH), stock_videos(dataset), rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=100)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    for name, quantizer in codebooks().items():
        with tempfile.TemporaryDirectory() as folder:
            compare_frames(write_dataset(Path(folder), quantizer, given.videos, given.frames), name, given.rounds)
    with tempfile.TemporaryDirectory() as folder:
        compare_videos(write_dataset(Path(folder), Quantizer.uniform(), 40 * given.videos, 1), given.rounds)


if __name__ == "__main__":
    main()
