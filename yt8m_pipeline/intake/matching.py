"""Joining what a source says of films with the films that are there."""

import fnmatch
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from yt8m_pipeline import files
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.intake.films import FILM, Film, stem
from yt8m_pipeline.intake.naming import compiled
from yt8m_pipeline.intake.understood import Record

ID = "{id}"


class FilmIndex:
    """The films of a source by their paths and names, or by the ids that a pattern finds in their names.

    Args:
        films: The films.
        ids: The ids that the source names.
        pattern: `--match`; None finds films by the names of each record.
    """

    def __init__(self, films: Sequence[Film], ids: Iterable[str], pattern: str | None) -> None:
        self._by_path: dict[str, list[Film]] = defaultdict(list)
        self._by_end: dict[str, list[Film]] = defaultdict(list)
        self._by_id: dict[str, list[Film]] | None = None
        for film in films:
            self._by_path[film.name].append(film)
            self._by_path[film.uri].append(film)
            for end in _ends(_normal(film.name)):
                self._by_end[end].append(film)
        if pattern is not None:
            self._by_id = defaultdict(list)
            ids_in = _ids_in(pattern, frozenset(ids))
            for film in films:
                for identifier in ids_in(film.name):
                    self._by_id[identifier].append(film)

    def find(self, record: Record) -> Film | None:
        """The film of a record, or None where there is none.

        Raises:
            UsageError: if several different files may be it.
        """
        placed = _at_place(record.place)
        if placed:
            return placed
        if self._by_id is not None and record.identifier:
            return _only(self._by_id.get(record.identifier, []), record)
        found = (self._named(name) for name in record.names)
        return _only(next(filter(None, found), []), record)

    def _named(self, name: str) -> list[Film]:
        """The films that a path or name may mean: the one of this path, or those whose paths end like it."""
        ends = map(_normal, (name, FILM.sub("", name), stem(name)))
        return next(filter(None, (self._by_path.get(name), *map(self._by_end.get, ends))), [])


def _normal(name: str) -> str:
    """A name with its accents as one sign each: macOS may keep them apart, and lists do not (Unicode, UAX #15, NFC)."""
    return unicodedata.normalize("NFC", name)


def _ends(name: str) -> Iterator[str]:
    """What a path ends with, from a folder or the file on, with and without the ending of a film."""
    parts = name.split("/")
    for start in range(len(parts)):
        end = "/".join(parts[start:])
        yield end
        yield FILM.sub("", end)


def _at_place(place: str) -> Film | None:
    """The film at the place that the source itself gives. What is in a bucket is believed to be there."""
    if not place:
        return None
    is_there = "://" in place or os.path.isfile(place)
    return Film(place, place.rpartition("/")[2]) if is_there else None


def _only(films: Sequence[Film], record: Record) -> Film | None:
    """The one film among several, of which links to it may be some.

    Raises:
        UsageError: if they are different files.
    """
    if len(films) > 1 and len({_real(film.uri) for film in films}) > 1:
        shown = ", ".join(film.uri for film in films[:2])
        raise UsageError(
            what="Two files may be the film of one id",
            where=record.shown,
            why=f"{shown}{' and more' * (len(films) > 2)} have its name",
            fix="remove or rename one, give the folder of one alone, or say how ids and names are joined with --match",
        )
    return films[0] if films else None


def _real(uri: str) -> str:
    return os.path.realpath(uri) if files.is_local(uri) else uri


def _ids_in(pattern: str, ids: frozenset[str]) -> "_Glob | _Regex":
    if ID in pattern:
        return _Glob(pattern, ids)
    return _Regex(pattern)


class _Regex:
    """The ids that a regular expression finds in names: its first group."""

    def __init__(self, text: str) -> None:
        self._pattern = compiled(text, "--match", f"--match '{ID}*.mp4', or --match '^([^_]+)_'")

    def __call__(self, name: str) -> Iterator[str]:
        found = self._pattern.search(name.rpartition("/")[2])
        if found and found.group(1):
            yield found.group(1)


class _Glob:
    """The known ids that stand in names where a pattern has {id}; of several, the longest."""

    def __init__(self, text: str, ids: frozenset[str]) -> None:
        before, _, after = text.partition(ID)
        self._before, self._after = (re.compile(fnmatch.translate(part)) for part in (before, after))
        self._is_path, self._ids = "/" in text, ids
        self._lengths = sorted({len(identifier) for identifier in ids}, reverse=True)

    def __call__(self, name: str) -> Iterator[str]:
        text = name if self._is_path else name.rpartition("/")[2]
        starts = [start for start in range(len(text)) if self._before.match(text[:start])]
        for length in self._lengths:
            for start in starts:
                end = start + length
                if text[start:end] in self._ids and end <= len(text) and self._after.match(text[end:]):
                    yield text[start:end]
                    return
