"""Kinetics-400, -600 and -700 (Kay et al., 2017): CSV files of label, youtube_id, time_start, time_end and split."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from yt8m_pipeline.intake.documents import Document
from yt8m_pipeline.intake.options import Options
from yt8m_pipeline.intake.source import Source
from yt8m_pipeline.intake.understood import Label, Reading, Record, Unused
from yt8m_pipeline.intake.values import number, text

COLUMNS = ("label", "youtube_id", "time_start", "time_end", "split")


def _recognizes(document: Document) -> bool:
    return document.is_table and {"youtube_id", "time_start", "time_end"} <= set(document.columns)


def _read(documents: Sequence[Document], _: Sequence[Document], __: Options) -> Reading:
    """Clips are cut out already, so that their labels hold for all of them. Clips of one YouTube video are a group."""
    unused: list[Unused] = []
    records = []
    for document in documents:
        for row_number, row in document.rows(COLUMNS):
            record = row if isinstance(row, str) else _record(row, text(row["split"]) or _split_of(document))
            if isinstance(record, str):
                unused.append(Unused(record, f"{document.name}, row {row_number}"))
            else:
                records.append(record)
    return Reading(SOURCE.kind, records, unused=unused)


def _split_of(document: Document) -> str:
    """The split that the name of a file says."""
    found = re.search("train|val|test", document.base_name, re.IGNORECASE)
    return found.group() if found else ""


def _record(row: Mapping[str, Any], split: str) -> Record | str:
    video, start, end = text(row["youtube_id"]), number(row["time_start"]), number(row["time_end"])
    if not video or start is None or end is None:
        return "a row without an id or its times"
    identifier = f"{video}_{int(start):06d}_{int(end):06d}"
    label = text(row["label"])
    labels = (Label(label),) if label else ()
    return Record(identifier, (identifier,), labels=labels, partition=split, group=video)


SOURCE = Source("Kinetics CSV", re.compile(r".*(train|val|test).*\.csv\Z", re.IGNORECASE), _recognizes, _read)
