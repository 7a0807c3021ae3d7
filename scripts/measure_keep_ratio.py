"""Measures the share of sampled videos that keep a label, by each reading of the paper (selection/frequency.py).

A million candidates have 1.8 labels each on average, drawn from entities whose frequencies follow Zipf's law; half a
million of them are sampled. Usage: .venv/bin/python scripts/measure_keep_ratio.py [ENTITIES [EXPONENT]]
"""

import sys

import numpy as np
import pyarrow as pa

from yt8m_pipeline.accounting.reasons import Stage
from yt8m_pipeline.config import VideoSampling
from yt8m_pipeline.selection.frequency import count_videos, keep_frequent, keep_popular
from yt8m_pipeline.selection.labels import keep_labels
from yt8m_pipeline.selection.video_sampling import sample_videos

CANDIDATES = 1_000_000


def main() -> None:
    entities = _table("entity_id", pa.array([f"/m/{index:05d}" for index in range(int(_argument(1, "10000")))]))
    videos = _candidates(entities, float(_argument(2, "1")))
    for above in (None, 200):
        sampled, kept = keep(videos, entities, VideoSampling(popular_videos_above=above, sample_size=CANDIDATES // 2))
        print(f"popular_videos_above {above}: {kept} of {sampled} sampled videos kept, {kept / sampled:.2f}")


def keep(videos: pa.Table, entities: pa.Table, config: VideoSampling) -> tuple[int, int]:
    """The numbers of videos sampled, and kept."""
    popular = keep_popular(entities, count_videos(videos), config).kept
    candidates = keep_labels(videos, popular["entity_id"].to_pylist(), Stage.POPULARITY).kept
    sampled = sample_videos(candidates, config).kept
    frequent = keep_frequent(popular, count_videos(sampled), config, Stage.FREQUENCY).kept
    kept = keep_labels(sampled, frequent["entity_id"].to_pylist(), Stage.FREQUENCY).kept
    return sampled.num_rows, kept.num_rows


def _candidates(entities: pa.Table, exponent: float) -> pa.Table:
    random = np.random.default_rng(0)
    frequencies = np.arange(1, entities.num_rows + 1) ** -exponent
    lengths = 1 + random.poisson(0.8, CANDIDATES)
    drawn = random.choice(entities.num_rows, lengths.sum(), p=frequencies / frequencies.sum())
    offsets = pa.array(np.append(0, np.cumsum(lengths)), pa.int32())
    labels = pa.ListArray.from_arrays(offsets, entities["entity_id"].combine_chunks().take(pa.array(drawn)))
    videos = _table("video_id", pa.array([f"video-{index:07d}" for index in range(CANDIDATES)]))
    return videos.append_column("entity_ids", labels)


def _table(name: str, ids: pa.Array) -> pa.Table:
    return pa.table({name: ids, "_file": pa.repeat("synthetic", len(ids)), "_row": np.arange(1, len(ids) + 1)})


def _argument(index: int, default: str) -> str:
    return sys.argv[index] if len(sys.argv) > index else default


if __name__ == "__main__":
    main()
