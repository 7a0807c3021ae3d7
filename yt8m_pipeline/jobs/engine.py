"""Running a pipeline on an engine of Beam: its options, its errors in our words, and how its job is stopped."""

import logging
import sys
import time
from argparse import ArgumentError, ArgumentParser
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from tempfile import TemporaryDirectory
from textwrap import shorten
from types import FunctionType, MethodType
from typing import Any, TypeVar

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.runners.runner import PipelineState
from apache_beam.transforms import core
from grpc import FutureTimeoutError, RpcError

from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.errors import DataError, PipelineError, Terminated, UsageError
from yt8m_pipeline.jobs.refusals import Refusals
from yt8m_pipeline.transforms.monitoring import stage_seconds
from yt8m_pipeline.transforms.steps import refusing_to

worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0
"""The local runner and its threads send each other what they have written when it is large enough, and not every
second as well. For that Beam 2.77 has a thread that takes no lock against the writer (`data_plane.py`,
TimeBasedBufferingClosableOutputStream): it cuts an element that is being written, or drops it. Half of one was read as
1,073,741,824 windows, a list that grew to 21.9 GB."""

_arguments_and_defaults = core.get_function_args_defaults


@cache
def _of_function(function: FunctionType) -> tuple[list[str], list[Any]]:
    return _arguments_and_defaults(function)


def _remembered(f: Any) -> tuple[list[str], list[Any]]:
    """The names and the defaults of a function's arguments; of a method's without the first, which is bound."""
    if not isinstance(f, MethodType) or not isinstance(f.__func__, FunctionType):
        return _arguments_and_defaults(f)
    arguments, defaults = _of_function(f.__func__)
    return arguments[1:], [*defaults]


core.get_function_args_defaults = _remembered
"""For each step Beam 2.77 asks eight times for the arguments of all methods that a step can have, in search of states
and timers (`userstate.get_dofn_specs`), and each time reads their signatures again: a third of the time
that a build of few videos takes. The methods are those of a few classes."""

_ViewT = TypeVar("_ViewT", bound=PipelineOptions)

_LOG = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""The pause between two questions whether a job that is being cancelled has ended: for some engines each is a request
over the network, and a job takes seconds to minutes to end."""

NO_ANSWER = "the job server has not answered in time"
"""The text of an exception that has none: grpc's, where no server listens at the --job_endpoint."""


class _Options(PipelineOptions):
    """Beam's options, of which each view is made once.

    For each step of a pipeline Beam 2.77 asks several times for a view, and each time builds a parser and parses all
    arguments again (`PipelineOptions.view_as`): a third of the time that a build of few videos takes. All views share
    their values, so that one view of each kind is as good as many.
    """

    def view_as(self, cls: type[_ViewT]) -> _ViewT:
        views = self.__dict__.setdefault("views", {})  # Beam refuses to set an attribute that is no option
        if cls not in views:
            views[cls] = super().view_as(cls)
        view: _ViewT = views[cls]
        return view


def beam_pipeline(arguments: Sequence[str]) -> Any:
    """An empty pipeline with Beam's own options.

    Raises:
        UsageError: if Beam does not know or take one of them (Beam itself ignores those that it does not know), or if
            packages of the engine are missing.
    """
    options = _Options(list(arguments))
    chosen = any(argument.startswith("--runner") for argument in arguments)
    try:
        unknown = _unknown_options(options, arguments)
        if unknown and not chosen:
            raise _refused(arguments, f"no such option: {' '.join(unknown)}")
        _require_whole_elements(options, arguments)
        _require_dataflow(options)
        return beam.Pipeline(runner=None if chosen else FnApiRunner(), options=options)
    except ImportError as error:
        fix = "install what it names; Dataflow's packages stand in scripts/requirements-gcp.lock"
        raise UsageError(
            what="The engine is not installed", where=" ".join(arguments), why=str(error), fix=fix
        ) from None
    except (ArgumentError, ValueError) as error:
        raise _refused(arguments, " ".join(str(error).split())) from None


def _require_whole_elements(options: Any, arguments: Sequence[str]) -> None:
    """By this experiment other workers send by the clock too, and cut elements (`DATA_BUFFER_TIME_LIMIT_MS`, above)."""
    experiments = options.view_as(DebugOptions).experiments or []
    if any(experiment.startswith("data_buffer_time_limit_ms=") for experiment in experiments):
        raise _refused(arguments, "by data_buffer_time_limit_ms Beam loses elements that are being written")


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
        KeyboardInterrupt: if this process or a worker was interrupted. A job of another process is cancelled first, and
            waited for; a second interrupt leaves it to itself, which is logged with how to find it.
    """
    with TemporaryDirectory(prefix="yt8m-") as spare:
        refusals = Refusals(layout, spare)
        refusals.clear()
        root = beam_pipeline(arguments)
        with refusing_to(refusals):
            add_steps(root)
        return stage_seconds(_run(root, refusals))


def _run(root: Any, refusals: Refusals) -> Any:
    try:
        result = root.run()
        _wait(result, root.options)
    except _errors() as error:
        raise _cause(refusals) or _engine_error(str(error) or NO_ANSWER) from error
    if refused := refusals.first():
        raise refused
    return result


def _errors() -> tuple[type[Exception], ...]:
    """What engines raise when a job fails or cannot be started. Dataflow's own classes may not be installed."""
    dataflow = sys.modules.get("apache_beam.runners.dataflow.dataflow_runner")
    google = sys.modules.get("google.api_core.exceptions")  # Dataflow refuses a job by these
    of_dataflow = [dataflow.DataflowRuntimeException] if dataflow else []
    return (RuntimeError, RpcError, FutureTimeoutError, *of_dataflow, *([google.GoogleAPIError] if google else []))


def _cause(refusals: Refusals) -> PipelineError | None:
    """What a step refused. The steps of a build that no longer owns its folder can write down nothing there."""
    refusals.layout.require_owned()
    return refusals.first()


def _wait(result: Any, options: PipelineOptions) -> None:
    """Waits until a job has ended. An interrupt cancels it."""
    try:
        with suppress(NotImplementedError):  # of a job that an engine only looks at there is no state
            result.wait_until_finish()
    except KeyboardInterrupt:
        _cancel(result, options)
        raise


def _cancel(result: Any, options: PipelineOptions) -> None:
    """Cancels a job and waits until it has ended. It is left to itself after another interrupt, or if it cannot be."""
    job = _job_id(result)
    given_up: tuple[type[BaseException], ...] = (KeyboardInterrupt, OSError, *_errors())
    _LOG.warning("cancelling job %s, and waiting until it has ended; interrupt again to leave it to itself", job)
    try:
        result.cancel()
        while not PipelineState.is_terminal(result.state):
            time.sleep(POLL_SECONDS)
    except given_up as error:
        why = shorten(str(error), 200) or "interrupted again"
        _LOG.warning("job %s is left to itself (%s): it may store more features, but can write no dataset", job, why)
        _LOG.warning("to cancel it: %s", _how_to_cancel(job, options))


def _job_id(result: Any) -> str:
    """The name that the engine gave to a job: Dataflow's results tell it by a method, portable ones keep it."""
    return str(result.job_id() if hasattr(result, "job_id") else getattr(result, "_job_id", "without a name"))


def _how_to_cancel(job: str, options: PipelineOptions) -> str:
    cloud = options.view_as(GoogleCloudOptions)
    if "dataflow" in (options.view_as(StandardOptions).runner or "").lower():
        return f"gcloud dataflow jobs cancel {job} --project={cloud.project} --region={cloud.region}"
    return f"use the job server at {options.view_as(PortableOptions).job_endpoint}, where it has this name"


def _engine_error(text: str) -> DataError | KeyboardInterrupt:
    """What an engine says of an exception that is none of ours: its last line."""
    last = [line for line in text.splitlines() if any(map(str.isalnum, line))][-1]
    for kind in (KeyboardInterrupt, Terminated):
        if last.removeprefix(f"{kind.__module__}.").startswith(kind.__name__):
            return kind()
    return DataError(
        what="The engine stopped",
        where="the Beam runner",
        why=last,
        fix="see its log; the same command goes on from here",
    )
