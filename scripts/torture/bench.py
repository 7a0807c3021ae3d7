"""What the torments share: a tiny corpus, undisturbed builds of it, the command line and the laws it must keep."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import Workshop, make_workshop, published_bytes
from torture.rounds import NotHeld

ROOT = Path(__file__).parents[2]

LIMIT_SECONDS = 900
"""A command that takes longer hangs: undisturbed it takes half a minute."""

FOUR_PARTS = re.compile(r"^error: .+\n  where: .+\n  why:   (?:.|\n)+\n  fix:   .+$", re.MULTILINE)
STOPPED = (130, 143)
"""The exit codes of Ctrl-C and of SIGTERM: 128 and the number of the signal."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended: its exit code, below 0 the signal that killed it, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        """The last line of its errors."""
        return (self.err.strip().splitlines() or [""])[-1]


@dataclass(frozen=True, slots=True)
class Job:
    """A command that writes a dataset.

    Attributes:
        arguments: Those of `yt8m`.
        dataset: The folder that it writes.
        store: The feature store that it reads or fills.
        reference: The dataset of an undisturbed run.
        seconds: How long an undisturbed run took.
    """

    arguments: tuple[str, ...]
    dataset: Path
    store: Path
    reference: Path
    seconds: float


@dataclass(frozen=True, slots=True)
class Bench:
    """A corpus, a network, and what undisturbed commands made of them."""

    workshop: Workshop
    folder: Path
    seconds: dict[str, float]

    @classmethod
    def of(cls, folder: Path, features: int = 40) -> "Bench":
        """The bench in a folder, made there if it is not there yet, with a network of so many features."""
        mark = folder / "seconds.json"
        if not mark.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            make_workshop(folder, features)
            bench = cls(_workshop(folder), folder, {})
            mark.write_text(json.dumps(bench._measure()))
        return cls(_workshop(folder), folder, json.loads(mark.read_text()))

    @property
    def built(self) -> Path:
        """A folder with config.yaml, features/ and dataset/."""
        return self.folder / "built"

    @property
    def exported(self) -> Path:
        """The built dataset with the uniform codebook."""
        return self.folder / "exported"

    def _measure(self) -> dict[str, float]:
        """Builds and exports, and returns the seconds that this took."""
        self.workshop.config(self.built)
        seconds = {}
        for name, arguments in (
            ("build", ("build", str(self.built / "config.yaml"))),
            ("export", self._export(self.exported)),
        ):
            start = time.monotonic()
            ended = yt8m(arguments, self.folder)
            if ended.code:
                raise NotHeld(f"the undisturbed {name} ended with {ended.code}: {ended.err}")
            seconds[name] = time.monotonic() - start
        return seconds

    def _export(self, output: Path) -> tuple[str, ...]:
        where = ("--output", str(output), "--store", str(self.built / "features"))
        return "export", str(self.built / "dataset"), "--quantizer", "uniform", *where

    def build(self, folder: Path, *, stored: bool) -> Job:
        """A build in a new folder, with an empty or a filled store."""
        config = self.workshop.config(folder, stored=self.built if stored else None)
        return self._job(("build", str(config)), folder, "export" if stored else "build")

    def rebuild(self, folder: Path, split: str) -> Job:
        """`rebuild-split` on a copy of the finished dataset."""
        return self._job(("rebuild-split", split, str(self.copy(folder))), folder, "export")

    def export(self, folder: Path) -> Job:
        """An export into a new folder."""
        output = folder / "dataset"
        return Job(self._export(output), output, self.built / "features", self.exported, self.seconds["export"])

    def copy(self, folder: Path) -> Path:
        """Copies the finished build, and returns the config that names the copy."""
        shutil.copytree(self.built, folder, dirs_exist_ok=True)
        config = folder / "config.yaml"
        config.write_text(config.read_text().replace(str(self.built), str(folder)))
        return config

    def _job(self, arguments: tuple[str, ...], folder: Path, like: str) -> Job:
        return Job(arguments, folder / "dataset", folder / "features", self.built / "dataset", self.seconds[like])


def _workshop(folder: Path) -> Workshop:
    return Workshop.of(folder)


def command_line(arguments: Sequence[str], folder: Path, prefix: Sequence[str] = ()) -> list[str]:
    """The words that run `yt8m`, which are also written down in the folder."""
    words = [*prefix, sys.executable, "-m", "yt8m_pipeline", *arguments]
    with (folder / "commands.txt").open("a") as stream:
        stream.write(f"{shlex.join(words)}\n")
    return words


def yt8m(arguments: Sequence[str], folder: Path, prefix: Sequence[str] = ()) -> Ended:
    """Runs the command line; what it printed is kept in the folder.

    Raises:
        NotHeld: if it hangs.
    """
    process = start(arguments, folder, prefix)
    return wait(process, folder, LIMIT_SECONDS)


def start(arguments: Sequence[str], folder: Path, prefix: Sequence[str] = ()) -> "subprocess.Popen[str]":
    """Starts the command line in a session of its own."""
    words, pipe = command_line(arguments, folder, prefix), subprocess.PIPE
    return subprocess.Popen(
        words,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
        text=True,
        errors="replace",
        start_new_session=True,
    )


def wait(process: "subprocess.Popen[str]", folder: Path, seconds: float) -> Ended:
    """Waits for the end of a command.

    Raises:
        NotHeld: if it does not end in time.
    """
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        kill_session(process.pid)
        process.communicate()
        raise NotHeld(f"it did not end within {seconds:.0f} s") from None
    with (folder / "commands.txt").open("a") as stream:
        stream.write(f"# exit code {process.returncode}\n{out}{err}\n")
    return Ended(process.returncode, out, err)


def session(leader: int) -> list[int]:
    """The processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(int(path.parent.name))
    return found


def kill_session(leader: int) -> None:
    """Kills the processes of a session that was started here."""
    for pid in session(leader):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def require_orderly(ended: Ended) -> None:
    """A command ends by itself, in words: success, a table, or an error of four parts.

    Raises:
        NotHeld: if it did not.
    """
    if ended.code < 0:
        raise NotHeld(f"it died of {signal.Signals(-ended.code).name}; last line: {ended.last}")
    if "Traceback" in ended.err + ended.out:
        raise NotHeld(f"it printed a traceback; last line: {ended.last}")
    if ended.code not in (0, 1, 2):
        raise NotHeld(f"it ended with exit code {ended.code}; last line: {ended.last}")
    in_a_table = ended.code == 1 and ended.out.strip()
    if ended.code and not FOUR_PARTS.search(ended.err) and not in_a_table:
        raise NotHeld(f"exit code {ended.code} without an error of four parts; last line: {ended.last}")


def require_finished(job: Job, folder: Path) -> None:
    """The undisturbed command ends as if nothing had been: the same bytes, sound in every respect, nothing left over.

    Raises:
        NotHeld: if it does not.
    """
    ended = yt8m(job.arguments, folder)
    require_orderly(ended)
    if ended.code:
        raise NotHeld(f"the same command did not go on: {_brief(ended)}")
    require_same(job)
    if (verdict := deep_verify(job, folder)).code:
        raise NotHeld(f"verify --deep: {_brief(verdict)}")
    if left := sorted(path.name for path in folder.rglob("*.tmp-*")):
        raise NotHeld(f"temporary files are left: {', '.join(left)}")


def _brief(ended: Ended) -> str:
    """The error, or the table of faults, on one line."""
    error = FOUR_PARTS.search(ended.err)
    return " ".join((error[0] if error else ended.out).split())[:600]


def require_same(job: Job) -> None:
    """The dataset has the bytes of the undisturbed run.

    Raises:
        NotHeld: if it has not.
    """
    if different := differences(job.dataset, job.reference):
        raise NotHeld(f"other bytes than an undisturbed run's: {', '.join(different)}")


def differences(dataset: Path, reference: Path) -> list[str]:
    """The files in which two datasets differ."""
    ours, theirs = published_bytes(dataset), published_bytes(reference)
    return sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))


def deep_verify(job: Job, folder: Path) -> Ended:
    """What `yt8m verify --deep` says of a dataset."""
    ended = yt8m(("verify", str(job.dataset), "--deep", "--all", "--store", str(job.store)), folder)
    require_orderly(ended)
    return ended
