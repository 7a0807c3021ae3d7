"""Compares what the code imports with what pyproject.toml declares; exit 1 and a line for each difference.

Two things are wrong: a distribution that is declared and that no module imports, and a module that is imported and
whose distribution is not declared. The package may use `dependencies` alone; tests and scripts also those of `dev`.

Usage: python scripts/check_dependencies.py
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).parent.parent

NOT_IMPORTED: Mapping[str, str] = {
    "setuptools": "tensorflow-hub 0.16 imports its pkg_resources",
    "mypy": "a command of scripts/test",
    "pytest-xdist": "a plugin of pytest",
    "ruff": "a command of scripts/test",
    "types-pyyaml": "read by mypy",
    "types-protobuf": "read by mypy",
}
"""Distributions that are declared although no module of theirs is imported where they are declared, and why."""

NOT_DECLARED: Mapping[str, str] = {
    "_typeshed": "it exists for mypy alone",
    "datasets": "tests/interop/peers.py reads an export with it; scripts/test_exports installs it",
    "webdataset": "tests/interop/peers.py reads an export with it; scripts/test_exports installs it",
    "torch": "6 GB that only `dataset.torch_reader` needs; scripts/test_torch installs it",
}
"""Modules that are imported although nothing declares them, and why."""


def normalized(name: str) -> str:
    """The name of a distribution as packaging tools compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> tuple[set[str], set[str]]:
    """The distributions of `dependencies`, and those of the extra `dev`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = (project["dependencies"], project["optional-dependencies"]["dev"])
    needed, dev = ({normalized(re.split(r"[^\w.-]", line, maxsplit=1)[0]) for line in group} for group in groups)
    return needed, dev


@cache
def owners() -> Mapping[str, str]:
    """The distribution of each installed module, by the module's dotted name."""
    found = {}
    for distribution in distributions():
        for file in distribution.files or ():
            if file.suffix == ".py" and ".." not in file.parts:
                parts = file.with_suffix("").parts
                module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
                found[module] = normalized(distribution.metadata["Name"])
    return found


def imported(paths: Iterable[Path]) -> Iterator[str]:
    """The dotted name of each import, and of each name that is taken from a module: it may be a module too."""
    for path in paths:
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def used(paths: Iterable[Path], owner: Mapping[str, str]) -> tuple[set[str], set[str]]:
    """The distributions that some modules import, and the imports that no distribution has."""
    known, unknown = set(), set()
    for name in imported(paths):
        parts = name.split(".")
        prefixes = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
        distribution = next((owner[prefix] for prefix in prefixes if prefix in owner), None)
        if distribution:
            known.add(distribution)
        elif parts[0] not in sys.stdlib_module_names:
            unknown.add(parts[0])
    return known, unknown


def differences() -> Iterator[str]:
    """A line for each thing that is wrong."""
    needed, dev = declared()
    owner = owners()
    inside, unknown_inside = used((ROOT / "yt8m_pipeline").rglob("*.py"), owner)
    beside = [path for folder in ("tests", "scripts") for path in (ROOT / folder).rglob("*.py")]
    outside, unknown_outside = used(beside, owner)
    own = {"yt8m_pipeline", *(name for path in beside for name in (path.stem, path.parent.name))}
    for name in sorted((needed - inside) | (dev - outside)):
        if name not in NOT_IMPORTED:
            yield f"{name} is declared, and nothing imports it"
    for name in sorted((inside - needed) | (outside - needed - dev) - {"yt8m-pipeline"}):
        yield f"{name} is imported, and not declared"
    for name in sorted((unknown_inside | unknown_outside) - own - NOT_DECLARED.keys()):
        yield f"{name} is imported, and not installed"


def main() -> None:
    found = list(differences())
    print("\n".join(found), file=sys.stderr)
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
