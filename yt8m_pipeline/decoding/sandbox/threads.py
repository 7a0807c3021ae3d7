"""Threads with a sandbox each, which probe or decode many videos at once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from queue import SimpleQueue
from typing import TypeAlias, TypeVar

from yt8m_pipeline.accounting.reasons import VideoRejected
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.decoding.damage import check_damage
from yt8m_pipeline.decoding.facts import VideoFacts
from yt8m_pipeline.decoding.sandbox.parent import Sandbox
from yt8m_pipeline.places import ANYWHERE, Places

UNUSED_SIZE = 1
"""The size of the frames that a sandbox would hand over: a probe wants none of them."""

Given = TypeVar("Given")
Result = TypeVar("Result")

Probed: TypeAlias = tuple[int, VideoFacts | VideoRejected]
"""The place of a video in its list, and what it is, or why a build cannot use it."""
ProbeVideos: TypeAlias = Callable[[Sequence[str]], Iterator[Probed]]
"""Probes videos by their URIs, and gives each result as soon as it is known."""


@dataclass(frozen=True, slots=True)
class Probing:
    """How to probe.

    Attributes:
        decoding: The grid, the limits and the policies.
        frames: Whether to decode every frame of the grid.
        workers: How many videos at once.
        places: What a uri may name.
    """

    decoding: Decoding
    frames: bool
    workers: int
    places: Places = ANYWHERE


@contextmanager
def prober(probing: Probing) -> Iterator[ProbeVideos]:
    """Threads with a sandbox each, which probe lists of videos.

    The threads are daemons: an interrupted program ends at once, and with it the sandboxes' processes. A sandbox starts
    its process when it gets its first video.
    """

    def sandbox() -> Sandbox:
        return Sandbox(probing.decoding, UNUSED_SIZE, probing.places)

    def probe(sandbox: Sandbox, numbered: tuple[int, str]) -> Probed:
        number, uri = numbered
        return number, _probe(sandbox, uri, probing)

    with in_sandboxes(sandbox, probe, probing.workers) as probe_all:
        yield lambda uris: probe_all(enumerate(uris))


@contextmanager
def in_sandboxes(
    sandbox: Callable[[], Sandbox], work: Callable[[Sandbox, Given], Result], workers: int
) -> Iterator[Callable[[Iterable[Given]], Iterator[Result]]]:
    """Threads with a sandbox each, which do the same work with many videos, in any order.

    The threads are daemons: an interrupted program ends at once, and with it the sandboxes' processes. A sandbox starts
    its process when it gets its first video.

    Args:
        sandbox: Makes a sandbox.
        work: What is done with each video, in a sandbox that nobody else uses meanwhile.
        workers: How many videos at once.
    """
    idle: SimpleQueue[Sandbox] = SimpleQueue()

    def attempt(given: Given) -> Result:
        free = idle.get()
        try:
            return work(free, given)
        finally:
            idle.put(free)

    with ExitStack() as stack, ThreadPool(workers) as pool:
        for _ in range(workers):
            idle.put(stack.enter_context(sandbox()))
        yield lambda everything: pool.imap_unordered(attempt, everything)


def _probe(sandbox: Sandbox, uri: str, probing: Probing) -> VideoFacts | VideoRejected:
    try:
        facts = sandbox.probe(uri, frames=probing.frames)
        if facts.decoded_fraction is not None:
            check_damage(facts.decoded_fraction, probing.decoding)
    except VideoRejected as rejection:
        return rejection
    return facts
