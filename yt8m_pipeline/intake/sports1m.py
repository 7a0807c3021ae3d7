"""Sports-1M (Karpathy et al., 2014): lists of YouTube addresses with the numbers of their classes, from labels.txt."""

import re
from collections.abc import Sequence

from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.intake.documents import Document
from yt8m_pipeline.intake.options import Options
from yt8m_pipeline.intake.source import Source, companion
from yt8m_pipeline.intake.understood import Entity, Label, Reading, Record, Unused

LIST = re.compile(r"(train|test)_partition\.txt\Z")
LINE = re.compile(r"https?://\S+[?&]v=([\w-]{11}) (\d+(?:,\d+)*)")


def _recognizes(document: Document) -> bool:
    return document.base_name.lower().endswith(".txt") and LINE.fullmatch(document.first_line) is not None


def _read(documents: Sequence[Document], others: Sequence[Document], _: Options) -> Reading:
    records: list[Record] = []
    unused: list[Unused] = []
    for document in documents:
        found = [(number, LINE.fullmatch(line)) for number, line in enumerate(document.lines, 1)]
        unused += [
            Unused("a line that is no URL and labels", f"{document.name}, line {n}") for n, hit in found if not hit
        ]
        records += [_record(hit.group(1), hit.group(2), document) for _, hit in found if hit]
    names = companion(others, "labels.txt")
    entities = [Entity(str(index), name) for index, name in enumerate(names.lines)] if names else []
    notes = [] if names else ["labels are numbers: give labels.txt too for their names"]
    return Reading(SOURCE.kind, records, entities, notes=notes, unused=unused)


def _record(identifier: str, labels: str, document: Document) -> Record:
    partition = ""
    if LIST.match(document.base_name):
        partition = (Partition.TRAIN if document.base_name.startswith("train") else Partition.TEST).value
    return Record(identifier, (identifier,), labels=tuple(map(Label, labels.split(","))), partition=partition)


SOURCE = Source("Sports-1M lists", LIST, _recognizes, _read)
