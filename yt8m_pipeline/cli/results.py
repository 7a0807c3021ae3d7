"""`yt8m results`: all models of the paper on a dataset, and one page of what they reach."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from yt8m_pipeline.cli.console import AsJson, Dataset, progress_bars, quieten, require_posix, show

if TYPE_CHECKING:
    from yt8m_pipeline.results.facts import Facts, Table

MODELS = "frame_logistic,dbof,lstm,hinge,logistic,moe"
"""The models of `results.plan`, as --models takes them."""


def results(  # noqa: PLR0913  each is an option of the command line
    dataset: Dataset,
    output: Annotated[str, typer.Option(help="Folder of the page, and of the models, in folders of their own.")],
    *,
    store: Annotated[
        str | None,
        typer.Option(
            help="The feature store that the dataset was built from: video-level features are then exact, and the loss "
            "by compression is measured.",
        ),
    ] = None,
    models: Annotated[str, typer.Option(help="Which models, with commas between them.")] = MODELS,
    small: Annotated[bool, typer.Option("--small", help="Small models, for demos.")] = False,
    compression: Annotated[
        bool | None,
        typer.Option(
            "--compression/--no-compression",
            help="Train on full-size features, float PCA and codes, and compare (paper 3.3). [default: with --store]",
        ),
    ] = None,
    transfer: Annotated[
        str | None,
        typer.Option(
            metavar="DATASET",
            help="Another finished dataset, to which the PCA and the LSTM of this one are transferred (Table 5).",
        ),
    ] = None,
    rated: Annotated[
        str | None,
        typer.Option(
            metavar="TABLE", help="Human ratings of a partition's videos (Table 4), as `evaluate` reads them."
        ),
    ] = None,
    bootstrap: Annotated[int, typer.Option(min=0, help="The number of samples for 95 % intervals.")] = 200,
    as_json: AsJson = False,
) -> None:
    """Train, predict with and evaluate the models of the paper, and write Table 3 with your own numbers.

    The same command goes on where it was stopped. The exit code is 1 if a model failed; the page has the others.
    """
    require_posix("results")
    quieten()
    from yt8m_pipeline.results.making import Wanted, make_results

    names = tuple(name.strip() for name in models.split(",") if name.strip())
    wanted = Wanted(dataset, output, store, names, small, compression, transfer, rated, bootstrap)
    made = make_results(wanted, showing=progress_bars)
    _report(made.facts, output, as_json)
    if made.failures:
        raise typer.Exit(1)


def _report(facts: "Facts", output: str, as_json: bool) -> None:
    tables = {table.title: _rows(table) for table in facts.tables}
    pages = [{"file": f"{output}/{name}"} for name in ("index.html", "results.md", "results.csv", "results.json")]
    warnings = [{"warning": warning} for warning in facts.warnings]
    show({**tables, "warnings": warnings, "files": pages}, as_json, f"Results of {facts.dataset}, in per cent")


def _rows(table: "Table") -> list[dict[str, Any]]:
    from yt8m_pipeline.results.texts import figures, heads

    columns = heads(table)
    return [dict(zip(columns, [*row.labels, *figures(table, row)], strict=True)) for row in table.rows]
