"""MSR-VTT (Xu et al., 2016): JSON files of videos, each in one of 20 categories, and of sentences about them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from yt8m_pipeline.intake.documents import Document
from yt8m_pipeline.intake.options import Options
from yt8m_pipeline.intake.source import Source, companion
from yt8m_pipeline.intake.understood import Entity, Label, Reading, Record, Unused
from yt8m_pipeline.intake.values import text

NAMES = re.compile(r"(.*videodatainfo.*|msr_?vtt.*)\.json\Z", re.IGNORECASE)
YOUTUBE = re.compile(r"[?&]v=([\w-]{11})")


def _recognizes(document: Document) -> bool:
    if not document.is_json or not document.first_line.startswith("{"):
        return False
    videos = document.json.get("videos") if isinstance(document.json, dict) else None
    return isinstance(videos, list) and bool(videos) and isinstance(videos[0], dict) and "video_id" in videos[0]


def _read(documents: Sequence[Document], others: Sequence[Document], _: Options) -> Reading:
    """Videos are cut out of YouTube videos already; those of one YouTube video are a group."""
    items = [item for document in documents for item in document.json["videos"]]
    videos = [item for item in items if isinstance(item, dict) and text(item.get("video_id"))]
    texts = (document.json.get("sentences") for document in documents)
    sentences = sum(len(items) for items in texts if isinstance(items, list))
    names = companion(others, "category.txt")
    entities = [_entity(line) for line in names.lines] if names else []
    notes = [f"the label of a video is its category; {sentences} sentences are not used"]
    notes += [] if names else ["categories are numbers: give category.txt too for their names"]
    unnamed = len(items) - len(videos)
    unused = [Unused("a video without an id", document.name) for document in documents[:1]] * unnamed
    return Reading(SOURCE.kind, [_record(video) for video in videos], entities, notes=notes, unused=unused)


def _entity(line: str) -> Entity:
    name, _, index = line.rpartition("\t")
    return Entity(index.strip(), name.strip())


def _record(video: Mapping[str, Any]) -> Record:
    identifier, category = text(video["video_id"]), text(video.get("category"))
    origin = YOUTUBE.search(text(video.get("url")))
    return Record(
        identifier,
        (identifier,),
        labels=(Label(category),) if category else (),
        partition=text(video.get("split")),
        group=origin.group(1) if origin else "",
    )


SOURCE = Source("MSR-VTT JSON", NAMES, _recognizes, _read)
