"""`yt8m verify`, `inspect` and `export-pca`: what is on disk."""

from enum import StrEnum
from typing import Annotated

import typer

from yt8m_pipeline.cli.console import AsJson, Dataset, show


class PcaFormat(StrEnum):
    """The values of --format of `export-pca`."""

    MEDIAPIPE = "mediapipe"
    PUBLISHED = "published"


def verify(dataset: Dataset, as_json: AsJson = False) -> None:
    """Compare everything on disk with the manifest; exit 1 and a table of what is wrong."""
    from yt8m_pipeline.dataset.verify import verify as compare

    faults = compare(dataset)
    rows = [{"where": fault.where, "what": fault.what} for fault in faults]
    title = f"{dataset}: {len(faults)} fault{'s' * (len(faults) != 1)}" if faults else f"{dataset}: sound"
    show({"faults": rows}, as_json, title)
    if faults:
        raise typer.Exit(1)


def inspect(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A shard, a store file, a codebook, a table.")],
    records: Annotated[int, typer.Option(min=0, help="Records of a shard to show.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Say what a file is, and show it."""
    from yt8m_pipeline.inspection import inspect_file

    show(inspect_file(file, records), as_json, file)


def export_pca(
    dataset: Dataset,
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Where the files go.")],
    form: Annotated[
        PcaFormat, typer.Option("--format", help="MediaPipe's MatrixData, or the .npy files of the public extractor.")
    ] = PcaFormat.MEDIAPIPE,
) -> None:
    """Write a dataset's PCA for other programs."""
    from yt8m_pipeline.inspection import open_pca

    pca = open_pca(dataset)
    (pca.save_mediapipe if form is PcaFormat.MEDIAPIPE else pca.save_published)(folder)
    print(f"The PCA of {dataset} is in {folder}: {pca.components} components of {len(pca.mean)} dimensions")
