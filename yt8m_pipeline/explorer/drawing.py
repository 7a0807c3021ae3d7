"""Which videos of a dataset its explorer shows, and what it counts over all of them, in one pass with bounded memory.

A group is what has a page with a grid of videos: every entity, in the order of the label indices, and behind them every
partition. A group shows at most so many videos, drawn by a salted hash of their ids. A dataset of up to `WHOLE` videos
has a page for every video, one of more videos for those that a group shows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import sparse

from yt8m_pipeline.chance import salted_hashes
from yt8m_pipeline.data_model import Int64Array
from yt8m_pipeline.explorer.videos import PARTITIONS, Batch

SALT = "yt8m-explorer"
"""The salt of the hash of the id by which the videos of a group are drawn."""

WHOLE = 50_000
"""The most videos of which all are shown, and the most that are compared with each other and drawn on the map: all
pairs of so many take some minutes, and a browser draws so many points smoothly."""

PENDING = 1 << 21
"""How many videos of groups are gathered before those that are not drawn are dropped: some 50 MB."""


@dataclass(slots=True)
class Groups:
    """The videos of each group that are drawn so far: three columns of equal length.

    Attributes:
        most: The most videos of a group.
    """

    most: int
    _groups: list[Int64Array] = field(default_factory=list)
    _ranks: list[npt.NDArray[np.uint64]] = field(default_factory=list)
    _rows: list[Int64Array] = field(default_factory=list)
    _pending: int = 0

    def add(self, groups: Int64Array, ranks: npt.NDArray[np.uint64], rows: Int64Array) -> None:
        """Adds videos: the group, the hash of the id, and the number of the row of each."""
        self._groups.append(groups)
        self._ranks.append(ranks)
        self._rows.append(rows)
        self._pending += len(rows)
        if self._pending > PENDING:
            self.drawn()

    def drawn(self) -> tuple[Int64Array, npt.NDArray[np.uint64], Int64Array]:
        """The groups, hashes and rows of the videos that are drawn, by group and hash; the others are dropped."""
        groups = np.concatenate([np.empty(0, np.int64), *self._groups])
        ranks = np.concatenate([np.empty(0, np.uint64), *self._ranks])
        rows = np.concatenate([np.empty(0, np.int64), *self._rows])
        order = np.lexsort((rows, ranks, groups))
        groups, ranks, rows = groups[order], ranks[order], rows[order]
        first = np.searchsorted(groups, groups)
        is_drawn = np.arange(len(groups)) - first < self.most
        kept = groups[is_drawn], ranks[is_drawn], rows[is_drawn]
        self._groups, self._ranks, self._rows = [kept[0]], [kept[1]], [kept[2]]
        self._pending = 0
        return kept


@dataclass(frozen=True, eq=False, slots=True)
class Drawn:
    """What one pass over the videos finds.

    Attributes:
        counts: int64, (entities, partitions), the videos of each entity whose labels may be shown.
        together: int64, (entities, entities), sparse: how many videos have both; the diagonal has the videos of each.
        vertical_videos: int64, (verticals,), the videos that have an entity of a vertical.
        partition_videos: int64, (partitions,), all videos.
        labelled: int64, (partitions,), the videos whose labels may be shown.
        shown: int64, ascending, the rows of the videos that have a page.
        mapped: int64, ascending, the rows of the videos that are compared and drawn on the map.
        member_rows: int64, ascending, the row of each video of a group.
        member_groups: int64, the group of it.
    """

    counts: Int64Array
    together: sparse.csr_array
    vertical_videos: Int64Array
    partition_videos: Int64Array
    labelled: Int64Array
    shown: Int64Array
    mapped: Int64Array
    member_rows: Int64Array
    member_groups: Int64Array

    def groups_of(self, row: int) -> list[int]:
        """The groups that show a video, by its row."""
        first, last = np.searchsorted(self.member_rows, [row, row + 1])
        groups: list[int] = self.member_groups[first:last].tolist()
        return groups

    def together_with(self, entity: int) -> list[tuple[int, int]]:
        """The entities that videos have together with one, and how many videos: the most first."""
        row = slice(self.together.indptr[entity], self.together.indptr[entity + 1])
        pairs = zip(self.together.indices[row].tolist(), self.together.data[row].tolist(), strict=True)
        return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))


def draw(batches: Iterable[Batch], verticals: Sequence[Sequence[int]], most: int) -> Drawn:
    """Counts the videos, and draws those that are shown.

    Args:
        batches: All videos; their tables have the column video_id.
        verticals: The verticals of each entity, as numbers from 0.
        most: The most videos of a group.
    """
    tally = _Tally(verticals, most)
    for batch in batches:
        tally.add(batch)
    return tally.drawn()


class _Tally:
    """What is counted and drawn of the batches so far."""

    def __init__(self, verticals: Sequence[Sequence[int]], most: int) -> None:
        self._entities, kinds = len(verticals), 1 + max((kind for row in verticals for kind in row), default=-1)
        pairs = [(index, kind) for index, row in enumerate(verticals) for kind in row]
        self._of_vertical = _indicator(pairs, (self._entities, kinds))
        self._counts = np.zeros((self._entities, len(PARTITIONS)), np.int64)
        self._together = sparse.csr_array((self._entities, self._entities), dtype=np.int64)
        self._vertical_videos = np.zeros(kinds, np.int64)
        self._videos, self._labelled = np.zeros(len(PARTITIONS), np.int64), np.zeros(len(PARTITIONS), np.int64)
        self._groups = Groups(most)

    def add(self, batch: Batch) -> None:
        self._count(batch)
        ranks = salted_hashes(SALT, batch.table["video_id"].to_pylist())
        self._groups.add(batch.labels, ranks[batch.label_rows], batch.start + batch.label_rows)
        rows = batch.start + np.arange(len(batch.partitions))
        self._groups.add(self._entities + batch.partitions, ranks, rows)

    def _count(self, batch: Batch) -> None:
        pairs = np.stack([batch.label_rows, batch.labels], axis=1)
        has = _indicator(pairs, (len(batch.partitions), self._entities))
        np.add.at(self._counts, (batch.labels, batch.partitions[batch.label_rows]), 1)
        self._together = self._together + has.T @ has
        self._vertical_videos += np.asarray(((has @ self._of_vertical) > 0).sum(axis=0), np.int64)
        self._videos += np.bincount(batch.partitions, minlength=len(PARTITIONS))
        self._labelled += np.bincount(batch.partitions[batch.is_labelled], minlength=len(PARTITIONS))

    def drawn(self) -> Drawn:
        groups, ranks, rows = self._groups.drawn()
        shown, mapped = _shown_and_mapped(rows, ranks, int(self._videos.sum()))
        order = np.argsort(rows, kind="stable")
        return Drawn(
            counts=self._counts,
            together=sparse.csr_array(self._together),
            vertical_videos=self._vertical_videos,
            partition_videos=self._videos,
            labelled=self._labelled,
            shown=shown,
            mapped=mapped,
            member_rows=rows[order],
            member_groups=groups[order],
        )


def _shown_and_mapped(rows: Int64Array, ranks: npt.NDArray[np.uint64], total: int) -> tuple[Int64Array, Int64Array]:
    """The rows that are shown and those that are compared, of all rows of the groups, their hashes and all videos."""
    if total <= WHOLE:
        return np.arange(total), np.arange(total)
    shown, first = np.unique(rows, return_index=True)
    return shown, np.sort(shown[np.argsort(ranks[first], kind="stable")[:WHOLE]])


def _indicator(pairs: Sequence[tuple[int, int]] | Int64Array, shape: tuple[int, int]) -> sparse.csr_array:
    """The sparse matrix that is 1 at these places."""
    places = np.asarray(pairs, np.int64).reshape(-1, 2)
    found = sparse.csr_array((np.ones(len(places), np.int64), (places[:, 0], places[:, 1])), shape=shape)
    found.data[:] = 1
    return found
