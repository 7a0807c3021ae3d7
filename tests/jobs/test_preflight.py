"""`yt8m probe`, over a few videos and over a whole videos table."""

import csv
import json
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from tests.command_line import four_parts, listen_to_interrupts, run
from tests.conftest import CONFIGS
from tests.decoding.clips import encode, encode_audio
from yt8m_pipeline.accounting.outcome import REJECTS
from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.decoding.facts import VideoFacts
from yt8m_pipeline.decoding.sandbox.threads import Probing, prober
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.jobs.preflight import Preflight, WrongDuration, count_videos, probe_table
from yt8m_pipeline.tables.reading import TableFiles, find_files

CLIP = encode(range(0, 2000, 40), container="matroska")
BROKEN = {"text.mp4": b"not a video", "audio.mp4": encode_audio(), "cut.mkv": CLIP[:-900], "empty.mp4": b""}
REASONS = {
    "text.mp4": DropReason.NOT_A_VIDEO,
    "audio.mp4": DropReason.NO_VIDEO_STREAM,
    "cut.mkv": DropReason.TRUNCATED,
    "empty.mp4": DropReason.EMPTY_FILE,
    "folder.mp4": DropReason.NOT_A_VIDEO,
    "none.mp4": DropReason.MISSING_FILE,
}
PROBING = Probing(Decoding(), frames=False, workers=1)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sound and broken videos, and tables that list them."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "videos" / "folder.mp4").mkdir(parents=True)
    for name, data in {**BROKEN, "good.mkv": CLIP, "[red]good.mkv": CLIP}.items():
        (folder / "videos" / name).write_bytes(data)
    broken = [(name, f"videos/{name}", 2.0) for name in REASONS]
    write_table(
        folder / "all-1.csv", [("near", "videos/good.mkv", 2.9), *broken, ("bad row", "videos/good.mkv", "long")]
    )
    write_table(
        folder / "all-2.csv", [("far", str(folder / "videos" / "good.mkv"), 9.0), ("off", "videos/good.mkv", 0.5)]
    )
    write_table(folder / "sound.csv", [("good", "videos/good.mkv", 2.0)])
    return folder


def write_table(path: Path, rows: list[tuple[str, str, object]]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("video_id", "uri", "duration_seconds", "view_count"))
        writer.writerows((*row, 1000) for row in rows)


def config_with(folder: Path, **changes: object) -> str:
    """The smoke config with other values in `decoding` and `tables`."""
    values = yaml.safe_load((CONFIGS / "smoke.yaml").read_text())
    for field, value in changes.items():
        section, leaf = field.split("__")
        values.setdefault(section, {})[leaf] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    return str(folder / "config.yaml")


def printed_json(*arguments: str, exit_code: int = 0) -> Any:
    finished = run("probe", *arguments, "--json")
    assert finished.returncode == exit_code, finished.stderr
    return json.loads(finished.stdout)


class TestFiles:
    def test_each_result_has_its_videos_place_in_the_list(self, corpus: Path) -> None:
        names = ["good.mkv", *REASONS, "good.mkv"]
        with prober(replace(PROBING, workers=2)) as probe:
            results = dict(probe([str(corpus / "videos" / name) for name in names]))
        assert sorted(results) == list(range(len(names)))
        for number, name in enumerate(names):
            result = results[number]
            found = result.reason if isinstance(result, VideoRejected) else type(result)
            assert found == REASONS.get(name, VideoFacts), (name, result)

    def test_a_video_with_too_few_sound_frames_is_rejected_once_they_are_decoded(self, corpus: Path) -> None:
        decoding = Decoding(damage="salvage", min_decoded_fraction=1.0)
        with prober(Probing(decoding, frames=True, workers=1)) as probe:
            ((_, result),) = probe([str(corpus / "videos" / "cut.mkv")])
        assert isinstance(result, VideoRejected)
        assert (result.reason, result.decoded_fraction) == (DropReason.TOO_DAMAGED, 0.5)

    def test_a_sandbox_that_does_not_start_is_no_fault_of_a_video(
        self, corpus: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "executable", "/bin/false")
        with prober(PROBING) as probe, pytest.raises(DataError, match="The decoding process does not start"):
            list(probe([str(corpus / "videos" / "good.mkv")]))


def resident() -> int:
    """The bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.fixture(scope="module")
def source(corpus: Path) -> TableFiles:
    return find_files(str(corpus), "all-*.csv", "videos")


@pytest.fixture(scope="module")
def finished(source: TableFiles, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Preflight, Path, int]:
    output = tmp_path_factory.mktemp("output") / "new" / "problems.parquet"
    calls: list[None] = []
    found = probe_table(source, str(corpus), str(output), PROBING, lambda: calls.append(None))
    return found, output, len(calls)


class TestTable:
    def test_every_unusable_row_and_video_is_in_the_table_of_problems_in_order(
        self, corpus: Path, finished: tuple[Preflight, Path, int]
    ) -> None:
        found, output, _ = finished
        table = pq.read_table(output)
        assert table.schema == REJECTS
        unreadable, *videos = table.to_pylist()
        assert (unreadable["stage"], unreadable["id"], unreadable["reason"]) == ("read", "bad row", "wrong_type")
        assert (unreadable["file"], unreadable["row"]) == ("all-1.csv", 8)
        assert [video["id"] for video in videos] == list(REASONS)
        for video in videos:
            assert (video["stage"], video["table"]) == ("decode", "videos")
            assert (video["reason"], video["file"]) == (REASONS[video["id"]], str(corpus / "videos" / video["id"]))
        assert found.problems == Counter(["wrong_type", *REASONS.values()])

    def test_every_readable_video_is_counted_and_announced(
        self, source: TableFiles, finished: tuple[Preflight, Path, int]
    ) -> None:
        found, _, calls = finished
        assert count_videos(source) == found.videos == calls == len(REASONS) + 3

    def test_thousands_of_missing_videos_take_no_memory_to_speak_of(self, tmp_path: Path) -> None:
        """A table of one row for each took 22 KiB a video: 88 MiB here, and 1.4 GiB for a batch of 65,536 rows."""
        write_table(tmp_path / "missing.csv", [(f"v{row}", f"v{row}.mp4", 1.0) for row in range(4000)])
        source, held = find_files(str(tmp_path), "missing.csv", "videos"), list[int]()
        found = probe_table(source, str(tmp_path), str(tmp_path / "out"), PROBING, lambda: held.append(resident()))
        assert found.problems == {"missing_file": 4000}
        assert max(held) - held[0] < 40 << 20

    def test_durations_that_are_off_by_more_than_a_second_are_told(self, finished: tuple[Preflight, Path, int]) -> None:
        found = finished[0]
        assert found.wrong_durations == 2
        assert found.worst_durations == [
            WrongDuration(7.0, "far", 9.0, 2.0),
            WrongDuration(1.5, "off", 0.5, 2.0),
        ]

    def test_only_the_worst_durations_are_kept(self) -> None:
        found = Preflight()
        for seconds in (3, 1, 9, 2, 8, 7, 4, 6, 5):
            found.compare_durations(f"v{seconds}", float(seconds), 0.0)
        assert found.wrong_durations == 8
        assert [worst.seconds_off for worst in found.worst_durations] == [9, 8, 7, 6, 5]

    def test_an_interrupted_probe_leaves_no_file(self, source: TableFiles, corpus: Path, tmp_path: Path) -> None:
        def interrupt() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            probe_table(source, str(corpus), str(tmp_path / "problems.parquet"), PROBING, interrupt)
        assert not list(tmp_path.iterdir())


class TestCommand:
    def test_one_video_is_shown_in_full(self, corpus: Path) -> None:
        shown = run("probe", str(corpus / "videos" / "good.mkv"), "--frames")
        assert shown.returncode == 0
        lines = shown.stdout.splitlines()
        assert lines[:2] == ["1 video, usable", f"file: {corpus / 'videos' / 'good.mkv'}"]
        assert {"codec: h264", "width: 64", "duration_seconds_from_content: 2.0", "grid_frames: 2"} <= set(lines)
        assert not [line for line in lines if "None" in line]
        assert sum(line.startswith(("│ 0 ", "│ 1 ")) for line in lines) == 2

    def test_one_bad_video_is_called_unusable(self, corpus: Path) -> None:
        shown = run("probe", str(corpus / "videos" / "text.mp4"))
        assert (shown.returncode, shown.stdout.splitlines()[0]) == (1, "1 video, unusable")

    def test_a_bad_video_is_a_row_with_its_reason_and_the_others_go_on(
        self, corpus: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(corpus / "videos")
        names = [*REASONS, "[red]good.mkv"]
        shown = run("probe", *names)
        assert shown.returncode == 1
        assert shown.stdout.startswith("7 videos, 6 of them unusable\n")
        rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.stdout.splitlines() if "│" in line]
        good, *unusable = rows
        assert good == ["[red]good.mkv", "h264", "64×48", "0", "25/1", "2.0", "2.0", "2"]
        for row, (name, reason) in zip(unusable, REASONS.items(), strict=True):
            assert row[:2] == [name, reason]
            assert row[2]

    def test_json_holds_the_facts_and_the_reasons(self, corpus: Path) -> None:
        names = ["good.mkv", "text.mp4"]
        facts = printed_json(*(str(corpus / "videos" / name) for name in names), "--frames", exit_code=1)
        good, text = facts["videos"]
        assert VideoFacts.from_json({name: value for name, value in good.items() if name != "file"}).grid_frames == 2
        assert [frame["k"] for frame in good["frames"]] == [0, 1]
        assert (text["file"], text["reason"]) == (str(corpus / "videos" / "text.mp4"), "not_a_video")

    def test_the_config_gives_the_grid_and_the_policy(self, corpus: Path, tmp_path: Path) -> None:
        config = config_with(tmp_path, decoding__frames_per_second=4, decoding__damage="salvage")
        facts = printed_json(*(str(corpus / "videos" / name) for name in ("good.mkv", "cut.mkv")), "--config", config)
        assert facts["videos"][0]["grid_frames"] == 8
        assert 1 < facts["videos"][1]["grid_frames"] < 8

    def test_a_table_is_summed_up_by_reason(self, corpus: Path, tmp_path: Path) -> None:
        output = tmp_path / "problems.parquet"
        facts = printed_json(
            "--table", str(corpus / "all-*.csv"), "--output", str(output), "--workers", "1", exit_code=1
        )
        assert facts["title"] == f"{corpus}/all-*.csv: 7 problems"
        assert (facts["videos"], facts["wrong_durations"]) == (len(REASONS) + 3, 2)
        assert {row["reason"]: row["rows"] for row in facts["problems"]}["truncated"] == 1
        assert facts["worst_durations"][0]["video_id"] == "far"
        assert pq.read_table(facts["table_of_problems"]).num_rows == 7

    def test_the_table_of_problems_replaces_an_older_one_and_nothing_else(self, corpus: Path, tmp_path: Path) -> None:
        table = tmp_path / "videos.csv"
        write_table(table, [("v", f"{corpus}/videos/good.mkv", 2.0)])
        before = table.read_bytes()
        refused = run("probe", "--table", str(table), "--output", str(table))
        assert refused.returncode == 2
        assert four_parts(refused)[:2] == ("The table of problems would replace another file", str(table))
        assert table.read_bytes() == before
        for _ in range(2):
            printed_json("--table", str(table), "--output", str(tmp_path / "problems.parquet"))

    def test_uris_are_relative_to_the_table_or_to_the_root_of_the_config(self, corpus: Path, tmp_path: Path) -> None:
        output, table = tmp_path / "problems.parquet", tmp_path / "elsewhere.csv"
        table.write_bytes((corpus / "sound.csv").read_bytes())
        arguments = ("--table", str(table), "--output", str(output))
        assert printed_json(*arguments, exit_code=1)["problems"] == [{"reason": "missing_file", "rows": 1}]
        sound = run("probe", *arguments, "--config", config_with(tmp_path, tables__root=str(corpus)))
        assert (sound.returncode, pq.read_table(output).num_rows) == (0, 0)
        assert sound.stdout.startswith(f"{table}: no problems\nvideos: 1\n")
        assert sound.stderr == "probe: 1/1 videos, 0 s left\n"

    @pytest.mark.parametrize(
        ("arguments", "what", "why"),
        [
            ((), "Nothing to probe", "there is neither a video nor a table"),
            (("video.mp4", "--table", "t.csv"), "Videos and a table exclude each other", "there are both"),
            (("--table", "/nowhere/t.csv"), "The videos table is missing", "no file matches"),
        ],
    )
    def test_wrong_usage_ends_with_2(self, arguments: tuple[str, ...], what: str, why: str) -> None:
        refused = run("probe", *arguments)
        assert refused.returncode == 2
        assert four_parts(refused)[::2] == (what, why)

    def test_ctrl_c_ends_it_at_once_and_leaves_no_file(self, corpus: Path, tmp_path: Path) -> None:
        write_table(corpus / "many.csv", [(f"v{number}", "videos/good.mkv", 2.0) for number in range(20_000)])
        output = tmp_path / "problems.parquet"
        command = [sys.executable, "-m", "yt8m_pipeline", "probe", "--table", str(corpus / "many.csv")]
        with subprocess.Popen(
            [*command, "--output", str(output)],
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=listen_to_interrupts,
        ) as process:
            while not list(tmp_path.iterdir()):
                assert process.poll() is None
                time.sleep(0.05)
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=60)  # all 20,000 videos take minutes
        assert (process.returncode, stderr.splitlines()[-1]) == (130, "stopped")
        assert not list(tmp_path.iterdir())
