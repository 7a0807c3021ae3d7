"""What `yt8m init` says of what it has understood, beside the numbers."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.intake.splits import partition_of
from yt8m_pipeline.intake.understood import Understood, Video


def remarks(understood: Understood) -> list[str]:
    """What the user should know of the whole, and what can be done."""
    notes = []
    if understood.has_segments:
        notes.append("times of segments are kept in annotations.csv; the labels hold for the whole video")
    if understood.has_partitions:
        counts = understood.partitions
        notes += _unknown_partitions(counts) or _empty_partitions(counts)
        notes += _without_partition(counts[""])
        notes += _divided_groups(understood.videos)
    return notes


def _empty_partitions(counts: Mapping[str, int]) -> list[str]:
    empty = [partition.value for partition in Partition if not counts.get(partition.value)]
    if not empty:
        return []
    return [
        f"no video is in {' or '.join(empty)}: the dataset has none, unless you write {empty[0]} into the column "
        "partition of some groups in videos.csv, or let chance divide all videos with partitioning.by: hash"
    ]


def _unknown_partitions(counts: Mapping[str, int]) -> list[str]:
    unknown = sorted(name for name in counts if name and not partition_of(name))
    if not unknown:
        return []
    shown = ", ".join(f"{name} ({counts[name]})" for name in unknown[:10])
    return [f"partitions that are not known: {shown}; say in partitioning.values what they stand for"]


def _without_partition(videos: int) -> list[str]:
    if not videos:
        return []
    return [
        f"{videos} videos have no partition: the build rejects them, or divides them by chance, as "
        "partitioning.without says"
    ]


def _divided_groups(videos: Sequence[Video]) -> list[str]:
    partitions: dict[str, set[str]] = defaultdict(set)
    for video in videos:
        if video.group_id and video.partition:
            partitions[video.group_id].add(video.partition)
    divided = sorted(group for group, names in partitions.items() if len(names) > 1)
    if not divided:
        return []
    return [
        f"{len(divided)} groups are in two partitions, such as {divided[0]}: the build ends there, unless "
        "partitioning.divided_groups is warn"
    ]
