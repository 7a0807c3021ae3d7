"""What the benchmarks share: turns are fair, ratios are told with their range, failures with their last line."""

import sys
import time
from collections import Counter
from functools import partial

import pytest
from benching import ContestantFailed, cost_of, output_of, paired, ratio_text, spread, turns


def test_everyone_begins_a_round_and_ends_one_equally_often() -> None:
    rounds = [turns("abcd", number) for number in range(8)]
    assert all(sorted(names) == list("abcd") for names in rounds)
    assert set(Counter(names[0] for names in rounds).values()) == {2}
    assert set(Counter(names[-1] for names in rounds).values()) == {2}


def test_works_take_turns_and_keep_their_answers_apart() -> None:
    order: list[str] = []

    def work(name: str) -> int:
        order.append(name)
        return len(order)

    assert paired({name: partial(work, name) for name in "ab"}, 3) == {"a": [1, 4, 6], "b": [2, 3, 5]}
    assert order == ["a", "b", "b", "a", "b", "a"]


def test_a_cost_is_of_the_work_alone() -> None:
    cost = cost_of(lambda: time.sleep(0.05) or "done")  # type: ignore[func-returns-value]
    assert cost.answer == "done"
    assert cost.wall_seconds >= 0.05 > cost.cpu_seconds


def test_figures_are_medians_with_their_range() -> None:
    assert ratio_text([2.0, 1.0, 4.0]) == "2.00x (1.00-4.00)"
    assert spread([1.0, 2.0, 3.0]) == 0.5


def test_a_process_that_fails_is_told_by_its_last_line() -> None:
    assert output_of([sys.executable, "-c", "import os; print(os.environ['A'])"], {"A": "b"}) == "b\n"
    with pytest.raises(ContestantFailed, match="ValueError: no frame"):
        output_of([sys.executable, "-c", "raise ValueError('no frame')"])
