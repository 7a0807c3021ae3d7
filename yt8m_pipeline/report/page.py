"""The page of a report: one HTML file that asks nobody for anything. Every text in it is escaped, as hostile text."""

from collections.abc import Sequence
from html import escape
from typing import TypeAlias

from yt8m_pipeline.errors import printable
from yt8m_pipeline.report.dataset_figures import Drawing
from yt8m_pipeline.report.html_page import document, inline_svg
from yt8m_pipeline.report.tables import Cell, Table, shown_number

Section: TypeAlias = tuple[str, str, str]
"""A part of the page: its id, its heading and its content."""

LONG = 60
"""A cell of more letters is so wide that it does not make its row high where the page is narrow."""

LOOK = """
:root { color-scheme: light dark; --ink: #1d2733; --soft: #5b6b7b; --paper: #fff; --line: #d7dee6; --link: #0b5fa5 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6ebf0; --soft: #9fb0c0; --paper: #12181f; --line: #33404d; --link: #7db8ec }
}
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 62rem; padding: 1rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.6rem; line-height: 1.2 } h2 { font-size: 1.2rem; margin: 2.5rem 0 .3rem }
a { color: var(--link) }
p { margin: .3rem 0 } .note, figcaption, nav { color: var(--soft); font-size: .9rem }
nav a { margin-right: .8rem; display: inline-block }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; overflow-wrap: normal }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top }
th { color: var(--soft); font-weight: 600 } .number { text-align: right } .long { min-width: 20rem }
figure { margin: .5rem 0 } figure svg { height: auto; max-width: 100%; background: #fff; padding: .5rem;
  border: 1px solid var(--line) }
""".strip()


def page(title: str, facts: str, drawings: Sequence[Drawing], tables: Sequence[Table]) -> bytes:
    """The page.

    Args:
        title: The name of the dataset.
        facts: What the dataset is, in a line.
        drawings: The figures, whose files are in the folder `figures` beside the page.
        tables: The tables, whose files are in the folder `tables` beside it.
    """
    parts = [(f"figure-{drawing.name}", drawing.title, _figure(drawing)) for drawing in drawings]
    first, *rest = [(f"table-{table.name}", table.title, _table(table)) for table in tables]
    sections = [first, *parts, *rest]
    links = _links("Figures", parts) + _links("Tables", [first, *rest])
    body = "".join(
        f'<section id="{_text(name)}"><h2>{_text(heading)}</h2>{content}</section>\n'
        for name, heading, content in sections
    )
    return document(
        f"{_text(title)}: report",
        LOOK,
        f'<h1>{_text(title)}</h1>\n<p class="note">{_text(facts)}</p>\n<nav aria-label="Contents">{links}</nav>\n'
        f"<main>\n{body}</main>",
    )


def _links(kind: str, sections: Sequence[Section]) -> str:
    links = "".join(f'<a href="#{_text(name)}">{_text(heading)}</a>' for name, heading, _ in sections)
    return f"<p>{kind}: {links}</p>" if sections else ""


def _text(value: str) -> str:
    return escape(printable(value), quote=True)


def _files(folder: str, name: str, endings: Sequence[str]) -> str:
    links = (f'<a href="{folder}/{_text(name)}.{ending}">{ending.upper()}</a>' for ending in endings)
    return " · ".join(links)


def _figure(drawing: Drawing) -> str:
    caption = f"{_text(drawing.caption)} {_files('figures', drawing.name, ('svg', 'png'))}"
    picture = inline_svg(drawing.files["svg"], drawing.name, f"{drawing.title}. {drawing.caption}")
    return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"


def _table(table: Table) -> str:
    note = f'<p class="note">{_text(table.note)} {_files("tables", table.name, ("csv", "json"))}</p>'
    if not table.rows:
        return f"{note}<p>None.</p>"
    heads = "".join(f'<th scope="col"{_kind(cell)}>{_text(name)}</th>' for name, cell in table.rows[0].items())
    rows = "".join(f"<tr>{''.join(map(_cell, row.values()))}</tr>\n" for row in table.rows[: table.shown])
    rest = len(table.rows) - table.shown
    more = f'<p class="note">{rest:,} more are in the files.</p>' if rest > 0 else ""
    return f'{note}<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>\n{rows}</tbody></table></div>{more}'


def _cell(cell: Cell) -> str:
    return f"<td{_kind(cell)}>{_text(cell) if isinstance(cell, str) else shown_number(cell)}</td>"


def _kind(cell: Cell) -> str:
    if isinstance(cell, str):
        return ' class="long"' if len(cell) > LONG else ""
    return "" if cell is None else ' class="number"'
