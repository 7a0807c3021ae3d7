"""The pure parts of the torture: which torment a round is, what a damage does, how results go on and are counted."""

from collections import Counter
from pathlib import Path
from random import Random

import pytest
from torture.bench import Ended, require_orderly
from torture.damage import DAMAGES
from torture.rounds import (
    End,
    NotHeld,
    Result,
    Round,
    append_result,
    as_table,
    kind_of,
    next_number,
    read_results,
)

KINDS = ("kills", "disk", "rows", "films")
FOUR_PARTS = "error: The disk is full\n  where: /d\n  why:   no space\n  fix:   free some\n"


def result(number: int, kind: str, end: End, seed: int = 7) -> Result:
    return Result(seed, number, kind, end, f"what {number} did", 1.5, "folder" if end == End.NOT_HELD else "")


def test_every_kind_comes_once_before_one_comes_again() -> None:
    dealt = [kind_of(7, number, KINDS) for number in range(40)]
    assert dealt == [kind_of(7, number, KINDS) for number in range(40)]
    assert dealt != [kind_of(8, number, KINDS) for number in range(40)]
    assert all(Counter(dealt[start : start + 4]) == Counter(KINDS) for start in range(0, 40, 4))


def test_a_round_makes_the_same_choices_again() -> None:
    first, again, other = (Round(7, number, "disk").random.random() for number in (3, 3, 4))
    assert first == again != other


def test_results_are_read_as_they_were_written_and_go_on_after_the_last(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    assert (read_results(path), next_number([], 7)) == ([], 0)
    written = [result(0, "kills", End.HELD), result(1, "disk", End.NOT_HELD), result(5, "rows", End.HELD, seed=8)]
    for each in written:
        append_result(path, each)
    assert read_results(path) == written
    assert [next_number(written, seed) for seed in (7, 8, 9)] == [2, 6, 0]


def test_the_table_counts_ends_and_says_how_to_repeat() -> None:
    ends = (End.HELD, End.HELD, End.NOT_HELD)
    table = as_table(
        [*(result(number, "disk", end) for number, end in enumerate(ends)), result(3, "rows", End.SKIPPED)]
    )
    counts = {words[0]: words[1:] for line in table.splitlines()[1:3] if (words := line.split())}
    assert counts == {"disk": ["3", "2", "1", "0"], "rows": ["0", "0", "0", "1"]}
    assert "skipped rows: what 3 did" in table
    assert "repeat: python scripts/torture --seed 7 --round 2 --kind disk" in table


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damage_is_repeatable_and_takes_any_file(name: str) -> None:
    for data in (b"", b"x", bytes(range(256))):
        first, again = (DAMAGES[name](Random(3), data, b"other") for _ in range(2))
        assert first == again
    changed = {DAMAGES[name](Random(seed), bytes(range(1, 256)), b"other") for seed in range(20)}
    assert changed != {bytes(range(1, 256))}


@pytest.mark.parametrize(
    "ended", [Ended(0, "done", ""), Ended(1, "2 faults", ""), Ended(1, "", FOUR_PARTS), Ended(2, "", FOUR_PARTS)]
)
def test_an_end_in_words_is_orderly(ended: Ended) -> None:
    require_orderly(ended)


@pytest.mark.parametrize(
    ("ended", "why"),
    [
        (Ended(-6, "", "terminate called\n"), "it died of SIGABRT; last line: terminate called"),
        (Ended(1, "", "Traceback (most recent call last):\nOSError: x"), "traceback; last line: OSError: x"),
        (Ended(120, "", ""), "exit code 120"),
        (Ended(1, "", "something went wrong"), "without an error of four parts"),
        (Ended(2, "a table", "usage"), "without an error of four parts"),
    ],
)
def test_any_other_end_did_not_hold(ended: Ended, why: str) -> None:
    with pytest.raises(NotHeld, match=why):
        require_orderly(ended)
