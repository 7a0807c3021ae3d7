"""Looking after a feature store: what is in it and what is damaged (`yt8m store stats` and `check`)."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing.pool import ThreadPool
from typing import Any, NamedTuple, TypeAlias, TypeVar

from yt8m_pipeline import files
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.store.failures import Failure, open_failure
from yt8m_pipeline.store.feature_store import (
    DESCRIPTION,
    FAILURE_SUFFIX,
    SHELVES,
    SUFFIX,
    Damaged,
    FeatureStore,
    Shelf,
    feature_space,
)
from yt8m_pipeline.store.index import IndexedFile

THREADS = 16
"""Shelves at a time: reading waits for the disk or the network, and digests are computed without the GIL."""

Progress: TypeAlias = Callable[[int], None]
"""Is told how many more files of features have been looked at."""

T = TypeVar("T")


class SpaceStats(NamedTuple):
    """What one feature space has.

    Attributes:
        videos: How many videos have sound features.
        frames: How many frames these have.
        bytes: The size of all its files.
        damaged: How many files are not what was written.
        temporaries: How many files are half written, by a writer at work or a killed one.
        failures: How many videos failed, by reason.
    """

    videos: int
    frames: int
    bytes: int
    damaged: int
    temporaries: int
    failures: Counter[str]


class Fault(NamedTuple):
    """A file of a store that is not what it must be."""

    where: str
    what: str


def find_spaces(root: str, only: Sequence[str] = ()) -> list[FeatureStore]:
    """The feature spaces of a store, or those of them that are named.

    Raises:
        UsageError: if there are none, or one that is named is not there.
    """
    spaces = [name for name in files.list_folders(root) if re.fullmatch("[0-9a-f]{16}", name)]
    if not spaces:
        why = "no folder in it is named by a feature space, 16 hexadecimal digits"
        raise UsageError(
            what="There is no feature store",
            where=root,
            why=why,
            fix="give the folder that `store` in the config names",
        )
    unknown = sorted(set(only) - set(spaces))
    if unknown:
        why = f"it has {', '.join(spaces)}"
        raise UsageError(
            what=f"The store has no feature space {unknown[0]}", where=root, why=why, fix="see `yt8m store stats`"
        )
    return [FeatureStore(root, space) for space in spaces if space in (only or spaces)]


def count_files(spaces: Sequence[FeatureStore]) -> int:
    """How many files of features there are, sound or not."""
    return sum(sum(over_shelves(store, lambda shelf: len(feature_files(shelf)))) for store in spaces)


def describe(store: FeatureStore) -> dict[str, Any] | None:
    """What a space is, by its `space.json`; None where that is missing or does not fit the space's name."""
    try:
        description: dict[str, Any] = json.loads(files.read_bytes(files.join(store.folder, DESCRIPTION)))
        return description if feature_space(description) == store.space else None
    except (OSError, TypeError, ValueError):
        return None


def survey(store: FeatureStore, progress: Progress) -> SpaceStats:
    """What a space has. Only the files that its indices do not know are read."""
    totals: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    for counts, reasons in over_shelves(store, partial(_survey, progress=progress)):
        totals.update(counts)
        failures.update(reasons)
    return SpaceStats(
        videos=totals["videos"],
        frames=totals["frames"],
        bytes=totals["bytes"],
        damaged=totals["damaged"],
        temporaries=totals["temporaries"],
        failures=failures,
    )


def check(store: FeatureStore, progress: Progress) -> list[Fault]:
    """Reads every file of a space and says what is damaged or misplaced; the indices forget it, and learn the others.

    The next build extracts these videos again.
    """
    parts = over_shelves(store, partial(_check, progress=progress), verify=True)
    faults = [fault for part in parts for fault in part]
    if describe(store) is None:
        faults.append(Fault(files.join(store.folder, DESCRIPTION), "it is missing or does not describe this space"))
    return sorted(faults)


def over_shelves(store: FeatureStore, function: Callable[[Shelf], T], *, verify: bool = False) -> list[T]:
    """A function of each shelf of a space, in their order."""
    with ThreadPool(THREADS) as pool:
        return pool.map(lambda name: function(store.shelf(name, verify=verify)), SHELVES, chunksize=1)


def feature_files(shelf: Shelf) -> list[str]:
    """The names of the shelf's files of features."""
    return [name for name in shelf.states if name.endswith(SUFFIX)]


def open_failures(shelf: Shelf) -> Iterator[tuple[str, Failure | Damaged]]:
    """The shelf's records of failures, by the names of their files."""
    for name in shelf.states:
        if name.endswith(FAILURE_SUFFIX):
            try:
                yield name, open_failure(files.join(shelf.folder, name))
            except DataError as error:
                yield name, Damaged(error.why)


def _survey(shelf: Shelf, progress: Progress) -> tuple[Counter[str], Counter[str]]:
    counts = Counter(
        bytes=sum(state.size for state in shelf.states.values()),
        temporaries=sum(files.TEMPORARY_MARK in name for name in shelf.states),
    )
    for name in feature_files(shelf):
        found = _look_at(shelf, name)
        counts.update(damaged=1) if isinstance(found, Damaged) else counts.update(videos=1, frames=found.entry.frames)
        progress(1)
    reasons = [failure.reason for _, failure in open_failures(shelf) if isinstance(failure, Failure)]
    return counts, Counter(reason.value for reason in reasons)


def _check(shelf: Shelf, progress: Progress) -> list[Fault]:
    damaged = [(name, failure) for name, failure in open_failures(shelf) if isinstance(failure, Damaged)]
    for name in feature_files(shelf):
        found = _look_at(shelf, name)
        damaged += [(name, found)] if isinstance(found, Damaged) else []
        progress(1)
    shelf.save()
    return [Fault(files.join(shelf.folder, name), damage.reason) for name, damage in damaged]


def _look_at(shelf: Shelf, name: str) -> IndexedFile | Damaged:
    """What a file holds; also one that cannot be read, or is another space's, is damaged here."""
    try:
        return shelf.file(name) or Damaged("it is gone")
    except DataError as error:
        return Damaged(error.why)
