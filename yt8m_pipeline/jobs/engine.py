"""Running a pipeline on an engine of Beam: its options, and its errors in our words."""

import logging
import re
from argparse import ArgumentError, ArgumentParser
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.store.stored_file import DamagedFile
from yt8m_pipeline.transforms.monitoring import stage_seconds


def beam_pipeline(arguments: Sequence[str]) -> Any:
    """An empty pipeline with Beam's own options.

    Raises:
        UsageError: if Beam does not know or take one of them (Beam itself ignores those that it does not know), or if
            packages of the engine are missing.
    """
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    options = PipelineOptions(list(arguments))
    chosen = any(argument.startswith("--runner") for argument in arguments)
    try:
        unknown = _unknown_options(options, arguments)
        if unknown and not chosen:
            raise _refused(arguments, f"no such option: {' '.join(unknown)}")
        _require_dataflow(options)
        return beam.Pipeline(runner=None if chosen else FnApiRunner(), options=options)
    except ImportError as error:
        fix = "install what it names; for Dataflow: .venv/bin/pip install 'apache-beam[gcp]'"
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


def run(root: Any) -> dict[str, float]:
    """Runs a pipeline, and returns the seconds that workers spent in each stage.

    Raises:
        DataError: as a worker raised it, or with the last line that the engine gives.
        KeyboardInterrupt: if a worker was interrupted.
    """
    try:
        result = root.run()
        result.wait_until_finish()
    except RuntimeError as error:
        raise _engine_error(str(error)) from error
    return stage_seconds(result)


FOUR_PARTS = re.compile(
    r"(?:Error|DamagedFile): (?P<what>.+)\n  where: (?P<where>.+)\n  why:   (?P<why>.+)\n"
    r"  fix:   (?P<fix>.+?)(?: \[while running .*)?$",
    re.MULTILINE,
)
"""An error of ours in the text of an engine; Beam appends the name of the step to its last line."""


def _engine_error(text: str) -> DataError | KeyboardInterrupt:
    """An engine hands a worker's exception on as text: ours still has its four parts, others their last line."""
    found = FOUR_PARTS.search(text)
    if found:
        error = DataError(**found.groupdict())
        return DamagedFile(**error.parts) if error.what == DamagedFile.WHAT else error
    last = [line for line in text.splitlines() if line.strip()][-1]
    if last.startswith("KeyboardInterrupt"):
        return KeyboardInterrupt()
    return DataError(
        what="The engine stopped",
        where="the Beam runner",
        why=last,
        fix="see its log; the same command goes on from here",
    )
