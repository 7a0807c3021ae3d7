"""The feature store: one immutable, self-checking file for each video (`stored_file`), computed once and kept.

A video that failed has a small JSON file instead (`failures`). The files lie on 256 shelves, each of which has an index
(`index`) that saves reading its files only to know what is there.
"""

import functools
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
from yt8m_pipeline.data_model import Float64Array, MediaFile, StoredEntry
from yt8m_pipeline.errors import CONTINUED, DataError
from yt8m_pipeline.parsing import parse_json
from yt8m_pipeline.store.failures import Failure, Source, open_failure
from yt8m_pipeline.store.features import VideoFeatures
from yt8m_pipeline.store.formats import FORMAT, KEY, require_readable
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
"""The ending of the name of a file of features."""

FAILURE_SUFFIX = ".failed.json"
"""The ending of the name of a file that records a failure; it takes the place of `SUFFIX`."""

INDEX = "index.jsonl"
"""The name of the index of a shelf."""

DESCRIPTION = "space.json"
"""The name of the file that describes a feature space."""

DEFAULTS: Mapping[str, Any] = {
    "pixels": "PyAV 18, libavcodec 62.28, libswscale 9.5, AREA|FULL_CHR_H_INT|ACCURATE_RND|BITEXACT",
}
"""The keys that joined the description of feature spaces after version 0.1.0, each with its default.

The default is what held for all features that were stored before the description had the key. A key whose value is its
default does not enter the fingerprint, so that a new key renames no store that exists. A published default never
changes. `pixels` is what decoded pixels depend on; its default is what the lock files of version 0.1.0 install.
"""

DEFAULTED = "defaults"
"""The key of `space.json` that holds those keys of the description that are left out of the fingerprint."""

SHELVES = tuple(f"{number:02x}" for number in range(256))
"""The names of the folders of a feature space. A video's shelf is the first byte of the SHA-256 of its id."""


@functools.cache
def warn_once(text: str) -> None:
    """Logs a warning that each shelf and video of a store that can only be read would repeat."""
    LOGGER.warning(text)


@dataclass(frozen=True, slots=True)
class Damaged:
    """The finding that a file is there but is not what was written.

    Attributes:
        reason: What is wrong with it.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class FeatureStore:
    """The part of a feature store that belongs to one feature space.

    A video is at `root/space/<2 hex>/<escaped id>-<12 hex>.npz`, with digits of the SHA-256 of its id.

    Attributes:
        root: The folder of the store, local or in a bucket. Several feature spaces may share it.
        space: The fingerprint (`feature_space`) of everything that changes the features.

    >>> FeatureStore("features", "a96b1b0829e94990").path("guitar")
    'features/a96b1b0829e94990/d0/guitar-d081f5e40298.npz'
    """

    root: str
    space: str

    @property
    def folder(self) -> str:
        return files.join(self.root, self.space)

    def path(self, video_id: str) -> str:
        """The path of a video's features. Any id is safe: it is escaped and cut, and its SHA-256 keeps ids apart."""
        return files.join(self.folder, *place(video_id))

    def failure_path(self, video_id: str) -> str:
        """The path of the record of a video's failure."""
        return failure_name(self.path(video_id))

    def shelf(self, name: str, *, verify: bool = False) -> "Shelf":
        """Lists one of the `SHELVES`. With `verify`, every file that is asked for is read, whatever the index knows."""
        return Shelf(self, name, verify=verify)

    def write(
        self,
        video: VideoFeatures,
        source: Source,
        decoded_fraction: float,
        rate: Fraction,
        transfer: str = "",
        media: MediaFile | None = None,
    ) -> IndexedFile:
        """Stores a video's features, whole or not at all. The same arguments make the same bytes.

        A record of its failure counts for nothing from now on, and is deleted: in a bucket, where that takes a request
        for every video, by `Shelf.remember`, which knows whether there is one.

        Args:
            video: The features.
            source: The video's file as it was before it was decoded.
            decoded_fraction: The share of the video's grid times whose frame is sound.
            rate: The number of grid times per second.
            transfer: The transfer function of a video of high dynamic range: "PQ" or "HLG".
            media: What the video's file is, as far as it is known.

        Returns:
            What the index may say of the file.

        Raises:
            VideoRejected: if a feature is NaN or infinite (also where float16 overflowed).
            DataError: if the file cannot be written.
        """
        largest = magnitude(video)
        if not np.isfinite(largest):
            raise VideoRejected(DropReason.NON_FINITE_FEATURES, f"the largest absolute feature is {largest}")
        origin = (source.uri, source.size, source.modified)
        sha256, deviation_seconds = digest(video), largest_deviation_seconds(video.pts_seconds, rate)
        facts = (decoded_fraction, deviation_seconds)
        header = Header(video.video_id, self.space, *origin, sha256, *facts, transfer, media)
        state = files.write_bytes(self.path(video.video_id), seal_video(video, header))
        if files.is_local(self.root):
            files.delete(self.failure_path(video.video_id))
        return IndexedFile(state, source, brief(header, video, largest))

    def write_failure(
        self, video_id: str, source: Source, conditions: Mapping[str, Any], rejection: VideoRejected
    ) -> None:
        """Records why a video could not be used, over an earlier record. Features that are stored already stay.

        A record that cannot be written, or that a power failure takes away, costs another attempt at the video and
        nothing else. So a complete store serves a build also where it can only be read.
        """
        why = (rejection.reason, rejection.detail, rejection.decoded_fraction)
        failure = Failure(video_id, self.space, source, conditions, *why)
        try:
            files.write_bytes(self.failure_path(video_id), failure.to_bytes(), durable=False)
        except DataError as error:
            warn_once(f"the failures of videos cannot be kept in a feature store: {self.folder}: {error.why}")

    def failure(self, video_id: str) -> Failure | None:
        """Reads why a video could not be used at the last attempt; None if there is no record or no sound one."""
        uri = self.failure_path(video_id)
        if not files.exists(uri):
            return None
        try:
            failure = open_failure(uri)
        except DamagedFile:
            return None
        return failure if (failure.video_id, failure.space) == (video_id, self.space) else None

    def read(self, video_id: str) -> VideoFeatures:
        """Reads a video's features.

        Raises:
            DamagedFile: if the file is damaged or holds another video.
            DataError: if the file is missing, cannot be read, or belongs to another feature space.
        """
        return self.open(self.path(video_id)).video

    def open(self, uri: str) -> StoredFile:
        """Opens a file of this feature space and checks all of it.

        Raises:
            DamagedFile: if the file is damaged or stands in another video's place.
            DataError: if the file is missing, cannot be read, or belongs to another feature space.
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

    def find(self, video_id: str) -> IndexedFile | None:
        """What is stored of a video, read whole; None where nothing sound is.

        Raises:
            DataError: if its file cannot be read or belongs to another feature space.
        """
        uri = self.path(video_id)
        state = files.state(uri)
        try:
            return IndexedFile(state, *self._source_and_entry(uri)) if state else None
        except DamagedFile:
            return None

    def _source_and_entry(self, uri: str) -> tuple[Source, StoredEntry]:
        stored = self.open(uri)
        header = stored.header
        return Source(header.source_uri, header.source_size, header.source_modified), stored.entry


class Shelf:
    """One folder of a feature space, as one listing and its index show it.

    Attributes:
        name: The name of the shelf, one of `SHELVES`.
        folder: The path of the shelf.
        states: The size and modification time of every file of the shelf, by name.
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
        """Finds what is stored of a video; None if nothing is.

        Raises:
            DataError: if the file cannot be read or belongs to another feature space.
        """
        return self.file(place(video_id)[1])

    def file(self, name: str) -> IndexedFile | Damaged | None:
        """Tells what a file holds, by the index, or by reading the file if the index does not know it as it stands.

        Raises:
            DataError: if the file cannot be read or belongs to another feature space.
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
        """Reads why a video failed, as `FeatureStore.failure` does, but looks only for files that the listing has."""
        return self._store.failure(video_id) if failure_name(place(video_id)[1]) in self.states else None

    def remember(self, video_id: str, file: IndexedFile) -> None:
        """Adds to the index what is known of a file that was just written, and deletes the record of a failure."""
        self._known[place(video_id)[1]] = file
        if failure_name(place(video_id)[1]) in self.states:
            files.delete(self._store.failure_path(video_id))
        self._is_new = True

    def save(self) -> None:
        """Writes the index if there is anything new. If that fails, the files are read again next time."""
        if not self._is_new:
            return
        try:
            write_index(self._index, self._store.space, self._known)
        except DataError as error:
            warn_once(f"the index of a feature store cannot be written: {self._store.folder}: {error.why}")

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
    """The shelf of a video, and the name of its file there.

    >>> place("../etc")
    ('f7', '..%2Fetc-f7f9121fdb53.npz')
    """
    sha256 = hashlib.sha256(video_id.encode()).hexdigest()
    return sha256[:2], f"{quote(video_id, safe='')[:100]}-{sha256[:12]}{SUFFIX}"


def failure_name(name: str) -> str:
    """The name or path of the record of a video's failure, by that of the file of its features."""
    return name.removesuffix(SUFFIX) + FAILURE_SUFFIX


def feature_space(description: Mapping[str, Any]) -> str:
    """The fingerprint of a feature space: 16 hexadecimal digits of its description, whatever the order of the keys.

    It is a hash of the description without the keys whose values are their `DEFAULTS`.

    >>> feature_space({"seed": 1}) == feature_space({"seed": 1, **DEFAULTS})
    True
    """
    return _fingerprint(_departures(description))


def open_store(root: str, description: Mapping[str, Any]) -> FeatureStore:
    """Opens the store of a feature space. Its folder keeps the description in `space.json`, which is written once.

    Raises:
        NewerFormatError: if a later version wrote the description.
        DataError: if the folder describes another feature space, or cannot be written.
    """
    store = FeatureStore(root, feature_space(description))
    uri = files.join(store.folder, DESCRIPTION)
    if not files.exists(uri):
        files.write_bytes(uri, _description_bytes(description))
    if describe(store) is None:
        found, wanted = files.read_bytes(uri).decode(errors="replace"), _description_bytes(description).decode()
        raise DataError(
            what="A feature store's description does not fit its name",
            where=uri,
            why=f"it says\n{found}but space {store.space} is\n{wanted.rstrip()}".replace("\n", CONTINUED),
            fix="restore the file, or use another store folder",
        )
    return store


def describe(store: FeatureStore) -> dict[str, Any] | None:
    """Reads the description of a feature space from its `space.json`; None if it is missing or of another space.

    The file says which keys entered the fingerprint. A version that knows other defaults can check it all the same.

    Raises:
        NewerFormatError: if a later version wrote the file.
    """
    uri = files.join(store.folder, DESCRIPTION)
    try:
        values = dict(parse_json(files.read_bytes(uri)))
        require_readable(uri, values)
        departures = {name: value for name, value in values.items() if name not in (KEY, DEFAULTED)}
        is_ours = _fingerprint(departures) == store.space
        return departures | values.get(DEFAULTED, {}) if is_ours else None
    except (OSError, TypeError, ValueError):
        return None


def _departures(description: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a description that enter its fingerprint."""
    return {name: value for name, value in description.items() if name not in DEFAULTS or value != DEFAULTS[name]}


def _fingerprint(departures: Mapping[str, Any]) -> str:
    canonical = json.dumps(departures, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _description_bytes(description: Mapping[str, Any]) -> bytes:
    departures = _departures(description)
    defaulted = {name: value for name, value in description.items() if name not in departures}
    values = {KEY: FORMAT, **departures, **({DEFAULTED: defaulted} if defaulted else {})}
    return json.dumps(values, sort_keys=True, indent=2, allow_nan=False).encode() + b"\n"


def largest_deviation_seconds(pts_seconds: Float64Array, rate: Fraction) -> float:
    """The largest distance of a frame from its grid time, |pts_seconds[k] - k / rate|.

    Args:
        pts_seconds: float64, (frames,), at least one.
        rate: The number of grid times per second, above 0.

    >>> largest_deviation_seconds(np.array([0.0, 0.75, 2.0]), Fraction(1))
    0.25
    """
    return float(np.abs(pts_seconds - np.arange(len(pts_seconds)) / float(rate)).max())
