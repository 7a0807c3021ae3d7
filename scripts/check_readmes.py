"""Runs the commands of every README.md, on the demo corpus, in a folder of their own, and looks for what links name.

A block that is marked sh or python is run whole; of a block without a mark, the lines that begin with a command of this
package are run. What needs something that only its reader has is left out, and said, with the reason.
The README at the top comes first, since it makes the demo's corpus, store and dataset; the others find them.

Usage: python scripts/check_readmes.py [README.md ...]
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

CARDS = ":(exclude)tests/golden_formats/*/dataset/README.md"
"""The cards of golden datasets are for whoever stands in the folder of one; the tests of cards run their lines."""

LEFT_OUT: Sequence[tuple[str, str]] = (
    (r"scripts/test\b", "it is run by itself"),
    (r"scripts/environment|activate|pip install", "it changes the environment that this check runs in"),
    (r"small\.yaml$|small\.yaml -- ", "it needs videos of one's own, and the weights of Inception"),
    (r"--runner=", "it needs an engine that runs elsewhere"),
    (r"\b[A-Z][A-Z_]{2,}\b(?!=)", "its names in capitals stand for something of the reader's"),
    (r"^docker ", "it needs Docker"),
)
"""What is not run, as patterns of a command, and why."""

FRAGMENTS: Sequence[tuple[str, str]] = ((r'"DATASET"|np\.load\("guitar-', "it names a file of the reader's"),)
"""Python that is not run, as patterns of its text, and why."""

COMMANDS = ("yt8m ", "python ", "scripts/")
BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)\)")
HEREDOC = re.compile(r"<<'?(\w+)'?")


def commands(text: str) -> Iterator[str]:
    """The commands of a README in order, each with the lines that continue it and those of its here-document."""
    for language, block in BLOCK.findall(text):
        if language in ("sh", "bash", "console"):
            yield from joined(block.splitlines())
        elif language == "python":
            yield f"python - <<'PYTHON'\n{block}PYTHON"
        elif not language:
            yield from (command for command in joined(block.splitlines()) if command.startswith(COMMANDS))


def joined(lines: Sequence[str]) -> Iterator[str]:
    """Whole commands of the lines of a script. Comments and empty lines are none."""
    rest = iter(lines)
    for line in rest:
        command = re.sub(r"\s+#\s.*$", "", line)
        while command.endswith("\\"):
            command += "\n" + next(rest)
        if found := HEREDOC.search(command):
            for following in rest:
                command += "\n" + following
                if following == found[1]:
                    break
        if command.strip() and not command.startswith("#"):
            yield command


def reason_to_leave_out(command: str) -> str | None:
    """Why a command is not run, or None. What stands in a here-document is looked at where it is Python."""
    itself = HEREDOC.sub("", command.partition("\n")[0]) if HEREDOC.search(command) else command
    found = [why for pattern, why in LEFT_OUT if re.search(pattern, itself)]
    found += [why for pattern, why in FRAGMENTS if re.search(pattern, command)]
    return found[0] if found else None


def dead_links(page: Path) -> list[str]:
    """The files of the repository that a page links to and that are not there."""
    return [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]


def run(script: str, folder: Path) -> int:
    """The exit code of a script that stops at its first failure, with this Python's commands before all others."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with_root = re.sub(r"(^|\s)scripts/", rf"\1{ROOT}/scripts/", script, flags=re.MULTILINE)
    command = ["bash", "-euo", "pipefail", "-c", with_root]
    return subprocess.run(command, cwd=folder, env=os.environ | {"PATH": path}, check=False).returncode


def check(readme: Path, folder: Path) -> bool:
    """Whether every link of a README leads somewhere, and every command ends well."""
    print(f"== {readme.relative_to(ROOT)}", flush=True)
    kept = []
    for command in commands(readme.read_text()):
        why = reason_to_leave_out(command)
        print(f"  {'left out' if why else 'run'}: {command.splitlines()[0]}{f' ({why})' if why else ''}", flush=True)
        kept += [] if why else [command]
    for link in (dead := dead_links(readme)):
        print(f"  there is no {link}", flush=True)
    return run("\n".join(kept), folder) == 0 and not dead


def readmes() -> list[Path]:
    """Every README.md that git knows or could know and that is no card of a dataset, the one at the top first."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*README.md", CARDS]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split()
    return [ROOT / name for name in sorted(names, key=lambda name: (name.count("/"), name))]


def main() -> None:
    chosen = [Path(name).resolve() for name in sys.argv[1:]] or readmes()
    with tempfile.TemporaryDirectory() as folder:
        failed = [readme for readme in chosen if not check(readme, Path(folder))]
    for readme in failed:
        print(f"{readme.relative_to(ROOT)}: a command failed, or a link leads nowhere", file=sys.stderr)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
