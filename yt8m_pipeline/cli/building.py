"""`yt8m build` and `yt8m rebuild-split`: runs the pipeline on an engine of Beam."""

import os
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from yt8m_pipeline.accounting.reasons import Retry
from yt8m_pipeline.cli.console import (
    AsJson,
    ConfigPath,
    Output,
    Refresh,
    Settings,
    load_config,
    local_path,
    partition_rows,
    progress_bars,
    quieten,
    rejected_rows,
    require_posix,
    show,
)
from yt8m_pipeline.cli.init import default_folder, initialize, is_source, summary
from yt8m_pipeline.errors import UsageError, printable
from yt8m_pipeline.intake.options import CONFIG, VIDEOS, Options

if TYPE_CHECKING:
    from yt8m_pipeline.config import Config
    from yt8m_pipeline.jobs.build import BuildResult


class Split(StrEnum):
    """The values of the argument of `rebuild-split`."""

    TRAIN = "train"
    VALIDATE = "validate"
    TEST = "test"


def config_or_source(text: str) -> str:
    """Parses the argument of `build`: a YAML config on this machine, or what `yt8m init` takes."""
    return text if is_source(text) else str(local_path(text))


ConfigOrSource = Annotated[
    str,
    typer.Argument(
        parser=config_or_source,
        metavar="CONFIG",
        help="A YAML config; or a folder of videos, a table or an annotation file: `yt8m init` is run first.",
    ),
]


def build(
    context: typer.Context,
    config: ConfigOrSource,
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
    refresh: Refresh = False,
    as_json: AsJson = False,
) -> None:
    """Build the dataset, or go on where a stopped build left it. Beam's own options go after `--`."""
    require_posix("build")
    quieten()
    from yt8m_pipeline.jobs.build import build as run_build

    loaded = (
        _initialized(config, settings, output) if is_source(config) else load_config(Path(config), settings, output)
    )
    with progress_bars():
        result = run_build(loaded, context.args, retry=retry, refresh=refresh)
    _report(result, as_json)


def _initialized(source: str, settings: Settings, output: Output) -> "Config":
    """The config that `yt8m init` writes for a source; the dataset goes beside it.

    Raises:
        UsageError: if the source cannot be understood or has no labels, or the config was changed since.
    """
    folder = output or default_folder(source)
    if "://" in folder:
        raise UsageError(
            what="A config is a file of this machine",
            where=f"--output {folder}",
            why=f"the tables and the config of {source} would go there",
            fix=f"give a local folder, and --set output={folder} for the dataset",
        )
    understood = initialize([source], folder, Options())
    if not understood.classes:
        raise UsageError(
            what="A dataset needs labels",
            where=source,
            why="; ".join(understood.notes) or "its videos have none",
            fix=f"`yt8m extract {shlex.quote(os.path.join(folder, VIDEOS))} --like DATASET --output DIR` takes the "
            "features of videos without labels",
        )
    print("\n".join(map(printable, summary(understood, folder))), file=sys.stderr)
    return load_config(Path(folder, CONFIG), settings, None)


def rebuild_split(
    context: typer.Context,
    split: Split,
    config: ConfigPath,
    output: Output = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Write one split's shards again with the existing PCA, codebook and vocabulary; the others stay untouched."""
    require_posix("rebuild-split")
    quieten()
    from yt8m_pipeline.jobs.build import rebuild_split as run_rebuild

    loaded = load_config(config, settings, output)
    with progress_bars():
        result = run_rebuild(loaded, split.value, context.args)
    _report(result, as_json)


def _report(result: "BuildResult", as_json: bool) -> None:
    """The closing table of a build."""
    from yt8m_pipeline.dataset.layout import Layout
    from yt8m_pipeline.dataset.manifest import Manifest
    from yt8m_pipeline.report.summaries import quantization_rows

    plan, manifest = result.plan, Manifest.of(result.plan.layout)
    verify = shlex.join(["yt8m", "verify", plan.layout.root])
    title = (
        "Nothing to do: the dataset is complete, and its config and tables are the same; "
        f"`{verify}` says whether its files are intact"
    )
    if result.is_new:
        title = f"Built in {result.elapsed_seconds:.0f} s"
    facts = {
        "feature_space": plan.store.space,
        "pca_components": manifest.pca.facts.components,
        "partitions": partition_rows(plan.layout, manifest),
        "quantization": quantization_rows(manifest),
        "rejected": rejected_rows(manifest),
        "seconds": [{"stage": stage, "seconds": round(value, 1)} for stage, value in result.stage_seconds.items()],
        "warnings": [{"warning": text} for text in manifest.warnings],
        "files": [
            {"what": "dataset", "where": plan.layout.root},
            {"what": "manifest", "where": plan.layout.path(Layout.MANIFEST)},
            {"what": "rejects", "where": plan.layout.path(Layout.REJECTS)},
            {"what": "feature store", "where": plan.store.root},
        ],
    }
    show(facts, as_json, title)
