"""Full disks, little memory, few descriptors and closed outputs: an orderly end, and nothing lost."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

from torture.bench import Bench, Job, require_finished, require_orderly, yt8m
from torture.rounds import NotHeld, Skipped

LIMITED = 'ulimit "$0" "$1" && shift && exec "$@"'
OUTPUTS = {
    "stdout full": 'exec "$0" "$@" >/dev/full',
    "both full": 'exec "$0" "$@" >/dev/full 2>/dev/full',
    "stdout closed": 'exec "$0" "$@" >&-',
    "stderr closed": 'exec "$0" "$@" 2>&-',
    "both closed": 'exec "$0" "$@" >&- 2>&-',
    "nobody reads": 'set -o pipefail; "$0" "$@" | true',
}
"""What a shell does with the output of a command."""

CLOSED_PIPE = 141
"""The exit code of a command whose output nobody reads: 128 + SIGPIPE."""


def limited(option: str, value: int) -> list[str]:
    """The words before a command that give it a limit of bash's `ulimit`."""
    return ["bash", "-c", LIMITED, option, str(value)]


def memory(bench: Bench, folder: Path, random: Random) -> str:
    """`ulimit -v`, from 256 MiB to 16 GiB."""
    return _under(bench, folder, random, limited("-v", int(2 ** random.uniform(18, 24))))


def descriptors(bench: Bench, folder: Path, random: Random) -> str:
    """`ulimit -n`, from 5 to 128."""
    return _under(bench, folder, random, limited("-n", int(2 ** random.uniform(2.4, 7))))


def output(bench: Bench, folder: Path, random: Random) -> str:
    """Standard output and error on a full device, closed, or read by nobody."""
    name = random.choice(list(OUTPUTS))
    job = bench.build(folder, stored=True)
    ended = yt8m(job.arguments, folder, ["bash", "-c", OUTPUTS[name]])
    require_finished(job, folder)
    if ended.code < 0 or "Traceback" in ended.err or (ended.code not in (0, 1, 2, CLOSED_PIPE)):
        raise NotHeld(f"{name}: exit code {ended.code}, {ended.last}; the same command then went on")
    return f"{name}: exit code {ended.code}"


def disk(bench: Bench, folder: Path, random: Random) -> str:
    """A small file system, few inodes, or a limit of a file's size."""
    place = random.choice(("features", "dataset"))
    way = random.choice(("size", "nr_inodes", "file"))
    if way == "file":
        return _under(bench, folder, random, limited("-f", int(2 ** random.uniform(0, 7))))
    used = sum(path.stat().st_size for path in (bench.built / place).rglob("*")) // 1024
    amount = f"{random.randint(8, 2 * used)}k" if way == "size" else str(random.randint(4, 80))
    with _mounted(folder / place, f"{way}={amount}"):
        return f"{place}: {way}={amount}: {_disk(bench, folder, place)}"


def _disk(bench: Bench, folder: Path, place: str) -> str:
    job = bench.build(folder, stored=place == "dataset")
    full = yt8m(job.arguments, folder)
    subprocess.run(["mount", "-o", "remount,size=1g,nr_inodes=100k", folder / place], check=True)
    require_finished(job, folder)
    require_orderly(full)
    return f"exit code {full.code}"


@contextmanager
def _mounted(place: Path, options: str) -> Iterator[None]:
    """A small file system in memory; what a round that did not hold leaves in it is copied beside it."""
    if os.geteuid():
        raise Skipped("only root can mount a small file system")
    place.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        raise Skipped(mounted.stderr.strip())
    try:
        yield
    except NotHeld:
        shutil.copytree(place, f"{place}.kept")
        raise
    finally:
        subprocess.run(["umount", place], check=True)


def _under(bench: Bench, folder: Path, random: Random, prefix: Sequence[str]) -> str:
    """A build under a limit, and then the same one without it."""
    stored = random.random() < 0.5
    job: Job = bench.build(folder, stored=stored)
    said = f"ulimit {' '.join(prefix[-2:])}, {'filled' if stored else 'empty'} store"
    ended = yt8m(job.arguments, folder, prefix)
    require_finished(job, folder)
    try:
        require_orderly(ended)
    except NotHeld as broken:
        raise NotHeld(f"{said}: {broken}; the same command then went on") from None
    return f"{said}: exit code {ended.code}"
