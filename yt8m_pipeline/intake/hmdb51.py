"""HMDB51 (Kuehne et al., 2011): for each class and split a list CLASS_test_split1.txt of videos with 0, 1 or 2."""

import re
from collections.abc import Sequence

from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.intake.documents import Document
from yt8m_pipeline.intake.options import Options
from yt8m_pipeline.intake.source import Source
from yt8m_pipeline.intake.ucf101 import no_split, split_notes
from yt8m_pipeline.intake.understood import Label, Reading, Record

LIST = re.compile(r"(.+)_test_split(\d)\.txt\Z")
LINE = re.compile(r"(.+\.\w+) ([012])")
PARTITIONS = {"0": "", "1": Partition.TRAIN.value, "2": Partition.TEST.value}
"""split_readme.txt: 1 is the training set, 2 the testing set, and 0 is used for neither."""


def _recognizes(document: Document) -> bool:
    return LIST.match(document.base_name) is not None and LINE.fullmatch(document.first_line) is not None


def _read(documents: Sequence[Document], _: Sequence[Document], options: Options) -> Reading:
    splits = sorted({int(_class_and_split(item)[1]) for item in documents})
    split = options.split or 1
    if split not in splits:
        raise no_split(split, splits, documents)
    chosen = [item for item in documents if int(_class_and_split(item)[1]) == split]
    records = [_record(document, line) for document in chosen for line in document.lines]
    notes = split_notes(split, splits)
    unsplit = sum(not record.partition for record in records)
    if unsplit:
        notes.append(f"{unsplit} videos are marked 0, for neither train nor test: they have no partition")
    return Reading(SOURCE.kind, records, notes=notes)


def _class_and_split(document: Document) -> tuple[str, str]:
    found = LIST.match(document.base_name)
    return (found.group(1), found.group(2)) if found else ("", "")


def _record(document: Document, line: str) -> Record:
    found = LINE.fullmatch(line)
    if not found:
        document.refuse(f"a line is {line!r}, not FILM.avi and 0, 1 or 2", "give the list as it was published")
    label, _ = _class_and_split(document)
    names = (f"{label}/{found.group(1)}", found.group(1))
    return Record("", names, labels=(Label(label),), partition=PARTITIONS[found.group(2)])


SOURCE = Source("HMDB51 lists", LIST, _recognizes, _read)
