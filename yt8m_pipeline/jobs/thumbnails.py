"""Thumbnails for a feature store that lacks them: only the videos that have none are decoded, and no network runs."""

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from yt8m_pipeline.accounting.reasons import VideoRejected
from yt8m_pipeline.config import Config
from yt8m_pipeline.dataset.index import read_parquet
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import Manifest
from yt8m_pipeline.dataset.reader import open_dataset
from yt8m_pipeline.decoding.sandbox.local_files import require_accepted
from yt8m_pipeline.decoding.sandbox.parent import Sandbox
from yt8m_pipeline.decoding.sandbox.threads import in_sandboxes
from yt8m_pipeline.decoding.thumbnails import Strip
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.jobs.progress import OnProgress, Progress
from yt8m_pipeline.store.failures import Source
from yt8m_pipeline.store.feature_store import FeatureStore, place
from yt8m_pipeline.store.index import IndexedFile
from yt8m_pipeline.store.thumbnails import Thumbnails

STAGE = "thumbnails"

CHANGED = "changed"
"""Why a video gets no thumbnails whose film is not the one any more that its features were made of, or is gone."""

NOT_STORED = "not_stored"
"""Why a video gets no thumbnails whose features are not in the store: its film is not known."""


@dataclass(slots=True)
class MadeThumbnails:
    """What came of it.

    Attributes:
        kept: How many videos had thumbnails already.
        made: How many have got them.
        failed: How many have none, by reason.
        examples: The first video of each reason.
    """

    kept: int = 0
    made: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, video_id: str, reason: str) -> None:
        """Counts a video that has got thumbnails, or for a reason has not."""
        if reason:
            self.failed[reason] += 1
            self.examples.setdefault(reason, video_id)
        else:
            self.made += 1


class _Film(NamedTuple):
    video_id: str
    source: Source


def make_thumbnails(
    config: Config, *, workers: int | None = None, on_progress: OnProgress | None = None
) -> MadeThumbnails:
    """Makes the thumbnails that the videos of a finished dataset lack or have in another number, as a build makes them.

    Args:
        config: The config that the dataset was built with: its output, its store, and `decoding`.
        workers: How many videos at once; by default one per core.
        on_progress: Is told of the progress.

    Raises:
        UsageError: if `decoding.thumbnails` is 0, or there is no such dataset.
        DataError: if the dataset is not finished or damaged, or no decoding process can be started.
    """
    _require_wanted(config)
    layout = open_dataset(config.output).layout
    ids = read_parquet(layout, Layout.VIDEOS, ["video_id"])["video_id"].to_pylist()
    store = FeatureStore(config.store, Manifest.of(layout).feature_space.fingerprint)
    tell, found = on_progress or (lambda _: None), MadeThumbnails()
    lacking = list(_lacking(store, ids, config.decoding.thumbnails, found))
    tell(Progress(STAGE, len(lacking), 0, 0, f"{STAGE}: {len(lacking)} of {len(ids)} videos lack them"))
    with _maker(config, workers or os.cpu_count() or 1) as make_all:
        for film, why in make_all(lacking):
            found.add(film.video_id, why)
            tell(Progress(STAGE, 0, 1, 0, f"{STAGE}: {found.made} made"))
    return found


def _require_wanted(config: Config) -> None:
    if not config.decoding.thumbnails:
        raise UsageError(
            what="No thumbnails are wanted",
            where="decoding.thumbnails",
            why="it is 0",
            fix="set decoding.thumbnails to how many pictures of each video there should be",
        )


def _lacking(store: FeatureStore, ids: Sequence[str], wanted: int, found: MadeThumbnails) -> Iterator[_Film]:
    """The videos without so many thumbnails of the film that their features were made of, or one of each frame."""
    thumbnails = Thumbnails(store.root)
    shelf = None
    for name, video_id in sorted((place(video_id)[0], video_id) for video_id in ids):
        if shelf is None or shelf.name != name:
            shelf = store.shelf(name)
        stored = shelf.find(video_id)
        if not isinstance(stored, IndexedFile):
            found.add(video_id, NOT_STORED)
        elif thumbnails.has(video_id, stored.source, min(wanted, stored.entry.frames)):
            found.kept += 1
        else:
            yield _Film(video_id, stored.source)


@contextmanager
def _maker(config: Config, workers: int) -> Iterator[Callable[[Iterable[_Film]], Iterator[tuple[_Film, str]]]]:
    """Threads that make thumbnails of films; each film comes back with the reason why it has none, or ''."""

    def sandbox() -> Sandbox:
        return Sandbox(config.decoding, config.inception.decoded_size, config.tables.places)

    def make(sandbox: Sandbox, film: _Film) -> tuple[_Film, str]:
        try:
            return film, _make(sandbox, film, config)
        except VideoRejected as rejection:
            return film, rejection.reason.value

    with in_sandboxes(sandbox, make, workers) as make_all:
        yield make_all


def _make(sandbox: Sandbox, film: _Film, config: Config) -> str:
    strip, uri = Strip(config.decoding.thumbnails), film.source.uri
    require_accepted(uri, config.tables.places)
    if Source.of(uri) != film.source:
        return CHANGED
    deque(strip.watching(sandbox.decode(uri)), maxlen=0)
    Thumbnails(config.store).write(film.video_id, film.source, strip.count, strip.to_jpeg())
    return ""
