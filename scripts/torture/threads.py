"""A build on an empty store in two threads: the same bytes, in bounded memory."""

import re
import time
from contextlib import suppress
from pathlib import Path
from random import Random
from threading import Thread

from torture.bench import LIMIT_SECONDS, Bench, kill_session, require_finished, require_orderly, start, wait
from torture.rounds import NotHeld

TWO_THREADS = ("--", "--direct_running_mode=multi_threading", "--direct_num_workers=2")

FEATURES = 2048
"""As Inception has: the moments, 50 MB of them, are what threads send each other in one piece."""

LIMIT_MIB = 6 * 1024
"""The most memory of a build in two threads. Sound ones peak at 1.9 to 3.4 GiB."""


def threads(bench: Bench, folder: Path, _: Random) -> str:
    """Builds in two threads, and watches the resident memory of the process."""
    wide = Bench.of(bench.folder.with_name("bench-2048"), FEATURES)
    job = wide.build(folder, stored=False)
    process = start((*job.arguments, *TWO_THREADS), folder)
    peaks: list[int] = []
    watch = Thread(target=_watch, args=(process.pid, peaks))
    watch.start()
    ended = wait(process, folder, LIMIT_SECONDS)
    watch.join()
    peak = max(peaks)
    if peak > LIMIT_MIB:
        raise NotHeld(f"it grew to {peak} MiB")
    require_orderly(ended)
    require_finished(job, folder)
    return f"peak memory {peak} MiB"


def _watch(pid: int, peaks: list[int]) -> None:
    """Notes the memory of a process every tenth of a second, and ends it above the limit."""
    status = Path(f"/proc/{pid}/status")
    with suppress(OSError):
        while found := re.search(r"VmRSS:\s+(\d+)", status.read_text()):
            peaks.append(int(found[1]) // 1024)
            if peaks[-1] > LIMIT_MIB:
                kill_session(pid)
            time.sleep(0.1)
