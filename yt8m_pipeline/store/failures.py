"""Failures as data: the reason why a video could not be used, kept in place of its features.

The contents of a dataset must not depend on what was tried before. A failure therefore counts only while another
attempt would end in the same way: with the same file and the same config of decoding. The least share of sound frames
(`decoding.min_decoded_fraction`) is no part of a failure; it is asked of stored and of fresh features alike.

A record is JSON. Its key `format` is the number of the format (`formats`), and `sha256` the SHA-256 of all other keys.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pyarrow import ArrowException

from yt8m_pipeline import files
from yt8m_pipeline.accounting.reasons import DropReason, Retry, VideoRejected
from yt8m_pipeline.parsing import parse_json
from yt8m_pipeline.store.formats import FORMAT, KEY, NewerFormatError, known_fields, require_readable
from yt8m_pipeline.store.stored_file import DamagedFile, read_stored

LOOK_SECONDS = 30.0
"""A video's file that cannot be looked at within this time is out of reach. A server that is silent costs a row this
and its time for decoding, not more."""


@dataclass(frozen=True, slots=True)
class Source:
    """A video's file as it stood at one time.

    Attributes:
        uri: The place of the file.
        size: Its size in bytes, which is 0 for a file that is missing or out of reach.
        modified: Its modification time or version, as the file system tells it; '' where it tells none.
    """

    uri: str
    size: int
    modified: str

    @classmethod
    def of(cls, uri: str) -> "Source":
        """Looks at the file now. Do so before it is decoded, so that a change during decoding shows afterwards."""
        try:
            with files.time_limit(LOOK_SECONDS):
                return cls(uri, *files.describe(uri))
        except (OSError, ValueError, ArrowException):
            return cls(uri, 0, "")

    def has_changed(self, now: "Source") -> bool:
        """Whether the file has another size or modification time now. A file that is gone does not count as changed."""
        return (now.size, now.modified) not in {(self.size, self.modified), (0, "")}


@dataclass(frozen=True, slots=True)
class Failure:
    """The record of why a video could not be used.

    Attributes:
        video_id: The id of the video.
        space: The fingerprint of the feature space (`feature_space`) that its features would belong to.
        source: The video's file as it was before the attempt.
        decoding: The config of decoding at the attempt, without the fields that decide only after decoding.
        reason: The reason, from a fixed list.
        detail: One line for a person.
        decoded_fraction: The share of the video's grid times whose frame is sound; None where it is not known.
    """

    video_id: str
    space: str
    source: Source
    decoding: Mapping[str, Any]
    reason: DropReason
    detail: str
    decoded_fraction: float | None

    @property
    def rejection(self) -> VideoRejected:
        """The failure as the exception that was raised at the attempt."""
        return VideoRejected(self.reason, self.detail, self.decoded_fraction)

    def counts(self, source: Source, conditions: Mapping[str, Any], retry: Retry) -> bool:
        """Whether the failure stands for another attempt: nothing that decided it has changed, and no retry is wanted.

        Args:
            source: The video's file as it stands now.
            conditions: The fields of the config of decoding that decide now whether a video can be decoded.
            retry: Which failures are tried again.
        """
        return (self.source, self.decoding) == (source, conditions) and not retry.covers(self.reason)

    def to_bytes(self) -> bytes:
        """Writes the record as JSON with its SHA-256."""
        values = {KEY: FORMAT, **asdict(self)}
        return json.dumps({**values, "sha256": _digest(values)}, indent=2).encode() + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes, uri: str = "") -> "Failure":
        """Reads a record.

        Args:
            data: The bytes of the record.
            uri: The place of the record, which an error names.

        Raises:
            KeyError, TypeError, ValueError: if the data is not what was written.
            NewerFormatError: if a later version wrote the record, which its format or a reason unknown here tells.
        """
        values = dict(parse_json(data))
        if values.pop("sha256") != _digest(values):
            raise ValueError("its content does not match its SHA-256")
        require_readable(uri, values)
        if values["reason"] not in set(DropReason):
            raise NewerFormatError.at(uri, f"this version knows no reason {values['reason']!r}")
        source, reason = known_fields(Source, values["source"]), DropReason(values["reason"])
        return known_fields(cls, values | {"source": source, "reason": reason})


def open_failure(uri: str) -> Failure:
    """Opens the file of one failure.

    Raises:
        DamagedFile: if the file is not what was written.
        NewerFormatError: if a later version wrote the file.
        DataError: if the file is missing or cannot be read.
    """
    try:
        return Failure.from_bytes(read_stored(uri), uri)
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedFile.at(uri, f"it is no record of a failure: {error!r}") from error


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
