"""The list of the files of a folder that was made of a dataset, and whether the folder is as its list says.

Exports for other trainers and sets of video-level features have one: a JSON file that says what they are and names each
file with its number of videos, size and digest. COMPLETE, which is written last, has the digest of the list.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from yt8m_pipeline import files
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.steps import FileEntry
from yt8m_pipeline.dataset.typed_json import from_json, json_object, to_json
from yt8m_pipeline.dataset.verify import Fault
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.parsing import parse_json

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file of a list.

    Attributes:
        path: Its path in the folder.
        videos: The number of videos in it.
        bytes: Its size.
        sha256: Its SHA-256, in hexadecimal.
        partition: The partition of its videos; None where the list does not say, or it has none.
    """

    path: str
    videos: int
    bytes: int
    sha256: str
    partition: Partition | None = None

    @classmethod
    def of(cls, entry: FileEntry, videos: int = 0, partition: Partition | None = None) -> "ListedFile":
        """A file that was written."""
        return cls(entry.path, videos, entry.bytes, entry.sha256, partition)


def find_list(kind: type[T], folder: str, name: str, newest: int, number: str = "format") -> T | None:
    """The list of this name in a folder, or None where there is none.

    Args:
        kind: The dataclass of the list.
        folder: The folder.
        name: The name of the list.
        newest: The newest format of it that this version reads.
        number: The key of the number of its format. A list without a number is of the first format.

    Raises:
        DataError: it is damaged, or of a newer format.
    """
    path = files.join(folder, name)
    if not files.exists(path):
        return None
    try:
        values = json_object(parse_json(files.read_bytes(path)))
        written = from_json(int, values.get(number, 1))
        if written > newest:
            raise _newer(path, written, newest)
        return from_json(kind, values)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            what="The list of a folder is damaged",
            where=path,
            why=" ".join(str(error).split()),
            fix="remove the folder, and make it again",
        ) from None


def _newer(path: str, found: int, newest: int) -> DataError:
    return DataError(
        what="The list of a folder has a newer format",
        where=path,
        why=f"format {found}, this version reads formats up to {newest}",
        fix="upgrade yt8m_pipeline; the file is not damaged",
    )


def write_list(layout: Layout, name: str, told: Any) -> None:
    """Writes a list, when every other file stands; `told` is its dataclass. The same list is the same bytes."""
    layout.write_bytes(name, (json.dumps(to_json(told), indent=1, sort_keys=True) + "\n").encode())


def compare_with_list(folder: str, name: str, listed: Mapping[str, tuple[int, str]]) -> list[Fault]:
    """What of a folder is damaged, missing or not in its list, sorted.

    Args:
        folder: The folder.
        name: The name of its list.
        listed: The size and the SHA-256 of every other file that belongs there, but for COMPLETE, by path.
    """
    layout = Layout(folder)
    if not files.exists(layout.path(Layout.COMPLETE)):
        return [Fault(Layout.COMPLETE, f"missing: the work that writes {name} last has not ended")]
    faults = [fault for path, expected in listed.items() if (fault := _fault(layout, path, expected))]
    others = set(files.list_files(folder)) - set(listed) - {name, Layout.COMPLETE}
    return sorted([*_completion(layout, name), *faults, *(Fault(path, f"not in {name}") for path in others)])


def _completion(layout: Layout, name: str) -> list[Fault]:
    digest = files.sha256(layout.path(name))
    is_that = files.read_bytes(layout.path(Layout.COMPLETE)).startswith(digest.encode())
    return [] if is_that else [Fault(name, f"is not the list that {Layout.COMPLETE} is of")]


def _fault(layout: Layout, path: str, expected: tuple[int, str]) -> Fault | None:
    uri = layout.path(path)
    if not files.exists(uri):
        return Fault(path, "missing")
    if (files.file_size(uri), files.sha256(uri)) != expected:
        return Fault(path, "its bytes are not those that were written")
    return None
