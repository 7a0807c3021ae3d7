"""The number of the store's format, which stands in each of its files, and what a version does with other numbers.

The files of features, durations and thumbnails, the records of failures, the indices and `space.json` all carry one
number, `FORMAT`. These rules hold for all later versions of this package:

- A file without a number was written by version 0.1.0, before there were numbers. It is of format 1.
- A file of any earlier format is read. `tests/golden_formats` has a store of every released version.
- A file of a later format is sound. It is refused with the advice to upgrade, and never extracted again or removed.
- A field that this version does not know is skipped, but an index with such fields is not used: its files are read. A
  version may add fields without raising `FORMAT` if earlier versions can do without them.
- The seal of each kind of file stays as it is in all formats, so that damage can be told from a later format.

There is one number for all kinds because the indices vouch for other files. A version that does not know the format of
an index reads the files themselves, and so meets those of a later format.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from yt8m_pipeline.errors import PipelineError

FORMAT = 1
"""The format that this version writes, and the latest one that it reads."""

KEY = "format"
"""The key of the number in a JSON object."""

T = TypeVar("T")


class NewerFormatError(PipelineError):
    """A sound file of the store that a later version wrote. It is no `DataError`, because no data fell short."""

    @classmethod
    def at(cls, uri: str, why: str) -> "NewerFormatError":
        """Makes the error of a file.

        Args:
            uri: The place of the file.
            why: What in it is unknown to this version.
        """
        what, fix = "A stored file was written by a later version", "upgrade yt8m_pipeline on this machine"
        return cls(what=what, where=uri, why=why, fix=fix)


def require_readable(uri: str, values: Mapping[str, Any]) -> None:
    """Refuses a file of a later format.

    Args:
        uri: The place of the file.
        values: The JSON object in the file that carries the number.

    Raises:
        NewerFormatError: if the file is of a later format than `FORMAT`.

    >>> require_readable("index.jsonl", {"format": 1})
    >>> require_readable("space.json", {})
    """
    found = values.get(KEY, 1)
    if found > FORMAT:
        raise NewerFormatError.at(uri, f"it is of format {found}; this version reads formats up to {FORMAT}")


def known_fields(kind: type[T], values: Mapping[str, Any]) -> T:
    """Makes a dataclass of those values whose keys are its fields.

    Raises:
        TypeError: if a field is missing.
    """
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in values.items() if name in names})
