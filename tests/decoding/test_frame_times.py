from collections.abc import Iterator
from fractions import Fraction
from itertools import accumulate, count, pairwise, takewhile
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yt8m_pipeline.decoding.frame_times import Grid, TimedFrame, frames_on_grid

RATES = st.sampled_from([Fraction(1), Fraction(1, 2), Fraction(2), Fraction("0.3"), Fraction(30000, 1001)])
STARTS = st.fractions(min_value=-100, max_value=100, max_denominator=90_000)
FRAME_RATES = [Fraction(1, 2), Fraction(1), Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60), Fraction(120)]


def video(pts: list[Fraction], last_duration: Fraction) -> list[TimedFrame[int]]:
    durations = [Fraction(0)] * (len(pts) - 1) + [last_duration]
    return [TimedFrame(*timed, image) for image, timed in enumerate(zip(pts, durations, strict=True))]


def brute_force(
    pts: list[Fraction], last_duration: Fraction, rate: Fraction, max_seconds: Fraction
) -> list[tuple[int, int]]:
    """For every grid time, a search through the whole video."""
    shown_at = list(accumulate(pts, max))
    unknown = shown_at[-1] - shown_at[-2] if len(pts) > 1 else Fraction(0)
    duration = shown_at[-1] + (last_duration or unknown) - pts[0]
    inside = takewhile(lambda k: k == 0 or k / rate < min(duration, max_seconds), count())
    return [(k, max(i for i, shown in enumerate(shown_at) if shown <= pts[0] + k / rate)) for k in inside]


def sampled(frames: list[TimedFrame[int]], rate: Fraction, max_seconds: Fraction) -> list[tuple[int, int]]:
    return [(k, frame.image) for k, frame in frames_on_grid(frames, Grid.of(rate, max_seconds))]


@st.composite
def variable_pts(draw: st.DrawFn) -> list[Fraction]:
    """Repeated pts (gap 0), gaps of seconds, frames out of order (gap below 0), any start."""
    gaps = draw(st.lists(st.fractions(min_value=-1, max_value=4, max_denominator=1000), max_size=40))
    return list(accumulate(gaps, initial=draw(STARTS)))


@given(
    variable_pts(),
    st.fractions(min_value=0, max_value=3, max_denominator=100),
    RATES,
    st.fractions(min_value="1/100", max_value=30, max_denominator=100),
)
def test_every_choice_equals_a_search_through_the_whole_video(
    pts: list[Fraction], last_duration: Fraction, rate: Fraction, max_seconds: Fraction
) -> None:
    frames = video(pts, last_duration)
    assert sampled(frames, rate, max_seconds) == brute_force(pts, last_duration, rate, max_seconds)


@given(st.sampled_from(FRAME_RATES), STARTS, st.integers(1, 100))
def test_at_a_constant_frame_rate_frame_k_is_the_floor_of_k_times_the_rate(
    frame_rate: Fraction, start: Fraction, frames: int
) -> None:
    pts = [start + i / frame_rate for i in range(frames)]
    chosen = sampled(video(pts, 1 / frame_rate), Fraction(1), Fraction(360))
    assert chosen == [(k, k * frame_rate.numerator // frame_rate.denominator) for k in range(len(chosen))]
    assert len(chosen) == ceil(frames / frame_rate)


def test_a_grid_time_that_falls_on_a_pts_takes_that_frame_and_one_a_tick_before_takes_the_frame_before() -> None:
    tick = Fraction(1, 90_000)
    assert sampled(video([Fraction(0), Fraction(1)], tick), Fraction(1), Fraction(9)) == [(0, 0), (1, 1)]
    assert sampled(video([Fraction(0), 1 + tick], tick), Fraction(1), Fraction(9)) == [(0, 0), (1, 0)]


def test_a_frame_stays_on_screen_through_a_gap() -> None:
    pts = [Fraction(0), Fraction("3.5")]
    assert sampled(video(pts, Fraction("0.5")), Fraction(1), Fraction(9)) == [(0, 0), (1, 0), (2, 0), (3, 0)]


def test_of_frames_with_one_pts_the_last_is_on_screen() -> None:
    assert sampled(video([Fraction(0)] * 3, Fraction(1)), Fraction(1), Fraction(9)) == [(0, 2)]


def test_a_duration_that_is_a_whole_number_of_seconds_has_no_frame_at_its_end() -> None:
    assert sampled(video([Fraction(0)], Fraction(2)), Fraction(1), Fraction(9)) == [(0, 0), (1, 0)]


def test_a_lone_frame_of_unknown_duration_is_one_sample() -> None:
    assert sampled(video([Fraction(7)], Fraction(0)), Fraction(1), Fraction(9)) == [(0, 0)]


def test_an_empty_video_has_no_samples() -> None:
    assert list(frames_on_grid(iter([]), Grid.of(Fraction(1), Fraction(9)))) == []


def test_no_frame_is_read_after_the_last_grid_time_is_settled() -> None:
    read = []

    def endless() -> Iterator[TimedFrame[int]]:
        for i in count():
            read.append(i)
            yield TimedFrame(Fraction(i, 10), Fraction(1, 10), i)

    chosen = [k for k, _ in frames_on_grid(endless(), Grid.of(Fraction(1), Fraction(3)))]
    assert chosen == [0, 1, 2]
    assert read[-1] == 21


def test_a_negative_duration_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a frame cannot last -0\.5 s"):
        TimedFrame(Fraction(0), Fraction(-1, 2), 0)


@given(
    RATES,
    st.integers(1, 40),
    st.fractions(min_value=0, max_value=50, max_denominator=90_000),
    st.fractions(min_value=0, max_value=50, max_denominator=90_000),
)
def test_the_grid_times_between_two_times_are_those_that_a_search_finds(
    rate: Fraction, times: int, begin: Fraction, length: Fraction
) -> None:
    found = Grid(rate, times).between(begin, begin + length)
    assert list(found) == [k for k in range(times) if begin <= k / rate < begin + length]


@given(
    RATES,
    st.sampled_from([Fraction(1, 1000), Fraction(1, 90_000), Fraction(1, 12_800), Fraction(1001, 30_000)]),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
)
def test_the_grid_times_in_ticks_are_those_in_seconds(rate: Fraction, tick: Fraction, begin: int, length: int) -> None:
    grid = Grid.of(rate, Fraction(360))
    end = begin + length
    assert grid.in_ticks(tick).between(begin, end) == grid.between(begin * tick, end * tick)


@given(RATES, st.lists(st.integers(0, 5000), min_size=1, max_size=20))
def test_neighbouring_spans_share_no_grid_time_and_leave_none_out(rate: Fraction, lengths: list[int]) -> None:
    grid = Grid.of(rate, Fraction(20)).in_ticks(Fraction(1, 1000))
    edges = list(accumulate(lengths, initial=0))
    spans = [k for begin, end in pairwise(edges) for k in grid.between(begin, end)]
    assert spans == list(grid.between(0, edges[-1]))


@pytest.mark.parametrize(
    ("rate", "max_seconds", "times"), [("1", "360", 360), ("1", "2.1", 3), ("1/2", "3", 2), ("2", "1/100", 1)]
)
def test_a_grid_has_the_times_before_the_limit(rate: str, max_seconds: str, times: int) -> None:
    assert Grid.of(Fraction(rate), Fraction(max_seconds)).count == times


def test_a_span_of_no_length_holds_no_grid_time_and_one_of_a_tick_may_hold_one() -> None:
    grid = Grid.of(Fraction(1), Fraction(9)).in_ticks(Fraction(1, 1000))
    assert not grid.between(1000, 1000)
    assert list(grid.between(1000, 1001)) == [1]
    assert not grid.between(1001, 2000)
    assert not grid.between(9000, 10**9)
