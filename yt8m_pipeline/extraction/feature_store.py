"""The feature store: one immutable, self-checking file per video, computed once and kept.

A file is an uncompressed `.npz` that `np.load` opens: `features`, `pts_seconds` and `header` (UTF-8 JSON as bytes).
Its last 64 bytes, the archive's comment, are its seal: the SHA-256 of all bytes before them. The seal is checked before
anything is parsed, so damage anywhere is found, and damaged bytes never reach a parser.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import numpy.typing as npt

from yt8m_pipeline import files
from yt8m_pipeline.data_model import DropReason, VideoFeatures
from yt8m_pipeline.errors import DataError, VideoRejected

SUFFIX = ".npz"
SEAL_BYTES = 64


class DamagedFile(DataError):
    """A stored file is not what was written: extract the video again."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a stored file says of itself.

    Attributes:
        video_id: The video.
        space: The feature space (`feature_space`) that its numbers belong to.
        source_uri: Where the video's bytes were.
        source_size: How many bytes they were.
        source_modified: When or in which version, as the file system tells it; None where it does not.
        sha256: Of the features and presentation times alone, hexadecimal.
    """

    video_id: str
    space: str
    source_uri: str
    source_size: int
    source_modified: str | None
    sha256: str


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """One file of the store, in brief.

    Attributes:
        frames: Rows.
        dimensions: Columns.
        magnitude: The largest absolute value, as stored.
        sha256: Of the features and presentation times, hexadecimal: it changes when they do, and only then.
    """

    frames: int
    dimensions: int
    magnitude: float
    sha256: str


@dataclass(frozen=True, slots=True)
class Damaged:
    """A file is there, but it is not what was written."""

    reason: str


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A whole file of the store, checked."""

    header: Header
    video: VideoFeatures
    entry: StoredEntry


@dataclass(frozen=True, slots=True)
class FeatureStore:
    """The videos of one feature space, each in `root/space/<2 hex>/<escaped id>-<12 hex>.npz`.

    Attributes:
        root: A folder, local or in a bucket; several spaces may share it.
        space: The fingerprint (`feature_space`) of everything that changes the numbers.
    """

    root: str
    space: str

    @property
    def folder(self) -> str:
        return files.join(self.root, self.space)

    def path(self, video_id: str) -> str:
        """Where a video is stored. Any id is safe: it is escaped, cut, and told apart by its SHA-256."""
        digest = hashlib.sha256(video_id.encode()).hexdigest()
        return files.join(self.folder, digest[:2], f"{quote(video_id, safe='')[:100]}-{digest[:12]}{SUFFIX}")

    def write(
        self, video: VideoFeatures, source_uri: str, source_size: int, source_modified: str | None
    ) -> StoredEntry:
        """Stores a video, all or nothing. The same arguments make the same bytes.

        Raises:
            VideoRejected: if a feature is NaN or infinite (also where float16 overflowed).
            DataError: if the file cannot be written.
        """
        magnitude = _magnitude(video.features)
        if not np.isfinite(magnitude):
            raise VideoRejected(DropReason.NON_FINITE_FEATURES, f"the largest absolute feature is {magnitude}")
        sha256 = _digest(video)
        header = Header(video.video_id, self.space, source_uri, source_size, source_modified, sha256)
        files.write_bytes(self.path(video.video_id), _sealed(video, header))
        return _entry(video, magnitude, sha256)

    def read(self, video_id: str) -> VideoFeatures:
        """A video's features.

        Raises:
            DamagedFile: if the file is damaged or is another video's.
            DataError: if there is no such file, it cannot be read, or it belongs to another feature space.
        """
        return self._open(video_id).video

    def entry(self, video_id: str) -> StoredEntry | Damaged | None:
        """Checks a whole file; None where there is none.

        Raises:
            DataError: if the file cannot be read or belongs to another feature space.
        """
        if not files.exists(self.path(video_id)):
            return None
        try:
            return self._open(video_id).entry
        except DamagedFile as damage:
            return Damaged(damage.why)

    def ids(self) -> Iterator[str]:
        """The ids that have a file, sound or not, in no useful order; a damaged file whose name was cut is left out."""
        stored = (files.join(self.folder, name) for name in files.list_files(self.folder) if name.endswith(SUFFIX))
        return (video_id for uri in stored if (video_id := self._id_of(uri)) is not None)

    def _id_of(self, uri: str) -> str | None:
        """Names say the id, but for long ones, which are cut: there the header does."""
        escaped = uri.rpartition("/")[2].rpartition("-")[0]
        if self.path(unquote(escaped)) == uri:
            return unquote(escaped)
        try:
            video_id = open_stored(uri).header.video_id
        except DamagedFile:
            return None
        return video_id if self.path(video_id) == uri else None

    def _open(self, video_id: str) -> StoredFile:
        uri = self.path(video_id)
        stored = open_stored(uri)
        if stored.header.space != self.space:
            raise DataError(
                "A stored file belongs to another feature space",
                uri,
                f"it was written in space {stored.header.space}, this build is in space {self.space}",
                f"do not mix them: move the files of space {stored.header.space} out of {self.folder}",
            )
        if stored.header.video_id != video_id:
            raise _damaged(uri, f"it holds video {stored.header.video_id!r}, not {video_id!r}")
        return stored


def feature_space(description: Mapping[str, Any]) -> str:
    """The fingerprint of a feature space: 16 hexadecimal digits of a JSON-able description, whatever its key order."""
    canonical = json.dumps(description, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def open_store(root: str, description: Mapping[str, Any]) -> FeatureStore:
    """The store of a feature space. Its folder keeps the description in `space.json`, written once.

    Raises:
        DataError: if the folder describes another space, or cannot be written.
    """
    store = FeatureStore(root, feature_space(description))
    uri = files.join(store.folder, "space.json")
    wanted = json.dumps(description, sort_keys=True, indent=2, allow_nan=False) + "\n"
    if not files.exists(uri):
        files.write_bytes(uri, wanted.encode())
    found = files.read_bytes(uri).decode(errors="replace")
    if found != wanted:
        raise DataError(
            "A feature store's description does not fit its name",
            uri,
            f"it says\n{found}but space {store.space} is\n{wanted.rstrip()}",
            "restore the file, or use another store folder",
        )
    return store


def open_stored(uri: str) -> StoredFile:
    """Opens one file of a store, of whatever space, and checks all of it.

    Raises:
        DamagedFile: if it is not, to the byte, what was written.
        DataError: if it is not there or cannot be read.
    """
    data = _read(uri)
    _check_seal(uri, data)
    try:
        header, video = _parse(data)
        magnitude = _magnitude(video.features)
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise _damaged(uri, f"it is sealed but is no feature file: {error}") from error
    if not np.isfinite(magnitude):
        raise _damaged(uri, f"its largest absolute feature is {magnitude}")
    return StoredFile(header, video, _entry(video, magnitude, header.sha256))


def _read(uri: str) -> bytes:
    try:
        return files.read_bytes(uri)
    except OSError as error:
        raise DataError(
            "A stored file cannot be read", uri, str(error), "run the build again, or check the folder's permissions"
        ) from error


def _sealed(video: VideoFeatures, header: Header) -> bytes:
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


def _seal(body: bytes | memoryview) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()


def _check_seal(uri: str, data: bytes) -> None:
    if data[-SEAL_BYTES:] != _seal(memoryview(data)[:-SEAL_BYTES]):
        raise _damaged(uri, f"its {len(data)} bytes do not match the SHA-256 in their last {SEAL_BYTES}")


def _digest(video: VideoFeatures) -> str:
    digest = hashlib.sha256(f"{video.features.dtype.str} {video.features.shape}".encode())
    digest.update(np.ascontiguousarray(video.features).data)
    digest.update(np.ascontiguousarray(video.pts_seconds, np.float64).data)
    return digest.hexdigest()


def _parse(data: bytes) -> tuple[Header, VideoFeatures]:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        header = Header(**json.loads(arrays["header"].tobytes()))
        return header, VideoFeatures(header.video_id, arrays["features"], arrays["pts_seconds"])


def _entry(video: VideoFeatures, magnitude: float, sha256: str) -> StoredEntry:
    frames, dimensions = video.features.shape
    return StoredEntry(frames, dimensions, magnitude, sha256)


def _magnitude(features: npt.NDArray[np.floating]) -> float:
    return max(abs(float(features.min())), abs(float(features.max())))


def _damaged(uri: str, why: str) -> DamagedFile:
    return DamagedFile("A stored file is damaged", uri, why, "run the build again: the video is extracted anew")
