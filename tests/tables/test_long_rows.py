"""Rows that are too long, too deep or too large cost themselves; memory stays that of a few rows."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from yt8m_pipeline.tables.formats import MAX_ROW_BYTES
from yt8m_pipeline.tables.reading import TableFiles, check_schema, read_batches

READ = """
import resource, sys
from yt8m_pipeline.tables.reading import TableFiles, check_schema, read_batches
folder, name = sys.argv[1:]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
check_schema(f"{folder}/{name}", "ratings")
rows = [(out.kept.num_rows, out.rejects.num_rows) for out in read_batches(TableFiles("ratings", folder, (name,)), name)]
print(sum(kept for kept, _ in rows), sum(rejected for _, rejected in rows))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
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
