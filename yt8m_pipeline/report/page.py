"""The page of a report: one HTML file that asks nobody for anything. Every text in it is escaped, as hostile text."""

import base64
import hashlib
import re
from collections.abc import Sequence
from html import escape
from xml.etree import ElementTree as ET

from yt8m_pipeline.errors import printable
from yt8m_pipeline.report.dataset_figures import Drawing
from yt8m_pipeline.report.tables import NOT_RECORDED, UNRECORDED, Cell, Table, shown_number

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"

ENLARGED = 1.35
"""A figure is larger on the page than in a paper, so that its letters of 7 points can be read on a screen."""

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
th { color: var(--soft); font-weight: 600 } .number { text-align: right }
figure { margin: .5rem 0 } figure svg { height: auto; max-width: 100%; background: #fff; padding: .5rem;
  border: 1px solid var(--line) }
""".strip()

POLICY = "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'"
"""The content security policy: no script, no request, and the one style sheet of the page (CSP Level 3, §6)."""


def page(title: str, facts: str, drawings: Sequence[Drawing], tables: Sequence[Table]) -> bytes:
    """The page.

    Args:
        title: The name of the dataset.
        facts: What the dataset is, in a line.
        drawings: The figures, whose files are in the folder `figures` beside the page.
        tables: The tables, whose files are in the folder `tables` beside it.
    """
    digest = base64.b64encode(hashlib.sha256(LOOK.encode()).digest()).decode()
    parts = [(f"figure-{drawing.name}", drawing.title, _figure(drawing)) for drawing in drawings]
    first, *rest = [(f"table-{table.name}", table.title, _table(table)) for table in tables]
    sections = [first, *parts, *rest, ("not-recorded", "Not recorded", _unrecorded())]
    links = "".join(f'<a href="#{_text(name)}">{_text(heading)}</a>' for name, heading, _ in sections)
    body = "".join(
        f'<section id="{_text(name)}"><h2>{_text(heading)}</h2>{content}</section>\n'
        for name, heading, content in sections
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY.format(digest)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{_text(title)}: report</title>\n<style>{LOOK}</style>\n</head>\n<body>\n"
        f'<h1>{_text(title)}</h1>\n<p class="note">{_text(facts)}</p>\n<nav aria-label="Contents">{links}</nav>\n'
        f"<main>\n{body}</main>\n</body>\n</html>\n"
    ).encode()


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
    return "" if cell is None or isinstance(cell, str) else ' class="number"'


def _unrecorded() -> str:
    items = "".join(f"<li>{_text(name)}: {NOT_RECORDED}</li>" for name in UNRECORDED)
    return f"<ul>{items}</ul>"


# A figure within a page -----------------------------------------------------------------------------------------------


def inline_svg(data: bytes, name: str, title: str) -> str:
    """An SVG of matplotlib as part of a page: without style sheets, which a strict policy refuses, and with ids of its
    own, since those of two figures may be the same.

    Args:
        data: The file.
        name: What the ids begin with.
        title: What the picture is, for readers of the screen.
    """
    root = ET.fromstring(data)  # noqa: S314  our own file
    for unwanted in ("metadata", "title"):
        for child in root.findall(f"{{{SVG}}}{unwanted}"):
            root.remove(child)
    for parent in list(root.iter()):
        for child in parent.findall(f"{{{SVG}}}style"):
            parent.remove(child)
    for element in root.iter():
        _make_own(element, name)
    root.attrib["width"] = f"{ENLARGED * float(root.attrib['width'].removesuffix('pt')):.0f}pt"
    del root.attrib["height"]
    root.attrib |= {"role": "img", "aria-label": printable(title), "stroke-linejoin": "round", "stroke-linecap": "butt"}
    ET.register_namespace("", SVG)
    ET.register_namespace("xlink", XLINK)
    return ET.tostring(root, encoding="unicode")


def _make_own(element: ET.Element, name: str) -> None:
    """Turns the style of an element into attributes, and makes its ids and references those of this figure."""
    for declaration in filter(None, (part.strip() for part in element.attrib.pop("style", "").split(";"))):
        key, _, value = declaration.partition(":")
        element.set(key.strip(), value.strip())
    for key, value in element.attrib.items():
        if key == "id":
            element.set(key, f"{name}-{value}")
        elif key == f"{{{XLINK}}}href":
            element.set(key, f"#{name}-{value.removeprefix('#')}")
        elif "url(#" in value:
            element.set(key, re.sub(r"url\(#", f"url(#{name}-", value))
