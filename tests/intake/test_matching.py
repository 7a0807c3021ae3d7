"""Records and videos find each other by paths, names and patterns."""

import os
from pathlib import Path

import pytest

from tests.intake.samples import KINETICS, read, video_files, write
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.intake.matching import VideoFileIndex
from yt8m_pipeline.intake.understood import Record
from yt8m_pipeline.intake.video_files import VideoFile


def found(names: list[str], *record_names: str, identifier: str = "", pattern: str | None = None) -> str | None:
    index = VideoFileIndex([VideoFile(f"/f/{name}", name) for name in names], [identifier], pattern)
    video_file = index.find(Record(identifier, record_names))
    return video_file.name if video_file else None


def test_a_path_finds_the_film_of_this_path_before_others() -> None:
    names = ["a/x.mp4", "b/x.mp4", "deep/a/x.mp4"]
    assert found(names, "a/x.mp4") == "a/x.mp4"
    assert found(names[1:], "a/x.mp4") == "deep/a/x.mp4"
    assert found(["deep/a/x.mkv", "b/x.mkv"], "a/x.mp4") == "deep/a/x.mkv"
    assert found(["only.mp4"], "elsewhere/only.avi") == "only.mp4"
    assert found(["only.mp4"], "other.avi", "only") == "only.mp4"
    assert found(["only.mp4"], "other.avi") is None


def test_dots_in_ids_are_no_endings() -> None:
    assert found(["BV1.5xy.mp4", "BV1.mp4"], "BV1.5xy") == "BV1.5xy.mp4"


def test_accents_may_be_signs_of_their_own() -> None:
    assert found(["cafe\u0301.mp4"], "caf\u00e9.mp4") == "cafe\u0301.mp4"


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("{id}*.mp4", "abc_000010.mp4"),
        ("clip-{id}.mp4", "clip-abc.mp4"),
        ("*_{id}_*", "x_abc_9.mkv"),
        ("train/{id}.mp4", "train/abc.mp4"),
        (r"^\d+-(\w+)\.", "007-abc.mp4"),
    ],
)
def test_patterns_join_ids_with_names(pattern: str, name: str) -> None:
    assert found([name, "other.mp4"], "nothing", identifier="abc", pattern=pattern) == name
    assert found(["other.mp4"], "abc", identifier="abc", pattern=pattern) is None


def test_of_several_ids_in_a_name_the_longest_is_meant() -> None:
    index = VideoFileIndex([VideoFile("/f/ab_1.mp4", "ab_1.mp4")], ["a", "ab"], "{id}*.mp4")
    assert index.find(Record("a", ("a",))) is None
    assert index.find(Record("ab", ("ab",))) is not None


def test_two_films_of_one_id_are_an_error_that_names_both() -> None:
    with pytest.raises(UsageError, match=r"/f/x/a\.mp4, /f/y/a\.mp4"):
        found(["x/a.mp4", "y/a.mp4"], "a")


def test_two_links_to_one_film_are_no_error(tmp_path: Path) -> None:
    write(tmp_path / "k.csv", KINETICS)
    name = "--GkrdYZ9Tc_000000_000010.mp4"
    video_files(tmp_path / "x", name)
    (tmp_path / "y").mkdir()
    os.symlink(tmp_path / "x" / name, tmp_path / "y" / name)
    assert len(read(tmp_path / "k.csv", tmp_path).videos) == 1


@pytest.mark.parametrize("pattern", ["*.mp4", "("])
def test_a_pattern_without_an_id_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="This is no pattern"):
        found(["a.mp4"], "a", identifier="a", pattern=pattern)
