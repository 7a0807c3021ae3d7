"""Decoding ahead of the consumer in a thread, within a bound in bytes."""

from collections import deque
from collections.abc import Callable, Generator
from threading import Condition, Thread

from yt8m_pipeline.accounting.reasons import VideoRejected
from yt8m_pipeline.decoding.facts import Decoded, SampledFrame


def read_ahead(
    frames: Generator[SampledFrame, None, Decoded], max_bytes: int, stop: Callable[[], None]
) -> Generator[SampledFrame, None, Decoded]:
    """Yields the frames of a generator that runs in a thread of its own, and returns or raises what it does.

    The thread waits as long as the frames that nobody has taken have `max_bytes` or more, so there are never more than
    that and one frame. It has ended when this iterator is at its end, closed or collected.

    Args:
        frames: The frames; the generator raises nothing but VideoRejected.
        max_bytes: The limit for the frames that wait.
        stop: Ends the generator's wait for its next frame. It is called when this iterator is left half-way.
    """
    line = _Line(max_bytes)
    thread = Thread(target=line.fill, args=(frames,), daemon=True)
    thread.start()
    try:
        yield from iter(line.take, None)
    finally:
        if line.close():
            stop()
        thread.join()
    return line.result()


class _Line:
    """The frames that wait, in order. One thread fills the line, another one empties it."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._frames: deque[SampledFrame] = deque()
        self._bytes = 0
        self._is_open = True
        self._changed = Condition()
        self._result: Decoded | VideoRejected | None = None

    def fill(self, frames: Generator[SampledFrame, None, Decoded]) -> None:
        try:
            while self._put(next(frames)):
                pass
        except StopIteration as end:
            self._result = end.value
        except VideoRejected as rejection:
            self._result = rejection
        finally:
            self.close()

    def _put(self, frame: SampledFrame) -> bool:
        """Adds a frame and waits until there is room for another one. Returns whether another one is wanted."""
        with self._changed:
            self._frames.append(frame)
            self._bytes += frame.rgb.nbytes
            self._changed.notify()
            self._changed.wait_for(lambda: self._bytes < self._max_bytes or not self._is_open)
            return self._is_open

    def take(self) -> SampledFrame | None:
        """Returns the next frame as soon as there is one; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._frames or not self._is_open)
            if not self._frames:
                return None
            frame = self._frames.popleft()
            self._bytes -= frame.rgb.nbytes
            self._changed.notify()
            return frame

    def close(self) -> bool:
        """Says that no frame is added or wanted any more. Returns whether this was unknown before."""
        with self._changed:
            was_open, self._is_open = self._is_open, False
            self._changed.notify()
            return was_open

    def result(self) -> Decoded:
        if isinstance(self._result, Decoded):
            return self._result
        raise self._result or RuntimeError("the thread that decodes ahead has ended by an error of its own")
