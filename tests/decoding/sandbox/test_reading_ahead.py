import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.data_model import MediaFile
from yt8m_pipeline.decoding.facts import Decoded, SampledFrame
from yt8m_pipeline.decoding.sandbox.reading_ahead import read_ahead

Frames = Generator[SampledFrame, None, Decoded]

SALVAGED = Decoded(0.75, MediaFile("avi", "mjpeg", 7, 4, 1, 25.0, 9, 9))

CRASHED = VideoRejected(DropReason.DECODER_CRASHED, "the decoder ended")


def unused() -> None:
    raise AssertionError("nobody left half-way")


def frame(index: int, pixels: int) -> SampledFrame:
    return SampledFrame(index, float(index), np.zeros((1, pixels, 3), np.uint8))


class Producer:
    """Counts the bytes of the frames that it has made, and waits for no frame for ever after its last."""

    def __init__(self, *pixels: int, ending: Decoded | VideoRejected = SALVAGED) -> None:
        self.made, self._pixels, self._ending = 0, pixels, ending

    def frames(self) -> Frames:
        for index, pixels in enumerate(self._pixels):
            self.made += 3 * pixels
            yield frame(index, pixels)
        if isinstance(self._ending, VideoRejected):
            raise self._ending
        return self._ending


def taken(frames: Frames) -> tuple[list[SampledFrame], Decoded]:
    items = []
    while True:
        try:
            items.append(next(frames))
        except StopIteration as end:
            return items, end.value


def when(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def settled(producer: Producer) -> int:
    """What it has made when it makes no more."""
    made = -1
    while made != producer.made:
        made = producer.made
        time.sleep(0.05)
    return made


@given(st.lists(st.integers(1, 9), max_size=30), st.integers(1, 60))
def test_the_frames_and_the_result_are_those_of_the_generator_and_what_waits_is_bounded(
    pixels: list[int], max_bytes: int
) -> None:
    producer, consumed, waiting = Producer(*pixels), 0, []
    items = []
    frames = read_ahead(producer.frames(), max_bytes, unused)
    while True:
        try:
            item = next(frames)
        except StopIteration as end:
            assert end.value == SALVAGED
            break
        items.append(item)
        consumed += item.rgb.nbytes
        waiting.append(producer.made - consumed)
    assert [item.index for item in items] == list(range(len(pixels)))
    assert [item.rgb.shape[1] for item in items] == pixels
    assert all(bytes_ < max_bytes + 3 * 9 for bytes_ in waiting)


def test_it_runs_ahead_until_the_bound_and_goes_on_when_a_frame_is_taken() -> None:
    producer = Producer(*[10] * 50)
    with closing(read_ahead(producer.frames(), 100, lambda: None)) as frames:
        next(frames)
        assert settled(producer) == 30 + 120  # one is taken, and the fourth that waits reaches the bound
        next(frames)
        assert settled(producer) == 60 + 120


def test_a_frame_above_the_bound_waits_alone() -> None:
    producer = Producer(*[100] * 3)
    with closing(read_ahead(producer.frames(), 10, lambda: None)) as frames:
        next(frames)
        assert settled(producer) == 600
        assert len(list(frames)) == 2


def test_a_rejection_comes_after_the_frames_before_it() -> None:
    frames = read_ahead(Producer(1, 1, ending=CRASHED).frames(), 100, unused)
    assert [next(frames).index, next(frames).index] == [0, 1]
    with pytest.raises(VideoRejected) as caught:
        next(frames)
    assert caught.value is CRASHED


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_of_ours_in_the_thread_is_no_end_of_the_video() -> None:
    def broken() -> Frames:
        yield frame(0, 1)
        raise ZeroDivisionError

    frames = read_ahead(broken(), 100, unused)
    next(frames)
    with pytest.raises(RuntimeError, match="ended by an error of its own"):
        next(frames)


@pytest.mark.parametrize("max_bytes", [1, 10**9])
def test_one_that_is_left_half_way_leaves_no_thread_whether_it_waits_for_room_or_for_a_frame(max_bytes: int) -> None:
    stopped = threading.Event()

    def endless() -> Frames:
        for index in count():
            if index == 3 and max_bytes > 1:
                assert stopped.wait(10)
                raise CRASHED
            yield frame(index, 1)
        return SALVAGED

    before = threading.active_count()
    frames = read_ahead(endless(), max_bytes, stopped.set)
    next(frames)
    assert threading.active_count() == before + 1
    frames.close()
    assert stopped.is_set()
    assert threading.active_count() == before
