"""From sources to the tables' rows: which kind they are, what they say, and which of the videos are there.

>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as folder:
...     for name in ("dog/a.mp4", "dog/b.mp4", "cat/c.mp4"):
...         Path(folder, name).parent.mkdir(exist_ok=True)
...         _ = Path(folder, name).write_text(name)
...     understood = understand([folder])
>>> understood.kind, [video.video_id for video in understood.videos], sorted(understood.classes.items())
('folder of class folders', ['cat_c', 'dog_a', 'dog_b'], [('cat', 1), ('dog', 2)])
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.intake.matching import VideoFileIndex
from yt8m_pipeline.intake.naming import group_of, group_pattern
from yt8m_pipeline.intake.options import Options
from yt8m_pipeline.intake.recognition import read_found
from yt8m_pipeline.intake.remarks import remarks
from yt8m_pipeline.intake.splits import partition_of
from yt8m_pipeline.intake.understood import Entity, Lacking, Reading, Record, Understood, Video
from yt8m_pipeline.intake.video_files import Found, VideoFile, find
from yt8m_pipeline.tables.video_files import identify

Matched = tuple[Record, VideoFile]


def understand(sources: Sequence[str], options: Options | None = None, *, without: str = "") -> Understood:
    """Reads sources and joins what they say with the videos that are there.

    Args:
        sources: Folders of videos, local or in a bucket, tables, and published annotation files.
        options: How they are understood.
        without: A folder that is left out, since it is where the tables go.

    Raises:
        UsageError: if there is no video, a source cannot be read, or it contradicts itself.
    """
    options = options or Options()
    found = find(sources, without=without, encoding=options.encoding)
    reading, unread = read_found(found, options)
    matched, lacking = _match(reading, found.video_files, options)
    if not matched:
        raise _no_video_files(sources, reading, found)
    merged = _merge(matched)
    videos, notes = _videos(merged, options, reading.is_labelled)
    lacking += [
        Lacking("labels", record.identifier, video_file.uri) for record, video_file in merged if not record.labels
    ]
    lacking += _unnamed(found.video_files, matched)
    if reading.is_labelled and not videos:
        raise _no_labels(sources, reading, len(matched))
    entities = _entities(reading.entities, videos)
    unused = [*found.unused, *unread, *reading.unused]
    lacking = sorted(lacking) if reading.is_labelled else []
    understood = Understood(reading.kind, videos, entities, reading.columns, [], unused, lacking)
    return replace(understood, notes=[*reading.notes, *notes, *remarks(understood)])


def _match(reading: Reading, video_files: Sequence[VideoFile], options: Options) -> tuple[list[Matched], list[Lacking]]:
    """The records with their videos, and those without one."""
    index = VideoFileIndex(video_files, (record.identifier for record in reading.records), options.match)
    matched: list[Matched] = []
    lacking: dict[Lacking, None] = {}
    for record in reading.records:
        video_file = index.find(record)
        if video_file:
            matched.append((record, video_file))
        else:
            lacking[Lacking("file", record.identifier, record.place or record.names[0])] = None
    return matched, list(lacking)


def _no_video_files(sources: Sequence[str], reading: Reading, found: Found) -> UsageError:
    if not reading.records:
        return UsageError(
            what="A source has no rows that can be used",
            where=", ".join(sources),
            why="; ".join(f"{item.name}: {item.why}" for item in reading.unused[:3]) or "it is empty",
            fix="give a file with rows",
        )
    named = reading.records[0].names[0]
    there = (
        f"the {len(found.video_files)} videos are called like {found.video_files[0].name}"
        if found.video_files
        else "there is no video"
    )
    return UsageError(
        what="No video of the annotations is there",
        where=", ".join(sources),
        why=f"{len(reading.records)} are named, such as {named}, and {there}",
        fix="give the folder of the videos too" + ", or --match '{id}*.mp4'" * bool(found.video_files),
    )


def _no_labels(sources: Sequence[str], reading: Reading, video_files: int) -> UsageError:
    return UsageError(
        what="No video has a label",
        where=", ".join(sources),
        why=f"the {video_files} videos that {reading.kind} names have none",
        fix="give annotations with labels, such as those of train, or name the column with --label-column",
    )


def _merge(matched: Iterable[Matched]) -> list[Matched]:
    """One record for each video and id, with the labels of all its rows.

    Raises:
        UsageError: if an id has two videos, or a video two partitions.
    """
    merged: dict[tuple[str, str], Matched] = {}
    video_files: dict[str, VideoFile] = {}
    for record, video_file in matched:
        key = record.identifier, video_file.uri
        _require_one_file(
            record,
            video_files.setdefault(record.identifier, video_file) if record.identifier else video_file,
            video_file,
        )
        before = merged.get(key)
        merged[key] = (_both(before[0], record), video_file) if before else (record, video_file)
    return list(merged.values())


def _require_one_file(record: Record, first: VideoFile, video_file: VideoFile) -> None:
    if first.uri != video_file.uri:
        raise UsageError(
            what="An id has two videos",
            where=record.identifier,
            why=f"{first.uri} and {video_file.uri}",
            fix="give each video an id of its own, or leave the column of ids out with --path-column alone",
        )


def _both(first: Record, second: Record) -> Record:
    if first.partition and second.partition and first.partition != second.partition:
        raise UsageError(
            what="A video is in two partitions",
            where=first.shown,
            why=f"its rows say {first.partition} and {second.partition}",
            fix="correct or remove one of its rows",
        )
    return replace(
        first,
        labels=tuple(dict.fromkeys(first.labels + second.labels)),
        partition=first.partition or second.partition,
        group=first.group or second.group,
        duration_seconds=second.duration_seconds if first.duration_seconds is None else first.duration_seconds,
        view_count=second.view_count if first.view_count is None else first.view_count,
    )


def _videos(merged: Sequence[Matched], options: Options, is_labelled: bool) -> tuple[list[Video], list[str]]:
    """The rows of the videos table, sorted by id, and what is to be said of ids and groups."""
    rows = [(record, video_file) for record, video_file in merged if record.labels or not is_labelled]
    names = {video_file.uri: video_file.name for record, video_file in rows if not record.identifier}
    if len(set(names.values())) < len(names):
        names = {uri: uri for uri in names}
    ids, colliding = identify(names.values())
    own = {record.identifier for record, _ in rows}
    pattern = group_pattern([video_file.name for _, video_file in rows], options.group_by)
    videos = [
        Video(
            record.identifier or ids[names[video_file.uri]],
            video_file.uri,
            record.labels,
            partition_of(record.partition) or record.partition,
            _group(record, video_file, pattern, is_asked=options.group_by is not None),
            record.duration_seconds,
            record.view_count,
        )
        for record, video_file in rows
    ]
    notes = [f"{len(colliding)} ids end in digits of a hash, since paths that differ only in signs share them"]
    if own & set(ids.values()):
        raise UsageError(
            what="Ids are not unique",
            where=min(own & set(ids.values())),
            why="it is the id of one video, and made of the path of another that has none",
            fix="give every video an id",
        )
    return sorted(videos, key=lambda video: video.video_id), notes if colliding else []


def _group(record: Record, video_file: VideoFile, pattern: re.Pattern[str] | None, *, is_asked: bool) -> str:
    """The group of a video: by the pattern that the user asks for, else by the source, else by a known pattern."""
    found = group_of(video_file.name, pattern)
    return (found or record.group) if is_asked else (record.group or found)


def _unnamed(video_files: Sequence[VideoFile], matched: Iterable[Matched]) -> list[Lacking]:
    """The videos that no record names."""
    named = {video_file.uri for _, video_file in matched}
    return [Lacking("labels", "", video_file.uri) for video_file in video_files if video_file.uri not in named]


def _entities(entities: Iterable[Entity], videos: Sequence[Video]) -> list[Entity]:
    """What is known of the labels that some video has. A label of which nothing is known has itself as its name."""
    known = {entity.entity_id: entity for entity in entities}
    if not known:
        return []
    labels = sorted({label.entity_id for video in videos for label in video.labels})
    return [known.get(label, Entity(label, label)) for label in labels]
