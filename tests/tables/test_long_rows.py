"""Rows that are too long, too deep or too large cost themselves; memory stays that of a few rows."""

import json
import subprocess
import sys
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yt8m_pipeline.tables import formats
from yt8m_pipeline.tables.delimited import MAX_ROW_BYTES
from yt8m_pipeline.tables.headers import check_schema
from yt8m_pipeline.tables.reading import TableFiles, read_batches

READ = """
import sys
from pathlib import Path
from yt8m_pipeline.tables.headers import check_schema
from yt8m_pipeline.tables.reading import TableFiles, read_batches
folder, name = sys.argv[1:]
def peak():  # ru_maxrss begins with that of the process that started this one
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith("VmHWM"))
before = peak()
check_schema(f"{folder}/{name}", "ratings")
rows = [(out.kept.num_rows, out.rejects.num_rows) for out in read_batches(TableFiles("ratings", folder, (name,)), name)]
print(sum(kept for kept, _ in rows), sum(rejected for _, rejected in rows))
print((peak() - before) // 1024)
"""
GOOD = {
    "csv": "entity_id,rater_id,score\n/m/a,ana,1\n",
    "jsonl": '{"entity_id": "/m/a", "rater_id": "ana", "score": 1}\n',
}
MORE = {"csv": "/m/b,ben,2\n", "jsonl": '{"entity_id": "/m/b", "rater_id": "ben", "score": 2}\n'}


def details(path: Path) -> list[tuple[int, str]]:
    """The rows that are kept, and why the others are not."""
    check_schema(str(path), "ratings")
    outcomes = list(read_batches(TableFiles("ratings", str(path.parent), (path.name,)), path.name))
    rejects = [reject for outcome in outcomes for reject in outcome.rejects.to_pylist()]
    return [(reject["row"], reject["detail"]) for reject in rejects]


@pytest.mark.parametrize("ending", GOOD)
def test_a_line_of_a_gibibyte_is_one_reject_and_takes_little_memory(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"ratings.{ending}"
    path.write_text(GOOD[ending])
    with path.open("r+b") as stream:
        stream.truncate(len(GOOD[ending]) + (1 << 30))  # a hole, which reads as zeros
        stream.seek(0, 2)
        stream.write(f"\n{MORE[ending]}".encode())
    command = [sys.executable, "-c", READ, str(tmp_path), path.name]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    rows, mebibytes = finished.stdout.splitlines()
    assert rows == "2 1"
    assert int(mebibytes) < 64


@pytest.mark.parametrize(("length", "rows", "counts"), [(1 << 19, 4000, "4000 0"), (1 << 20, 100_000, "0 100000")])
def test_a_text_that_a_parquet_file_repeats_takes_little_memory(
    tmp_path: Path, length: int, rows: int, counts: str
) -> None:
    """A file of less than a megabyte has 2 or 100 GiB of text."""
    raters = pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), pa.array(["r" * length]))
    ids = pa.array([f"/m/{row}" for row in range(rows)])
    table = pa.table({"entity_id": ids, "rater_id": raters, "score": np.ones(rows)})
    pq.write_table(table, tmp_path / "ratings.parquet")
    assert (tmp_path / "ratings.parquet").stat().st_size < 1 << 20
    command = [sys.executable, "-c", READ, str(tmp_path), "ratings.parquet"]
    said, mebibytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == counts
    assert int(mebibytes) < 600


TEXT = st.none() | st.text("aé", max_size=8)
LABEL = st.fixed_dictionaries({"entity_id": TEXT, "score": st.none() | st.floats(0, 1)})
ROWS = st.lists(
    st.fixed_dictionaries(
        {"video_id": TEXT, "tags": st.none() | st.lists(TEXT), "labels": st.none() | st.lists(st.none() | LABEL)}
    ),
    min_size=1,
)
TYPES = pa.schema(
    {
        "video_id": pa.string(),
        "tags": pa.list_(pa.string()),
        "labels": pa.list_(pa.struct({"entity_id": pa.string(), "score": pa.float64()})),
    }
)


@given(ROWS)
def test_rows_of_parquet_come_in_small_batches_as_they_are_but_for_those_that_are_too_long(
    rows: list[dict[str, Any]],
) -> None:
    file = BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, TYPES), file, row_group_size=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(formats, "MAX_ROW_BYTES", 12)
        patch.setattr(formats, "BATCH_BYTES", 20)
        batches = list(formats.format_of("x.parquet", "videos").batches(file, TYPES.names, None))
    read: dict[int, Any] = {}
    for batch in batches:
        table = pa.table(dict(batch.columns))
        assert table.schema == TYPES
        read |= dict(zip(batch.rows.tolist(), table.to_pylist(), strict=True))
        assert text_bytes(table.to_pylist()) <= 20 + 12
    too_long = {number for number, row in enumerate(rows, 1) if text_bytes(row) > 12}
    assert read == {number: row for number, row in enumerate(rows, 1) if number not in too_long}
    assert set().union(*(batch.malformed for batch in batches)) == too_long


def text_bytes(value: Any) -> int:
    """The bytes of all text in a value, one by one."""
    if isinstance(value, str):
        return len(value.encode())
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, Iterable) else ()
    return sum(map(text_bytes, inner))


def test_a_column_of_json_that_nobody_wants_takes_little_memory(tmp_path: Path) -> None:
    """As Python's objects each of these lines has 20 MB."""
    line = {"entity_id": "/m/a", "rater_id": "ana", "score": 1, "other": [{}] * 250_000}
    (tmp_path / "ratings.jsonl").write_text(f"{json.dumps(line)}\n" * 30)
    command = [sys.executable, "-c", READ, str(tmp_path), "ratings.jsonl"]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    rows, mebibytes = finished.stdout.splitlines()
    assert rows == "30 0"
    assert int(mebibytes) < 128


@pytest.mark.parametrize("ending", GOOD)
def test_a_row_of_the_greatest_length_is_read_and_a_longer_one_is_not(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"ratings.{ending}"
    line = MORE[ending].rstrip("\n")
    for length, number in ((MAX_ROW_BYTES, 0), (MAX_ROW_BYTES + 1, 1)):
        padded = line + " " * (length - len(line) - 1)
        if ending == "csv":  # a field of CSV has at most 131,072 characters
            padded = line + "".join(f',"{" " * 100_000}"' for _ in range(9))
            padded += "," + "x" * (length - len(padded) - 2)
        path.write_text(f"{GOOD[ending]}{padded}\n{MORE[ending]}")
        found = details(path)
        too_long = [detail for _, detail in found if "it has more than 1,048,576 bytes" in detail]
        assert len(too_long) == number


def test_a_quoted_field_of_many_lines_ends_with_the_greatest_length(tmp_path: Path) -> None:
    """Each field is short, and the row would have no end."""
    line = '"' + "x" * 1000 + '\n",'
    (tmp_path / "ratings.csv").write_text(GOOD["csv"] + line * 3000 + "\n" + MORE["csv"])
    found = details(tmp_path / "ratings.csv")
    assert "lines 3 to 1047: it has more than 1,048,576 bytes" in found[0][1]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"entity_id": ' + "[" * 20_000 + "]" * 20_000 + "}", "nested more than 32 levels deep"),
        ('{"entity_id": ' + "[" * 900 + "]" * 900 + "}", "nested more than 32 levels deep"),
        ('{"entity_id": "a", "rater_id": "b", "score": ' + "1" * 10_000 + "}", "4300 digits"),
        ('{"entity_id": "a", "rater_id": "b", "score": ' + "1" * 4_000 + "}", "is not a finite number"),
    ],
    ids=["levels", "fewer levels", "digits", "fewer digits"],
)
def test_a_hostile_value_of_json_costs_its_row(tmp_path: Path, line: str, why: str) -> None:
    (tmp_path / "ratings.jsonl").write_text(f"{GOOD['jsonl']}{line}\n{MORE['jsonl']}")
    ((row, detail),) = details(tmp_path / "ratings.jsonl")
    assert row == 2
    assert why in detail
    assert len(detail) < 500


def test_a_number_of_ten_thousand_digits_in_csv_costs_its_row(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text(GOOD["csv"] + f"/m/c,chi,{'1' * 10_000}\n")
    ((row, detail),) = details(tmp_path / "ratings.csv")
    assert (row, "is not a finite number" in detail, len(detail) < 500) == (2, True, True)


def test_long_rows_make_small_batches(tmp_path: Path) -> None:
    text = json.dumps({"entity_id": "/m/a", "rater_id": "x" * 1_000_000, "score": 1})
    (tmp_path / "ratings.jsonl").write_text(f"{text}\n" * 100)
    source = TableFiles("ratings", str(tmp_path), ("ratings.jsonl",))
    assert [outcome.kept.num_rows for outcome in read_batches(source, "ratings.jsonl")] == [68, 32]


def test_a_row_of_parquet_with_millions_of_items_is_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few bytes of run lengths say as many as there may be: 200 million items in 4 kB would take 7 GiB."""
    monkeypatch.setattr(formats, "MAX_CHUNK_VALUES", 1000)
    for number in (1000, 1001):
        pq.write_table(pa.table({"labels": [["x"] * number]}), tmp_path / f"{number}.parquet")
    batches = formats.format_of("videos.parquet", "videos").batches
    (batch,) = batches(BytesIO((tmp_path / "1000.parquet").read_bytes()), ["labels"], None)
    assert len(batch.columns["labels"][0]) == 1000
    with pytest.raises(pa.ArrowInvalid, match="has 1,001 values in a row group, more than 1,000: "):
        list(batches(BytesIO((tmp_path / "1001.parquet").read_bytes()), ["labels"], None))
