"""What the commands share: their common arguments, how a config is loaded, and how facts are shown."""

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.errors import UsageError, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from yt8m_pipeline.cli.progress import StageProgress
    from yt8m_pipeline.config import Config
    from yt8m_pipeline.dataset.layout import Layout
    from yt8m_pipeline.dataset.manifest import Manifest


def _known(place: str) -> str:
    from yt8m_pipeline.files import require_known

    return require_known(place)


def local_path(text: str) -> Path:
    """Parses an argument that names a file or folder of this machine; to `Path`, `gs://x` is the folder gs:/x."""
    if "://" in text:
        raise typer.BadParameter(f"{text} is no path of this machine")
    return Path(text)


ConfigPath = Annotated[
    Path, typer.Argument(parser=local_path, metavar="CONFIG", help="A YAML config; `yt8m config init` writes one.")
]
KNOWN_PLACE: Any = {"callback": _known}
"""Of arguments that name a place."""
Dataset = Annotated[
    str, typer.Argument(metavar="DATASET", help="The folder of a finished dataset, local or gs://.", **KNOWN_PLACE)
]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one config field.")]
Output = Annotated[str | None, typer.Option("--output", help="Folder of the dataset; overrides the config's.")]
Refresh = Annotated[
    bool, typer.Option("--refresh", help="Extract the videos again whose files have changed since they were stored.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
MAX_SHOWN = 2_000
"""The most characters of a cell that a printed table shows: more than any path or message has."""

PIPED_WIDTH = 10_000
"""How many columns wide a table may be where neither a terminal nor COLUMNS limits it: as wide as its rows."""


class CommandGroup(TyperGroup):
    """A group of commands whose help wraps the first sentence of each command. Typer's own cuts it to one line.

    Typer's own also says "Value error, " before what is wrong with an argument, as pydantic does.
    """

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")
            raise

    def format_commands(self, _: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, command.get_short_help_str(sys.maxsize)) for name, command in self.commands.items()]
            )


def require_posix(command: str) -> None:
    """Refuses a command that decodes videos or writes datasets where the system lacks POSIX locks and limits.

    Raises:
        UsageError: on Windows.
    """
    if sys.platform == "win32":
        raise UsageError(
            what="This command does not run on Windows",
            where=f"yt8m {command}",
            why="it needs locks and limits of processes that only Linux and macOS have",
            fix="run it in WSL (Windows Subsystem for Linux) or in Docker; reading, `verify` and `inspect` work here",
        )


def quieten() -> None:
    """Shows warnings of ours and errors of others; libraries log while they are imported, so call this before."""
    logging.getLogger().setLevel(logging.ERROR)
    logging.getLogger("yt8m_pipeline").setLevel(logging.WARNING)
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)


@contextmanager
def progress_bars() -> Iterator["StageProgress"]:
    """Shows the progress of stages on stderr while the block runs."""
    from yt8m_pipeline.cli.progress import ProgressConsole, StageProgress

    bars = StageProgress(ProgressConsole())
    with bars.shown():
        yield bars


def load_config(path: Path, settings: Sequence[str] | None, output: str | None) -> "Config":
    from yt8m_pipeline.config import load

    return load(path, [*(settings or []), *([f"output={json.dumps(output)}"] if output else [])])


def partition_rows(layout: "Layout", manifest: "Manifest") -> list[dict[str, Any]]:
    """How much is in each split of a dataset: of its videos, frames, classes that have a video, and labels in all."""
    from yt8m_pipeline.dataset.index import count_classes

    classes = count_classes(layout)
    return [
        {
            "partition": part.value,
            "videos": manifest.partitions[part].videos,
            "frames": manifest.partitions[part].frames,
            "shards": sum(step.facts.partition == part for step in manifest.shard_steps()),
            "classes": classes.get(part),
            "labels": manifest.partitions[part].labels,
        }
        for part in Partition
    ]


def rejected_rows(manifest: "Manifest") -> list[dict[str, Any]]:
    """How many rows each stage rejected, by table and reason."""
    return [
        {"stage": row.stage, "table": row.table, "reason": reason, "rows": number}
        for row in manifest.accounting
        for reason, number in row.rejected.items()
    ]


def show(facts: Mapping[str, Any], as_json: bool, title: str) -> None:
    """Prints facts as JSON, or lists of rows as tables and the rest as lines; names of strangers are escaped."""
    if as_json:
        print(json.dumps({"title": title, **facts}, indent=2, default=str))
        return
    console = _console()
    console.print(printable(title), style="bold", markup=False)
    for name, value in facts.items():
        if not isinstance(value, list):
            console.print(printable(f"{name}: {value}"), markup=False)
        elif value:
            console.print(name, style="italic", markup=False)
            console.print(_table(value), soft_wrap=False)


def _console() -> "Console":
    """The console of stdout. Lines of text are left to the terminal to wrap; tables are fitted into its width."""
    from rich.console import Console

    limited = (sys.stdout is not None and sys.stdout.isatty()) or os.environ.get("COLUMNS", "").isdigit()
    return Console(width=None if limited else PIPED_WIDTH, soft_wrap=True, highlight=False)


def _table(rows: Sequence[Mapping[str, Any]]) -> "Table":
    """A table of rows with the same names. Text that does not fit is folded; only what no line of text is, is cut."""
    from rich.table import Column, Table
    from rich.text import Text

    table = Table(*(Column(name, overflow="fold") for name in rows[0]))
    for row in rows:
        table.add_row(*(Text(printable(_shown(str(cell)))) for cell in row.values()))
    return table


def _shown(text: str) -> str:
    """A cell of a table: a label may have a million signs, which nobody reads; --json has them all."""
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}… ({len(text):,} characters)"
