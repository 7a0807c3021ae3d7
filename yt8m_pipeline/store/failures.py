"""Failures are data: why a video could not be used, kept in place of its features, and how long that counts.

What is stored does not decide what a dataset holds: a failure counts only as long as trying again would end the same,
and the least share of sound frames is asked of stored and of fresh features alike.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pyarrow import ArrowException

from yt8m_pipeline import files
from yt8m_pipeline.accounting.reasons import DropReason, Retry, VideoRejected
from yt8m_pipeline.store.stored_file import DamagedFile, read_stored


@dataclass(frozen=True, slots=True)
class Source:
    """A video's file as it stood at one time.

    Attributes:
        uri: Where its bytes are.
        size: How many bytes; 0 for a file that is missing or out of reach.
        modified: When or in which version, as the file system tells it; '' where it does not.
    """

    uri: str
    size: int
    modified: str

    @classmethod
    def of(cls, uri: str) -> "Source":
        """The file as it stands now. Ask before decoding: what changes meanwhile is then seen to have changed."""
        try:
            return cls(uri, *files.describe(uri))
        except (OSError, ValueError, ArrowException):
            return cls(uri, 0, "")

    def has_changed(self, now: "Source") -> bool:
        """Whether the file has another size or modification time now. One that is gone has not changed."""
        return (now.size, now.modified) not in {(self.size, self.modified), (0, "")}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a video could not be used, and when that was found.

    Attributes:
        video_id: The video.
        space: The feature space (`feature_space`) that its features would belong to.
        source: Its file, as it was then.
        decoding: The config of decoding, as it was then, without what decides only after decoding.
        reason: Why.
        detail: One line for a person.
        decoded_fraction: The share of its frames that are sound; None where it is not known.
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
        return VideoRejected(self.reason, self.detail, self.decoded_fraction)

    def counts(self, source: Source, conditions: Mapping[str, Any], retry: Retry) -> bool:
        """Whether it stands for another attempt: file and conditions are as they were, and no retry is asked for.

        Args:
            source: The file as it stands now.
            conditions: What of the config of decoding decides now whether a video can be decoded.
            retry: Which failures are tried again.
        """
        return (self.source, self.decoding) == (source, conditions) and not retry.covers(self.reason)

    def to_bytes(self) -> bytes:
        """Sealed JSON."""
        values = asdict(self)
        return json.dumps({**values, "sha256": _digest(values)}, indent=2).encode() + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes) -> "Failure":
        """
        Raises:
            KeyError, TypeError, ValueError: if the data is not what was written.
        """
        values = dict(json.loads(data))
        if values.pop("sha256") != _digest(values):
            raise ValueError("its content does not match its SHA-256")
        source, reason = Source(**values.pop("source")), DropReason(values.pop("reason"))
        return cls(**values, source=source, reason=reason)


def open_failure(uri: str) -> Failure:
    """Opens one file of a store that keeps a failure.

    Raises:
        DamagedFile: if it is not what was written.
        DataError: if it is not there or cannot be read.
    """
    try:
        return Failure.from_bytes(read_stored(uri))
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedFile.at(uri, f"it is no record of a failure: {error!r}") from error


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
