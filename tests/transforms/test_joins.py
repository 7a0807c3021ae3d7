"""Joining and sampling on an engine equal the pure functions on one table, however the rows are cut and spread."""

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.selection.rows import table
from tests.transforms.harness import run
from yt8m_pipeline.config import VideoSampling
from yt8m_pipeline.selection.video_sampling import sample_videos
from yt8m_pipeline.tables.reading import schema
from yt8m_pipeline.transforms.selection import JoinByHash, SampleVideos

RATINGS = {"entity_id": pa.string(), "rater_id": pa.string(), "score": pa.float64()}
VIDEOS = {"video_id": pa.string()}


def ratings(entities: list[str]) -> pa.Table:
    return table(
        [{"entity_id": name, "rater_id": f"{row}", "score": 1.0} for row, name in enumerate(entities)], RATINGS
    )


@pytest.mark.parametrize("buckets", [1, 3, 64])
def test_all_rows_of_an_id_meet_in_one_element_and_none_is_lost(buckets: int) -> None:
    left, right = ratings(["a", "b", "a", "c"]), ratings(["b", "d", "b"])
    columns = {name: ("entity_id", schema("ratings")) for name in ("left", "right")}
    pieces = {"left": [left.slice(0, 1), left.slice(1)], "right": [right.slice(0, 2), right.slice(2)]}
    found = run(lambda left, right: {"left": left, "right": right} | JoinByHash(columns, buckets), **pieces)
    assert len(found) <= buckets
    for name, rows in (("left", left), ("right", right)):
        ids = [joined[name]["entity_id"].to_pylist() for joined in found]
        assert Counter(entity for group in ids for entity in group) == Counter(rows["entity_id"].to_pylist())
        assert all(sum(entity in group for group in ids) == 1 for entity in rows["entity_id"].to_pylist())
        assert all(joined[name]["_row"].to_pylist() == sorted(joined[name]["_row"].to_pylist()) for joined in found)


@settings(max_examples=8)
@given(st.integers(1, 40), st.integers(1, 50), st.integers(1, 7))
def test_a_sample_on_an_engine_is_that_of_one_table(videos: int, sample_size: int, pieces: int) -> None:
    rows = table([{"video_id": f"v{number}"} for number in range(videos)], VIDEOS)
    config = VideoSampling(sample_size=sample_size)
    cut = [rows.slice(begin, pieces) for begin in range(0, videos, pieces)]
    found = run(lambda videos: videos | SampleVideos(config), videos=cut)
    expected = sample_videos(rows, config)
    kept = [video for piece in found.kept for video in piece["video_id"].to_pylist()]
    rejected = [video for piece in found.rejects for video in piece["id"].to_pylist()]
    assert sorted(kept) == sorted(expected.kept["video_id"].to_pylist())
    assert sorted(rejected) == sorted(expected.rejects["id"].to_pylist())
    assert sum(count.kept for count in found.counts) == len(kept) == min(videos, sample_size)
    assert sum(count.rows_in for count in found.counts) == videos
