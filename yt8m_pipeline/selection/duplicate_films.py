"""A film that the videos table gives several times: the same uri, or other files with equal features.

One film must not stand in two partitions, or a model is tested on what it was trained on. A same uri is known when the
table is read, equal features only after extraction. `duplicates` in the config says what is done then.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa

from yt8m_pipeline.accounting.outcome import Drop, Outcome, split
from yt8m_pipeline.accounting.reasons import DropReason, Stage

SHOWN_IDS = 10
"""The number of ids that a warning names."""


class Copy(NamedTuple):
    """A video whose film another video has too.

    Attributes:
        video_id: The video's id.
        unit: What was put into its partition as a whole: its group's id, or its own where it has no group.
        partition: Its partition, train, validate or test.
        is_given: Whether the videos table gave that partition, so that nothing may change it.
    """

    video_id: str
    unit: str
    partition: str
    is_given: bool = False


Cluster: TypeAlias = list[Copy]
"""The copies that belong in one partition, sorted by id: those of one film, and of films that share a unit with it."""


def clusters_of(films: Iterable[Sequence[Copy]]) -> list[Cluster]:
    """Finds the connected components of units that films join, and the copies in each.

    The result does not depend on the order of the films, nor on that of the copies of each.

    >>> a, b, c = Copy("a", "channel", "train"), Copy("b", "channel", "train"), Copy("c", "c", "test")
    >>> d = Copy("d", "d", "train")
    >>> [[copy.video_id for copy in cluster] for cluster in clusters_of([[d, b], [a, c]])]
    [['a', 'b', 'c', 'd']]

    Args:
        films: The copies of each film that has several.
    """
    films = list(films)
    parents = {copy.unit: copy.unit for film in films for copy in film}

    def root(unit: str) -> str:
        while parents[unit] != unit:
            parents[unit] = unit = parents[parents[unit]]  # halves the way for the next one (Tarjan's path halving)
        return unit

    for film in films:
        first, *others = {root(copy.unit) for copy in film}
        parents.update(dict.fromkeys(others, first))
    found: defaultdict[str, set[Copy]] = defaultdict(set)
    for film in films:
        found[root(film[0].unit)].update(film)
    return sorted(sorted(copies) for copies in found.values())


def home_of(cluster: Cluster) -> str | None:
    """The partition in which all videos of a cluster belong; None where the videos table gives it several.

    It is the partition that the table gives to some of them, or else that of the first id.
    """
    given = {copy.partition for copy in cluster if copy.is_given}
    return min(given, default=cluster[0].partition) if len(given) < 2 else None


def moves_of(clusters: Iterable[Cluster]) -> dict[str, str]:
    """The units that change their partition, with the new one. Then every cluster with a home is in one partition."""
    return {
        copy.unit: home
        for cluster in clusters
        if (home := home_of(cluster))
        for copy in cluster
        if copy.partition != home and not copy.is_given
    }


def divided(clusters: Iterable[Cluster]) -> list[Cluster]:
    """The clusters with copies in several partitions."""
    return [cluster for cluster in clusters if len({copy.partition for copy in cluster}) > 1]


def warnings_of_moved(clusters: Sequence[Cluster], moved_ids: Sequence[str]) -> list[str]:
    """Says how many films are given several times, and which videos have changed their partition for it.

    Args:
        clusters: The clusters, with the partitions that they had before.
        moved_ids: Every video that has another partition now, also those that came along with their group.
    """
    if not clusters:
        return []
    left = [cluster for cluster in clusters if home_of(cluster) is None]
    moved = f"; {len(moved_ids)} videos were moved to the partition of their film's first id: {_shown(moved_ids)}"
    apart = f"; {len(left)} are in several given partitions, first {left[0][0].video_id}" if left else ""
    return [_number(clusters) + (moved if moved_ids else "; none was in several partitions" * (not left)) + apart]


def warnings_of_kept(clusters: Sequence[Cluster]) -> list[str]:
    """Says how many films stand in several partitions, where nothing is done about it (`duplicates: keep`)."""
    if not clusters:
        return []
    apart = divided(clusters)
    first = f", first {apart[0][0].video_id}; `duplicates: group` keeps each in one" if apart else ""
    return [f"{_number(clusters)}; in several partitions: {len(apart)}{first}"]


def first_copies(films: Iterable[Sequence[str]]) -> dict[str, str]:
    """The first id of its film for each later video.

    >>> first_copies([["a", "b", "d"], ["c", "e"]])
    {'b': 'a', 'd': 'a', 'e': 'c'}

    Args:
        films: The ids of each film's videos, in their order.
    """
    return {later: first for first, *others in films for later in others}


def reject_copies(videos: pa.Table, first: Mapping[str, str], stage: Stage) -> Outcome:
    """Rejects the videos whose film an earlier video has.

    Args:
        videos: Columns `video_id`, provenance.
        first: The `first_copies`.
        stage: What films are known by: `SAME_URI` or `SAME_FEATURES`.
    """
    firsts = [first.get(video_id) for video_id in videos["video_id"].to_pylist()]
    drop = Drop(
        DropReason.DUPLICATE_FILM,
        np.array([earlier is not None for earlier in firsts], np.bool_),
        f"{_KNOWN_BY[stage]} as video {{first}}, which is kept",
        {"first": pa.array(firsts, pa.string())},
    )
    return split(videos, [drop], stage, "videos")


_KNOWN_BY = {Stage.SAME_URI: "the same uri", Stage.SAME_FEATURES: "the same features"}


def _number(clusters: Sequence[Cluster]) -> str:
    videos = sum(map(len, clusters))
    return f"films given several times, by their uri or equal features: {len(clusters)}, as {videos} videos"


def _shown(ids: Sequence[str]) -> str:
    return ", ".join(sorted(ids)[:SHOWN_IDS]) + ", …" * (len(ids) > SHOWN_IDS)
