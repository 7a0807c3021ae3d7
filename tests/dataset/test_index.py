"""The tables of a dataset: label indices, a vocabulary that any CSV reader reads back, and no test label."""

import csv
import io
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.selection.rows import STRINGS, table
from yt8m_pipeline import files
from yt8m_pipeline.data_model import VIDEO_COLUMNS, MediaFile, Partition, StoredEntry, StoredVideo, Video
from yt8m_pipeline.dataset.index import (
    VIDEOS,
    VOCABULARY_COLUMNS,
    label_indices,
    read_parquet,
    recorded_entry,
    streamed,
    video_rows,
    vocabulary_csv,
    write_videos,
    write_vocabulary,
)
from yt8m_pipeline.dataset.layout import Layout, Shard
from yt8m_pipeline.dataset.steps import file_entry
from yt8m_pipeline.errors import DataError

COLUMNS = {
    "entity_id": pa.string(),
    "name": pa.string(),
    "description": pa.string(),
    "wiki_url": pa.string(),
    "verticals": STRINGS,
    "mean_score": pa.float64(),
    "specificity": pa.string(),
}
texts = st.text(st.sampled_from(list("aé,;\"' \n\r\t")), max_size=8)


def entity(entity_id: str, **values: Any) -> dict[str, Any]:
    row = {"name": "", "description": "", "wiki_url": "", "verticals": [], "mean_score": 1.0, "specificity": "fine"}
    return {"entity_id": entity_id, **row, **values}


def entities(*rows: dict[str, Any]) -> pa.Table:
    return table(rows, COLUMNS)


def rows_of(text: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.decode(), newline="")))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(str(tmp_path))


class TestVocabulary:
    @given(st.dictionaries(st.text(max_size=3), st.integers(0, 3), max_size=8))
    def test_indices_fall_with_train_videos_and_rise_with_ids(self, counts: dict[str, int]) -> None:
        indices = label_indices(counts, {name: count for name, count in counts.items() if count})
        assert sorted(indices.values()) == list(range(len(counts)))
        for first, second in product(counts, repeat=2):
            if (-counts[first], first) < (-counts[second], second):
                assert indices[first] < indices[second]

    def test_rows_stand_in_the_order_of_their_index_whatever_tables_they_came_in(self) -> None:
        counts = {"/m/b": 3, "/m/c": 3, "/m/d": 9}
        pieces = [entities(entity("/m/c"), entity("/m/a")), entities(), entities(entity("/m/d"), entity("/m/b"))]
        text = vocabulary_csv(pieces, counts)
        found = [(row["Index"], row["TrainVideoCount"], row["KnowledgeGraphId"]) for row in rows_of(text)]
        assert found == [("0", "9", "/m/d"), ("1", "3", "/m/b"), ("2", "3", "/m/c"), ("3", "0", "/m/a")]
        assert vocabulary_csv(pieces[::-1], counts) == text

    def test_the_columns_are_the_published_ones_and_two_more(self) -> None:
        row = entity(
            "/m/0k4j",
            name="Car",
            description="It has wheels, four",
            wiki_url="https://en.wikipedia.org/wiki/Car",
            verticals=["Autos & Vehicles", "Toys"],
            mean_score=4 / 3,
            specificity="coarse",
        )
        header, line, end = vocabulary_csv([entities(row)], {"/m/0k4j": 7}).decode().split("\n")
        assert header == (
            "Index,TrainVideoCount,KnowledgeGraphId,Name,WikiUrl,Vertical1,Vertical2,Vertical3,WikiDescription,"
            "MeanRaterScore,Specificity"
        )
        assert line == (
            '0,7,/m/0k4j,Car,https://en.wikipedia.org/wiki/Car,Autos & Vehicles,Toys,,"It has wheels, four",'
            "1.33333,coarse"
        )
        assert end == ""

    @given(texts, texts, st.lists(texts, max_size=3))
    def test_any_text_is_read_back(self, name: str, description: str, verticals: list[str]) -> None:
        """Line ends within a text become \\n: a lone carriage return would break the row for most readers."""
        rows = [entity("/m/a", name=name, description=description, verticals=verticals), entity("/m/b", name="next")]
        first, second = rows_of(vocabulary_csv([entities(*rows)], {}))
        assert list(first) == list(VOCABULARY_COLUMNS)
        assert (first["Name"], first["WikiDescription"]) == (with_newlines(name), with_newlines(description))
        found = [first[f"Vertical{number}"] for number in (1, 2, 3)]
        assert found == [*map(with_newlines, verticals), "", "", ""][:3]
        assert second["Name"] == "next"

    def test_missing_texts_are_empty(self) -> None:
        row = entity("/m/a", name=None, description=None, wiki_url=None, verticals=None)
        assert b"\n0,0,/m/a,,,,,,,1,fine\n" in vocabulary_csv([entities(row)], {})

    def test_a_frozen_vocabulary_may_be_written_again_and_may_not_change(self, layout: Layout, tmp_path: Path) -> None:
        entry = write_vocabulary(layout, b"old", frozen=False)
        assert write_vocabulary(layout, b"old", frozen=True) == entry == file_entry(layout, "vocabulary.csv")
        with pytest.raises(DataError, match="The vocabulary would change") as caught:
            write_vocabulary(layout, b"new", frozen=True)
        assert "run `yt8m build`" in caught.value.fix
        assert (tmp_path / "vocabulary.csv").read_bytes() == b"old"
        assert write_vocabulary(layout, b"new", frozen=False) != entry


def with_newlines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def stored(video_id: str, partition: Partition, *entity_ids: str) -> StoredVideo:
    media = MediaFile("avi", "mjpeg", 700, 64, 48, 25.0, 125, 5)
    entry = StoredEntry(5, 1.5, f"digest of {video_id}", 0.75, 0.25, "PQ" * (video_id == "t1"), media)
    video = Video(
        video_id,
        f"/corpus/films/{video_id}.mp4",
        partition,
        entity_ids,
        listed_uri=f"films/{video_id}.mp4",
        duration_seconds=5.5,
        kept_columns=("a film", ""),
        view_count=1016,
    )
    return StoredVideo(video, entry)


INDICES = {"/m/a": 2, "/m/b": 0, "/m/c": 1}
SHARDS = {partition: Shard(partition, 1, 4) for partition in Partition}
KEPT = ("title", "licence")
FORM = (4, "rgb_codes")
"""The number of codes of a frame, and the feature list that they are in."""


def video_tables() -> list[pa.Table]:
    members = {
        Partition.TRAIN: [
            stored("t2", Partition.TRAIN, "/m/a", "/m/b"),
            stored("t1", Partition.TRAIN, "/m/a", "/m/b", "/m/c"),
        ],
        Partition.TEST: [stored("s1", Partition.TEST, "/m/a", "/m/c"), stored("s0", Partition.TEST, "/m/b")],
        Partition.VALIDATE: [stored("v1", Partition.VALIDATE, "/m/c")],
    }
    return [video_rows(SHARDS[part], found, INDICES, KEPT) for part, found in members.items()]


class TestVideos:
    def test_labels_of_the_test_partition_are_withheld(self, layout: Layout) -> None:
        entries = write_videos(layout, video_tables(), *FORM)
        assert [entry.path for entry in entries] == ["videos.parquet", "withheld/test_labels.parquet"]
        published = read_parquet(layout, "videos.parquet").to_pylist()
        assert [(row["video_id"], row["partition"], row["labels"]) for row in published] == [
            ("s0", "test", None),
            ("s1", "test", None),
            ("t1", "train", [0, 1, 2]),
            ("t2", "train", [0, 2]),
            ("v1", "validate", [1]),
        ]
        withheld = read_parquet(layout, "withheld/test_labels.parquet").to_pylist()
        assert withheld == [{"video_id": "s0", "labels": [0]}, {"video_id": "s1", "labels": [1, 2]}]

    def test_the_published_file_is_the_same_whatever_the_test_labels(self, layout: Layout) -> None:
        """Not only null when read: the values are not in the bytes."""
        before = write_videos(layout, video_tables(), *FORM)
        other = video_rows(SHARDS[Partition.TEST], [stored("s1", Partition.TEST, "/m/b")], INDICES, KEPT)
        same = video_rows(SHARDS[Partition.TEST], [stored("s0", Partition.TEST, "/m/a", "/m/b")], INDICES, KEPT)
        train, _, validate = video_tables()
        after = write_videos(layout, [train, other, same, validate], *FORM)
        assert after[0] == before[0]
        assert after[1] != before[1]

    def test_a_row_says_where_the_record_is_and_what_it_was_made_of(self, layout: Layout) -> None:
        write_videos(layout, video_tables(), *FORM)
        row = read_parquet(layout, "videos.parquet").to_pylist()[2]
        assert row == {
            "video_id": "t1",
            "partition": "train",
            "labels": [0, 1, 2],
            "frames": 5,
            "shard": "train-00001-of-00004",
            "features_sha256": "digest of t1",
            "features_magnitude": 1.5,
            "decoded_fraction": 0.75,
            "deviation_seconds": 0.25,
            "uri": "films/t1.mp4",
            "duration_seconds": 5.5,
            "view_count": 1016,
            "transfer": "PQ",
            "container": "avi",
            "codec": "mjpeg",
            "file_bytes": 700,
            "width": 64,
            "height": 48,
            "frame_rate": 25.0,
            "packets": 125,
            "decoded_packets": 5,
            "frame_offset": 0,
            "frame_bytes": 118,
            "video_offset": 0,
            "video_bytes": 85,
            "title": "a film",
            "licence": "",
        }
        assert recorded_entry(row) == stored("t1", Partition.TRAIN).entry
        older = {
            name: value
            for name, value in row.items()
            if name not in ("transfer", *(field.name for field in fields(MediaFile)))
        }
        assert recorded_entry(older) == replace(recorded_entry(row), transfer="", media=None)

    def test_the_columns_are_those_whose_names_the_config_reserves(self, layout: Layout) -> None:
        assert tuple(VIDEOS.names) == VIDEO_COLUMNS
        write_videos(layout, video_tables(), *FORM)
        assert read_parquet(layout, "videos.parquet").column_names == [*VIDEO_COLUMNS, *KEPT]

    def test_the_order_of_the_tables_changes_no_byte(self, layout: Layout) -> None:
        tables = video_tables()
        pieces = [table.slice(start, 1) for table in tables[::-1] for start in range(table.num_rows)]
        assert write_videos(layout, tables, *FORM) == write_videos(layout, pieces, *FORM)

    def test_no_videos_are_an_empty_table(self, layout: Layout) -> None:
        write_videos(layout, [], *FORM)
        assert read_parquet(layout, "videos.parquet").num_rows == 0
        assert read_parquet(layout, "withheld/test_labels.parquet").num_rows == 0


def test_a_file_is_streamed_in_the_memory_of_a_row_group(tmp_path: Path) -> None:
    rows, groups = 1 << 17, 16
    written = pa.table({"value": np.random.default_rng(0).random(rows)})
    with pq.ParquetWriter(tmp_path / "many.parquet", written.schema) as writer:
        for _ in range(groups):
            writer.write_table(written)
    before, peaks = pa.total_allocated_bytes(), []
    with files.open_read(str(tmp_path / "many.parquet")) as stream:
        for batch in streamed(stream).iter_batches(1024):
            peaks.append(pa.total_allocated_bytes() - before)
            del batch
    assert len(peaks) == rows * groups // 1024
    assert max(peaks) < 5 * written.nbytes < groups * written.nbytes / 2
