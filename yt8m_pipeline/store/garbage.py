"""What can go from a feature store without loss to a given dataset: `yt8m store gc`.

A mistake must not cost a store. So nothing goes by itself but rubbish; videos go only where what must stay is given and
a part of it is there; a whole space goes only by its name; and a file goes only as it was when it was judged.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from yt8m_pipeline import files
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.files import FileState
from yt8m_pipeline.store.failures import open_failure
from yt8m_pipeline.store.feature_store import FAILURE_SUFFIX, SHELVES, SUFFIX, Damaged, FeatureStore, Shelf, place
from yt8m_pipeline.store.stored_file import DamagedFile
from yt8m_pipeline.store.upkeep import Progress, feature_files, find_spaces, over_shelves

DAY_SECONDS = 86_400
"""What was written later than that is not removed as unused: a build may be at work on it."""

WEEK_SECONDS = 7 * DAY_SECONDS
"""No write takes so long: an older temporary file, also of another host, has no writer any more."""

ABANDONED = "half written, its writer is gone"
DAMAGED = "damaged"
SUPERSEDED = "a failure of a video that is stored"
UNUSED = "used by nothing that was given"
NAMED = "its space was named"


class Removal(NamedTuple):
    """A file that can go.

    Attributes:
        uri: Where it is.
        state: Its size and modification time when it was judged.
        why: One of the reasons above.
    """

    uri: str
    state: FileState
    why: str


@dataclass(frozen=True, slots=True)
class Needs:
    """What must stay, if it is stored.

    Attributes:
        of_tables: The ids that videos tables list: in every space.
        of_datasets: The ids that datasets list, by their feature space.
    """

    of_tables: set[str] = field(default_factory=set)
    of_datasets: dict[str, set[str]] = field(default_factory=dict)

    def names(self, space: str) -> dict[str, set[str]]:
        """The names of the files of features that must stay in a space, by shelf."""
        names: dict[str, set[str]] = {shelf: set() for shelf in SHELVES}
        for video_id in self.of_tables | self.of_datasets.get(space, set()):
            shelf, name = place(video_id)
            names[shelf].add(name)
        return names


def find_removals(store: FeatureStore, needs: Needs | None, progress: Progress) -> list[Removal]:
    """What can go from a space: what is abandoned, damaged, superseded, or not needed.

    A space that holds nothing of what is needed keeps all its videos: what was given may be the wrong table.

    Args:
        store: The space.
        needs: What must stay; None: all that is sound.
        progress: See `Progress`.
    """
    needed = needs.names(store.space) if needs else None
    found = over_shelves(store, partial(_judge, needed=needed, now=time.time(), progress=progress))
    is_used = any(uses for uses, _ in found)
    return [removal for _, removals in found for removal in removals if is_used or removal.why != UNUSED]


def whole_space(store: FeatureStore, needs: Needs | None) -> list[Removal]:
    """Every file of a space.

    Raises:
        UsageError: if a given dataset is of this space.
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
    """Deletes the files that are still as they were when they were judged, and gives those."""
    for removal in removals:
        progress(1)
        if files.state(removal.uri) == removal.state:
            files.delete(removal.uri)
            yield removal


def remove_empty_spaces(root: str) -> None:
    """Deletes the folders of spaces that have no file left."""
    for store in find_spaces(root):
        if not files.list_files(store.folder):
            files.delete_folder(store.folder)


def _judge(
    shelf: Shelf, needed: Mapping[str, set[str]] | None, now: float, progress: Progress
) -> tuple[bool, list[Removal]]:
    """Whether a shelf has anything that is needed, and what can go from it."""
    stored = set(feature_files(shelf))
    ours = None if needed is None else needed[shelf.name]
    reasons = {name: _reason(shelf, name, ours, now) for name in shelf.states}
    progress(len(stored))
    removals = [
        Removal(files.join(shelf.folder, name), shelf.states[name], why) for name, why in reasons.items() if why
    ]
    return ours is None or bool(stored & ours), removals


def _reason(shelf: Shelf, name: str, needed: set[str] | None, now: float) -> str | None:
    """Why a file can go; None where it stays."""
    age = now - shelf.states[name].modified_ns / 1e9
    if files.TEMPORARY_MARK in name:
        return ABANDONED if files.is_abandoned(name) or age > WEEK_SECONDS else None
    if not name.endswith((SUFFIX, FAILURE_SUFFIX)):
        return None
    if _is_damaged(shelf, name):
        return DAMAGED
    features = name.removesuffix(FAILURE_SUFFIX).removesuffix(SUFFIX) + SUFFIX
    if features != name and features in shelf.states and not _is_damaged(shelf, features):
        return SUPERSEDED
    is_needed = needed is None or features in needed
    return None if is_needed or age < DAY_SECONDS else UNUSED


def _is_damaged(shelf: Shelf, name: str) -> bool:
    """Whether a file is not what was written. One that cannot be read is not damaged, as far as is known."""
    try:
        found = shelf.file(name) if name.endswith(SUFFIX) else open_failure(files.join(shelf.folder, name))
    except DamagedFile:
        return True
    except DataError:
        return False
    return isinstance(found, Damaged)
