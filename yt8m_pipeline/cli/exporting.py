"""`yt8m export` and `export-pca`: a dataset, or its PCA, for other programs."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from yt8m_pipeline.cli.console import (
    AsJson,
    Dataset,
    partition_rows,
    progress_bars,
    quieten,
    require_posix,
    show,
)
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.interop.trainer_names import Values

if TYPE_CHECKING:
    from yt8m_pipeline.jobs.export_plan import ExportPlan


class Codebook(StrEnum):
    """The values of --quantizer of `export`."""

    UNIFORM = "uniform"


class Format(StrEnum):
    """The values of --format of `export`: a dataset again, or one of `interop.trainer_names.TrainerFormat`."""

    TFRECORD = "tfrecord"
    WEBDATASET = "webdataset"
    PARQUET = "parquet"
    NPY = "npy"
    HF = "hf"


class PcaFormat(StrEnum):
    """The values of --format of `export-pca`."""

    MEDIAPIPE = "mediapipe"
    PUBLISHED = "published"


def export(
    context: typer.Context,
    dataset: Dataset,
    output: Annotated[str, typer.Option(help="Folder of what is exported.")],
    *,
    form: Annotated[
        Format,
        typer.Option(
            "--format",
            help="tfrecord is a dataset again, with another codebook. The others are for other trainers: WebDataset's "
            "tar files, Parquet, a .npy file for each video, or a folder for `datasets.load_dataset` of Hugging Face.",
        ),
    ] = Format.TFRECORD,
    quantizer: Annotated[
        Codebook | None, typer.Option(help="Of tfrecord: the codebook that every public YouTube-8M reader assumes.")
    ] = None,
    values: Annotated[
        Values | None,
        typer.Option(help="Of the others: de-quantized coefficients (float32 is the default), or codes with codebook."),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            help="Of tfrecord: the feature store that the dataset was built from. Without it, the codes are encoded "
            "again, which adds to their error."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a finished dataset for other readers; no video is decoded. Beam's own options go after `--`."""
    require_posix("export")
    quieten()
    from yt8m_pipeline.config import absolute_path

    here = Path.cwd()
    source, target = absolute_path(dataset, here), absolute_path(output, here)
    if form == Format.TFRECORD:
        _refuse(form, "--values" if values else "", "--quantizer uniform" if not quantizer else "")
        _export_dataset(source, target, absolute_path(store, here) if store else None, context.args, as_json)
    else:
        _refuse(form, "--quantizer" if quantizer else "--store" if store else "", "")
        _export_for_trainers(source, target, form, values or Values.FLOAT32, context.args, as_json)


def _refuse(form: Format, needless: str, lacking: str) -> None:
    """Raises a UsageError if an option is given that a format does not take, or one is not that it needs."""
    if needless or lacking:
        raise UsageError(
            what=f"--format {form.value} " + (f"takes no {needless}" if needless else f"needs {lacking}"),
            where="yt8m export",
            why="these options belong to other formats" if needless else "another codebook is all that it changes",
            fix=f"leave {needless} out" if needless else f"give {lacking}, or a --format for another trainer",
        )


def _export_dataset(dataset: str, output: str, store: str | None, beam_arguments: Sequence[str], as_json: bool) -> None:
    from yt8m_pipeline.jobs.export import export as run_export

    with progress_bars():
        result = run_export(dataset, output, store, beam_arguments)
    title = "Nothing to do: the export is complete, and the dataset is the same"
    if result.is_new:
        title = f"Exported as uniform codes in {result.elapsed_seconds:.0f} s"
    _report(result.plan, as_json, title)


def _export_for_trainers(
    dataset: str, output: str, form: Format, values: Values, beam_arguments: Sequence[str], as_json: bool
) -> None:
    from yt8m_pipeline.interop.export_list import LIST
    from yt8m_pipeline.jobs.trainer_export import export_for_trainers

    with progress_bars():
        result = export_for_trainers(dataset, output, form.value, values, beam_arguments)
    title = "Nothing to do: the export is complete, and the dataset is the same"
    if result.is_new:
        title = f"Exported as {form.value}, {values.value}, in {result.elapsed_seconds:.0f} s"
    files = [
        {"file": file.path, "videos": file.videos, "bytes": file.bytes} for file in result.list.files if file.videos
    ]
    show({"files": files, "where": output, "list": f"{output}/{LIST}"}, as_json, title)


def _report(plan: "ExportPlan", as_json: bool, title: str) -> None:
    """The closing table of an export."""
    from yt8m_pipeline.dataset.layout import Layout
    from yt8m_pipeline.dataset.manifest import Manifest
    from yt8m_pipeline.report.summaries import quantization_rows

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
    from yt8m_pipeline.jobs.build_folder import require_apart

    require_apart(dataset, folder)
    pca = open_pca(dataset)
    (save_mediapipe if form is PcaFormat.MEDIAPIPE else save_published)(pca, folder)
    print(f"The PCA of {dataset} is in {folder}: {pca.components} components of {len(pca.mean)} dimensions")
