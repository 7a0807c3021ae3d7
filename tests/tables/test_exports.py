"""Tables as spreadsheets, pandas and Spark export them: every dialect, encoding and packing gives the same rows."""

import codecs
import gzip
import json
import time
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faulty_bucket import BUCKET
from yt8m_pipeline import files
from yt8m_pipeline.accounting.outcome import REJECTS, Outcome
from yt8m_pipeline.accounting.reasons import Stage
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.tables import delimited
from yt8m_pipeline.tables.delimited import DELIMITERS
from yt8m_pipeline.tables.headers import check_source
from yt8m_pipeline.tables.reading import TableFiles, find_files, pieces_of, read_batches, schema
from yt8m_pipeline.tables.text import BLOCK_BYTES, LATIN, Utf8Stream

HEADER = ["entity_id", "rater_id", "score"]
ROWS = [["/m/é", 'ana "a"', "1"], ["/m/b,;|", "ben\tß", "2.5"], ["/m/c", "Zoë\nz", "3"]]
EXPECTED = [("/m/é", 'ana "a"', 1.0), ("/m/b,;|", "ben\tß", 2.5), ("/m/c", "Zoë\nz", 3.0)]


def as_csv(rows: list[list[str]], delimiter: str = ",", line_end: str = "\n") -> str:
    fields = [['"' + field.replace('"', '""') + '"' for field in row] for row in rows]
    return "".join(delimiter.join(row) + line_end for row in [HEADER, *fields])


def as_jsonl(rows: list[list[str]]) -> str:
    return "".join(json.dumps(dict(zip(HEADER, row, strict=True)), ensure_ascii=False) + "\n" for row in rows)


def read(source: TableFiles) -> Outcome:
    """All files of a table as one outcome, piece by piece as a build reads them."""
    pieces = [piece for name in source.files for piece in pieces_of(source, name)]
    outcomes = [outcome for piece in pieces for outcome in read_batches(source, piece.file, piece.row_group)]
    kept = pa.concat_tables([schema(source.table).empty_table(), *(outcome.kept for outcome in outcomes)])
    rejects = pa.concat_tables([REJECTS.empty_table(), *(outcome.rejects for outcome in outcomes)])
    return Outcome(Stage.READ, source.table, kept, rejects)


def write(folder: Path, name: str, data: str | bytes, table: str = "ratings", **fields: Any) -> TableFiles:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return TableFiles(table, str(folder), (name,), **fields)


def rows(outcome: Outcome, *columns: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in outcome.kept.select(columns or HEADER).to_pylist()]


# Dialects, encodings, packing

ENCODINGS: Mapping[str, Callable[[str], bytes]] = {
    "utf-8": str.encode,
    "utf-8 with mark": lambda text: codecs.BOM_UTF8 + text.encode(),
    "utf-16": lambda text: text.encode("utf-16"),
    "utf-16-be with mark": lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
    "utf-32": lambda text: text.encode("utf-32"),
    "cp1252": lambda text: text.encode("cp1252"),
    "latin-1": lambda text: text.encode("latin-1"),
}


@pytest.mark.parametrize("is_packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("ending", ["csv", "tsv", "txt", "jsonl"])
def test_every_dialect_encoding_and_packing_gives_the_same_rows(
    tmp_path: Path, ending: str, encoding: str, is_packed: bool
) -> None:
    texts = [as_jsonl(ROWS)] if ending == "jsonl" else [as_csv(ROWS, delimiter) for delimiter in DELIMITERS]
    for text in texts:
        data = ENCODINGS[encoding](text)
        source = write(tmp_path, f"r.{ending}{'.gz' * is_packed}", gzip.compress(data) if is_packed else data)
        warnings = check_source(source)
        assert rows(read(source)) == EXPECTED
        assert [source.files[0] in text and "Windows-1252" in text for text in warnings] == [True] * (
            encoding in ("cp1252", "latin-1")
        )


@given(st.text("aéÈüñçßøÅþ ", min_size=1), st.sampled_from(sorted(ENCODINGS)))
def test_words_of_western_europe_are_read_alike_in_every_encoding(text: str, encoding: str) -> None:
    words = f"name\nÀ la carte {text}\nfin\n"
    assert Utf8Stream(BytesIO(ENCODINGS[encoding](words))).read().decode() == words


@pytest.mark.parametrize("lead", [0, BLOCK_BYTES - 2, 3 * BLOCK_BYTES - 1])
def test_an_encoding_is_found_however_late_and_no_letter_is_cut(lead: int) -> None:
    text = "a" * lead + "\nCafé é\n" + "b" * BLOCK_BYTES
    for encoding in ("utf-8", LATIN):
        stream = Utf8Stream(BytesIO(text.encode(encoding)))
        assert stream.read().decode() == text
        assert (stream.encoding, stream.settle()) == (encoding, encoding)
    ascii_only = Utf8Stream(BytesIO(b"a" * lead))
    assert ascii_only.settle() == "utf-8"


def test_a_named_encoding_is_taken_without_guessing(tmp_path: Path) -> None:
    data = as_csv([["猫", "ana", "1"]]).encode("shift_jis")
    source = write(tmp_path, "r.csv", data, encoding="shift_jis")
    assert check_source(source) == []
    assert rows(read(source)) == [("猫", "ana", 1.0)]
    source = write(tmp_path, "r.csv", as_csv([["é", "ana", "1"]]).encode("latin-1"), encoding="utf-8")
    assert check_source(source) == []
    assert read(source).rejects["reason"].to_pylist() == ["wrong_type"]


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_damaged_gzip_file_is_told(tmp_path: Path, cut: int) -> None:
    text = "".join(f"/m/{number},r{number * 7919},{number % 5}\n" for number in range(50_000))
    packed = gzip.compress(f"{','.join(HEADER)}\n{text}".encode())
    source = write(tmp_path, "r.csv.gz", packed[:-cut])
    with pytest.raises(DataError, match="The ratings table cannot be read to its end"):
        read(source)
    with pytest.raises(UsageError, match="The ratings table cannot be read") as caught:
        check_source(write(tmp_path, "r.csv.gz", packed[: 10 + cut]))
    assert "its bytes are damaged" in caught.value.why


def test_a_row_that_is_too_long_when_unpacked_is_a_reject(tmp_path: Path) -> None:
    text = f"{','.join(HEADER)}\n/m/a,ana,1\n{'0' * (64 << 20)}\n/m/b,ben,2\n"
    source = write(tmp_path, "r.csv.gz", gzip.compress(text.encode(), 1))
    outcome = read(source)
    assert (rows(outcome, "entity_id"), outcome.rejects["row"].to_pylist()) == ([("/m/a",), ("/m/b",)], [2])


def test_parquet_is_read_under_the_name_of_pandas_example_and_refused_when_it_is_packed_as_a_whole(
    tmp_path: Path,
) -> None:
    table = pa.table({"entity_id": ["a"], "rater_id": ["b"], "score": [1.0]})
    pq.write_table(table, tmp_path / "r.parquet.gzip", compression="gzip")
    source = TableFiles("ratings", str(tmp_path), ("r.parquet.gzip",))
    check_source(source)
    assert rows(read(source)) == [("a", "b", 1.0)]
    write(tmp_path, "r.parquet.gzip", gzip.compress((tmp_path / "r.parquet.gzip").read_bytes()))
    with pytest.raises(UsageError, match="cannot be read") as caught:
        check_source(source)
    assert "unpack it with gunzip" in caught.value.why


def test_json_that_is_one_array_says_how_to_write_lines(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read") as caught:
        check_source(write(tmp_path, "r.json", '[{"entity_id": "a"}]\n'))
    assert 'to_json(orient="records", lines=True)' in caught.value.why


@pytest.mark.parametrize(
    ("header", "delimiter"),
    [("a,b", ","), ("a;b", ";"), ("a\tb", "\t"), ("a|b", "|"), ("a", ","), ('a;"b,c,d";e', ";"), ("a,b;c", ",")],
)
def test_the_header_says_what_stands_between_fields(header: str, delimiter: str) -> None:
    assert delimited.delimiter_of(header) == delimiter


def test_a_row_with_another_delimiter_is_a_reject_that_says_so(tmp_path: Path) -> None:
    outcome = read(write(tmp_path, "r.csv", "entity_id,rater_id,score\na,b,1\nc;d;2\n"))
    assert rows(outcome) == [("a", "b", 1.0)]
    assert "1 fields, the header has 3, with ',' between them; with ';' it would have 3" in (
        outcome.rejects["detail"][0].as_py()
    )


# Long fields and open quotes


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_field_of_200_kilobytes_is_read(tmp_path: Path, ending: str) -> None:
    row = ["a", "r" * 200_000, "1"]
    outcome = read(write(tmp_path, f"r.{ending}", as_csv([row]) if ending == "csv" else as_jsonl([row])))
    assert rows(outcome) == [("a", "r" * 200_000, 1.0)]


@pytest.mark.parametrize("after", ["", '"x","y",3\n', 'd,"two\nlines",3\n'])
def test_an_open_quote_costs_its_line_and_every_other_row_is_read(tmp_path: Path, after: str) -> None:
    text = "entity_id,rater_id,score\n" + "a,b,1\n" * 5 + 'c,"d,2\n' + "a,b,3\n" * 200_000 + after
    outcome = read(write(tmp_path, "r.csv", text))
    assert outcome.rejects["row"].to_pylist() == [6]
    assert outcome.kept.num_rows == 200_005 + bool(after)


def test_quotes_as_spark_escapes_them_are_rejects_that_say_so(tmp_path: Path) -> None:
    outcome = read(write(tmp_path, "r.csv", 'entity_id,rater_id,score\n"a \\"b\\"",b,1\na,b,1\n'))
    assert rows(outcome) == [("a", "b", 1.0)]
    assert "quotes in a field are doubled, not escaped by a backslash" in outcome.rejects["detail"][0].as_py()


def test_the_lines_of_a_record_with_another_number_of_fields_are_counted_one_by_one(tmp_path: Path) -> None:
    outcome = read(write(tmp_path, "r.csv", 'entity_id,rater_id,score\na,"b\nc,d,1\ne"\n"f",g,2\n'))
    assert rows(outcome) == [("c", "d", 1.0), ("f", "g", 2.0)]
    assert outcome.rejects["row"].to_pylist() == [1, 3]
    assert "lines 2 to 4: 2 fields, the header has 3" in outcome.rejects["detail"][0].as_py()


@given(
    st.lists(
        st.sampled_from(["a,b,1", 'a,"b,1', 'a",b,1', '"a,b",c,1', 'a,"b""",1', 'a,b,"1"', "", "a,b"]), max_size=20
    )
)
def test_a_line_without_quotes_before_the_first_quote_is_never_lost_and_rows_are_numbered_through(
    lines: list[str],
) -> None:
    with TemporaryDirectory() as folder:
        outcome = read(write(Path(folder), "r.csv", "\n".join([",".join(HEADER), *lines])))
    numbers = sorted([*outcome.kept["_row"].to_pylist(), *outcome.rejects["row"].to_pylist()])
    assert numbers == list(range(1, len(numbers) + 1))
    assert outcome.kept.num_rows >= sum(line in ("a,b,1", 'a,b,"1"') for line in lines) - sum('"' in x for x in lines)


def test_quotes_that_are_made_to_be_read_again_and_again_take_seconds_only(tmp_path: Path) -> None:
    """Each line leaves a quote open, at the beginning of a record and within one."""
    hostile = 'a",b,"\n' * 100_000
    begin = time.process_time()
    outcome = read(write(tmp_path, "r.csv", f"{','.join(HEADER)}\n{hostile}a,b,1\n"))
    assert time.process_time() - begin < 30
    assert outcome.kept.num_rows + outcome.rejects.num_rows == 100_001
    assert rows(outcome) == [("a", "b", 1.0)]


# Cells

CELLS = st.fixed_dictionaries(
    {
        "video_id": st.sampled_from(["v", " v ", 12, 12.0, "12.0", "007", 1.5, 2.0**60, float("nan"), None, ""]),
        "group_id": st.sampled_from(["g", 7, 7.0, -3.0, 0.5, None]),
        "view_count": st.sampled_from([1000, 1000.0, 1000.5, -1, 1e3, None]),
        "duration_seconds": st.sampled_from([1, 1.0, 0.5, -1.0, float("nan"), None]),
    }
)
NUMBERS = {
    "video_id": st.sampled_from([12.0, 1.5, None]),
    "group_id": st.sampled_from([7.0, None]),
    "view_count": st.sampled_from([1000.0, 1000.5, None]),
    "duration_seconds": st.sampled_from([0.5, -1.0, None]),
}


def as_text(cell: Any) -> str:
    """A cell as pandas writes it."""
    return "" if cell is None else str(cell)


@given(st.lists(st.fixed_dictionaries(NUMBERS), min_size=1, max_size=6))
def test_numbers_as_pandas_keeps_them_are_the_same_in_csv_jsonl_and_parquet(cells: list[dict[str, Any]]) -> None:
    table = [{**row, "uri": "a.mp4"} for row in cells]
    types = pa.schema([*((name, pa.float64()) for name in NUMBERS), ("uri", pa.string())])
    parquet = BytesIO()
    pq.write_table(pa.Table.from_pylist(table, types), parquet)
    lines = [",".join(as_text(row[name]) for name in types.names) for row in table]
    found = _found(
        {
            "v.csv": "\n".join([",".join(types.names), *lines]),
            "v.jsonl": "".join(f"{json.dumps(row)}\n" for row in table),
            "v.parquet": parquet.getvalue(),
        }
    )
    # A text with a fraction may be an id; a number with one is none
    if not any(row["video_id"] == 1.5 for row in cells):
        assert found["v.csv"] == found["v.parquet"]
    assert found["v.jsonl"] == found["v.parquet"]


@given(st.lists(CELLS, min_size=1, max_size=6))
def test_an_id_is_one_text_whatever_its_type_and_each_bad_cell_costs_its_row(cells: list[dict[str, Any]]) -> None:
    data = "".join(f"{json.dumps({**row, 'uri': 'a.mp4'})}\n" for row in cells)
    kept, rejected = _found({"v.jsonl": data})["v.jsonl"]
    ids = {" v ": "v", 12: "12", "12.0": "12", 7: "7", -3.0: "-3", None: ""}
    good = [
        (number, *(ids.get(row[name], row[name]) for name in ("video_id", "group_id")), row["view_count"])
        for number, row in enumerate(cells, 1)
        if row["video_id"] in ("v", " v ", 12, "12.0", "007")
        and row["group_id"] != 0.5
        and row["view_count"] in (1000, None)
        and row["duration_seconds"] in (1, 0.5, None)
    ]
    assert kept == good
    assert len(kept) + len(rejected) == len(cells)


def _found(tables: Mapping[str, str | bytes]) -> dict[str, tuple[list[tuple[Any, ...]], list[tuple[int, str]]]]:
    """The rows and the rejects of each of several files."""
    found = {}
    with TemporaryDirectory() as folder:
        for name, data in tables.items():
            outcome = read(write(Path(folder), name, data, "videos"))
            rejects = sorted((row["row"], row["reason"]) for row in outcome.rejects.to_pylist())
            found[name] = rows(outcome, "_row", "video_id", "group_id", "view_count"), rejects
    return found


def test_decimals_of_databases_are_ids_and_whole_numbers(tmp_path: Path) -> None:
    whole = pa.array(["12345678901234567", "12"]).cast(pa.decimal128(20, 2))
    table = pa.table({"video_id": whole, "uri": ["a", "b"], "duration_seconds": whole, "view_count": whole})
    pq.write_table(table, tmp_path / "v.parquet")
    source = TableFiles("videos", str(tmp_path), ("v.parquet",))
    check_source(source)
    assert rows(read(source), "video_id", "view_count") == [("12345678901234567", 12345678901234567), ("12", 12)]


LABELS = [
    [{"entity_id": 7, "score": "0.5"}, {"entity_id": None, "score": "1"}],
    None,
    [],
    [None, {"entity_id": 8, "score": "x"}],
]


@pytest.mark.parametrize("make", [pa.list_, pa.large_list, lambda item: pa.list_(item, 2)])
def test_nested_labels_of_parquet_are_those_of_jsonl(
    tmp_path: Path, make: Callable[[pa.DataType], pa.DataType]
) -> None:
    labels = [cell for cell in LABELS if cell] if make is not pa.list_ else LABELS
    videos = [{"video_id": "v", "uri": "a", "duration_seconds": 1, "view_count": 1, "labels": cell} for cell in labels]
    kinds = {"entity_id": pa.float64(), "score": pa.string()}
    nested = pa.array(labels, pa.list_(pa.struct(kinds))).cast(make(pa.struct(kinds)))
    table = pa.Table.from_pylist([{**row, "labels": None} for row in videos]).set_column(4, "labels", nested)
    pq.write_table(table, tmp_path / "v.parquet")
    source = TableFiles("videos", str(tmp_path), ("v.parquet",))
    check_source(source)
    lines = "".join(f"{json.dumps(row)}\n" for row in videos)
    found, expected = (rows(read(item), "labels") for item in (source, write(tmp_path, "v.jsonl", lines, "videos")))
    for (one,), (other,) in zip(found, expected, strict=True):
        assert [{**label, "detail": None} for label in one] == [{**label, "detail": None} for label in other]
    first, second = found[0][0]
    assert (first["entity_id"], first["score"], first["reason"], second["reason"]) == ("7", 0.5, None, "missing_value")


SEGMENTS = [("", "", None), ("0", "5", None), ("5", "5", "out_of_range"), ("6", "5", "out_of_range")]
SEGMENTS += [
    ("-1", "5", "out_of_range"),
    ("1", "", "missing_value"),
    ("", "1", "missing_value"),
    ("x", "1", "wrong_type"),
]


def test_a_segment_ends_after_its_start_or_costs_its_row(tmp_path: Path) -> None:
    lines = [f"v,e,{start},{end}" for start, end, _ in SEGMENTS]
    text = "\n".join(["video_id,entity_id,start_seconds,end_seconds", *lines])
    outcome = read(write(tmp_path, "a.csv", text, "annotations"))
    reasons = {row["row"]: row["reason"] for row in outcome.rejects.to_pylist()}
    assert [reasons.get(number) for number in range(1, len(SEGMENTS) + 1)] == [reason for *_, reason in SEGMENTS]
    assert rows(outcome, "start_seconds", "end_seconds") == [(None, None), (0.0, 5.0)]


# Folders of parts


def parts_of(folder: Path, parts: Mapping[str, str]) -> TableFiles:
    for name, text in parts.items():
        write(folder, f"ratings/{name}", text)
    return find_files(str(folder), "ratings", "ratings")


def test_a_folder_of_parts_is_a_table_and_some_may_be_empty(tmp_path: Path) -> None:
    header = f"{','.join(HEADER)}\n"
    parts = {"part-00000.csv": "", "part-00001.csv": header, "part-00002.csv": f"{header}a,b,1\n", "part-3.jsonl": ""}
    hidden = {"_SUCCESS": "", ".part-00000.csv.crc": "x", "_temporary/0/part-0.csv": "x", "_metadata": "x"}
    source = parts_of(tmp_path, parts | hidden)
    pq.write_table(schema("ratings").empty_table(), tmp_path / "ratings/part-4.parquet")
    assert find_files(str(tmp_path), "ratings/", "ratings").files == (*source.files, "ratings/part-4.parquet")
    assert check_source(source) == []
    assert rows(read(find_files(str(tmp_path), "ratings", "ratings"))) == [("a", "b", 1.0)]
    assert find_files("/", str(tmp_path / "ratings"), "ratings").files[0] == "ratings/part-00000.csv"


@pytest.mark.usefixtures("bucket")
def test_a_folder_of_packed_parts_may_be_in_a_bucket() -> None:
    header = f"{','.join(HEADER)}\n"
    texts = {"part-0.csv.gz": gzip.compress(f"{header}é,b,1\n".encode("latin-1")), "part-1.csv": header.encode()}
    for name, data in (texts | {"_SUCCESS": b"", "": b""}).items():
        files.write_bytes(f"gs://{BUCKET}/ratings/{name}", data)
    source = find_files(f"gs://{BUCKET}", "ratings", "ratings")
    assert source.files == ("ratings/part-0.csv.gz", "ratings/part-1.csv")
    [warning] = check_source(source)
    assert warning.startswith("ratings/part-0.csv.gz of the ratings table: the bytes are not UTF-8")
    assert rows(read(source)) == [("é", "b", 1.0)]


def test_a_table_whose_parts_are_all_empty_is_a_usage_error(tmp_path: Path) -> None:
    source = parts_of(tmp_path, {"part-0.csv": "", "part-1.csv": ",".join(HEADER)})
    with pytest.raises(UsageError, match="The ratings table is empty") as caught:
        check_source(source)
    assert caught.value.why == "none of its 2 files has a row"


def test_a_folder_without_parts_is_a_missing_table(tmp_path: Path) -> None:
    (tmp_path / "ratings").mkdir()
    (tmp_path / "ratings/_SUCCESS").touch()
    with pytest.raises(UsageError, match="The ratings table is missing"):
        find_files(str(tmp_path), "ratings", "ratings")


def test_the_names_of_folders_are_columns(tmp_path: Path) -> None:
    text = "video_id,uri,duration_seconds,view_count\nv,a.mp4,1,1\n"
    for split in ("train", "my%20test", "__HIVE_DEFAULT_PARTITION__"):
        write(tmp_path, f"videos/split={split}/part-0.csv", text)
    line = {"video_id": "w", "uri": "a.mp4", "duration_seconds": 1, "view_count": 1}
    write(tmp_path, "videos/split=test/part-0.jsonl", json.dumps(line))
    source = find_files(str(tmp_path), "videos", "videos")
    assert "has a column 'split' that nothing uses" in check_source(source)[0]
    source = TableFiles("videos", source.root, source.files, partition_column="split")
    assert check_source(source) == []
    assert rows(read(source), "given_partition") == [("",), ("my test",), ("test",), ("train",)]


def test_a_column_that_some_parts_lack_is_said(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "video_id,entity_id,score\nv,e,1\n")
    write(tmp_path, "b.csv", "video_id,entity_id\nv,f\n")
    source = find_files(str(tmp_path), "?.csv", "annotations")
    assert check_source(source) == [
        "the annotations table has the column score in 1 of 2 files; it is taken as empty in b.csv"
    ]
    assert rows(read(source), "score") == [(1.0,), (None,)]


# Columns that nothing uses, and columns of one's own

VIDEOS = "video_id,uri,duration_seconds,view_count"


def warnings(folder: Path, columns: str, **fields: Any) -> list[str]:
    cells = ",".join("v" if name in ("video_id", "uri") else "1" for name in columns.split(","))
    return check_source(write(folder, "v.csv", f"{columns}\n{cells}\n", "videos", **fields))


def test_columns_that_nothing_uses_are_named_once_with_what_they_may_mean(tmp_path: Path) -> None:
    assert warnings(tmp_path, f",{VIDEOS},Unnamed: 0,colour,groupe,height") == [
        "nothing uses these columns of the videos table: colour, groupe (is group_id meant?), height; "
        "tables.keep_columns can keep them"
    ]
    kept = {"keep_columns": ("colour", "height"), "partition_column": "groupe"}
    assert warnings(tmp_path, f"{VIDEOS},colour,groupe,height", **kept) == []


@pytest.mark.parametrize("name", ["split", "Subset", "partition", "fold", "set"])
def test_a_partition_that_nothing_uses_has_a_warning_of_its_own(tmp_path: Path, name: str) -> None:
    first, second = warnings(tmp_path, f"{VIDEOS},colour,{name}")
    assert first == (
        f"the videos table has a column '{name}' that nothing uses: a build draws partitions by chance; to take them "
        f"from it, set partitioning.by: column and partitioning.column: {name}"
    )
    assert "colour" in second
    assert warnings(tmp_path, f"{VIDEOS},{name}", partition_column=name) == []
    [other] = warnings(tmp_path, f"{VIDEOS},{name},mine", partition_column="mine")
    assert other.endswith("partitions are those of the column 'mine'")


@pytest.mark.parametrize("name", ["class", "category", "tags", "Class"])
def test_a_label_that_nothing_uses_has_a_warning_of_its_own(tmp_path: Path, name: str) -> None:
    [warning] = warnings(tmp_path, f"{VIDEOS},{name}", ignored=("labels",))
    assert warning.startswith(f"the videos table has a column '{name}' that nothing uses: labels are the entity_id")


def test_labels_beside_an_annotations_table_are_a_warning_and_not_read(tmp_path: Path) -> None:
    for name, text in {"v.csv": f"{VIDEOS},labels\nv,v,1,1,a|b\n", "v.jsonl": ""}.items():
        row = {"video_id": "v", "uri": "v", "duration_seconds": 1, "view_count": 1, "labels": "no list"}
        source = write(tmp_path, name, text or json.dumps(row), "videos", ignored=("labels",))
        assert check_source(source) == [
            "the videos table has a column 'labels' that nothing uses: labels are those of the annotations table; to "
            "take them from it, set tables.annotations: null"
        ]
        assert rows(read(source), "video_id", "labels") == [("v", [])]


def test_a_column_that_the_config_names_and_no_file_has_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lacks columns splitt, colour that the config names") as caught:
        warnings(tmp_path, f"{VIDEOS},split", partition_column="splitt", keep_columns=("colour",))
    assert caught.value.where == "partitioning.column"
    assert caught.value.why == f"the columns of v.csv are {', '.join(VIDEOS.split(','))}, split"
    assert caught.value.fix == "write split for splitt; correct or remove colour"


def test_a_name_in_capitals_is_known(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lacks column video_id") as caught:
        warnings(tmp_path, VIDEOS.replace("video_id", "Video_ID"))
    assert caught.value.fix == "rename Video_ID to video_id"


def test_columns_of_ones_own_are_kept_as_texts_also_empty_ones(tmp_path: Path) -> None:
    fields = {"keep_columns": ("colour", "view_count", "note"), "partition_column": "fold"}
    text = f"{VIDEOS},colour,note,fold\nv,v,1,5,,a, 2.0\nw,w,1,6,red,,\n"
    outcome = read(write(tmp_path, "v.csv", text, "videos", **fields))
    assert rows(outcome, "kept_columns", "given_partition") == [(["", "5", "a"], "2"), (["red", "6", ""], "")]
    data = f"{VIDEOS},colour,note,fold\nv,v,1,5,é,a,2\nw,w,1,5,caf".encode() + b"\xe9,b,1\n"
    outcome = read(write(tmp_path, "v.csv", data, "videos", **fields))
    assert (outcome.kept.num_rows, outcome.rejects["row"].to_pylist()) == (1, [2])
    assert "column colour" in outcome.rejects["detail"][0].as_py()


# Files that are misunderstood


def ratings(folder: Path, good: int, bad: int, fraction: float) -> TableFiles:
    text = "".join([f"{','.join(HEADER)}\n", "a,b,1\n" * good, "a;b;1\n" * bad])
    return write(folder, "r.csv", text, max_malformed_fraction=fraction)


@pytest.mark.parametrize(
    ("good", "bad", "fraction"), [(0, 1, 0.01), (99, 1, 0.01), (198, 2, 0.01), (101, 2, 0.01), (1, 9, 1)]
)
def test_a_few_malformed_rows_are_rejects(tmp_path: Path, good: int, bad: int, fraction: float) -> None:
    outcome = read(ratings(tmp_path, good, bad, fraction))
    assert (outcome.kept.num_rows, outcome.rejects.num_rows) == (good, bad)


@pytest.mark.parametrize(("good", "bad", "fraction"), [(98, 2, 0.01), (0, 2, 0.01), (999, 1, 0), (1, 9, 0.5)])
def test_a_file_with_too_many_malformed_rows_is_refused(tmp_path: Path, good: int, bad: int, fraction: float) -> None:
    with pytest.raises(DataError, match=f"{bad} of {good + bad} rows of the ratings table are malformed") as caught:
        read(ratings(tmp_path, good, bad, fraction))
    assert caught.value.where == f"{tmp_path}/r.csv"
    assert f"tables.max_malformed_fraction {fraction:g} allows" in caught.value.why
    assert f"r.csv, row {good + 1}; why: 1 fields, the header has 3" in caught.value.why
    assert caught.value.why.count("\n") == min(bad, 3)
    assert "tables.encoding" in caught.value.fix


def test_empty_cells_and_numbers_out_of_range_are_not_malformed(tmp_path: Path) -> None:
    text = f"{','.join(HEADER)}\n" + "a,b,\n,b,1\na,b,nan\n" * 5
    outcome = read(write(tmp_path, "r.csv", text, max_malformed_fraction=0.0))
    assert outcome.rejects.num_rows == 15
