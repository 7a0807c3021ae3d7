import math
import pickle
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from yt8m_pipeline.compression.histogram import BOUND, BUCKETS, EDGES, STEPS_PER_UNIT, Histogram
from yt8m_pipeline.data_model import Float32Array
from yt8m_pipeline.errors import DataError


def float32s(values: object) -> Float32Array:
    return np.array(values, np.float32)


LARGEST = float(np.nextafter(np.float32(BOUND), np.float32(0)))

values = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5),
    elements=st.one_of(st.floats(-4, 4, width=32), st.floats(-LARGEST, LARGEST, width=32)),
)


def assert_identical(one: Histogram, other: Histogram) -> None:
    np.testing.assert_array_equal(one.bucket_counts, other.bucket_counts, strict=True)
    np.testing.assert_array_equal(one.bucket_sums, other.bucket_sums, strict=True)


def bucket_of(value: float) -> int:
    """How many edges a value has reached."""
    return sum(edge <= value for edge in EDGES.tolist())


@settings(max_examples=40)
@given(values, values, values)
def test_addition_is_associative_and_commutative_bit_for_bit(a: Float32Array, b: Float32Array, c: Float32Array) -> None:
    x, y, z = map(Histogram.from_values, (a, b, c))
    assert_identical((x + y) + z, x + (y + z))
    assert_identical(x + y, y + x)


@settings(max_examples=40)
@given(values)
def test_zero_changes_nothing(some: Float32Array) -> None:
    histogram = Histogram.from_values(some)
    assert_identical(histogram + Histogram.zero(), histogram)
    assert Histogram.zero().count == 0


@settings(max_examples=40)
@given(values, st.integers(0, 125))
def test_neither_splitting_nor_order_nor_shape_changes_anything(some: Float32Array, at: int) -> None:
    flat = some.ravel()[::-1]
    parts = Histogram.from_values(flat[:at]) + Histogram.from_values(flat[at:])
    assert_identical(parts, Histogram.from_values(some))


@settings(max_examples=40)
@given(values)
def test_counts_and_sums_are_those_of_the_definition(some: Float32Array) -> None:
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for value in some.ravel().tolist():
        groups[bucket_of(value)].append(round(value * STEPS_PER_UNIT))
    expected = [groups[bucket] for bucket in sorted(groups)]
    histogram = Histogram.from_values(some)
    assert histogram.count == some.size
    counts, sums = histogram.occupied()
    assert counts.tolist() == [len(group) for group in expected]
    assert sums.tolist() == [sum(group) for group in expected]
    assert histogram.centroids().tolist() == [sum(group) / len(group) / STEPS_PER_UNIT for group in expected]


def test_every_value_is_close_to_the_centroid_of_its_bucket() -> None:
    rng = np.random.default_rng(3)
    spread = np.sort(np.concatenate([rng.normal(size=5000), rng.standard_cauchy(size=5000)]).astype(np.float32))
    histogram = Histogram.from_values(spread)
    centroids = np.repeat(histogram.centroids(), histogram.occupied()[0])
    core = 0.0013 * (1 + spread.astype(np.float64) ** 2 / 4) ** 1.5
    width = np.minimum(core * (1 + core), np.abs(spread) / 32 + 0.1) + 2.0 / STEPS_PER_UNIT
    assert (np.abs(spread - centroids) <= width).all()


def test_the_edges_are_symmetric_and_ascend_to_the_bound() -> None:
    assert (np.diff(EDGES) > 0).all()
    np.testing.assert_array_equal(EDGES, -EDGES[::-1])
    assert EDGES[-1] == np.float32(BOUND * (1 - 1 / 64))


def test_a_thousand_dimensions_fit_in_128_megabytes() -> None:
    assert 1024 * BUCKETS * 2 * np.dtype(np.int64).itemsize <= 128e6


@settings(max_examples=20)
@given(st.integers(1, 4), st.lists(st.integers(0, 5), max_size=4))
def test_each_dimension_of_several_blocks_has_the_histogram_of_its_values(dimensions: int, lengths: list[int]) -> None:
    rng = np.random.default_rng([dimensions, *lengths])
    blocks = [rng.normal(size=(length, dimensions)).astype(np.float32) for length in lengths]
    histogram = Histogram.from_blocks(blocks, dimensions)
    for dimension in range(dimensions):
        alone = Histogram.from_blocks([block[:, dimension] for block in blocks])
        np.testing.assert_array_equal(histogram.bucket_counts[dimension], alone.bucket_counts[0])
        np.testing.assert_array_equal(histogram.bucket_sums[dimension], alone.bucket_sums[0])


def test_histograms_of_different_dimensions_do_not_add() -> None:
    with pytest.raises(ValueError, match="do not add"):
        Histogram.zero(1) + Histogram.zero(2)


def test_centroids_do_not_decrease_over_the_whole_range() -> None:
    side = np.geomspace(1e-8, LARGEST, 50_000)
    histogram = Histogram.from_values(np.concatenate([-side, side]).astype(np.float32))
    assert (np.diff(histogram.centroids()) >= 0).all()
    assert histogram.bucket_counts[0, [0, -1]].all()
    assert len(histogram.occupied()[0]) > BUCKETS / 4


def test_a_pickle_is_the_same_value_and_is_small() -> None:
    histogram = Histogram.from_values(float32s([1, 2]))
    assert_identical(pickle.loads(pickle.dumps(histogram)), histogram)
    assert len(pickle.dumps(histogram)) < 3e6


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, BOUND, -BOUND])
def test_a_value_out_of_range_is_an_error(bad: float) -> None:
    with pytest.raises(
        DataError, match=r"out of range\n.*train frames\n.*it is (nan|-?inf|-?1048576.0);.*\n.*pca.epsilon"
    ):
        Histogram.from_values(np.array([[0, bad]], np.float32))


def test_repr_shows_sizes_not_data() -> None:
    assert repr(Histogram.from_values(float32s([1, 1, 2]))) == "Histogram(count=3, dimensions=1, occupied_buckets=2)"


@given(values, st.integers(-30, 30))
def test_a_unit_that_is_a_power_of_two_changes_the_unit_alone(array: Float32Array, exponent: int) -> None:
    scaled_array = np.ldexp(array, exponent)
    assume(np.array_equal(np.ldexp(scaled_array, -exponent), array))  # else float32 has lost bits below its range
    scaled = Histogram.from_values(scaled_array, exponents=exponent)
    plain = Histogram.from_values(array)
    np.testing.assert_array_equal(scaled.bucket_counts, plain.bucket_counts)
    np.testing.assert_array_equal(scaled.bucket_sums, plain.bucket_sums)
    np.testing.assert_array_equal(scaled.centroids(), np.ldexp(plain.centroids(), exponent))


def test_histograms_of_other_scales_do_not_add_and_each_dimension_has_an_exponent() -> None:
    with pytest.raises(ValueError, match="different dimensions or scales"):
        Histogram.zero() + Histogram.from_blocks([], exponents=1)
    with pytest.raises(ValueError, match="expected 1 exponents"):
        Histogram(np.zeros((1, BUCKETS), np.int64), np.zeros((1, BUCKETS), np.int64), np.zeros(2, np.int64))
