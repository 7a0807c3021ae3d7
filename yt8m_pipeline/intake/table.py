"""Tables of one's own, and Hugging Face's metadata files: a column of paths or ids, and what the others are."""

import difflib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from yt8m_pipeline import files
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.intake.documents import Document
from yt8m_pipeline.intake.options import Options
from yt8m_pipeline.intake.source import NEVER, Source
from yt8m_pipeline.intake.splits import partition_of
from yt8m_pipeline.intake.understood import Label, Reading, Record, Unused
from yt8m_pipeline.intake.values import identifier, number, text
from yt8m_pipeline.intake.video_files import EMPTY
from yt8m_pipeline.parsing import parse_json
from yt8m_pipeline.tables.text import LATIN

GUESSES: Mapping[str, tuple[str, ...]] = {
    "path": (
        "uri", "path", "file_name", "filename", "file", "file_path", "filepath", "video_path", "video_uri",
        "video_file", "video_file_name", "video", "url", "clip",
    ),
    "id": ("video_id", "id", "youtube_id", "clip_id", "vid"),
    "label": (
        "label", "labels", "class", "classes", "category", "categories", "tag", "tags", "entity_id", "action",
        "actions", "genre", "genres", "target",
    ),
    "split": ("split", "subset", "partition", "set", "fold"),
    "group": ("group", "group_id", "channel", "channel_id", "source", "source_id"),
    "duration": ("duration_seconds", "duration", "length_seconds", "length", "seconds"),
    "views": ("view_count", "views", "viewcount", "num_views"),
    "score": ("score", "confidence", "probability"),
    "start": ("start_seconds", "start", "start_time", "time_start"),
    "end": ("end_seconds", "end", "end_time", "time_end"),
}  # fmt: skip
"""The names that columns of each role have, the likeliest first; capitals and signs make no difference."""

YOUTUBE = re.compile(r"https?://\S*(?:[?&]v=|youtu\.be/)([\w-]{11})")
NAMES_OF_LABELS = ("entity_id", "label", "name")
"""The keys under which a nested label has its text."""
FACTS_OF_LABELS = {"score": "score", "start": "start_seconds", "end": "end_seconds"}
"""What a label says beside its text, by the roles of columns: the keys of a nested label, and the fields of `Label`."""


def _recognizes(document: Document) -> bool:
    return document.is_table


def is_metadata(document: Document) -> bool:
    """Whether a table is one of Hugging Face's: its videos are in a column of this name."""
    return document.is_table and bool({"file_name", "video_file_name"} & set(document.columns))


def _read_table(documents: Sequence[Document], _: Sequence[Document], options: Options) -> Reading:
    return _read(TABLE.kind, documents, options)


def _read_metadata(documents: Sequence[Document], _: Sequence[Document], options: Options) -> Reading:
    """Hugging Face's VideoFolder: paths are relative to the metadata file, and folders may say the split."""
    return _read(HUGGING_FACE.kind, documents, options)


def _read(kind: str, documents: Sequence[Document], options: Options) -> Reading:
    records: list[Record] = []
    unused: list[Unused] = []
    columns: dict[str, str] = {}
    unused += [Unused(EMPTY, document.name) for document in documents if not document.columns]
    for document in filter(lambda item: item.columns, documents):
        roles = _roles(document, options)
        columns |= {role: ", ".join(names) for role, names in roles.items()}
        for row_number, row in document.rows(document.columns):
            where = f"{document.name}, row {row_number}"
            record = row if isinstance(row, str) else _record(row, roles, document)
            if isinstance(record, str):
                unused.append(Unused(record, where))
            else:
                records.append(record)
                unused += [Unused(why, where) for why in _faults(row, roles) if isinstance(row, dict)]
    notes = [_unused_columns(documents, columns), _guessed_encodings(documents)] if records else []
    return Reading(kind, records, columns=columns, notes=list(filter(None, notes)), unused=unused,
                   is_labelled="label" in columns)  # fmt: skip


def _roles(document: Document, options: Options) -> dict[str, tuple[str, ...]]:
    """The columns of each role: those that the user names, and else guesses.

    Raises:
        UsageError: if a named column is not there, or no column has paths or ids.
    """
    for role, names in options.columns.items():
        for name in names:
            _require_column(document, role, name)
    roles = {role: options.columns.get(role) or _guess(document.columns, guesses) for role, guesses in GUESSES.items()}
    if not roles["label"]:
        taken = {name for names in roles.values() for name in names}
        roles["label"] = _indicators(document, [name for name in document.columns if name not in taken])
    if not roles["path"] and not roles["id"]:
        raise UsageError(
            what="A table names no videos",
            where=document.uri,
            why=f"none of its columns is known to hold paths or ids: {', '.join(document.columns)}",
            fix="name the column with --path-column or --id-column; a table without a line of names needs one",
        )
    _require_unique(document, [name for names in roles.values() for name in names])
    return {role: names for role, names in roles.items() if names}


def _require_unique(document: Document, names: Sequence[str]) -> None:
    twice = [name for name in names if document.columns.count(name) > 1]
    if twice:
        raise UsageError(
            what="A table has a column twice",
            where=document.uri,
            why=f"which {twice[0]} counts is unclear",
            fix="rename one of them",
        )


def _require_column(document: Document, role: str, name: str) -> None:
    if name not in document.columns:
        near = difflib.get_close_matches(name, document.columns, n=1, cutoff=0.5)
        raise UsageError(
            what="A table lacks a column that is named",
            where=document.uri,
            why=f"--{role}-column is {name}, its columns are {', '.join(document.columns)}",
            fix=f"did you mean {near[0]}?" if near else "name one of its columns",
        )


def _guess(columns: Sequence[str], guesses: Sequence[str]) -> tuple[str, ...]:
    plain = {re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_"): name for name in reversed(columns)}
    return tuple(plain[guess] for guess in guesses if guess in plain)[:1]


def _indicators(document: Document, columns: Sequence[str]) -> tuple[str, ...]:
    """The columns that hold 0 or 1 in every row: one for each label, if there are at least two."""
    left = set(columns)
    for _, row in document.rows(columns) if columns else ():
        left -= {name for name in left if isinstance(row, dict) and _indicator(row[name]) is None}
        if not left:
            return ()
    return tuple(name for name in columns if name in left) if len(left) > 1 else ()


def _indicator(value: Any) -> bool | None:
    """Whether a video has a label, by the cell of its column; None where the cell does not say."""
    if isinstance(value, bool):
        return value
    return {"0": False, "1": True, "": False}.get(identifier(value))


def _record(row: Mapping[str, Any], roles: Mapping[str, tuple[str, ...]], document: Document) -> Record | str:
    cells = {role: row[names[0]] for role, names in roles.items()}
    path, own_id = text(cells.get("path")), identifier(cells.get("id"))
    if not path and not own_id:
        return "a row without a path or an id, or one that is not UTF-8"
    address = YOUTUBE.match(path)
    if address:
        path, own_id = address.group(1), own_id or address.group(1)
    elif path.startswith(("http://", "https://")):
        return "a web address: a build opens local files and objects in buckets"
    return Record(
        own_id,
        tuple(filter(None, (path, own_id))),
        "" if address or not path else _place(path, document),
        tuple(_labels(row, roles, cells)),
        identifier(cells.get("split")) or _partition_of_place(document, path),
        identifier(cells.get("group")),
        _amount(cells.get("duration")),
        _whole(cells.get("views")),
    )


def _place(path: str, document: Document) -> str:
    if "://" in path:
        return path
    place = path if path.startswith("/") else files.join(document.folder, path)
    return place if "://" in place else re.sub(r"/(\./|/)+", "/", place)


def _partition_of_place(document: Document, path: str) -> str:
    """The partition that a table is called by (train.csv), or a folder of a metadata file or of a video in it."""
    folders = [*document.name.split("/")[:-1], *path.split("/")[:-1]] if is_metadata(document) else []
    return next(filter(None, map(partition_of, [document.base_name.partition(".")[0], *folders])), "")


def _whole(value: Any) -> int | None:
    found = _amount(value)
    return int(found) if found is not None and found.is_integer() else None


def _amount(value: Any) -> float | None:
    """A number that is not negative."""
    found = number(value)
    return found if found is None or found >= 0 else None


_READERS = {"duration": _amount, "views": _whole, **dict.fromkeys(FACTS_OF_LABELS, number)}
_MEANT = {"duration": "number from 0", "views": "whole number from 0"}


def _labels(row: Mapping[str, Any], roles: Mapping[str, tuple[str, ...]], cells: Mapping[str, Any]) -> Iterator[Label]:
    names = roles.get("label", ())
    whole = Label("", *(number(cells.get(role)) for role in FACTS_OF_LABELS))
    if len(names) > 1 and all(_indicator(row[name]) is not None for name in names):
        yield from (whole._replace(entity_id=text(name)) for name in names if _indicator(row[name]))
        return
    for name in names:
        for item in _items(row[name]):
            label = _label(item, whole)
            if label.entity_id:
                yield label


def _label(item: Any, whole: Label) -> Label:
    """An item of a list of labels. What a nested one does not say of itself, the row says of all its labels."""
    if not isinstance(item, dict):
        return whole._replace(entity_id=identifier(item))
    facts = {field: number(item.get(field)) for field in FACTS_OF_LABELS.values()}
    return whole._replace(
        entity_id=next(filter(None, (identifier(item.get(key)) for key in NAMES_OF_LABELS)), ""),
        **{field: value for field, value in facts.items() if value is not None},
    )


def _items(value: Any) -> Sequence[Any]:
    """The labels in a cell: a list, a text that is one in JSON, or one divided by | or ;.

    >>> _items("dog|park"), _items('["a;b", "c"]'), _items("New York")
    (['dog', 'park'], ['a;b', 'c'], ['New York'])
    """
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            items = parse_json(value)
        except ValueError:
            items = None
        if isinstance(items, list):
            return items
    return re.split(r"[|;]", value) if isinstance(value, str) else [value]


def _faults(row: dict[str, Any] | str, roles: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """What is in a row that cannot be used, while the rest of it can."""
    cells = row if isinstance(row, dict) else {}
    for role, read in _READERS.items():
        for name in roles.get(role, ()):
            if read(cells.get(name)) is None and text(cells.get(name)):
                yield f"a cell of {name} that is no {_MEANT.get(role, 'number')}"
    for item in itertools.chain.from_iterable(_items(cells.get(name)) for name in roles.get("label", ())):
        if isinstance(item, dict):
            yield from _faults_of_label(item)


def _faults_of_label(item: Mapping[str, Any]) -> Iterator[str]:
    if not _label(item, Label("")).entity_id:
        yield f"a label without a text; it would be {' or '.join(NAMES_OF_LABELS)} of the label"
    for field in FACTS_OF_LABELS.values():
        if number(item.get(field)) is None and text(item.get(field)):
            yield f"the {field} of a label that is no number"


def _unused_columns(documents: Sequence[Document], columns: Mapping[str, str]) -> str:
    used = {name for names in columns.values() for name in names.split(", ")}
    others = dict.fromkeys(name for document in documents for name in document.columns if name not in used)
    free = {guess: role for role, guesses in GUESSES.items() if role not in columns for guess in guesses}
    shown = [name + _meant(name, free) for name in others]
    return f"columns that are not used: {', '.join(shown)}" if shown else ""


def _guessed_encodings(documents: Sequence[Document]) -> str:
    names = ", ".join(document.name for document in documents if document.columns and document.is_guessed)
    meant = (
        f"the bytes are not UTF-8, and are read as Windows-1252 ({LATIN}); if that is wrong, name it with --encoding"
    )
    return f"{names}: {meant}" if names else ""


def _meant(name: str, free: Mapping[str, str]) -> str:
    """The role that a column with a misspelt name may have, as the option that gives it."""
    near = difflib.get_close_matches(name.lower(), free, n=1, cutoff=0.8)
    return f" (is {near[0]} meant? --{free[near[0]]}-column {name})" if near else ""


TABLE = Source("table", NEVER, _recognizes, _read_table)
HUGGING_FACE = Source(
    "Hugging Face metadata", re.compile(r"metadata\.(csv|jsonl|parquet)\Z"), is_metadata, _read_metadata
)
