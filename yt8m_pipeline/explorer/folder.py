"""The folder that a site is written to. It is refused where it is not ours, and a second run writes it anew."""

import json
from dataclasses import dataclass, field
from typing import ClassVar

from yt8m_pipeline import files
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.parsing import parse_json
from yt8m_pipeline.places import is_below

MADE_BY = "yt8m explore"
"""What the mark says of the program that wrote it."""


@dataclass(slots=True)
class SiteFolder:
    """A folder with a site in it, or to be.

    Attributes:
        root: The folder, local or gs://.
        written: How many files have been written.
        size: How many bytes they have.
    """

    root: str
    written: int = field(default=0, init=False)
    size: int = field(default=0, init=False)

    MARK: ClassVar = "explorer.json"
    """The file by which a folder is known to be a site of this program. It is the first that is written."""

    INDEX: ClassVar = "index.html"
    """The page. It is the last that is written, so that half a site does not open."""

    FOLDERS: ClassVar = ("data", "thumbnails")
    """The folders in it, which are removed before they are written anew."""

    def begin(self, version: str) -> None:
        """Marks the folder as ours, and removes the site that stands in it.

        Raises:
            DataError: it cannot be written.
        """
        self.write(self.MARK, _mark(version))
        files.delete(files.join(self.root, self.INDEX))
        for name in self.FOLDERS:
            files.delete_folder(files.join(self.root, name))

    def write(self, name: str, data: bytes) -> None:
        """Writes a file, whole or not at all, given its path in the site."""
        files.write_bytes(files.join(self.root, name), data, durable=False)
        self.written += 1
        self.size += len(data)

    def require_ours(self, dataset: str) -> None:
        """Raises a `UsageError` if there is something else in the folder, or it is in the dataset."""
        here, there = (files.resolve(uri)[1] if files.is_local(uri) else uri for uri in (self.root, dataset))
        if is_below(here.rstrip("/"), there.rstrip("/")):
            raise UsageError(
                what="The site would stand in the dataset",
                where=self.root,
                why="a dataset holds what its manifest lists, and nothing else",
                fix="give another folder as --output",
            )
        if files.exists(self.root):
            why = "it is a file"
        elif (found := self._others()) and not self._is_marked():
            why = f"it has files and no {self.MARK} of a site: {found[0]}"
        else:
            return
        raise UsageError(
            what="The output is not a folder of this command",
            where=self.root,
            why=why,
            fix="give a new or empty folder",
        )

    def _others(self) -> list[str]:
        """What is in the folder, but for the lock of whoever writes to it."""
        return [name for name in files.list_files(self.root) if name != Layout.LOCK]

    def _is_marked(self) -> bool:
        """Whether the folder has the mark that this program writes, and not a stranger's file of the same name."""
        try:
            values = parse_json(files.read_bytes(files.join(self.root, self.MARK)))
        except (OSError, ValueError):
            return False
        return isinstance(values, dict) and values.get("made_by") == MADE_BY


def _mark(version: str) -> bytes:
    return json.dumps({"made_by": MADE_BY, "version": version}, sort_keys=True).encode() + b"\n"
