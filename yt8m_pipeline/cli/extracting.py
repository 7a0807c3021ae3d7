"""`yt8m extract`: features of new videos in the space of a finished dataset."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from yt8m_pipeline.accounting.reasons import Retry
from yt8m_pipeline.cli.console import (
    AsJson,
    Refresh,
    Settings,
    partition_rows,
    progress_bars,
    quieten,
    rejected_rows,
    require_posix,
    show,
)

if TYPE_CHECKING:
    from yt8m_pipeline.jobs.extract import ExtractResult


class Format(StrEnum):
    """The values of --format of `extract`."""

    RECORDS = "records"
    NPY = "npy"
    PARQUET = "parquet"


def extract(  # noqa: PLR0913, PLR0917  each is an option of the command line
    context: typer.Context,
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE…", help="Videos and folders of videos; or one videos table."),
    ],
    like: Annotated[str, typer.Option(help="The finished dataset whose feature space, PCA, codebook and labels hold.")],
    output: Annotated[str, typer.Option(help="Folder of the features: a dataset of one partition.")],
    form: Annotated[
        Format, typer.Option("--format", help="What features are written as, beside the records and the frames' times.")
    ] = Format.RECORDS,
    raw: Annotated[
        bool, typer.Option("--raw", help="Write the network's own features as npy or parquet, not the decoded codes.")
    ] = False,
    model: Annotated[str | None, typer.Option(help="The file or folder of the dataset's network.")] = None,
    store: Annotated[str | None, typer.Option(help="The feature store; by default OUTPUT/features.")] = None,
    annotations: Annotated[str | None, typer.Option(help="An annotations table with labels of the videos.")] = None,
    shards: Annotated[int, typer.Option(min=1, help="How many files the records are divided among.")] = 1,
    settings: Settings = None,
    *,
    retry: Annotated[
        Retry | None, typer.Option(help="Which failed videos to try again, also if the extraction is complete.")
    ] = None,
    refresh: Refresh = False,
    as_json: AsJson = False,
) -> None:
    """Extract features of new videos in the space of a finished dataset. Beam's own options go after `--`."""
    require_posix("extract")
    quieten()
    from yt8m_pipeline.config import absolute_path
    from yt8m_pipeline.jobs.extract import extract as run_extract

    here, ours = Path.cwd(), next((place for place, text in enumerate(sources) if text.startswith("--")), len(sources))
    with progress_bars():
        result = run_extract(
            sources[:ours],
            absolute_path(like, here),
            absolute_path(output, here),
            model=model,
            store=absolute_path(store, here) if store else None,
            annotations=annotations,
            form=form.value,
            raw=raw,
            shards=shards,
            settings=settings or (),
            beam_arguments=[*sources[ours:], *context.args],  # click takes what follows `--` for more sources
            retry=retry,
            refresh=refresh,
        )
    _report(result, as_json)


def _report(result: "ExtractResult", as_json: bool) -> None:
    """The closing table of an extraction."""
    from yt8m_pipeline.dataset.layout import Layout
    from yt8m_pipeline.dataset.manifest import Manifest

    plan, manifest = result.plan, Manifest.of(result.plan.layout)
    title = "Nothing to do: the extraction is complete, and its videos and the dataset are the same"
    if result.is_new:
        title = f"Extracted in {result.elapsed_seconds:.0f} s"
    facts = {
        "feature_space": plan.store.space,
        "like": plan.like.layout.root,
        "partitions": [
            row for row in partition_rows(plan.layout, manifest) if row["partition"] == plan.partition.value
        ],
        "rejected": rejected_rows(manifest),
        "warnings": [{"warning": text} for text in manifest.warnings],
        "files": [
            {"what": "features", "where": plan.layout.root},
            {"what": "rejects", "where": plan.layout.path(Layout.REJECTS)},
            {"what": "feature store", "where": plan.store.root},
        ],
    }
    show(facts, as_json, title)
