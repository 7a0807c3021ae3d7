"""`yt8m report`: the statistics and figures of a finished dataset."""

from typing import TYPE_CHECKING, Annotated

import typer

from yt8m_pipeline.cli.console import KNOWN_PLACE, AsJson, Dataset, show

if TYPE_CHECKING:
    from yt8m_pipeline.report.tables import Table

TEXT_ROWS = 40
"""The most rows of a table that the terminal shows; --json and the files have them all."""


def report(
    dataset: Dataset,
    *,
    output: Annotated[str, typer.Option(metavar="DIR", help="The folder of the report.", **KNOWN_PLACE)],
    known: Annotated[
        str | None, typer.Option(metavar="FILE", help="A table of known datasets, in place of the package's own.")
    ] = None,
    with_withheld: Annotated[
        bool, typer.Option("--with-withheld", help="Count the withheld labels of test videos too, and show them.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write the statistics and figures of a dataset, as the paper has them, into a page with its figures and tables."""
    from yt8m_pipeline.jobs.build_folder import require_apart
    from yt8m_pipeline.report.known_datasets import read_known_datasets
    from yt8m_pipeline.report.statistics import measure_dataset
    from yt8m_pipeline.report.writing import PAGE, require_report_folder, write_report

    require_apart(dataset, output, "A report")
    require_report_folder(output)
    beside = read_known_datasets(known)
    statistics = measure_dataset(dataset, with_withheld=with_withheld)
    written = write_report(statistics, beside, dataset, output)
    tables = {table.name: list(table.rows) if as_json else _text_rows(table) for table in written.tables}
    facts = {**tables, "page": f"{output.rstrip('/')}/{PAGE}", "files": len(written.paths)}
    warned = {"withheld": "this report shows labels of the test partition that the dataset withholds"}
    show({**facts, **(warned if with_withheld else {})}, as_json, f"{dataset}: report")


def _text_rows(table: "Table") -> list[dict[str, str]]:
    from yt8m_pipeline.report.tables import shown_number

    rows = table.rows[: min(TEXT_ROWS, table.shown)]
    return [{name: cell if isinstance(cell, str) else shown_number(cell) for name, cell in row.items()} for row in rows]
