"""Products and sums against rational numbers, and their independence of order."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from yt8m_pipeline.compression.exact_products import fold, product
from yt8m_pipeline.data_model import Float64Array

reals = st.floats(-1e6, -1e-9) | st.floats(1e-9, 1e6) | st.sampled_from([0.0, -3e7])


def matrices(rows: int, columns: int) -> st.SearchStrategy[Float64Array]:
    return hnp.arrays(np.float64, (rows, columns), elements=reals)


@given(matrices(3, 5), matrices(5, 2))
def test_a_product_is_right_to_the_last_bits_of_its_largest_entries(left: Float64Array, right: Float64Array) -> None:
    found = product(left, right)
    for row, column in np.ndindex(3, 2):
        pairs = zip(left[row].tolist(), right[:, column].tolist(), strict=True)
        exact = sum((Fraction(a) * Fraction(b) for a, b in pairs), Fraction())
        largest = Fraction(float(np.abs(left[row]).max())) * Fraction(float(np.abs(right[:, column]).max()))
        error = abs(Fraction(found[row, column].item()) - exact)
        assert error <= abs(exact) / 2**51 + largest / 2**60


def test_neither_the_order_of_the_terms_nor_the_other_rows_change_a_bit() -> None:
    random = np.random.default_rng(0)
    left, right = random.normal(size=(40, 2048)), random.normal(size=(2048, 30)) * np.geomspace(1, 1e-8, 30)
    whole, order = product(left, right), random.permutation(2048)
    np.testing.assert_array_equal(product(left[:, order], right[order]), whole)
    np.testing.assert_array_equal(product(left[7:8], right[:, 3:5]), whole[7:8, 3:5])
    np.testing.assert_allclose(whole, left @ right, rtol=1e-9)


def test_the_largest_integers_sum_exactly() -> None:
    ones = np.ones((1, 2048))
    assert product(ones * (2.0**21 - 1), ones.T * (2.0**21 - 1)).item() == 2048 * (2**21 - 1) ** 2


def test_no_terms_make_zeros() -> None:
    np.testing.assert_array_equal(product(np.zeros((2, 0)), np.zeros((0, 3))), np.zeros((2, 3)))


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 9), st.integers(1, 3)), elements=st.integers(-99, 99)))
def test_a_fold_is_the_sum_or_the_product_of_the_rows(values: Float64Array) -> None:
    np.testing.assert_array_equal(fold(values.copy()), values.sum(axis=0))
    np.testing.assert_allclose(fold(values.copy(), np.multiply), values.prod(axis=0), rtol=1e-12)
