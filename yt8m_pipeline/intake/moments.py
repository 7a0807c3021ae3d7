"""Moments in Time (Monfort et al., 2019): CSV files without a header: video, label, and who agrees and disagrees."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.intake.documents import Document
from yt8m_pipeline.intake.options import Options
from yt8m_pipeline.intake.source import Source
from yt8m_pipeline.intake.understood import Label, Reading, Record, Unused
from yt8m_pipeline.intake.values import number, text

COLUMNS = ("filename", "label", "positive", "negative")
FIRST = re.compile(r'"?[^,"]+/[^,"]+\.mp4"?,[^,]+,\d+,\d+')
SPLITS = {"trainingSet.csv": ("training", Partition.TRAIN), "validationSet.csv": ("validation", Partition.VALIDATE)}
"""The folder of the videos of each file, and their partition."""


def _recognizes(document: Document) -> bool:
    return document.base_name.lower().endswith(".csv") and FIRST.fullmatch(document.first_line) is not None


def _read(documents: Sequence[Document], _: Sequence[Document], __: Options) -> Reading:
    """The score is the share of the raters that agree. A video that has several rows has several labels."""
    unused: list[Unused] = []
    records = []
    for document in documents:
        split = SPLITS.get(document.base_name)
        for row_number, row in document.rows_without_header(COLUMNS):
            record = row if isinstance(row, str) else _record(row, split)
            if isinstance(record, str):
                unused.append(Unused(record, f"{document.name}, row {row_number}"))
            else:
                records.append(record)
    notes = ["the score of an annotation is the share of its raters who agree"]
    return Reading(SOURCE.kind, records, unused=unused, notes=notes)


def _record(row: Mapping[str, Any], split: tuple[str, Partition] | None) -> Record | str:
    name, label = text(row["filename"]), text(row["label"])
    positive, negative = number(row["positive"]), number(row["negative"])
    if not name or not label:
        return "a row without a video or a label"
    raters = (positive or 0) + (negative or 0)
    score = positive / raters if positive is not None and raters else None
    labels = (Label(label, score),)
    return (
        Record("", (f"{split[0]}/{name}", name), "", labels, split[1].value)
        if split
        else Record("", (name,), "", labels)
    )


SOURCE = Source("Moments in Time CSV", re.compile(r"(training|validation)Set\.csv\Z"), _recognizes, _read)
