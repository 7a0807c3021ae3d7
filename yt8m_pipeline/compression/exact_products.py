"""Sums and matrix products with the same bits on every machine, whatever its BLAS kernels and its threads.

BLAS and NumPy add in an order that depends on the processor, and some processors fuse a product with a sum; each order
rounds otherwise. Here either nothing is rounded, or the order of rounding is written down.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import numpy as np
from threadpoolctl import ThreadpoolController

from yt8m_pipeline.data_model import Float64Array, Int64Array

SLICES = 3
"""The number of slices that a factor of a product is cut into. Of 2,048 terms, three slices of 21 bits hold 63 bits,
more than the 53 of float64, so that a product is at least as accurate as that of BLAS."""

_BLAS = ThreadpoolController()
_BLAS_LOCK = Lock()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limits BLAS to one thread. The limit is the process's, so only one caller at a time may set and restore it."""
    with _BLAS_LOCK, _BLAS.limit(limits=1, user_api="blas"):
        yield


def fold(values: Float64Array, operation: np.ufunc = np.add) -> Float64Array:
    """The sum over the first axis, or another operation's result, of a matrix that it overwrites.

    Half of the rows are added to the other half, until one row is left: the order is the same everywhere.
    """
    rows = len(values)
    while rows > 1:
        half = (rows + 1) // 2
        operation(values[: rows - half], values[half:rows], out=values[: rows - half])
        rows = half
    folded: Float64Array = values[0]
    return folded


def product(left: Float64Array, right: Float64Array) -> Float64Array:
    """The matrix product of two finite matrices, float64, (rows, terms) and (terms, columns).

    Each row of the left factor and each column of the right one is cut into `SLICES` slices of integers, so short that
    a sum of products of two slices is exact in float64 (Ozaki et al. 2012, "Error-free transformations of matrix
    multiplication"). BLAS multiplies slices, and no order of its sums can change a bit. The slices' products are added
    in a fixed order. What is left out is below 2**-60 of the largest entries of row and column.

    >>> product(np.array([[1e16, 1.0, -1e16]]), np.ones((3, 1)))
    array([[1.]])
    """
    bits = (53 - max(left.shape[1] - 1, 1).bit_length()) // 2
    (lefts, left_exponents), (rights, right_exponents) = _sliced(left, bits), _sliced(right.T, bits)
    total = np.zeros((len(left), right.shape[1]))
    with one_blas_thread():
        for order in reversed(range(SLICES)):
            for index in range(order + 1):
                total += lefts[index] @ rights[order - index].T
            total *= 2.0**-bits if order else 1.0
    exponents = left_exponents[:, np.newaxis] + right_exponents - 2 * bits
    scaled: Float64Array = np.ldexp(total, exponents)
    return scaled


def _sliced(rows: Float64Array, bits: int) -> tuple[list[Float64Array], Int64Array]:
    """Slices s of integers of at most so many bits, and exponents e: row = 2**(e − bits) · Σ s[i] · 2**(−i · bits)."""
    exponents = np.frexp(np.abs(rows).max(axis=1, initial=0.0))[1].astype(np.int64)
    rest = np.ldexp(rows, bits - exponents[:, np.newaxis])
    slices = []
    for _ in range(SLICES):
        slices.append(np.rint(rest))
        rest = (rest - slices[-1]) * 2.0**bits
    return slices, exponents
