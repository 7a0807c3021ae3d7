"""The pictures of the page as inline SVG, in the style of `report.figures`: the same bytes every time.

What a picture tells apart, it tells apart by shape, not by colour alone, so that it can be read in grey. All that is
black takes the colour of the page's text (`currentColor`), which is light on a dark page. No text of a stranger is in a
picture.
"""

import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from yt8m_pipeline.report.figures import CODEBOOK, LAW, LOOK, saved
from yt8m_pipeline.report.html_page import inline_svg
from yt8m_pipeline.results.facts import Class, Model, Table
from yt8m_pipeline.results.texts import METRICS

WIDTH_INCHES = 7.16
"""The width of both columns of a two-column paper (IEEE's)."""

PANELS_A_ROW = 4
PANEL_INCHES = 1.75

TITLE_CHARACTERS = 24
"""So many characters of a title are as wide as a panel."""

INK = "#010203"
"""Nearly black, and used for nothing else: the page's own text colour is put in its place."""

OURS, PAPER, FAINT = CODEBOOK, LAW, "#8a8f98"
INKS: dict[str, Any] = {
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "figure.facecolor": "none",
    "font.size": 8,
    "axes.titlesize": 8,
    "legend.fontsize": 7,
    "legend.labelcolor": INK,
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def plot_table(table: Table) -> str:
    """Our figures with their intervals beside those of the paper, a panel for each metric and a line for each row."""

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(table.metrics), sharey=True, squeeze=False)[0]
        for panel, metric in zip(panels, table.metrics, strict=True):
            _draw_metric(panel, table, metric)
        panels[0].set_yticks(range(len(table.rows)), [", ".join(row.labels[::-1]) for row in table.rows])
        panels[0].invert_yaxis()
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=2)

    return _svg(draw, 0.9 + 0.24 * len(table.rows), table.name, table.title)


def _draw_metric(axes: Axes, table: Table, metric: str) -> None:
    for place, row in enumerate(table.rows):
        figure = row.values.get(metric)
        if figure and figure.value is not None:
            low, high = (figure.value if end is None else end for end in (figure.low, figure.high))
            axes.plot([100 * low, 100 * high], [place, place], "-", color=OURS, linewidth=1.5, solid_capstyle="butt")
            label = None if place else "ours"
            axes.plot(100 * figure.value, place, "o", color=OURS, markersize=4, label=label, clip_on=False)
        for paper, values in zip(table.papers, row.papers, strict=True):
            if metric in values:
                label = None if place else f"the paper, {paper}"
                axes.plot(100 * values[metric], place, "D", color=PAPER, markersize=4, mfc="none", label=label)
    axes.set(title=METRICS[metric], xlim=(-2, 102), xticks=(0, 50, 100))
    axes.grid(axis="y", color=FAINT, linewidth=0.3)
    axes.tick_params(left=False)


def plot_curves(models: Sequence[Model], metric: str) -> str:
    """The loss on train and a metric of validate after each epoch, a panel for each model."""
    rows = _rows(models)

    def draw(figure: Figure) -> None:
        for model, axes in zip(models, _panels(figure, rows), strict=False):
            _draw_curve(axes, model, metric)
        lines = (line for axes in figure.axes for line in axes.lines)
        named = {str(line.get_label()): line for line in lines if line.get_linestyle() != "None"}
        figure.legend(list(named.values()), list(named), loc="outside lower center", ncols=3)

    return _svg(draw, rows * PANEL_INCHES + 0.5, "curves", f"Loss on train and {METRICS[metric]} of validate by epoch")


def _draw_curve(axes: Axes, model: Model, metric: str) -> None:
    epochs = [epoch.number for epoch in model.epochs]
    loss = np.array([epoch.loss for epoch in model.epochs], np.float64)
    values = 100 * np.array([epoch.metrics.get(metric) for epoch in model.epochs], np.float64)
    other = axes.twinx()
    other.spines["right"].set_visible(True)
    axes.plot(epochs, loss, "--", color=PAPER, linewidth=1, label="loss on train, left scale")
    label = f"{METRICS[metric]} of validate in per cent, right scale"
    other.plot(epochs, values, "-o", color=OURS, linewidth=1, markersize=2, label=label)
    if model.best_epoch is not None and model.best_epoch in epochs:
        best = values[epochs.index(model.best_epoch)]
        other.plot(model.best_epoch, best, "o", color=OURS, markersize=6, mfc="none", clip_on=False)
    other.set_ylim(0, 102)
    axes.set_title(_title(model))
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))


def plot_classes(models: Sequence[Model], classes: Sequence[Class]) -> str:
    """The average precision of each class against the number of its train videos, a panel for each model."""
    rows, videos = _rows(models), np.array([each.train_videos for each in classes], np.float64)
    decades = 0.8, 1.25 * 10 ** np.ceil(np.log10(max(10.0, videos.max(initial=1.0))))

    def draw(figure: Figure) -> None:
        for model, axes in zip(models, _panels(figure, rows), strict=False):
            values = 100 * np.array(model.average_precisions, np.float64)
            shown = ~np.isnan(values) & (videos > 0)
            axes.plot(videos[shown], values[shown], "o", color=OURS, markersize=3, alpha=0.6, markeredgewidth=0)
            axes.set(title=_title(model), xscale="log", xlim=decades, ylim=(-4, 104))
            axes.xaxis.set_minor_formatter(NullFormatter())
        figure.supxlabel("train videos of the class", fontsize=8)
        figure.supylabel("average precision, per cent", fontsize=8)

    title = "Average precision of each class against the number of its train videos"
    return _svg(draw, rows * PANEL_INCHES + 0.3, "classes", title)


def plot_calibration(models: Sequence[Model]) -> str:
    """Reliability diagrams: how often predictions of a score are right, a panel for each model.

    The area of a mark grows with the logarithm of the number of its predictions.
    """
    rows = _rows(models)

    def draw(figure: Figure) -> None:
        for model, axes in zip(models, _panels(figure, rows), strict=False):
            filled = [each for each in model.calibration if each.score is not None]
            sizes = [4 + 6 * np.log10(each.predictions) for each in filled]
            scores, frequencies = ([getattr(each, name) for each in filled] for name in ("score", "frequency"))
            axes.plot([0, 1], [0, 1], ":", color=FAINT, linewidth=1)
            axes.plot(scores, frequencies, "-", color=OURS, linewidth=0.8)
            axes.scatter(scores, frequencies, sizes, color=OURS, linewidths=0)
            axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
            axes.set_title(f"{_title(model)}\nerror {model.calibration_error or 0:.3f}")
        figure.supxlabel("mean score", fontsize=8)
        figure.supylabel("share that is a label", fontsize=8)

    return _svg(draw, rows * (PANEL_INCHES + 0.15) + 0.3, "calibration", "Reliability diagrams")


def _title(model: Model) -> str:
    """The name of a model, on two lines where it is wider than a panel."""
    return textwrap.fill(model.name, TITLE_CHARACTERS)


def _rows(models: Sequence[Model]) -> int:
    return max(1, -(-len(models) // PANELS_A_ROW))


def _panels(figure: Figure, rows: int) -> list[Axes]:
    """The panels row by row; those that nothing is drawn in are hidden."""
    panels: list[Axes] = list(figure.subplots(rows, PANELS_A_ROW, squeeze=False).flat)
    return panels


def _svg(draw: Callable[[Figure], None], height: float, name: str, title: str) -> str:
    """Draws a figure as part of the page, with the page's text colour."""
    with style.context(["default", LOOK, INKS]):
        figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
        draw(figure)
        for axes in figure.axes:
            axes.set_visible(axes.has_data())
        return inline_svg(saved(figure, "svg"), name, title).replace(INK, "currentColor")
