"""The command line. Heavy libraries are imported by the commands that need them: `yt8m --help` answers at once."""

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Annotated, NoReturn

import typer

from yt8m_pipeline import __version__
from yt8m_pipeline.cli import (
    building,
    configs,
    converting,
    datasets,
    demo,
    evaluating,
    explore,
    exporting,
    extracting,
    features,
    init,
    probing,
    reporting,
    results,
    stats,
    store,
    streams,
    thumbnails,
    training,
)
from yt8m_pipeline.cli.console import CommandGroup
from yt8m_pipeline.cli.faults import fault_of_machine, not_printed
from yt8m_pipeline.errors import PipelineError, Terminated

INTERRUPTED = 130
"""The exit code that shells and Typer give to Ctrl-C."""
TERMINATED = 128 + signal.SIGTERM
"""The exit code that shells give to a program that SIGTERM has ended, by which service managers know it."""
CLOSED_PIPE = 141
"""The exit code that shells give to a program whose output nobody reads any more (`| head -1`): 128 + SIGPIPE."""
LINGER_SECONDS = 10.0
"""The time that threads have to end in a command that was stopped; those of Beam that do take about 1 s."""
RESUMABLE = ("build", "rebuild-split", "export", "extract", "features", "train", "results", "thumbnails")
BEAM = {"allow_extra_args": True}

app = typer.Typer(
    name="yt8m",
    cls=CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(demo.demo)
app.command()(init.init)
app.command(context_settings=BEAM)(building.build)
app.command(context_settings=BEAM)(building.rebuild_split)
app.command(context_settings=BEAM)(extracting.extract)
app.command()(datasets.verify)
app.command(context_settings=BEAM)(exporting.export)
app.command()(exporting.export_pca)
app.command(context_settings=BEAM)(features.features)
app.command()(converting.convert)
app.command()(datasets.inspect)
app.command()(training.train)
app.command()(training.predict)
app.command()(explore.explore)
app.command()(evaluating.evaluate)
app.command()(results.results)
app.command()(probing.probe)
app.command()(reporting.report)
app.command()(thumbnails.thumbnails)
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
    """Runs a command; an error of ours, or a fault of the machine, becomes four parts on stderr and an exit code."""
    streams.prepare()
    try:
        _heed_signals()
        app()
    except PipelineError as error:
        _refuse(error)
    except (OSError, MemoryError, ImportError, AssertionError, RuntimeError) as error:
        fault = fault_of_machine(error)
        if fault is None:
            raise
        _refuse(fault)
    except KeyboardInterrupt as stop:
        end = SystemExit(INTERRUPTED)
        end.__cause__ = stop
        _end(end)
    except SystemExit as end:
        _end(end)


def _heed_signals() -> None:
    """From here on Ctrl-C and SIGTERM are exceptions, which let what is under way be ended in order."""
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _terminate(*_: object) -> None:
    raise Terminated


def _is_ending() -> None:
    """Keeps the exit code of a command that has ended, while Python ends: what is done cannot be stopped."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _refuse(error: PipelineError) -> NoReturn:
    _is_ending()
    print(f"error: {error.told()}", file=sys.stderr)
    sys.exit(error.exit_code)


def _end(end: SystemExit) -> NoReturn:
    """Ends a command that has printed what it had to say, with its own exit code if that can be read."""
    if end.code != INTERRUPTED:  # of what was stopped, threads may hang
        _is_ending()
    unprinted = streams.flushed()
    if isinstance(end.__context__, BrokenPipeError) or isinstance(unprinted, BrokenPipeError):
        sys.exit(CLOSED_PIPE)
    if end.code == INTERRUPTED:
        goes_on = "; the same command goes on from here" * any(name in RESUMABLE for name in sys.argv[1:2])
        print(f"stopped{goes_on}", file=sys.stderr)
        sys.stderr = io.StringIO()  # threads of Beam that are still ending print how they end
        code = TERMINATED if any(isinstance(cause, Terminated) for cause in _causes(end)) else INTERRUPTED
        _leave_soon(code)
        sys.exit(code)
    if unprinted:
        _refuse(not_printed(unprinted))
    raise end


def _leave_soon(code: int) -> None:
    """Ends the process in a while, if Python does not: it waits for all threads, and some wait for one another.

    By now the folder is free, and what is in it is whole: files get their names when they are finished.
    """
    leaving = threading.Timer(LINGER_SECONDS, os._exit, [code])
    leaving.daemon = True
    leaving.start()


def _causes(error: BaseException) -> Iterator[BaseException]:
    """What led to an exception, the latest first."""
    while cause := error.__cause__ or error.__context__:
        yield (error := cause)
