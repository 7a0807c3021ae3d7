"""The index of one shelf of the feature store, which saves a build from reading every file of the shelf.

An entry of the index counts for a file only while the file's size and modification time are those in the entry. An
index may be lost, outdated, or overwritten by another build. The files are then read again, and nothing else is lost.

The index is of sealed lines (`sealed_lines`), whose seal names the feature space. Each row has the name of a file and
what is known of it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, replace
from typing import Any

from yt8m_pipeline import files
from yt8m_pipeline.data_model import MediaFile, StoredEntry
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.files import FileState
from yt8m_pipeline.store.failures import Source
from yt8m_pipeline.store.formats import NewerFormatError
from yt8m_pipeline.store.sealed_lines import open_lines, seal_lines
from yt8m_pipeline.store.stored_file import read_stored


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """What an index knows of a stored file that was read or written whole.

    Attributes:
        state: The size and modification time that the stored file had then.
        source: The video's file that the features were made from.
        entry: The contents of the stored file, in brief.
    """

    state: FileState
    source: Source
    entry: StoredEntry


def read_index(uri: str, space: str) -> dict[str, IndexedFile]:
    """Reads an index: what is known of the files of a shelf, by name.

    It is empty if the index is damaged, belongs to another feature space, is of a later format, or cannot be read.
    """
    try:
        return dict(map(_indexed, open_lines(uri, read_stored(uri), {"space": space})))
    except (DataError, NewerFormatError, IndexError, TypeError, ValueError):
        return {}


def write_index(uri: str, space: str, known: Mapping[str, IndexedFile]) -> None:
    """Writes what is known of the files of a shelf of a feature space.

    A power failure may take the index away: its seal would show it, and the files would be read again.

    Raises:
        DataError: if the file cannot be written.
    """
    rows = [[name, file.state, astuple(file.source), *_values(file.entry)] for name, file in sorted(known.items())]
    files.write_bytes(uri, seal_lines(rows, {"space": space}), durable=False)


def _values(entry: StoredEntry) -> Iterator[tuple[object, ...]]:
    """The values of an entry and of its file, without what is lacking: version 0.1.0 knows neither."""
    *values, transfer, media = astuple(entry)
    yield (*values, transfer) if transfer else tuple(values)
    if media:
        yield media


def _indexed(row: Any) -> tuple[str, IndexedFile]:
    name, state, source, entry, *last = row
    stored = StoredEntry(*entry)
    known = replace(stored, media=MediaFile(*last[0])) if last else stored
    return name, IndexedFile(FileState(*state), Source(*source), known)
