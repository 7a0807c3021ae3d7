"""UCF-101 (Soomro et al., 2012): trainlist01.txt and testlist01.txt, and two more pairs, beside classInd.txt."""

import re
from collections.abc import Sequence

from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.intake.documents import Document
from yt8m_pipeline.intake.options import Options
from yt8m_pipeline.intake.source import Source
from yt8m_pipeline.intake.understood import Label, Reading, Record

LIST = re.compile(r"(train|test)list(\d\d)\.txt\Z")
LINE = re.compile(r"(([^/]+)/(v_.+_g\d+_c\d+)\.\w+)(?: \d+)?")


def _recognizes(document: Document) -> bool:
    return LIST.match(document.base_name) is not None and LINE.fullmatch(document.first_line) is not None


def _read(documents: Sequence[Document], _: Sequence[Document], options: Options) -> Reading:
    """The class is the folder that a line names. The number in train lists, of classInd.txt, says the same."""
    splits = sorted({int(_split_of(item)) for item in documents})
    split = options.split or 1
    if split not in splits:
        raise no_split(split, splits, documents)
    chosen = [item for item in documents if int(_split_of(item)) == split]
    records = [_record(document, line) for document in chosen for line in document.lines]
    return Reading(SOURCE.kind, records, notes=split_notes(split, splits))


def no_split(wanted: int, splits: Sequence[int], documents: Sequence[Document]) -> UsageError:
    """The error for an official split that is not there."""
    return UsageError(
        what="There is no such split",
        where=f"--split {wanted}",
        why=f"there are lists of {', '.join(map(str, splits))} beside {documents[0].uri}",
        fix=f"give --split {splits[0]}",
    )


def split_notes(taken: int, splits: Sequence[int]) -> list[str]:
    """What the user should know of several official splits."""
    others = [str(split) for split in splits if split != taken]
    return [f"split {taken} is taken; --split takes another ({', '.join(others)})"] if others else []


def _split_of(document: Document) -> str:
    found = LIST.match(document.base_name)
    return found.group(2) if found else ""


def _record(document: Document, line: str) -> Record:
    found = LINE.fullmatch(line)
    if not found:
        document.refuse(f"a line is {line!r}, not CLASS/v_CLASS_gNN_cNN.avi", "give the list as it was published")
    is_train = document.base_name.startswith("train")
    partition = Partition.TRAIN if is_train else Partition.TEST
    path, label, identifier = found.groups()
    return Record(identifier, (path,), labels=(Label(label),), partition=partition.value)


SOURCE = Source("UCF-101 lists", LIST, _recognizes, _read)
