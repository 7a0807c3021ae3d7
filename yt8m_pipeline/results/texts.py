"""How figures and names are written in every format of the page."""

import re
from collections.abc import Iterator, Sequence

from yt8m_pipeline.errors import printable
from yt8m_pipeline.results.facts import Measured, Row, Table

METRICS = {"map": "mAP", "hit@1": "Hit@1", "hit@5": "Hit@5", "perr": "PERR", "gap": "GAP@20"}
"""The metrics by their short names, as the page calls them."""

NOTHING = "–"
"""What stands where there is no figure."""

MAX_NAME = 120
"""The most characters of a name that a page shows: more than a title of a video has (100 at YouTube)."""


def name(text: str) -> str:
    r"""A name or id of a stranger, as it may be shown: without control characters, and not longer than a line or two.

    >>> name("dog\n\x1b[2J")
    'dog\\n\\x1b[2J'
    """
    shown = printable(text)
    return shown if len(shown) <= MAX_NAME else f"{shown[: MAX_NAME - 1]}…"


def per_cent(value: float | None, *, signed: bool = False) -> str:
    """A share in per cent, or a difference in percentage points, with one digit.

    >>> per_cent(0.6271), per_cent(-0.0041, signed=True), per_cent(None)
    ('62.7', '−0.4', '–')
    """
    if value is None:
        return NOTHING
    text = f"{100 * value:{'+' if signed else ''}.1f}"
    return ("0.0" if float(text) == 0 else text).replace("-", "−")


def with_interval(figure: Measured | None, *, signed: bool = False) -> str:
    """A figure with its interval.

    >>> with_interval(Measured(0.627, 0.5512, 0.7))
    '62.7 [55.1, 70.0]'
    """
    if figure is None or figure.value is None:
        return NOTHING
    ends = [per_cent(end, signed=signed) for end in (figure.low, figure.high) if end is not None]
    return per_cent(figure.value, signed=signed) + (f" [{', '.join(ends)}]" if ends else "")


def heads(table: Table) -> list[str]:
    """The heads of all columns."""
    ours = [METRICS[metric] for metric in table.metrics]
    return [*table.heads, *ours, *(f"Paper, {paper}: {METRICS[metric]}" for paper, metric in columns_of_papers(table))]


def columns_of_papers(table: Table) -> Iterator[tuple[str, str]]:
    """The columns with figures of the paper: what they are of, and the metric. One without any figure is left out."""
    for place, paper in enumerate(table.papers):
        for metric in table.metrics:
            if any(metric in row.papers[place] for row in table.rows):
                yield paper, metric


def figures(table: Table, row: Row) -> list[str]:
    """The texts of all columns behind the first ones."""
    ours = [with_interval(row.values.get(metric), signed=table.is_difference) for metric in table.metrics]
    papers = [per_cent(row.papers[table.papers.index(paper)].get(metric)) for paper, metric in columns_of_papers(table)]
    return ours + papers


def reasons(table: Table) -> list[str]:
    """Why rows have no figures, one sentence for each row."""
    return [f"{' · '.join(row.labels)}: {row.why}" for row in table.rows if row.why]


def seconds(value: float | None) -> str:
    """A time as a person reads it.

    >>> seconds(3.21), seconds(4000.0), seconds(None)
    ('3.2 s', '1 h 7 min', '–')
    """
    if value is None:
        return NOTHING
    if value < 100:
        return f"{value:.1f} s"
    minutes = round(value / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def escaped_for_markdown(text: str) -> str:
    r"""A text in which no sign has a meaning in Markdown, nor in the HTML that Markdown may hold.

    >>> print(escaped_for_markdown("a|b <i> [x](y)"))
    a\|b \<i\> \[x\]\(y\)
    """
    return re.sub(r"([\\`*_{}\[\]()<>#+!|~&$@:-])", r"\\\1", printable(text))


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells in Markdown: texts of strangers are escaped before."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
