"""Tables of one's own: which columns are taken, and what becomes of their cells."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.intake.samples import read, tables, video_files, write
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.intake.understood import Label, Lacking, Unused

CSV = """\
File Path,Tags,Subset,Channel,Duration,Views,rating
a.mp4,dog|park,train,c1,12.5,100,5
b.mp4,cat,val,c2,,,4
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return video_files(tmp_path, "a.mp4", "b.mp4", "c.mp4")


def test_columns_are_guessed_and_shown(folder: Path) -> None:
    understood = read(write(folder / "mine.csv", CSV))
    assert understood.kind == "table"
    assert understood.columns == {
        "path": "File Path",
        "label": "Tags",
        "split": "Subset",
        "group": "Channel",
        "duration": "Duration",
        "views": "Views",
    }
    assert understood.notes[0] == "columns that are not used: rating"
    written = tables(understood, folder / "out")
    assert written["videos.csv"] == [
        "video_id,uri,duration_seconds,view_count,group_id,partition",
        "a,../a.mp4,12.5,100,c1,train",
        "b,../b.mp4,,,c2,validate",
    ]
    assert written["annotations.csv"][1:] == ["a,dog", "a,park", "b,cat"]


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("dog|park", ["dog", "park"]),
        ("dog; park ;", ["dog", "park"]),
        ('["dog", "park;pond"]', ["dog", "park;pond"]),
        ("New York, big", ["New York, big"]),
        ("[not json", ["[not json"]),
    ],
)
def test_labels_in_one_cell(folder: Path, cell: str, labels: list[str]) -> None:
    escaped = cell.replace('"', '""')
    understood = read(write(folder / "t.csv", f'path,labels\na.mp4,"{escaped}"\n'))
    assert understood.videos[0].labels == tuple(map(Label, labels))


def test_one_column_for_each_label(folder: Path) -> None:
    text = "path,dog,park,year\na.mp4,1,1,2020\nb.mp4,0,1,2021\nc.mp4,0,0,2022\n"
    understood = read(write(folder / "t.csv", text))
    assert understood.columns["label"] == "dog, park"
    assert understood.classes == {"dog": 1, "park": 2}
    assert understood.lacking == [Lacking("labels", "", f"{folder}/c.mp4")]
    assert read(folder / "t.csv", columns={"label": ("park",)}).classes == {"0": 1, "1": 2}


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_lists_and_nested_labels(folder: Path, ending: str) -> None:
    rows = [
        {"path": "a.mp4", "labels": [{"entity_id": "dog", "score": 0.5}, {"entity_id": "7", "score": None}]},
        {"path": "b.mp4", "labels": [{"entity_id": "cat", "score": 1.0}]},
    ]
    if ending == "jsonl":
        write(folder / "t.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), folder / "t.parquet")
    understood = read(folder / f"t.{ending}")
    assert [video.labels for video in understood.videos] == [(Label("dog", 0.5), Label("7")), (Label("cat", 1.0),)]


def test_several_rows_of_one_film(folder: Path) -> None:
    text = "path,label,score,start,end\na.mp4,dog,0.5,1,2\na.mp4,cat,,,\na.mp4,dog,0.5,1,2\n"
    understood = read(write(folder / "t.csv", text))
    assert understood.videos[0].labels == (Label("dog", 0.5, 1, 2), Label("cat"))


def test_named_columns_come_before_guesses(folder: Path) -> None:
    write(folder / "t.csv", "path,label,other\na.mp4,dog,x\n")
    assert read(folder / "t.csv", columns={"label": ("other",)}).classes == {"x": 1}
    with pytest.raises(UsageError, match=r"did you mean other\?"):
        read(folder / "t.csv", columns={"label": ("othr",)})


def test_ids_are_joined_with_names(folder: Path) -> None:
    write(folder / "t.csv", "video_id,label\na,dog\nzz,cat\n")
    understood = read(folder / "t.csv", folder)
    assert [(video.video_id, video.uri) for video in understood.videos] == [("a", f"{folder}/a.mp4")]
    assert Lacking("file", "zz", "zz") in understood.lacking


def test_paths_are_found_beside_the_table_or_in_a_given_folder(folder: Path, tmp_path: Path) -> None:
    table = write(tmp_path / "elsewhere" / "t.csv", f"path,label\na.mp4,dog\n{folder}/b.mp4,cat\n")
    assert [video.uri for video in read(table, folder).videos] == [f"{folder}/a.mp4", f"{folder}/b.mp4"]
    understood = read(table)
    assert [video.uri for video in understood.videos] == [f"{folder}/b.mp4"]
    assert understood.lacking == [Lacking("file", "", f"{tmp_path}/elsewhere/a.mp4")]


def test_objects_are_believed_and_web_addresses_are_not_used(folder: Path) -> None:
    text = "uri,label\ngs://bucket/a.mp4,dog\nhttps://example.org/b.mp4,cat\n"
    understood = read(write(folder / "t.csv", text))
    assert [video.uri for video in understood.videos] == ["gs://bucket/a.mp4"]
    assert [item.name for item in understood.unused] == ["t.csv, row 2"]


def test_youtube_addresses_are_ids(folder: Path) -> None:
    video_files(folder, "dQw4w9WgXcQ.mp4", "jNQXAC9IVRw.mkv")
    text = "url,label\nhttps://www.youtube.com/watch?v=dQw4w9WgXcQ,music\nhttps://youtu.be/jNQXAC9IVRw,zoo\n"
    assert [video.video_id for video in read(write(folder / "t.csv", text), folder).videos] == [
        "dQw4w9WgXcQ",
        "jNQXAC9IVRw",
    ]


def test_unknown_partitions_are_kept_and_told(folder: Path) -> None:
    understood = read(write(folder / "t.csv", "path,label,fold\na.mp4,dog,0\nb.mp4,cat,1\nc.mp4,cat,\n"))
    assert tables(understood, folder / "out")["videos.csv"][1:] == ["a,../a.mp4,0", "b,../b.mp4,1", "c,../c.mp4,"]
    assert [note.partition(":")[0] for note in understood.notes] == [
        "partitions that are not known",
        "1 videos have no partition",
    ]
    config = "\n".join(tables(understood, folder / "out")["config.yaml"])
    assert '\n  # values: {train: ["0", "1"], validate: [], test: []}  # divide' in config
    assert yaml.safe_load(config.replace("# values", "values"))["partitioning"]["values"]["train"] == ["0", "1"]


def test_tables_called_by_partitions_give_them(folder: Path) -> None:
    train = write(folder / "train.csv", "path,label\na.mp4,dog\n")
    test = write(folder / "test.csv", "path,label\nb.mp4,dog\n")
    assert [video.partition for video in read(train, test).videos] == ["train", "test"]


def test_misspelt_columns_are_told(folder: Path) -> None:
    understood = read(write(folder / "t.csv", "path,label,sbuset,notes\na.mp4,dog,train,x\n"))
    assert understood.notes[0] == ("columns that are not used: sbuset (is subset meant? --split-column sbuset), notes")


def test_a_column_that_stands_twice_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="twice"):
        read(write(folder / "t.csv", "path,label,label\na.mp4,dog,cat\n"))


def test_an_empty_part_among_many_is_no_fault(folder: Path) -> None:
    parts = [write(folder / f"part-{number}.csv", text) for number, text in enumerate(("", "path,label\na.mp4,dog\n"))]
    understood = read(*parts)
    assert understood.classes == {"dog": 1}
    assert understood.unused == [Unused("an empty file", "part-0.csv")]


def test_a_divided_group_is_told(folder: Path) -> None:
    understood = read(write(folder / "t.csv", "path,label,group,split\na.mp4,dog,g,train\nb.mp4,cat,g,test\n"))
    assert any(note.startswith("1 groups are in two partitions, such as g") for note in understood.notes)


def test_cells_that_cannot_be_used_are_listed(folder: Path) -> None:
    text = "path,label,duration,views\na.mp4,dog,00:12,1.5\n,cat,,\nb.mp4,cat,1e1,2\nc.mp4,cat\n"
    understood = read(write(folder / "t.csv", text))
    assert [(video.duration_seconds, video.view_count) for video in understood.videos] == [(None, None), (10.0, 2)]
    assert sorted(understood.unused) == [
        Unused("2 fields, the header has 4", "t.csv, row 4"),
        Unused("a cell of duration that is no number from 0", "t.csv, row 1"),
        Unused("a cell of views that is no whole number from 0", "t.csv, row 1"),
        Unused("a row without a path or an id, or one that is not UTF-8", "t.csv, row 2"),
    ]


def test_a_table_without_labels_is_one_of_unlabelled_videos(folder: Path) -> None:
    understood = read(write(folder / "t.csv", "path,note\na.mp4,x\n"))
    assert list(tables(understood, folder / "out")) == ["videos.csv"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "A source has no rows that can be used"),
        ("path,label\n", "A source has no rows that can be used"),
        ("path,label\nnowhere.mp4,dog\n", "No video of the annotations is there"),
        ("a,b\n1,2\n", "A table names no videos"),
        ("id,path,label\n1,a.mp4,dog\n1,b.mp4,cat\n", "An id has two videos"),
        ("path,label,split\na.mp4,dog,train\na.mp4,cat,test\n", "A video is in two partitions"),
        ("path,label\na.mp4,\n", "No video has a label"),
    ],
)
def test_bad_tables(folder: Path, text: str, what: str) -> None:
    (folder / "t.csv").write_text(text)
    with pytest.raises(UsageError, match=what):
        read(folder / "t.csv")


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b'{"database": {', b"PAR1PAR1", b"\x00\x01"])
@pytest.mark.parametrize("ending", ["csv", "json", "jsonl", "parquet", "txt"])
def test_unreadable_files_are_told_in_four_parts(tmp_path: Path, data: bytes, ending: str) -> None:
    video_files(tmp_path, "a.mp4")
    (tmp_path / f"x.{ending}").write_bytes(data)
    with pytest.raises(UsageError):
        read(tmp_path / f"x.{ending}", tmp_path)


def test_ids_are_those_that_the_tables_read(folder: Path) -> None:
    text = "path,label,group,split\na.mp4,7.0,1.0,0.0\nb.mp4,7,1,0\nc.mp4,7,,\n"
    understood = read(write(folder / "t.csv", text))
    assert understood.classes == {"7": 3}
    assert understood.groups == {"1": 2}
    assert understood.partitions == {"0": 2, "": 1}


def test_indicators_of_a_column_with_gaps(folder: Path) -> None:
    understood = read(write(folder / "t.csv", "path,dog,cat\na.mp4,1.0,0.0\nb.mp4,0.0,1.0\nc.mp4,1.0,\n"))
    assert understood.classes == {"dog": 2, "cat": 1}


def test_what_a_nested_label_says_is_kept_or_listed(folder: Path) -> None:
    labels = [
        {"entity_id": "dog", "score": "high"},
        {"label": 7, "score": "0.5", "start_seconds": 1, "end_seconds": 2.5},
        {"score": 1},
    ]
    understood = read(write(folder / "t.jsonl", json.dumps({"path": "a.mp4", "labels": labels, "score": 0.9})))
    assert understood.videos[0].labels == (Label("dog", 0.9), Label("7", 0.5, 1, 2.5))
    assert [item.why for item in understood.unused] == [
        "the score of a label that is no number",
        "a label without a text; it would be entity_id or label or name of the label",
    ]


def test_one_path_may_be_written_in_several_ways(folder: Path) -> None:
    understood = read(write(folder / "t.csv", f"path,label\na.mp4,dog\n./a.mp4,cat\n{folder}/.//a.mp4,park\n"))
    assert [video.uri for video in understood.videos] == [f"{folder}/a.mp4"]
    assert understood.classes == {"dog": 1, "cat": 1, "park": 1}


def test_negative_numbers_are_none(folder: Path) -> None:
    understood = read(write(folder / "t.csv", "path,label,duration,views\na.mp4,dog,-3,-1\n"))
    assert (understood.videos[0].duration_seconds, understood.videos[0].view_count) == (None, None)
    assert len(understood.unused) == 2
