"""The contract of the command line: exit codes, what is printed where, and what each command says."""

import hashlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from tests.command_line import four_parts, listen_to_interrupts, run
from tests.conftest import CONFIGS, Workshop, published_bytes, rejects_of, yt8m
from yt8m_pipeline import __version__
from yt8m_pipeline.accounting.reasons import Stage
from yt8m_pipeline.cli.configs import Example
from yt8m_pipeline.config import Decoding, load
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.steps import file_entry
from yt8m_pipeline.decoding.sandbox.parent import missing_protections
from yt8m_pipeline.extraction import networks
from yt8m_pipeline.jobs.build_plan import plan_build


def printed_json(*arguments: str, exit_code: int = 0) -> Any:
    """What a command prints on stdout, which must be JSON and nothing else."""
    finished = run(*arguments, "--json")
    assert finished.returncode == exit_code, finished.stderr
    return json.loads(finished.stdout)


@pytest.fixture
def dataset(built: Path, tmp_path: Path) -> Path:
    """A copy of the finished dataset to spoil."""
    return Path(shutil.copytree(built / "dataset", tmp_path / "dataset"))


class TestUsage:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("bild",), "No such command 'bild'"),
            (("build",), "Missing argument 'CONFIG'"),
            (("build", "config.yaml", "--outptu", "x"), "No such option: --outptu"),
            (("rebuild-split", "dev", "config.yaml"), "'dev' is not one of 'train', 'validate', 'test'"),
            (("build", "config.yaml", "--retry", "some"), "'some' is not one of 'transient', 'all', 'none'"),
            (("config", "init", "nope"), "Invalid value for 'NAME': 'nope' is not one of 'small', 'paper'"),
            (("rebuild-split", "dev", "config.yaml"), "Invalid value for 'split': 'dev' is not one of 'train'"),
            (("demo", "corpus", "--videos", "3"), "Invalid value for '--videos'"),
            (("inspect", "file", "--records", "many"), "Invalid value for '--records'"),
            (("build", "gs://bucket/config.yaml"), "gs://bucket/config.yaml is no path of this machine"),
            (("config", "init", "smoke", "s3://bucket/config.yaml"), "is no path of this machine"),
            (("demo", "hf://datasets/demo"), "hf://datasets/demo is no path of this machine"),
        ],
    )
    def test_a_wrong_command_ends_with_2_and_says_what_is_wrong(self, arguments: tuple[str, ...], message: str) -> None:
        refused = run(*arguments)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert message in refused.stderr

    def test_help_names_every_command(self) -> None:
        shown = run("--help")
        assert shown.returncode == 0
        for command in ("demo", "build", "rebuild-split", "verify", "export", "probe", "inspect", "config"):
            assert f" {command} " in shown.stdout

    @pytest.mark.parametrize("group", [(), ("config",), ("stats",), ("store",)])
    def test_help_cuts_no_text_on_a_narrow_terminal(
        self, group: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "80")
        shown = run(*group, "--help").stdout
        commands = re.findall(r"^  ([a-z-]+) ", shown.partition("Commands:\n")[2], re.MULTILINE)
        assert commands
        for text in (shown, *(run(*group, command, "--help").stdout for command in commands)):
            assert max(map(len, text.splitlines())) <= 80
            assert not re.search(r"\w\.\.\.$", text, re.MULTILINE)

    def test_version_is_that_of_the_package(self) -> None:
        assert run("--version").stdout == f"yt8m_pipeline {__version__}\n"

    def test_a_shell_completes_commands(self) -> None:
        asked = os.environ | {"_YT8M_COMPLETE": "complete_bash", "COMP_WORDS": "yt8m ver", "COMP_CWORD": "1"}
        script = Path(sys.executable).parent / "yt8m"
        shown = subprocess.run([script], env=asked, capture_output=True, text=True, check=False)
        assert (shown.returncode, shown.stdout.split()) == (0, ["verify"])

    @pytest.mark.parametrize(
        ("option", "why"),
        [
            ("--direct_num_wrkers=1", "no such option: --direct_num_wrkers=1"),
            ("--direct_num_workers=many", "argument --direct_num_workers: invalid int value: 'many'"),
            ("--runner=FastRunner", "Unexpected pipeline runner: FastRunner"),
            ("word", "no such option: word"),
        ],
    )
    def test_beam_options_that_beam_does_not_take_are_refused_before_anything_is_written(
        self, workshop: Workshop, tmp_path: Path, option: str, why: str
    ) -> None:
        refused = run("build", str(workshop.config(tmp_path)), "--", option)
        what, where, found, fix = four_parts(refused)
        assert (refused.returncode, what, where) == (2, "Beam does not take these options", option)
        assert why in found
        assert fix == "correct what stands after `--`, or leave it out"
        assert not (tmp_path / "dataset").exists()


WITHOUT_POSIX = """
import os, sys
sys.modules |= dict.fromkeys(["fcntl", "resource", "pwd", "grp", "termios"])
del os.O_NONBLOCK, os.O_CLOEXEC, os.fork, os.getuid
from yt8m_pipeline.cli import main
main()
"""
"""The command line without the modules and names that Windows lacks."""


class TestWindows:
    @pytest.mark.parametrize(
        "command",
        [
            ("build", "config.yaml"),
            ("rebuild-split", "train", "config.yaml"),
            ("probe", "video.mp4"),
            ("demo", "corpus"),
            ("export", "dataset", "--quantizer", "uniform", "--output", "copy"),
        ],
        ids=lambda command: command[0],
    )
    def test_what_needs_posix_is_refused_and_wsl_and_docker_are_named(
        self, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "platform", "win32")
        refused = run(*command)
        what, where, _, fix = four_parts(refused)
        assert (refused.returncode, what, where) == (2, "This command does not run on Windows", f"yt8m {command[0]}")
        assert "WSL" in fix
        assert "Docker" in fix

    @pytest.mark.parametrize(
        ("command", "name"),
        [
            (("verify",), "dataset"),
            (("inspect",), "dataset/quantizer.npz"),
            (("store", "stats"), "features"),
            (("config", "show"), "config.yaml"),
        ],
    )
    def test_what_reads_needs_no_posix(self, built: Path, command: tuple[str, ...], name: str) -> None:
        arguments = [sys.executable, "-c", WITHOUT_POSIX, *command, str(built / name)]
        finished = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert (finished.returncode, "Traceback" in finished.stderr) == (0, False)


@pytest.mark.skipif(importlib.util.find_spec("google.cloud.dataflow") is not None, reason="Dataflow is installed")
def test_an_engine_that_is_not_installed_says_what_to_install(workshop: Workshop, tmp_path: Path) -> None:
    options = (
        "--runner=DataflowRunner",
        "--project=my-project",
        "--region=us-central1",
        "--temp_location=gs://bucket/tmp",
    )
    with mock.patch("google.cloud.storage.Client.get_bucket") as asked:
        refused = run("build", str(workshop.config(tmp_path)), "--", *options)
    assert (refused.returncode, asked.called) == (2, False)
    what, where, why, fix = four_parts(refused)
    assert (what, where) == ("The engine is not installed", " ".join(options))
    assert "dataflow" in why
    assert "scripts/requirements-gcp.lock" in fix
    assert (CONFIGS.parent / "scripts" / "requirements-gcp.lock").is_file()


@pytest.fixture(scope="module")
def finished(
    workshop: Workshop, built: Path, tmp_path_factory: pytest.TempPathFactory
) -> "subprocess.CompletedProcess[str]":
    """A build with nothing but failures to extract, with one of Beam's own options, in a folder of its own."""
    config = workshop.config(tmp_path_factory.mktemp("build"), stored=built)
    options = ("--retry", "all", "--json", "--", "--direct_num_workers=1")
    finished = yt8m("build", str(config), *options)
    assert finished.returncode == 0, finished.stderr
    return finished


class TestBuild:
    def test_json_is_alone_on_stdout_and_holds_what_the_dataset_holds(
        self, finished: "subprocess.CompletedProcess[str]"
    ) -> None:
        facts = json.loads(finished.stdout)
        places = {row["what"]: Path(row["where"]) for row in facts["files"]}
        manifest = json.loads(places["manifest"].read_text())
        partitions = {row.pop("partition"): row for row in facts["partitions"]}
        for name, totals in partitions.items():
            assert totals.pop("classes") > 0
            assert totals.pop("shards") == len(list(places["dataset"].glob(f"frame/{name}/*")))
            assert totals == {key: manifest["partitions"][name][key] for key in ("videos", "frames", "labels")}
        assert sum(row["rows"] for row in facts["rejected"]) == len(rejects_of(places["rejects"].parent))
        assert {"pca", "quantizer", "write"} <= {row["stage"] for row in facts["seconds"]}
        assert (places["dataset"] / "COMPLETE").is_file()
        assert (places["feature store"] / facts["feature_space"]).is_dir()
        assert printed_json("store", "stats", str(places["feature store"]))

    def test_progress_is_plain_lines_on_stderr_where_there_is_no_terminal(
        self, finished: "subprocess.CompletedProcess[str]"
    ) -> None:
        assert "extract: 4/4 videos, 0 s left\n" in finished.stderr
        assert finished.stderr.count("the network runs on ") == 1
        assert "\x1b" not in finished.stderr
        assert "Traceback" not in finished.stderr

    def test_the_closing_table_shows_splits_rejects_and_files(self, built: Path) -> None:
        again = run("build", str(built / "config.yaml"))
        assert again.returncode == 0
        manifest = json.loads((built / "dataset" / "manifest.json").read_text())
        lines = [[cell.strip() for cell in line.strip("│").split("│")] for line in again.stdout.splitlines()]
        for name, totals in manifest["partitions"].items():
            row = next(line for line in lines if line[0] == name and len(line) == 6)
            del row[3:5]  # the numbers of shards and of classes, which stand elsewhere
            assert row == [name, *(str(totals[key]) for key in ("videos", "frames", "labels"))]
        for row in manifest["accounting"]:
            for reason, number in row["rejected"].items():
                assert [row["stage"], row["table"], reason, str(number)] in lines
        assert ["rejects", f"{built}/dataset/rejects"] in lines

    def test_a_finished_dataset_is_built_again_for_failures_of_the_kind_to_retry(self, copied: Path) -> None:
        config = str(copied / "config.yaml")
        assert printed_json("build", config, "--retry", "none")["title"].startswith("Nothing to do")
        facts = printed_json("build", config, "--retry", "transient")
        assert facts["title"].startswith("Built in ")
        assert "look_up" in {row["stage"] for row in facts["seconds"]}  # of the missing file there is nothing to decode

    def test_a_finished_dataset_without_failures_of_the_kind_to_retry_is_left_alone(self, copied: Path) -> None:
        path = copied / "dataset" / DECODE_REJECTS
        rejects = pq.read_table(path)
        pq.write_table(rejects.filter(pc.not_equal(rejects["reason"], "missing_file")), path)
        facts = printed_json("build", str(copied / "config.yaml"), "--retry", "transient")
        assert facts["title"].startswith("Nothing to do")


ENDED_BY = {signal.SIGINT: (130, -signal.SIGINT), signal.SIGTERM: (143,)}
"""A shell says 130 of both. Python ends by SIGINT itself where `exec` of a string, as in a dataclass, met it."""


class TestInterrupt:
    @pytest.mark.parametrize(
        ("number", "seconds"),
        [
            (signal.SIGINT, 0.0),
            (signal.SIGINT, 1.0),
            (signal.SIGINT, 3.0),
            (signal.SIGTERM, 0.0),
            (signal.SIGTERM, 2.0),
        ],
    )
    def test_ctrl_c_and_sigterm_end_a_build_with_the_code_of_shells_and_no_traceback(
        self, workshop: Workshop, tmp_path: Path, number: signal.Signals, seconds: float
    ) -> None:
        command = [sys.executable, "-m", "yt8m_pipeline", "build", str(workshop.config(tmp_path))]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=listen_to_interrupts
        )
        while not (tmp_path / "dataset" / ".unfinished").exists():
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(seconds)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=60)
        assert process.returncode in ENDED_BY[number]
        assert stdout == ""
        assert stderr.endswith("stopped; the same command goes on from here\n")
        assert "Traceback" not in stderr
        assert not (tmp_path / "dataset" / ".lock").exists()
        assert not list(tmp_path.rglob("*.tmp-*"))


STUCK = """
import sys, threading
from yt8m_pipeline import cli
threading.Thread(target=threading.Event().wait).start()
sys.argv, cli.LINGER_SECONDS, cli.app = ["yt8m", "build"], 0.5, lambda: sys.exit(cli.INTERRUPTED)
cli.main()
"""


def test_a_stopped_command_ends_although_a_thread_does_not() -> None:
    ended = subprocess.run([sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (130, "stopped; the same command goes on from here\n")


LOADING = """
import os, sys
class Finder:
    def find_spec(name, path, target=None):
        if name == "yt8m_pipeline.cli":
            os.kill(os.getpid(), int(sys.argv[2]))
sys.meta_path.insert(0, Finder)
from yt8m_pipeline.__main__ import run
run()
"""
BEGINNING = """
import os, sys
from yt8m_pipeline import cli
cli.app = lambda: os.kill(os.getpid(), int(sys.argv[2]))
cli.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("moment", "said"), [(LOADING, "stopped\n"), (BEGINNING, "stopped; the same command goes on from here\n")]
)
def test_a_command_is_stopped_in_words_before_it_has_begun(moment: str, said: str, number: signal.Signals) -> None:
    command = [sys.executable, "-c", moment, "train", str(int(number))]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=listen_to_interrupts)
    assert (ended.returncode, ended.stderr) == (128 + number, said)


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def first_shard(dataset: Path) -> Path:
    return max((dataset / "frame" / "train").iterdir(), key=lambda path: path.stat().st_size)


def drop_a_row(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.slice(1), path)


def change_a_number(path: Path) -> None:
    values = json.loads(path.read_text())
    values["accounting"][0]["kept"] += 1
    path.write_text(json.dumps(values))


def mend(dataset: Path, name: str) -> None:
    """Makes the manifest and the mark of completion agree with a changed file."""
    entry = asdict(file_entry(Layout(str(dataset)), name))
    manifest = json.loads((dataset / "manifest.json").read_text())
    manifest["files"] = [entry if row["path"] == name else row for row in manifest["files"]]
    text = json.dumps(manifest)
    (dataset / "manifest.json").write_text(text)
    (dataset / "COMPLETE").write_text(f"{hashlib.sha256(text.encode()).hexdigest()}  manifest.json\n")


DECODE_REJECTS = "rejects/decode-00000-of-00001.parquet"

FAULTS: list[tuple[str, Callable[[Path], object], str, str]] = [
    ("a flipped byte", lambda at: flip_a_byte(first_shard(at)), "frame/train/", "the manifest says otherwise"),
    ("a missing shard", lambda at: first_shard(at).unlink(), "frame/train/", "missing"),
    ("an extra file", lambda at: (at / "notes.txt").write_text("x"), "notes.txt", "not in the manifest"),
    ("a changed table", lambda at: drop_a_row(at / "videos.parquet"), "videos.parquet", "the manifest says otherwise"),
    ("a lost reject", lambda at: drop_a_row(at / DECODE_REJECTS), DECODE_REJECTS, "the manifest says otherwise"),
    ("a changed manifest", lambda at: change_a_number(at / "manifest.json"), "manifest.json", "is not the manifest"),
    ("no mark", lambda at: (at / "COMPLETE").unlink(), "COMPLETE", "missing: the build has not ended"),
]


class TestVerify:
    def test_a_finished_dataset_is_sound(self, built: Path) -> None:
        assert printed_json("verify", str(built / "dataset")) == {"title": f"{built}/dataset: sound", "faults": []}

    @pytest.mark.parametrize(("spoil", "where", "what"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
    def test_every_kind_of_fault_is_found(
        self, dataset: Path, spoil: Callable[[Path], object], where: str, what: str
    ) -> None:
        spoil(dataset)
        faults = printed_json("verify", str(dataset), exit_code=1)["faults"]
        assert any(what in fault["what"] for fault in faults), faults
        assert all(fault["where"].startswith(where) for fault in faults)

    @pytest.mark.parametrize(
        ("name", "where", "what"),
        [
            (DECODE_REJECTS, "rejects", ": 0 rows, the manifest says 1"),
            ("videos.parquet", "videos.parquet", "the frame-level shards have another number"),
        ],
    )
    def test_a_lost_row_is_found_by_counting_where_the_digests_were_mended(
        self, dataset: Path, name: str, where: str, what: str
    ) -> None:
        drop_a_row(dataset / name)
        mend(dataset, name)
        faults = printed_json("verify", str(dataset), exit_code=1)["faults"]
        assert any(fault["where"] == where and what in fault["what"] for fault in faults), faults

    @pytest.mark.parametrize(
        "spoil",
        [row[1] for row in FAULTS if row[0] != "an extra file"],
        ids=[row[0] for row in FAULTS if row[0] != "an extra file"],
    )
    def test_the_command_that_it_names_mends_what_it_finds(
        self, copied: Path, built: Path, spoil: Callable[[Path], object]
    ) -> None:
        dataset = copied / "dataset"
        spoil(dataset)
        *removal, build = printed_json("verify", str(dataset), exit_code=1)["repair"].split(" && ")
        assert build == "yt8m build CONFIG"
        for command in removal:
            subprocess.run(shlex.split(command), check=True)
        mended = run("build", str(copied / "config.yaml"), "--retry", "none")
        assert mended.returncode == 0, mended.stderr
        assert published_bytes(dataset) == published_bytes(built / "dataset")

    def test_a_file_of_others_is_not_removed_by_the_command_that_it_names(self, dataset: Path) -> None:
        (dataset / "notes.txt").write_text("x")
        assert (
            printed_json("verify", str(dataset), exit_code=1)["repair"] == "move what is not in the manifest elsewhere"
        )
        flip_a_byte(first_shard(dataset))
        repair = printed_json("verify", str(dataset), exit_code=1)["repair"]
        assert repair == f"rm {dataset}/COMPLETE {first_shard(dataset)} && yt8m build CONFIG"

    def test_a_build_that_has_nothing_to_do_says_what_would_find_damage(self, copied: Path) -> None:
        flip_a_byte(first_shard(copied / "dataset"))
        told = run("build", str(copied / "config.yaml")).stdout.splitlines()[0]
        assert told.startswith("Nothing to do: the dataset is complete")
        assert told.endswith(f"`yt8m verify {copied}/dataset` says whether its files are intact")

    def test_faults_are_a_table_and_exit_code_1(self, dataset: Path) -> None:
        (dataset / "COMPLETE").unlink()
        shown = run("verify", str(dataset))
        assert (shown.returncode, shown.stderr) == (1, "")
        assert shown.stdout.startswith(f"{dataset}: 1 fault\n")
        assert "missing: the build has not ended" in shown.stdout

    @pytest.mark.parametrize(
        ("text", "what"),
        [
            (None, "There is no dataset"),
            ("no JSON", "The manifest cannot be read"),
            ('{"format": 3}', "The manifest cannot be read"),
            ('{"format": 99}', "The manifest has another format"),
        ],
    )
    def test_without_a_manifest_there_is_nothing_to_verify(self, tmp_path: Path, text: str | None, what: str) -> None:
        if text:
            (tmp_path / "manifest.json").write_text(text)
        refused = run("verify", str(tmp_path))
        assert refused.returncode == (1 if text else 2)
        assert four_parts(refused)[0] == what

    def test_a_manifest_with_a_row_that_lacks_a_field_cannot_be_read(self, dataset: Path) -> None:
        manifest = json.loads((dataset / "manifest.json").read_text())
        del manifest["shards"][0]["bytes"]
        (dataset / "manifest.json").write_text(json.dumps(manifest))
        refused = run("verify", str(dataset))
        assert refused.returncode == 1
        assert four_parts(refused)[0] == "The manifest cannot be read"
        assert four_parts(refused)[2] == "shards[0]: it lacks bytes"


def stored_file(built: Path) -> Path:
    return min((built / "features").rglob("*.npz"))


class TestStreams:
    def test_letters_that_a_terminal_does_not_know_are_escaped(self, tmp_path: Path) -> None:
        (tmp_path / "é.csv").write_text("né\n")
        shown = yt8m("inspect", str(tmp_path / "é.csv"), environment={"PYTHONIOENCODING": "ascii"})
        assert (shown.returncode, "\\xe9.csv" in shown.stdout) == (0, True)
        refused = yt8m("build", str(tmp_path / "é.yaml"), environment={"PYTHONIOENCODING": "ascii"})
        assert (refused.returncode, "\\xe9.yaml" in refused.stderr) == (2, True)

    def test_a_command_without_stdout_does_its_work(self, tmp_path: Path) -> None:
        (tmp_path / "table.csv").write_text("id\n")
        closing = f"exec >&-; exec {sys.executable} -m yt8m_pipeline inspect {tmp_path / 'table.csv'}"
        finished = subprocess.run(["bash", "-c", closing], check=False, capture_output=True, text=True)
        assert (finished.returncode, finished.stderr) == (0, "")


class TestInspect:
    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("quantizer.npz", "optimal codebook of 256 levels"),
            ("pca/mean.npy", "array"),
            ("videos.parquet", "table"),
            (DECODE_REJECTS, "table"),
            ("rejects/summary.json", "text"),
            ("vocabulary.csv", "text"),
            ("manifest.json", "text"),
        ],
    )
    def test_every_file_of_a_dataset_says_what_it_is(self, built: Path, name: str, kind: str) -> None:
        path = str(built / "dataset" / name)
        facts = printed_json("inspect", path)
        assert (facts["title"], facts["kind"]) == (path, kind)
        shown = run("inspect", path)
        assert shown.returncode == 0
        assert f"kind: {kind}" in shown.stdout

    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("frame", "shard of frame-level records"),
            ("video", "shard of video-level records"),
            ("codebook", "optimal codebook of 256 levels"),
        ],
    )
    def test_a_copy_is_known_by_what_it_holds(self, built: Path, tmp_path: Path, name: str, kind: str) -> None:
        shard = str(first_shard(built / "dataset"))
        source = built / "dataset" / "quantizer.npz" if name == "codebook" else shard.replace("/frame/", f"/{name}/")
        for folder in ("frame", "video"):
            (tmp_path / folder).mkdir()
            path = tmp_path / folder / f"copy{Path(source).suffix}"
            shutil.copyfile(source, path)
            assert printed_json("inspect", str(path))["kind"] == kind

    def test_arrays_and_lines_of_any_kind_are_shown(self, tmp_path: Path) -> None:
        for name, array in {"none": np.zeros((0, 3)), "texts": np.array(["a", "b"])}.items():
            np.save(tmp_path / f"{name}.npy", array)
            assert "min" not in printed_json("inspect", str(tmp_path / f"{name}.npy"))
        (tmp_path / "table.jsonl").write_text('{"a": 1}\n')
        assert printed_json("inspect", str(tmp_path / "table.jsonl"))["lines"] == 1

    @pytest.mark.parametrize("command", [("verify",), ("inspect",), ("store", "stats"), ("stats", "quantizer")])
    def test_a_place_of_an_unknown_kind_is_wrong_usage(self, command: tuple[str, ...]) -> None:
        refused = run(*command, "foo://bucket/x.npz")
        assert refused.returncode == 2
        assert four_parts(refused)[:2] == ("This is no place for files", "foo://bucket/x.npz")

    @pytest.mark.parametrize("level", ["frame", "video"])
    def test_a_shard_shows_as_many_records_as_asked_for(self, built: Path, level: str) -> None:
        shard = first_shard(built / "dataset")
        path = str(shard).replace("/frame/", f"/{level}/")
        facts = printed_json("inspect", path, "--records", "1")
        rows = {row["video_id"]: row for row in pq.read_table(built / "dataset" / "videos.parquet").to_pylist()}
        members = [row for row in rows.values() if row["shard"] == shard.stem]
        assert (facts["kind"], facts["records"]) == (f"shard of {level}-level records", len(members))
        (first,) = facts["first"]
        assert first["labels"] == " ".join(map(str, rows[first["id"]]["labels"]))
        assert first["dimensions"] == 16
        assert first.get("frames", rows[first["id"]]["frames"]) == rows[first["id"]]["frames"]

    def test_a_stored_video_shows_its_features(self, built: Path) -> None:
        facts = printed_json("inspect", str(stored_file(built)))
        assert (facts["kind"], facts["dimensions"], facts["dtype"]) == ("features of one video", 40, "float16")
        assert [row["k"] for row in facts["first"]] == list(range(min(3, facts["frames"])))

    def test_rejects_are_counted_and_shown_by_id_stage_and_reason(self, built: Path) -> None:
        dataset, rows = str(built / "dataset"), rejects_of(built / "dataset")
        row = next(row for row in rows if row["reason"] == "truncated")
        facts = printed_json("inspect", dataset, "--rejects", "--records", "5")
        assert (facts["kind"], facts["rows"], len(facts["first"])) == ("rejects of a dataset", len(rows), 5)
        assert sum(count["rows"] for count in facts["rejected"]) == len(rows)
        stages = [count["stage"] for count in facts["rejected"]]
        assert stages == sorted(stages, key=list(Stage).index)
        assert stages != sorted(stages)
        for option, name in (("--id", "id"), ("--stage", "stage"), ("--reason", "reason")):
            some = [other for other in rows if other[name] == row[name]]
            facts = printed_json("inspect", dataset, "--rejects", "--records", "1000", option, row[name])
            assert facts["first"] == some
        facts = printed_json("inspect", dataset, "--rejects", "--stage", "read", "--id", "nobody's")
        assert (facts["rows"], facts["rejected"], facts["first"]) == (0, [], [])

    def test_rejects_of_no_dataset_and_filters_of_nothing_are_wrong_usage(self, built: Path, tmp_path: Path) -> None:
        refused = run("inspect", str(tmp_path), "--rejects")
        assert (refused.returncode, four_parts(refused)[0]) == (2, "There are no rejects")
        refused = run("inspect", str(built / "dataset"), "--stage", "decode")
        assert (refused.returncode, four_parts(refused)[0]) == (2, "Nothing is filtered")
        assert run("inspect", str(built / "dataset"), "--rejects", "--stage", "decoding").returncode == 2

    def test_the_folder_of_rejects_names_the_command_that_shows_them(self, built: Path) -> None:
        dataset = str(built / "dataset")
        refused = run("inspect", f"{dataset}/rejects")
        assert refused.returncode == 2
        assert four_parts(refused)[3] == f"run `yt8m inspect {dataset} --rejects`"

    def test_a_failed_video_shows_why(self, built: Path) -> None:
        rejects = rejects_of(built / "dataset")
        row = next(row for row in rejects if row["reason"] == "truncated")
        (path,) = (built / "features").rglob(f"{row['id']}-*.failed.json")
        facts = printed_json("inspect", str(path))
        assert (facts["kind"], facts["video_id"], facts["uri"]) == ("failure of one video", row["id"], row["file"])
        assert (facts["reason"], facts["detail"]) == (row["reason"], row["detail"])

    @pytest.mark.parametrize(
        ("name", "what"),
        [
            ("absent.npz", "There is no such file"),
            ("folder.npz", "There is no such file"),
            ("notes.txt", "This is not a file of a dataset"),
            ("COMPLETE", "This is not a file of a dataset"),
        ],
    )
    def test_what_is_no_file_of_a_dataset_is_wrong_usage(self, tmp_path: Path, name: str, what: str) -> None:
        (tmp_path / "folder.npz").mkdir()
        for file in ("notes.txt", "COMPLETE"):
            (tmp_path / file).write_text("x")
        refused = run("inspect", str(tmp_path / name))
        assert refused.returncode == 2
        assert four_parts(refused)[:2] == (what, str(tmp_path / name))

    @pytest.mark.parametrize(
        ("name", "what"),
        [
            ("a.tfrecord", "A TFRecord file is truncated or damaged"),
            ("a.npz", "A stored file is damaged"),
            ("quantizer.npz", "A fitted artefact cannot be read"),
            ("a.failed.json", "A stored file is damaged"),
            ("a.npy", "A fitted artefact cannot be read"),
            ("a.parquet", "A table is damaged"),
        ],
    )
    @pytest.mark.parametrize("data", [b"", b"no such format, but long enough to be one " * 4])
    def test_a_damaged_file_is_named_with_exit_code_1(self, tmp_path: Path, name: str, what: str, data: bytes) -> None:
        path = tmp_path / name
        path.write_bytes(data)
        if not data and name == "a.tfrecord":
            assert printed_json("inspect", str(path))["records"] == 0
            return
        refused = run("inspect", str(path))
        assert refused.returncode == 1
        found, where, *_ = four_parts(refused)
        assert (found, where.startswith(str(path))) == (what, True)


def small_network(_: str, image_size: int) -> Any:
    """In place of Inception-V3, whose 2,048 random features take a minute to compress: 256 that do vary."""
    keras = networks.tensorflow().keras
    maps = keras.layers.Conv2D(256, 8, strides=8, activation="relu", use_bias=False)
    return keras.Sequential([keras.Input((image_size, image_size, 3)), maps, keras.layers.GlobalAveragePooling2D()])


class TestConfig:
    @pytest.mark.parametrize("example", list(Example))
    def test_init_writes_a_config_of_the_package(
        self, tmp_path: Path, example: Example, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        written = run("config", "init", example.value)
        assert (written.returncode, f"{example.value}.yaml" in written.stdout) == (0, True)
        assert (tmp_path / f"{example.value}.yaml").read_bytes() == (CONFIGS / f"{example.value}.yaml").read_bytes()
        assert run("config", "show", f"{example.value}.yaml").returncode == 0

    def test_init_knows_every_config_and_each_has_comments(self) -> None:
        files = {path.stem: path.read_text() for path in CONFIGS.glob("*.yaml")}
        assert set(Example) == files.keys()
        assert all(text.startswith("# ") and "  # " in text for text in files.values())

    @pytest.mark.parametrize(
        ("name", "why"), [("mine.yaml", "File exists"), ("absent/mine.yaml", "No such file or directory")]
    )
    def test_init_overwrites_nothing(self, tmp_path: Path, name: str, why: str) -> None:
        (tmp_path / "mine.yaml").write_text("tables: {}")
        refused = run("config", "init", "small", str(tmp_path / name))
        assert refused.returncode == 2
        assert four_parts(refused)[:3] == ("The config cannot be written", str(tmp_path / name), why)
        assert (tmp_path / "mine.yaml").read_text() == "tables: {}"

    def test_show_prints_every_default_and_the_settings(self) -> None:
        shown = run("config", "show", str(CONFIGS / "smoke.yaml"), "--set", "pca.components=7")
        values = yaml.safe_load(shown.stdout)
        assert values["pca"] == {"source": "fit", "components": 7, "epsilon": {"relative": 0.01}}
        assert values["rater_scores"]["min_raters"] == 3
        assert printed_json("config", "show", str(CONFIGS / "smoke.yaml"), "--set", "pca.components=7") == values

    def test_check_looks_at_the_tables_and_writes_nothing(self, workshop: Workshop, tmp_path: Path) -> None:
        config = workshop.config(tmp_path)
        checked = run("config", "check", str(config))
        assert checked.returncode == 0
        expected = (
            f"{config} is sound. Table files: entities: 1, ratings: 1, videos: 1, annotations: 1. Feature space: "
        )
        assert checked.stdout.startswith("tables.root: ")
        assert f"\n{expected}" in checked.stdout
        assert "The network gives 40 features per frame and runs on " in checked.stdout
        assert "It is known by source saved_model, sha256 " in checked.stdout
        lacking = bool(missing_protections(Decoding()))
        assert ("the sandbox that decodes videos lacked" in checked.stdout) == lacking
        assert ("Videos are decoded in a sandbox with every protection.\n" not in checked.stdout) == lacking
        assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]

    def test_check_says_that_a_model_is_a_program_and_warns_of_one_that_is_not_pinned(
        self, workshop: Workshop, tmp_path: Path
    ) -> None:
        config = str(workshop.config(tmp_path))
        checked = run("config", "check", config).stdout
        _, warning = [line for line in checked.splitlines() if line.startswith("warning: ")]
        sha256 = warning.rpartition(" ")[2]
        assert f"It is known by source saved_model, sha256 {sha256}." in checked
        pinned = run("config", "check", config, "--set", f"inception.model.sha256={sha256}").stdout
        assert [line for line in pinned.splitlines() if "warning" in line] == [
            line for line in checked.splitlines() if "card.licence" in line
        ]
        for printed in (checked, pinned):
            assert "It is a program: it can read, write and send what you can." in printed

    def test_check_and_build_say_that_random_features_mean_nothing(
        self, workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(networks, "keras_application", small_network)
        warning = (
            "the network has random weights: these features mean nothing outside this dataset; they are for demos and "
            "tests"
        )
        config = str(workshop.config(tmp_path, inception={"model": {"random": 1}, "image_size": 75}))
        checked = run("config", "check", config)
        assert "The network gives 256 features per frame" in checked.stdout
        assert f"warning: {warning}" in checked.stdout
        printed = [row["warning"] for row in printed_json("build", config)["warnings"]]
        assert printed == json.loads((tmp_path / "dataset" / "manifest.json").read_text())["warnings"]
        known = ("of the 8 classes", "card.licence")
        assert [text for text in printed if not any(part in text for part in known)] == [warning]

    def test_check_refuses_a_network_with_fewer_features_than_the_pca_has_components(
        self, workshop: Workshop, tmp_path: Path
    ) -> None:
        what, where, why, fix = four_parts(run("config", "check", str(workshop.config(tmp_path, pca__components=41))))
        assert what == "The model's features are not what the PCA takes"
        assert where == f"inception.model: saved_model: {workshop.model}"
        assert why == "it gives 40 per frame; the PCA takes 41 or more"
        assert "pca.components" in fix

    def test_schema_is_the_json_schema_of_a_config(self) -> None:
        schema = json.loads(run("config", "schema").stdout)
        assert {"tables", "vocabulary", "video_sampling", "inception", "pca"} <= schema["properties"].keys()

    def test_a_setting_that_names_no_field_is_wrong_usage(self) -> None:
        refused = run("config", "show", str(CONFIGS / "smoke.yaml"), "--set", "pca.component=7")
        assert refused.returncode == 2
        assert "pca.component" in four_parts(refused)[2]


class TestDemo:
    def test_it_writes_a_corpus_once_and_shows_progress(self, tmp_path: Path) -> None:
        command = ("demo", str(tmp_path / "corpus"), "--videos", "24", "--seconds", "2")
        first = run(*command)
        assert first.returncode == 0, first.stderr
        assert first.stdout.startswith(f"The demo corpus is in {tmp_path}/corpus; ")
        assert first.stderr.splitlines()[-1] == "encode: 28/28 files, 0 s left"
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "corpus").rglob("*")}
        again = run(*command, "--json")
        assert (again.returncode, again.stderr) == (0, "")
        assert json.loads(again.stdout)["videos"] == 24
        assert {path: path.stat().st_mtime_ns for path in (tmp_path / "corpus").rglob("*")} == before

    @pytest.mark.parametrize(
        ("folder", "nested"),
        [("yt8m_demo/corpus", False), ("my demo", False), ("7", False), ("yt8m_demo/corpus", True)],
    )
    def test_the_commands_that_it_names_find_its_tables(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, nested: bool
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("yt8m_pipeline.demo.corpus.write_file", lambda path, *_: path.write_text("a video"))
        shown = run("demo", folder, "--videos", "24", *["--nested-labels"] * nested).stdout
        init, build = map(shlex.split, re.findall("`(yt8m [^`]+)`", shown))
        assert run(*init[1:]).returncode == 0
        assert build[:3] == ["yt8m", "build", "smoke.yaml"]
        plan = plan_build(load(build[2], build[4::2]))
        assert {source.root for source in plan.sources.values()} == {str(tmp_path / folder)}
        assert ("annotations" in plan.sources) == (not nested)
        assert build[3::2] == ["--set"] * (nested or folder != "yt8m_demo/corpus")

    def test_a_file_is_no_folder(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        for folder in (tmp_path / "file", tmp_path / "file" / "below"):
            refused = run("demo", str(folder))
            assert refused.returncode == 2
            assert four_parts(refused)[:3] == ("The demo corpus needs a folder", str(folder), "Not a directory")

    def test_a_folder_that_cannot_be_made_or_written_falls_short(self, tmp_path: Path) -> None:
        (tmp_path / "corpus" / "demo.json").mkdir(parents=True)
        why = {f"{tmp_path}/{'x' * 300}": "File name too long", f"{tmp_path}/corpus": "Is a directory"}
        for folder, reason in why.items():
            refused = run("demo", folder)
            assert refused.returncode == 1
            what, where, said, _ = four_parts(refused)
            assert (what, said) == ("The demo corpus cannot be written", reason)
            assert where.startswith(folder)

    def test_a_folder_with_something_else_is_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.txt").write_text("all I have")
        refused = run("demo", str(tmp_path))
        assert refused.returncode == 2
        assert four_parts(refused) == (
            "The folder holds something else",
            str(tmp_path),
            "it has thesis.txt, which is no part of a demo corpus",
            "give a new or empty folder",
        )
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
