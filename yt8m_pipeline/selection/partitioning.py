"""Stage 3, last step: the division of videos into Train, Validate and Test as 70 : 20 : 10 (paper §3.2)."""

import math
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from yt8m_pipeline.chance import salted_hashes
from yt8m_pipeline.config import Partitioning
from yt8m_pipeline.data_model import Partition

SHOWN_CLASSES = 10
"""The number of classes that a warning names; the manifest has all."""

HASHES = 2**64
"""The number of values of `salted_hash`."""


def assign_partitions(videos: pa.Table, config: Partitioning) -> pa.Table:
    """Adds the columns `partition` and `unit`, string.

    A salted hash decides: [0, 2**64) is divided as the shares say, and a video belongs to the part that its hash falls
    into. The hash is that of its unit: `group_id`, or `video_id` where a video has no group. So a group is never
    divided, and a video stays in its partition when other videos are added or removed.

    Args:
        videos: Columns `video_id`, `group_id` string, "" for none; unless all are hashed, `given_partition`, too, the
            name of a partition, which counts, or "".
        config: The shares and the salt.
    """
    units = units_of(videos)
    hashes = salted_hashes(config.salt, units.to_pylist())
    train_end, validate_end = _ends(config)
    index = (hashes >= train_end).astype(np.int64) + (hashes >= validate_end)
    names = pa.array([Partition.TRAIN.value, Partition.VALIDATE.value, Partition.TEST.value])
    partitions = names.take(pa.array(index))
    if config.by != "hash":
        partitions = pc.if_else(pc.equal(videos["given_partition"], ""), partitions, videos["given_partition"])
    return videos.append_column("partition", partitions).append_column("unit", units)


def units_of(videos: pa.Table) -> pa.ChunkedArray:
    """What is put into a partition as a whole: the group of each video, or the video alone: string, (videos,)."""
    return pc.if_else(pc.not_equal(videos["group_id"], ""), videos["group_id"], videos["video_id"])


def lacking_entities(
    labels: Collection[tuple[str, str]],
    entity_ids: Collection[str],
    published: Collection[Partition] = frozenset(Partition),
) -> dict[str, list[str]]:
    """Finds the entities that no video of a partition has, sorted, for each partition whose labels are published.

    What no video has would say much of labels that are withheld: all of them, where one video has all others.

    >>> lacking_entities({("train", "/m/a"), ("train", "/m/b"), ("validate", "/m/a")}, ["/m/a", "/m/b"])
    {'train': [], 'validate': ['/m/b'], 'test': ['/m/a', '/m/b']}

    Args:
        labels: Every pair of a partition and an entity of one of its videos.
        entity_ids: The entities of the vocabulary.
        published: The partitions whose labels are published.
    """
    return {
        part.value: sorted(entity_id for entity_id in entity_ids if (part.value, entity_id) not in labels)
        for part in Partition
        if part in published
    }


def lacking_warnings(lacking: Mapping[str, Sequence[str]], names: Mapping[str, str]) -> list[str]:
    """Warns of each partition that lacks entities of the vocabulary, and names the first of them.

    Args:
        lacking: The `lacking_entities`.
        names: The name of each entity of the vocabulary.
    """
    return [
        f"no {partition} video has {len(entity_ids)} of the {len(names)} classes: "
        + ", ".join(names[entity_id] or entity_id for entity_id in entity_ids[:SHOWN_CLASSES])
        + ("" if len(entity_ids) <= SHOWN_CLASSES else ", …")
        for partition, entity_ids in lacking.items()
        if entity_ids
    ]


def _ends(config: Partitioning) -> tuple[int, int]:
    """The exclusive ends of the hashes of Train and of Validate, at most 2**64, exact for the shares as written."""
    train, validate, test = (Fraction(str(share)) for share in (config.train, config.validate_, config.test))
    total = train + validate + test
    return math.ceil(HASHES * train / total), math.ceil(HASHES * (train + validate) / total)
