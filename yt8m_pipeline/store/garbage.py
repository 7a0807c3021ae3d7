"""What can be removed from a feature store without loss to the datasets that are given: `yt8m store gc`.

A mistake must not cost a store. Five rules follow. Without further arguments only rubbish is removed. Features are
removed only where datasets or tables say what must stay, and only from a feature space that holds some of it. A whole
feature space is removed only if it is named. A file is removed only while it is as it was when it was judged. Where a
later version of this package has written, nothing is judged and the command stops.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from yt8m_pipeline import files
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.files import FileState
from yt8m_pipeline.store.durations import duration_files
from yt8m_pipeline.store.failures import open_failure
from yt8m_pipeline.store.feature_store import FAILURE_SUFFIX, SHELVES, SUFFIX, Damaged, FeatureStore, Shelf, place
from yt8m_pipeline.store.stored_file import DamagedFile
from yt8m_pipeline.store.thumbnails import ThumbnailFile, Thumbnails, thumbnail_place
from yt8m_pipeline.store.upkeep import Progress, damaged_durations, feature_files, find_spaces, over_shelves

DAY_SECONDS = 86_400
"""The age below which a file is never removed as unused, because a build may be at work on its video."""

WEEK_SECONDS = 7 * DAY_SECONDS
"""The age above which a temporary file has no writer any more, whatever its host: no write takes a week."""

ABANDONED = "half written, its writer is gone"
DAMAGED = "damaged"
SUPERSEDED = "a failure of a video that is stored"
UNUSED = "used by nothing that was given"
NAMED = "its space was named"


class Removal(NamedTuple):
    """A file that can be removed.

    Attributes:
        uri: The place of the file.
        state: The size and modification time that it had when it was judged.
        why: One of the reasons above.
    """

    uri: str
    state: FileState
    why: str


@dataclass(frozen=True, slots=True)
class Needs:
    """The videos whose features must stay.

    Attributes:
        of_tables: The ids in videos tables. Their features stay in every feature space.
        of_datasets: The ids in datasets, by the dataset's feature space. Their features stay in that one.
    """

    of_tables: set[str] = field(default_factory=set)
    of_datasets: dict[str, set[str]] = field(default_factory=dict)

    @property
    def all_ids(self) -> set[str]:
        """The ids in any of them."""
        return self.of_tables.union(*self.of_datasets.values())

    def names(self, space: str) -> dict[str, set[str]]:
        """The names of the files of features that must stay in a feature space, by shelf."""
        names: dict[str, set[str]] = {shelf: set() for shelf in SHELVES}
        for video_id in self.of_tables | self.of_datasets.get(space, set()):
            shelf, name = place(video_id)
            names[shelf].add(name)
        return names


def find_removals(store: FeatureStore, needs: Needs | None, progress: Progress) -> list[Removal]:
    """Finds what can be removed from a feature space: abandoned, damaged, superseded and unused files.

    A feature space that holds nothing of what is needed keeps all its features, because the wrong table may have been
    given.

    Args:
        store: The feature space.
        needs: The videos whose features must stay; None: all of them.
        progress: A function that is told of every file of features that was looked at.

    Raises:
        NewerFormatError: if a later version wrote a file of the space, which this one cannot judge.
    """
    needed = needs.names(store.space) if needs else None
    found = over_shelves(store, partial(_judge, needed=needed, now=time.time(), progress=progress))
    is_used = any(uses for uses, _ in found)
    return [removal for _, removals in found for removal in removals if is_used or removal.why != UNUSED]


def find_duration_removals(root: str) -> list[Removal]:
    """Finds what can be removed of the durations in a store: abandoned and damaged files.

    Raises:
        NewerFormatError: if a later version wrote one of the files.
    """
    now = time.time()
    temporaries = [file for file in duration_files(root) if file.is_temporary]
    abandoned = [file for file in temporaries if _is_abandoned(file.uri, now - file.state.modified_ns / 1e9)]
    damaged = [(file, DAMAGED) for file, _ in damaged_durations(root)]
    return [Removal(file.uri, file.state, why) for file, why in [*((file, ABANDONED) for file in abandoned), *damaged]]


def find_thumbnail_removals(root: str, needs: Needs | None) -> list[Removal]:
    """Finds what can be removed of the thumbnails in a store: abandoned files, and those of unused videos.

    As with features, nothing is unused where nothing of what is needed is there, nor within a day of being written.
    """
    now, needed = time.time(), None if needs is None else {thumbnail_place(video_id) for video_id in needs.all_ids}
    found = list(Thumbnails(root).files())
    is_used = needed is not None and any((file.shelf, file.name) in needed for file in found)
    reasons = ((file, _why_thumbnail(root, file, needed if is_used else None, now)) for file in found)
    return [Removal(Thumbnails(root).uri(file.shelf, file.name), file.state, why) for file, why in reasons if why]


def _why_thumbnail(root: str, file: ThumbnailFile, needed: set[tuple[str, str]] | None, now: float) -> str | None:
    """The reason why a file of thumbnails can be removed; None if it stays."""
    age = now - file.state.modified_ns / 1e9
    if files.TEMPORARY_MARK in file.name:
        return ABANDONED if _is_abandoned(Thumbnails(root).uri(file.shelf, file.name), age) else None
    is_needed = needed is None or (file.shelf, file.name) in needed
    return None if is_needed or age < DAY_SECONDS else UNUSED


def whole_space(store: FeatureStore, needs: Needs | None) -> list[Removal]:
    """Lists every file of a feature space for removal.

    Raises:
        UsageError: if a dataset that was given has features of this space.
    """
    if needs and store.space in needs.of_datasets:
        why = "a dataset that was given is made of it"
        raise UsageError(
            what="The feature space is in use",
            where=store.folder,
            why=why,
            fix="leave out --drop-space, or the dataset",
        )
    return [
        Removal(files.join(folder, name), state, NAMED)
        for folder in (store.folder, *(files.join(store.folder, shelf) for shelf in SHELVES))
        for name, state in files.list_states(folder).items()
    ]


def remove(removals: Iterable[Removal], progress: Progress) -> Iterator[Removal]:
    """Deletes the files that are still as they were when they were judged, and yields what it deleted."""
    for removal in removals:
        progress(1)
        if files.state(removal.uri) == removal.state:
            files.delete(removal.uri)
            yield removal


def remove_empty_spaces(root: str) -> None:
    """Deletes the folders of feature spaces that have no file left."""
    for store in find_spaces(root):
        if not files.list_files(store.folder):
            files.delete_folder(store.folder)


def _judge(
    shelf: Shelf, needed: Mapping[str, set[str]] | None, now: float, progress: Progress
) -> tuple[bool, list[Removal]]:
    """Tells whether a shelf holds anything that is needed, and what can be removed from it."""
    stored = set(feature_files(shelf))
    ours = None if needed is None else needed[shelf.name]
    reasons = {name: _reason(shelf, name, ours, now) for name in shelf.states}
    progress(len(stored))
    removals = [
        Removal(files.join(shelf.folder, name), shelf.states[name], why) for name, why in reasons.items() if why
    ]
    return ours is None or bool(stored & ours), removals


def _reason(shelf: Shelf, name: str, needed: set[str] | None, now: float) -> str | None:
    """The reason why a file can be removed; None if it stays."""
    age = now - shelf.states[name].modified_ns / 1e9
    if files.TEMPORARY_MARK in name:
        return ABANDONED if _is_abandoned(files.join(shelf.folder, name), age) else None
    if not name.endswith((SUFFIX, FAILURE_SUFFIX)):
        return None
    if _is_damaged(shelf, name):
        return DAMAGED
    features = name.removesuffix(FAILURE_SUFFIX).removesuffix(SUFFIX) + SUFFIX
    if features != name and features in shelf.states and not _is_damaged(shelf, features):
        return SUPERSEDED
    is_needed = needed is None or features in needed
    return None if is_needed or age < DAY_SECONDS else UNUSED


def _is_abandoned(uri: str, age: float) -> bool:
    """Whether a temporary file, of so many seconds, has no writer any more."""
    return files.is_abandoned(uri) or age > WEEK_SECONDS


def _is_damaged(shelf: Shelf, name: str) -> bool:
    """Whether a file is not what was written. A file that cannot be read does not count as damaged."""
    try:
        found = shelf.file(name) if name.endswith(SUFFIX) else open_failure(files.join(shelf.folder, name))
    except DamagedFile:
        return True
    except DataError:
        return False
    return isinstance(found, Damaged)
