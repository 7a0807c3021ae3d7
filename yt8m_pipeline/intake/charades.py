"""Charades (Sigurdsson et al., 2016): CSV files with a column of actions, "c092 11.90 21.20;c147 0.00 12.60"."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from yt8m_pipeline.intake.documents import Document
from yt8m_pipeline.intake.options import Options
from yt8m_pipeline.intake.source import Source, companion
from yt8m_pipeline.intake.understood import Entity, Label, Reading, Record, Unused
from yt8m_pipeline.intake.values import number, text

COLUMNS = ("id", "actions", "length")
SPLIT = re.compile(r"_(train|test)\.csv\Z", re.IGNORECASE)


def _recognizes(document: Document) -> bool:
    return document.is_table and {*COLUMNS, "script"} <= set(document.columns)


def _read(documents: Sequence[Document], others: Sequence[Document], _: Options) -> Reading:
    unused: list[Unused] = []
    records = []
    for document in documents:
        split = SPLIT.search(document.base_name)
        for row_number, row in document.rows(COLUMNS):
            record = row if isinstance(row, str) else _record(row, split.group(1) if split else "")
            if isinstance(record, str):
                unused.append(Unused(record, f"{document.name}, row {row_number}"))
            else:
                records.append(record)
    classes = companion(others, "Charades_v1_classes.txt", "CharadesEgo_v1_classes.txt")
    entities = [_entity(line) for line in classes.lines] if classes else []
    notes = [] if classes else ["labels are c000 to c156: give Charades_v1_classes.txt too for their names"]
    return Reading(SOURCE.kind, records, entities, notes=notes, unused=unused)


def _entity(line: str) -> Entity:
    identifier, _, name = line.partition(" ")
    return Entity(identifier, name or identifier)


def _record(row: Mapping[str, Any], split: str) -> Record | str:
    identifier = text(row["id"])
    if not identifier:
        return "a row without an id"
    actions = [action.split() for action in text(row["actions"]).split(";")]
    labels = [Label(parts[0], None, number(parts[1]), number(parts[2])) for parts in actions if len(parts) == 3]
    return Record(identifier, (identifier,), "", tuple(labels), split, duration_seconds=number(row["length"]))


SOURCE = Source("Charades CSV", re.compile(r"Charades.*\.csv\Z"), _recognizes, _read)
