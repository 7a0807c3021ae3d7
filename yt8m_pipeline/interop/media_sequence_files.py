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
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.interop.media_sequence import MediaSequence, is_media_sequence, parse_media_sequence

MAX_PROTO_BYTES = (1 << 30) - 1
"""The size of the largest proto that MediaPipe writes (mediapipe/calculators/tensorflow/
pack_media_sequence_calculator.cc refuses larger ones)."""
MAX_NAME = 200
"""The length of the longest escaped id that names a file unchanged: file systems allow names of 255 bytes."""


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a proto: a whole file, or a record of a TFRecord file, by its number and the offset of its bytes."""

    uri: str
    record: int | None = None
    offset: int = 0

    def __str__(self) -> str:
        return self.uri if self.record is None else f"{self.uri}, record {self.record}"

    @property
    def name(self) -> str:
        """The id that is given to a video without one: its file's name, and the record's number."""
        stem = PurePosixPath(self.uri).stem
        return stem if self.record is None else f"{stem}-{self.record:05d}"


def find_files(inputs: Iterable[str]) -> list[str]:
    """Lists the files among the inputs, and all files in the folders among them.

    Raises:
        UsageError: an input is neither, or its place cannot be looked at.
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
    """Yields every proto of a file with its place, in order.

    A file is one proto, or a TFRecord file of protos: its first bytes tell which, not its name.

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


def first_proto(uri: str) -> MediaSequence | VideoRejected | None:
    """The first MediaSequence of a file, whatever the file's name; why it cannot be used; or None if it has none.

    A file is looked at whole only if it begins as a SequenceExample, with its first or second field.
    """
    with files.open_read(uri) as stream:
        try:
            if is_tfrecord(stream):
                data = next(read_records(stream, uri))
            else:
                data = _whole(stream) if stream.read(1) in (b"\x0a", b"\x12") else b""
            return parse_media_sequence(data) if is_media_sequence(data) else None
        except VideoRejected as rejection:
            return rejection
        except DataError:
            return None


def read_proto(place: Place) -> bytes:
    """Reads the proto at a place, b"" if there is none any more; the errors are those of `read_protos`."""
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
    """The name of a video's file: its escaped id. A long id is cut, and its SHA-256 is appended to tell it apart."""
    escaped = quote(video_id, safe="")
    if len(escaped) > MAX_NAME:
        escaped = f"{escaped[:MAX_NAME]}-{hashlib.sha256(video_id.encode()).hexdigest()[:12]}"
    return f"{escaped}.pb"
