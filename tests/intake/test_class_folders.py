"""Folders of videos: what their folders say, and which videos are one."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.intake.samples import read, tables, video_files, write
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.intake.same_files import copies
from yt8m_pipeline.intake.understood import Lacking, Unused
from yt8m_pipeline.intake.video_files import VideoFile


def test_each_folder_is_a_class(tmp_path: Path) -> None:
    understood = read(video_files(tmp_path / "clips", "dog/a.mp4", "dog/b.mkv", "cat/a.mp4"))
    assert understood.kind == "folder of class folders"
    assert tables(understood, tmp_path / "out")["annotations.csv"] == [
        "video_id,entity_id",
        "cat_a,cat",
        "dog_a,dog",
        "dog_b,dog",
    ]


@pytest.mark.parametrize("above", ["", "data/videos/"])
def test_folders_of_partitions_are_no_classes(tmp_path: Path, above: str) -> None:
    """As Kinetics is downloaded, and as Hugging Face's VideoFolder has it."""
    names = (f"{above}train/dog/a.mp4", f"{above}val/dog/b.mp4", f"{above}test/cat/c.mp4")
    understood = read(video_files(tmp_path / "clips", *names))
    assert understood.classes == {"dog": 2, "cat": 1}
    assert understood.partitions == {"train": 1, "validate": 1, "test": 1}
    assert not any(line.startswith("  train:") for line in tables(understood, tmp_path)["config.yaml"])


def test_nested_classes_have_their_paths_as_names(tmp_path: Path) -> None:
    understood = read(video_files(tmp_path, "x/animal/dog/a.mp4", "x/animal/cat/b.mp4", "x/sport/golf/c.mp4"))
    assert set(understood.classes) == {"animal/dog", "animal/cat", "sport/golf"}


@pytest.mark.parametrize("names", [("a.mp4", "b.mp4"), ("videos/a.mp4", "videos/b.mp4")])
def test_one_folder_is_no_class(tmp_path: Path, names: tuple[str, ...]) -> None:
    """It holds videos without labels, of which only the videos table is written."""
    understood = read(video_files(tmp_path / "clips", *names))
    assert understood.kind == "videos without labels"
    assert tables(understood, tmp_path / "out") == {
        "videos.csv": ["video_id,uri", *(f"{name[:-4].replace('/', '_')},../clips/{name}" for name in names)]
    }


def test_films_beside_class_folders_lack_labels(tmp_path: Path) -> None:
    understood = read(video_files(tmp_path, "dog/a.mp4", "cat/b.mp4", "c.mp4"))
    assert [video.video_id for video in understood.videos] == ["cat_b", "dog_a"]
    assert understood.lacking == [Lacking("labels", "", f"{tmp_path}/c.mp4")]


@pytest.mark.parametrize("copy", [os.link, os.symlink, shutil.copyfile])
def test_a_film_in_two_class_folders_has_two_labels(tmp_path: Path, copy: object) -> None:
    folder = video_files(tmp_path / "clips", "dog/a.mp4", "dog/other.mp4", "park/c.mp4")
    copy(folder / "dog" / "a.mp4", folder / "park" / "b.mp4")  # type: ignore[operator]
    understood = read(folder)
    assert tables(understood, tmp_path / "out")["annotations.csv"][1:] == [
        "dog_a,dog",
        "dog_a,park",
        "dog_other,dog",
        "park_c,park",
    ]
    assert understood.notes[0].startswith("1 video is in several class folders")


def test_a_copy_in_the_same_class_folder_is_no_second_label(tmp_path: Path) -> None:
    folder = video_files(tmp_path / "clips", "dog/a.mp4", "park/c.mp4")
    for name in ("dog/b.mp4", "park/d.mp4"):
        shutil.copyfile(folder / "dog" / "a.mp4", folder / name)
    assert tables(read(folder), tmp_path / "out")["annotations.csv"][1:] == ["dog_a,dog", "dog_a,park", "park_c,park"]


def test_copies_in_two_partitions_stay_two_videos(tmp_path: Path) -> None:
    """Which of them counts is for `duplicates` of the config to say."""
    folder = video_files(tmp_path, "train/dog/a.mp4", "test/cat/b.mp4")
    shutil.copyfile(folder / "train" / "dog" / "a.mp4", folder / "test" / "cat" / "c.mp4")
    assert len(read(folder).videos) == 3


def test_copies_are_those_of_the_same_bytes(tmp_path: Path) -> None:
    """Of files of one size whose beginnings are the same too."""
    start = b"x" * (1 << 16)
    same = [write(tmp_path / name, start + b"end 1") for name in ("1.mp4", "2.mp4")]
    write(tmp_path / "3.mp4", start + b"end 2")
    os.link(same[1], tmp_path / "4.mp4")
    found = copies([VideoFile(str(path), path.name) for path in sorted(tmp_path.iterdir())])
    assert [[video_file.name for video_file in group] for group in found] == [["1.mp4", "2.mp4", "4.mp4"]]


def test_what_is_no_film_is_named(tmp_path: Path) -> None:
    video_files(
        tmp_path, "dog/a.mp4", "cat/b.mp4", "cat/.hidden.mp4", "__MACOSX/dog/a.mp4", "dog/Thumbs.db", "dog/a.jpg"
    )
    (tmp_path / "dog" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "dog" / "empty.mp4").touch()
    os.symlink("nowhere", tmp_path / "dog" / "broken.mp4")
    assert sorted(read(tmp_path).unused) == [
        Unused("a broken link, or no regular file", "dog/broken.mp4"),
        Unused("a hidden or a system file", "__MACOSX"),
        Unused("a hidden or a system file", "cat/.hidden.mp4"),
        Unused("a hidden or a system file", "dog/.DS_Store"),
        Unused("a hidden or a system file", "dog/Thumbs.db"),
        Unused("an empty file", "dog/empty.mp4"),
        Unused("no video by its ending", "dog/a.jpg"),
    ]


def test_links_that_lead_back_end(tmp_path: Path) -> None:
    video_files(tmp_path / "clips", "dog/a.mp4", "cat/b.mp4")
    for number in range(8):
        os.symlink("..", tmp_path / "clips" / "dog" / f"back{number}")
    os.symlink("self.mp4", tmp_path / "clips" / "dog" / "self.mp4")
    os.symlink(video_files(tmp_path / "elsewhere", "c.mp4"), tmp_path / "clips" / "bird")
    assert read(tmp_path / "clips").classes == {"dog": 1, "cat": 1, "bird": 1}


HOSTILE = ("-rf.mp4", "a,b.mp4", 'say "hi".mp4', "é\u0301ü 漢.mp4", "=1+1.mp4", "$(id).mp4", "'.mp4")


def test_hostile_names_are_safe_in_tables(tmp_path: Path) -> None:
    folder = video_files(tmp_path / "clips", *(f"{name[:-4]}/{name}" for name in HOSTILE))
    video_files(folder, "dog/new\nline.mp4", "dog/clear\x1b[2J.mp4")
    with open(os.fsencode(folder) + b"/dog/\xff.mp4", "wb") as stream:
        stream.write(b"video")
    understood = read(folder)
    assert {video.uri.rpartition("/")[2] for video in understood.videos} == set(HOSTILE)
    assert set(understood.classes) == {name[:-4] for name in HOSTILE}
    assert all(sign.isalnum() or sign in "._-" for video in understood.videos for sign in video.video_id)
    assert not any(video.video_id.startswith(("-", ".")) for video in understood.videos)
    assert [item.why for item in understood.unused] == [
        "a table cannot name it: it has a control character",
        "a table cannot name it: it has a control character",
        "its name is not UTF-8",
    ]


def test_no_films(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg", "x")
    write(tmp_path / "parts" / "part-0.csv", "path,label\n")
    with pytest.raises(UsageError, match="There are no videos") as caught:
        read(tmp_path)
    assert caught.value.fix.endswith(f"name a table itself, such as {tmp_path}/parts/part-0.csv")
    with pytest.raises(UsageError, match="A source does not exist"):
        read(tmp_path / "absent")


def test_a_group_is_what_a_pattern_finds_in_a_path(tmp_path: Path) -> None:
    folder = video_files(tmp_path, "dog/film1_a.mp4", "dog/film1_b.mp4", "cat/film2_a.mp4", "cat/other.mp4")
    understood = read(folder, group_by=r"/(film\d+)_")
    assert [video.group_id for video in understood.videos] == ["film2", "", "film1", "film1"]


@pytest.mark.parametrize("pattern", ["(", "file"])
def test_a_pattern_without_a_group_is_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(UsageError, match="This is no pattern"):
        read(video_files(tmp_path, "dog/a.mp4", "cat/b.mp4"), group_by=pattern)


@pytest.mark.parametrize("option", [{"split": 2}, {"match": "{id}.mp4"}, {"columns": {"label": ("x",)}}])
def test_options_without_use_are_refused(tmp_path: Path, option: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="An option has no use for this source"):
        read(video_files(tmp_path, "dog/a.mp4", "cat/b.mp4"), **option)


def test_folders_may_be_nested_deeper_than_calls(tmp_path: Path) -> None:
    video_files(tmp_path, "dog/a.mp4", "cat/b.mp4")
    deep = str(tmp_path)
    for _ in range(sys.getrecursionlimit() + 500):
        deep += "/d"
        os.mkdir(deep)
    try:
        assert read(tmp_path).classes == {"dog": 1, "cat": 1}
    finally:
        os.removedirs(deep)


def test_links_whose_paths_are_legion_are_refused(tmp_path: Path) -> None:
    folder = video_files(tmp_path, "dog/a.mp4", "cat/b.mp4")
    for number in range(12):
        (folder / str(number)).mkdir()
        for link in "abcdefgh":
            os.symlink(f"../{number + 1}", folder / str(number) / link)
    with pytest.raises(UsageError, match="A source has too many links to folders"):
        read(folder)
