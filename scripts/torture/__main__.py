"""Torments the command line in seeded rounds, and counts which of them it withstood.

    python scripts/torture [--minutes 15] [--seed 0] [--kind KIND] [--results FILE] [--folder FOLDER]
    python scripts/torture --seed S --round K --kind KIND

A round takes one torment, makes its choices by the seed and the round's number, and either held or did not. What holds
is the same for all: a command ends by itself and in words; the same command, undisturbed, then ends with the bytes of
an undisturbed run; whatever `yt8m verify` calls sound has these bytes; and no row or film reaches a host.

    kills        SIGKILL, SIGTERM and Ctrl-C at a random moment of build, rebuild-split and export
    after        kills, limits and closed outputs of extract, features, train, explore and report
    damage       torn, truncated, flipped, exchanged files of the store, the journal and the dataset
    disk         a file system without space or inodes, a limit of a file's size
    memory       `ulimit -v`
    descriptors  `ulimit -n`
    output       standard output and error full, closed, or read by nobody
    rows         hostile uris and values in all four tables, and a socket that waits for connections
    films        damaged films, and files that are none, among good ones
    buckets      a bucket that breaks one request in twenty
    threads      two threads on an empty store, and the most memory that they took

Rounds go on until the minutes are over, one command at a time. --results, a file of JSON lines, is appended to: a later
run with the same seed goes on after its last round, and the table at the end counts all that stands there. The files of
a round that did not hold, with every command and what it printed, are kept in the folder, in `rounds/`; the corpus and
the undisturbed builds are in `bench/`, and are made again only if it is removed: remove it when the package changes.
The exit status is 1 if a round of this run did not hold.
"""

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from random import Random
from tempfile import gettempdir
from types import MappingProxyType

sys.path.append(str(Path(__file__).parents[1]))
sys.path.append(str(Path(__file__).parents[2]))

from torture.after import after
from torture.bench import Bench
from torture.buckets import buckets
from torture.damage import damage
from torture.films import films
from torture.kills import kills
from torture.limits import descriptors, disk, memory, output
from torture.rounds import (
    End,
    NotHeld,
    Result,
    Round,
    Skipped,
    append_result,
    as_fault,
    as_table,
    kind_of,
    next_number,
    read_results,
)
from torture.rows import rows
from torture.threads import threads

Torment = Callable[[Bench, Path, Random], str]
"""Torments the command line in a folder, and says what it did."""

TORMENTS: Mapping[str, Torment] = MappingProxyType(
    {
        torment.__name__: torment
        for torment in (kills, after, damage, disk, memory, descriptors, output, rows, films, buckets, threads)
    }
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--round", type=int, metavar="K", help="only this round")
    parser.add_argument("--kind", choices=TORMENTS, help="only rounds of this kind")
    parser.add_argument("--results", type=Path, metavar="FILE", help="default: results.jsonl in the folder")
    parser.add_argument("--folder", type=Path, default=Path(gettempdir()) / "yt8m-torture")
    options = parser.parse_args()
    os.nice(10)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it, and so would commands
    folder = options.folder.absolute()
    path = options.results or folder / "results.jsonl"
    bench = Bench.of(folder / "bench")
    done = []
    for each in rounds(options, read_results(path)):
        done.append(result := play(each, bench, folder / "rounds"))
        append_result(path, result)
        told = as_fault(result) if result.end == End.NOT_HELD else f"{each.name}: {result.end}, {result.what}"
        print(told, flush=True)
    print(as_table(read_results(path)))
    return int(any(result.end == End.NOT_HELD for result in done))


def rounds(options: argparse.Namespace, earlier: list[Result]) -> Iterator[Round]:
    """The one round that is asked for, or those after the earlier ones, until the minutes are over."""
    deadline = time.monotonic() + 60 * options.minutes
    kinds = [options.kind] if options.kind else list(TORMENTS)
    first = next_number(earlier, options.seed) if options.round is None else options.round
    for number in count(first):
        yield Round(options.seed, number, kind_of(options.seed, number, kinds))
        if options.round is not None or time.monotonic() > deadline:
            return


def play(each: Round, bench: Bench, parent: Path) -> Result:
    """Plays a round in a folder of its own, which is kept if it did not hold."""
    folder, start = parent / each.name, time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    end, kept = End.HELD, ""
    try:
        what = TORMENTS[each.kind](bench, folder, each.random)
    except NotHeld as broken:
        end, what, kept = End.NOT_HELD, str(broken), str(folder)
    except Skipped as reason:
        end, what = End.SKIPPED, str(reason)
    if not kept:
        shutil.rmtree(folder)
    return Result(each.seed, each.number, each.kind, end, what, round(time.monotonic() - start, 1), kept)


if __name__ == "__main__":
    sys.exit(main())
