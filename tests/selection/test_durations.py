"""Durations that are measured: which videos are, what becomes of each, and when the table is contradicted."""

from collections.abc import Sequence
from functools import reduce
from operator import add

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.selection.rows import table
from yt8m_pipeline.accounting.reasons import DropReason, Measured, Stage, VideoRejected
from yt8m_pipeline.config import VideoSampling
from yt8m_pipeline.selection.durations import (
    SHOWN_DURATIONS,
    ComparedDurations,
    Contradiction,
    settle_durations,
    to_measure,
)
from yt8m_pipeline.selection.video_sampling import filter_eligible

TYPES = {"video_id": pa.string(), "view_count": pa.int64(), "duration_seconds": pa.float64()}
MISSING = VideoRejected(DropReason.MISSING_FILE, "no such file")
MEASURED = VideoSampling(durations="measured")
TABLE = VideoSampling()


def videos(*durations: float | None) -> pa.Table:
    rows = [
        {"video_id": f"v{number}", "view_count": 1000, "duration_seconds": seconds}
        for number, seconds in enumerate(durations)
    ]
    return table(rows, TYPES)


def test_an_unknown_duration_is_measured_and_under_measured_every_one() -> None:
    rows = videos(200.0, None, 0.0)
    assert to_measure(rows, TABLE).tolist() == [False, True, False]
    assert to_measure(rows, MEASURED).tolist() == [True, True, True]
    assert to_measure(rows.slice(0, 0), MEASURED).tolist() == []


def test_a_video_that_is_measured_later_is_eligible_whatever_the_table_says() -> None:
    rows = videos(200.0, None, 7.0)
    assert filter_eligible(rows, TABLE).kept["video_id"].to_pylist() == ["v0", "v1"]
    assert filter_eligible(rows, MEASURED).kept["video_id"].to_pylist() == ["v0", "v1", "v2"]
    few = filter_eligible(rows, VideoSampling(durations="measured", min_views=1001))
    assert set(few.rejects["reason"].to_pylist()) == {"too_few_views"}


@given(
    st.lists(
        st.tuples(
            st.sampled_from([None, 0.0, 119.9, 200.0]), st.sampled_from([MISSING, 119.9, 120.0, 300.0, 500.0, 500.1])
        )
    )
)
def test_each_video_has_its_own_duration_or_a_reason(rows: list[tuple[float | None, Measured]]) -> None:
    given_rows, measured = videos(*(seconds for seconds, _ in rows)), [found for _, found in rows]
    uris = [f"gs://corpus/{number}.mp4" for number in range(len(rows))]
    outcome = settle_durations(given_rows, uris, measured, TABLE)
    kept = dict(zip(*(outcome.kept[name].to_pylist() for name in ("video_id", "duration_seconds")), strict=True))
    reasons = dict(zip(*(outcome.rejects[name].to_pylist() for name in ("id", "reason")), strict=True))
    assert outcome.stage == Stage.DURATION
    assert outcome.count.rows_in == len(rows)
    for number, found in enumerate(measured):
        name = f"v{number}"
        if isinstance(found, VideoRejected):
            assert reasons[name] == "missing_file"
        elif found < 120:
            assert reasons[name] == "too_short"
        elif found > 500:
            assert reasons[name] == "too_long"
        else:
            assert kept[name] == found
    assert len(kept) + len(reasons) == len(rows)


def test_a_reject_names_the_film_that_failed_or_the_row_and_its_duration() -> None:
    outcome = settle_durations(videos(200.0, 200.0), ["gs://corpus/a.mp4", "gs://corpus/b.mp4"], [MISSING, 9.0], TABLE)
    failed, short = sorted(outcome.rejects.to_pylist(), key=lambda row: str(row["id"]))
    assert (failed["file"], failed["detail"], failed["row"]) == ("gs://corpus/a.mp4", "no such file", None)
    assert (short["detail"], short["row"]) == ("9 s is below 120.0 s", 2)


ROWS: Sequence[tuple[str, float | None, Measured]] = [
    ("same", 100.0, 101.0),
    ("short", 100.0, 98.999),
    ("none", None, 3.0),
    ("gone", 100.0, MISSING),
    ("long", 100.0, 101.5),
]


class TestContradictions:
    def test_more_than_a_second_is_one(self) -> None:
        found = ComparedDurations.of(ROWS)
        assert (found.rows, found.contradicted) == (3, 2)
        assert found.first == (Contradiction("long", 100.0, 101.5), Contradiction("short", 100.0, 98.999))
        assert found.warnings() == [
            "durations of the videos table that the videos contradict by more than 1 s: 2 of 3 rows; "
            "first long: 100 s, not 101.5 s, short: 100 s, not 98.999 s"
        ]

    def test_without_any_nothing_is_said(self) -> None:
        assert ComparedDurations().warnings() == ComparedDurations.of(ROWS[:1]).warnings() == []

    @given(st.lists(st.tuples(st.text(max_size=2), st.sampled_from([None, 1.0, 5.0]), st.sampled_from([1.0, 9.0]))))
    def test_it_is_a_monoid(self, rows: list[tuple[str, float | None, float]]) -> None:
        whole = ComparedDurations.of(rows)
        parts = [ComparedDurations.of([row]) for row in rows]
        assert reduce(add, parts, ComparedDurations()) == reduce(add, parts[::-1], ComparedDurations()) == whole
        assert len(whole.first) == min(SHOWN_DURATIONS, whole.contradicted)


@pytest.mark.parametrize("seconds", [0.0, 119.0, 501.0])
def test_under_table_a_duration_that_is_given_is_believed(seconds: float) -> None:
    assert not to_measure(videos(seconds), TABLE).any()
    assert filter_eligible(videos(seconds), TABLE).kept.num_rows == 0
