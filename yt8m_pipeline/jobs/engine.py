"""Running a pipeline on an engine of Beam: its options, and its errors in our words."""

from argparse import ArgumentError, ArgumentParser
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.jobs.refusals import Refusals
from yt8m_pipeline.transforms.monitoring import stage_seconds
from yt8m_pipeline.transforms.steps import refusing_to

worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0
"""The local runner and its threads send each other what they have written when it is large enough, and not every
second as well. For that Beam 2.77 has a thread that takes no lock against the writer (`data_plane.py`,
TimeBasedBufferingClosableOutputStream): it cuts an element that is being written, or drops it. Half of one was read as
1,073,741,824 windows, a list that grew to 21.9 GB."""


def beam_pipeline(arguments: Sequence[str]) -> Any:
    """An empty pipeline with Beam's own options.

    Raises:
        UsageError: if Beam does not know or take one of them (Beam itself ignores those that it does not know), or if
            packages of the engine are missing.
    """
    options = PipelineOptions(list(arguments))
    chosen = any(argument.startswith("--runner") for argument in arguments)
    try:
        unknown = _unknown_options(options, arguments)
        if unknown and not chosen:
            raise _refused(arguments, f"no such option: {' '.join(unknown)}")
        _require_dataflow(options)
        return beam.Pipeline(runner=None if chosen else FnApiRunner(), options=options)
    except ImportError as error:
        fix = "install what it names; Dataflow's packages stand in scripts/requirements-gcp.lock"
        raise UsageError(
            what="The engine is not installed", where=" ".join(arguments), why=str(error), fix=fix
        ) from None
    except (ArgumentError, ValueError) as error:
        raise _refused(arguments, " ".join(str(error).split())) from None


def _require_dataflow(options: Any) -> None:
    """Beam misses its packages only after it has asked Google Cloud about buckets, for minutes where none answers."""
    if "dataflow" in (options.view_as(StandardOptions).runner or "").lower():
        import_module("apache_beam.runners.dataflow.internal.apiclient")


def _unknown_options(options: Any, arguments: Sequence[str]) -> list[str]:
    """The arguments that Beam's SDK does not know. Another runner's job server may know them all the same."""
    unknown: list[str] = []

    def parse(parser: ArgumentParser) -> None:
        parser.exit_on_error = False
        unknown.extend(parser.parse_known_args(arguments)[1])

    options.get_all_options(add_extra_args_fn=parse)
    return unknown


def _refused(arguments: Sequence[str], why: str) -> UsageError:
    return UsageError(
        what="Beam does not take these options",
        where=" ".join(arguments),
        why=why,
        fix="correct what stands after `--`, or leave it out",
    )


def run(arguments: Sequence[str], layout: Layout, add_steps: Callable[[beam.Pipeline], None]) -> dict[str, float]:
    """Runs a pipeline, and returns the seconds that workers spent in each stage.

    Args:
        arguments: Beam's own options.
        layout: The dataset that the pipeline writes.
        add_steps: Adds the steps to the empty pipeline.

    Raises:
        PipelineError: what a step refused, as it was raised in the worker.
        DataError: with the last line that the engine gives, if it stopped for another reason.
        KeyboardInterrupt: if a worker was interrupted.
    """
    with TemporaryDirectory(prefix="yt8m-") as spare:
        refusals = Refusals(layout.path(Layout.REFUSALS), spare)
        refusals.clear()
        root = beam_pipeline(arguments)
        with refusing_to(refusals):
            add_steps(root)
        return stage_seconds(_run(root, refusals))


def _run(root: Any, refusals: Refusals) -> Any:
    try:
        result = root.run()
        with suppress(NotImplementedError):  # of a job that an engine only looks at there is no state
            result.wait_until_finish()
    except RuntimeError as error:
        raise refusals.first() or _engine_error(str(error)) from error
    if refused := refusals.first():
        raise refused
    return result


def _engine_error(text: str) -> DataError | KeyboardInterrupt:
    """What an engine says of an exception that is none of ours: its last line."""
    last = [line for line in text.splitlines() if line.strip()][-1]
    if last.startswith("KeyboardInterrupt"):
        return KeyboardInterrupt()
    return DataError(
        what="The engine stopped",
        where="the Beam runner",
        why=last,
        fix="see its log; the same command goes on from here",
    )
