"""Which videos the demo corpus has: their ids, labels, formats and lengths, and what is wrong with some of them."""

import base64
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from fractions import Fraction
from itertools import count

from yt8m_pipeline.accounting.reasons import DropReason
from yt8m_pipeline.chance import salted_hash
from yt8m_pipeline.config import Partitioning, VideoSampling
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.demo.encoding import Format
from yt8m_pipeline.demo.entities import DEPICTED, RARE, SCARCE

MIN_SECONDS = 2.0
RATES = (Fraction(25), Fraction(30000, 1001), Fraction(24), Fraction(25))
ENDS = {Partition.TRAIN: (0.0, 0.7), Partition.VALIDATE: (0.7, 0.9), Partition.TEST: (0.9, 1.0)}
"""Where the default config's shares begin and end (paper §3.2)."""


class Defect(Enum):
    """What is wrong with a video, or with its row, and why that drops it."""

    UNPOPULAR = DropReason.TOO_FEW_VIEWS
    SHORT = DropReason.TOO_SHORT
    LONG = DropReason.TOO_LONG
    UNLABELLED = DropReason.NO_VOCABULARY_LABEL
    SURPLUS = DropReason.NOT_SAMPLED
    SCARCE = DropReason.NO_LABEL_LEFT
    TRUNCATED = DropReason.TRUNCATED
    TEXT = DropReason.NOT_A_VIDEO
    MISSING = DropReason.MISSING_FILE
    AUDIO_ONLY = DropReason.NO_VIDEO_STREAM


ENCODED_BEFORE_DECODING = (Defect.UNPOPULAR, Defect.SHORT, Defect.LONG, Defect.UNLABELLED)
BROKEN = (Defect.TRUNCATED, Defect.TEXT, Defect.MISSING, Defect.AUDIO_ONLY)


@dataclass(frozen=True, slots=True)
class DemoVideo:
    """One row of the videos table and the file behind it.

    Attributes:
        video_id: 11 characters, as on YouTube.
        group_id: Its channel; "" for none.
        labels: Entity ids.
        seconds: Its length; the table of a video that is too long says more.
        rate: Frames per second; None where it varies.
        format: Container and codec.
        defect: What is wrong with it.
    """

    video_id: str
    group_id: str
    labels: tuple[str, ...]
    seconds: float
    rate: Fraction | None
    format: Format
    defect: Defect | None = None

    @property
    def uri(self) -> str:
        return f"videos/{self.video_id}.{self.format.value.extension}"

    @property
    def duration_seconds(self) -> float:
        return 75.0 if self.defect == Defect.LONG else self.seconds

    @property
    def view_count(self) -> int:
        views = salted_hash("views", self.video_id)
        return views % 1000 if self.defect == Defect.UNPOPULAR else 1000 + views % 5_000_000


def plan_videos(videos: int, seconds: float, seed: int) -> list[DemoVideo]:
    """The videos of a corpus: `videos` that are encoded whole, and four broken ones.

    A build with configs/smoke.yaml and a sample of `videos` − `videos` // 5 draws all but the surplus, whatever the
    seed: ids are tried until their salted hashes fall where the video needs them.
    """
    surplus = videos // 5
    whole = videos - len(ENCODED_BEFORE_DECODING) - surplus
    defects = [*(None,) * (whole - 1), Defect.SCARCE, *(Defect.SURPLUS,) * surplus, *ENCODED_BEFORE_DECODING, *BROKEN]
    return [_video(index, defect, seconds, seed) for index, defect in enumerate(defects)]


def with_wrong_labels(video: DemoVideo, share: float) -> DemoVideo:
    """The video with so many of the labels of what is seen exchanged for those of something else, by chance.

    The hash of the video and the label decides, so that a larger share has all wrong labels of a smaller one.
    """
    labels = tuple(_perhaps_wrong(video, entity_id, share) for entity_id in video.labels)
    return replace(video, labels=tuple(dict.fromkeys(labels)))


def _perhaps_wrong(video: DemoVideo, entity_id: str, share: float) -> str:
    depicted = [entity.entity_id for entity in DEPICTED]
    chance = salted_hash("wrong", f"{video.video_id}/{entity_id}")
    if entity_id not in depicted or chance / 2**64 >= share:
        return entity_id
    others = [other for other in depicted if other not in video.labels]
    return others[chance % len(others)]


def _video(index: int, defect: Defect | None, seconds: float, seed: int) -> DemoVideo:
    partition = _partition(index)
    pair = index - index % 2
    grouped = pair % 8 == 0 and partition == _partition(index ^ 1) == Partition.TRAIN and defect is None
    group_id = _fitting(f"{seed}/channel/{pair}", _falls_in(partition)) if grouped else ""
    in_partition = (lambda _: True) if grouped else _falls_in(partition)
    in_sample = _is_drawn if defect != Defect.SURPLUS else lambda name: not _is_drawn(name)
    video_id = _fitting(f"{seed}/video/{index}", lambda name: in_partition(name) and in_sample(name))
    length = 1.5 if defect == Defect.SHORT else max(MIN_SECONDS, seconds * (0.5 + index * 7 % 11 / 10))
    rate = None if index == 2 else RATES[index % len(RATES)]
    return DemoVideo(video_id, group_id, _labels(index, defect), length, rate, _format(index, defect), defect)


def _partition(index: int) -> Partition:
    return {3: Partition.VALIDATE, 5: Partition.TEST}.get(index % 7, Partition.TRAIN)


def _labels(index: int, defect: Defect | None) -> tuple[str, ...]:
    """Two depicted entities for the first videos, so that every entity has enough, then one or two; and the rest."""
    if defect == Defect.SCARCE:
        return (SCARCE.entity_id,)
    if defect == Defect.UNLABELLED:
        return ("/m/04rlf", "/m/07c1v")
    second = index + (7 if index % 4 == 1 else 3)
    depicted = {index % len(DEPICTED)} | ({second % len(DEPICTED)} if index < 16 or index % 3 == 0 else set())
    labels = [DEPICTED[number].entity_id for number in sorted(depicted)]
    labels += [SCARCE.entity_id] if defect == Defect.SURPLUS else []
    labels += [RARE.entity_id] if index in (1, 6) else []
    labels += ["/m/04rlf"] if index % 4 == 0 else []
    labels += ["/m/07_53"] if defect == Defect.UNPOPULAR else []
    return tuple(labels)


def _format(index: int, defect: Defect | None) -> Format:
    if defect in BROKEN:
        return Format.H264_FASTSTART_MP4
    return {3: Format.VP9_WEBM, 6: Format.MPEG4_MKV, 1: Format.H264_FASTSTART_MP4}.get(index % 8, Format.H264_MP4)


def _fitting(name: str, fits: Callable[[str], bool]) -> str:
    return next(identifier for identifier in _identifiers(name) if fits(identifier))


def _identifiers(name: str) -> Iterator[str]:
    for attempt in count():
        digest = hashlib.sha256(f"{name}/{attempt}".encode()).digest()
        yield base64.urlsafe_b64encode(digest)[:11].decode()


def _falls_in(partition: Partition) -> Callable[[str], bool]:
    start, end = ENDS[partition]
    salt = str(Partitioning.model_fields["salt"].default)
    return lambda identifier: start <= salted_hash(salt, identifier) / 2**64 < end


def _is_drawn(identifier: str) -> bool:
    return salted_hash(str(VideoSampling.model_fields["salt"].default), identifier) < 2**63
