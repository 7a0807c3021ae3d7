"""The list of an export for other trainers, and whether the export is as it says.

```
EXPORT/
  export.json    the format, which dataset it is of, and each file with its number of videos, size and digest
  COMPLETE       the digest of export.json, written last
  …              the files of the format (`interop/trainer_formats.py`), quantizer.npz and vocabulary.csv
```
"""

import csv
import io
from dataclasses import dataclass

from yt8m_pipeline import files
from yt8m_pipeline.dataset.file_list import ListedFile, compare_with_list, find_list
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.verify import Fault
from yt8m_pipeline.interop.trainer_names import TrainerFormat

LIST = "export.json"
"""The file that lists an export."""

FORMAT = 1
"""The number of the format of export.json. A later one is read by later versions alone, and says so."""


@dataclass(frozen=True, slots=True)
class ExportList:
    """What export.json says.

    Attributes:
        version: The version of this package that wrote it.
        format: The format, one of `TrainerFormat`.
        values: What stands for a frame, one of `Values`.
        key: A SHA-256 of everything that the bytes of the export depend on.
        build_key: That of the dataset.
        files: Every file but export.json and COMPLETE. Of .npy files only their tables are listed, which list them.
        list_format: The number of the format of export.json itself.
    """

    version: str
    format: str
    values: str
    key: str
    build_key: str
    files: tuple[ListedFile, ...]
    list_format: int = FORMAT

    @classmethod
    def find(cls, folder: str) -> "ExportList | None":
        """The list of the export in a folder, or None.

        Raises:
            DataError: it is damaged, or a later version wrote it.
        """
        return find_list(cls, folder, LIST, FORMAT, "list_format")


def verify_export(folder: str) -> list[Fault]:
    """Compares an export for trainers with its list, and says what is damaged, missing or not of it.

    Args:
        folder: The folder, which has an export.json.

    Raises:
        DataError: if the list is damaged, or a later version wrote it.
    """
    found, layout = ExportList.find(folder), Layout(folder)
    listed = {file.path: (file.bytes, file.sha256) for file in found.files} | _arrays(layout, found) if found else {}
    return compare_with_list(folder, LIST, listed)


def _arrays(layout: Layout, found: ExportList) -> dict[str, tuple[int, str]]:
    """The size and digest of each .npy file, as the tables of them say."""
    if found.format != TrainerFormat.NPY:
        return {}
    tables = [file.path for file in found.files if file.path.endswith(".csv") and "/" in file.path]
    rows = [row for path in tables if files.exists(layout.path(path)) for row in _rows(layout, path)]
    return {row["path"]: (int(row["bytes"]), row["sha256"]) for row in rows}


def _rows(layout: Layout, path: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(files.read_bytes(layout.path(path)).decode(), newline="")))
