"""The upkeep of a feature store: counting what is in it and finding damage (`yt8m store stats` and `check`)."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from multiprocessing.pool import ThreadPool
from typing import NamedTuple, TypeAlias, TypeVar

from yt8m_pipeline import files
from yt8m_pipeline.accounting.reasons import VideoRejected
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.store.durations import FOLDER as DURATIONS
from yt8m_pipeline.store.durations import DurationFile, Known, duration_files
from yt8m_pipeline.store.failures import Failure, open_failure
from yt8m_pipeline.store.feature_store import (
    DESCRIPTION,
    FAILURE_SUFFIX,
    SHELVES,
    SUFFIX,
    Damaged,
    FeatureStore,
    Shelf,
    describe,
)
from yt8m_pipeline.store.index import IndexedFile
from yt8m_pipeline.store.thumbnails import Thumbnails

THREADS = 16
"""The number of shelves that are worked on at a time.

Reading waits for the disk or the network, and hashlib computes digests without the GIL, so threads gain on few cores.
"""

Progress: TypeAlias = Callable[[int], None]
"""A function that is told how many more files of features have been looked at."""

T = TypeVar("T")


class SpaceStats(NamedTuple):
    """The contents of one feature space, in numbers.

    Attributes:
        videos: The number of videos with sound features.
        frames: The number of frames of these videos.
        bytes: The size of all files.
        damaged: The number of files that are not what was written.
        temporaries: The number of half-written files, whether their writer is at work or was killed.
        failures: The number of videos that failed, by reason.
    """

    videos: int
    frames: int
    bytes: int
    damaged: int
    temporaries: int
    failures: Counter[str]


class DurationStats(NamedTuple):
    """The measured durations of a store under the same conditions, in numbers.

    Attributes:
        conditions: The fingerprint of the conditions.
        videos: The number of files with a duration.
        failures: The number of files that could not be measured.
        bytes: The size of all that keeps them.
        damaged: The number of files of durations that are not what was written.
        temporaries: The number of half-written ones.
    """

    conditions: str
    videos: int
    failures: int
    bytes: int
    damaged: int
    temporaries: int


class ThumbnailStats(NamedTuple):
    """The thumbnails of a store, in numbers.

    Attributes:
        videos: The number of videos that have some.
        bytes: The size of their files.
        temporaries: The number of half-written ones.
    """

    videos: int
    bytes: int
    temporaries: int


class Fault(NamedTuple):
    """A file of a store that is not what it must be, and what is wrong with it."""

    where: str
    what: str


def is_space(name: str) -> bool:
    """Whether a folder is named as a feature space is: by 16 hexadecimal digits."""
    return re.fullmatch("[0-9a-f]{16}", name) is not None


def find_spaces(root: str, only: Sequence[str] = ()) -> list[FeatureStore]:
    """Finds the feature spaces of a store, or those of them that are named.

    Raises:
        UsageError: if the folder has no feature space, or lacks one that is named.
    """
    folders = files.list_folders(root)
    spaces = [name for name in folders if is_space(name)]
    if not spaces and DURATIONS not in folders:
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
    """Counts the files of features, sound or not."""
    return sum(sum(over_shelves(store, lambda shelf: len(feature_files(shelf)))) for store in spaces)


def survey(store: FeatureStore, progress: Progress) -> SpaceStats:
    """Counts what a feature space has. It reads only the files that the indices do not know.

    Raises:
        NewerFormatError: if a later version wrote one of the files.
    """
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
    """Reads every file of a feature space and reports what is damaged or misplaced.

    The indices forget those files and learn the others, so that the next build extracts the damaged videos again.

    Raises:
        NewerFormatError: if a later version wrote one of the files.
    """
    parts = over_shelves(store, partial(_check, progress=progress), verify=True)
    faults = [fault for part in parts for fault in part]
    if describe(store) is None:
        faults.append(Fault(files.join(store.folder, DESCRIPTION), "it is missing or does not describe this space"))
    return sorted(faults)


def survey_durations(root: str) -> list[DurationStats]:
    """Counts the measured durations of a store.

    Raises:
        NewerFormatError: if a later version wrote one of the files.
    """
    found = sorted(duration_files(root), key=lambda file: file.fingerprint)
    return [_sum_up(conditions, list(part)) for conditions, part in groupby(found, lambda file: file.fingerprint)]


def check_durations(root: str) -> list[Fault]:
    """Reads every file of durations and reports what is damaged. The next build measures its videos again.

    Raises:
        NewerFormatError: if a later version wrote one of the files.
    """
    return sorted(Fault(file.uri, damage.reason) for file, damage in damaged_durations(root))


def survey_thumbnails(root: str) -> ThumbnailStats:
    """Counts the thumbnails of a store, without reading them."""
    found = list(Thumbnails(root).files())
    temporaries = sum(files.TEMPORARY_MARK in file.name for file in found)
    return ThumbnailStats(len(found) - temporaries, sum(file.state.size for file in found), temporaries)


def check_thumbnails(root: str) -> list[Fault]:
    """Reads every file of thumbnails and reports what is damaged. `yt8m thumbnails` makes those anew.

    Raises:
        NewerFormatError: if a later version wrote one of the files.
    """
    thumbnails = Thumbnails(root)
    kept = [(file.shelf, file.name) for file in thumbnails.files() if files.TEMPORARY_MARK not in file.name]
    with ThreadPool(THREADS) as pool:
        pictures = pool.starmap(thumbnails.open, kept)
    damaged = [place for place, found in zip(kept, pictures, strict=True) if found is None]
    return sorted(Fault(thumbnails.uri(*place), "it is not what was written") for place in damaged)


def damaged_durations(root: str) -> list[tuple[DurationFile, Damaged]]:
    """Finds the files of durations that are not what was written.

    Raises:
        NewerFormatError: if a later version wrote one of the files.
    """
    kept = [file for file in duration_files(root) if not file.is_temporary]
    return [(file, known) for file, known in zip(kept, _opened(kept), strict=True) if isinstance(known, Damaged)]


def _opened(found: Sequence[DurationFile]) -> list[Known | Damaged]:
    with ThreadPool(THREADS) as pool:
        return pool.map(_try_to_open, found)


def _try_to_open(file: DurationFile) -> Known | Damaged:
    try:
        return file.open()
    except DataError as error:
        return Damaged(error.why)


def _sum_up(conditions: str, found: list[DurationFile]) -> DurationStats:
    kept = [file for file in found if not file.is_temporary]
    opened = _opened(kept)
    measured = [item for known in opened if not isinstance(known, Damaged) for _, item in known.values()]
    failures = sum(isinstance(item, VideoRejected) for item in measured)
    return DurationStats(
        conditions,
        videos=len(measured) - failures,
        failures=failures,
        bytes=sum(file.state.size for file in found),
        damaged=sum(isinstance(known, Damaged) for known in opened),
        temporaries=len(found) - len(kept),
    )


def over_shelves(store: FeatureStore, function: Callable[[Shelf], T], *, verify: bool = False) -> list[T]:
    """Applies a function to each shelf of a feature space, and returns the results in the order of the shelves."""
    with ThreadPool(THREADS) as pool:
        return pool.map(lambda name: function(store.shelf(name, verify=verify)), SHELVES, chunksize=1)


def feature_files(shelf: Shelf) -> list[str]:
    """The names of the shelf's files of features."""
    return [name for name in shelf.states if name.endswith(SUFFIX)]


def open_failures(shelf: Shelf) -> Iterator[tuple[str, Failure | Damaged]]:
    """Opens the records of failures of a shelf, by the names of their files.

    Raises:
        NewerFormatError: if a later version wrote one of them.
    """
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
    """What a file holds. A file that cannot be read or belongs to another feature space counts as damaged here."""
    try:
        return shelf.file(name) or Damaged("it is gone")
    except DataError as error:
        return Damaged(error.why)
