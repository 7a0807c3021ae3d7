"""Kills at random moments, over all stages: the same command then goes on, and ends with the same bytes."""

import os
import signal
import subprocess
import time
from pathlib import Path
from random import Random

from torture.bench import STOPPED, Bench, Job, require_finished, require_orderly, session, start, wait
from torture.rounds import NotHeld

STOP_SECONDS = 90
"""The time in which a stopped command must end, and a killed one's children."""

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def kills(bench: Bench, folder: Path, random: Random) -> str:
    """One to three kills of a build, a rebuild or an export, and then the same command."""
    stage = random.choice(("build", "build", "build from the store", "rebuild-split", "export"))
    job = job_of(bench, folder, stage, random)
    done, broken = [], []
    for _ in range(random.randint(1, 3)):
        try:
            done.append(kill_at_random(job, folder, random))
        except NotHeld as law:
            broken.append(str(law))
    require_finished(job, folder)
    if broken:
        raise NotHeld(f"{stage}: {', '.join(broken)}; the same command then went on")
    return f"{stage}: {', '.join(done)}"


def job_of(bench: Bench, folder: Path, stage: str, random: Random) -> Job:
    """The command of a stage, with all that it needs in the folder."""
    if stage == "rebuild-split":
        return bench.rebuild(folder, random.choice(("train", "validate", "test")))
    if stage == "export":
        return bench.export(folder)
    return bench.build(folder, stored=stage != "build")


def kill_at_random(job: Job, folder: Path, random: Random) -> str:
    """Starts the command, and kills it at a moment of chance: after some time, or when so many files have been seen."""
    chosen, by_time = random.choice(SIGNALS), random.random() < 0.5
    seconds = random.uniform(0, 1.1 * job.seconds) if by_time else 10 * job.seconds
    files = 10**9 if by_time else random.randint(1, _files_of(job))
    process = start(job.arguments, folder)
    begin, seen = time.monotonic(), set(_files(folder))
    before = len(seen)
    while process.poll() is None and time.monotonic() - begin < seconds and len(seen) - before < files:
        time.sleep(0.005)
        seen.update(() if by_time else _files(folder))
    moment = f"{chosen.name} after {time.monotonic() - begin:.1f} s and {len(seen) - before} files"
    _send(process, chosen)
    try:
        _require_stopped(process, folder, chosen)
    except NotHeld as broken:
        raise NotHeld(f"{moment}: {broken}") from None
    return moment


def _files_of(job: Job) -> int:
    """How many files the command writes, at most: each has a temporary one before it."""
    return 2 * sum(path.is_file() for path in job.reference.rglob("*"))


def _files(folder: Path) -> list[str]:
    return [name for _, _, names in os.walk(folder) for name in names]


def _send(process: "subprocess.Popen[str]", chosen: signal.Signals) -> None:
    """Sends a signal to the command, and a terminal's Ctrl-C to its children, too."""
    if process.poll() is None and chosen == signal.SIGINT:
        os.killpg(process.pid, chosen)
    elif process.poll() is None:
        process.send_signal(chosen)


def _require_stopped(process: "subprocess.Popen[str]", folder: Path, chosen: signal.Signals) -> None:
    """A stopped command says so and ends; a killed one leaves no process."""
    ended = wait(process, folder, STOP_SECONDS)
    deadline = time.monotonic() + STOP_SECONDS
    while left := session(process.pid):
        if time.monotonic() > deadline:
            raise NotHeld(f"{len(left)} processes outlive it")
        time.sleep(0.1)
    if chosen == signal.SIGKILL and ended.code == -chosen:
        return
    if ended.code not in STOPPED:
        require_orderly(ended)
    if ended.code in STOPPED and ("stopped" not in ended.err or "Traceback" in ended.err):
        raise NotHeld(f"it does not say that it stopped: exit code {ended.code}, {ended.last}")
