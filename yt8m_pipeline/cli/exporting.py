"""`yt8m export` and `export-pca`: a dataset, or its PCA, for other programs."""

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yt8m_pipeline.cli.console import AsJson, Dataset, partition_rows, quantization_rows, show
from yt8m_pipeline.cli.engine import beam_pipeline, run

if TYPE_CHECKING:
    from yt8m_pipeline.export_plan import ExportPlan


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
    from yt8m_pipeline.config import absolute_path
    from yt8m_pipeline.export_plan import plan_export

    places = [absolute_path(place, Path.cwd()) for place in (dataset, output, *([store] if store else []))]
    plan = plan_export(*places)
    if plan.is_done:
        _report(plan, as_json, "Nothing to do: the export is complete, and the dataset is the same")
        return
    start = time.monotonic()
    _export(plan, beam_pipeline(context.args))
    _report(plan, as_json, f"Exported as {quantizer.value} codes in {time.monotonic() - start:.0f} s")


def _export(plan: "ExportPlan", root: Any) -> None:
    from yt8m_pipeline.dataset.build_folder import begin, exclusive, finish
    from yt8m_pipeline.dataset.manifest import Manifest
    from yt8m_pipeline.pipeline import export_dataset

    with exclusive(plan.layout):
        begin(plan.layout, Manifest.read(plan.layout), None)
        export_dataset(root, plan)
        run(root)
        finish(plan.layout)


def _report(plan: "ExportPlan", as_json: bool, title: str) -> None:
    """The closing table of an export."""
    from yt8m_pipeline.dataset.layout import Layout
    from yt8m_pipeline.dataset.manifest import Manifest

    manifest = Manifest.read(plan.layout)
    values = manifest.values if manifest else {}
    facts = {
        "encoded_from": values["encoded"]["from"],
        "partitions": partition_rows(values),
        "quantization": quantization_rows(values),
        "warnings": [{"warning": text} for text in values["warnings"]],
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
    from yt8m_pipeline.export_plan import require_apart
    from yt8m_pipeline.inspection import open_pca

    require_apart(dataset, folder)
    pca = open_pca(dataset)
    (pca.save_mediapipe if form is PcaFormat.MEDIAPIPE else pca.save_published)(folder)
    print(f"The PCA of {dataset} is in {folder}: {pca.components} components of {len(pca.mean)} dimensions")
