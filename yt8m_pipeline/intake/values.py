"""The cells of annotation files as texts and numbers. What is no number is None: it is never guessed."""

import math
import re
from typing import Any

from yt8m_pipeline.tables.cells import POINT_ZERO


def text(value: Any) -> str:
    """A cell as a text in one line; "" for a missing one, or one whose bytes are no text.

    >>> text(" air  drumming\\n"), text(None), text(3.0)
    ('air drumming', '', '3')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    line = " ".join(str(value).split())
    return line if _is_text(line) else ""


def identifier(value: Any) -> str:
    """A cell as an id, which is the same as the tables read it: pandas writes 12 as 12.0 where its column has gaps.

    >>> identifier("12.0"), identifier(12), identifier("1.5")
    ('12', '12', '1.5')
    """
    return re.sub(POINT_ZERO, r"\1", text(value))


def _is_text(line: str) -> bool:
    try:
        line.encode()
    except UnicodeEncodeError:
        return False
    return True


def number(value: Any) -> float | None:
    """A cell as a finite number; None where it is none.

    >>> number("11.90"), number(7), number("n/a"), number("nan")
    (11.9, 7.0, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        result = float(value)
    except (OverflowError, ValueError):
        return None
    return result if math.isfinite(result) else None
