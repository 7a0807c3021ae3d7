"""Stage 3, last step: Train : Validate : Test = 70 : 20 : 10 (paper §3.2)."""

import math
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from yt8m_pipeline.chance import salted_hashes
from yt8m_pipeline.config import Partitioning
from yt8m_pipeline.data_model import Partition

HASHES = 2**64


def assign_partitions(videos: pa.Table, config: Partitioning) -> pa.Table:
    """Adds the column `partition`, string: the share of [0, 2**64) in which the salted hash falls.

    The hash is that of `group_id`, or of `video_id` where a video has no group, so that a group is never divided and
    a video's partition depends on no other video. A video always stays in its partition when others come or go.

    Args:
        videos: Columns `video_id`, `group_id` string, "" for none.
        config: Shares and salt.
    """
    grouped = pc.not_equal(videos["group_id"], "")
    units = pc.if_else(grouped, videos["group_id"], videos["video_id"])
    hashes = salted_hashes(config.salt, units.to_pylist())
    train_end, validate_end = _ends(config)
    index = (hashes >= train_end).astype(np.int64) + (hashes >= validate_end)
    names = pa.array([Partition.TRAIN.value, Partition.VALIDATE.value, Partition.TEST.value])
    return videos.append_column("partition", names.take(pa.array(index)))


def _ends(config: Partitioning) -> tuple[int, int]:
    """Where the hashes of Train and of Validate end, exclusive: exact for the shares as written, at most 2**64."""
    train, validate, test = (Fraction(str(share)) for share in (config.train, config.validate_, config.test))
    total = train + validate + test
    return math.ceil(HASHES * train / total), math.ceil(HASHES * (train + validate) / total)
