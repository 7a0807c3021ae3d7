"""The files of a source: videos, annotation files, and what is neither."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from yt8m_pipeline import files
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.intake.documents import Document
from yt8m_pipeline.intake.understood import Unused
from yt8m_pipeline.places import ANYWHERE, has_table_ending, has_video_ending, without_video_ending
from yt8m_pipeline.tables.text import AUTO

SYSTEM = re.compile(r"(\..*|__MACOSX|Thumbs\.db|desktop\.ini)\Z", re.IGNORECASE | re.DOTALL)
"""The names of files and folders that systems put beside people's own, and of hidden ones."""

MAX_LINKS = 100_000
"""The most links to folders that are followed in a source. Twelve folders, each with eight links to the next one, have
billions of paths."""

HIDDEN, NO_VIDEO, EMPTY = "a hidden or a system file", "no video by its ending", "an empty file"


class VideoFile(NamedTuple):
    """A video.

    Attributes:
        uri: Its absolute path, or its URI.
        name: Its path relative to the folder in which it was found, with forward slashes.
    """

    uri: str
    name: str


@dataclass(frozen=True, slots=True)
class Found:
    """What the sources hold.

    Attributes:
        videos: Sorted by their names in each source.
        documents: The other files that may be annotations.
        unused: What is neither, and why.
        encoding: The encoding of the tables among the documents, or `AUTO`.
    """

    video_files: list[VideoFile] = field(default_factory=list)
    documents: list[Document] = field(default_factory=list)
    unused: list[Unused] = field(default_factory=list)
    encoding: str = AUTO

    def add(self, uri: str, name: str, *, is_given: bool) -> None:
        """Sorts a file into its list."""
        refusal = _refusal(uri)
        if refusal and has_video_ending(name):
            self.unused.append(Unused(refusal, name))
        elif has_video_ending(name):
            self.video_files.append(VideoFile(uri, name))
        elif is_given or has_table_ending(name):
            self.documents.append(Document(uri, name, is_given, self.encoding))
        else:
            self.unused.append(Unused(NO_VIDEO, name))


def find(sources: Sequence[str], *, without: str = "", encoding: str = AUTO) -> Found:
    """Finds the videos and documents of sources: folders, files, or folders in a bucket.

    Args:
        sources: Paths or URIs.
        without: A folder that is left out, since it is where the tables go.
        encoding: The encoding of tables, or `AUTO`.

    Raises:
        UsageError: if there is no such file or folder, or it cannot be listed.
    """
    found = Found(encoding=encoding)
    for source in sources:
        if not files.is_local(source):
            _find_remote(source.rstrip("/"), without.rstrip("/"), found)
        elif os.path.isdir(source):
            _walk(os.path.abspath(source), os.path.abspath(without) if without else "", found)
        elif os.path.isfile(source):
            found.add(os.path.abspath(source), os.path.basename(source), is_given=True)
        else:
            raise _no_source(source)
    return found


def _no_source(source: str) -> UsageError:
    return UsageError(
        what="A source does not exist",
        where=source,
        why="there is no such file or folder",
        fix="give a folder of videos, a table, or a published annotation file with the folder of its videos",
    )


def _find_remote(source: str, without: str, found: Found) -> None:
    names = files.list_files(source)
    if not names and not files.exists(source):
        raise _no_source(source)
    for name in names:
        if without and files.join(source, name).startswith(f"{without}/"):
            continue
        if any(map(SYSTEM.match, name.split("/"))):
            found.unused.append(Unused(HIDDEN, name))
        else:
            found.add(files.join(source, name), name, is_given=False)
    if not names:
        found.add(source, source.rpartition("/")[2], is_given=True)


class _Entry(NamedTuple):
    """A file or folder below a source, with its name there and the folders that it is in."""

    item: "os.DirEntry[str]"
    name: str
    above: tuple[tuple[int, int], ...]

    @property
    def leads_back(self) -> bool:
        """Whether a folder is one that it is in."""
        state = self.item.stat()
        return (state.st_dev, state.st_ino) in self.above


def _walk(root: str, without: str, found: Found) -> None:
    """Adds the files below a local folder. Links to folders are followed, but not to one that they are in."""
    pending, followed = _entries(root, "", (), found), 0
    while pending:
        entry = pending.pop()
        if SYSTEM.match(entry.item.name):
            found.unused.append(Unused(HIDDEN, entry.name))
        elif not os.path.isdir(entry.item.path):
            _add_file(entry.item, entry.name, found)
        elif entry.item.path != without and not entry.leads_back:
            followed += entry.item.is_symlink()
            _require_few_links(root, followed)
            pending += _entries(entry.item.path, f"{entry.name}/", entry.above, found)


def _entries(folder: str, prefix: str, above: tuple[tuple[int, int], ...], found: Found) -> list[_Entry]:
    """What is in a folder, the last name first."""
    here = os.stat(folder)
    above = (*above, (here.st_dev, here.st_ino))
    try:
        items = sorted(os.scandir(folder), key=lambda item: item.name, reverse=True)
    except OSError as error:
        found.unused.append(Unused(f"it cannot be listed: {error.strerror}", prefix or folder))
        return []
    return [_Entry(item, prefix + item.name, above) for item in items]


def _require_few_links(root: str, followed: int) -> None:
    if followed > MAX_LINKS:
        raise UsageError(
            what="A source has too many links to folders",
            where=root,
            why=f"more than {MAX_LINKS:,} were followed, links in linked folders counted each time",
            fix="remove the links, or give the folders themselves",
        )


def _add_file(entry: "os.DirEntry[str]", name: str, found: Found) -> None:
    if not os.path.isfile(entry.path):
        found.unused.append(Unused("a broken link, or no regular file", name))
    elif (has_video_ending(name) or has_table_ending(name)) and entry.stat().st_size == 0:
        found.unused.append(Unused(EMPTY, name))
    else:
        found.add(entry.path, name, is_given=False)


def _refusal(uri: str) -> str | None:
    """Why no table may name a video."""
    if not _is_text(uri):
        return "its name is not UTF-8"
    why = ANYWHERE.refusal(uri)
    return f"a table cannot name it: {why}" if why else None


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def stem(name: str) -> str:
    """The name of a video without its folder and ending; other names, which may have dots in them, whole.

    >>> stem("Archery/v_Archery_g01_c01.avi"), stem("BV1.5xy")
    ('v_Archery_g01_c01', 'BV1.5xy')
    """
    return without_video_ending(name.rpartition("/")[2])
