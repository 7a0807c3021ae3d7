"""Files of MediaPipe's protos: one proto per file, or TFRecord files of them."""

import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO
from urllib.parse import quote

import pyarrow as pa

from yt8m_pipeline import files
from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.dataset.tfrecord import FRAMING_BYTES, is_tfrecord, read_records
from yt8m_pipeline.errors import UsageError

MAX_PROTO_BYTES = (1 << 30) - 1
"""The largest proto that MediaPipe writes (PackMediaSequenceCalculator)."""
MAX_NAME = 200
"""Characters of the longest id that names a file as it is."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a proto stands: a file, or a record of a TFRecord file by its number and its first byte."""

    uri: str
    record: int | None = None
    offset: int = 0

    def __str__(self) -> str:
        return self.uri if self.record is None else f"{self.uri}, record {self.record}"

    @property
    def name(self) -> str:
        """What a video is called that has no id: its file's name, and the record's number."""
        stem = PurePosixPath(self.uri).stem
        return stem if self.record is None else f"{stem}-{self.record:05d}"


def find_files(inputs: Iterable[str]) -> list[str]:
    """Every file named, and those in every folder named.

    Raises:
        UsageError: there is none of a name, or the place cannot be looked at.
    """
    return [found for uri in inputs for found in _files_of(uri)]


def _files_of(uri: str) -> list[str]:
    why = "there is no such file, and no file in a folder of this name"
    try:
        found = [uri] if files.exists(uri) else [files.join(uri, name) for name in files.list_files(uri)]
    except (OSError, pa.ArrowException) as error:
        found, why = [], " ".join(str(error).split())
    if not found:
        raise UsageError(what="There is nothing to convert", where=uri, why=why, fix="give files or folders of protos")
    return found


def read_protos(uri: str) -> Iterator[tuple[Place, bytes]]:
    """Every proto of a file and its place, in order; what the file is, its first bytes tell.

    Raises:
        VideoRejected: it is larger than a proto.
        DataError: a record is damaged; those after it cannot be found.
        OSError: the file cannot be read.
    """
    with files.open_read(uri) as stream:
        if is_tfrecord(stream):
            offset = 0
            for number, data in enumerate(read_records(stream, uri)):
                yield Place(uri, number, offset), data
                offset += len(data) + FRAMING_BYTES
        else:
            yield Place(uri), _whole(stream)


def read_proto(place: Place) -> bytes:
    """The proto at a place, or no bytes where there is none any more; errors as `read_protos`."""
    with files.open_read(place.uri) as stream:
        if place.record is None:
            return _whole(stream)
        stream.seek(place.offset)
        return next(read_records(stream, place.uri), b"")


def _whole(stream: IO[bytes]) -> bytes:
    size = stream.seek(0, io.SEEK_END)
    if size > MAX_PROTO_BYTES:
        raise VideoRejected(DropReason.OUT_OF_RANGE, f"{size} bytes, a proto has at most {MAX_PROTO_BYTES}")
    stream.seek(0)
    return stream.read()


def proto_name(video_id: str) -> str:
    """The file of a video: its id, escaped; a long one is cut and told apart by its SHA-256."""
    escaped = quote(video_id, safe="")
    if len(escaped) > MAX_NAME:
        escaped = f"{escaped[:MAX_NAME]}-{hashlib.sha256(video_id.encode()).hexdigest()[:12]}"
    return f"{escaped}.pb"
