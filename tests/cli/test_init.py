"""`yt8m init` and `yt8m build SOURCE`: what they print and write."""

import json
from pathlib import Path

import pytest

from tests.command_line import four_parts, run
from tests.intake.samples import video_files, write


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_says_what_it_understood_and_what_comes_next(here: Path) -> None:
    video_files(here / "clips", "train/dog/a.mp4", "train/cat/b.mp4", "test/dog/c.mp4", "x.jpg", "d.mp4")
    printed = run("init", "clips", "--group-by", "([a-z])$")
    assert printed.returncode == 0, printed.stderr
    title = printed.stdout.splitlines()[0]
    assert title.startswith("folder of class folders: the tables and the config are in yt8m_clips")
    assert "`yt8m build yt8m_clips/config.yaml` builds the dataset" in title
    for text in (
        "videos: 3",
        "classes: 2",
        "groups: 3",
        "no video by its ending",
        "without_labels: 1",
        "no video is in",
    ):
        assert text in printed.stdout
    again = json.loads(run("init", "clips", "--group-by", "([a-z])$", "--json").stdout)
    assert again["partitions"] == [{"partition": "test", "videos": 1}, {"partition": "train", "videos": 2}]
    assert again["largest_classes"][0] == {"class": "dog", "videos": 2}
    assert again["not_used"] == [{"why": "no video by its ending", "count": 1, "first": "x.jpg"}]
    assert again["files"][-1] == {"file": "yt8m_clips/missing.csv"}


def test_columns_can_be_named(here: Path) -> None:
    video_files(here, "a.mp4", "b.mp4")
    write(here / "t.csv", "where,what,also\na.mp4,1,0\nb.mp4,0,1\n")
    columns = ("--path-column", "where", "--label-column", "what", "--label-column", "also")
    facts = json.loads(run("init", "t.csv", *columns, "--output", "out", "--json").stdout)
    assert facts["columns"] == [{"role": "path", "column": "where"}, {"role": "label", "column": "what, also"}]
    assert (here / "out" / "annotations.csv").read_text() == "video_id,entity_id\na,what\nb,also\n"


def test_videos_without_labels_are_for_extraction(here: Path) -> None:
    video_files(here / "clips", "a.mp4")
    printed = run("init", "clips")
    assert "`yt8m extract yt8m_clips/videos.csv --like DATASET --output DIR`" in printed.stdout
    assert sorted(path.name for path in (here / "yt8m_clips").iterdir()) == ["init.json", "videos.csv"]
    what, where, _, fix = four_parts(run("build", "clips"))
    assert (what, where) == ("A dataset needs labels", "clips")
    assert "yt8m extract" in fix


def test_names_of_strangers_are_escaped(here: Path) -> None:
    video_files(here / "clips", "dog/a.mp4", "cat/b.mp4", "dog/\x1b[2J.mp4")
    printed = run("init", "clips").stdout
    assert "\x1b" not in printed
    assert "\\x1b[2J.mp4" in printed


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("init", "absent"), "A source does not exist"),
        (("init", "."), "There are no videos"),
        (("build", "absent.csv"), "A source does not exist"),
        (("build", "absent.yaml"), "The config file does not exist"),
        (("build", ".", "--output", "gs://bucket/x"), "A config is a file of this machine"),
        (("init", "ftp://x/y"), "This is no place for files"),
    ],
)
def test_errors_have_four_parts(arguments: tuple[str, ...], what: str) -> None:
    refused = run(*arguments)
    assert refused.returncode == 2
    assert four_parts(refused)[0] == what


def test_a_source_is_initialized_before_it_is_built(here: Path) -> None:
    """A config that was changed since is built by its own name."""
    video_files(here / "clips", "dog/a.mp4", "cat/b.mp4", "x.jpg")
    settings = ("--set", "pca.components=x")
    refused = run("build", "clips", *settings, "--output", "out")
    assert "The config has" in refused.stderr
    assert "folder of class folders: 2 videos of 2 classes; the tables and the config are in out\n" in refused.stderr
    assert "\n1 files, rows or cells are not used; `yt8m init` names them\n" in refused.stderr
    assert (here / "out" / "annotations.csv").exists()
    (here / "out" / "config.yaml").write_text("mine")
    what, _, _, fix = four_parts(run("build", "clips", *settings, "--output", "out"))
    assert what.startswith("Files are not replaced")
    assert "`yt8m build out/config.yaml`" in fix


def test_a_very_long_label_does_not_flood_the_terminal(here: Path) -> None:
    video_files(here, "a.mp4")
    label = "z" * 200_000
    write(here / "t.csv", f"path,label\na.mp4,{label}\n")
    printed = run("init", "t.csv", "--output", "out")
    assert printed.returncode == 0
    assert "… (200,000 characters)" in "".join(sign for sign in printed.stdout if sign not in "│┃\n").replace("  ", "")
    assert len(printed.stdout) < 30_000
    facts = json.loads(run("init", "t.csv", "--output", "out", "--json").stdout)
    assert facts["largest_classes"] == [{"class": label, "videos": 1}]
