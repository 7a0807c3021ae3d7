"""Joining what a source says of videos with the videos that are there."""

import fnmatch
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from yt8m_pipeline import files
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.intake.naming import compiled
from yt8m_pipeline.intake.understood import Record
from yt8m_pipeline.intake.video_files import VideoFile, stem
from yt8m_pipeline.places import without_video_ending

ID = "{id}"


class VideoFileIndex:
    """The videos of a source by their paths and names, or by the ids that a pattern finds in their names.

    Args:
        videos: The videos.
        ids: The ids that the source names.
        pattern: `--match`; None finds videos by the names of each record.
    """

    def __init__(self, video_files: Sequence[VideoFile], ids: Iterable[str], pattern: str | None) -> None:
        self._by_path: dict[str, list[VideoFile]] = defaultdict(list)
        self._by_end: dict[str, list[VideoFile]] = defaultdict(list)
        self._by_id: dict[str, list[VideoFile]] | None = None
        for video_file in video_files:
            self._by_path[video_file.name].append(video_file)
            self._by_path[video_file.uri].append(video_file)
            for end in _ends(_normal(video_file.name)):
                self._by_end[end].append(video_file)
        if pattern is not None:
            self._by_id = defaultdict(list)
            ids_in = _ids_in(pattern, frozenset(ids))
            for video_file in video_files:
                for identifier in ids_in(video_file.name):
                    self._by_id[identifier].append(video_file)

    def find(self, record: Record) -> VideoFile | None:
        """The video of a record, or None where there is none.

        Raises:
            UsageError: if several different files may be it.
        """
        placed = _at_place(record.place)
        if placed:
            return placed
        if self._by_id is not None and record.identifier:
            return _only(self._by_id.get(record.identifier, []), record)
        found = (self._named(name) for name in record.names)
        return _only(next(filter(None, found), []), record)

    def _named(self, name: str) -> list[VideoFile]:
        """The videos that a path or name may mean: the one of this path, or those whose paths end like it."""
        ends = map(_normal, (name, without_video_ending(name), stem(name)))
        return next(filter(None, (self._by_path.get(name), *map(self._by_end.get, ends))), [])


def _normal(name: str) -> str:
    """A name with its accents as one sign each: macOS may keep them apart, and lists do not (Unicode, UAX #15, NFC)."""
    return unicodedata.normalize("NFC", name)


def _ends(name: str) -> Iterator[str]:
    """What a path ends with, from a folder or the file on, with and without the ending of a video."""
    parts = name.split("/")
    for start in range(len(parts)):
        end = "/".join(parts[start:])
        yield end
        yield without_video_ending(end)


def _at_place(place: str) -> VideoFile | None:
    """The video at the place that the source itself gives. What is in a bucket is believed to be there."""
    if not place:
        return None
    is_there = "://" in place or os.path.isfile(place)
    return VideoFile(place, place.rpartition("/")[2]) if is_there else None


def _only(video_files: Sequence[VideoFile], record: Record) -> VideoFile | None:
    """The one video among several, of which links to it may be some.

    Raises:
        UsageError: if they are different files.
    """
    if len(video_files) > 1 and len({_real(video_file.uri) for video_file in video_files}) > 1:
        shown = ", ".join(video_file.uri for video_file in video_files[:2])
        raise UsageError(
            what="Two files may be the video of one id",
            where=record.shown,
            why=f"{shown}{' and more' * (len(video_files) > 2)} have its name",
            fix="remove or rename one, give the folder of one alone, or say how ids and names are joined with --match",
        )
    return video_files[0] if video_files else None


def _real(uri: str) -> str:
    return os.path.realpath(uri) if files.is_local(uri) else uri


def _ids_in(pattern: str, ids: frozenset[str]) -> "_Glob | _Regex":
    if ID in pattern:
        return _Glob(pattern, ids)
    return _Regex(pattern)


class _Regex:
    """The ids that a regular expression finds in names: its first group."""

    def __init__(self, text: str) -> None:
        self._pattern = compiled(text, "--match", f"--match '{ID}*.mp4', or --match '^([^_]+)_'")

    def __call__(self, name: str) -> Iterator[str]:
        found = self._pattern.search(name.rpartition("/")[2])
        if found and found.group(1):
            yield found.group(1)


class _Glob:
    """The known ids that stand in names where a pattern has {id}; of several, the longest."""

    def __init__(self, text: str, ids: frozenset[str]) -> None:
        before, _, after = text.partition(ID)
        self._before, self._after = (re.compile(fnmatch.translate(part)) for part in (before, after))
        self._is_path, self._ids = "/" in text, ids
        self._lengths = sorted({len(identifier) for identifier in ids}, reverse=True)

    def __call__(self, name: str) -> Iterator[str]:
        text = name if self._is_path else name.rpartition("/")[2]
        starts = [start for start in range(len(text)) if self._before.match(text[:start])]
        for length in self._lengths:
            for start in starts:
                end = start + length
                if text[start:end] in self._ids and end <= len(text) and self._after.match(text[end:]):
                    yield text[start:end]
                    return
