"""How facts are shown: tables keep to the width there is, and the end of a pipe is no failure of the data."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.command_line import run
from tests.test_errors import HOSTILE
from tests.test_errors import SHOWN as SHOWN_HOSTILE
from yt8m_pipeline.cli.console import partition_rows, show
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import Manifest

FACTS = {
    "partitions": [{"partition": "train", "videos": 1_234_567, "frames": 283_950_410, "classes": 4_716, "labels": 99}],
    "files": [
        {"what": "dataset", "where": "/" + "a_long_folder/" * 9},
        {"what": "rejects", "where": "rejects"},
    ],
}


def test_names_of_strangers_are_shown_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    show({SHOWN_HOSTILE: HOSTILE, "rows": [{"id": HOSTILE, "é": 1}]}, False, HOSTILE)
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert shown.count(SHOWN_HOSTILE) == 4
    assert "é" in shown


class TestWidth:
    @pytest.mark.parametrize("columns", [30, 40, 80, 132])
    def test_a_table_keeps_to_columns_and_loses_no_letter(
        self, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("COLUMNS", str(columns))
        show(FACTS, False, "title")
        shown = capsys.readouterr().out
        assert max(map(len, shown.splitlines())) <= columns
        where = "".join(line.strip("│").split("│")[-1].strip() for line in shown.splitlines() if line.startswith("│"))
        assert "a_long_folder/" * 9 in where

    def test_without_a_terminal_a_table_is_as_wide_as_its_rows(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.delenv("COLUMNS", raising=False)
        show(FACTS, False, "title")
        assert "/" + "a_long_folder/" * 9 in capsys.readouterr().out

    @pytest.mark.parametrize("columns", [24, 50])
    def test_every_table_of_a_build_keeps_to_columns(
        self, built: Path, columns: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", str(columns))
        lines = run("build", str(built / "config.yaml")).stdout.splitlines()
        drawn = [line for line in lines if line[:1] in "┏┃┡│└"]
        assert drawn
        assert max(map(len, drawn)) <= columns


class TestClasses:
    def test_a_split_has_the_classes_of_its_videos(self, built: Path) -> None:
        layout, manifest = opened(built)
        labels = {row["video_id"]: row for row in pq.read_table(layout.path(Layout.TEST_LABELS)).to_pylist()}
        found: dict[str, set[int]] = {part: set() for part in Partition}
        for row in pq.read_table(layout.path(Layout.VIDEOS)).to_pylist():
            found[row["partition"]] |= set((row | labels.get(row["video_id"], {}))["labels"])
        counted = {row["partition"]: row["classes"] for row in partition_rows(layout, manifest)}
        assert counted == {part: len(classes) for part, classes in found.items()}
        assert min(counted.values()) > 0

    def test_those_of_withheld_labels_are_not_known(self, copied: Path) -> None:
        layout, manifest = opened(copied)
        Path(layout.path(Layout.TEST_LABELS)).unlink()
        counted = {row["partition"]: row["classes"] for row in partition_rows(layout, manifest)}
        assert [part for part, classes in counted.items() if classes is None] == ["test"]


def opened(folder: Path) -> tuple[Layout, Manifest]:
    layout = Layout(str(folder / "dataset"))
    return layout, Manifest.of(layout)


def unread(command: Sequence[str], stream: str) -> int:
    """The exit code of a command that has one of its streams in a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | {stream: writer}
    arguments = [sys.executable, "-m", "yt8m_pipeline", *command]
    finished = subprocess.run(arguments, check=False, timeout=300, **streams)  # type: ignore[call-overload]
    os.close(writer)
    return int(finished.returncode)


class TestClosedPipe:
    @pytest.mark.parametrize("command", [("--help",), ("config", "schema"), ("inspect", "table.csv")])
    def test_output_that_nobody_reads_ends_with_the_code_of_sigpipe(
        self, command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("table.csv").write_text("id\nvideo\n" * 1000)
        assert unread(command, "stdout") == 141

    def test_an_error_that_nobody_reads_keeps_its_exit_code(self) -> None:
        assert unread(("build", "absent.yaml"), "stderr") == 2

    def test_a_command_whose_progress_nobody_reads_does_its_work(self, tmp_path: Path) -> None:
        assert unread(("demo", str(tmp_path / "corpus"), "--videos", "24", "--seconds", "2"), "stderr") == 0
        assert (tmp_path / "corpus" / "demo.json").read_text()
