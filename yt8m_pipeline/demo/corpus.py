"""The demo corpus: four input tables in three formats, and the video files that they name."""

import csv
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from yt8m_pipeline.accounting.reasons import DropReason
from yt8m_pipeline.demo.encoding import encode, timeline, write_audio_only, write_truncated
from yt8m_pipeline.demo.entities import ENTITIES
from yt8m_pipeline.demo.scenes import frames
from yt8m_pipeline.demo.signatures import SIGNATURES
from yt8m_pipeline.demo.videos import Defect, DemoVideo, plan_videos, with_wrong_labels
from yt8m_pipeline.errors import DataError, UsageError

MIN_VIDEOS = 24
MARK = "demo.json"
"""Marks a folder as ours, first empty, and says at last which corpus it holds: only a marked one is ever replaced."""
OURS = frozenset((MARK, "entities.csv", "ratings.jsonl", "videos.parquet", "annotations.csv", "videos"))

UNKNOWN_ENTITY, UNKNOWN_VIDEO = "/m/0unknown", "nosuchvideo"
RATERS = ("ana", "ben", "chi", "dov", "eve")


@dataclass(frozen=True, order=True, slots=True)
class ExpectedReject:
    """A row of the corpus that no build with configs/smoke.yaml keeps, and why."""

    table: str
    identifier: str
    reason: DropReason


@dataclass(frozen=True, slots=True)
class CorpusSummary:
    """What was written.

    Attributes:
        videos: How many videos were encoded whole.
        formats: How many of each container and codec.
        entities: How many rows the entities table has.
        sample_size: The sample that leaves out just the surplus videos.
        expected_rejects: Every row that was planted to be dropped.
    """

    videos: int
    formats: Mapping[str, int]
    entities: int
    sample_size: int
    expected_rejects: tuple[ExpectedReject, ...]

    def to_json(self) -> dict[str, Any]:
        formats = [{"format": name, "videos": number} for name, number in sorted(self.formats.items())]
        planted = Counter(f"{item.table}: {item.reason.value}" for item in self.expected_rejects)
        rejects = [{"planted": name, "rows": number} for name, number in sorted(planted.items())]
        return {"videos": self.videos, "entities": self.entities, "formats": formats, "to be rejected": rejects}


def write_corpus(
    root: Path,
    *,
    videos: int = 40,
    seconds: float = 10.0,
    seed: int = 0,
    nested_labels: bool = False,
    label_noise: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
) -> CorpusSummary:
    """Writes the tables and videos; the same arguments make the same bytes. A folder that holds them is left alone.

    Args:
        root: The folder: new, empty, or a demo corpus, which is replaced if the arguments differ.
        videos: How many videos to encode, at least 24; four broken ones come on top.
        seconds: Their typical length: half to one and a half times as much.
        seed: Another seed gives other ids and pictures.
        nested_labels: Labels in the videos table, and no annotations table.
        label_noise: The share of the labels of what is seen that are wrong, as those of machines are (paper §3): no
            model can learn to tell these, so that metrics are below 1.
        progress: Called with (videos written, videos in all).

    Raises:
        UsageError: if the folder holds something else or is a file, or there are too few videos.
        DataError: if the folder or a file in it cannot be made, read or removed.
    """
    if videos < MIN_VIDEOS:
        raise UsageError(
            what="The demo corpus is too small",
            where="videos",
            why=f"{videos} is below {MIN_VIDEOS}",
            fix="ask for more videos",
        )
    planned = plan_videos(videos, seconds, seed)
    summary = _summarize(planned)
    arguments = {"videos": videos, "seconds": seconds, "seed": seed, "nested_labels": nested_labels}
    mark = json.dumps(arguments | ({"label_noise": label_noise} if label_noise else {}))
    with _writing(root):
        if _holds(root, mark):
            return summary
        _write_tables(root, [with_wrong_labels(video, label_noise) for video in planned], nested_labels)
        for index, video in enumerate(planned):
            write_file(root / video.uri, video, [seed, index])
            if progress:
                progress(index + 1, len(planned))
        (root / MARK).write_text(mark)
    return summary


@contextmanager
def _writing(root: Path) -> Iterator[None]:
    """Turns what the system says of the folder and its files into an error with four parts."""
    try:
        yield
    except (NotADirectoryError, FileExistsError) as error:
        raise UsageError(
            what="The demo corpus needs a folder",
            where=str(root),
            why=error.strerror or str(error),
            fix="give a new or empty folder",
        ) from error
    except OSError as error:
        raise DataError(
            what="The demo corpus cannot be written",
            where=str(error.filename or root),
            why=error.strerror or str(error),
            fix="free space, check the permissions of the folder, or give another one",
        ) from error


def _holds(root: Path, mark: str) -> bool:
    """Whether the folder holds this corpus; another corpus is removed."""
    names = {path.name for path in root.iterdir()} if root.exists() else set()
    foreign = names - OURS if MARK in names else names
    if foreign:
        raise UsageError(
            what="The folder holds something else",
            where=str(root),
            why=f"it has {min(foreign)}, which is no part of a demo corpus",
            fix="give a new or empty folder",
        )
    if names and (root / MARK).read_text() != mark:
        shutil.rmtree(root)
        return False
    return bool(names)


def _write_tables(root: Path, planned: Sequence[DemoVideo], nested_labels: bool) -> None:
    """Makes the folder, marks it as ours, and writes the tables."""
    root.mkdir(parents=True, exist_ok=True)
    (root / MARK).touch()
    (root / "videos").mkdir()
    _write_entities(root / "entities.csv")
    _write_ratings(root / "ratings.jsonl")
    _write_videos_table(root / "videos.parquet", planned, nested_labels)
    if not nested_labels:
        _write_annotations(root / "annotations.csv", planned)


def _summarize(planned: Sequence[DemoVideo]) -> CorpusSummary:
    broken = (Defect.TEXT, Defect.MISSING, Defect.AUDIO_ONLY, Defect.TRUNCATED)
    whole = [video for video in planned if video.defect not in broken]
    drawn = [video for video in planned if video.defect in (None, Defect.SCARCE, *broken)]
    rejects = [ExpectedReject("videos", video.video_id, video.defect.value) for video in planned if video.defect]
    rejects += [ExpectedReject("entities", entity.entity_id, entity.drop) for entity in ENTITIES if entity.drop]
    rejects += [ExpectedReject("ratings", entity_id, reason) for entity_id, reason in _bad_ratings()]
    rejects += [
        ExpectedReject("videos", planned[0].video_id, DropReason.DUPLICATE),
        ExpectedReject("videos", "nandurationx", DropReason.OUT_OF_RANGE),
        ExpectedReject("videos", "withoutauri", DropReason.MISSING_VALUE),
    ]
    formats = Counter(f"{video.format.value.container}/{video.format.value.codec}" for video in whole)
    return CorpusSummary(len(whole), formats, len(ENTITIES), len(drawn), tuple(sorted(rejects)))


def _bad_ratings() -> Iterator[tuple[str, DropReason]]:
    yield UNKNOWN_ENTITY, DropReason.UNKNOWN_ENTITY
    for entity in ENTITIES:
        for score in entity.scores:
            if score is None:
                yield entity.entity_id, DropReason.WRONG_TYPE
            elif not 1 <= score <= 5:
                yield entity.entity_id, DropReason.OUT_OF_RANGE


def _write_entities(path: Path) -> None:
    header = ("entity_id", "name", "types", "description", "wiki_url", "verticals")
    rows = [
        (item.entity_id, item.name, ";".join(item.types), item.description, item.wiki_url, ";".join(item.verticals))
        for item in ENTITIES
    ]
    _write_csv(path, header, rows)


def _write_ratings(path: Path) -> None:
    rated = [(entity.entity_id, entity.scores) for entity in ENTITIES] + [(UNKNOWN_ENTITY, (1,))]
    rows = [
        {"entity_id": entity_id, "rater_id": rater, "score": "n/a" if score is None else score}
        for entity_id, scores in rated
        for rater, score in zip(RATERS, scores, strict=False)
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def _write_videos_table(path: Path, planned: Sequence[DemoVideo], nested_labels: bool) -> None:
    rows = [_video_row(video.video_id, video, video.duration_seconds) for video in [*planned, planned[0]]]
    rows += [
        _video_row("nandurationx", planned[1], float("nan")),
        _video_row("withoutauri", planned[1], planned[1].duration_seconds) | {"uri": None},
    ]
    columns = {name: [row[name] for row in rows] for name in rows[0] if nested_labels or name != "labels"}
    pq.write_table(pa.table(columns), path)


def _video_row(video_id: str, video: DemoVideo, duration_seconds: float) -> dict[str, Any]:
    return {
        "video_id": video_id,
        "uri": video.uri,
        "duration_seconds": duration_seconds,
        "view_count": video.view_count,
        "group_id": video.group_id,
        "labels": [{"entity_id": entity_id, "score": 0.9} for entity_id in video.labels],
    }


def _write_annotations(path: Path, planned: Sequence[DemoVideo]) -> None:
    rows = [(video.video_id, entity_id, "0.9") for video in planned for entity_id in video.labels]
    planted = [(UNKNOWN_VIDEO, *rows[0][1:]), (rows[0][0], UNKNOWN_ENTITY, "0.5"), rows[1]]
    _write_csv(path, ("video_id", "entity_id", "score"), rows + planted)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows([header, *rows])


def write_file(path: Path, video: DemoVideo, seed: Sequence[int]) -> None:
    """Writes the file of a video, or what is there in the place of a defective one."""
    if video.defect == Defect.MISSING:
        return
    if video.defect == Defect.TEXT:
        path.write_text("This is no video, whatever its name says.\n")
        return
    if video.defect == Defect.AUDIO_ONLY:
        write_audio_only(path, video.seconds)
        return
    times = timeline(video.seconds, video.rate)
    pictures = frames(_depicted(video), times.times_seconds, seed)
    if video.defect == Defect.TRUNCATED:
        write_truncated(path, pictures, times)
    else:
        encode(path, pictures, times, video.format)


def _depicted(video: DemoVideo) -> list[str]:
    return [entity.name for entity in ENTITIES if entity.entity_id in video.labels and entity.name in SIGNATURES]
