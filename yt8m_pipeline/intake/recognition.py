"""Which kind of source it is: the table of all kinds, and the choice among them."""

from collections.abc import Sequence

from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.intake import (
    activitynet,
    charades,
    class_folders,
    hmdb51,
    kinetics,
    moments,
    msr_vtt,
    sports1m,
    table,
    ucf101,
    youtube8m,
)
from yt8m_pipeline.intake.documents import Document
from yt8m_pipeline.intake.options import Options
from yt8m_pipeline.intake.source import Source
from yt8m_pipeline.intake.understood import Reading, Unused
from yt8m_pipeline.intake.video_files import Found

SOURCES: tuple[Source, ...] = (
    activitynet.SOURCE,
    msr_vtt.SOURCE,
    ucf101.SOURCE,
    hmdb51.SOURCE,
    sports1m.SOURCE,
    moments.SOURCE,
    youtube8m.SOURCE,
    kinetics.SOURCE,
    charades.SOURCE,
    table.HUGGING_FACE,
    table.TABLE,
)
"""The kinds of annotation files, in the order in which they are tried: the most particular first."""

COMPANIONS = frozenset(
    {
        "Charades_v1_classes.txt",
        "CharadesEgo_v1_classes.txt",
        "category.txt",
        "classInd.txt",
        "labels.txt",
        "moments_categories.txt",
        "vocabulary.csv",
    }
)
"""Files that say what classes are called. They are no source by themselves."""


def read_found(found: Found, options: Options) -> tuple[Reading, list[Unused]]:
    """Reads what was found as the first kind of source that recognizes a document of it, or as folders of videos.

    Returns:
        What it says, and the documents that are no part of it.

    Raises:
        UsageError: if there is nothing that is known, an annotation file cannot be read, or an option has no use.
    """
    reading, unread = _read(found, options)
    _require_use(options, reading)
    return reading, unread


def _read(found: Found, options: Options) -> tuple[Reading, list[Unused]]:
    documents = [item for item in found.documents if item.base_name not in COMPANIONS]
    for source in SOURCES:
        own = source.of(documents)
        if own:
            read = {id(item) for item in own}
            others = [item for item in found.documents if id(item) not in read]
            return source.read(own, others, options), _unread(others)
    given = [item for item in documents if item.is_given]
    if given:
        given[0].refuse("no kind of annotations is known that looks like it", "see intake/README.md for the kinds")
    if not found.video_files:
        raise UsageError(
            what="There are no videos",
            where="the sources",
            why="no file has the ending of a video that can be read",
            fix="give the folder of the videos"
            + (f", or name a table itself, such as {found.documents[0].uri}" if found.documents else ""),
        )
    return class_folders.read(found.video_files), _unread(found.documents)


def _require_use(options: Options, reading: Reading) -> None:
    """Refuses an option that this kind of source has no use for."""
    has_use = {
        "--split": options.split is None or reading.kind in (ucf101.SOURCE.kind, hmdb51.SOURCE.kind),
        "--match": options.match is None or any(record.identifier for record in reading.records),
        "--ROLE-column": not options.columns or reading.kind in (table.TABLE.kind, table.HUGGING_FACE.kind),
    }
    useless = [option for option, is_used in has_use.items() if not is_used]
    if useless and reading.records:
        raise UsageError(
            what="An option has no use for this source",
            where=", ".join(useless),
            why=f"the source is understood as: {reading.kind}",
            fix="leave it out; if the source is something else, intake/README.md says how it is recognized",
        )


def _unread(documents: Sequence[Document]) -> list[Unused]:
    return [
        Unused("no part of this source (a table is used if it is given by name)", item.name)
        for item in documents
        if item.base_name not in COMPANIONS
    ]
