"""The page as results.json, results.csv and results.md."""

import csv
import io
import json
from collections.abc import Iterator, Sequence

from yt8m_pipeline.dataset.typed_json import to_json
from yt8m_pipeline.results.facts import Facts, Looked, Table
from yt8m_pipeline.results.texts import (
    escaped_for_markdown,
    figures,
    heads,
    markdown_table,
    name,
    per_cent,
    reasons,
    seconds,
)

CSV_COLUMNS = ("table", "model", "row", "source", "metric", "value", "low", "high")

OURS = "ours"
"""The value of the column `source` of figures that are not the paper's."""


def as_json(facts: Facts) -> bytes:
    """All facts, which `dataset.typed_json.from_json` reads again."""
    return (json.dumps(to_json(facts), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def as_csv(facts: Facts) -> bytes:
    """The figures of all tables, one a line: shares in [0, 1]. No text of a stranger is in it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for table in facts.tables:
        writer.writerows(_lines(table))
    return text.getvalue().encode()


def _lines(table: Table) -> Iterator[Sequence[object]]:
    for row in table.rows:
        begin = (table.name, row.model, " · ".join(row.labels))
        for metric, figure in row.values.items():
            yield *begin, OURS, metric, *(_number(value) for value in (figure.value, figure.low, figure.high))
        for paper, values in zip(table.papers, row.papers, strict=True):
            for metric, value in values.items():
                yield *begin, paper, metric, _number(value), "", ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def as_markdown(facts: Facts) -> bytes:
    """The tables, warnings and examples."""
    blocks = [f"# Results of {_shown(facts.dataset)}\n", _of_what(facts)]
    blocks += [f"- **Warning.** {escaped_for_markdown(warning)}\n" for warning in facts.warnings]
    blocks += [_table(table) for table in facts.tables]
    if facts.best:
        blocks += [
            _confusions(facts),
            _looked("Right, and surest", facts.right),
            _looked("Wrong, and surest", facts.wrong),
        ]
    return "\n".join([*blocks, _made(facts)]).encode()


def _shown(text: str) -> str:
    return escaped_for_markdown(name(text))


def _of_what(facts: Facts) -> str:
    videos = ", ".join(f"{number:,} {partition}" for partition, number in facts.videos.items())
    return (
        f"{videos} videos, {len(facts.classes):,} classes. Figures are per cent on {facts.partition}, with 95 % "
        f"intervals of {facts.samples} bootstrap samples of its videos.\n"
    )


def _table(table: Table) -> str:
    rows = [[*row.labels, *figures(table, row)] for row in table.rows]
    why = "".join(f"\n- {escaped_for_markdown(reason)}" for reason in reasons(table))
    return f"## {table.title}\n\n{table.note}\n\n{markdown_table(heads(table), rows)}{why}\n"


def _confusions(facts: Facts) -> str:
    rows = [[_shown(pair.label), _shown(pair.predicted), f"{pair.videos}"] for pair in facts.confusions]
    table = markdown_table(["True class", "Predicted in its place", "Videos"], rows) if rows else "None.\n"
    return f"## Most confused classes of {facts.best}\n\n{table}"


def _looked(title: str, videos: Sequence[Looked]) -> str:
    rows = [
        [
            _shown(video.video_id),
            ", ".join(map(_shown, video.labels)),
            ", ".join(f"{_shown(guess.name)} {per_cent(guess.score)}" for guess in video.guesses),
        ]
        for video in videos
    ]
    table = markdown_table(["Video", "Labels", "Best predictions, score in per cent"], rows) if rows else "None.\n"
    return f"## {title}\n\n{table}"


def _made(facts: Facts) -> str:
    rows = [[part, seconds(value)] for part, value in facts.seconds.items()]
    versions = ", ".join(f"{program} {version}" for program, version in facts.versions.items())
    lines = [
        escaped_for_markdown(facts.command),
        escaped_for_markdown(versions),
        markdown_table(["Part", "Time"], rows),
    ]
    return "## How it was made\n\n" + "\n\n".join(lines)
