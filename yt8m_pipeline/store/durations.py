"""The measured durations of videos, kept beside the features: measuring reads a whole file, and few bytes come of it.

A duration belongs to a file, by its uri, size and modification time, and to what decides a duration (`conditions`); not
to an id or a feature space. A file that has changed is measured again. Why a file cannot be measured is kept like a
duration. The durations may be lost, or overwritten by another build: the files are then measured again, and nothing
else is lost.

They lie at `STORE/durations/<fingerprint of the conditions>/<2 hex>.jsonl`, in sealed lines (`sealed_lines`) whose seal
names the fingerprint. The file is chosen by the first byte of the SHA-256 of the uri.

>>> DurationCache("features", {"demuxers": ["mov"]}).path(shelf_of("videos/guitar.mp4"))
'features/durations/2b605de20596218c/10.jsonl'
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, TypeAlias

from yt8m_pipeline import files
from yt8m_pipeline.accounting.reasons import DropReason, Measured, Retry, VideoRejected
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.files import FileState
from yt8m_pipeline.store.failures import Source
from yt8m_pipeline.store.feature_store import warn_once
from yt8m_pipeline.store.formats import NewerFormatError, known_fields
from yt8m_pipeline.store.sealed_lines import open_lines, seal_lines
from yt8m_pipeline.store.stored_file import DamagedFile, read_stored

FOLDER = "durations"
"""The folder of all durations in the folder of a store."""

SUFFIX = ".jsonl"
"""The ending of the name of a file of durations."""

Known: TypeAlias = dict[str, tuple[Source, Measured]]
"""What was found out about files, and the state in which each was, by uri."""


@dataclass(frozen=True, slots=True)
class DurationCache:
    """The durations that were measured under the same conditions.

    Attributes:
        root: The folder of the store, local or in a bucket.
        conditions: What decides how long a file is, and whether it can be measured; values that JSON knows.
    """

    root: str
    conditions: Mapping[str, Any]

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the conditions, whatever the order of the keys."""
        canonical = json.dumps(self.conditions, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @property
    def folder(self) -> str:
        return files.join(self.root, FOLDER, self.fingerprint)

    def path(self, shelf: str) -> str:
        """The path of the durations of one shelf (`shelf_of`)."""
        return files.join(self.folder, f"{shelf}{SUFFIX}")

    def shelf(self, name: str) -> "DurationShelf":
        """Reads the durations of one shelf.

        Raises:
            NewerFormatError: if a later version wrote them.
        """
        return DurationShelf(self.path(name), self.fingerprint)


class DurationShelf:
    """The durations of the files whose uris have one first byte of their SHA-256.

    Args:
        uri: The place of the durations; there may be none yet.
        fingerprint: The fingerprint of the conditions.
    """

    def __init__(self, uri: str, fingerprint: str) -> None:
        self._uri, self._fingerprint = uri, fingerprint
        self._known, self._new = self._read(), Known()

    def find(self, source: Source, retry: Retry) -> Measured | None:
        """What is known of a file in this state; None if nothing is, or if it is a failure that is tried again."""
        before, found = self._known.get(source.uri, (None, None))
        if before != source or (isinstance(found, VideoRejected) and retry.covers(found.reason)):
            return None
        return found

    def remember(self, source: Source, found: Measured) -> None:
        """Adds what was found out about a file that was in this state before it was measured."""
        self._known[source.uri] = self._new[source.uri] = (source, found)

    def save(self) -> None:
        """Writes what is new, beside what another build may have written meanwhile, whole or not at all.

        If that fails, the files are measured again next time.
        """
        if not self._new:
            return
        rows = [_row(*found) for _, found in sorted((self._read() | self._new).items())]
        try:
            files.write_bytes(self._uri, seal_lines(rows, {FOLDER: self._fingerprint}), durable=False)
        except DataError as error:
            folder = self._uri.rpartition("/")[0]
            warn_once(f"measured durations cannot be kept in a feature store: {folder}: {error.why}")
        self._new = Known()

    def _read(self) -> Known:
        """What is written; nothing where there is no file, or a damaged one."""
        try:
            return open_durations(self._uri, self._fingerprint) if files.exists(self._uri) else {}
        except DamagedFile as damage:
            warn_once(f"{damage.what}: {damage.where}: {damage.why}; its videos are measured again")
            return {}


class DurationFile(NamedTuple):
    """A file in the folder of durations.

    Attributes:
        uri: Its place.
        fingerprint: That of the conditions of its durations.
        state: Its size and modification time.
    """

    uri: str
    fingerprint: str
    state: FileState

    @property
    def is_temporary(self) -> bool:
        return files.TEMPORARY_MARK in self.uri.rpartition("/")[2]

    def open(self) -> Known:
        """As `open_durations`."""
        return open_durations(self.uri, self.fingerprint)


def duration_files(root: str) -> list[DurationFile]:
    """Lists the files of all durations in a store, half-written ones too, under whatever conditions."""
    folder = files.join(root, FOLDER)
    return [
        DurationFile(files.join(folder, fingerprint, name), fingerprint, state)
        for fingerprint in files.list_folders(folder)
        for name, state in files.list_states(files.join(folder, fingerprint)).items()
    ]


def shelf_of(uri: str) -> str:
    """The shelf of a file's duration.

    >>> shelf_of("gs://corpus/guitar.mp4")
    '39'
    """
    return hashlib.sha256(uri.encode()).hexdigest()[:2]


def open_durations(uri: str, fingerprint: str) -> Known:
    """Opens one file of durations.

    Raises:
        DamagedFile: if it is not what was written.
        NewerFormatError: if a later version wrote it.
        DataError: if it cannot be read.
    """
    try:
        rows = open_lines(uri, read_stored(uri), {FOLDER: fingerprint})
        return {source.uri: (source, found) for source, found in (_parsed(uri, row) for row in rows)}
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise DamagedFile.at(uri, f"it holds no durations: {error}") from error


def _row(source: Source, found: Measured) -> dict[str, Any]:
    if isinstance(found, VideoRejected):
        return {**asdict(source), "reason": found.reason, "detail": found.detail}
    return {**asdict(source), "seconds": found}


def _parsed(uri: str, row: Mapping[str, Any]) -> tuple[Source, Measured]:
    if "seconds" in row:
        return known_fields(Source, row), float(row["seconds"])
    if row["reason"] not in set(DropReason):
        raise NewerFormatError.at(uri, f"this version knows no reason {row['reason']!r}")
    return known_fields(Source, row), VideoRejected(DropReason(row["reason"]), row["detail"])
