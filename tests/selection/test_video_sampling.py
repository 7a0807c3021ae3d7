"""Stage 3 against brute force: eligibility, and the draw of exactly N videos."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yt8m_pipeline.accounting.outcome import drop_duplicates
from yt8m_pipeline.accounting.reasons import Stage
from yt8m_pipeline.chance import salted_hash
from yt8m_pipeline.config import VideoSampling
from yt8m_pipeline.selection import video_sampling
from yt8m_pipeline.selection.frequency import count_videos
from yt8m_pipeline.selection.labels import keep_labels, nested_annotations
from yt8m_pipeline.selection.video_sampling import (
    PREFIXES,
    Cut,
    cut_sample,
    draw_boundary,
    filter_eligible,
    hash_prefix_counts,
    sample_videos,
    sampling_cut,
)
from yt8m_pipeline.tables.cells import LABELS

from .rows import STRINGS, assert_conserved, provenance, reasons, table, tables

ID = {"video_id": pa.string()}
STATISTICS = {"video_id": pa.string(), "view_count": pa.int64(), "duration_seconds": pa.float64()}


@given(
    tables(
        {
            "video_id": st.just("v"),
            "view_count": st.sampled_from([0, 999, 1000, 5000]),
            "duration_seconds": st.sampled_from([0.0, 119.999, 120.0, 230.0, 500.0, 500.001]),
        },
        STATISTICS,
    )
)
def test_a_video_is_eligible_by_its_views_and_duration(videos: pa.Table) -> None:
    expected = {}
    for row in videos.to_pylist():
        if row["view_count"] < 1000:
            expected[provenance(row)] = "too_few_views"
        elif row["duration_seconds"] < 120:
            expected[provenance(row)] = "too_short"
        elif row["duration_seconds"] > 500:
            expected[provenance(row)] = "too_long"
    outcome = filter_eligible(videos, VideoSampling())
    assert reasons(outcome) == expected
    assert_conserved(videos, outcome)


def test_an_ineligible_video_is_told_its_number_and_the_threshold() -> None:
    rows = [
        {"video_id": "a", "view_count": 7, "duration_seconds": 200.0},
        {"video_id": "b", "view_count": 1000, "duration_seconds": 12.5},
        {"video_id": "c", "view_count": 1000, "duration_seconds": 501.0},
    ]
    assert filter_eligible(table(rows, STATISTICS), VideoSampling()).rejects["detail"].to_pylist() == [
        "view_count 7 is below min_views 1000",
        "12.5 s is below 120.0 s",
        "501 s is above 500.0 s",
    ]


@pytest.mark.parametrize(
    "settings", [{"min_views": 100}, {"min_duration_seconds": 50.0}, {"max_duration_seconds": 900.0}]
)
def test_each_threshold_of_eligibility_decides(settings: dict[str, Any]) -> None:
    rows = [
        {"video_id": "few views", "view_count": 100, "duration_seconds": 200.0},
        {"video_id": "short", "view_count": 1000, "duration_seconds": 50.0},
        {"video_id": "long", "view_count": 1000, "duration_seconds": 900.0},
    ]
    assert filter_eligible(table(rows, STATISTICS), VideoSampling(**settings)).kept.num_rows == 1


def _videos(ids: Iterable[str]) -> pa.Table:
    return table([{"video_id": video_id} for video_id in ids], ID)


def _first_by_hash(ids: Iterable[str], config: VideoSampling) -> list[str]:
    return sorted(ids, key=lambda video_id: (salted_hash(config.salt, video_id), video_id))[: config.sample_size]


@given(st.sets(st.text(min_size=1, max_size=4), max_size=40), st.integers(1, 45), st.sampled_from(["one", "two"]))
def test_the_sample_is_the_first_by_hash_and_id(ids: set[str], size: int, salt: str) -> None:
    config = VideoSampling(sample_size=size, salt=salt)
    videos = _videos(ids)
    outcome = sample_videos(videos, config)
    assert sorted(outcome.kept["video_id"].to_pylist()) == sorted(_first_by_hash(ids, config))
    assert set(reasons(outcome).values()) <= {"not_sampled"}
    assert_conserved(videos, outcome)


@given(st.sets(st.integers(0, 999), max_size=40), st.integers(1, 45), st.sampled_from([3, 50, 64]))
@settings(max_examples=60)
def test_the_sample_is_exact_when_hashes_collide(numbers: set[int], size: int, width: int) -> None:
    def narrow_hash(video_id: str) -> int:
        return (int(video_id) * 0x9E3779B97F4A7C15 % 7 << 61 | int(video_id) % 2) >> (64 - width) << (64 - width)

    def narrow_hashes(_: str, ids: Iterable[str]) -> npt.NDArray[np.uint64]:
        return np.array([narrow_hash(video_id) for video_id in ids], np.uint64)

    ids = [str(number) for number in numbers]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(video_sampling, "salted_hashes", narrow_hashes)
        outcome = sample_videos(_videos(ids), VideoSampling(sample_size=size))
    expected = sorted(ids, key=lambda video_id: (narrow_hash(video_id), video_id))[:size]
    assert sorted(outcome.kept["video_id"].to_pylist()) == sorted(expected)


@given(st.integers(0, 300), st.integers(1, 301), st.integers(1, 7))
@settings(max_examples=30)
def test_a_draw_from_pieces_equals_the_draw_from_the_whole(number: int, size: int, pieces: int) -> None:
    config = VideoSampling(sample_size=size)
    ids = [f"video-{index}" for index in range(number)]
    parts = [_videos(ids[start::pieces]) for start in range(pieces)]
    counts = sum((hash_prefix_counts(part, config) for part in parts), np.zeros(PREFIXES, np.int64))
    cut = sampling_cut(counts, config)
    decided = [cut_sample(part, cut, config) for part in parts]
    drawn = draw_boundary(pa.concat_tables([part.boundary for part in decided]), cut, config)
    kept = [video_id for part in (*(part.outcome for part in decided), drawn) for video_id in part.kept["video_id"]]
    assert sorted(map(str, kept)) == sorted(_first_by_hash(ids, config))


def test_the_boundary_is_small_and_is_the_only_part_that_must_be_gathered() -> None:
    config = VideoSampling(sample_size=1000)
    videos = _videos(f"video-{index}" for index in range(4000))
    cut = sampling_cut(hash_prefix_counts(videos, config), config)
    outcome, boundary = cut_sample(videos, cut, config)
    assert 1 <= boundary.num_rows <= 10
    assert outcome.kept.num_rows + cut.quota == 1000
    assert outcome.rejects["detail"][0].as_py() == "not among the first 1000 by salted hash"


@pytest.mark.parametrize("size", [5, 6, 10_000_000])
def test_a_sample_of_all_videos_has_no_boundary(size: int) -> None:
    config = VideoSampling(sample_size=size)
    videos = _videos("abcde")
    assert sampling_cut(hash_prefix_counts(videos, config), config) == Cut(PREFIXES, 0)
    assert sample_videos(videos, config).kept.num_rows == 5


@pytest.mark.parametrize(("prefix", "quota"), [(-1, 0), (PREFIXES + 1, 0), (0, -1)])
def test_a_cut_refuses_what_cannot_be(prefix: int, quota: int) -> None:
    with pytest.raises(ValueError, match="a cut has a prefix of 0 … 65536 and a quota of at least 0"):
        Cut(prefix, quota)


def test_another_salt_draws_other_videos() -> None:
    videos = _videos(f"video-{index}" for index in range(200))
    draws = [sample_videos(videos, VideoSampling(sample_size=50, salt=salt)).kept for salt in ("one", "two")]
    assert draws[0]["video_id"].to_pylist() != draws[1]["video_id"].to_pylist()


def test_no_function_minds_an_empty_table() -> None:
    config = VideoSampling()
    empty = table([], {**STATISTICS, "entity_ids": STRINGS, "labels": LABELS})
    stages = [
        filter_eligible(empty, config),
        keep_labels(empty, ["a"], Stage.FREQUENCY),
        sample_videos(empty, config),
        drop_duplicates(empty, ["video_id"], Stage.UNIQUE, "videos"),
    ]
    assert [outcome.kept.num_rows + outcome.rejects.num_rows for outcome in stages] == [0] * 4
    assert nested_annotations(empty).kept.num_rows == 0
    assert count_videos(empty) == {}


@pytest.mark.parametrize(("min_views", "kept"), [(0, ["u", "v"]), (1, ["v"])])
def test_views_need_to_be_known_only_where_some_are_needed(min_views: int, kept: list[str]) -> None:
    views = {"u": None, "v": 1}
    rows = [{"video_id": name, "view_count": number, "duration_seconds": 200.0} for name, number in views.items()]
    outcome = filter_eligible(table(rows, STATISTICS), VideoSampling(min_views=min_views))
    assert outcome.kept["video_id"].to_pylist() == kept
    assert outcome.rejects["detail"].to_pylist() == ["view_count is empty, and min_views is 1"] * (2 - len(kept))
