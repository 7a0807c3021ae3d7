"""Tables as spreadsheets export them are read as `tables` reads them: separator, encoding and compression are found."""

import gzip
from pathlib import Path

import pytest

from tests.intake.samples import read, video_files

pytest.importorskip("yt8m_pipeline.tables.delimited")

TEXT = "path,label,split\na.mp4,Café,train\nb.mp4,Zoë|Café,test\n"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_a_table_is_read_whatever_wrote_it(tmp_path: Path, separator: str, encoding: str, ending: str) -> None:
    video_files(tmp_path, "a.mp4", "b.mp4")
    data = TEXT.replace(",", separator).encode(encoding)
    (tmp_path / f"t.{ending}").write_bytes(gzip.compress(data) if ending.endswith("gz") else data)
    understood = read(tmp_path / f"t.{ending}")
    assert understood.classes == {"Café": 2, "Zoë": 1}
    assert understood.partitions == {"train": 1, "test": 1}


def test_a_compressed_list_without_a_header(tmp_path: Path) -> None:
    video_files(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a.mp4,52;3\nb.mp4,3\n"))
    assert read(tmp_path / "t.csv.gz").classes == {"52": 1, "3": 2}


def test_a_guessed_encoding_is_told_and_can_be_named(tmp_path: Path) -> None:
    video_files(tmp_path, "a.mp4")
    (tmp_path / "t.csv").write_bytes("path,label\na.mp4,犬\n".encode("shift_jis"))
    guessed = read(tmp_path / "t.csv")
    assert any(
        note.startswith("t.csv: the bytes are not UTF-8, and are read as Windows-1252") for note in guessed.notes
    )
    named = read(tmp_path / "t.csv", encoding="shift_jis")
    assert (named.classes, named.notes) == ({"犬": 1}, [])
