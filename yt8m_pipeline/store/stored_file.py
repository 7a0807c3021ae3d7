"""One file of the feature store, which holds the features of one video and shows any damage to itself.

The file is an uncompressed `.npz` that `np.load` opens, with the arrays `features`, `pts_seconds` and `header` (UTF-8
JSON as bytes). Its last 64 bytes are the comment of the zip archive and the seal of the file: the SHA-256 of all bytes
before them. The seal is checked before anything is parsed, so that damage to any byte is found and no damaged byte
reaches a parser. The header carries the number of the format (`formats`).
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from yt8m_pipeline import files
from yt8m_pipeline.data_model import MediaFile, StoredEntry
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.parsing import parse_json, parse_npz
from yt8m_pipeline.store.features import VideoFeatures
from yt8m_pipeline.store.formats import FORMAT, KEY, known_fields, require_readable

SEAL_BYTES = 64
"""The length of the seal: a SHA-256 in hexadecimal digits."""


class DamagedFile(DataError):
    """A stored file is not, to the byte, what was written. Its video must be extracted again."""

    WHAT = "A stored file is damaged"

    @classmethod
    def at(cls, uri: str, why: str) -> "DamagedFile":
        fix = "run `yt8m store check`, then the build again: the video is extracted anew"
        return cls(what=cls.WHAT, where=uri, why=why, fix=fix)


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a stored file: whose features it holds, of which feature space, and what they were made from.

    Attributes:
        video_id: The id of the video.
        space: The fingerprint of the feature space (`feature_space`) that the features belong to.
        source_uri: The place of the video's file.
        source_size: The size of that file in bytes.
        source_modified: The modification time or the version of that file, as the file system tells it; '' where it
            tells none.
        sha256: The SHA-256 of the features and presentation times (`digest`), hexadecimal.
        decoded_fraction: The share of the video's grid times whose frame is sound, 0 to 1.
        deviation_seconds: The largest distance of a presentation time from its grid time.
        transfer: The transfer function of a video of high dynamic range, "PQ" or "HLG"; '' for others, whose headers
            have no such field, and for videos that were stored by version 0.1.0.
        media: What the video's file is; None for videos that were stored by version 0.1.0, whose headers have no such
            field.
    """

    video_id: str
    space: str
    source_uri: str
    source_size: int
    source_modified: str
    sha256: str
    decoded_fraction: float
    deviation_seconds: float
    transfer: str = ""
    media: MediaFile | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return {name: value for name, value in asdict(self).items() if value or name not in ("transfer", "media")}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Header":
        """Reads what `to_json` has written.

        Raises:
            TypeError: if a field is missing, or no value of its kind.
            ValueError: if a value makes no sense.
        """
        header = known_fields(cls, values)
        return replace(header, media=known_fields(MediaFile, values["media"])) if header.media else header


@dataclass(frozen=True, slots=True)
class StoredFile:
    """Everything in one file of the store, after its checks."""

    header: Header
    video: VideoFeatures
    entry: StoredEntry


def seal_video(video: VideoFeatures, header: Header) -> bytes:
    """Makes the bytes of a stored file. The same arguments make the same bytes, because no clock stands in them."""
    arrays: dict[str, npt.NDArray[Any]] = {
        "header": np.frombuffer(json.dumps({KEY: FORMAT, **header.to_json()}).encode(), np.uint8),
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
    """Opens one file of features, of any feature space, and checks all of it.

    Raises:
        DamagedFile: if the file is not, to the byte, what was written.
        NewerFormatError: if a later version wrote the file.
        DataError: if the file is missing or cannot be read.
    """
    data = read_stored(uri)
    _check_seal(uri, data)
    try:
        header, video = _parse(uri, data)
        stored = StoredFile(header, video, brief(header, video, magnitude(video)))
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedFile.at(uri, f"it is sealed but is no feature file: {error}") from error
    return stored


def read_stored(uri: str) -> bytes:
    """Reads the bytes of any file of a store.

    Raises:
        DataError: if the file is missing or cannot be read.
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
    """The entry that stands for a stored video in the index and in Beam."""
    facts = (header.sha256, header.decoded_fraction, header.deviation_seconds, header.transfer, header.media)
    return StoredEntry(len(video.features), magnitude, *facts)


def magnitude(video: VideoFeatures) -> float:
    """The largest absolute value of the features. It is NaN or infinite if one of them is."""
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


def _parse(uri: str, data: bytes) -> tuple[Header, VideoFeatures]:
    arrays = parse_npz(data)
    values = dict(parse_json(arrays["header"].tobytes()))
    require_readable(uri, values)
    header = Header.from_json(values)
    return header, VideoFeatures(header.video_id, arrays["features"], arrays["pts_seconds"])
