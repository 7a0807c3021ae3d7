"""`yt8m stats`: figures of a finished dataset."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yt8m_pipeline.cli.console import AsJson, CommandGroup, Dataset, progress_bars, show
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.errors import UsageError

if TYPE_CHECKING:
    from yt8m_pipeline.compression.quantization import Quantizer
    from yt8m_pipeline.report.coefficients import StoredCoefficients
    from yt8m_pipeline.report.figures import Format
    from yt8m_pipeline.report.quantizer_statistics import QuantizerStatistics

app = typer.Typer(cls=CommandGroup, help="Measure a finished dataset.", no_args_is_help=True)


@app.command()
def quantizer(
    dataset: Dataset,
    *,
    store: Annotated[
        str | None, typer.Option(metavar="DIR", help="Its feature store; by default `features` beside the dataset.")
    ] = None,
    partition: Annotated[
        Partition, typer.Option(help="Whose frames; the codebook was fitted on those of train.")
    ] = Partition.VALIDATE,
    frames: Annotated[int, typer.Option(min=1, help="At most so many, of whole videos drawn by hash.")] = 100_000,
    plot: Annotated[
        str | None, typer.Option(metavar="FILE", help="Draw the codebook against the density: .png, .pdf or .svg.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure how well the codebook keeps the coefficients of real frames: distortion, bits, and ratios to others.

    A dimension has no Panter-Dite bound below 1,000 frames.
    """
    from yt8m_pipeline.dataset.reader import open_dataset, open_pca
    from yt8m_pipeline.report.coefficients import find_coefficients, store_beside

    form = _format(plot) if plot else None
    codebook = open_dataset(dataset).quantizer
    pca = open_pca(dataset)
    found = find_coefficients(dataset, pca, store or store_beside(dataset), partition, frames)
    measured = _measure(found, codebook)
    facts = {
        "partition": partition.value,
        "videos": len(found.digests),
        "frames": measured.frames,
        "dimensions": measured.histogram.dimensions,
        "feature_space": found.store.space,
        "codebook": f"{codebook.name}, {codebook.scope}, {codebook.length} levels",
    }
    if plot and form:
        _draw(plot, form, codebook, measured, f"{PurePosixPath(dataset).name}, {partition.value}")
    show({**facts, **_tables(measured, as_json)}, as_json, f"{dataset}: how good the codebook is")


def _format(plot: str) -> "Format":
    from yt8m_pipeline.report.figures import FORMATS

    ending = plot.lower().rpartition(".")[2]
    for form in FORMATS:
        if form == ending:
            return form
    why = f"its name does not end in {', '.join(f'.{form}' for form in FORMATS)}"
    raise UsageError(
        what="This is no kind of plot", where=f"--plot {plot}", why=why, fix="name the file codebook.png, .pdf or .svg"
    )


def _measure(found: "StoredCoefficients", codebook: "Quantizer") -> "QuantizerStatistics":
    """Measures, and shows the progress of each pass."""
    from yt8m_pipeline.report.quantizer_statistics import PASSES, measure

    total = len(found.digests)
    stages = (name for name in PASSES for _ in range(total))
    with progress_bars() as bars:

        def advance(frames: int) -> None:
            bars.update(next(stages), total=total, done=1, frames=frames)

        return measure(replace(found, advance=advance), codebook)


def _tables(measured: "QuantizerStatistics", as_json: bool) -> dict[str, Any]:
    """The summary, for people with four digits; and all dimensions, for programs."""
    if as_json:
        return {"summary": measured.summary(), "by_dimension": measured.arrays()}
    return {"summary": [_row(row) for row in measured.summary()]}


def _row(summary: Mapping[str, Any]) -> dict[str, str]:
    means = {name: _cell(summary[name]) for name in ("together", "mean", "median")}
    ends = {f"{end} (dimension)": _cell(summary[end], summary[f"{end}_dimension"]) for end in ("best", "worst")}
    return {"measure": summary["measure"], **means, **ends}


def _cell(value: float | None, dimension: int | None = None) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if dimension is None else f"{value:.4g} ({dimension})"


def _draw(plot: str, form: "Format", codebook: "Quantizer", measured: "QuantizerStatistics", title: str) -> None:
    from yt8m_pipeline.files import write_bytes
    from yt8m_pipeline.report.figures import plot_codebook

    counts = measured.histogram.bucket_counts
    shared = codebook.scope == "shared"
    levels = codebook.levels if shared else codebook.levels[0]
    of = "" if shared else "the first of "
    what = f"{title}: {measured.frames:,} frames, {of}{len(counts)} dimensions"
    write_bytes(plot, plot_codebook(counts.sum(axis=0) if shared else counts[0], levels, what, form))
