"""`yt8m export` and `export-pca`: a dataset, or its PCA, for other programs."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from yt8m_pipeline.cli.console import (
    AsJson,
    Dataset,
    partition_rows,
    progress_bars,
    quantization_rows,
    quieten,
    require_posix,
    show,
)

if TYPE_CHECKING:
    from yt8m_pipeline.jobs.export_plan import ExportPlan


class Codebook(StrEnum):
    """The values of --quantizer of `export`."""

    UNIFORM = "uniform"


class PcaFormat(StrEnum):
    """The values of --format of `export-pca`."""

    MEDIAPIPE = "mediapipe"
    PUBLISHED = "published"


def export(
    context: typer.Context,
    dataset: Dataset,
    quantizer: Annotated[Codebook, typer.Option(help="The codebook: what every public YouTube-8M reader assumes.")],
    output: Annotated[str, typer.Option(help="Folder of the new dataset.")],
    store: Annotated[
        str | None,
        typer.Option(
            help="The feature store that the dataset was built from. Without it, the codes are encoded again, which "
            "adds to their error."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a finished dataset again with another codebook; no video is decoded. Beam's own options go after `--`."""
    require_posix("export")
    quieten()
    from yt8m_pipeline.config import absolute_path
    from yt8m_pipeline.jobs.export import export as run_export

    here = Path.cwd()
    source, target = absolute_path(dataset, here), absolute_path(output, here)
    with progress_bars():
        result = run_export(source, target, absolute_path(store, here) if store else None, context.args)
    title = "Nothing to do: the export is complete, and the dataset is the same"
    if result.is_new:
        title = f"Exported as {quantizer.value} codes in {result.elapsed_seconds:.0f} s"
    _report(result.plan, as_json, title)


def _report(plan: "ExportPlan", as_json: bool, title: str) -> None:
    """The closing table of an export."""
    from yt8m_pipeline.dataset.layout import Layout
    from yt8m_pipeline.dataset.manifest import Manifest

    manifest = Manifest.of(plan.layout)
    facts = {
        "encoded_from": manifest.encoded.source,
        "partitions": partition_rows(plan.layout, manifest),
        "quantization": quantization_rows(manifest),
        "warnings": [{"warning": text} for text in manifest.warnings],
        "files": [
            {"what": "dataset", "where": plan.layout.root},
            {"what": "manifest", "where": plan.layout.path(Layout.MANIFEST)},
        ],
    }
    show(facts, as_json, title)


def export_pca(
    dataset: Dataset,
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Where the files go.")],
    form: Annotated[
        PcaFormat, typer.Option("--format", help="MediaPipe's MatrixData, or the .npy files of the public extractor.")
    ] = PcaFormat.MEDIAPIPE,
) -> None:
    """Write a dataset's PCA for other programs."""
    from yt8m_pipeline.dataset.reader import open_pca
    from yt8m_pipeline.interop.pca_formats import save_mediapipe, save_published
    from yt8m_pipeline.jobs.export_plan import require_apart

    require_apart(dataset, folder)
    pca = open_pca(dataset)
    (save_mediapipe if form is PcaFormat.MEDIAPIPE else save_published)(pca, folder)
    print(f"The PCA of {dataset} is in {folder}: {pca.components} components of {len(pca.mean)} dimensions")
