"""`yt8m build` and `yt8m rebuild-split`: runs the pipeline on an engine of Beam."""

import logging
import re
import time
from argparse import ArgumentError, ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yt8m_pipeline.cli.console import AsJson, ConfigPath, Output, Settings, load_config, show
from yt8m_pipeline.data_model import Retry
from yt8m_pipeline.errors import DataError, UsageError

if TYPE_CHECKING:
    from yt8m_pipeline.config import Config
    from yt8m_pipeline.data_model import Partition
    from yt8m_pipeline.plan import BuildPlan

TOTALS = ("videos", "frames", "labels")


class Split(StrEnum):
    """The values of the argument of `rebuild-split`."""

    TRAIN = "train"
    VALIDATE = "validate"
    TEST = "test"


def build(
    context: typer.Context,
    config: ConfigPath,
    output: Output = None,
    settings: Settings = None,
    retry: Annotated[
        Retry | None,
        typer.Option(
            help="Which failed videos to try again, also if the dataset is complete. An unfinished or changed build "
            "tries the transient failures again, if this does not say otherwise."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Build the dataset, or go on where a stopped build left it. Beam's own options go after `--`."""
    _build(load_config(config, settings, output), None, context.args, as_json, retry)


def rebuild_split(
    context: typer.Context,
    split: Split,
    config: ConfigPath,
    output: Output = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Write one split's shards again with the existing PCA, codebook and vocabulary; the others stay untouched."""
    from yt8m_pipeline.data_model import Partition

    _build(load_config(config, settings, output), Partition(split.value), context.args, as_json, retry=None)


def _build(
    config: "Config", anew: "Partition | None", beam_args: Sequence[str], as_json: bool, retry: Retry | None
) -> None:
    from yt8m_pipeline.dataset.build_folder import begin, exclusive, finish, withdraw
    from yt8m_pipeline.dataset.manifest import Manifest
    from yt8m_pipeline.extraction.feature_store import open_store
    from yt8m_pipeline.files import delete_temporaries
    from yt8m_pipeline.plan import plan_build

    plan = plan_build(config, anew, retry or Retry.TRANSIENT)
    if plan.is_done and not anew and not (retry and plan.has_failures_to_retry):
        _report(plan, {}, as_json, "Nothing to do: the dataset is complete, and its config and tables are the same")
        return
    root = _beam_pipeline(beam_args)
    with exclusive(plan.layout):
        plan = replace(plan, previous=Manifest.read(plan.layout))
        begin(plan.layout, plan.previous, anew)
        delete_temporaries(open_store(config.store, plan.space).folder)
        start = time.monotonic()
        try:
            seconds = _run(root, plan)
        except DataError:
            if anew:
                withdraw(plan.layout, anew)
            raise
        finish(plan.layout)
    _report(plan, seconds, as_json, f"Built in {time.monotonic() - start:.0f} s")


def _beam_pipeline(arguments: Sequence[str]) -> Any:
    """An empty pipeline with Beam's own options.

    Raises:
        UsageError: if Beam does not know or take one of them; Beam itself ignores those that it does not know.
    """
    logging.getLogger().setLevel(logging.ERROR)
    logging.getLogger("yt8m_pipeline").setLevel(logging.WARNING)
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    options = PipelineOptions(list(arguments))
    chosen = any(argument.startswith("--runner") for argument in arguments)
    try:
        unknown = _unknown_options(options, arguments)
        if unknown and not chosen:
            raise _refused(arguments, f"no such option: {' '.join(unknown)}")
        return beam.Pipeline(runner=None if chosen else FnApiRunner(), options=options)
    except (ArgumentError, ValueError, ImportError) as error:
        raise _refused(arguments, " ".join(str(error).split())) from None


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
        "Beam does not take these options", " ".join(arguments), why, "correct what stands after `--`, or leave it out"
    )


def _run(root: Any, plan: "BuildPlan") -> dict[str, float]:
    """Runs the pipeline and returns the seconds that workers spent in each stage."""
    from rich.console import Console

    from yt8m_pipeline.cli.progress import StageProgress
    from yt8m_pipeline.pipeline import build_dataset
    from yt8m_pipeline.transforms.monitoring import stage_seconds

    build_dataset(root, plan)
    with StageProgress(Console(stderr=True)).shown():
        try:
            result = root.run()
            result.wait_until_finish()
        except RuntimeError as error:
            raise _engine_error(str(error)) from error
    return stage_seconds(result)


def _engine_error(text: str) -> DataError | KeyboardInterrupt:
    """An engine hands a worker's exception on as text: ours still has its four parts, others their last line."""
    found = re.search(r"Error: (.+)\n  where: (.+)\n  why:   (.+)\n  fix:   (.+)", text)
    if found:
        return DataError(*found.groups())
    last = [line for line in text.splitlines() if line.strip()][-1]
    if last.startswith("KeyboardInterrupt"):
        return KeyboardInterrupt()
    return DataError("The engine stopped", "the Beam runner", last, "see its log; the same command goes on from here")


def _report(plan: "BuildPlan", seconds: Mapping[str, float], as_json: bool, title: str) -> None:
    """The closing table of a build."""
    from yt8m_pipeline.data_model import Partition
    from yt8m_pipeline.dataset.layout import Layout
    from yt8m_pipeline.dataset.manifest import Manifest

    manifest = Manifest.read(plan.layout)
    values = manifest.values if manifest else {}
    rejected = [
        {"stage": row["stage"], "table": row["table"], "reason": reason, "rows": number}
        for row in values["accounting"]
        for reason, number in row["rejected"].items()
    ]
    facts = {
        "partitions": [
            {
                "partition": part.value,
                **{name: values["partitions"][part][name] for name in TOTALS},
            }
            for part in Partition
        ],
        "rejected": rejected,
        "seconds": [{"stage": stage, "seconds": round(value, 1)} for stage, value in seconds.items()],
        "warnings": [{"warning": text} for text in values["warnings"]],
        "files": [
            {"what": "dataset", "where": plan.layout.root},
            {"what": "manifest", "where": plan.layout.path(Layout.MANIFEST)},
            {"what": "rejects", "where": plan.layout.path(Layout.REJECTS)},
            {"what": "feature store", "where": plan.store.folder},
        ],
    }
    show(facts, as_json, title)
