"""Writes the report of a dataset into a folder of its own: a page, and the files of its figures and tables."""

import json
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from yt8m_pipeline import __version__, files
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.parsing import parse_json
from yt8m_pipeline.report.dataset_figures import draw_figures
from yt8m_pipeline.report.known_datasets import KnownDataset
from yt8m_pipeline.report.page import page
from yt8m_pipeline.report.statistics import DatasetStatistics
from yt8m_pipeline.report.tables import Table, tables_of

PAGE, MARK = "index.html", "report.json"
"""The page, and the file by which the folder is known as that of a report. The mark is written first."""

KIND = "report of yt8m"


@dataclass(frozen=True, slots=True)
class Report:
    """A report that was written.

    Attributes:
        tables: Its tables.
        paths: The paths of its files in the folder, sorted.
    """

    tables: tuple[Table, ...]
    paths: tuple[str, ...]


def require_report_folder(folder: str) -> None:
    """Refuses a folder whose files are not those of an earlier report.

    Raises:
        UsageError: it is a file, or holds something else.
    """
    if files.exists(folder):
        raise _not_ours(folder, "it is a file")
    names = files.list_files(folder)
    if names and _mark(folder) is None:
        raise _not_ours(folder, f"it holds {names[0]} and {len(names) - 1} other files, but no {MARK} of a report")


def _mark(folder: str) -> dict[str, Any] | None:
    """What the mark of a report says; None where there is none."""
    try:
        values = parse_json(files.read_bytes(files.join(folder, MARK)))
    except (OSError, ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) and values.get("kind") == KIND else None


def _not_ours(folder: str, why: str) -> UsageError:
    return UsageError(
        what="The output folder is not that of a report",
        where=folder,
        why=why,
        fix="give an empty or new folder with --output",
    )


def write_report(statistics: DatasetStatistics, known: list[KnownDataset], dataset: str, folder: str) -> Report:
    """Writes the report. What an earlier report left in the folder and this one does not have is removed.

    Args:
        statistics: The statistics of the dataset.
        known: The datasets that it stands beside.
        dataset: The folder of the dataset, whose last part is the name of the dataset.
        folder: The folder of the report.

    Raises:
        UsageError: the folder holds something else.
        DataError: a file cannot be written.
    """
    require_report_folder(folder)
    name = files.last_name(dataset)
    manifest = statistics.manifest
    tables = tables_of(statistics, known, name)
    drawings = list(draw_figures(statistics, known, name))
    about = f"Build {manifest.build_key[:12]}, features {manifest.feature_space.fingerprint}, report by {__version__}."
    contents = {PAGE: page(name, about, drawings, tables)}
    contents |= {f"figures/{one.name}.{form}": data for one in drawings for form, data in one.files.items()}
    contents |= {f"tables/{table.name}.csv": table.to_csv() for table in tables}
    contents |= {f"tables/{table.name}.json": table.to_json() for table in tables}
    _remove_others(folder, contents)
    facts = {"kind": KIND, "version": __version__, "dataset": name, "build_key": manifest.build_key}
    mark = json.dumps({**facts, "files": sorted(contents)}, indent=1)
    for path, data in {MARK: mark.encode() + b"\n", **contents}.items():
        files.write_bytes(files.join(folder, path), data, durable=False)
    return Report(tuple(tables), tuple(sorted([MARK, *contents])))


def _remove_others(folder: str, contents: Container[str]) -> None:
    """Removes the files of an earlier report that this one does not have, and no file that it did not write."""
    listed: Any = (_mark(folder) or {}).get("files")
    written = set(map(str, listed)) if isinstance(listed, list) else set[str]()
    for path in files.list_files(folder):
        if path in written and path not in contents:
            files.delete(files.join(folder, path))
