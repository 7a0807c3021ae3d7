"""Where a video comes from, as the page tells it: a link where a browser may follow one, and plain text elsewhere."""

import os
import re
from dataclasses import dataclass
from typing import TypedDict
from urllib.parse import quote

from yt8m_pipeline import files

WEB = re.compile(r"https?://[^\s\\]+", re.IGNORECASE)
"""The uris that are links: those of the web, without whitespace, which would end them."""


class Source(TypedDict, total=False):
    """What the page gets of a uri: the text, and what a link goes to where there is one."""

    text: str
    href: str


@dataclass(frozen=True, slots=True)
class Sources:
    """How the uris of a dataset become links of a site.

    >>> sources = Sources(output="site", root="corpus")
    >>> sources.of("videos/a b.mp4")
    {'text': 'videos/a b.mp4', 'href': '../corpus/videos/a%20b.mp4'}
    >>> sources.of("gs://bucket/a.mp4"), sources.of("javascript:alert(1)")["href"]
    ({'text': 'gs://bucket/a.mp4'}, '../corpus/javascript%3Aalert%281%29')

    Attributes:
        output: The folder of the site. Local videos are linked relative to it, so that both can be moved together.
        root: What relative uris are relative to: a local folder, or a uri; None where that is not known.
    """

    output: str
    root: str | None

    def of(self, uri: str) -> Source:
        """What the page gets of one uri."""
        href = self._href(self._place(uri))
        return {"text": uri, "href": href} if href else {"text": uri}

    def _place(self, uri: str) -> str:
        """Where a video is: an absolute uri, or a path below the root, which is quoted where the root is of the web."""
        if self.root is None or "://" in uri or uri.startswith("/"):
            return uri
        return f"{self.root.rstrip('/')}/{quote(uri) if WEB.fullmatch(self.root) else uri}"

    def _href(self, place: str) -> str | None:
        if WEB.fullmatch(place):
            return place
        is_known = place.startswith("/") or self.root is not None
        if "://" in place or not is_known or not files.is_local(self.output) or "\0" in place:
            return None
        path = os.path.relpath(os.path.abspath(place), files.resolve(self.output)[1])
        return quote(path if path.startswith("..") else f"./{path}", safe="/")
