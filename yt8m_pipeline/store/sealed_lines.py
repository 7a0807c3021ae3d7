"""JSON Lines under a seal: the format of the files of a store that save work and may be lost.

The first line is an object with the number of the format (`formats`), which version 0.1.0 did not write. The last line
is the seal: an object with the SHA-256 of all lines before it, and what else the writer puts there. Each line between
them is a row.

>>> data = seal_lines([["a", 1]], {"space": "s"})
>>> open_lines("index.jsonl", data, {"space": "s"})
[['a', 1]]
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from yt8m_pipeline.parsing import parse_json
from yt8m_pipeline.store.formats import FORMAT, KEY, require_readable


def seal_lines(rows: Iterable[Any], facts: Mapping[str, Any]) -> bytes:
    """Makes the bytes of a file.

    Args:
        rows: Values that JSON knows.
        facts: What the seal says beside the SHA-256.
    """
    body = "".join(f"{json.dumps(line)}\n" for line in ({KEY: FORMAT}, *rows)).encode()
    return body + json.dumps(_seal(body, facts)).encode() + b"\n"


def open_lines(uri: str, data: bytes, facts: Mapping[str, Any]) -> list[Any]:
    """Reads the rows of a file.

    Args:
        uri: The place of the file, which an error names.
        data: Its bytes.
        facts: What its seal must say beside the SHA-256.

    Raises:
        IndexError, TypeError, ValueError: if it is not what was written, or its seal says something else.
        NewerFormatError: if a later version wrote the file.
    """
    lines = data.splitlines()
    body = b"".join(line + b"\n" for line in lines[:-1])
    if parse_json(lines[-1]) != _seal(body, facts):
        raise ValueError(f"it is not what was written for {', '.join(map(str, facts.values()))}")
    rows = parse_json(b"[%b]" % b",".join(lines[:-1]))
    if rows and isinstance(rows[0], dict):
        require_readable(uri, rows.pop(0))
    return list(rows)


def _seal(body: bytes, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {**facts, "sha256": hashlib.sha256(body).hexdigest()}
