"""ActivityNet (Heilbron et al., 2015): one JSON file whose database has a subset, a duration and segments by id."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from yt8m_pipeline.intake.documents import Document
from yt8m_pipeline.intake.options import Options
from yt8m_pipeline.intake.source import Source
from yt8m_pipeline.intake.understood import Label, Reading, Record, Unused
from yt8m_pipeline.intake.values import number, text


def _recognizes(document: Document) -> bool:
    if not document.is_json or not document.first_line.startswith("{"):
        return False
    value = document.json
    return isinstance(value, dict) and isinstance(value.get("database"), dict)


def _read(documents: Sequence[Document], _: Sequence[Document], __: Options) -> Reading:
    unused: list[Unused] = []
    records = []
    for document in documents:
        for key, facts in document.json["database"].items():
            identifier = text(key)
            if identifier and isinstance(facts, dict):
                records.append(_record(identifier, facts, unused))
            else:
                unused.append(Unused("an id that is no text, or without facts", identifier))
    return Reading(SOURCE.kind, records, unused=unused)


def _record(identifier: str, facts: Mapping[str, Any], unused: list[Unused]) -> Record:
    """The videos of the official crawler are v_ID.mp4."""
    annotations = facts.get("annotations")
    labels = [_label(item) for item in annotations if isinstance(item, dict)] if isinstance(annotations, list) else []
    if not all(labels):
        unused.append(Unused("an annotation without a label", identifier))
    return Record(
        identifier,
        (f"v_{identifier}", identifier),
        labels=tuple(filter(None, labels)),
        partition=text(facts.get("subset")),
        duration_seconds=number(facts.get("duration")),
    )


def _label(annotation: Mapping[str, Any]) -> Label | None:
    label, segment = text(annotation.get("label")), annotation.get("segment")
    start, end = segment if isinstance(segment, list) and len(segment) == 2 else (None, None)
    return Label(label, start_seconds=number(start), end_seconds=number(end)) if label else None


SOURCE = Source("ActivityNet JSON", re.compile(r"activity_?net.*\.json\Z", re.IGNORECASE), _recognizes, _read)
