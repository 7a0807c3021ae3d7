from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate, count, takewhile
from random import Random
from weakref import WeakSet

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yt8m_pipeline.decoding.codings.picture import (
    ALONE,
    DISPOSABLE,
    ENTRY,
    HIDDEN,
    NO_SLOT,
    REFERENCE,
    Picture,
    Unplannable,
)
from yt8m_pipeline.decoding.frame_times import Grid
from yt8m_pipeline.decoding.packet_choice import REORDERING, CodedFrame, needed_packets

UNBOUNDED = 10**9
RATES = st.sampled_from(
    [Fraction(1), Fraction(1, 2), Fraction("0.3"), Fraction(2), Fraction(25), Fraction(30000, 1001)]
)
GRIDS = st.builds(lambda rate, times: Grid(rate / 1000, times), RATES, st.sampled_from([1, 3, 10, 40]))


@dataclass(frozen=True)
class Coded:
    """A picture of a video of milliseconds, in decoding order. It is compared and sent by its place in that order."""

    place: int
    pts: int | None
    picture: Picture
    duration: int = 0
    size: int = 1


@dataclass(frozen=True)
class Sent:
    place: int
    grid: tuple[int, ...]
    is_fresh: bool


def sent(video: Sequence[Coded], grid: Grid, max_bytes: int = UNBOUNDED) -> list[Sent]:
    frames = (CodedFrame(one.place, one.pts, one.duration, one.size, one.picture) for one in video)
    return [Sent(s.packet, tuple(s.grid), s.is_fresh) for s in needed_packets(frames, grid, max_bytes=max_bytes)]


def video_of(pictures: Sequence[tuple[int | None, Picture]], last_duration: int = 0) -> list[Coded]:
    return [Coded(place, pts, picture, last_duration) for place, (pts, picture) in enumerate(pictures)]


def on_screen(video: Sequence[Coded], grid: Grid) -> dict[int, tuple[int, ...]]:
    """Place → the grid times at which it is on screen, by a search through the whole video for every time."""
    shown = sorted((one.pts, one.place) for one in video if one.pts is not None)
    if not shown:
        return {}
    start, gap = shown[0][0], shown[-1][0] - shown[-2][0] if len(shown) > 1 else 0
    end = shown[-1][0] + (video[shown[-1][1]].duration or gap) - start
    times = takewhile(lambda k: k == 0 or (k < grid.count and k / grid.rate < end), count())
    at = [(k, max(place for pts, place in shown if pts == _latest(shown, start + k / grid.rate))) for k in times]
    return {place: tuple(k for k, other in at if other == place) for _, place in at}


def _latest(shown: Sequence[tuple[int, int]], time: Fraction) -> int:
    return max(pts for pts, _ in shown if pts <= time)


def is_leading(video: Sequence[Coded], place: int) -> bool:
    """Whether a picture is decoded after an entry, with no picture between that is shown after it, and shown before."""
    entry = entry_of(video, place)
    if entry is None or video[entry].pts is None or video[place].pts is None:
        return False
    run = [one.pts for one in video[entry + 1 : place + 1] if one.pts is not None]
    return all(pts < (video[entry].pts or 0) for pts in run)


def entry_of(video: Sequence[Coded], place: int) -> int | None:
    return max((one.place for one in video[:place] if one.picture.is_entry), default=None)


def chain(video: Sequence[Coded], end: int) -> set[int]:
    """The reference pictures before `end` on which what comes then depends: from the last entry on, no leading ones."""
    begin = entry_of(video, end) or 0
    return {one.place for one in video[begin:end] if one.picture.writes and not is_leading(video, one.place)}


def chained(video: Sequence[Coded], place: int) -> set[int]:
    """What a picture depends on, where all references form one chain."""
    if video[place].picture.is_entry or video[place].picture == ALONE:
        return set()
    entry = entry_of(video, place)
    if entry is None or not is_leading(video, place):
        return chain(video, place)
    leading = {one.place for one in video[entry:place] if one.picture.writes and is_leading(video, one.place)}
    return chain(video, entry) | chain(video, place) | leading


def last_writers(video: Sequence[Coded], place: int, slots: frozenset[int]) -> set[int]:
    """The pictures that one finds in its slots; leading ones leave nothing there."""
    lasting = [one for one in video[:place] if one.picture.writes and not is_leading(video, one.place)]
    writers = ([one.place for one in lasting if slot in one.picture.writes] for slot in slots)
    return {found[-1] for found in writers if found}


def slotted(video: Sequence[Coded], place: int) -> set[int]:
    """What a picture depends on, where each names the slots that it reads."""
    found, unread = set[int](), {place}
    while unread:
        one = unread.pop()
        unread |= last_writers(video, one, video[one].picture.reads) - found
        found |= last_writers(video, one, video[one].picture.reads)
    return found


@dataclass(frozen=True)
class Oracle:
    """All that is to be sent, found with the whole video at hand."""

    grid: dict[int, tuple[int, ...]]
    needed: set[int]

    def sent(self, video: Sequence[Coded]) -> list[Sent]:
        return [Sent(place, self.grid.get(place, ()), self.is_fresh(video, place)) for place in sorted(self.needed)]

    def is_fresh(self, video: Sequence[Coded], place: int) -> bool:
        before = last_writers(video, place, frozenset(range(8)) if video[place].picture.is_entry else NO_SLOT)
        return not before <= self.needed


def oracle_of(video: Sequence[Coded], grid: Grid, *, is_chain: bool) -> Oracle:
    found = on_screen(video, grid)
    closure = chained if is_chain else slotted
    return Oracle(found, set(found).union(*(closure(video, place) for place in found)))


@dataclass(frozen=True)
class Style:
    """What the pictures of a video may be."""

    others: tuple[Picture, ...]
    has_leading: bool = False
    has_slots: bool = False


REORDERED = Style((REFERENCE, DISPOSABLE), has_leading=True)
WITH_HIDDEN = Style((REFERENCE, DISPOSABLE, HIDDEN))
INTRA = Style((ALONE,))
AV1 = Style((), has_slots=True)
STYLES = (REORDERED, WITH_HIDDEN, INTRA, AV1)


def random_video(random: Random, style: Style) -> list[Coded]:
    """Groups of an entry and blocks of pictures in any order, each block shown after the one before."""
    pictures: list[tuple[int | None, Picture]] = []
    rank = 0
    for group in range(random.randint(0, 5)):
        leading = random.randint(0, 4) if style.has_leading and group else 0
        blocks = [random.choice((1, 1, 2, 4, REORDERING + 1)) for _ in range(random.randint(0, 3))]
        if group or random.random() < 0.8:
            pictures.append((rank + leading, ENTRY))
        pictures += _block(random, style, rank, leading)
        rank += leading + 1
        for size in blocks:
            pictures += _block(random, style, rank, size)
            rank += size
    return _timed(random, pictures)


def _block(random: Random, style: Style, rank: int, size: int) -> list[tuple[int | None, Picture]]:
    ranks = random.sample(range(rank, rank + size), size)
    chosen = [(one, _slots(random) if style.has_slots else random.choice(style.others)) for one in ranks]
    return [(one if picture.is_shown else None, picture) for one, picture in chosen]


def _slots(random: Random) -> Picture:
    reads = frozenset(random.choices(range(8), k=random.choice((0, 1, 2, 7))))
    writes = frozenset(random.choices(range(8), k=random.choice((0, 0, 1, 2))))
    return Picture(reads, writes)


def _timed(random: Random, ranked: Sequence[tuple[int | None, Picture]]) -> list[Coded]:
    gaps = random.choices((1, 33, 40, 500, 1000, 3500), (1, 8, 8, 2, 2, 1), k=400)
    times = list(accumulate(gaps, initial=random.randint(-5000, 5000)))
    last = random.choice((0, 40, 2000))
    timed = ((None if rank is None else times[rank], picture) for rank, picture in ranked)
    return [replace(one, size=random.randint(1, 9)) for one in video_of(list(timed), last)]


RANDOMS = st.integers(0, 2**32 - 1).map(Random)
STYLED_VIDEOS = st.tuples(RANDOMS, st.sampled_from(STYLES)).map(lambda drawn: (random_video(*drawn), drawn[1]))


@settings(max_examples=250)
@given(STYLED_VIDEOS, GRIDS)
def test_what_is_sent_is_what_a_search_through_the_whole_video_finds(
    styled: tuple[list[Coded], Style], grid: Grid
) -> None:
    video, style = styled
    assert sent(video, grid) == oracle_of(video, grid, is_chain=not style.has_slots).sent(video)


@settings(max_examples=250)
@given(STYLED_VIDEOS, GRIDS, st.integers(1, 60))
def test_with_little_memory_more_is_sent_but_nothing_less(
    styled: tuple[list[Coded], Style], grid: Grid, max_bytes: int
) -> None:
    video, style = styled
    oracle = oracle_of(video, grid, is_chain=not style.has_slots)
    found = sent(video, grid, max_bytes)
    places = [one.place for one in found]
    assert places == sorted(set(places))
    assert set(places) >= oracle.needed
    assert {one.place: one.grid for one in found if one.grid} == oracle.grid
    assert [one.place for one in found if one.is_fresh] == [
        place for place in places if Oracle(oracle.grid, set(places)).is_fresh(video, place)
    ]


@given(RANDOMS.map(lambda random: random_video(random, REORDERED)), GRIDS)
def test_decoding_never_begins_anew_where_a_leading_picture_that_is_sent_follows(
    video: list[Coded], grid: Grid
) -> None:
    found = sent(video, grid)
    fresh = {one.place for one in found if one.is_fresh}
    assert not {entry_of(video, one.place) for one in found if is_leading(video, one.place)} & fresh


@given(STYLED_VIDEOS, GRIDS)
def test_no_more_is_read_than_the_look_ahead_past_the_last_grid_time(
    styled: tuple[list[Coded], Style], grid: Grid
) -> None:
    video, _ = styled
    read: list[Coded] = []

    def reading() -> Iterator[CodedFrame[int]]:
        for one in video:
            read.append(one)
            yield CodedFrame(one.place, one.pts, one.duration, one.size, one.picture)

    list(needed_packets(reading(), grid, max_bytes=UNBOUNDED))
    shown = sorted(one.pts for one in video if one.pts is not None)
    last = shown[0] + (grid.count - 1) / grid.rate if shown else 0
    settled_by = sum(pts <= last for pts in shown) + 1
    assert sum(one.pts is not None for one in read) == min(len(shown), settled_by + REORDERING)


class Payload:
    """A packet whose life can be watched."""


def most_held(pictures: Iterator[tuple[int, Picture]], grid: Grid, max_bytes: int) -> int:
    alive: WeakSet[Payload] = WeakSet()
    most = 0

    def reading() -> Iterator[CodedFrame[Payload]]:
        nonlocal most
        for pts, picture in pictures:
            packet = Payload()
            alive.add(packet)
            most = max(most, len(alive))
            yield CodedFrame(packet, pts, 0, 1, picture)

    for _ in needed_packets(reading(), grid, max_bytes=max_bytes):
        pass
    return most


GROUPS = ([ENTRY], [ALONE], [ENTRY, *[REFERENCE] * 9], [ENTRY, *[DISPOSABLE] * 9], [ENTRY, *[REFERENCE] * 999])


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("max_bytes", [0, 10, 100])
def test_no_more_is_held_than_the_limit_and_the_look_ahead(group: list[Picture], max_bytes: int) -> None:
    pictures = ((40 * place, group[place % len(group)]) for place in range(3000))
    assert most_held(pictures, Grid(Fraction(1, 10_000), 360), max_bytes) <= max_bytes + REORDERING + 4


SECONDS = Grid(Fraction(1, 1000), 360)


def test_a_video_without_frames_needs_nothing() -> None:
    assert sent([], SECONDS) == []
    assert sent(video_of([(None, HIDDEN)] * 3), SECONDS) == []


@pytest.mark.parametrize(("duration", "times"), [(0, (0,)), (999, (0,)), (1001, (0, 1)), (10**6, tuple(range(360)))])
def test_a_lone_frame_is_on_screen_as_long_as_it_lasts_and_at_least_once(duration: int, times: tuple[int, ...]) -> None:
    assert sent(video_of([(-700, ENTRY)], duration), SECONDS) == [Sent(0, times, is_fresh=False)]


def test_at_one_frame_per_second_every_frame_is_needed_in_decoding_order() -> None:
    pts = [0, 4000, 2000, 1000, 3000, 8000, 6000, 5000, 7000]
    pictures = [ENTRY, REFERENCE, REFERENCE, DISPOSABLE, DISPOSABLE, REFERENCE, REFERENCE, DISPOSABLE, DISPOSABLE]
    found = sent(video_of(list(zip(pts, pictures, strict=True))), SECONDS)
    assert found == [Sent(place, (time // 1000,), is_fresh=False) for place, time in enumerate(pts)]


def test_at_half_a_frame_per_second_every_frame_is_on_screen_twice() -> None:
    found = sent(video_of([(0, ENTRY), (2000, REFERENCE), (4000, DISPOSABLE)]), SECONDS)
    assert [one.grid for one in found] == [(0, 1), (2, 3), (4, 5)]


def test_after_a_group_that_was_left_decoding_begins_anew_and_after_one_that_was_decoded_it_goes_on() -> None:
    left = video_of([(0, ENTRY), (400, REFERENCE), (800, ENTRY), (1200, REFERENCE)])
    assert sent(left, SECONDS) == [Sent(0, (0,), is_fresh=False), Sent(2, (1,), is_fresh=True)]
    decoded = video_of([(0, ENTRY), (1000, REFERENCE), (1900, DISPOSABLE), (2000, ENTRY)])
    assert sent(decoded, SECONDS) == [Sent(place, (k,), is_fresh=False) for k, place in enumerate([0, 1, 3])]


def test_a_leading_picture_needs_what_is_before_the_entry_and_what_follows_the_entry_does_not() -> None:
    head = [(0, ENTRY), (400, REFERENCE), (800, REFERENCE), (1400, ENTRY)]
    leading = video_of([*head, (1100, REFERENCE), (1000, DISPOSABLE), (1800, REFERENCE), (2100, REFERENCE)])
    assert [(one.place, one.is_fresh) for one in sent(leading, SECONDS)] == [(p, False) for p in range(7)]
    following = video_of([*head, (1100, REFERENCE), (850, DISPOSABLE), (2000, REFERENCE)])
    assert [one.place for one in sent(following, Grid(Fraction(1, 2000), 9))] == [0, 3, 6]


def test_frames_with_one_time_are_unplannable() -> None:
    video = video_of([(0, ENTRY), (40, REFERENCE), (40, REFERENCE), (80, REFERENCE)])
    with pytest.raises(Unplannable, match="the frame at 40 follows that at 40"):
        sent(video, SECONDS)


def test_a_frame_that_comes_later_than_pictures_can_be_reordered_is_unplannable() -> None:
    held_back = [(0, ENTRY), *((40 * place, REFERENCE) for place in range(2, REORDERING + 2))]
    assert sent(video_of([*held_back, (40, DISPOSABLE)]), SECONDS)
    with pytest.raises(Unplannable, match="the frame at 40 follows that at 80"):
        sent(video_of([*held_back, (40 * REORDERING + 80, REFERENCE), (40, DISPOSABLE)]), SECONDS)
