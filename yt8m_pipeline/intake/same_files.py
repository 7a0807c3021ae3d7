"""Films that are one: links to the same file, and files of the same bytes."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

from yt8m_pipeline import files
from yt8m_pipeline.intake.films import Film

HEAD_BYTES = 1 << 16
"""How much of two files of the same size is compared before the whole of them is: enough to tell films apart."""


def copies(films: Sequence[Film]) -> Iterator[list[Film]]:
    """The groups of local films that are links to one file or have the same bytes, each with at least two.

    Only files of one size are read, and only those whose beginnings are the same are read whole.
    """
    local = [film for film in films if files.is_local(film.uri)]
    for same_size in _divided([local], lambda film: os.stat(film.uri).st_size):
        by_file = defaultdict(list)
        for film in same_size:
            by_file[_file(film)].append(film)
        firsts = [group[0] for group in by_file.values()]
        same = {film.uri: same for same in _divided(_divided([firsts], _head), _whole) for film in same}
        for first in firsts:
            equals = same.get(first.uri, [first])
            if first is equals[0]:
                group = [film for equal in equals for film in by_file[_file(equal)]]
                if len(group) > 1:
                    yield sorted(group, key=lambda film: film.name)


def _file(film: Film) -> tuple[int, int]:
    state = os.stat(film.uri)
    return state.st_dev, state.st_ino


def _divided(groups: Iterable[Sequence[Film]], key: Callable[[Film], Hashable]) -> Iterator[list[Film]]:
    """The parts of groups that have the same key, without those of one film."""
    for group in groups:
        by_key = defaultdict(list)
        for film in group if len(group) > 1 else ():
            by_key[key(film)].append(film)
        yield from (part for part in by_key.values() if len(part) > 1)


def _head(film: Film) -> str:
    with open(film.uri, "rb") as stream:
        return hashlib.sha256(stream.read(HEAD_BYTES)).hexdigest()


def _whole(film: Film) -> str:
    return files.sha256(film.uri)
