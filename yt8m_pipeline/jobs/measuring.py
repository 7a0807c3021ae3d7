"""Measuring the durations of many videos, each once: what the store knows of a file as it stands, or a probe.

A probe reads a whole file in a sandbox, by its packets, and decodes its first frame. No header is believed.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from multiprocessing.pool import ThreadPool

from yt8m_pipeline.accounting.reasons import DropReason, Measured, Retry, VideoRejected
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.decoding.damage import duration_conditions
from yt8m_pipeline.decoding.facts import VideoFacts
from yt8m_pipeline.decoding.sandbox.threads import ProbeVideos, Probing
from yt8m_pipeline.places import Places
from yt8m_pipeline.store.durations import DurationCache, DurationShelf, shelf_of
from yt8m_pipeline.store.failures import Source

LOOKING_THREADS = 16
"""The number of videos that are looked at, or of shelves that are read, at a time. In a bucket each is a request."""

SAVE_SECONDS = 5.0
"""New durations are written at least this often, so that a killed build measures only the last few files again. An
object in a bucket may be written once a second."""


@dataclass(frozen=True, slots=True)
class Measuring:
    """How durations are measured.

    Attributes:
        decoding: The limits and the policies.
        places: What a uri may name.
        store: The folder of the store that keeps the durations; None: they are not kept.
        retry: The failures that are tried again.
    """

    decoding: Decoding
    places: Places
    store: str | None = None
    retry: Retry = Retry.TRANSIENT

    @property
    def cache(self) -> DurationCache | None:
        """Where the durations are kept."""
        return DurationCache(self.store, duration_conditions(self.decoding, self.places)) if self.store else None

    def probing(self, workers: int) -> Probing:
        """The probes that measure so many videos at once."""
        return Probing(self.decoding, frames=False, workers=workers, places=self.places)


def measure(uris: Sequence[str], measuring: Measuring, probe: ProbeVideos) -> Iterator[tuple[int, Measured]]:
    """Measures the durations of videos, and gives each with its place in the list as soon as it is known.

    Where a store keeps them, a uri that is given twice is measured once. What is new is written when all videos of its
    shelf are measured, every `SAVE_SECONDS`, and when the iterator is closed.

    Args:
        uris: The places of the videos.
        measuring: What is kept where, and which failures are tried again.
        probe: Probes the videos of which nothing is known.

    Raises:
        NewerFormatError: if a later version of this package has measured durations for the store.
        DataError: if no decoding process can be started.
    """
    if measuring.cache is None:
        yield from _probed(uris, probe)
        return
    rows = defaultdict(list)
    for row, uri in enumerate(uris):
        rows[uri].append(row)
    for uri, found in _kept(list(rows), measuring.cache, measuring, probe):
        yield from ((row, found) for row in rows[uri])


def _probed(uris: Sequence[str], probe: ProbeVideos) -> Iterator[tuple[int, Measured]]:
    for number, result in probe(uris):
        yield number, result.duration_seconds_from_content if isinstance(result, VideoFacts) else result


def _kept(
    uris: Sequence[str], cache: DurationCache, measuring: Measuring, probe: ProbeVideos
) -> Iterator[tuple[str, Measured]]:
    """The durations of files by their uris. Files are looked at before they are measured: a later change shows."""
    names = sorted(set(map(shelf_of, uris)))
    with ThreadPool(LOOKING_THREADS) as pool:
        shelves = dict(zip(names, pool.map(cache.shelf, names), strict=True))
        sources = dict(zip(uris, pool.map(partial(_look, places=measuring.places), uris), strict=True))
    known = {uri: shelves[shelf_of(uri)].find(source, measuring.retry) for uri, source in sources.items()}
    yield from ((uri, found) for uri, found in known.items() if found is not None)
    lacking = [uri for uri, found in known.items() if found is None]
    with closing(_Saving(shelves, lacking)) as saving:
        for number, found in _probed(lacking, probe):
            saving.remember(sources[lacking[number]], found)
            yield lacking[number], found


def _look(uri: str, places: Places) -> Source:
    return Source(uri, 0, "") if places.refusal(uri) else Source.of(uri)


class _Saving:
    """Saves shelves as their videos are measured.

    Args:
        shelves: The shelves by name.
        lacking: The uris that are measured.
    """

    def __init__(self, shelves: Mapping[str, DurationShelf], lacking: Iterable[str]) -> None:
        self._shelves, self._left = shelves, Counter(map(shelf_of, lacking))
        self._saved_at = time.monotonic()

    def remember(self, source: Source, found: Measured) -> None:
        """Keeps what was found out, unless it is a verdict on the uri, which another config may change."""
        name = shelf_of(source.uri)
        self._left[name] -= 1
        if not (isinstance(found, VideoRejected) and found.reason == DropReason.URI_NOT_ACCEPTED):
            self._shelves[name].remember(source, found)
        if not self._left[name]:
            self._shelves[name].save()
        if time.monotonic() - self._saved_at > SAVE_SECONDS:
            self.close()

    def close(self) -> None:
        """Saves whatever is new."""
        for shelf in self._shelves.values():
            shelf.save()
        self._saved_at = time.monotonic()
