"""One file of the feature store: the features of one video, self-checking.

It is an uncompressed `.npz` that `np.load` opens: `features`, `pts_seconds` and `header` (UTF-8 JSON as bytes). Its
last 64 bytes, the archive's comment, are its seal: the SHA-256 of all bytes before them. The seal is checked before
anything is parsed, so damage anywhere is found, and damaged bytes never reach a parser.
"""

import hashlib
import io
import json
import zipfile
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from yt8m_pipeline import files
from yt8m_pipeline.data_model import StoredEntry
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.store.features import VideoFeatures

SEAL_BYTES = 64


class DamagedFile(DataError):
    """A stored file is not what was written: the video must be extracted again."""

    WHAT = "A stored file is damaged"

    @classmethod
    def at(cls, uri: str, why: str) -> "DamagedFile":
        fix = "run `yt8m store check`, then the build again: the video is extracted anew"
        return cls(what=cls.WHAT, where=uri, why=why, fix=fix)


@dataclass(frozen=True, slots=True)
class Header:
    """What a stored file says of itself.

    Attributes:
        video_id: The video.
        space: The feature space (`feature_space`) that its numbers belong to.
        source_uri: Where the video's bytes were.
        source_size: How many bytes they were.
        source_modified: When or in which version, as the file system tells it; '' where it does not.
        sha256: Of the features and presentation times alone, hexadecimal.
        decoded_fraction: The share of the video's grid times whose frame is sound.
        deviation_seconds: The largest distance of a presentation time from its grid time.
    """

    video_id: str
    space: str
    source_uri: str
    source_size: int
    source_modified: str
    sha256: str
    decoded_fraction: float
    deviation_seconds: float


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A whole file of the store, checked."""

    header: Header
    video: VideoFeatures
    entry: StoredEntry


def seal_video(video: VideoFeatures, header: Header) -> bytes:
    """The bytes of a stored file; the same arguments make the same bytes."""
    arrays: dict[str, npt.NDArray[Any]] = {
        "header": np.frombuffer(json.dumps(asdict(header)).encode(), np.uint8),
        "pts_seconds": np.ascontiguousarray(video.pts_seconds, np.float64),
        "features": np.ascontiguousarray(video.features),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.comment = bytes(SEAL_BYTES)
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)
    body = buffer.getvalue()[:-SEAL_BYTES]
    return body + _seal(body)


def open_stored(uri: str) -> StoredFile:
    """Opens one file of a store, of whatever space, and checks all of it.

    Raises:
        DamagedFile: if it is not, to the byte, what was written.
        DataError: if it is not there or cannot be read.
    """
    data = read_stored(uri)
    _check_seal(uri, data)
    try:
        header, video = _parse(data)
        stored = StoredFile(header, video, brief(header, video, magnitude(video)))
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise DamagedFile.at(uri, f"it is sealed but is no feature file: {error}") from error
    return stored


def read_stored(uri: str) -> bytes:
    """The bytes of any file of a store.

    Raises:
        DataError: if it is not there or cannot be read.
    """
    try:
        return files.read_bytes(uri)
    except OSError as error:
        raise DataError(
            what="A stored file cannot be read",
            where=uri,
            why=str(error),
            fix="run the build again, or check the folder's permissions",
        ) from error


def brief(header: Header, video: VideoFeatures, magnitude: float) -> StoredEntry:
    """What the store has of the video, in brief."""
    return StoredEntry(len(video.features), magnitude, header.sha256, header.decoded_fraction, header.deviation_seconds)


def magnitude(video: VideoFeatures) -> float:
    """The largest absolute value of the features; NaN or infinite where one of them is."""
    return max(abs(float(video.features.min())), abs(float(video.features.max())))


def digest(video: VideoFeatures) -> str:
    """The SHA-256 of the features and presentation times, hexadecimal."""
    sha256 = hashlib.sha256(f"{video.features.dtype.str} {video.features.shape}".encode())
    sha256.update(np.ascontiguousarray(video.features).data)
    sha256.update(np.ascontiguousarray(video.pts_seconds, np.float64).data)
    return sha256.hexdigest()


def _seal(body: bytes | memoryview) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()


def _check_seal(uri: str, data: bytes) -> None:
    if data[-SEAL_BYTES:] != _seal(memoryview(data)[:-SEAL_BYTES]):
        raise DamagedFile.at(uri, f"its {len(data)} bytes do not match the SHA-256 in their last {SEAL_BYTES}")


def _parse(data: bytes) -> tuple[Header, VideoFeatures]:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        header = Header(**json.loads(arrays["header"].tobytes()))
        return header, VideoFeatures(header.video_id, arrays["features"], arrays["pts_seconds"])
