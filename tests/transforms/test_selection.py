"""The Beam shell of the recount equals the pure functions."""

from collections import Counter
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that, equal_to

from tests.selection.rows import table
from yt8m_pipeline.accounting.counts import StageCount
from yt8m_pipeline.accounting.reasons import Stage
from yt8m_pipeline.config import VideoSampling
from yt8m_pipeline.data_model import Partition, StoredEntry, StoredVideo, Video
from yt8m_pipeline.jobs.engine import beam_pipeline
from yt8m_pipeline.selection.labels import OF_SEGMENTS
from yt8m_pipeline.tables.reading import schema
from yt8m_pipeline.transforms.selection import (
    CountStored,
    FindLackingEntities,
    KeepFrequent,
    KeepStored,
    SettleAnnotations,
    WarnOfSegments,
)

ENTRY = StoredEntry(1, 1.0, "0" * 64, 1.0, 0.0)
LABELS = {"u": ("a", "b"), "v": ("a",), "w": ("b", "c"), "x": ("c",)}
CONFIG = VideoSampling(min_videos_per_entity=2)


def stored(video_id: str, *entity_ids: str, partition: Partition = Partition.TRAIN) -> StoredVideo:
    return StoredVideo(Video(video_id, f"{video_id}.mp4", partition, entity_ids), ENTRY)


def annotations(pairs: list[tuple[str, str]]) -> pa.Table:
    rows = [{"video_id": video, "entity_id": entity, "score": None} for video, entity in pairs]
    return table(rows, {field.name: field.type for field in schema("annotations") if not field.name.startswith("_")})


def entities(*ids: str) -> pa.Table:
    return table([{"entity_id": name} for name in ids], {"entity_id": pa.string()})


@pytest.mark.parametrize("failed", ["v", "w", "x"])
def test_after_a_video_failed_entities_videos_and_annotations_are_settled(failed: str) -> None:
    """Without v, entity a has one video; without w, b and c have one, and x has no label left; without x, c has one."""
    extracted = {name: found for name, found in LABELS.items() if name != failed}
    counts = Counter(entity for found in extracted.values() for entity in found)
    left = {name: tuple(entity for entity in found if counts[entity] >= 2) for name, found in extracted.items()}
    pairs = [(name, entity) for name, found in LABELS.items() for entity in found]
    labels = [(name, entity) for name, found in left.items() for entity in found]
    with beam_pipeline([]) as root:
        videos = root | "Videos" >> beam.Create([stored(name, *found) for name, found in extracted.items()])
        tables = root | "Entities" >> beam.Create([entities("a"), entities("b", "c")])
        frequent = tables | KeepFrequent(CONFIG, videos | CountStored(), Stage.RECOUNT)
        kept = videos | KeepStored(frequent.kept)
        given = root | "Annotations" >> beam.Create([annotations(pairs[:3]), annotations(pairs[3:])])
        settled = {"videos": kept.kept, "annotations": given} | SettleAnnotations(2)
        expected = [stored(name, *found) for name, found in left.items() if found]
        assert_that(kept.kept, equal_to(expected), label="videos")
        assert_that(settled.kept | beam.FlatMap(pairs_of), equal_to(labels), label="labels")
        assert_that(
            settled.rejects | "rejects" >> beam.FlatMap(lambda rows: rows["id"].to_pylist()),
            equal_to([name for name, entity in pairs if (name, entity) not in labels]),
            label="rejects",
        )
        assert_that(kept.counts | "totals" >> beam.Map(rows_in), equal_to([3]), label="counts")


def pairs_of(rows: pa.Table) -> list[tuple[str, str]]:
    return list(zip(rows["video_id"].to_pylist(), rows["entity_id"].to_pylist(), strict=True))


def rows_in(count: StageCount) -> Any:
    return count.rows_in


def test_the_entities_that_a_partition_lacks_are_found() -> None:
    videos = [stored("u", "a", "b"), stored("v", "a", partition=Partition.VALIDATE)]
    with beam_pipeline([]) as root:
        tables = root | "Entities" >> beam.Create([entities("a", "b")])
        lacking = root | "Videos" >> beam.Create(videos) | FindLackingEntities(tables, frozenset(Partition))
        assert_that(lacking, equal_to([{"train": [], "validate": ["b"], "test": ["a", "b"]}]))


@pytest.mark.parametrize("starts", [[], [None, None], [None, 1.5], [0.0, 2.0]])
def test_segments_are_warned_of_once(starts: list[float | None]) -> None:
    fields = {"video_id": pa.string(), "start_seconds": pa.float64()}
    rows = [table([{"video_id": "v", "start_seconds": start}], fields) for start in starts]
    with beam_pipeline([]) as root:
        found = root | beam.Create(rows) | WarnOfSegments()
        assert_that(found, equal_to([OF_SEGMENTS] if any(start is not None for start in starts) else []))
