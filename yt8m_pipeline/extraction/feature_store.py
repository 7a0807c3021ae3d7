"""The feature store: one immutable, self-checking file per video, computed once and kept.

A file is an uncompressed `.npz` that `np.load` opens: `features`, `pts_seconds` and `header` (UTF-8 JSON as bytes).
Its last 64 bytes, the archive's comment, are its seal: the SHA-256 of all bytes before them. The seal is checked before
anything is parsed, so damage anywhere is found, and damaged bytes never reach a parser.

A video that failed has a small JSON file in its place (`Failure`).
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import numpy.typing as npt

from yt8m_pipeline import files
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.data_model import DropReason, Float64Array, StoredEntry, VideoFeatures
from yt8m_pipeline.errors import DataError, VideoRejected
from yt8m_pipeline.extraction.failures import Failure, Source, conditions

SUFFIX = ".npz"
FAILURE_SUFFIX = ".failed.json"
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

    def failure_path(self, video_id: str) -> str:
        """Where it is kept that a video failed."""
        return self.path(video_id).removesuffix(SUFFIX) + FAILURE_SUFFIX

    def write(self, video: VideoFeatures, source: Source, decoded_fraction: float, rate: Fraction) -> StoredEntry:
        """Stores a video, all or nothing, and forgets that it failed. The same arguments make the same bytes.

        Args:
            video: Its features.
            source: Its file, as it was before it was decoded.
            decoded_fraction: The share of its grid times whose frame is sound.
            rate: Grid times per second.

        Raises:
            VideoRejected: if a feature is NaN or infinite (also where float16 overflowed).
            DataError: if the file cannot be written.
        """
        magnitude = _magnitude(video.features)
        if not np.isfinite(magnitude):
            raise VideoRejected(DropReason.NON_FINITE_FEATURES, f"the largest absolute feature is {magnitude}")
        origin = (source.uri, source.size, source.modified)
        deviation_seconds = largest_deviation_seconds(video.pts_seconds, rate)
        header = Header(video.video_id, self.space, *origin, _digest(video), decoded_fraction, deviation_seconds)
        files.write_bytes(self.path(video.video_id), _sealed(video, header))
        files.delete(self.failure_path(video.video_id))
        return _entry(header, video, magnitude)

    def write_failure(self, video_id: str, source: Source, decoding: Decoding, rejection: VideoRejected) -> None:
        """Keeps why a video could not be used, in place of what was kept before; what is stored of it stays.

        Raises:
            DataError: if the file cannot be written.
        """
        why = (rejection.reason, rejection.detail, rejection.decoded_fraction)
        failure = Failure(video_id, self.space, source, conditions(decoding), *why)
        files.write_bytes(self.failure_path(video_id), failure.to_bytes())

    def failure(self, video_id: str) -> Failure | None:
        """Why a video could not be used when it was last tried; None where nothing, or nothing sound, is kept."""
        uri = self.failure_path(video_id)
        if not files.exists(uri):
            return None
        try:
            failure = open_failure(uri)
        except DamagedFile:
            return None
        return failure if (failure.video_id, failure.space) == (video_id, self.space) else None

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
        entry = _entry(header, video, _magnitude(video.features))
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise _damaged(uri, f"it is sealed but is no feature file: {error}") from error
    return StoredFile(header, video, entry)


def open_failure(uri: str) -> Failure:
    """Opens one file of a store that keeps a failure.

    Raises:
        DamagedFile: if it is not what was written.
        DataError: if it is not there or cannot be read.
    """
    try:
        return Failure.from_bytes(_read(uri))
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(uri, f"it is no record of a failure: {error!r}") from error


def largest_deviation_seconds(pts_seconds: Float64Array, rate: Fraction) -> float:
    """The largest |pts_seconds[k] - k / rate|: how far a frame is from its grid time.

    Args:
        pts_seconds: float64, (frames,), at least one.
        rate: Grid times per second, above 0.
    """
    return float(np.abs(pts_seconds - np.arange(len(pts_seconds)) / float(rate)).max())


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


def _entry(header: Header, video: VideoFeatures, magnitude: float) -> StoredEntry:
    return StoredEntry(len(video.features), magnitude, header.sha256, header.decoded_fraction, header.deviation_seconds)


def _magnitude(features: npt.NDArray[np.floating]) -> float:
    return max(abs(float(features.min())), abs(float(features.max())))


def _damaged(uri: str, why: str) -> DamagedFile:
    return DamagedFile("A stored file is damaged", uri, why, "run the build again: the video is extracted anew")
