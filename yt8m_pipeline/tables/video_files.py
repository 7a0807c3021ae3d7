"""Videos that are given by their files and folders, without a table: their ids, and rows as a videos table has them."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pyarrow as pa

from yt8m_pipeline import files
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.places import has_video_ending
from yt8m_pipeline.tables.reading import schema


class VideoFile(NamedTuple):
    """A video that is given by its file.

    Attributes:
        video_id: Its id: the path in the folder that was given, or the name of the file, without the ending.
        uri: Its place: an absolute path, or a URI.
    """

    video_id: str
    uri: str


def find_videos(sources: Iterable[str]) -> list[VideoFile]:
    """Finds the videos that files and folders name, sorted by id.

    Folders are searched with all folders in them, for names with the ending of a video; names that begin with a dot are
    left out. An ending stays in the id where ids would be the same without it, as those of `a.mp4` and `a.mkv`.

    Args:
        sources: Files, whatever their endings, and folders; local or in buckets.

    Raises:
        UsageError: if a source is not there, a folder has no video, or two files have the same id.
    """
    found = sorted({named for source in sources for named in _named(source)}, key=lambda item: item.uri)
    short = Counter(_stem(item.video_id) for item in found)
    named = [
        item._replace(video_id=_stem(item.video_id)) if short[_stem(item.video_id)] == 1 else item for item in found
    ]
    places: dict[str, str] = {}
    for video_id, uri in named:
        if places.setdefault(video_id, uri) != uri:
            raise UsageError(
                what="Two videos have the same id",
                where=video_id,
                why=f"it is the id of {places[video_id]} and of {uri}",
                fix="give the folder that both are in, or a videos table with an id for each",
            )
    return sorted(named)


def video_file_rows(videos: Sequence[VideoFile]) -> pa.Table:
    """The rows of a table of these videos, each with its file as provenance: schema `schema("videos")`."""
    rows = [
        {"video_id": video_id, "uri": uri, "_file": uri, "_row": number}
        for number, (video_id, uri) in enumerate(videos, 1)
    ]
    return pa.Table.from_pylist(rows, schema=schema("videos"))


def _named(source: str) -> list[VideoFile]:
    """The videos of one source, each with an id that has its ending still."""
    place = files.resolve(source)[1] if files.is_local(source) else source.rstrip("/")
    if files.exists(place):
        return [VideoFile(place.rpartition("/")[2], place)]
    listed = files.list_files(place)
    found = [VideoFile(name, files.join(place, name)) for name in listed if _is_video(name)]
    if not found:
        why = (
            f"none of its {len(listed)} files has the ending of a video"
            if listed
            else "there is no such file or folder"
        )
        if not listed and files.is_local(place) and os.path.isdir(place):
            why = "the folder is empty"
        raise UsageError(
            what="There is no video", where=source, why=why, fix="give a video, a folder of videos, or a videos table"
        )
    return found


def _is_video(name: str) -> bool:
    is_hidden = any(part.startswith(".") for part in name.split("/"))
    return not is_hidden and has_video_ending(name)


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]
