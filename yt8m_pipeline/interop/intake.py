"""Looking through MediaPipe's protos: which can be converted, and why others cannot."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from yt8m_pipeline.accounting.reasons import DropReason, Stage, VideoRejected
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.data_model import Float32Array
from yt8m_pipeline.dataset.shards import Member
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.interop.media_sequence import MICROSECONDS, MediaSequence, parse_media_sequence
from yt8m_pipeline.interop.media_sequence_files import Place, read_proto, read_protos

MAX_LABELS = 1_000_000
"""Rows of the largest vocabulary.csv: one for each label index from 0."""
Progress = Callable[[str], None]
"""Is told the name of the stage that has finished one more video."""


@dataclass(frozen=True, slots=True)
class Proto:
    """A proto that can be converted, without its coefficients."""

    place: Place
    member: Member
    frames: int
    magnitude: float


@dataclass(slots=True)
class Intake:
    """What the inputs hold.

    Attributes:
        dimensions: Coefficients per frame of the videos taken; None before the first.
        protos: Those to convert, by video id.
        rejects: Rows of `REJECTS`, one for each of the others.
        names: The first name met of each label index.
        left_out: In how many of the videos taken there is what a record has no place for, by key.
        off_grid: How many of the videos taken do not have one frame per second.
    """

    dimensions: int | None
    protos: dict[str, Proto] = field(default_factory=dict)
    rejects: list[dict[str, Any]] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    off_grid: int = 0

    def add(self, place: Place, data: bytes) -> None:
        """Takes a proto or rejects it."""
        video_id = place.name
        try:
            sequence = parse_media_sequence(data)
            video_id = sequence.video_id or video_id
            self._require_fitting(video_id, sequence)
        except VideoRejected as rejection:
            self.reject(place, video_id, rejection)
            return
        self.dimensions = sequence.coefficients.shape[1]
        self.protos[video_id] = _proto(place, sequence)
        for label, name in zip(sequence.labels, sequence.label_names, strict=bool(sequence.label_names)):
            self.names.setdefault(label, name)
        self.left_out.update(sequence.left_out)
        self.off_grid += bool((np.diff(sequence.timestamps) != MICROSECONDS).any())

    def reject(self, place: Place, video_id: str | None, rejection: VideoRejected) -> None:
        """Books why a proto, or the rest of a file, is not converted; records count from 1 there, as rows do."""
        row = None if place.record is None else place.record + 1
        facts = {"reason": rejection.reason.value, "detail": rejection.detail, "file": place.uri, "row": row}
        self.rejects.append({"stage": Stage.CONVERT.value, "table": "videos", "id": video_id, **facts})

    def _require_fitting(self, video_id: str, sequence: MediaSequence) -> None:
        found = sequence.coefficients.shape[1]
        if self.dimensions not in (None, found):
            detail = f"a frame has {found} values, those of the codebook or of the first video {self.dimensions}"
            raise VideoRejected(DropReason.WRONG_SHAPE, detail)
        outside = [label for label in sequence.labels if not 0 <= label < MAX_LABELS]
        if outside:
            detail = f"a label index is from 0 to {MAX_LABELS - 1}, got {outside[0]}"
            raise VideoRejected(DropReason.OUT_OF_RANGE, detail)
        if video_id in self.protos:
            raise VideoRejected(DropReason.DUPLICATE, f"{self.protos[video_id].place} has the same id and is kept")


def take_in(uris: Iterable[str], quantizer: Quantizer, progress: Progress) -> Intake:
    """Reads everything once, to know the ids, what is wrong, and what is left out."""
    intake = Intake(quantizer.levels.shape[0] if quantizer.scope == "per_dimension" else None)
    for uri in uris:
        try:
            for place, data in read_protos(uri):
                intake.add(place, data)
                progress("read")
        except VideoRejected as rejection:
            intake.reject(Place(uri), None, rejection)
        except OSError as error:
            intake.reject(Place(uri), None, VideoRejected(DropReason.IO_ERROR, str(error)))
        except DataError as error:
            intake.reject(Place(uri), None, VideoRejected(DropReason.DAMAGED, f"{error.where}: {error.why}"))
    if not intake.protos:
        raise _nothing_left(intake.rejects)
    return intake


def _nothing_left(rejects: Sequence[Mapping[str, Any]]) -> DataError:
    reasons = Counter(row["reason"] for row in rejects)
    why = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
    return DataError(
        what="No proto can be converted",
        where=rejects[0]["file"],
        why=f"{why}; the first: {rejects[0]['detail']}",
        fix="give what MediaPipe's YouTube-8M feature extraction writes: protos with RGB/feature/floats",
    )


def _proto(place: Place, sequence: MediaSequence) -> Proto:
    coefficients = sequence.coefficients
    sha256 = hashlib.sha256(coefficients.astype("<f4").tobytes()).hexdigest()
    member = Member(sequence.video_id or place.name, sha256, tuple(sorted(set(sequence.labels))))
    return Proto(place, member, len(coefficients), float(np.abs(coefficients).max()))


def read_coefficients(protos: Iterable[Proto], progress: Progress) -> Iterator[tuple[Member, Float32Array]]:
    """Reads each proto again."""
    for proto in protos:
        sequence = _read_again(proto.place)
        if sequence is None or _proto(proto.place, sequence) != proto:
            raise DataError(
                what="An input changed while it was converted",
                where=proto.place.uri,
                why=f"video {proto.member.video_id} is not what it was when the inputs were looked through",
                fix="let the program that writes it end, then convert again",
            )
        yield proto.member, sequence.coefficients
        progress("write")


def _read_again(place: Place) -> MediaSequence | None:
    try:
        return parse_media_sequence(read_proto(place))
    except (OSError, VideoRejected):
        return None
