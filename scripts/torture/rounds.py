"""Rounds: which torment each one is, how it ended, and the table of all of them. Nothing here runs anything.

>>> [kind_of(0, number, ["kills", "disk"]) for number in range(4)]
['disk', 'kills', 'kills', 'disk']
"""

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from random import Random


class End(StrEnum):
    """How a round ended."""

    HELD = "held"
    NOT_HELD = "did not hold"
    SKIPPED = "skipped"


class NotHeld(Exception):
    """The product broke a law; the argument says which."""


class Skipped(Exception):
    """This machine or this tree cannot do the torment; the argument says why."""


@dataclass(frozen=True, slots=True)
class Round:
    """A round: the same seed, number and kind make the same choices, though moments depend on the machine."""

    seed: int
    number: int
    kind: str

    @property
    def name(self) -> str:
        return f"{self.seed}-{self.number:04}-{self.kind}"

    @property
    def random(self) -> Random:
        """The chance of this round."""
        return Random(self.name)

    @property
    def command(self) -> str:
        """What repeats the round."""
        words = ("--seed", self.seed, "--round", self.number, "--kind", self.kind)
        return f"python scripts/torture {shlex.join(map(str, words))}"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a round.

    Attributes:
        what: What was done, or which law was broken.
        seconds: How long it took.
        folder: Where the files of a round that did not hold are kept; "" otherwise.
    """

    seed: int
    number: int
    kind: str
    end: End
    what: str
    seconds: float
    folder: str = ""


def kind_of(seed: int, number: int, kinds: Sequence[str]) -> str:
    """The kind of a round: every kind comes once, in an order of chance, before one comes again."""
    turn, place = divmod(number, len(kinds))
    return Random(f"{seed}-turn-{turn}").sample(kinds, len(kinds))[place]


def next_number(results: Iterable[Result], seed: int) -> int:
    """The number of the first round of a seed that no earlier run has done."""
    return max((result.number for result in results if result.seed == seed), default=-1) + 1


def read_results(path: Path) -> list[Result]:
    """The results of earlier runs; none if there is no such file."""
    if not path.exists():
        return []
    found = map(json.loads, path.read_text().splitlines())
    return [Result(**{**values, "end": End(values["end"])}) for values in found]


def append_result(path: Path, result: Result) -> None:
    """Adds a result, one JSON object on a line."""
    with path.open("a") as stream:
        stream.write(f"{json.dumps(asdict(result))}\n")


def as_table(results: Sequence[Result]) -> str:
    """Counts the ends of each kind, and says of each round that did not hold how to repeat it."""
    counts = Counter((result.kind, result.end) for result in results)
    titles = ("tried", *End)
    lines = [f"{'kind':14}" + "".join(f"{title:>14}" for title in titles)]
    for kind in sorted({result.kind for result in results}):
        ends = [counts[kind, end] for end in End]
        lines.append(f"{kind:14}" + "".join(f"{number:14}" for number in (ends[0] + ends[1], *ends)))
    reasons = sorted({(result.kind, result.what) for result in results if result.end == End.SKIPPED})
    lines += [f"skipped {kind}: {what}" for kind, what in reasons]
    return "\n".join([*lines, *(as_fault(result) for result in results if result.end == End.NOT_HELD)])


def as_fault(result: Result) -> str:
    """What did not hold, where its files are, and how to repeat it."""
    command = Round(result.seed, result.number, result.kind).command
    return f"DID NOT HOLD {result.kind}: {result.what}\n  files:  {result.folder}\n  repeat: {command}"
