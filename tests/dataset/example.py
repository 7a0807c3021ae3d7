"""The tiny dataset that the examples in docstrings read: four dimensions, five videos, two shards of train."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
from synthetic_dataset import describe

from yt8m_pipeline.accounting.counts import StageCount
from yt8m_pipeline.accounting.outcome import reject_video
from yt8m_pipeline.accounting.reasons import DropReason, Stage, VideoRejected
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.index import VIDEOS, write_reader, write_videos, write_vocabulary
from yt8m_pipeline.dataset.layout import Layout, Shard
from yt8m_pipeline.dataset.manifest import PartitionSummary
from yt8m_pipeline.dataset.rejects import write_rejects
from yt8m_pipeline.dataset.shards import Member, write_shard
from yt8m_pipeline.dataset.steps import FileEntry, Step

DIMENSIONS = 4
CONTENTS: dict[Shard, list[tuple[str, tuple[int, ...], int]]] = {
    Shard(Partition.TRAIN, 0, 2): [("a", (0, 2), 3), ("b", (1,), 2)],
    Shard(Partition.TRAIN, 1, 2): [("c", (0,), 3)],
    Shard(Partition.VALIDATE, 0, 1): [("d", (1, 2), 4)],
    Shard(Partition.TEST, 0, 1): [("e", (0,), 2)],
}
"""The id, the labels and the number of frames of each video of each shard."""
LABELS = 3
REJECTED = VideoRejected(DropReason.TRUNCATED, "the file ends at byte 100")
"""Why a sixth video is not in the dataset."""
COUNT = StageCount(Stage.DECODE, "videos", sum(map(len, CONTENTS.values())), (("truncated", 1),))


def write_example(folder: Path) -> str:
    """Writes the dataset, finished and sound, and returns the folder's path as a string."""
    layout, quantizer = Layout(str(folder)), Quantizer.uniform()
    quantizer.save(layout.path(Layout.QUANTIZER))
    describe(
        layout,
        quantizer,
        DIMENSIONS,
        partitions={partition: _summary(partition) for partition in Partition},
        shards=[_write_shard(layout, shard, quantizer) for shard in CONTENTS],
        tables=_write_tables(layout),
        accounting=[COUNT],
    )
    return str(folder)


def _summary(partition: Partition) -> PartitionSummary:
    videos = [video for shard, members in CONTENTS.items() if shard.partition is partition for video in members]
    return PartitionSummary(
        videos=len(videos),
        frames=sum(frames for _, _, frames in videos),
        labels=sum(len(labels) for _, labels, _ in videos),
    )


def _write_shard(layout: Layout, shard: Shard, quantizer: Quantizer) -> Step:
    random = np.random.default_rng(0)
    videos = [
        (Member(video_id, "sha256", labels), random.standard_normal((frames, DIMENSIONS)).astype(np.float32))
        for video_id, labels, frames in CONTENTS[shard]
    ]
    return write_shard(layout, shard, "key", videos, quantizer)


def _write_tables(layout: Layout) -> list[FileEntry]:
    members = [(shard, *video) for shard, videos in CONTENTS.items() for video in videos]
    rows = [
        {"video_id": name, "partition": shard.partition, "labels": labels, "frames": frames, "shard": shard.name}
        for shard, name, labels, frames in members
    ]
    counts = Counter(label for shard, _, labels, _ in members if shard.partition is Partition.TRAIN for label in labels)
    text = "Index,TrainVideoCount\n" + "".join(f"{label},{counts[label]}\n" for label in range(LABELS))
    return [
        write_vocabulary(layout, text.encode(), frozen=False),
        *write_videos(layout, [pa.Table.from_pylist(rows, schema=VIDEOS)], DIMENSIONS, "rgb"),
        write_reader(layout),
        *write_rejects(layout, [reject_video(Stage.DECODE, "f", "f.mp4", REJECTED)]),
    ]
