"""The frame of a page that is one HTML file and asks nobody for anything, and figures within it."""

import base64
import hashlib
import re
from xml.etree import ElementTree as ET

from yt8m_pipeline.errors import printable

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"

ENLARGED = 1.35
"""A figure is larger on the page than in a paper, so that its letters of 7 points can be read on a screen."""

POLICY = "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'"
"""The content security policy: no script, no request, and the one style sheet of the page (CSP Level 3, §6)."""


def document(title: str, style: str, body: str) -> bytes:
    """The page, as UTF-8.

    Args:
        title: Its title, escaped.
        style: Its one style sheet. No element may have a style of its own, which the policy would refuse.
        body: What it shows, as HTML in which every text is escaped.
    """
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY.format(digest)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{title}</title>\n<style>{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    ).encode()


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
