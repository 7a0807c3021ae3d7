"""Plots, the same bytes every time. The only module that imports matplotlib."""

import io
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from yt8m_pipeline.compression.quantization import UNIFORM_BOUND, Quantizer
from yt8m_pipeline.data_model import Float32Array
from yt8m_pipeline.report.quantizer_statistics import Density

Format: TypeAlias = Literal["png", "svg"]
FORMATS: tuple[Format, ...] = get_args(Format)

FILL, OUTLINE, CODEBOOK, LAW, UNIFORM = "#e4e9f0", "#8fa1b7", "#0b5fa5", "#e07b00", "#777777"
UNIFORM_LEVELS = Quantizer.uniform().levels
LOOK: dict[str, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "font.size": 10.5,
    "legend.frameon": False,
    "svg.hashsalt": "yt8m_pipeline",
}
UNDATED: dict[Format, dict[str, None]] = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}


def plot_codebook(density: Density, levels: Float32Array, title: str, form: Format) -> bytes:
    """A codebook against the density of the coefficients that it encodes.

    Above the density; then each level as a line, the codebook's over those of the public uniform quantizer; below
    how many levels there are per unit, beside the law of Panter and Dite (1951), by which the best ones follow f^⅓.

    Args:
        density: Of the coefficients.
        levels: float32, (levels,), increasing.
        title: Above the plot.
        form: png, 1000 pixels wide, or svg.
    """
    with style.context(["default", LOOK]):
        figure = Figure(figsize=(10, 6), dpi=100, layout="constrained")
        upper, rug, lower = figure.subplots(3, 1, sharex=True, height_ratios=(3, 0.6, 2.6))
        _draw_density(upper, density)
        _draw_levels(rug, levels)
        _draw_level_density(lower, density, levels)
        upper.set_title(title)
        figure.align_ylabels()
        stream = io.BytesIO()
        figure.savefig(stream, format=form, metadata=UNDATED[form])
    return stream.getvalue()


def _draw_density(axes: Axes, density: Density) -> None:
    floor = density.heights[density.heights > 0].min() / 2
    axes.stairs(density.heights, density.edges, baseline=floor, fill=True, color=FILL)
    axes.stairs(density.heights, density.edges, baseline=None, color=OUTLINE)
    axes.set(yscale="log", ylim=(floor, None), ylabel="density $f$")
    axes.tick_params(bottom=False)


def _draw_levels(axes: Axes, levels: Float32Array) -> None:
    axes.eventplot([UNIFORM_LEVELS[2::4], levels[2::4]], colors=[UNIFORM, CODEBOOK], linewidths=0.8, linelengths=0.8)
    axes.set_yticks([0, 1], ["uniform", "codebook"])
    axes.set_title("every 4th level", loc="right", fontsize=9, pad=2, color=UNIFORM)
    axes.tick_params(left=False, bottom=False)
    axes.spines[["left", "bottom"]].set_visible(False)


def _draw_level_density(axes: Axes, density: Density, levels: Float32Array) -> None:
    steps = np.diff(levels.astype(np.float64))
    law = np.cbrt(density.heights) / density.cube_root_integral * len(levels)
    even = len(UNIFORM_LEVELS) / (2 * UNIFORM_BOUND)
    axes.plot(levels[:-1] + steps / 2, 1 / steps, ".", color=CODEBOOK, markersize=4, label=f"codebook of {len(levels)}")
    axes.stairs(law, density.edges, baseline=None, color=LAW, linewidth=1.5, label="theory, $\\propto f^{1/3}$")
    axes.stairs([even], [-UNIFORM_BOUND, UNIFORM_BOUND], color=UNIFORM, linestyle="--", label="uniform [−2, 2], of 256")
    highest = min(axes.get_ylim()[1], 2 * max(even, law.max()))
    axes.set(ylim=(0, highest), xlabel="whitened PCA coefficient", ylabel="levels per unit")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderpad=0)
