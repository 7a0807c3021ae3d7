"""Mutation testing: changes one small thing of a module at a time, and asks whether a test notices.

    python scripts/mutate.py [GROUP ...] [--count 20] [--seed 0] [--results mutants.jsonl] [--again]

A group is a set of modules and the quick test files that ought to notice. Its mutants are all in an order that the seed
gives; the first `--count` are run, each in a copy of the tree, with five times the time of the unchanged tests. Results
are appended to a file of JSON lines; what stands there is not run again, but with --again the survivors are. A survivor
that no test can kill is judged by hand, with a reason, in `equivalent_mutants.jsonl`.

Neither mutmut nor cosmic-ray draws a seeded sample or takes other tests for other modules, and cosmic-ray changes the
tree that it stands in.
"""

import argparse
import ast
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
EQUIVALENT = Path(__file__).parent / "equivalent_mutants.jsonl"


class Group(NamedTuple):
    """Modules and the tests that ought to notice their mutants.

    Attributes:
        modules: Patterns of paths in the package, with spaces between.
        tests: Patterns of paths among the tests, the quick ones first.
        slow: Tests of these files that would take too long, as an expression of pytest's `-k`.
    """

    modules: str
    tests: str
    slow: str = "no_test_is_named_so"


GROUPS: Mapping[str, Group] = {
    "selection": Group("selection/*.py chance.py", "selection/test_*.py test_chance.py"),
    "tables": Group("tables/*.py accounting/*.py", "accounting/test_*.py tables/test_*.py"),
    "decoding": Group(
        "decoding/codings/*.py decoding/packet_choice.py decoding/frame_times.py",
        "decoding/test_frame_times.py decoding/test_packet_choice.py decoding/test_codings.py",
    ),
    "store": Group(
        "store/failures.py store/features.py store/formats.py store/index.py store/stored_file.py",
        "store/test_formats.py store/test_failures.py store/test_feature_store.py",
        slow="stops_a_build",
    ),
    "compression": Group(
        "compression/*.py",
        "compression/test_[!oq]*.py compression/test_optimal_cells.py compression/test_quantization.py",
        slow="TestBuildWithAnImportedPca or at_every_scale or less_than_three_thousandths_of",
    ),
    "dataset": Group(
        "dataset/[!tv]*.py dataset/tfrecord.py dataset/typed_json.py",
        "dataset/test_[mis]*.py dataset/test_tfrecord.py dataset/test_golden.py dataset/test_re*.py "
        "video_level/test_feature_set.py",
    ),
    "jobs": Group(
        "transforms/combiners.py transforms/monitoring.py transforms/video_features.py jobs/journal.py "
        "jobs/sufficiency.py jobs/refusals.py jobs/progress.py jobs/build_folder.py",
        "test_errors.py jobs/test_journal.py jobs/test_sufficiency.py jobs/test_build_folder.py "
        "jobs/test_progress.py cli/test_progress.py transforms/test_combiners.py transforms/test_[demv]*.py "
        "jobs/test_object_lock.py",
        slow="share_one_model",
    ),
    "intake": Group("intake/*.py", "intake/test_*.py"),
    "evaluation": Group("evaluation/*.py", "evaluation/test_*.py"),
    "video_level": Group("video_level/*.py", "video_level/test_statistics.py video_level/test_feature_set.py"),
    "explorer": Group("explorer/*.py", "explorer/test_[ep]*.py"),
    "report": Group("report/*.py", "report/test_*.py"),
}

COMPARISONS: Mapping[type[ast.cmpop], Sequence[type[ast.cmpop]]] = {
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Lt: [ast.LtE, ast.Gt],
    ast.LtE: [ast.Lt, ast.GtE],
    ast.Gt: [ast.GtE, ast.Lt],
    ast.GtE: [ast.Gt, ast.LtE],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
}
ARITHMETIC: Mapping[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
UNSEEN_FIELDS = {"annotation", "returns", "decorator_list"}
"""Types and decorators: mypy and the import notice what is wrong in them."""

UNSEEN = (ast.JoinedStr, ast.Import, ast.ImportFrom)
"""Imports, and f-strings: the positions inside them are only right since Python 3.12."""


@dataclass(frozen=True)
class Mutant:
    """One change of a module.

    Attributes:
        module: The module's path in the package.
        scope: The dotted name of the class or function that is changed.
        before: The lines that are changed, without the space between words.
        after: The same lines, changed.
        span: The bytes of the module that are replaced: the first, and the first that is not.
        text: What replaces them.
    """

    module: str
    scope: str
    before: str
    after: str
    span: tuple[int, int]
    text: str

    @property
    def key(self) -> tuple[object, ...]:
        """What stays the same when other lines of the module change, but for twins in one scope."""
        return self.module, self.scope, self.before, self.after

    def apply(self, source: bytes) -> bytes:
        """The module's source with the change."""
        return splice(source, self.span, self.text)


def splice(source: bytes, span: tuple[int, int], text: str) -> bytes:
    """The source with other bytes at the span."""
    return source[: span[0]] + text.encode() + source[span[1] :]


def mutants_of(module: str, source: bytes) -> Iterator[Mutant]:
    """All mutants of a module, from its first line to its last."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for node, scope in _nodes(ast.parse(source)):
        for text in _replacements(node):
            assert isinstance(node, ast.expr | ast.stmt)
            assert node.end_lineno is not None
            assert node.end_col_offset is not None
            first, last = starts[node.lineno - 1], starts[node.end_lineno]
            span = first + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
            changed = splice(source[first:last], (span[0] - first, span[1] - first), text)
            yield Mutant(module, scope, _words(source[first:last]), _words(changed), span, text)


def _words(lines: bytes) -> str:
    return " ".join(lines.decode().split())


def _nodes(node: ast.AST, scope: str = "") -> Iterator[tuple[ast.AST, str]]:
    """The nodes that a test could know of, each with the scope it stands in."""
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and field not in UNSEEN_FIELDS and not isinstance(child, UNSEEN):
                named = isinstance(child, ast.ClassDef | ast.FunctionDef)
                inner = f"{scope}.{child.name}".lstrip(".") if named else scope  # type: ignore[attr-defined]
                yield child, inner
                yield from _nodes(child, inner)


def _replacements(node: ast.AST) -> Iterator[str]:
    """What may stand in a node's place."""
    match node:
        case ast.Compare(left, ops, comparators):
            for place, op in enumerate(ops):
                for other in COMPARISONS[type(op)]:
                    yield ast.unparse(ast.Compare(left, [*ops[:place], other(), *ops[place + 1 :]], comparators))
        case ast.BinOp(left, op, right) if type(op) in ARITHMETIC:
            yield ast.unparse(ast.BinOp(left, ARITHMETIC[type(op)](), right))
        case ast.BoolOp(op, values):
            yield ast.unparse(ast.BoolOp(ast.And() if isinstance(op, ast.Or) else ast.Or(), values))
        case ast.UnaryOp(ast.Not(), operand):
            yield f"({ast.unparse(operand)})"
        case ast.Constant(bool() as value):
            yield str(not value)
        case ast.Constant(int() | float() as value):
            yield from (str(value + 1), f"({value - 1})")
        case ast.Call(_, [first, *_]) if not isinstance(first, ast.Starred):
            yield f"({ast.unparse(first)})"
        case ast.stmt():
            yield from _statements(node)


def _statements(node: ast.stmt) -> Iterator[str]:
    """What may stand in a statement's place: another answer, or nothing."""
    match node:
        case ast.Return(ast.Compare() | ast.BoolOp() | ast.UnaryOp(ast.Not()) | ast.Constant(bool())):
            yield from (text for text in ("return True", "return False") if text != ast.unparse(node))
        case ast.Return(ast.expr() as value) if ast.unparse(value) != "None":
            yield "return None"
        case (
            ast.Expr(ast.Call() | ast.Yield() | ast.YieldFrom())
            | ast.Assign([ast.Attribute() | ast.Subscript(), *_])
            | ast.If(orelse=[])
            | ast.AugAssign()
            | ast.Raise()
            | ast.Continue()
            | ast.Break()
        ):
            yield "pass"


def chosen(name: str, group: Group, seed: int, count: int) -> list[Mutant]:
    """The first mutants of a group in the seed's order; more are these and others."""
    package = ROOT / "yt8m_pipeline"
    paths = [path for pattern in group.modules.split() for path in sorted(package.glob(pattern))]
    mutants = [m for path in paths for m in mutants_of(str(path.relative_to(package)), path.read_bytes())]
    random.Random(f"{seed} {name}").shuffle(mutants)
    return mutants[:count]


def tests_of(group: Group, module: str) -> list[str]:
    """The test files of a group, those named like the module first."""
    tests = ROOT / "tests"
    paths = [str(path.relative_to(ROOT)) for pattern in group.tests.split() for path in sorted(tests.glob(pattern))]
    return sorted(paths, key=lambda path: Path(module).stem not in path)


class Copy:
    """A copy of the tree, in which the tests of a group run."""

    def __init__(self, folder: Path, group: Group) -> None:
        self._folder, self._group = folder, group
        self._without = ["-k", f"not ({group.slow})"]
        shutil.copytree(ROOT, folder, symlinks=True, ignore=shutil.ignore_patterns(".*", "__pycache__"))

    def seconds(self) -> float:
        """How long the unchanged tests take, with their compilation. Those that fail anyhow are named and left out."""
        command = [*self._command("")[:-1], "--tb=no", "-rfE"]
        started = perf_counter()
        tested = subprocess.run(
            command, cwd=self._folder, env=self._environment(), capture_output=True, text=True, check=False
        )
        for test in re.findall(r"^(?:FAILED|ERROR) (\S+?)(?: - .*)?$", tested.stdout, re.MULTILINE):
            print(f"left out, since it fails without any change: {test}")
            self._without += ["--deselect", test]
        if tested.returncode not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            sys.exit(f"The unchanged tests do not run: {tested.stdout[-2000:]}{tested.stderr[-2000:]}")
        return perf_counter() - started

    def result(self, mutant: Mutant, limit: float) -> str:
        """What the tests say of a mutant: killed, timeout or survived."""
        path = self._folder / "yt8m_pipeline" / mutant.module
        original, state = path.read_bytes(), path.stat()
        path.write_bytes(mutant.apply(original))
        try:
            return "survived" if self._run(mutant.module, limit) == 0 else "killed"
        except subprocess.TimeoutExpired:
            return "timeout"
        finally:
            path.write_bytes(original)
            os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))

    def _run(self, module: str, limit: float) -> int:
        """Runs the tests, those of the module first, and ends every process that they leave behind."""
        shutil.rmtree(self._folder / ".hypothesis", ignore_errors=True)
        environment = self._environment() | {"PYTHONDONTWRITEBYTECODE": "1"}  # a changed module leaves no compiled file
        with (
            open(os.devnull, "w") as nothing,
            subprocess.Popen(
                self._command(module),
                cwd=self._folder,
                env=environment,
                stdout=nothing,
                stderr=nothing,
                process_group=0,
            ) as running,
        ):
            try:
                return running.wait(limit)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(running.pid, signal.SIGKILL)

    def _command(self, module: str) -> list[str]:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0"]
        return [*command, *self._without, *tests_of(self._group, module), "-x"]

    def _environment(self) -> dict[str, str]:
        return os.environ | {"PYTHONPATH": str(self._folder)}


def _keyed(path: Path) -> dict[tuple[object, ...], dict[str, object]]:
    """The lines of a file by their mutants; a later line replaces an earlier one."""
    lines = map(json.loads, path.read_text().splitlines()) if path.exists() else []
    return {(line["module"], line["scope"], line["before"], line["after"]): line for line in lines}


def run(name: str, options: argparse.Namespace, folder: Path) -> None:
    """Runs the mutants of a group that have no result yet."""
    group, found, judged = GROUPS[name], _keyed(options.results), _keyed(EQUIVALENT)
    wanted = [mutant for mutant in chosen(name, group, options.seed, options.count) if mutant.key not in judged]
    again = {key for key, line in found.items() if options.again and line["result"] == "survived"}
    todo = [mutant for mutant in wanted if mutant.key not in found or mutant.key in again]
    if not todo:
        return
    copy = Copy(folder, group)
    limit = 5 * copy.seconds()
    for mutant in todo:
        result = copy.result(mutant, limit)
        print(
            f"{result:9} {mutant.module} {mutant.scope}\n        - {mutant.before}\n        + {mutant.after}",
            flush=True,
        )
        with options.results.open("a") as lines:
            lines.write(json.dumps({"result": result, **asdict(mutant)}) + "\n")


def table(names: Iterable[str], options: argparse.Namespace) -> str:
    """What came of the chosen mutants, by group. Killed ones include those whose tests ran out of time."""
    found, judged = _keyed(options.results), _keyed(EQUIVALENT)
    rows: list[tuple[str, ...]] = [("group", "mutants", "killed", "timeout", "equivalent", "survived", "of the rest")]
    for name in names:
        keys = [mutant.key for mutant in chosen(name, GROUPS[name], options.seed, options.count)]
        results = [
            "equivalent" if key in judged else str(found[key]["result"]) for key in keys if key in judged | found
        ]
        rows.append((name, *_figures(results)))
    return "\n".join(f"{row[0]:24}" + "".join(f"{cell:>12}" for cell in row[1:]) for row in rows)


def _figures(results: Sequence[str]) -> tuple[str, ...]:
    counts = [results.count(result) for result in ("killed", "timeout", "equivalent", "survived")]
    killed, rest = counts[0] + counts[1], len(results) - counts[2]
    return (str(len(results)), str(killed), *map(str, counts[1:]), f"{killed / rest:.1%}" if rest else "-")


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}; all without")
    parser.add_argument("--count", type=int, default=20, help="mutants of each group")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=Path("mutants.jsonl"))
    parser.add_argument("--again", action="store_true", help="run the survivors again")
    options = parser.parse_args(words)
    names = options.groups or list(GROUPS)
    for name in names:
        with TemporaryDirectory() as scratch:
            run(name, options, Path(scratch) / "tree")
    print(table(names, options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
