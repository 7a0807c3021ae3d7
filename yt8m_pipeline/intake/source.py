"""A kind of source: how it is recognized among the documents that were found, and how it is read."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from yt8m_pipeline.intake.documents import Document
from yt8m_pipeline.intake.options import Options
from yt8m_pipeline.intake.understood import Reading

NEVER = re.compile(r"(?!)")
"""The names in a folder of a source whose files must be given by name."""


class Source(NamedTuple):
    """One kind of annotation files.

    Attributes:
        kind: Its name, as it is shown.
        names: What its files are called. Of the files in a folder, only those are looked into.
        recognizes: Whether a document is one of its files, by what is in it.
        read: Reads its files, given also the other documents, which may say what its classes are called.
    """

    kind: str
    names: re.Pattern[str]
    recognizes: Callable[[Document], bool]
    read: Callable[[Sequence[Document], Sequence[Document], Options], Reading]

    def of(self, documents: Sequence[Document]) -> list[Document]:
        """The documents of this kind."""
        candidates = [item for item in documents if item.is_given or self.names.match(item.base_name)]
        return [item for item in candidates if self.recognizes(item)]


def companion(documents: Sequence[Document], *names: str) -> Document | None:
    """The document with one of these names, which says what the classes of a source are called."""
    return next((item for item in documents if item.base_name in names), None)
