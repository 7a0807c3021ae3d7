"""Rejects come back exactly as they were written, through every filter, and from the one table of format 3 as well."""

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import TESTS, rejects_of
from tests.dataset.example import write_example
from yt8m_pipeline.accounting.outcome import REJECTS, reject_video
from yt8m_pipeline.accounting.reasons import DropReason, Stage, VideoRejected
from yt8m_pipeline.dataset import rejects as rejects_module
from yt8m_pipeline.dataset.layout import Layout, RejectsPart
from yt8m_pipeline.dataset.reader import open_dataset
from yt8m_pipeline.dataset.rejects import (
    RejectsSummary,
    divide,
    failed_videos,
    find_rejects,
    read_rejects,
    write_part,
    write_rejects,
)
from yt8m_pipeline.errors import DataError, UsageError

GOLDEN = TESTS / "golden_formats" / "0.1.0" / "dataset"
TEXTS = st.text(st.characters(codec="utf-8"), max_size=5)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "stage": st.sampled_from([stage.value for stage in Stage]),
            "table": st.sampled_from(["videos", "annotations"]),
            "id": st.none() | st.sampled_from(["a", "b", "c"]) | TEXTS,
            "reason": st.sampled_from(["duplicate", "truncated"]),
            "detail": TEXTS,
            "file": st.none() | TEXTS,
            "row": st.none() | st.integers(0, 3),
            "decoded_fraction": st.none() | st.sampled_from([0.0, 0.5]),
        }
    ),
    max_size=30,
)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(str(tmp_path))


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in REJECTS.names)


def rows_of(layout: Layout, **filters: Any) -> Counter[tuple[Any, ...]]:
    tables = read_rejects(layout, find_rejects(layout), **filters)
    return Counter(key_of(row) for table in tables for row in table.to_pylist())


@given(ROWS, st.integers(1, 9), st.randoms())
def test_they_come_back_exactly_and_their_order_changes_no_byte(
    rows: list[dict[str, Any]], rows_per_part: int, chance: Any
) -> None:
    shuffled = list(rows)
    chance.shuffle(shuffled)
    with TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch:
        patch.setattr(rejects_module, "ROWS_PER_PART", rows_per_part)
        layout = Layout(root)
        entries = write_rejects(layout, [pa.Table.from_pylist(rows, schema=REJECTS)])
        pieces = [pa.Table.from_pylist([row], schema=REJECTS) for row in shuffled]
        assert write_rejects(layout, pieces) == entries
        assert rows_of(layout) == Counter(key_of(row) for row in rows)
        for video_id, stage, reason in [("a", None, None), ("b", "decode", None), (None, "read", "truncated")]:
            wanted = {"id": video_id, "stage": stage, "reason": reason}.items()
            found = rows_of(layout, video_id=video_id, stages=[stage] if stage else [], reason=reason)
            assert found == Counter(
                key_of(row) for row in rows if all(value in (None, row[name]) for name, value in wanted)
            )
        counts = Counter((row["stage"], row["table"], row["reason"]) for row in rows)
        assert RejectsSummary.of(layout).totals == counts
        files = [path.name for path in Path(root, "rejects").iterdir()]
        assert len(files) == len(entries)
        assert len(files) <= 1 + sum(
            -(-number // rows_per_part) for number in Counter(r["stage"] for r in rows).values()
        )


def test_a_small_dataset_has_one_sorted_file_for_each_stage(layout: Layout, tmp_path: Path) -> None:
    tables = [
        reject_video(Stage.DECODE, name, "uri", VideoRejected(reason, "detail"))
        for name, reason in (("b", DropReason.TRUNCATED), ("a", DropReason.NO_FRAMES), ("a", DropReason.DAMAGED))
    ]
    tables.append(pa.Table.from_pylist([{"stage": "read", "table": "videos", "row": 2, "reason": "x"}], schema=REJECTS))
    assert [entry.path for entry in write_rejects(layout, tables)] == [
        "rejects/decode-00000-of-00001.parquet",
        "rejects/read-00000-of-00001.parquet",
        "rejects/summary.json",
    ]
    rows = pq.read_table(tmp_path / "rejects" / "decode-00000-of-00001.parquet")
    assert rows.schema.remove_metadata() == REJECTS
    assert [(row["id"], row["reason"]) for row in rows.to_pylist()] == [
        ("a", "damaged"),
        ("a", "no_frames"),
        ("b", "truncated"),
    ]


def test_none_are_a_summary_alone(layout: Layout) -> None:
    (entry,) = write_rejects(layout, [])
    assert entry.path == "rejects/summary.json"
    assert list(failed_videos(layout, find_rejects(layout))) == []


def test_videos_that_failed_are_those_of_two_stages(layout: Layout) -> None:
    rejection = VideoRejected(DropReason.TOO_DAMAGED, "detail", 0.5)
    write_rejects(layout, [reject_video(stage, stage, "uri", rejection) for stage in Stage])
    failed = list(failed_videos(layout, find_rejects(layout)))
    assert [row["id"] for row in failed] == ["decode", "extract"]
    assert failed[0] == {"id": "decode", "reason": "too_damaged", "detail": "detail", "decoded_fraction": 0.5}


def test_what_an_earlier_build_wrote_goes(layout: Layout, tmp_path: Path) -> None:
    rejection = VideoRejected(DropReason.TRUNCATED, "detail")
    write_rejects(layout, [reject_video(stage, "a", "uri", rejection) for stage in (Stage.DECODE, Stage.EXTRACT)])
    (tmp_path / "rejects.parquet").touch()
    write_rejects(layout, [reject_video(Stage.DECODE, "a", "uri", rejection)])
    assert find_rejects(layout) == ["rejects/decode-00000-of-00001.parquet"]


def test_the_rows_of_an_id_are_in_one_part_and_rows_without_one_are_spread() -> None:
    ids = [f"v{number % 100}" for number in range(1000)] + [None] * 1000
    columns: dict[str, Any] = {"id": ids, "row": list(range(2000)), "file": ["t.csv"] * 2000}
    columns |= {name: [value] * 2000 for name, value in (("stage", "read"), ("table", "videos"), ("reason", "x"))}
    rows = pa.table({**columns, "detail": [""] * 2000, "decoded_fraction": [None] * 2000}, schema=REJECTS)
    parts = dict(divide(rows, {"read": 8 * rejects_module.ROWS_PER_PART}))
    assert sorted(part.index for part in parts) == list(range(8))
    where = [(name, part.index) for part, piece in parts.items() for name in set(piece["id"].to_pylist()) if name]
    assert len(where) == 100
    assert all(50 < pc.sum(pc.is_null(piece["id"])).as_py() < 250 for piece in parts.values())


def test_a_part_is_read_by_the_row_groups_that_may_match(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejects_module, "ROWS_PER_GROUP", 10)
    part = RejectsPart("decode", 0, 1)
    tables = [reject_video(Stage.DECODE, f"{n:03d}", "uri", VideoRejected(DropReason.DAMAGED, "")) for n in range(100)]
    write_part(layout, part, tables)
    path = Path(layout.path(part.path))
    assert pq.ParquetFile(path).metadata.num_row_groups == 10
    data = bytearray(path.read_bytes())
    first = pq.ParquetFile(path).metadata.row_group(0).column(2)
    data[first.dictionary_page_offset or first.data_page_offset] ^= 255
    path.write_bytes(data)
    assert [table["id"].to_pylist() for table in read_rejects(layout, [part.path], video_id="057")] == [["057"]]
    with pytest.raises(DataError, match="Rejects of the dataset cannot be read"):
        list(read_rejects(layout, [part.path], video_id="003"))


class TestReader:
    def test_a_finished_dataset_gives_its_rejects_and_refuses_one_that_is_missing(self, tmp_path: Path) -> None:
        dataset = open_dataset(write_example(tmp_path))
        (table,) = dataset.rejects(stage="decode", reason=DropReason.TRUNCATED)
        assert table.to_pylist() == rejects_of(tmp_path)
        assert list(dataset.rejects(video_id="a")) == []
        (tmp_path / "rejects" / "decode-00000-of-00001.parquet").unlink()
        with pytest.raises(DataError, match="Rejects of the dataset cannot be read"):
            list(dataset.rejects())

    @pytest.mark.parametrize("filters", [{"stage": "decoding"}, {"reason": "no_reason"}])
    def test_a_stage_or_reason_that_is_none_is_refused_at_once(self, tmp_path: Path, filters: Any) -> None:
        dataset = open_dataset(write_example(tmp_path))
        with pytest.raises(UsageError, match=f"There is no such {next(iter(filters))}"):
            dataset.rejects(**filters)

    def test_the_one_table_of_format_3_is_read_with_every_filter(self) -> None:
        dataset, rows = open_dataset(str(GOLDEN)), pq.read_table(GOLDEN / "rejects.parquet").to_pylist()
        assert [row for table in dataset.rejects() for row in table.to_pylist()] == rows
        some = rows[len(rows) // 2]
        filters = {"video_id": some["id"], "stage": some["stage"], "reason": some["reason"]}
        assert some in [row for table in dataset.rejects(**filters) for row in table.to_pylist()]


@pytest.mark.parametrize("text", ["{", "[]", '{"rejects": [{"stage": "read"}]}', '{"rejects": 7}', ""])
def test_a_damaged_summary_is_told(layout: Layout, tmp_path: Path, text: str) -> None:
    (tmp_path / "rejects").mkdir()
    (tmp_path / "rejects" / "summary.json").write_text(text)
    with pytest.raises(DataError, match="Rejects of the dataset cannot be read"):
        RejectsSummary.of(layout)


@pytest.mark.parametrize("path", ["rejects/x.parquet", "rejects/read-1-of-1.parquet", "rejects/../read-0-of-1.parquet"])
def test_what_is_no_path_of_a_part_is_refused(path: str) -> None:
    assert not Layout.is_rejects(path)
    with pytest.raises(ValueError, match=r"is not the path|does not exist"):
        RejectsPart.of_path(path)
