"""Thumbnails of videos, kept beside the features: one JPEG file for each video, with its pictures side by side.

They belong to no feature space. A video's are at `STORE/thumbnails/<2 hex>/<escaped id>-<12 hex>.jpg`, and any program
shows them. A comment in the file (JPEG's segment COM, ISO/IEC 10918-1 B.2.4.5) says of which state of which film they
are, and what their digest and the number of their format (`formats`) is; thumbnails of a film that has changed since
count for nothing. They may be lost: `yt8m thumbnails` makes them again.

>>> Thumbnails("features").path("guitar")
'features/thumbnails/d0/guitar-d081f5e40298.jpg'
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from yt8m_pipeline import files
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.files import FileState
from yt8m_pipeline.parsing import parse_json
from yt8m_pipeline.store.failures import Source
from yt8m_pipeline.store.feature_store import SHELVES, place, warn_once
from yt8m_pipeline.store.formats import FORMAT, KEY, require_readable

FOLDER = "thumbnails"
"""The folder of all thumbnails in the folder of a store."""

SUFFIX = ".jpg"
"""The ending of the name of a file of thumbnails."""

START, COMMENT = b"\xff\xd8", b"\xff\xfe"
"""A JPEG file begins with the first; the second begins a comment, whose length in two bytes, with these, follows."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """The thumbnails of a video.

    Attributes:
        count: How many pictures of equal width stand side by side.
        source: The digest of the state of the film that they were made of.
        jpeg: The whole file.
    """

    count: int
    source: str
    jpeg: bytes


class ThumbnailFile(NamedTuple):
    """A file in the folder of thumbnails: its shelf, its name there, and its size and modification time."""

    shelf: str
    name: str
    state: FileState


@dataclass(frozen=True, slots=True)
class Thumbnails:
    """The thumbnails of a store.

    Attributes:
        root: The folder of the store, local or in a bucket.
    """

    root: str

    def path(self, video_id: str) -> str:
        """The path of a video's thumbnails. Any id is safe, as in `FeatureStore.path`."""
        return self.uri(*thumbnail_place(video_id))

    def uri(self, shelf: str, name: str) -> str:
        """The path of a file, by its shelf and its name there."""
        return files.join(self.root, FOLDER, shelf, name)

    def write(self, video_id: str, source: Source, count: int, jpeg: bytes) -> None:
        """Keeps the pictures of a video. Where that fails, the video is used without them.

        Args:
            video_id: The video.
            source: Its film, as it was before it was decoded.
            count: How many pictures there are.
            jpeg: They, side by side, as a JPEG file without a comment of ours.
        """
        try:
            files.write_bytes(self.path(video_id), _sealed(jpeg, count, source_digest(source)), durable=False)
        except DataError as error:
            warn_once(f"thumbnails cannot be kept in a feature store: {self.root}: {error.why}")

    def read(self, video_id: str) -> Pictures | None:
        """Reads the pictures of a video; None if there are none, or none that can be read.

        Raises:
            NewerFormatError: if a later version wrote them.
        """
        return self.open(*thumbnail_place(video_id))

    def open(self, shelf: str, name: str) -> Pictures | None:
        """As `read`, by the shelf of a file and its name there."""
        uri = self.uri(shelf, name)
        try:
            return _opened(uri, files.read_bytes(uri))
        except (OSError, DataError):
            return None

    def has(self, video_id: str, source: Source, count: int) -> bool:
        """Whether there are so many sound pictures of a video, made of its film in this state."""
        found = self.read(video_id)
        return found is not None and (found.source, found.count) == (source_digest(source), count)

    def files(self) -> Iterator[ThumbnailFile]:
        """Yields every file, whatever is in it."""
        for shelf in SHELVES:
            for name, state in files.list_states(files.join(self.root, FOLDER, shelf)).items():
                yield ThumbnailFile(shelf, name, state)


def thumbnail_place(video_id: str) -> tuple[str, str]:
    """The shelf of a video's thumbnails, and the name of their file there."""
    shelf, name = place(video_id)
    return shelf, name.rpartition(".")[0] + SUFFIX


def source_digest(source: Source) -> str:
    """What names a state of a film, without telling where it is: 32 hexadecimal digits."""
    told = json.dumps([source.uri, source.size, source.modified])
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def _sealed(jpeg: bytes, count: int, source: str) -> bytes:
    if not jpeg.startswith(START):
        raise ValueError("these bytes are no JPEG file")
    told = {KEY: FORMAT, "pictures": count, "source": source, "sha256": hashlib.sha256(jpeg).hexdigest()}
    comment = json.dumps({"yt8m": told}, sort_keys=True).encode()
    return START + COMMENT + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]


def _opened(uri: str, data: bytes) -> Pictures | None:
    """The pictures in a file, if they are those that were written."""
    begin = len(START) + len(COMMENT)
    end = begin + int.from_bytes(data[begin : begin + 2], "big")
    try:
        told = parse_json(data[begin + 2 : end])["yt8m"]
        if not data.startswith(START + COMMENT) or hashlib.sha256(START + data[end:]).hexdigest() != told["sha256"]:
            return None
        require_readable(uri, told)
        count, source = int(told["pictures"]), str(told["source"])
    except (KeyError, TypeError, ValueError):
        return None
    return Pictures(count, source, data) if count > 0 else None
