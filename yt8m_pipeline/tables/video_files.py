"""Videos that are given by their files and folders, without a table: their ids, and rows as a videos table has them."""

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pyarrow as pa

from yt8m_pipeline import files
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.places import has_video_ending, without_video_ending
from yt8m_pipeline.tables.reading import schema


class GivenVideo(NamedTuple):
    """A video that is given by its file.

    Attributes:
        video_id: Its id (`identify`), made of its path in the folder that was given, or of the name of the file.
        uri: Its place: an absolute path, or a URI.
    """

    video_id: str
    uri: str


class Listed(NamedTuple):
    """The files of a folder.

    Attributes:
        videos: The videos, by their paths in the folder.
        hidden: The number of files whose name, or that of a folder above them, begins with a dot.
        others: The number of files whose name has no ending of a video.
    """

    videos: list[str]
    hidden: int
    others: int


def list_videos(folder: str) -> Listed | None:
    """Lists the videos of a folder and of those below it; None of what is no folder, or has no file.

    Raises:
        UsageError: if there are files, and none is a video.
    """
    names = [] if files.exists(folder) else files.list_files(folder)
    if not names:
        return None
    shown = [name for name in names if not any(part.startswith(".") for part in name.split("/"))]
    videos = [name for name in shown if has_video_ending(name)]
    if not videos:
        raise UsageError(
            what="The folder has no video",
            where=folder,
            why=f"of its {len(names)} files, {len(names) - len(shown)} are hidden, and no other has a name like .mp4",
            fix="give another folder, or name the files themselves",
        )
    return Listed(videos, len(names) - len(shown), len(shown) - len(videos))


def find_given_videos(sources: Iterable[str]) -> list[GivenVideo]:
    """Finds the videos that files and folders name, sorted by id.

    Args:
        sources: Files, whatever their endings, and folders; local or in buckets.

    Raises:
        UsageError: if a source is not there, a folder has no video, or two folders have a video of the same path.
    """
    places: dict[str, str] = {}
    for name, uri in sorted({named for source in sources for named in _named(source)}):
        if places.setdefault(name, uri) != uri:
            raise UsageError(
                what="Two videos have the same id",
                where=name,
                why=f"it is the path of {places[name]} and of {uri}",
                fix="give the folder that both are in, or a videos table with an id for each",
            )
    ids, _ = identify(places)
    return sorted(GivenVideo(ids[name], uri) for name, uri in places.items())


def identify(names: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    r"""Makes an id of each path: without its ending if that is unique, and with _ for what is no letter, digit, . or -.

    Args:
        names: Different paths relative to a source.

    Returns:
        The id of each, and the paths whose ids would have been the same. They end in 8 digits of the path's SHA-256,
        so that no id depends on the order of the paths.

    >>> identify(["dog/a b.mp4", "dog/c.mp4", "dog/c.mkv", "-x\n.mp4"])[0]
    {'dog/a b.mp4': 'dog_a_b', 'dog/c.mp4': 'dog_c.mp4', 'dog/c.mkv': 'dog_c.mkv', '-x\n.mp4': '_x_'}
    """
    paths = list(names)
    short = {path: _safe(without_video_ending(path)) for path in paths}
    shared = Counter(short.values())
    long = {path: name if shared[name] == 1 else _safe(path) for path, name in short.items()}
    shared = Counter(long.values())
    colliding = [path for path in paths if shared[long[path]] > 1]
    return long | {path: f"{long[path]}-{_digest(path)}" for path in colliding}, colliding


def _safe(path: str) -> str:
    name = "".join(sign if sign.isalnum() or sign in "._-" else "_" for sign in unicodedata.normalize("NFC", path))
    return "_" + name[1:] if name[:1] in (".", "-", "") else name


def _digest(path: str) -> str:
    return hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def video_file_rows(videos: Sequence[GivenVideo]) -> pa.Table:
    """The rows of a table of these videos, each with its file as provenance: schema `schema("videos")`."""
    rows = [
        {"video_id": video_id, "uri": uri, "_file": uri, "_row": number}
        for number, (video_id, uri) in enumerate(videos, 1)
    ]
    return pa.Table.from_pylist(rows, schema=schema("videos"))


def _named(source: str) -> list[tuple[str, str]]:
    """The paths in the source, and the places, of the videos of one source."""
    place = files.resolve(source)[1] if files.is_local(source) else source.rstrip("/")
    listed = list_videos(place)
    if listed:
        return [(name, files.join(place, name)) for name in listed.videos]
    if files.exists(place):
        return [(place.rpartition("/")[2], place)]
    is_empty = files.is_local(place) and os.path.isdir(place)
    raise UsageError(
        what="There is no video",
        where=source,
        why="the folder is empty" if is_empty else "there is no such file or folder",
        fix="give a video, a folder of videos, or a videos table",
    )
