"""The learning curves of a model: the loss of its train videos, and the metrics of its validate videos, by epoch."""

from collections.abc import Mapping, Sequence
from math import nan

import numpy as np
from matplotlib import style
from matplotlib.figure import Figure

from yt8m_pipeline.report.figures import COLUMN_INCHES, DOTS_PER_INCH, LOOK, Format, saved

HEIGHT_INCHES = 3.0
MARKER = "."
"""Each epoch is a point: of a training of one epoch there is no line."""


def plot_learning_curves(losses: Sequence[float], metrics: Mapping[str, Sequence[float | None]], form: Format) -> bytes:
    """Draws the loss above, and the metrics below; the epoch in which each metric is best has a larger point.

    Args:
        losses: One for each epoch.
        metrics: The values of each metric by its name, one for each epoch; None where it is not known.
        form: png, of 300 dots per inch; or pdf or svg.
    """
    epochs = np.arange(1, len(losses) + 1)
    with style.context(["default", LOOK]):
        figure = Figure(figsize=(COLUMN_INCHES, HEIGHT_INCHES), dpi=DOTS_PER_INCH, layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True)
        upper.plot(epochs, losses, MARKER + "-", color="#0b5fa5")
        upper.set_ylabel("train loss")
        for name, found in metrics.items():
            values = np.array([nan if value is None else value for value in found])
            (line,) = lower.plot(epochs, values, MARKER + "-", label=name, markersize=3, linewidth=0.8)
            if np.isfinite(values).any():
                best = int(np.nanargmax(values))
                lower.plot(epochs[best], values[best], "o", color=line.get_color(), markersize=4)
        lower.set(xlabel="epoch", ylabel="validate", ylim=(0, 1.05))
        lower.xaxis.get_major_locator().set_params(integer=True)
        lower.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        return saved(figure, form)
