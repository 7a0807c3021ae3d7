"""The eigen-decomposition of a symmetric matrix, with the same bits on every machine.

LAPACK's has other bits on each kind of processor. This one is made of operations that IEEE 754 rounds correctly, in an
order that is written down (`exact_products`): Householder's tridiagonal form, and for that the divide-and-conquer
method of Cuppen (1981) with the eigenvectors of Gu and Eisenstat (1994), as LAPACK's `dsyevd` has it. Its errors are
like LAPACK's: eigenvalues within a few roundings of the largest one, eigenvectors orthonormal within a few roundings.
It takes about four times as long.
"""

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from yt8m_pipeline.compression.exact_products import fold, product
from yt8m_pipeline.data_model import Float64Array, Int64Array

Pairs: TypeAlias = tuple[Float64Array, Float64Array]
"""Eigenvalues, ascending, and eigenvectors, the columns of a matrix."""

PANEL = 32
"""The rows or columns that are worked on at a time, which then stay in the processor's cache."""

NEGLIGIBLE = 8 * float(np.finfo(np.float64).eps)
"""What is below this share of the largest value is dropped, as in LAPACK's `dlaed2`."""

BISECTIONS = 63
"""Halving the bits of a positive float64 this often leaves one number."""


def leading_eigenpairs(matrix: Float64Array, count: int) -> Pairs:
    """The largest eigenvalues of a symmetric matrix and their eigenvectors.

    >>> leading_eigenpairs(np.array([[2.0, 0.0], [0.0, 3.0]]), 1)
    (array([3.]), array([[0., 1.]]))

    Args:
        matrix: float64, (n, n), symmetric and finite.
        count: The number of eigenvalues, at most n.

    Returns:
        float64, (count,), not increasing; and float64, (count, n), the eigenvectors as orthonormal rows.
    """
    exponent = math.frexp(float(np.abs(matrix).max()))[1]
    diagonal, off_diagonal, reflectors = _tridiagonal(np.ldexp(matrix, -exponent))
    values, vectors = _tridiagonal_eigenpairs(diagonal, off_diagonal, count)
    rows = np.ascontiguousarray(vectors.T[::-1])
    _reflect(rows, reflectors)
    return np.ldexp(values[::-1], exponent), rows


def _tridiagonal(matrix: Float64Array) -> tuple[Float64Array, Float64Array, list[Float64Array]]:
    """The tridiagonal form of a matrix, which it overwrites: its diagonal, what is beside it, and reflectors w.

    The reflector H = 1 − w · wᵀ with |w|² = 2 of step k acts on the entries from k + 1 on.
    """
    size = len(matrix)
    off_diagonal, reflectors = np.zeros(size - 1), []
    for step in range(size - 1):
        off_diagonal[step], reflector = _householder(matrix[step + 1 :, step].copy())
        reflectors.append(reflector)
        if reflector.any():
            _reflect_both_sides(matrix[step + 1 :, step + 1 :], reflector)
    return matrix.diagonal().copy(), off_diagonal, reflectors


def _householder(column: Float64Array) -> tuple[float, Float64Array]:
    """The entry that a column is reflected to, all others being 0; and the reflector, 0 where they are so already."""
    if not column[1:].any():
        return float(column[0]), np.zeros_like(column)
    largest = np.abs(column).max()
    column = column / largest
    entry = -math.copysign(math.sqrt(_dot(column, column)), column[0])
    column[0] -= entry
    return entry * float(largest), column * math.sqrt(2 / _dot(column, column))


def _dot(first: Float64Array, second: Float64Array) -> float:
    return float(fold(first * second))


def _reflect_both_sides(matrix: Float64Array, reflector: Float64Array) -> None:
    """Sets A to H · A · H = A − w · qᵀ − q · wᵀ, where q = A · w − (wᵀ · A · w / 2) · w."""
    image = np.zeros_like(reflector)
    panels = [slice(start, start + PANEL) for start in range(0, len(matrix), PANEL)]
    for rows in panels:
        image += fold(matrix[rows] * reflector[rows, np.newaxis])
    image -= _dot(reflector, image) / 2 * reflector
    for rows in panels:
        matrix[rows] -= reflector[rows, np.newaxis] * image
        matrix[rows] -= image[rows, np.newaxis] * reflector


def _reflect(rows: Float64Array, reflectors: list[Float64Array]) -> None:
    """Applies the reflectors to vectors, the rows of a matrix, from the last one to the first."""
    for start in range(0, len(rows), PANEL):
        columns = np.ascontiguousarray(rows[start : start + PANEL].T)
        for step in reversed(range(len(reflectors))):
            reflector = reflectors[step][:, np.newaxis]
            columns[step + 1 :] -= reflector * fold(columns[step + 1 :] * reflector)
        rows[start : start + PANEL] = columns.T


def _tridiagonal_eigenpairs(diagonal: Float64Array, off_diagonal: Float64Array, count: int) -> Pairs:
    """The largest eigenpairs of a tridiagonal matrix: two halves are solved, and a matrix of rank one is added."""
    size = len(diagonal)
    if size == 1:
        return diagonal, np.ones((1, 1))
    half, coupling = size // 2, float(off_diagonal[size // 2 - 1])
    lessened = diagonal.copy()
    lessened[half - 1 : half + 1] -= abs(coupling)
    upper = _tridiagonal_eigenpairs(lessened[:half], off_diagonal[: half - 1], half)
    lower = _tridiagonal_eigenpairs(lessened[half:], off_diagonal[half:], size - half)
    basis = np.zeros((size, size))
    basis[:half, :half], basis[half:, half:] = upper[1], lower[1]
    ends = np.concatenate([upper[1][-1], math.copysign(1.0, coupling) * lower[1][0]])
    return _add_rank_one(np.concatenate([upper[0], lower[0]]), basis, ends, abs(coupling), count)


def _add_rank_one(values: Float64Array, basis: Float64Array, vector: Float64Array, weight: float, count: int) -> Pairs:
    """The largest eigenpairs of basis · (diag(values) + weight · vector · vectorᵀ) · basisᵀ."""
    order = np.argsort(values, kind="stable")
    values, basis, vector = values[order], basis[:, order], vector[order]
    length = _dot(vector, vector)
    vector, weight = vector / math.sqrt(length), weight * length
    kept = _deflate(values, basis, vector, weight)
    if not len(kept):
        chosen = np.argsort(values, kind="stable")[-count:]
        return values[chosen], basis[:, chosen]
    values[kept], inner = _secular_eigenpairs(values[kept], vector[kept], weight)
    chosen = np.argsort(values, kind="stable")[-count:]
    place = np.full(len(values), -1)
    place[kept] = np.arange(len(kept))
    vectors, moved = basis[:, chosen], place[chosen] >= 0
    vectors[:, moved] = _product_by_halves(basis[:, kept], inner[:, place[chosen[moved]]])
    return values[chosen], vectors


def _deflate(values: Float64Array, basis: Float64Array, vector: Float64Array, weight: float) -> Int64Array:
    """The eigenpairs that the update of rank one changes, as indices.

    A pair stays as it is if its entry of the vector is negligible. Of two pairs with nearly equal values, the basis is
    turned so that one of them has an entry of 0 and stays.
    """
    tolerance = NEGLIGIBLE * max(np.abs(values).max(), np.abs(vector).max())
    kept: list[int] = []
    for index in np.flatnonzero(weight * np.abs(vector) > tolerance).tolist():
        if kept and _turn(values, basis, vector, (kept[-1], index), tolerance):
            kept.pop()
        kept.append(index)
    return np.array(kept, np.int64)


def _turn(
    values: Float64Array, basis: Float64Array, vector: Float64Array, pair: tuple[int, int], tolerance: float
) -> bool:
    """Whether two pairs are so near that they can be turned until the first has no entry; if so, turns them."""
    first, second = pair
    length = math.sqrt(vector[first] ** 2 + vector[second] ** 2)
    sine, cosine = vector[first] / length, vector[second] / length
    gap = values[second] - values[first]
    if gap * abs(sine * cosine) > tolerance:
        return False
    vector[first], vector[second] = 0.0, length
    values[first], values[second] = values[first] + gap * sine * sine, values[second] - gap * sine * sine
    one, other = basis[:, first].copy(), basis[:, second].copy()
    basis[:, first], basis[:, second] = cosine * one - sine * other, sine * one + cosine * other
    return True


def _secular_eigenpairs(poles: Float64Array, vector: Float64Array, weight: float) -> Pairs:
    """The eigenpairs of diag(poles) + weight · vector · vectorᵀ, of increasing poles and a vector without zeros.

    The eigenvalues are the roots λ of 1 + weight · Σ vector² / (poles − λ), one above each pole. What is kept of them
    are their distances from all poles, without cancellation; the vector is computed again as the one of which they are
    the exact roots, and so the eigenvectors are orthogonal however near the roots are (Gu and Eisenstat 1994).
    """
    size = len(poles)
    squares = weight * np.square(vector)[:, np.newaxis]
    gaps = np.append(np.diff(poles), 2 * weight * _dot(vector, vector))
    distances = np.empty((size, size))
    for start in range(0, size, PANEL):
        roots = np.arange(start, min(start + PANEL, size))
        distances[:, roots] = _distances_from_poles(poles, squares, gaps, roots)
    ratios = poles[:, np.newaxis] - poles
    np.fill_diagonal(ratios, -1.0)
    np.divide(distances, ratios, out=ratios)
    magnitudes = np.sqrt(fold(ratios.T.copy(), np.multiply))
    vectors = np.copysign(magnitudes, vector)[:, np.newaxis] / distances
    return poles - distances.diagonal(), vectors / np.sqrt(fold(np.square(vectors)))


def _distances_from_poles(
    poles: Float64Array, squares: Float64Array, gaps: Float64Array, roots: Int64Array
) -> Float64Array:
    """pole − λ of all poles, (poles, roots), for some of the roots λ, by bisection of the bits of λ − nearest pole."""
    buffer = np.empty((len(poles), len(roots)))

    def is_above(offsets: Float64Array, steps: Float64Array) -> npt.NDArray[np.bool_]:
        """Whether the place that is a step from the pole of offset 0 lies at or above the root."""
        np.subtract(offsets, steps, out=buffer)
        np.divide(squares, buffer, out=buffer)
        above: npt.NDArray[np.bool_] = fold(buffer) >= -1
        return above

    last, middles = roots == len(poles) - 1, gaps[roots] / 2
    from_left = last | is_above(poles[:, np.newaxis] - poles[roots], middles)
    offsets = poles[:, np.newaxis] - poles[np.where(from_left, roots, np.minimum(roots + 1, len(poles) - 1))]
    sides = np.where(from_left, 1.0, -1.0)
    low, high = np.zeros(len(roots), np.int64), np.where(last, gaps[roots], middles).view(np.int64)
    for _ in range(BISECTIONS):
        bits = low + (high - low) // 2
        nearer = is_above(offsets, sides * bits.view(np.float64)) == from_left
        low, high = np.where(nearer, low, bits), np.where(nearer, bits, high)
    distances: Float64Array = offsets - sides * high.view(np.float64)
    return distances


def _product_by_halves(basis: Float64Array, inner: Float64Array) -> Float64Array:
    """The product of a basis, in either half of whose rows most columns are 0, and a matrix."""
    half, parts = len(basis) // 2, []
    for rows in (basis[:half], basis[half:]):
        columns = np.flatnonzero(rows.any(axis=0))
        parts.append(product(rows[:, columns], inner[columns]))
    return np.concatenate(parts)
