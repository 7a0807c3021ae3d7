"""What the benchmarks share: rounds in which contestants take turns, medians with their spread, own processes.

A ratio compares neighbours of one round, never two medians: a slow moment of the machine then falls on both. This
module needs NumPy alone, since contestants also run where this package is not installed.
"""

import os
import resource
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")


class ContestantFailed(Exception):
    """A contestant's process ended with an error; its last line is the argument."""


@dataclass(frozen=True)
class Cost(Generic[T]):
    """What work cost: seconds that passed, and CPU seconds of this process and of its children that have ended.

    Attributes:
        answer: What the work returned.
    """

    answer: T
    wall_seconds: float
    cpu_seconds: float


def cost_of(work: Callable[[], T]) -> Cost[T]:
    """Does the work once, and says what it cost."""
    wall, cpu = perf_counter(), _cpu_seconds()
    answer = work()
    return Cost(answer, perf_counter() - wall, _cpu_seconds() - cpu)


def _cpu_seconds() -> float:
    """Of this process and of its ended children, in microseconds; os.times counts in hundredths of a second."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def peak_mib() -> float:
    """The most memory that this process has had so far, in MiB.

    Linux' `ru_maxrss` begins with that of the process that started this one, which may be larger; VmHWM does not.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line[:6] == "VmHWM:") / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # in bytes on macOS


def turns(names: Sequence[str], number: int) -> list[str]:
    """The order of a round: every second one is that of the round before it backwards, the others begin one later.

    So after twice as many rounds as there are names, each has begun a round, and ended one, equally often.
    """
    start = number // 2 % len(names)
    return [*names[start:], *names[:start]][:: -1 if number % 2 else 1]


def paired(work: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """What each work answers in each round, in which they take turns."""
    answers: dict[str, list[T]] = {name: [] for name in work}
    for number in range(rounds):
        for name in turns(list(work), number):
            answers[name].append(work[name]())
    return answers


def spread(values: Sequence[float] | npt.NDArray[np.floating]) -> float:
    """The interquartile range of values, divided by their median."""
    low, middle, high = np.percentile(values, (25, 50, 75))
    return float((high - low) / middle)


def ratio_text(ratios: Sequence[float] | npt.NDArray[np.floating]) -> str:
    """The median of ratios, with the least and the greatest."""
    return f"{np.median(ratios):.2f}x ({np.min(ratios):.2f}-{np.max(ratios):.2f})"


def median_text(values: Sequence[float]) -> str:
    """The median of measured values, with the least and the greatest."""
    digits = 0 if min(values) > 100 else 2
    return f"{np.median(values):12,.{digits}f}  ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def output_of(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """What a command prints, with more variables in its environment.

    Raises:
        ContestantFailed: if it fails, with the last line of its error.
    """
    whole = os.environ | dict(environment or {})
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=whole)
    if done.returncode:
        raise ContestantFailed([f"exit status {done.returncode}", *done.stderr.strip().splitlines()][-1])
    return done.stdout
