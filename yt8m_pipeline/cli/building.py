"""`yt8m build` and `yt8m rebuild-split`: runs the pipeline on an engine of Beam."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yt8m_pipeline.cli.console import (
    AsJson,
    ConfigPath,
    Output,
    Settings,
    load_config,
    partition_rows,
    quantization_rows,
    show,
)
from yt8m_pipeline.cli.engine import beam_pipeline, run
from yt8m_pipeline.data_model import Retry
from yt8m_pipeline.errors import DataError

if TYPE_CHECKING:
    from yt8m_pipeline.config import Config
    from yt8m_pipeline.data_model import Partition
    from yt8m_pipeline.plan import BuildPlan


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
    *,
    retry: Annotated[
        Retry | None,
        typer.Option(
            help="Which failed videos to try again, also if the dataset is complete. An unfinished or changed build "
            "tries the transient failures again, if this does not say otherwise."
        ),
    ] = None,
    refresh: Annotated[
        bool,
        typer.Option("--refresh", help="Extract the videos again whose files have changed since they were stored."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Build the dataset, or go on where a stopped build left it. Beam's own options go after `--`."""
    _build(load_config(config, settings, output), None, context.args, as_json, retry, refresh=refresh)


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
    config: "Config",
    anew: "Partition | None",
    beam_args: Sequence[str],
    as_json: bool,
    retry: Retry | None,
    *,
    refresh: bool = False,
) -> None:
    from yt8m_pipeline.dataset.build_folder import begin, exclusive, finish, withdraw
    from yt8m_pipeline.dataset.manifest import Manifest
    from yt8m_pipeline.extraction.feature_store import open_store
    from yt8m_pipeline.files import delete_temporaries
    from yt8m_pipeline.plan import plan_build

    plan = replace(plan_build(config, anew, retry or Retry.TRANSIENT), refresh=refresh)
    if plan.is_done and not anew and not refresh and not (retry and plan.has_failures_to_retry):
        _report(plan, {}, as_json, "Nothing to do: the dataset is complete, and its config and tables are the same")
        return
    beam_pipeline(beam_args)
    with exclusive(plan.layout):
        plan = replace(plan, previous=Manifest.read(plan.layout))
        begin(plan.layout, plan.previous, anew)
        delete_temporaries(open_store(config.store, plan.space).folder)
        start = time.monotonic()
        try:
            seconds = _run_through_damage(plan, beam_args)
        except DataError:
            if anew:
                withdraw(plan.layout, anew)
            raise
        finish(plan.layout)
    _report(plan, seconds, as_json, f"Built in {time.monotonic() - start:.0f} s")


def _run_through_damage(plan: "BuildPlan", beam_args: Sequence[str]) -> dict[str, float]:
    """As `_run`; where a stored file proves damaged when it is needed, once more, with all of them verified."""
    from yt8m_pipeline.extraction.stored_file import DamagedFile

    try:
        return _run(beam_pipeline(beam_args), plan)
    except DamagedFile as damage:
        logging.getLogger(__name__).warning("%s\nreading every stored file, to extract the damaged ones again", damage)
        return _run(beam_pipeline(beam_args), replace(plan, verify=True))


def _run(root: Any, plan: "BuildPlan") -> dict[str, float]:
    from yt8m_pipeline.pipeline import build_dataset

    build_dataset(root, plan)
    return run(root)


def _report(plan: "BuildPlan", seconds: Mapping[str, float], as_json: bool, title: str) -> None:
    """The closing table of a build."""
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
        "feature_space": plan.store.space,
        "partitions": partition_rows(values),
        "quantization": quantization_rows(values),
        "rejected": rejected,
        "seconds": [{"stage": stage, "seconds": round(value, 1)} for stage, value in seconds.items()],
        "warnings": [{"warning": text} for text in values["warnings"]],
        "files": [
            {"what": "dataset", "where": plan.layout.root},
            {"what": "manifest", "where": plan.layout.path(Layout.MANIFEST)},
            {"what": "rejects", "where": plan.layout.path(Layout.REJECTS)},
            {"what": "feature store", "where": plan.store.root},
        ],
    }
    show(facts, as_json, title)
