"""The cells of annotation files as texts and numbers. What is no number is None: it is never guessed."""

import math
from typing import Any


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
