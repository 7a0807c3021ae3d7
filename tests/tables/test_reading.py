"""Reading the input tables: the three formats agree, each bad cell costs its row only, each fault has its text."""

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from glob import glob
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yt8m_pipeline.accounting.outcome import REJECTS, Outcome
from yt8m_pipeline.accounting.reasons import Stage
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.places import TABLE_ENDINGS
from yt8m_pipeline.tables import formats as table_formats
from yt8m_pipeline.tables.cells import STRINGS, convert
from yt8m_pipeline.tables.formats import format_of
from yt8m_pipeline.tables.headers import check_schema
from yt8m_pipeline.tables.reading import Piece, TableFiles, find_files, pieces_of, read_batches, schema

Row = dict[str, Any]

VIDEO: Row = {"video_id": "v1", "uri": "a.mp4", "duration_seconds": 230.5, "view_count": 1000}
ENTITY: Row = {"entity_id": "/m/04rlf", "name": "Music", "types": ["art", "sport"], "verticals": ["Arts"]}


def write_csv(path: Path, rows: Iterable[Row]) -> None:
    rows = [{name: ";".join(v) if isinstance(v, list) else v for name, v in row.items()} for row in rows]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)


def write_jsonl(path: Path, rows: Iterable[Row]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_parquet(path: Path, rows: Iterable[Row]) -> None:
    pq.write_table(pa.Table.from_pylist(list(rows)), path)


WRITERS: Mapping[str, Callable[[Path, Iterable[Row]], None]] = {
    "csv": write_csv,
    "jsonl": write_jsonl,
    "parquet": write_parquet,
}
FORMATS = pytest.mark.parametrize("ending", WRITERS)


def read(path: Path, table: str) -> Outcome:
    """All batches of a file as one outcome."""
    outcomes = list(read_batches(TableFiles(table, str(path.parent), (path.name,)), path.name))
    kept, rejects = ([schema(table).empty_table()], [REJECTS.empty_table()])
    kept += [outcome.kept for outcome in outcomes]
    rejects += [outcome.rejects for outcome in outcomes]
    return Outcome(Stage.READ, table, pa.concat_tables(kept), pa.concat_tables(rejects))


def read_text(folder: Path, text: str | bytes, table: str = "ratings", ending: str = "csv") -> Outcome:
    path = folder / f"{table}.{ending}"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read(path, table)


def reasons(outcome: Outcome) -> dict[int, str]:
    return {row["row"]: row["reason"] for row in outcome.rejects.to_pylist()}


# Finding


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")


def test_files_are_found_by_glob_in_order_under_names_relative_to_the_root(tmp_path: Path) -> None:
    _touch(tmp_path, "t/b.csv", "t/a.csv", "t/c.txt", "t/deep/d.csv", "e.csv")
    assert find_files(str(tmp_path), "t/*.csv", "videos").files == ("t/a.csv", "t/b.csv")
    assert find_files(str(tmp_path), "*/*/d.csv", "videos").files == ("t/deep/d.csv",)
    assert find_files(str(tmp_path), "?.csv", "videos").files == ("e.csv",)
    found = find_files(str(tmp_path), "e.csv", "videos")
    assert (found.files, found.path("e.csv")) == (("e.csv",), f"{tmp_path}/e.csv")


PATTERNS = st.lists(st.sampled_from(["a", "b", "*", "a*", "?", "?b", "[ab]", "[!a]*"]), min_size=1, max_size=3)
NAMES = st.sets(st.lists(st.sampled_from(["a", "b", "ab", "bb"]), min_size=1, max_size=3).map("/".join), max_size=12)


@given(NAMES, PATTERNS)
def test_a_pattern_finds_what_it_matches_and_none_of_the_neighbours(names: set[str], parts: list[str]) -> None:
    """Python's own glob is the oracle."""
    with TemporaryDirectory() as folder:
        _touch(Path(folder), *(f"{name}/t.csv" for name in names))
        pattern = "/".join([*parts, "*.csv"])
        expected = sorted(glob(pattern, root_dir=folder))
        if expected:
            assert find_files(folder, pattern, "videos").files == tuple(expected)
        else:
            with pytest.raises(UsageError, match="The videos table is missing"):
                find_files(folder, pattern, "videos")


def test_an_absolute_path_or_uri_has_its_own_root(tmp_path: Path) -> None:
    _touch(tmp_path, "t/b.csv", "t/a.csv")
    for prefix in (str(tmp_path), f"file://{tmp_path}"):
        found = find_files("/elsewhere", f"{prefix}/t/*.csv", "videos")
        assert found == TableFiles("videos", f"{prefix}/t", ("a.csv", "b.csv"))
        assert find_files("/elsewhere", found.path("a.csv"), "videos").files == ("a.csv",)


def test_a_name_with_brackets_that_exists_is_no_pattern(tmp_path: Path) -> None:
    _touch(tmp_path, "v[1].csv", "v1.csv")
    assert find_files(str(tmp_path), "v[1].csv", "videos").files == ("v[1].csv",)


@pytest.mark.parametrize("pattern", ["absent.csv", "*.csv", "no/folder/*.csv"])
def test_a_missing_table_is_a_usage_error(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(UsageError, match="The videos table is missing") as caught:
        find_files(str(tmp_path), pattern, "videos")
    assert caught.value.where == f"{tmp_path}/{pattern}"
    assert caught.value.why == "no file matches"
    assert caught.value.fix == "correct tables.videos or tables.root in the config"


def test_a_filesystem_that_does_not_exist_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="This is no place for files") as caught:
        find_files("/", "nowhere://bucket/v.csv", "videos")
    assert "nowhere" in caught.value.why


# Checking


@FORMATS
def test_a_good_table_passes_the_check(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"videos.{ending}"
    WRITERS[ending](path, [{**VIDEO, "colour": "red"}])
    check_schema(str(path), "videos")
    with pytest.raises(UsageError, match="lacks columns entity_id, rater_id, score"):
        check_schema(str(path), "ratings")


@FORMATS
def test_a_missing_and_a_misspelt_column_are_named_at_once(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"videos.{ending}"
    WRITERS[ending](path, [{"video_id": "v", "view_counts": 1, "duration_seconds": 2.0}])
    with pytest.raises(UsageError, match="The videos table lacks columns uri, view_count") as caught:
        check_schema(str(path), "videos")
    assert caught.value.where == str(path)
    assert caught.value.why == "its columns are video_id, view_counts, duration_seconds"
    assert caught.value.fix == "add uri; rename view_counts to view_count"


def test_a_misspelt_optional_column_is_not_quietly_ignored(tmp_path: Path) -> None:
    write_csv(tmp_path / "v.csv", [{**VIDEO, "groupid": "channel"}])
    with pytest.raises(UsageError, match="The videos table lacks column group_id") as caught:
        check_schema(str(tmp_path / "v.csv"), "videos")
    assert caught.value.fix == "rename groupid to group_id"


def test_an_optional_column_can_be_demanded(tmp_path: Path) -> None:
    write_csv(tmp_path / "v.csv", [VIDEO])
    with pytest.raises(UsageError, match="The videos table lacks column labels"):
        check_schema(str(tmp_path / "v.csv"), "videos", ["labels"])


@pytest.mark.parametrize(
    ("name", "text"),
    [("r.csv", "entity_id,rater_id,score\n\n"), ("r.csv", ""), ("r.jsonl", "\n \n")],
)
def test_an_empty_text_table_is_a_usage_error(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match="The ratings table is empty") as caught:
        check_schema(str(tmp_path / name), "ratings")
    assert (caught.value.where, caught.value.why) == (str(tmp_path / name), "it has no data rows")


def test_an_empty_parquet_table_is_a_usage_error(tmp_path: Path) -> None:
    pq.write_table(schema("ratings").empty_table(), tmp_path / "r.parquet")
    with pytest.raises(UsageError, match="The ratings table is empty"):
        check_schema(str(tmp_path / "r.parquet"), "ratings")


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("absent.csv", None, "No such file"),
        ("r.parquet", b"this is no Parquet file", "Parquet magic bytes not found"),
        ("r.csv", b"," * 10_000, "it has more than 10,000 columns"),
        ("r.jsonl", json.dumps(dict.fromkeys(map(str, range(10_001)))).encode(), "it has more than 10,000 columns"),
        ("r.jsonl", b"[1]\n[2]\n", "none of its first 2 lines holds a JSON object"),
        ("r.csv", b'"entity_id', "unexpected end of data"),
    ],
)
def test_an_unreadable_table_is_a_usage_error(tmp_path: Path, name: str, data: bytes | None, why: str) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(UsageError, match="The ratings table cannot be read") as caught:
        check_schema(str(tmp_path / name), "ratings")
    assert why in caught.value.why
    assert caught.value.fix == "check the path, rights and format"


def test_an_unknown_ending_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="The ratings table has an unknown format") as caught:
        check_schema("/tables/r.xlsx", "ratings")
    assert caught.value.why == "it ends in .xlsx"
    assert caught.value.fix == "use .csv, .tsv, .txt, .jsonl, .ndjson, .json or .parquet"


def test_a_column_that_stands_twice_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("entity_id,rater_id,score,score\na,b,1,2\n")
    with pytest.raises(UsageError, match="The ratings table has column score twice"):
        check_schema(str(tmp_path / "r.csv"), "ratings")


HOPELESS: Sequence[tuple[str, str, list[Any]]] = [
    ("videos", "view_count", [[1]]),
    ("videos", "view_count", [True]),
    ("videos", "duration_seconds", [date(2016, 9, 27)]),
    ("videos", "video_id", [True]),
    ("videos", "labels", [["/m/1"]]),
    ("videos", "labels", [[{"score": 1.0}]]),
    ("entities", "types", [7]),
    ("entities", "types", [[1.5]]),
]


@pytest.mark.parametrize(("table", "column", "values"), HOPELESS)
def test_a_parquet_column_of_a_hopeless_type_is_a_usage_error(
    tmp_path: Path, table: str, column: str, values: list[Any]
) -> None:
    row = {"videos": VIDEO, "entities": ENTITY}[table]
    columns = {name: [value] for name, value in row.items()} | {column: values}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(UsageError, match=f"The {table} table has the wrong type in column {column}") as caught:
        check_schema(str(tmp_path / "t.parquet"), table)
    assert caught.value.why.startswith(f"{column} is ")
    assert caught.value.fix == "convert the column"


def test_nested_labels_do_not_fit_into_csv(tmp_path: Path) -> None:
    write_csv(tmp_path / "v.csv", [{**VIDEO, "labels": "/m/1"}])
    with pytest.raises(UsageError, match="wrong type in column labels") as caught:
        check_schema(str(tmp_path / "v.csv"), "videos")
    assert caught.value.fix == "give the table as JSONL or Parquet"


# Reading good rows


@FORMATS
def test_the_three_formats_give_the_same_table(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"e.{ending}"
    WRITERS[ending](path, [ENTITY, {**ENTITY, "entity_id": "é,\"\n'", "types": [], "name": ""}])
    outcome = read(path, "entities")
    expected = {**ENTITY, "description": "", "wiki_url": "", "_file": path.name, "_row": 1}
    assert outcome.kept.to_pylist() == [
        expected,
        {**expected, "entity_id": "é,\"\n'", "types": [], "name": "", "_row": 2},
    ]
    assert outcome.kept.schema == schema("entities")
    assert outcome.rejects.num_rows == 0


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_nested_labels_are_read(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"v.{ending}"
    labels: list[Row] = [{"entity_id": "/m/1", "score": 0.5}, {"entity_id": "/m/2", "score": None}]
    WRITERS[ending](path, [{**VIDEO, "labels": labels}, {**VIDEO, "labels": []}, {**VIDEO, "labels": None}])
    unsaid: Row = dict.fromkeys(("start_seconds", "end_seconds", "reason", "detail"))
    assert read(path, "videos").kept["labels"].to_pylist() == [[{**label, **unsaid} for label in labels], [], []]


def test_missing_optional_columns_are_filled(tmp_path: Path) -> None:
    write_csv(tmp_path / "v.csv", [VIDEO])
    assert read(tmp_path / "v.csv", "videos").kept.to_pylist() == [
        {**VIDEO, "group_id": "", "labels": [], "given_partition": "", "kept_columns": [], "_file": "v.csv", "_row": 1}
    ]
    write_csv(tmp_path / "a.csv", [{"video_id": "v", "entity_id": "e"}])
    assert read(tmp_path / "a.csv", "annotations").kept["score"].to_pylist() == [None]


@pytest.mark.parametrize("ending", WRITERS)
def test_a_missing_duration_is_not_known_yet(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"v.{ending}"
    WRITERS[ending](path, [{**VIDEO, "duration_seconds": seconds} for seconds in (None, 7.0)])
    assert read(path, "videos").kept["duration_seconds"].to_pylist() == [None, 7.0]


def test_a_table_without_durations_is_understood(tmp_path: Path) -> None:
    write_csv(tmp_path / "v.csv", [{name: value for name, value in VIDEO.items() if name != "duration_seconds"}])
    check_schema(str(tmp_path / "v.csv"), "videos")
    assert read(tmp_path / "v.csv", "videos").kept["duration_seconds"].to_pylist() == [None]


def test_byte_order_mark_windows_line_ends_blank_lines_and_quoted_commas_are_understood(tmp_path: Path) -> None:
    text = '\ufeffentity_id,rater_id , score\r\n"/m/1, ""a""",r1, 2\r\n\r\n/m/2,r2,"3"\r\n'
    kept = read_text(tmp_path, text).kept
    assert kept.select(["entity_id", "rater_id", "score", "_row"]).to_pylist() == [
        {"entity_id": '/m/1, "a"', "rater_id": "r1", "score": 2.0, "_row": 1},
        {"entity_id": "/m/2", "rater_id": "r2", "score": 3.0, "_row": 2},
    ]


def test_a_byte_order_mark_before_json_is_understood(tmp_path: Path) -> None:
    text = '\ufeff{"entity_id": "a", "rater_id": "b", "score": 1}\n'
    assert read_text(tmp_path, text, ending="jsonl").kept.num_rows == 1


def test_lists_in_csv_are_divided_at_semicolons(tmp_path: Path) -> None:
    cells = ["", ";", "a", "a;b", " a ; b;", "a;;b", "two words;x"]
    text = "entity_id,types\n" + "".join(f"e,{cell}\n" for cell in cells)
    assert read_text(tmp_path, text, "entities").kept["types"].to_pylist() == [
        [],
        [],
        ["a"],
        ["a", "b"],
        ["a", "b"],
        ["a", "b"],
        ["two words", "x"],
    ]


items = st.text(st.sampled_from("ab é \t\n"), max_size=4)


@given(st.lists(st.lists(items, max_size=4), min_size=1, max_size=4))
def test_items_of_lists_are_trimmed_alike_in_csv_and_in_lists(lists: list[list[str]]) -> None:
    expected = [[item.strip() for item in cell if item.strip()] for cell in lists]
    as_texts, _ = convert([";".join(cell) for cell in lists], STRINGS)
    for values in (lists, pa.array(lists, STRINGS), pa.array(lists, pa.large_list(pa.string()))):
        as_lists, bad = convert(values, STRINGS)
        assert as_lists.to_pylist() == expected
        assert not bad.any()
    assert [cell or [] for cell in as_texts.to_pylist()] == expected


def test_a_null_in_a_list_is_no_item_and_a_null_list_stays_null() -> None:
    assert convert([["a", None], None, []], STRINGS)[0].to_pylist() == [["a"], None, []]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("video_id", pa.array([17])),
        ("video_id", pa.array(["17"]).dictionary_encode()),
        ("video_id", pa.array([b"17"])),
        ("video_id", pa.array(["17"], pa.large_string())),
        ("view_count", pa.array(["1000"])),
        ("view_count", pa.array([1000.0])),
        ("view_count", pa.array([1000], pa.uint16())),
        ("duration_seconds", pa.array(["230.5"])),
        ("duration_seconds", pa.array([230.5], pa.float32())),
    ],
)
def test_kindred_parquet_types_are_converted(tmp_path: Path, column: str, values: pa.Array) -> None:
    expected = {**VIDEO, "video_id": "17"}
    columns = {name: pa.array([value]) for name, value in expected.items()} | {column: values}
    pq.write_table(pa.table(columns), tmp_path / "v.parquet")
    check_schema(str(tmp_path / "v.parquet"), "videos")
    assert read(tmp_path / "v.parquet", "videos").kept.select(list(expected)).to_pylist() == [expected]


@FORMATS
def test_batches_are_bounded_and_rows_are_numbered_through(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_formats, "BATCH_ROWS", 10)
    path = tmp_path / f"r.{ending}"
    WRITERS[ending](path, [{"entity_id": f"e{number}", "rater_id": "r", "score": 1} for number in range(1, 26)])
    batches = [outcome.kept for outcome in read_batches(TableFiles("ratings", str(tmp_path), (path.name,)), path.name)]
    assert [batch.num_rows for batch in batches] == [10, 10, 5]
    rows = pa.concat_tables(batches)
    assert rows["_row"].to_pylist() == list(range(1, 26))
    assert rows["entity_id"].to_pylist() == [f"e{number}" for number in range(1, 26)]


# Rejecting bad rows


CELL_FAULTS: Sequence[tuple[str, str, str, str]] = [
    (
        "score",
        "n/a",
        "wrong_type",
        "A cell has the wrong type; {where}; why: 'n/a' is not a finite number; fix: correct",
    ),
    ("score", "0x10", "wrong_type", "A cell has the wrong type; {where}; why: '0x10' is not a finite number; fix: "),
    ("score", " ", "missing_value", "A cell is empty; {where}; why: ' ' is not a finite number; fix: fill it in"),
    ("score", "nan", "out_of_range", "A cell is out of range; {where}; why: 'nan' is not a finite number; fix: "),
    ("score", "-inf", "out_of_range", "A cell is out of range; {where}; why: '-inf' is not a finite number; fix: "),
    ("entity_id", "", "missing_value", "A cell is empty; {where}; why: '' is not an id; fix: fill it in or remove"),
]


@pytest.mark.parametrize(("column", "cell", "reason", "detail"), CELL_FAULTS)
def test_a_bad_cell_costs_its_row_and_says_where_it_is(
    tmp_path: Path, column: str, cell: str, reason: str, detail: str
) -> None:
    row = {"entity_id": "e", "rater_id": "r", "score": 3}
    write_csv(tmp_path / "r.csv", [row, {**row, column: cell}, row])
    outcome = read(tmp_path / "r.csv", "ratings")
    assert outcome.kept["_row"].to_pylist() == [1, 3]
    [reject] = outcome.rejects.to_pylist()
    assert detail.format(where=f"where: r.csv, row 2, column {column}") in reject["detail"]
    assert "\n" not in reject["detail"]
    del reject["detail"]
    assert reject == {
        "stage": "read",
        "table": "ratings",
        "id": None if column == "entity_id" else "e",
        "reason": reason,
        "file": "r.csv",
        "row": 2,
        "decoded_fraction": None,
    }


VIDEO_FAULTS: Sequence[tuple[str, Any, str]] = [
    ("duration_seconds", -1.0, "out_of_range"),
    ("duration_seconds", float("nan"), "out_of_range"),
    ("duration_seconds", float("inf"), "out_of_range"),
    ("view_count", -1, "out_of_range"),
    ("view_count", 1.5, "wrong_type"),
    ("uri", None, "missing_value"),
]


@pytest.mark.parametrize(("column", "value", "reason"), VIDEO_FAULTS)
@FORMATS
def test_a_bad_video_is_rejected_in_every_format(
    tmp_path: Path, ending: str, column: str, value: Any, reason: str
) -> None:
    path = tmp_path / f"v.{ending}"
    WRITERS[ending](path, [VIDEO, {**VIDEO, column: value}, VIDEO])
    outcome = read(path, "videos")
    assert reasons(outcome) == {2: reason}
    assert outcome.rejects["id"].to_pylist() == ["v1"]
    assert outcome.kept["_row"].to_pylist() == [1, 3]


JSON_FAULTS: Sequence[tuple[str, str]] = [
    ('"video_id": true', "wrong_type"),
    ('"video_id": 1.5', "wrong_type"),
    ('"video_id": {"id": "v"}', "wrong_type"),
    ('"video_id": "\\ud800"', "wrong_type"),
    ('"view_count": true', "wrong_type"),
    ('"duration_seconds": true', "wrong_type"),
    ('"view_count": 1180591620717411303424', "wrong_type"),
    ('"view_count": [5]', "wrong_type"),
    ('"labels": "/m/1"', "wrong_type"),
    ('"labels": [7]', ""),
    ('"labels": [["entity_id", "a"]]', ""),
    ('"labels": [{"entity_id": "a", "score": "high"}]', ""),
    ('"video_id": 7', ""),
    ('"view_count": "1000"', ""),
    ('"labels": [{"entity_id": "a"}]', ""),
    ('"labels": []', ""),
    ('"labels": [{"score": 1}]', ""),
    ('"labels": [{"entity_id": "a", "score": 1, "source": "audio"}]', ""),
    ('"labels": [null]', ""),
]


@pytest.mark.parametrize(("cell", "reason"), JSON_FAULTS)
def test_a_json_value_is_converted_or_costs_its_row(tmp_path: Path, cell: str, reason: str) -> None:
    good = json.dumps({**VIDEO, "labels": [{"entity_id": "b", "score": 1.0}]})
    outcome = read_text(tmp_path, f"{good}\n{good[:-1]}, {cell}}}\n{good}\n", "videos", "jsonl")
    assert reasons(outcome) == ({2: reason} if reason else {})
    assert outcome.kept.num_rows + outcome.rejects.num_rows == 3


def test_more_verticals_than_the_vocabulary_has_columns_are_out_of_range(tmp_path: Path) -> None:
    text = "entity_id,types,verticals\na,t,1;2;3\nb,t,1;2;3;4\n"
    outcome = read_text(tmp_path, text, "entities")
    assert reasons(outcome) == {2: "out_of_range"}
    assert "'1;2;3;4' is not a list of at most 3 texts" in outcome.rejects["detail"][0].as_py()


LINE_FAULTS: Sequence[tuple[str, bytes, str]] = [
    ("csv", b"a,b", "2 fields, the header has 3"),
    ("csv", b"a,b,3,4", "4 fields, the header has 3"),
    ("csv", b'"a"x,b,3', "lines 3 to 3: ',' expected after '\"'"),
    ("jsonl", b'{"entity_id": "a"', "not JSON: "),
    ("jsonl", b"\xff\xfe{}", "not JSON: "),
    ("jsonl", b"[1, 2]", "not a JSON object but a list"),
    ("jsonl", b"[" * 100_000, "not JSON: "),
]


@pytest.mark.parametrize(("ending", "line", "why"), LINE_FAULTS)
def test_a_line_that_cannot_be_parsed_costs_itself_only(tmp_path: Path, ending: str, line: bytes, why: str) -> None:
    header, good = {
        "csv": (b"entity_id,rater_id,score\n", b"a,b,3"),
        "jsonl": (b"", b'{"entity_id": "a", "rater_id": "b", "score": 3}'),
    }[ending]
    outcome = read_text(tmp_path, header + b"\n".join([good, line, good]), ending=ending)
    assert outcome.kept["_row"].to_pylist() == [1, 3]
    [reject] = outcome.rejects.to_pylist()
    assert (reject["reason"], reject["row"], reject["id"]) == ("wrong_type", 2, None)
    assert reject["detail"].startswith(f"A row cannot be parsed; where: ratings.{ending}, row 2; why: {why}")
    assert reject["detail"].endswith("; fix: correct or remove the line")


def test_a_quote_that_is_never_closed_costs_its_line_only(tmp_path: Path) -> None:
    outcome = read_text(tmp_path, 'entity_id,rater_id,score\na,b,3\nc,"d,3\ne,f,3\n')
    assert outcome.kept["entity_id"].to_pylist() == ["a", "e"]
    assert outcome.kept["_row"].to_pylist() == [1, 3]
    assert "row 2; why: lines 3 to 4: a quote is not closed" in outcome.rejects["detail"][0].as_py()


def test_bytes_that_are_not_utf8_in_a_file_that_is_cost_their_row_only(tmp_path: Path) -> None:
    text = "entity_id,rater_id,score\na,bé,3\n".encode() + b"caf\xe9,b,3\nc,b,3\n"
    outcome = read_text(tmp_path, text)
    assert outcome.kept["entity_id"].to_pylist() == ["a", "c"]
    assert "'caf\\udce9' is not an id" in outcome.rejects["detail"][0].as_py()


def test_a_long_value_is_shown_in_part(tmp_path: Path) -> None:
    [detail] = read_text(tmp_path, f"entity_id,rater_id,score\na,b,{'9x' * 500}\n").rejects["detail"].to_pylist()
    assert f"why: '{'9x' * 29}9… is not a finite number" in detail


def test_a_row_with_several_faults_is_rejected_once_for_the_first_column(tmp_path: Path) -> None:
    outcome = read_text(tmp_path, "entity_id,rater_id,score\n,,n/a\n")
    assert reasons(outcome) == {1: "missing_value"}
    assert "column entity_id" in outcome.rejects["detail"][0].as_py()


def test_a_damaged_file_is_a_data_error(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    write_parquet(path, [{"entity_id": "e" * 50, "rater_id": str(number), "score": 1.0} for number in range(5000)])
    data = bytearray(path.read_bytes())
    data[4:2000] = bytes(1996)
    path.write_bytes(bytes(data))
    check_schema(str(path), "ratings")  # the damage is not in its footer
    with pytest.raises(DataError, match="The ratings table cannot be read to its end") as caught:
        read(path, "ratings")
    assert caught.value.where == str(path)
    assert caught.value.fix == "replace the damaged file, or check the connection"


# The same rules for a cell and its column

texts = st.one_of(
    st.sampled_from(["", " ", "nan", "inf", "5", " 7 ", "-3", "1e3", "1.5", ".5", "5.", "0x1F", "1_0", "9" * 30, "é"]),
    st.text(max_size=4),
    st.floats().map(str),
    st.integers().map(str),
)
json_labels = st.dictionaries(st.sampled_from(["entity_id", "score", "x"]), st.sampled_from(["a", 1, None]))
json_lists = st.lists(texts, max_size=2) | st.lists(json_labels, max_size=2)
json_values = st.one_of(texts, st.none(), st.booleans(), st.integers(), st.floats(), json_lists, st.just({"a": 1}))


def columns_of(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(values, min_size=1, max_size=12)


targets = st.sampled_from([pa.string(), pa.float64(), pa.int64(), STRINGS])


def _as_comparable(values: pa.Array) -> list[str]:
    return [repr(value) for value in values.to_pylist()]


@given(st.one_of(columns_of(texts), columns_of(json_values)), targets)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_a_cell_is_converted_alone_as_in_its_column(values: list[Any], target: pa.DataType) -> None:
    converted, unconvertible = convert(values, target)
    alone = [convert([value], target) for value in values]
    assert unconvertible.tolist() == [bad for _, [bad] in alone]
    assert _as_comparable(converted) == [text for one, _ in alone for text in _as_comparable(one)]
    assert converted.type == target


@given(st.lists(st.one_of(st.floats(), st.integers(-(2**53), 2**53)), min_size=1, max_size=12))
def test_numbers_read_from_text_are_those_that_python_reads(numbers: list[float]) -> None:
    converted, unconvertible = convert([str(number) for number in numbers], pa.float64())
    assert not unconvertible.any()
    np.testing.assert_array_equal(np.asarray(converted), np.array(numbers, np.float64))


@given(
    st.lists(st.sampled_from(["e,r,3", "e,r,x", ",r,3", "e,r", "e,r,3,4", "e,r,nan", "\n", '"a"b,r,3']), max_size=30)
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_row_is_kept_or_rejected_once(tmp_path: Path, lines: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_formats, "BATCH_ROWS", 4)
        outcome = read_text(tmp_path, "\n".join(["entity_id,rater_id,score", *lines]))
    rows = [line for line in lines if line != "\n"]
    assert outcome.kept["_row"].to_pylist() == [row for row, line in enumerate(rows, 1) if line == "e,r,3"]
    assert sorted(outcome.rejects["row"].to_pylist()) == [row for row, line in enumerate(rows, 1) if line != "e,r,3"]


@pytest.mark.parametrize("rows_per_group", [1, 3, 100])
def test_the_pieces_of_a_parquet_file_hold_its_rows_once_with_their_numbers(
    tmp_path: Path, rows_per_group: int
) -> None:
    rows = pa.table({"entity_id": ["a", "b", "", "d"], "rater_id": ["x"] * 4, "score": [1.0, 2.0, 3.0, 4.0]})
    pq.write_table(rows, tmp_path / "ratings.parquet", row_group_size=rows_per_group)
    source = TableFiles("ratings", str(tmp_path), ("ratings.parquet",))
    pieces = pieces_of(source, "ratings.parquet")
    outcomes = [outcome for piece in pieces for outcome in read_batches(source, piece.file, piece.row_group)]
    whole = read(tmp_path / "ratings.parquet", "ratings")
    assert len(pieces) == -(-4 // rows_per_group)
    assert pa.concat_tables([outcome.kept for outcome in outcomes]).equals(whole.kept)
    assert pa.concat_tables([outcome.rejects for outcome in outcomes]).equals(whole.rejects)
    assert whole.rejects["row"].to_pylist() == [3]


def test_a_text_is_one_piece(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("entity_id,rater_id,score\na,x,1\n")
    source = TableFiles("ratings", str(tmp_path), ("ratings.csv",))
    assert pieces_of(source, "ratings.csv") == [Piece("ratings.csv", None)]


@pytest.mark.parametrize("ending", sorted(TABLE_ENDINGS))
def test_every_ending_of_a_table_is_one_that_can_be_read(ending: str) -> None:
    for name in (f"videos{ending}", f"videos{ending}.gz"):
        assert callable(format_of(name, "videos").header)
