"""Cutting points on a line into cells of least squared error: exact, and for many lines at once.

The squared error is a constant less the gain, Σ sum² / count over the cells. At a price per cell the best partition is
one pass of dynamic programming, whatever the number of cells; the most gain of k cells is concave in k (the error is
Monge), so that some price has a best partition of any number of cells (Aggarwal, Schieber and Tokuyama 1994, "Finding
a minimum-weight k-link path in graphs with the concave Monge property").
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from yt8m_pipeline.data_model import Float64Array, Int64Array

LINES_AT_A_TIME = 32
"""The number of lines that are cut in one pass. It is large enough to pay for NumPy's calls, and small enough that
lines of like length stand together in the cache."""


@dataclass(frozen=True, eq=False, slots=True)
class Line:
    """Weighted points in ascending order, as prefix sums.

    Attributes:
        counts: float64, (points + 1,), strictly increasing from 0: the weights of the points before each point.
        sums: float64, (points + 1,), from 0: the same sums of weight · position.
    """

    counts: Float64Array
    sums: Float64Array

    @property
    def points(self) -> int:
        return len(self.counts) - 1

    def gain(self, ends: Int64Array) -> float:
        """Σ sum² / count over the cells between successive ends."""
        return float((np.diff(self.sums[ends]) ** 2 / np.diff(self.counts[ends])).sum())


def optimal_cells(lines: Sequence[Line], cells: int) -> list[Int64Array]:
    """The ends of the cells of least squared error of each line: int64, (cells + 1,), from 0 to the number of points.

    Only the float64 rounding of gains, about 3e-14 of the second moment, can decide between nearly equal optima. A
    line with fewer points than cells has as many cells as points. The time is about points² / cells per line.
    """
    searches = [_Search(line, min(cells, line.points)) for line in lines]
    by_length = sorted(searches, key=lambda search: -search.line.points)
    while pending := [search for search in by_length if not search.found]:
        for start in range(0, len(pending), LINES_AT_A_TIME):
            _learn(pending[start : start + LINES_AT_A_TIME])
    return [search.ends for search in searches]


class _Search:
    """The search for the price at which the best partition of a line has so many cells.

    `few` and `many` are the best partitions known on either side. The distortion of k cells falls as 1 / k², and so
    the next price is the last one times (k / cells)³; where that leaves the prices still possible, it is the slope of
    the chord from `few` to `many`. If neither is beaten at that price, both are best, and so is their splice.
    """

    def __init__(self, line: Line, cells: int) -> None:
        self.line, self.cells = line, cells
        self.few, self.many = np.array([0, line.points]), np.arange(line.points + 1)
        self.ends = self.few if cells == 1 else self.many
        self.found = cells in (1, line.points)
        self.price = 2 * (line.gain(self.many) - line.gain(self.few)) / cells**3
        self._too_low, self._too_high = 0.0, math.inf
        self._power, self._on_chord = 3, False

    def learn(self, best: Int64Array) -> None:
        """Takes the best partition at the present price, which is the one sought or a nearer bound."""
        cells = len(best) - 1
        nearer = len(self.few) - 1 < cells < len(self.many) - 1
        if cells == self.cells:
            self.ends, self.found = best, True
        elif self._on_chord and not nearer:
            self.ends, self.found = _splice(self.few, self.many, self.cells), True
        else:
            self._narrow(best, nearer)
            self._reprice(cells / self.cells, nearer)

    def _narrow(self, best: Int64Array, nearer: bool) -> None:
        if len(best) - 1 < self.cells:
            self._too_high, self.few = self.price, best if nearer else self.few
        else:
            self._too_low, self.many = self.price, best if nearer else self.many

    def _reprice(self, ratio: float, nearer: bool) -> None:
        self._power = 3 if nearer else 2 * self._power
        self.price *= ratio**self._power
        self._on_chord = not self._too_low < self.price < self._too_high
        if self._on_chord:
            gained = self.line.gain(self.many) - self.line.gain(self.few)
            self.price = gained / (len(self.many) - len(self.few))


def _splice(few: Int64Array, many: Int64Array, cells: int) -> Int64Array:
    """A partition into so many cells, as good at their price as two best partitions with fewer and with more.

    It follows `many` up to its first cell that lies within the cell of `few` so many places before, and `few` from
    there on: by the Monge property, exchanging the ends of nested cells loses nothing.
    """
    ahead = cells - (len(few) - 1)
    nested = int(np.argmax(many[ahead + 1 : cells + 1] <= few[1:]))
    return np.concatenate([many[: nested + ahead + 1], few[nested + 1 :]])


def _learn(searches: Sequence[_Search]) -> None:
    """One pass for searches that are ordered by falling number of points."""
    prices = np.array([search.price for search in searches])
    for search, best in zip(searches, _best_partitions([search.line for search in searches], prices), strict=True):
        search.learn(best)


def _best_partitions(lines: Sequence[Line], prices: Float64Array) -> list[Int64Array]:
    """The ends of the partition of most gain less price of each line; lines are by falling number of points.

    V(j) = max over i < j of V(i) + (sums[j] − sums[i])² / (counts[j] − counts[i]) − price. The best cut i never
    decreases with the end j (Monge), so it is sought from the last one on.
    """
    points = np.array([line.points for line in lines])
    counts, sums = _matrix([line.counts for line in lines]), _matrix([line.sums for line in lines])
    values, cuts = np.zeros(counts.shape), np.zeros(counts.shape, np.int64)
    for end in range(1, counts.shape[1]):
        rows = slice(0, np.count_nonzero(points >= end))
        first = cuts[rows, end - 1].min()
        totals = sums[rows, end, np.newaxis] - sums[rows, first:end]
        totals *= totals
        totals /= counts[rows, end, np.newaxis] - counts[rows, first:end]
        totals += values[rows, first:end]
        cuts[rows, end] = totals.argmax(axis=1) + first
        values[rows, end] = totals.max(axis=1) - prices[rows]
    return [_trace(row, end) for row, end in zip(cuts, points.tolist(), strict=True)]


def _matrix(rows: Sequence[Float64Array]) -> Float64Array:
    """The rows, the first of which is the longest, with zeros after the others."""
    matrix = np.zeros((len(rows), len(rows[0])))
    for target, row in zip(matrix, rows, strict=True):
        target[: len(row)] = row
    return matrix


def _trace(cuts: Int64Array, end: int) -> Int64Array:
    ends = [end]
    while ends[-1]:
        ends.append(int(cuts[ends[-1]]))
    return np.array(ends[::-1])
