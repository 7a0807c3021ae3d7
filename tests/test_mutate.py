"""The mutation tester: what it changes, in which order, and what it says of mutants that tests do and do not notice."""

import ast
import json
from pathlib import Path

import mutate
import pytest

LIMITS = '''
def inside(value: int = 3) -> bool:
    """Whether a value is below ten."""
    return value < 10
'''
NOTICED = "from yt8m_pipeline.limits import inside\n\ndef test_limits():\n    assert inside(9) and not inside(11)\n"
PINNED = NOTICED + "    assert inside() and not inside(10)\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a < b", {"a <= b", "a > b"}),
        ("a == b in c", {"a != b in c", "a == b not in c"}),
        ("a is None", {"a is not None"}),
        ("(a + b) * c", {"(a + b) // c", "(a - b) * c"}),
        ("a and b or c", {"(a and b) and c", "a or b or c"}),
        ("not a", {"(a)"}),
        ("-1", {"-2", "-(0)"}),
        ("a = True", {"a = False"}),
        ("a.b = c", {"pass"}),
        ("a += b", {"pass"}),
        ("f(a)", {"pass", "(a)"}),
        ("f(*a)", {"pass"}),
        ("raise a", {"pass"}),
        ("if a: b", {"pass"}),
        ("if a: b\nelse: c", set()),
        ("def f() -> 1: return a", {"def f() -> 1: return None"}),
        ("def f(): return a == b", {f"def f(): return {x}" for x in ("True", "False", "a != b")}),
        ("@f(1)\ndef f(a: 1): 'Text.'", set()),
        ("f'{1 + 1}'", set()),
    ],
)
def test_what_may_stand_in_the_place_of_what(before: str, after: set[str]) -> None:
    assert {mutant.apply(before.encode()).decode() for mutant in mutate.mutants_of("m", before.encode())} == after


@pytest.mark.parametrize("name", mutate.GROUPS)
def test_mutants_of_each_group_are_python_and_have_tests(name: str) -> None:
    group = mutate.GROUPS[name]
    for mutant in mutate.chosen(name, group, seed=0, count=40):
        source = (mutate.ROOT / "yt8m_pipeline" / mutant.module).read_bytes()
        assert ast.dump(ast.parse(mutant.apply(source))) != ast.dump(ast.parse(source))
    for pattern in group.tests.split():
        assert list((mutate.ROOT / "tests").glob(pattern)), pattern


def test_more_mutants_begin_with_the_same_and_another_seed_gives_others() -> None:
    name, group = "selection", mutate.GROUPS["selection"]
    assert mutate.chosen(name, group, 0, 30)[:10] == mutate.chosen(name, group, 0, 10)
    assert mutate.chosen(name, group, 1, 10) != mutate.chosen(name, group, 0, 10)


def test_a_survivor_is_run_again_when_a_test_was_written_or_judged_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("yt8m_pipeline", "tests"):
        (tmp_path / folder).mkdir()
    (tmp_path / "yt8m_pipeline/limits.py").write_text(LIMITS)
    (tmp_path / "tests/test_limits.py").write_text(NOTICED + "\ndef test_broken():\n    assert 0\n")
    results, judged = tmp_path / "results.jsonl", tmp_path / "judged.jsonl"
    monkeypatch.setattr(mutate, "ROOT", tmp_path)
    monkeypatch.setattr(mutate, "EQUIVALENT", judged)
    monkeypatch.setattr(mutate, "GROUPS", {"limits": mutate.Group("limits.py", "test_limits.py")})

    def figures(*words: str) -> list[str]:
        mutate.main(["--results", str(results), *words])
        *_, figures = capsys.readouterr().out.splitlines()
        return figures.split()

    assert figures("--count", "1")[1] == "1"
    first = results.read_text()
    assert figures() == ["limits", "8", "4", "0", "0", "4", "50.0%"]  # 2, 4, 11 and <= survive
    assert results.read_text().startswith(first)
    finished = results.read_text()
    assert figures("--again")[1:6] == ["8", "4", "0", "0", "4"]
    assert results.read_text().count("\n") == finished.count("\n") + 4

    (tmp_path / "tests/test_limits.py").write_text(PINNED)
    assert figures("--again") == ["limits", "8", "6", "0", "0", "2", "75.0%"]
    survivors = [
        line for line in map(json.loads, results.read_text().splitlines()[-4:]) if line["result"] == "survived"
    ]
    assert {line["text"] for line in survivors} == {"4", "(2)"}
    judged.write_text("".join(json.dumps(line | {"reason": "nobody asks"}) + "\n" for line in survivors))
    assert figures() == ["limits", "8", "6", "0", "2", "0", "100.0%"]
