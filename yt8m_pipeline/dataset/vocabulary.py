"""The rows of a vocabulary.csv."""

import csv
import io

MAX_FIELD = 1 << 20
"""The most characters of a field: a row of the entities table, whose description may fill it, is read up to a MiB.
Python's own limit, which is one for the whole process, is 131,072."""

csv.field_size_limit(max(csv.field_size_limit(), MAX_FIELD))


def vocabulary_rows(data: bytes) -> "csv.DictReader[str]":
    r"""Reads the bytes of a vocabulary.csv: a row for each class, in the order of the label indices.

    >>> list(vocabulary_rows(b"Index,Name\n0,Cat\n"))
    [{'Index': '0', 'Name': 'Cat'}]

    Raises:
        UnicodeDecodeError: at once, they are no UTF-8.
        csv.Error: while reading, they are no CSV.
    """
    return csv.DictReader(io.StringIO(data.decode(), newline=""))
