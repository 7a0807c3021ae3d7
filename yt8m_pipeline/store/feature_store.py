"""The feature store: one immutable, self-checking file per video (`stored_file`), computed once and kept.

A video that failed has a small JSON file in its place (`Failure`). Each folder has an index (`store_index`), which
saves reading its files only to know that they are there.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any
from urllib.parse import quote

import numpy as np

from yt8m_pipeline import files
from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.data_model import Float64Array, StoredEntry
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.store.failures import Failure, Source, open_failure
from yt8m_pipeline.store.features import VideoFeatures
from yt8m_pipeline.store.index import IndexedFile, read_index, write_index
from yt8m_pipeline.store.stored_file import (
    DamagedFile,
    Header,
    StoredFile,
    brief,
    digest,
    magnitude,
    open_stored,
    seal_video,
)

LOGGER = logging.getLogger(__name__)

SUFFIX = ".npz"
FAILURE_SUFFIX = ".failed.json"
INDEX = "index.jsonl"
DESCRIPTION = "space.json"
SHELVES = tuple(f"{number:02x}" for number in range(256))
"""The folders of a feature space, by the first byte of the SHA-256 of a video's id."""


@dataclass(frozen=True, slots=True)
class Damaged:
    """A file is there, but it is not what was written."""

    reason: str


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
        return files.join(self.folder, *place(video_id))

    def failure_path(self, video_id: str) -> str:
        """Where it is kept that a video failed."""
        return failure_name(self.path(video_id))

    def shelf(self, name: str, *, verify: bool = False) -> "Shelf":
        """One of the `SHELVES` as it stands; to verify is to read every file that is asked for."""
        return Shelf(self, name, verify=verify)

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
        largest = magnitude(video)
        if not np.isfinite(largest):
            raise VideoRejected(DropReason.NON_FINITE_FEATURES, f"the largest absolute feature is {largest}")
        origin = (source.uri, source.size, source.modified)
        deviation_seconds = largest_deviation_seconds(video.pts_seconds, rate)
        header = Header(video.video_id, self.space, *origin, digest(video), decoded_fraction, deviation_seconds)
        files.write_bytes(self.path(video.video_id), seal_video(video, header))
        files.delete(self.failure_path(video.video_id))
        return brief(header, video, largest)

    def write_failure(
        self, video_id: str, source: Source, conditions: Mapping[str, Any], rejection: VideoRejected
    ) -> None:
        """Keeps why a video could not be used, in place of what was kept before; what is stored of it stays.

        Raises:
            DataError: if the file cannot be written.
        """
        why = (rejection.reason, rejection.detail, rejection.decoded_fraction)
        failure = Failure(video_id, self.space, source, conditions, *why)
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
        return self.open(self.path(video_id)).video

    def open(self, uri: str) -> StoredFile:
        """Opens a file of this space and checks all of it.

        Raises:
            DamagedFile: if it is damaged or in another video's place.
            DataError: if there is no such file, it cannot be read, or it belongs to another feature space.
        """
        stored = open_stored(uri)
        if stored.header.space != self.space:
            raise DataError(
                what="A stored file belongs to another feature space",
                where=uri,
                why=f"it was written in space {stored.header.space}, this is space {self.space}",
                fix=f"do not mix them: move the files of space {stored.header.space} out of {self.folder}",
            )
        if self.path(stored.header.video_id) != uri:
            raise DamagedFile.at(uri, f"it holds video {stored.header.video_id!r}, whose place is another")
        return stored

    def indexed(self, video_id: str, source: Source, entry: StoredEntry) -> IndexedFile | None:
        """What an index may say of a file that has just been written; None if it is gone already."""
        state = files.state(self.path(video_id))
        return IndexedFile(state, source, entry) if state else None


class Shelf:
    """One folder of a feature space, as one listing and its index show it.

    Attributes:
        name: Which of the `SHELVES`.
        states: Every file of the folder by name.
    """

    def __init__(self, store: FeatureStore, name: str, *, verify: bool) -> None:
        self._store, self._verify = store, verify
        self.name, self.folder = name, files.join(store.folder, name)
        self.states = files.list_states(self.folder)
        listed = read_index(self._index, store.space) if INDEX in self.states else {}
        self._known = {name: file for name, file in listed.items() if self.states.get(name) == file.state}
        self._is_new = len(self._known) < len(listed)

    @property
    def _index(self) -> str:
        return files.join(self.folder, INDEX)

    def find(self, video_id: str) -> IndexedFile | Damaged | None:
        """What is stored of a video; None where nothing is.

        Raises:
            DataError: if its file cannot be read or belongs to another feature space.
        """
        return self.file(place(video_id)[1])

    def file(self, name: str) -> IndexedFile | Damaged | None:
        """What a file holds: by the index, or by reading it where the index does not know it as it stands.

        Raises:
            DataError: if it cannot be read or belongs to another feature space.
        """
        if name not in self.states:
            return None
        if self._verify or name not in self._known:
            try:
                self._read(name)
            except DamagedFile as damage:
                self._forget(name)
                return Damaged(damage.why)
        return self._known[name]

    def failure(self, video_id: str) -> Failure | None:
        """As `FeatureStore.failure`."""
        return self._store.failure(video_id) if failure_name(place(video_id)[1]) in self.states else None

    def remember(self, video_id: str, file: IndexedFile) -> None:
        """Adds to the index what is known of a file without reading it."""
        self._known[place(video_id)[1]] = file
        self._is_new = True

    def save(self) -> None:
        """Writes the index, if there is anything new. Where that fails, the files are read again next time."""
        if not self._is_new:
            return
        try:
            write_index(self._index, self._store.space, self._known)
        except DataError as error:
            LOGGER.warning("the index of a feature store cannot be written: %s", error.why)

    def _read(self, name: str) -> None:
        stored = self._store.open(files.join(self.folder, name))
        header = stored.header
        source = Source(header.source_uri, header.source_size, header.source_modified)
        read = IndexedFile(self.states[name], source, stored.entry)
        self._is_new |= self._known.get(name) != read
        self._known[name] = read

    def _forget(self, name: str) -> None:
        self._is_new |= self._known.pop(name, None) is not None


def place(video_id: str) -> tuple[str, str]:
    """The shelf of a video and the name of its file there."""
    sha256 = hashlib.sha256(video_id.encode()).hexdigest()
    return sha256[:2], f"{quote(video_id, safe='')[:100]}-{sha256[:12]}{SUFFIX}"


def failure_name(name: str) -> str:
    """The file that keeps a video's failure, by the name or path of the file that keeps its features."""
    return name.removesuffix(SUFFIX) + FAILURE_SUFFIX


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
    uri = files.join(store.folder, DESCRIPTION)
    wanted = json.dumps(description, sort_keys=True, indent=2, allow_nan=False) + "\n"
    if not files.exists(uri):
        files.write_bytes(uri, wanted.encode())
    found = files.read_bytes(uri).decode(errors="replace")
    if found != wanted:
        raise DataError(
            what="A feature store's description does not fit its name",
            where=uri,
            why=f"it says\n{found}but space {store.space} is\n{wanted.rstrip()}",
            fix="restore the file, or use another store folder",
        )
    return store


def largest_deviation_seconds(pts_seconds: Float64Array, rate: Fraction) -> float:
    """The largest |pts_seconds[k] - k / rate|: how far a frame is from its grid time.

    Args:
        pts_seconds: float64, (frames,), at least one.
        rate: Grid times per second, above 0.
    """
    return float(np.abs(pts_seconds - np.arange(len(pts_seconds)) / float(rate)).max())
