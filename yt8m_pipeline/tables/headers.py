"""The check of a table by the headers of its files, before any row is read: what is wrong, and what to warn of."""

import csv
import difflib
from collections.abc import Collection, Mapping, Sequence

import pyarrow as pa

from yt8m_pipeline import files
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.tables.cells import is_castable
from yt8m_pipeline.tables.formats import Header, format_of
from yt8m_pipeline.tables.reading import TableFiles, folder_columns, unreadable
from yt8m_pipeline.tables.text import LATIN

OF_PARTITIONS = frozenset({"fold", "part", "partition", "set", "split", "subset", "usage"})
"""The names, in lower case, by which tables give the partition of a video."""

OF_LABELS = frozenset(
    {"categories", "category", "class", "class_name", "classes", "label", "labels", "tag", "tags", "target", "targets"}
)
"""The names, in lower case, by which tables give the label of a video."""

INDICES = frozenset({"", "Unnamed: 0", "__index_level_0__"})
"""The names under which pandas writes the numbers of rows, in CSV, in CSV that it has read before, and in Parquet."""

NEAR = 0.75
"""How alike two names are (difflib's ratio) of which the one is certainly meant to be the other."""

SHOWN_FILES = 3
"""The number of files that a message names; a table may have thousands."""


def check_source(source: TableFiles, also_required: Collection[str] = ()) -> list[str]:
    """Checks the files of a table by their headers or metadata, without reading their rows.

    Args:
        source: The files. Some may be empty, but not all.
        also_required: Optional columns that this build needs, such as `labels`.

    Returns:
        Warnings: columns that nothing uses, those first whose name says that they are meant to be used; columns that
        some files lack; an encoding that was guessed.

    Raises:
        UsageError: A file is unreadable or of an unknown format; the table is empty; a column is missing, misspelt,
            given twice, or of a type that cannot be converted; or no file has a column that the config names.
    """
    headers = {name: _read_header(source, name) for name in source.files}
    if not any(header.has_rows for header in headers.values()):
        raise UsageError(
            what=f"The {source.table} table is empty",
            where=source.path(source.files[0] if len(source.files) == 1 else ""),
            why="it has no data rows" if len(source.files) == 1 else f"none of its {len(source.files)} files has a row",
            fix="give a file with rows",
        )
    names = {file: _names(file, header) for file, header in headers.items() if header.columns}
    for file, columns in names.items():
        _check_names(source, file, columns, also_required)
        _check_types(source, file, dict(headers[file].columns))
    _require_own_columns(source, names)
    return [*_unused(source, names), *_incomplete(source, names), *_guessed(source, headers)]


def check_schema(path: str, table: str, also_required: Collection[str] = ()) -> list[str]:
    """Checks a table that is one file, as `check_source` does."""
    root, _, name = path.rpartition("/")
    return check_source(TableFiles(table, root, (name,)), also_required)


def _read_header(source: TableFiles, name: str) -> Header:
    path = source.path(name)
    read_header = format_of(path, source.table, source.encoding).header
    try:
        with files.open_read(path) as stream:
            return read_header(stream)
    except (OSError, ValueError, pa.ArrowException, csv.Error) as error:
        raise unreadable(path, source.table, error) from None


def _names(file: str, header: Header) -> list[str]:
    given = [name for name, _ in header.columns]
    return [*given, *(name for name in folder_columns(file) if name not in given)]


def _check_names(source: TableFiles, file: str, names: Sequence[str], also_required: Collection[str]) -> None:
    known = [column.name for column in source.columns]
    required = {column.name for column in source.columns if column.required} | set(also_required)
    free = [name for name in names if name not in (*known, *source.own_columns)]
    near = {name: _nearest(name, free, NEAR) for name in known if name not in names}
    missing = [name for name in near if name in required or near[name]]
    if missing:
        raise UsageError(
            what=f"The {source.table} table lacks {_listed('column', missing)}",
            where=source.path(file),
            why=f"its columns are {', '.join(names)}",
            fix="; ".join(f"rename {near[name]} to {name}" if near[name] else f"add {name}" for name in missing),
        )
    twice = [name for name in dict.fromkeys([*known, *source.own_columns]) if names.count(name) > 1]
    if twice:
        raise UsageError(
            what=f"The {source.table} table has {_listed('column', twice)} twice",
            where=source.path(file),
            why="which one counts is unclear",
            fix="rename one",
        )


def _nearest(name: str, others: Sequence[str], cutoff: float) -> str | None:
    """The name that is most like another, whatever its capitals; None where none is like it."""
    folded = {other.casefold(): other for other in reversed(others)}
    found = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=cutoff)
    return folded[found[0]] if found else None


def _check_types(source: TableFiles, file: str, types: Mapping[str, pa.DataType]) -> None:
    columns = [column for column in source.columns if column.name in types]
    wrong = [column for column in columns if not is_castable(types[column.name], column.type)]
    if wrong:
        raise UsageError(
            what=f"The {source.table} table has the wrong type in {_listed('column', [item.name for item in wrong])}",
            where=source.path(file),
            why="; ".join(f"{column.name} is {types[column.name]}, not {column.expected}" for column in wrong),
            fix="convert the column" if types[wrong[0].name] != pa.string() else "give the table as JSONL or Parquet",
        )


def _require_own_columns(source: TableFiles, names: Mapping[str, Sequence[str]]) -> None:
    """Raises a UsageError if the config names a column that no file of the table has."""
    given = list(dict.fromkeys(name for file in names.values() for name in file))
    missing = [name for name in source.own_columns if name not in given]
    if missing:
        near = {name: _nearest(name, given, 0.6) for name in missing}
        field = "partitioning.column" if missing[0] == source.partition_column else "tables.keep_columns"
        raise UsageError(
            what=f"The {source.table} table lacks {_listed('column', missing)} that the config names",
            where=field,
            why=f"the columns of {_some(list(names))} are {', '.join(given)}",
            fix="; ".join(
                f"write {near[name]} for {name}" if near[name] else f"correct or remove {name}" for name in missing
            ),
        )


def _unused(source: TableFiles, names: Mapping[str, Sequence[str]]) -> list[str]:
    """One warning for each column that nothing uses and whose name says what it is for, and one for all others."""
    used = {*INDICES, *(column.name for column in source.columns), *source.own_columns}
    unused = [name for name in dict.fromkeys(name for file in names.values() for name in file) if name not in used]
    advice = {name: _advice(name, source) for name in unused}
    telling = [
        f"the {source.table} table has a column {name!r} that nothing uses: {text}"
        for name, text in advice.items()
        if text
    ]
    lacking = [column.name for column in source.columns if not any(column.name in file for file in names.values())]
    others = [f"{name}{_meant(name, lacking)}" for name in unused if not advice[name]]
    rest = f"nothing uses these columns of the {source.table} table: {', '.join(others)}"
    keep = "; tables.keep_columns can keep them" if source.table == "videos" else ""
    return telling + ([rest + keep] if others else [])


def _meant(name: str, lacking: Sequence[str]) -> str:
    near = _nearest(name, lacking, 0.6)
    return f" (is {near} meant?)" if near else ""


def _advice(name: str, source: TableFiles) -> str:
    """What is used in place of a column that is meant for something, and how to use it; "" of any other column."""
    if name.casefold() in OF_PARTITIONS:
        if source.table != "videos":
            return "partitions are given in the videos table"
        taken = f"partitions are those of the column {source.partition_column!r}" if source.partition_column else ""
        return taken or (
            "a build draws partitions by chance; to take them from it, set partitioning.by: column and "
            f"partitioning.column: {name}"
        )
    if name in source.ignored:
        return "labels are those of the annotations table; to take them from it, set tables.annotations: null"
    if name.casefold() in OF_LABELS and source.table in ("annotations", "videos"):
        return "labels are the entity_id of the annotations table, or nested in the column labels of the videos table"
    return ""


def _incomplete(source: TableFiles, names: Mapping[str, Sequence[str]]) -> list[str]:
    """A warning for each column that some files of the table have and others lack."""
    wanted = dict.fromkeys([*(column.name for column in source.columns), *source.own_columns])
    lacking = {name: [file for file in names if name not in names[file]] for name in wanted}
    return [
        f"the {source.table} table has the column {name} in {len(names) - len(without)} of {len(names)} files; it is "
        f"taken as empty in {_some(without)}"
        for name, without in lacking.items()
        if 0 < len(without) < len(names)
    ]


def _guessed(source: TableFiles, headers: Mapping[str, Header]) -> list[str]:
    """A warning for all files whose bytes are not UTF-8, where the config names no encoding."""
    found = [file for file, header in headers.items() if header.encoding == LATIN != source.encoding]
    text = (
        f"{_some(found)} of the {source.table} table: the bytes are not UTF-8, and are read as Windows-1252 ({LATIN}, "
        "which has the letters of Latin-1); if that is wrong, set tables.encoding"
    )
    return [text] if found else []


def _some(names: Sequence[str]) -> str:
    more = len(names) - SHOWN_FILES
    return ", ".join(names[:SHOWN_FILES]) + (f" and {more} more" if more > 0 else "")


def _listed(noun: str, names: Sequence[str]) -> str:
    return f"{noun}{'s' * (len(names) > 1)} {', '.join(names)}"
