"""The parametric search against the plain dynamic program over levels, by divide and conquer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yt8m_pipeline.compression.optimal_cells import Line, optimal_cells
from yt8m_pipeline.data_model import Float64Array, Int64Array

points = st.lists(st.tuples(st.integers(-30, 30), st.integers(1, 3)), min_size=1, max_size=12)


def line_of(positions: Float64Array, counts: Int64Array) -> Line:
    prefixes = (np.concatenate([[0], np.cumsum(values)]).astype(np.float64) for values in (counts, positions * counts))
    return Line(*prefixes)


def error(line: Line, positions: Float64Array, counts: Int64Array, ends: Int64Array) -> float:
    cell = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
    means = np.diff(line.sums[ends]) / np.diff(line.counts[ends])
    return float((counts * (positions - means[cell]) ** 2).sum())


def cells_by_levels(line: Line, cells: int) -> Int64Array:
    """Gₖ(j) = max over i < j of Gₖ₋₁(i) + the gain of i … j, one level after the other, over all cuts of each end."""
    gains = np.full(line.points + 1, -np.inf)
    gains[1:] = line.sums[1:] ** 2 / line.counts[1:]
    last_cuts = []
    for _ in range(cells - 1):
        gains, cuts = with_one_more_cell(gains, line)
        last_cuts.append(cuts)
    ends = [line.points]
    for cuts in reversed(last_cuts):
        ends.append(int(cuts[ends[-1]]))
    return np.array([*ends, 0][::-1])


def with_one_more_cell(gains: Float64Array, line: Line) -> tuple[Float64Array, Int64Array]:
    best, cuts = np.full(line.points + 1, -np.inf), np.zeros(line.points + 1, np.int64)
    pending = [(1, line.points, 0, line.points - 1)]
    while pending:
        first, last, low, high = pending.pop()
        if first > last:
            continue
        end = (first + last) // 2
        tried = slice(low, min(high, end - 1) + 1)
        totals = gains[tried] + (line.sums[end] - line.sums[tried]) ** 2 / (line.counts[end] - line.counts[tried])
        cut = low + int(totals.argmax())
        best[end], cuts[end] = totals.max(), cut
        pending += [(first, end - 1, low, cut), (end + 1, last, cut, high)]
    return best, cuts


@settings(max_examples=200)
@given(st.lists(points, min_size=1, max_size=4), st.integers(1, 12))
def test_small_lines_with_ties_are_cut_as_well_as_level_by_level(
    items: list[list[tuple[int, int]]], cells: int
) -> None:
    weighted = [dict(item) for item in items]
    positions = [np.array(sorted(item), np.float64) for item in weighted]
    counts = [np.array([item[place] for place in sorted(item)]) for item in weighted]
    lines = list(map(line_of, positions, counts))
    for line, place, count, ends in zip(lines, positions, counts, optimal_cells(lines, cells), strict=True):
        assert len(ends) - 1 == min(cells, line.points)
        assert (np.diff(ends) > 0).all()
        least = error(line, place, count, cells_by_levels(line, min(cells, line.points)))
        assert error(line, place, count, ends) == pytest.approx(least, rel=1e-12, abs=1e-9)


@pytest.mark.parametrize("cells", [2, 3, 17, 64, 256])
def test_large_lines_of_all_shapes_are_cut_as_well_as_level_by_level(cells: int) -> None:
    rng = np.random.default_rng(cells)
    draws = [rng.normal(size=400), rng.laplace(size=350), rng.standard_t(2, size=500), rng.exponential(size=300)]
    positions = [np.sort(draw) for draw in draws]
    counts = [rng.geometric(0.2, size=len(draw)) for draw in draws]
    lines = list(map(line_of, positions, counts))
    for line, place, count, ends in zip(lines, positions, counts, optimal_cells(lines, cells), strict=True):
        least = error(line, place, count, cells_by_levels(line, cells))
        assert error(line, place, count, ends) == pytest.approx(least, rel=1e-12)


@pytest.mark.parametrize("cells", range(1, 33))
def test_evenly_spaced_points_where_no_price_gives_every_number_of_cells(cells: int) -> None:
    positions, counts = np.arange(32.0), np.ones(32, np.int64)
    line = line_of(positions, counts)
    (ends,) = optimal_cells([line], cells)
    sizes = np.diff(ends)
    assert (len(sizes), sizes.sum()) == (cells, 32)
    assert sizes.max() - sizes.min() <= 1
