"""What a command does where it cannot print, gets no memory or files, or is ended by a signal."""

import errno
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.command_line import four_parts
from tests.conftest import Workshop, published_bytes
from yt8m_pipeline.cli.faults import fault_of_machine

COMMAND = f"{sys.executable} -m yt8m_pipeline"


def shell(text: str, *, stderr: int = subprocess.PIPE) -> "subprocess.CompletedProcess[str]":
    """Runs the command line as a shell does; {yt8m} in the text is the command."""
    script = text.format(yt8m=COMMAND)
    return subprocess.run(["bash", "-c", script], check=False, stdout=subprocess.PIPE, stderr=stderr, text=True)


class TestUnprintable:
    @pytest.mark.parametrize("command", ["--help", "--version", "config schema", "config show configs/smoke.yaml"])
    def test_a_full_disk_under_stdout_is_told_in_four_parts(self, command: str) -> None:
        refused = shell(f"{{yt8m}} {command} > /dev/full")
        assert refused.returncode == 1
        assert four_parts(refused) == (
            "The output could not be printed",
            "stdout",
            "No space left on device",
            "print it where there is space; what the command wrote to files stands",
        )

    def test_the_error_of_a_command_is_told_first(self) -> None:
        refused = shell("{yt8m} verify /nowhere > /dev/full")
        assert (refused.returncode, four_parts(refused)[0]) == (2, "There is no dataset")

    @pytest.mark.parametrize(
        ("streams", "code"),
        [
            ("> /dev/full", 1),
            ("2> /dev/full", 0),
            ("<&- >&- 2>&-", 0),
            ("2>&1 | head -0; exit ${{PIPESTATUS[0]}}", 141),
        ],
    )
    def test_a_dataset_is_finished_whatever_cannot_be_printed(self, copied: Path, streams: str, code: int) -> None:
        before = published_bytes(copied)
        for path in (copied / "dataset").glob("*/test/*"):
            path.unlink()
        ended = shell(f"{{yt8m}} build {copied}/config.yaml {streams}")
        assert ended.returncode == code
        assert "Traceback" not in ended.stderr
        assert published_bytes(copied) == before

    def test_what_is_printed_goes_into_no_file_that_is_opened_in_the_place_of_a_closed_stream(
        self, tmp_path: Path
    ) -> None:
        target = tmp_path / "config.yaml"
        assert shell(f"{{yt8m}} config init smoke {target} >&- 2>&-").returncode == 0
        assert target.read_bytes() == Path("configs/smoke.yaml").read_bytes()

    def test_an_error_is_not_printed_on_stdout_where_stderr_is_closed(self) -> None:
        refused = shell("{yt8m} verify /nowhere 2>&-")
        assert (refused.returncode, refused.stdout) == (2, "")


class TestLimits:
    def test_where_memory_is_limited_a_library_that_cannot_be_loaded_is_told(self, built: Path) -> None:
        refused = shell(f"ulimit -v 200000; {{yt8m}} verify {built}/dataset")
        what, where, why, fix = four_parts(refused)
        assert (refused.returncode, what, where) == (1, "A library cannot be loaded", f"yt8m verify {built}/dataset")
        assert "failed to map segment" in why
        assert "ulimit -v" in fix

    @pytest.mark.parametrize(
        ("error", "what"),
        [
            (OSError(errno.EMFILE, "Too many open files"), "Too many files are open"),
            (OSError(errno.ENOMEM, "Cannot allocate memory"), "There is not enough memory"),
            (MemoryError(), "There is not enough memory"),
            (PermissionError(errno.EACCES, "Failed to open local file 'x'"), "Permission was denied"),
            (OSError(errno.EPERM, "Operation not permitted"), "Permission was denied"),
            (AssertionError("OutputStream realloc failed."), "There is not enough memory"),
            (AssertionError("another"), None),
            (RuntimeError("can't start new thread"), "There is not enough memory"),
            (RuntimeError("another"), None),
            (ImportError("libarrow.so: failed to map"), "A library cannot be loaded"),
            (ModuleNotFoundError("No module named 'av'"), None),
            (OSError(errno.EIO, "Input/output error"), None),
        ],
    )
    def test_a_fault_of_the_machine_is_known_from_a_fault_of_the_program(
        self, error: Exception, what: str | None
    ) -> None:
        fault = fault_of_machine(error)
        assert (fault and fault.what) == what

    def test_twenty_open_files_are_enough_for_a_build(self, copied: Path) -> None:
        before = published_bytes(copied)
        for path in (copied / "dataset").glob("*/test/*"):
            path.unlink()
        finished = shell(f"ulimit -n 20; {{yt8m}} build {copied}/config.yaml")
        assert finished.returncode == 0, finished.stderr
        assert published_bytes(copied) == before


def has_opened(path: Path) -> Callable[[int], bool]:
    def is_open(process: int) -> bool:
        return any(
            os.path.realpath(link) == str(path) for link in Path(f"/proc/{process}/fd").iterdir() if link.is_symlink()
        )

    return is_open


def has_a_child(process: int) -> bool:
    return bool(Path(f"/proc/{process}/task/{process}/children").read_text())


class TestTermination:
    def ended(self, command: Sequence[str], has_begun: Callable[[int], bool]) -> tuple[int, str]:
        """The exit code and stderr of a command that gets SIGTERM when it has begun."""
        process = subprocess.Popen(
            [*COMMAND.split(), *command], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        while not has_begun(process.pid):
            assert process.poll() is None
            time.sleep(0.001)
        process.terminate()
        return process.wait(timeout=60), process.communicate()[1]

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_what_has_ended_keeps_its_exit_code(self, number: int) -> None:
        """Python lets go of its handlers of signals before it lets go of what modules hold."""
        code = """
import os, sys, time
class Late:
    def __del__(self, write=os.write, sleep=time.sleep):
        write(1, b"ending\\n")
        sleep(3)
late = Late()
sys.argv = ["yt8m", "--version"]
from yt8m_pipeline.cli import main
main()
"""
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        with process, process.stdout or io.StringIO() as stdout:
            while stdout.readline() != "ending\n":
                pass
            process.send_signal(number)
            assert process.wait() == 0

    def test_verify(self, copied: Path) -> None:
        shard = next((copied / "dataset" / "frame" / "test").iterdir())
        os.truncate(shard, 1 << 34)
        assert self.ended(["verify", str(copied / "dataset")], has_opened(shard)) == (143, "stopped\n")

    def test_demo(self, tmp_path: Path) -> None:
        corpus = tmp_path / "corpus"
        code, said = self.ended(["demo", str(corpus)], lambda _: any(corpus.rglob("*.mp4")))
        assert (code, said.splitlines()[-1], "Traceback" in said) == (143, "stopped", False)

    def test_probe(self, workshop: Workshop) -> None:
        videos = [str(path) for path in workshop.corpus.rglob("*.mp4")]
        assert self.ended(["probe", "--frames", *videos * 9], has_a_child) == (143, "stopped\n")

    def test_export_is_taken_up_again(self, built: Path, tmp_path: Path) -> None:
        command = ["export", str(built / "dataset"), "--quantizer", "uniform", "--output", str(tmp_path / "export")]
        code, said = self.ended(command, lambda _: (tmp_path / "export" / ".unfinished").exists())
        assert (code, said.splitlines()[-1]) == (143, "stopped; the same command goes on from here")
        assert "Traceback" not in said
        assert not (tmp_path / "export" / ".lock").exists()
