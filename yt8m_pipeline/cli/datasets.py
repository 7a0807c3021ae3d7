"""`yt8m verify` and `inspect`: what is on disk."""

from typing import Annotated

import typer

from yt8m_pipeline.cli.console import KNOWN_PLACE, AsJson, Dataset, show


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
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="A shard, a store file, a codebook, a table; a dataset or a store.",
            **KNOWN_PLACE,
        ),
    ],
    records: Annotated[int, typer.Option(min=0, help="Records of a shard to show.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Say what a file is, and show it; sum a dataset or a feature store up."""
    from yt8m_pipeline.report.inspection import inspect_path

    show(inspect_path(path, records), as_json, path)
