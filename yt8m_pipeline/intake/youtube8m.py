"""The CSV of YouTube-8M's own feature extractor: no header, `path,52;3;10`, and the vocabulary.csv of the dataset."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from yt8m_pipeline import files
from yt8m_pipeline.intake.documents import Document
from yt8m_pipeline.intake.options import Options
from yt8m_pipeline.intake.source import NEVER, Source, companion
from yt8m_pipeline.intake.understood import Entity, Label, Reading, Record, Unused
from yt8m_pipeline.intake.values import text

COLUMNS = ("path", "labels")
FIRST = re.compile(r'("[^"]+"|[^,"]+),"?\d+(;\d+)*"?')
VERTICALS = ("Vertical1", "Vertical2", "Vertical3")
VOCABULARY = ("Index", "KnowledgeGraphId", "Name", "WikiUrl", "WikiDescription", *VERTICALS)


def _recognizes(document: Document) -> bool:
    return document.base_name.lower().endswith(".csv") and FIRST.fullmatch(document.first_line) is not None


def _read(documents: Sequence[Document], others: Sequence[Document], _: Options) -> Reading:
    names = companion(others, "vocabulary.csv")
    entities = _vocabulary(names) if names else {}
    records: list[Record] = []
    unused: list[Unused] = []
    for document in documents:
        for number, row in document.rows_without_header(COLUMNS):
            record = row if isinstance(row, str) else _record(row, entities, document)
            if isinstance(record, str):
                unused.append(Unused(record, f"{document.name}, row {number}"))
            else:
                records.append(record)
    notes = [] if names else ["labels are numbers: give vocabulary.csv too for their Knowledge Graph ids and names"]
    return Reading(SOURCE.kind, records, list(entities.values()), notes=notes, unused=unused)


def _vocabulary(document: Document) -> dict[str, Entity]:
    """The entities by their indices."""
    if "Index" not in document.columns or "KnowledgeGraphId" not in document.columns:
        document.refuse(f"its columns are {', '.join(document.columns)}", "give the vocabulary.csv of YouTube-8M")
    rows = [row for _, row in document.rows(VOCABULARY) if not isinstance(row, str)]
    return {
        text(row["Index"]): Entity(
            text(row["KnowledgeGraphId"]) or text(row["Index"]),
            text(row["Name"]),
            text(row["WikiDescription"]),
            text(row["WikiUrl"]),
            tuple(filter(None, (text(row[vertical]) for vertical in VERTICALS))),
        )
        for row in rows
    }


def _record(row: Mapping[str, Any], entities: Mapping[str, Entity], document: Document) -> Record | str:
    path, indices = text(row["path"]), text(row["labels"]).split(";")
    if not path or not all(index.strip().isdecimal() for index in indices):
        return "a row that is no path and numbers"
    ids = [entities[index].entity_id if index in entities else index for index in map(str.strip, indices)]
    place = path if "://" in path or path.startswith("/") else files.join(document.folder, path)
    return Record("", (path,), place, tuple(map(Label, ids)))


SOURCE = Source("YouTube-8M extractor's CSV", NEVER, _recognizes, _read)
