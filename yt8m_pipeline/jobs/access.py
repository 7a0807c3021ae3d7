"""Whether the places of a config can be read and written, and as whom, found out before a build starts."""

import os
from collections.abc import Callable
from multiprocessing.pool import ThreadPool
from typing import NamedTuple
from uuid import uuid4

from pyarrow import ArrowException

from yt8m_pipeline import buckets, files
from yt8m_pipeline.config import Config
from yt8m_pipeline.errors import DataError, PipelineError

SECONDS = 6.0
"""All places answer within this time, or count as out of reach: with its start, `yt8m config check` answers in 10 s."""


class Place(NamedTuple):
    """A place of a config, by the field that names it.

    Attributes:
        field: The field.
        uri: The folder or file.
        is_written: Whether a build writes there.
    """

    field: str
    uri: str
    is_written: bool


def places(config: Config) -> list[Place]:
    """The places of a config. A model that is fetched from elsewhere, or that has no file, is none."""
    source = str(next(iter(config.inception.model.model_dump().values())))
    model = [Place("inception.model", source, False)] if files.is_object(source) else []
    tables = Place("tables.root", config.tables.root, False)
    return [tables, *model, Place("store", config.store, True), Place("output", config.output, True)]


def check_access(config: Config) -> list[str]:
    """Tries every place of a config, all at once.

    Returns:
        A line for each place: what can be done there, and as whom.

    Raises:
        DataError: a place cannot be read or written, or does not answer in time.
    """
    named = places(config)
    with ThreadPool(len(named)) as pool:
        found = list(zip(named, pool.map(_fault, named), strict=True))
    faulty = [place for place, fault in found if fault]
    lines = [_line(place, fault) for place, fault in found]
    if faulty:
        raise DataError(
            what=f"{len(faulty)} of the {len(named)} places of the config cannot be used",
            where=", ".join(place.field for place in faulty),
            why="\n         ".join(lines),
            fix="correct these fields, or let this identity read and write there",
        )
    return lines


def _line(place: Place, fault: str) -> str:
    can = "read and written" if place.is_written else "read"
    return f"{place.field}: {place.uri} " + (f"cannot be used: {fault}" if fault else f"can be {can}, as {_who(place)}")


def _who(place: Place) -> str:
    return buckets.identity() if files.is_object(place.uri) else f"user {os.geteuid()}"


def _fault(place: Place) -> str:
    """Why a place cannot be used; '' where it can."""
    test: Callable[[Place], str] = _local_fault if files.is_local(place.uri) else _remote_fault
    try:
        with files.time_limit(SECONDS):
            return test(place)
    except PipelineError as error:
        return error.why
    except (OSError, ArrowException) as error:
        return str(error)


def _local_fault(place: Place) -> str:
    """Nothing is written: the folder, or the nearest one above it that is there, must allow it."""
    path = files.resolve(place.uri)[1]
    while not os.path.exists(path):
        path = os.path.dirname(path)
    if not os.access(path, os.R_OK):
        return f"user {os.geteuid()} may not read {path}"
    if place.is_written and not os.access(path, os.W_OK):
        return f"user {os.geteuid()} may not write to {path}"
    return ""


def _remote_fault(place: Place) -> str:
    probe = files.join(place.uri, f"check{files.TEMPORARY_MARK}{uuid4().hex}")
    if not place.is_written:
        files.exists(probe)
        return ""
    files.write_bytes(probe, b"yt8m")
    try:
        return "" if files.read_bytes(probe) == b"yt8m" else "it does not give back what was written"
    finally:
        files.delete(probe)
