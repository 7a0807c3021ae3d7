"""Threads with a sandbox each, which probe many videos at once."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from queue import SimpleQueue
from typing import TypeAlias

from yt8m_pipeline.accounting.reasons import VideoRejected
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.decoding.damage import check_damage
from yt8m_pipeline.decoding.facts import VideoFacts
from yt8m_pipeline.decoding.sandbox.parent import Sandbox
from yt8m_pipeline.places import ANYWHERE, Places

UNUSED_SIZE = 1
"""The size of the frames that a sandbox would hand over: a probe wants none of them."""

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
    idle: SimpleQueue[Sandbox] = SimpleQueue()

    def probe(numbered: tuple[int, str]) -> Probed:
        number, uri = numbered
        sandbox = idle.get()
        try:
            return number, _probe(sandbox, uri, probing)
        finally:
            idle.put(sandbox)

    with ExitStack() as stack, ThreadPool(probing.workers) as pool:
        for _ in range(probing.workers):
            idle.put(stack.enter_context(Sandbox(probing.decoding, UNUSED_SIZE, probing.places)))
        yield lambda uris: pool.imap_unordered(probe, enumerate(uris))


def _probe(sandbox: Sandbox, uri: str, probing: Probing) -> VideoFacts | VideoRejected:
    try:
        facts = sandbox.probe(uri, frames=probing.frames)
        if facts.decoded_fraction is not None:
            check_damage(facts.decoded_fraction, probing.decoding)
    except VideoRejected as rejection:
        return rejection
    return facts
