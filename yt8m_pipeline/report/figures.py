"""Plots for papers: a column wide, and the same bytes every time."""

import io
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from yt8m_pipeline.compression.quantization import UNIFORM_BOUND, Quantizer
from yt8m_pipeline.data_model import Float32Array, Int64Array
from yt8m_pipeline.report.quantizer_statistics import Density, central_span

Format: TypeAlias = Literal["png", "pdf", "svg"]
FORMATS: tuple[Format, ...] = get_args(Format)

COLUMN_INCHES, HEIGHT_INCHES = 3.5, 3.4
"""The width of one column of a two-column paper (IEEE's is 3.5 inches), and the height of the plot."""

DOTS_PER_INCH = 300
"""The least resolution that journals ask of a raster picture; a PNG is 1,050 pixels wide."""

SHOWN_TAIL = 1e-3
"""The x axis ends at the quantiles of this probability and of 1 less it, so that the few coefficients of a heavy tail
do not press all the others together. At ±2 standard deviations, which `uniform` covers, the tails would be 2 %."""

FILL, OUTLINE, CODEBOOK, LAW, UNIFORM = "#e4e9f0", "#8fa1b7", "#0b5fa5", "#e07b00", "#777777"
UNIFORM_LEVELS = Quantizer.uniform().levels
LOOK: dict[str, Any] = {
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 7,
    "font.size": 7,
    "legend.frameon": False,
    "legend.fontsize": 6,
    "pdf.fonttype": 42,  # TrueType, as publishers ask; the default Type 3 is refused by some
    "svg.hashsalt": "yt8m_pipeline",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}
UNDATED: Mapping[Format, dict[str, None]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
}
"""The metadata that would make two pictures of the same data differ, left out."""


def plot_codebook(counts: Int64Array, levels: Float32Array, title: str, form: Format) -> bytes:
    """Draws a codebook against the density of the coefficients that it encodes.

    The upper part shows the density. Below it stands each fourth level as a line, those of the codebook over those of
    the public uniform quantizer. The lower part shows how many levels there are per unit, beside the law of Panter and
    Dite (1951), by which the levels of the best quantizers are as dense as the cube root of the density.

    Args:
        counts: int64, (BUCKETS,), the coefficients by the buckets of a `Histogram`, not all zero.
        levels: float32, (levels,), increasing.
        title: The text above the plot.
        form: png, of 300 dots per inch; or pdf or svg.
    """
    density, span = Density.over_cells(counts, levels), central_span(counts, SHOWN_TAIL)
    with style.context(["default", LOOK]):
        figure = Figure(figsize=(COLUMN_INCHES, HEIGHT_INCHES), dpi=DOTS_PER_INCH, layout="constrained")
        upper, rug, lower = figure.subplots(3, 1, sharex=True, height_ratios=(3, 0.8, 2.6))
        _draw_density(upper, density, span)
        _draw_levels(rug, levels)
        _draw_level_density(lower, density, levels)
        _cut_x_axis(lower, span, levels)
        upper.set_title(title)
        figure.align_ylabels()
        return saved(figure, form)


def saved(figure: Figure, form: Format) -> bytes:
    """The file of a figure: the same bytes every time."""
    stream = io.BytesIO()
    figure.savefig(stream, format=form, metadata=UNDATED[form])
    return stream.getvalue()


def _cut_x_axis(axes: Axes, span: tuple[float, float], levels: Float32Array) -> None:
    """Ends the x axis where the data end, and says so below it."""
    low, high = span
    beyond = np.count_nonzero((levels < low) | (levels > high))
    cut = f"{SHOWN_TAIL:.1%} to {1 - SHOWN_TAIL:.1%} quantile; {beyond} of {len(levels)} levels lie beyond"
    axes.set(xlim=(low, high), xlabel=f"whitened PCA coefficient\n({cut})")


def _draw_density(axes: Axes, density: Density, span: tuple[float, float]) -> None:
    shown = (density.heights > 0) & (density.edges[1:] > span[0]) & (density.edges[:-1] < span[1])
    floor = density.heights[shown].min() / 2
    axes.stairs(density.heights, density.edges, baseline=floor, fill=True, color=FILL)
    axes.stairs(density.heights, density.edges, baseline=None, color=OUTLINE, linewidth=0.8)
    axes.set(yscale="log", ylim=(floor, None), ylabel="density $f$")
    axes.tick_params(bottom=False)


def _draw_levels(axes: Axes, levels: Float32Array) -> None:
    axes.eventplot([UNIFORM_LEVELS[2::4], levels[2::4]], colors=[UNIFORM, CODEBOOK], linewidths=0.5, linelengths=0.8)
    axes.set_yticks([0, 1], ["uniform", "codebook"])
    axes.set_title("every 4th level", loc="right", fontsize=6, pad=2, color=UNIFORM)
    axes.tick_params(left=False, bottom=False)
    axes.spines[["left", "bottom"]].set_visible(False)


def _draw_level_density(axes: Axes, density: Density, levels: Float32Array) -> None:
    steps = np.diff(levels.astype(np.float64))
    law = np.cbrt(density.heights) / density.cube_root_integral * len(levels)
    even = len(UNIFORM_LEVELS) / (2 * UNIFORM_BOUND)
    axes.plot(levels[:-1] + steps / 2, 1 / steps, ".", color=CODEBOOK, markersize=2, label=f"codebook of {len(levels)}")
    axes.stairs(law, density.edges, baseline=None, color=LAW, linewidth=1, label="theory, $\\propto f^{1/3}$")
    axes.stairs([even], [-UNIFORM_BOUND, UNIFORM_BOUND], color=UNIFORM, linestyle="--", label="uniform, 256 in [−2, 2]")
    highest = min(axes.get_ylim()[1], 2 * max(even, law.max()))
    axes.set(ylim=(0, highest), ylabel="levels per unit")
    axes.legend(loc="lower center", bbox_to_anchor=(0.45, 1), ncols=3, borderpad=0, columnspacing=1, handlelength=1.5)
