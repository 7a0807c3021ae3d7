"""The command line. Heavy libraries are imported by the commands that need them: `yt8m --help` answers at once."""

import io
import sys
from contextlib import suppress
from typing import Annotated

import typer

from yt8m_pipeline import __version__
from yt8m_pipeline.cli import building, configs, converting, datasets, demo, exporting, probing, stats, store
from yt8m_pipeline.cli.console import CommandGroup
from yt8m_pipeline.errors import PipelineError

INTERRUPTED = 130
"""The exit code that shells and Typer give to Ctrl-C."""
CLOSED_PIPE = 141
"""The exit code that shells give to a program whose output nobody reads any more (`| head -1`): 128 + SIGPIPE."""
RESUMABLE = ("build", "rebuild-split", "export")
BEAM = {"allow_extra_args": True}

app = typer.Typer(
    name="yt8m",
    cls=CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(demo.demo)
app.command(context_settings=BEAM)(building.build)
app.command(context_settings=BEAM)(building.rebuild_split)
app.command()(datasets.verify)
app.command(context_settings=BEAM)(exporting.export)
app.command()(exporting.export_pca)
app.command()(converting.convert)
app.command()(datasets.inspect)
app.command()(probing.probe)
app.add_typer(configs.app, name="config")
app.add_typer(stats.app, name="stats")
app.add_typer(store.app, name="store")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"yt8m_pipeline {__version__}")
        raise typer.Exit


@app.callback()
def _yt8m(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Build a YouTube-8M-style dataset from your own videos."""


def main() -> None:
    """Runs a command; an error of ours becomes its four parts on stderr and an exit code."""
    _print_anything()
    try:
        app()
    except PipelineError as error:
        _tell(f"error: {error.told()}")
        sys.exit(error.exit_code)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError) or not _all_is_read():
            sys.exit(CLOSED_PIPE)
        if end.code == INTERRUPTED:
            goes_on = "; the same command goes on from here" * (sys.argv[1] in RESUMABLE)
            _tell(f"stopped{goes_on}")
        raise


def _tell(text: str) -> None:
    """Prints on stderr, if anybody reads it."""
    with suppress(BrokenPipeError):
        print(text, file=sys.stderr)


def _all_is_read() -> bool:
    """Whether what is still to be printed finds a reader; if not, it is dropped."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        sys.stdout = io.StringIO()
        return False
    return True


def _print_anything() -> None:
    """A terminal that knows no é shows it as \\xe9."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
