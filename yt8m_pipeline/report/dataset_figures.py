"""The figures of a report, after those of the paper: one style, readable in grey, and the same bytes every time."""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, Locator, LogLocator, MaxNLocator, NullLocator

from yt8m_pipeline.data_model import Int64Array
from yt8m_pipeline.errors import printable
from yt8m_pipeline.report.figures import COLUMN_INCHES, DOTS_PER_INCH, LOOK, Format, saved
from yt8m_pipeline.report.known_datasets import KnownDataset
from yt8m_pipeline.report.sources import SIDES, SourceCounts
from yt8m_pipeline.report.spread import Spread
from yt8m_pipeline.report.statistics import DatasetStatistics
from yt8m_pipeline.report.summaries import rounded
from yt8m_pipeline.report.tables import shown_number
from yt8m_pipeline.report.tag_cloud import HEIGHT, WIDTH, lay_out
from yt8m_pipeline.report.zipf import fit_zipf, zipf_shares

INK, GREY, FILL, ACCENT = "#33475b", "#66788b", "#8fa1b7", "#0b5fa5"
"""The colours of marks, of bars, and of what a figure is about. Their lightness differs, so grey prints tell them."""

TAGS = 200
"""Figure 3 of the paper shows the top 200 entities."""

ROWS = 40
"""At most so many verticals are drawn; the table has them all."""

MOST_BARS = 8
"""At most so many codecs and frame rates are drawn; the tables have them all."""

RANKS = 300
"""At most so many entities are drawn by their ranks, evenly over a logarithmic axis; the table has them all."""

ROW_INCHES, EDGE_INCHES = 0.145, 0.55
"""The height of a row of names, and of what is above and below all rows."""

LONGEST_NAME = 32
"""The characters of a name that a figure shows."""

PLAIN_LOOK: dict[str, Any] = {**LOOK, "text.parse_math": False}
"""Names of strangers are text, and never formulas."""

FONT = str(Path(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))
"""The font of all figures, which matplotlib brings."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure of a report.

    Attributes:
        name: The name of its files.
        title: What stands above it.
        caption: What it shows.
        files: Its bytes in each format.
    """

    name: str
    title: str
    caption: str
    files: Mapping[Format, bytes]


def draw_figures(statistics: DatasetStatistics, known: Sequence[KnownDataset], name: str) -> Iterator[Drawing]:
    """Yields the figures for which the dataset has anything to draw.

    Args:
        statistics: The statistics of the dataset.
        known: The datasets that it stands beside.
        name: The name of the dataset.
    """
    yield _known_datasets(statistics, known, name)
    if statistics.videos_of_entities.any():
        yield _tag_cloud(statistics)
    if statistics.specificities():
        yield _specificity(statistics.specificities())
    if statistics.videos_of_entities.any():
        yield _ranks(statistics.videos_of_entities)
    if statistics.verticals:
        yield _verticals(statistics)
    if statistics.videos.labels_per_video.number:
        yield _labels_per_video(statistics.videos.labels_per_video)
    if statistics.videos.seconds.number or statistics.videos.frames.number:
        yield _lengths(statistics.videos.seconds, statistics.videos.frames)
    if statistics.videos.sources.known:
        yield _files(statistics.videos.sources)
    if statistics.codes.counts.any():
        yield _codes(statistics.codes.counts)


def render(draw: Callable[[Figure], None], width: float, height: float) -> dict[Format, bytes]:
    """Draws a figure as SVG and PNG; sizes in inches. The letters that the font lacks are boxes."""
    with style.context(["default", PLAIN_LOOK]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")
        draw(figure)
        return {form: saved(figure, form) for form in ("svg", "png")}


def shown(name: str) -> str:
    """A name as a figure shows it."""
    text = printable(name)
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"


def _height(rows: int) -> float:
    return EDGE_INCHES + ROW_INCHES * max(rows, 2)


def short_number(value: float, _: int = 0) -> str:
    """A number of an axis.

    >>> short_number(10_000), short_number(2_500_000)
    ('10,000', '2.5 M')
    """
    return f"{value / 1e6:,g} M" if value >= 1e6 else f"{value:,.0f}"


def _plain_numbers(axis: Any) -> None:
    axis.set_major_formatter(FuncFormatter(short_number))


def _whole_numbers(axis: Any) -> None:
    """Gives a linear axis ticks at whole numbers alone."""
    axis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    _plain_numbers(axis)


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Names the rows of a plot, the first one on top."""
    axes.set_yticks(range(len(names)), [shown(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", left=False)


def _log_axes(axes: Axes, *, x: str, y: str = "") -> None:
    """Makes the x axis logarithmic, and the y axis if it has a label; ticks are numbers as people write them."""
    axes.set(xscale="log", xlabel=x, **({"yscale": "log", "ylabel": y} if y else {}))
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim()))[: 2 if y else 1]:
        axis.set_major_locator(_log_ticks(high / low))
        axis.set_minor_locator(NullLocator())
        _plain_numbers(axis)


def _log_ticks(ratio: float) -> Locator:
    """Where the ticks of a logarithmic axis stand, by the ratio of its ends."""
    if ratio < 10:
        return MaxNLocator(4, integer=True)
    return LogLocator(10, subs=(1,) if ratio >= 1000 else (1, 2, 5), numticks=8)


def _known_datasets(statistics: DatasetStatistics, known: Sequence[KnownDataset], name: str) -> Drawing:
    """Figure 2: a row for each dataset, by year."""
    ordered = sorted(known, key=lambda dataset: (dataset.year, dataset.name))
    own = KnownDataset(name, 0, "videos", len(statistics.entities), statistics.videos.frames.number, "")
    rows = [*ordered, own]

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, sharey=True)
        _name_rows(left, [*(f"{shown(row.name)} ({row.year})" for row in ordered), shown(name)])
        for axes, label in ((left, "images or videos"), (right, "classes")):
            numbers = [row.examples if axes is left else row.classes for row in rows]
            for place, (row, number) in enumerate(zip(rows, numbers, strict=True)):
                if number:
                    face = ACCENT if row is own else INK if row.kind == "videos" else "white"
                    edge, marker = (ACCENT, "D") if row is own else (INK, "o" if row.kind == "videos" else "s")
                    axes.plot(number, place, marker, color=edge, markerfacecolor=face, markersize=4, clip_on=False)
            _log_axes(axes, x=label)
            axes.grid(axis="y", color=FILL, linewidth=0.3, linestyle=":")
        right.tick_params(axis="y", left=False)

    caption = (
        "Round: datasets of videos; hollow and square: of images; diamond: this dataset. Both axes are logarithmic."
    )
    files = render(draw, 2 * COLUMN_INCHES, _height(len(rows)))
    return Drawing("figure_2_known_datasets", "Figure 2: this dataset among known ones", caption, files)


def _tag_cloud(statistics: DatasetStatistics) -> Drawing:
    """Figure 3: the names of the most frequent entities, sized by the number of their videos."""
    counts, numbers = statistics.videos_of_entities, dict[str, int]()
    top = [index for index in statistics.by_videos()[:TAGS] if counts[index]]
    for index in top:
        text = shown(statistics.entities[index].name)
        numbers[text] = numbers.get(text, 0) + int(counts[index])
    words, points = lay_out(numbers, FONT), 2 * COLUMN_INCHES * 72 / WIDTH

    def draw(figure: Figure) -> None:
        figure.set_layout_engine("none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0), aspect="equal")
        axes.set_axis_off()
        for place, word in enumerate(words):
            colour = (ACCENT, INK, GREY)[place % 3]
            axes.text(word.left, word.baseline, word.text, size=word.size * points, color=colour, va="baseline")

    caption = (
        f"The size of a name is proportional to the number of its videos. Of the top {len(top)} entities, "
        f"{len(words)} are large enough to be read."
    )
    files = render(draw, 2 * COLUMN_INCHES, 2 * COLUMN_INCHES * HEIGHT / WIDTH)
    return Drawing("figure_3_tag_cloud", f"Figure 3: the top {len(top)} entities", caption, files)


def _specificity(counts: Mapping[str, int]) -> Drawing:
    """Figure 4b: how specific the entities are."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        bars = axes.bar(list(counts), list(counts.values()), width=0.6, color=FILL)
        axes.bar_label(bars, fmt="{:,.0f}", fontsize=6)
        axes.set(ylabel="entities", yticks=[])

    caption = "Entities by equal ranges of the mean score of their raters."
    files = render(draw, COLUMN_INCHES, 2)
    return Drawing("figure_4b_specificity", "Figure 4b: specificity of the entities", caption, files)


def _ranks(counts: Int64Array) -> Drawing:
    """Figure 5: videos by the rank of the entity, with the Zipf distribution that fits best."""
    ranked = np.sort(counts[counts > 0])[::-1]
    ranks, exponent = np.arange(1, len(ranked) + 1), fit_zipf(counts)
    drawn = np.unique(np.geomspace(1, len(ranked), RANKS).round().astype(int)) - 1

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot(ranks[drawn], ranked[drawn], ".", color=FILL, markersize=5, label="entities")
        if exponent is not None:
            fitted = zipf_shares(exponent, len(ranked)) * ranked.sum()
            axes.plot(
                ranks[drawn], fitted[drawn], "--", color=INK, linewidth=0.9, label=f"Zipf, exponent {exponent:.3g}"
            )
            axes.legend()
        _log_axes(axes, x="rank of the entity", y="videos")

    fit = "" if exponent is None else f" The line is the Zipf distribution of greatest likelihood, {exponent:.3g}."
    caption = f"Entities by the number of their videos; both axes are logarithmic.{fit}"
    files = render(draw, COLUMN_INCHES, 2.4)
    return Drawing("figure_5_videos_by_rank", "Figure 5: videos by rank of the entity", caption, files)


def _verticals(statistics: DatasetStatistics) -> Drawing:
    """Figure 6: entities and train videos of each vertical."""
    entities = {name: len(found) for name, found in statistics.entities_of_verticals().items()}
    videos = dict(zip(statistics.verticals, map(int, statistics.videos.verticals), strict=True))
    names = sorted(videos, key=lambda name: (-videos[name], name))[:ROWS]

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, sharey=True)
        _name_rows(left, names)
        left.barh(range(len(names)), [entities[name] for name in names], height=0.65, color=FILL)
        _whole_numbers(left.xaxis)
        left.set_xlabel("entities")
        drawn = [(place, videos[name]) for place, name in enumerate(names) if videos[name]]
        if drawn:
            right.barh(*zip(*drawn, strict=True), height=0.65, color=INK)
            right.set_xlim(0.8, 1.2 * max(videos.values()))
            _log_axes(right, x="train videos")
        right.tick_params(axis="y", left=False)

    rest = f" The first {ROWS} of {len(videos)}." if len(videos) > ROWS else ""
    caption = f"Left: entities; right: train videos, on a logarithmic axis.{rest}"
    files = render(draw, 2 * COLUMN_INCHES, _height(len(names)))
    return Drawing("figure_6_verticals", "Figure 6: entities and train videos of each vertical", caption, files)


def _labels_per_video(spread: Spread) -> Drawing:
    counts = spread.counts.sum(axis=0)
    last = int(np.flatnonzero(counts)[-1])

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.bar(range(last + 1), counts[: last + 1], width=0.7, color=FILL)
        axes.set(xlabel="labels", ylabel="videos")
        _whole_numbers(axes.xaxis)
        _whole_numbers(axes.yaxis)

    caption = f"Labels per video: {spread.mean:.3g} on average, in YouTube-8M 1.8."
    return Drawing("labels_per_video", "Labels per video", caption, render(draw, COLUMN_INCHES, 2))


def _lengths(seconds: Spread, frames: Spread) -> Drawing:
    """Durations where they are known, else numbers of frames."""
    spread, unit = (seconds, "seconds") if seconds.number else (frames, "frames")
    counts = spread.counts.sum(axis=0)
    last = int(np.flatnonzero(counts)[-1])
    width = max(1, -(-(last + 1) // 60))
    edges = np.arange(0, last + 1 + width, width)
    heights = np.add.reduceat(counts, edges[:-1])

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.stairs(heights, edges, fill=True, color=FILL)
        axes.set(xlabel=unit, ylabel="videos")
        _whole_numbers(axes.xaxis)
        _whole_numbers(axes.yaxis)

    caption = f"Videos by {unit}: {shown_number(rounded(spread.mean))} on average, in YouTube-8M 229.6 seconds."
    return Drawing("lengths", "Lengths of the videos", caption, render(draw, COLUMN_INCHES, 2))


def _files(sources: SourceCounts) -> Drawing:
    """The codecs, picture sizes and frame rates of the videos' files, side by side."""
    codecs = Counter[str]()
    for (_, codec), totals in sources.kinds.items():
        codecs[codec] += totals.videos
    sides, rates = sources.sides.sum(axis=0), sources.rates.sum(axis=0)
    frequent = sorted(rate for rate in np.argsort(-rates)[:MOST_BARS] if rates[rate])
    panels = {
        "codec": codecs.most_common(MOST_BARS),
        "smaller side, pixels": [(f"{(0, *SIDES)[place]} +", int(sides[place])) for place in np.flatnonzero(sides)],
        "frames per second": [(str(rate), int(rates[rate])) for rate in frequent],
    }

    def draw(figure: Figure) -> None:
        for axes, (label, bars) in zip(figure.subplots(1, 3), panels.items(), strict=True):
            axes.barh(range(len(bars)), [videos for _, videos in bars], height=0.65, color=FILL)
            _name_rows(axes, [name for name, _ in bars])
            axes.set(xlabel="videos", title=label)
            _whole_numbers(axes.xaxis)

    caption = f"The files of {sources.known:,} videos. At most {MOST_BARS} codecs and frame rates are drawn."
    files = render(draw, 2 * COLUMN_INCHES, _height(max(map(len, panels.values()))) + EDGE_INCHES / 2)
    return Drawing("files", "Codecs, picture sizes and frame rates", caption, files)


def _codes(counts: Int64Array) -> Drawing:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.stairs(100 * counts / counts.sum(), np.arange(len(counts) + 1) - 0.5, fill=True, color=FILL)
        axes.set(xlabel="code", ylabel="% of coefficients")

    caption = "How often each code of the codebook is used, over a sample of frames."
    return Drawing("codes", "Use of the codebook", caption, render(draw, COLUMN_INCHES, 2))
