import math
import pickle
import re
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from functools import reduce
from itertools import pairwise
from operator import add
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from threadpoolctl import threadpool_limits

from yt8m_pipeline.compression import moments as moments_module
from yt8m_pipeline.compression.moments import BLOCK_FRAMES, GRID_BITS, Magnitudes, Moments, grid_exponent
from yt8m_pipeline.data_model import Float32Array, Float64Array
from yt8m_pipeline.errors import DataError


def float32s(values: object) -> Float32Array:
    return np.array(values, np.float32)


DIMENSIONS = 3
MAGNITUDE = 1000.0
EXPONENT = grid_exponent(MAGNITUDE)

frames = hnp.arrays(
    np.float32,
    st.tuples(st.integers(0, 6), st.just(DIMENSIONS)),
    elements=st.floats(-MAGNITUDE, MAGNITUDE, width=32),
)


def moments_of(features: npt.NDArray[np.floating]) -> Moments:
    return Moments.from_frames(features, EXPONENT)


def assert_identical(one: Moments, other: Moments) -> None:
    assert (one.count, one.step_exponent) == (other.count, other.step_exponent)
    np.testing.assert_array_equal(one.sums, other.sums, strict=True)
    np.testing.assert_array_equal(one.products_high, other.products_high, strict=True)
    np.testing.assert_array_equal(one.products_low, other.products_low, strict=True)


def exact_covariance(steps: list[list[int]], exponent: int) -> list[list[float]]:
    """By the definition, about the mean, in rational numbers."""
    count, dimensions = len(steps), len(steps[0])
    means = [Fraction(sum(row[i] for row in steps), count) for i in range(dimensions)]
    return [
        [
            math.ldexp(
                float(sum((row[i] - means[i]) * (row[j] - means[j]) for row in steps) / (count - 1)), 2 * exponent
            )
            for j in range(dimensions)
        ]
        for i in range(dimensions)
    ]


@given(frames, frames, frames)
def test_addition_is_associative_and_commutative_bit_for_bit(a: Float32Array, b: Float32Array, c: Float32Array) -> None:
    x, y, z = map(moments_of, (a, b, c))
    assert_identical((x + y) + z, x + (y + z))
    assert_identical(x + y, y + x)


@given(frames)
def test_zero_changes_nothing(features: Float32Array) -> None:
    assert_identical(moments_of(features) + Moments.zero(DIMENSIONS, EXPONENT), moments_of(features))


@given(frames, st.integers(0, 6))
def test_splitting_the_frames_changes_nothing(features: Float32Array, at: int) -> None:
    assert_identical(moments_of(features[:at]) + moments_of(features[at:]), moments_of(features))


@given(frames.filter(lambda features: len(features) > 1))
def test_mean_and_covariance_are_the_exact_ones_correctly_rounded(features: Float32Array) -> None:
    moments = moments_of(features)
    steps = [[round(math.ldexp(float(value), -EXPONENT)) for value in frame] for frame in features]
    assert moments.covariance().tolist() == exact_covariance(steps, EXPONENT)
    sums = [sum(column) for column in zip(*steps, strict=True)]
    assert moments.mean().tolist() == [math.ldexp(float(Fraction(total, len(steps))), EXPONENT) for total in sums]


def test_extreme_frames_over_several_blocks_lose_no_bit() -> None:
    rng = np.random.default_rng(0)
    steps = 2**GRID_BITS - rng.integers(0, 1000, size=(2 * BLOCK_FRAMES + 5, 2))
    moments = Moments.from_frames(steps.astype(np.float64), 0)
    products = (moments.products_high.astype(object) << 32) + moments.products_low.astype(object)
    in_python_integers = steps.astype(object)
    np.testing.assert_array_equal(products, np.triu(in_python_integers.T @ in_python_integers))


def test_ten_billion_frames_do_not_overflow() -> None:
    moments = Moments.from_frames(np.full((BLOCK_FRAMES, 1), 2.0**GRID_BITS), 0)
    moments += Moments.from_frames(np.full((BLOCK_FRAMES, 1), -(2.0**GRID_BITS)), 0)
    for _ in range(24):
        moments += moments
    n = moments.count
    assert n > 10**10
    assert moments.covariance().item() == 2 ** (2 * GRID_BITS) * n / (n - 1)


@pytest.mark.parametrize("mean_over_sd", [0.0, 1.0, 100.0, 10_000.0])
def test_covariance_agrees_with_two_passes_even_at_large_means(mean_over_sd: float) -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(3000, 20)) @ rng.normal(size=(20, 20)) / 5 + mean_over_sd
    exponent = grid_exponent(float(np.abs(features).max()))
    on_grid: Float64Array = np.ldexp(np.rint(np.ldexp(features, -exponent)), exponent)
    two_passes = np.cov(on_grid, rowvar=False)
    covariance = Moments.from_frames(features, exponent).covariance()
    assert np.abs(covariance - two_passes).max() <= 1e-10 * np.abs(two_passes).max()
    step, deviation = math.ldexp(1.0, exponent), features.std(axis=0)
    bound = (deviation[:, None] + deviation) * step / 2 + step**2 / 4
    assert (np.abs(covariance - np.cov(features, rowvar=False)) <= bound * (1 + 1e-3)).all()


@pytest.mark.parametrize("run_blocks", [1, 3, 2**10])
def test_neither_the_lengths_of_blocks_nor_the_limbs_change_a_bit(
    monkeypatch: pytest.MonkeyPatch, run_blocks: int
) -> None:
    features = np.random.default_rng(3).normal(size=(8 * BLOCK_FRAMES + 77, 5)).astype(np.float32)
    exponent = grid_exponent(float(np.abs(features).max()))
    whole = Moments.from_frames(features, exponent)
    cuts = [0, 1, 230, 230, BLOCK_FRAMES, 3 * BLOCK_FRAMES + 5, 3 * BLOCK_FRAMES + 6, len(features)]
    blocks = [features[begin:end] for begin, end in pairwise(cuts)]
    monkeypatch.setattr(moments_module, "RUN_BLOCKS", run_blocks)
    assert_identical(Moments.from_blocks(blocks, 5, exponent), whole)
    of_each = [Moments.from_frames(block, exponent) for block in blocks]
    assert_identical(sum(of_each, Moments.zero(5, exponent)), whole)


def test_the_thread_count_changes_nothing() -> None:
    features = np.random.default_rng(2).normal(size=(1500, 300)).astype(np.float32)
    exponent = grid_exponent(float(np.abs(features).max()))
    with threadpool_limits(1):
        alone = Moments.from_frames(features, exponent)
    with threadpool_limits(2):
        assert_identical(Moments.from_frames(features, exponent), alone)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_float_type_is_read_exactly(dtype: type[np.floating]) -> None:
    features = np.array([[0.5, -3.0], [1.25, 8.0]], dtype)
    assert_identical(Moments.from_frames(features, -10), Moments.from_frames(features.astype(np.float64), -10))


def test_a_pickle_is_the_same_value() -> None:
    moments = moments_of(float32s([[1, 2, 3], [4, 5, 7]]))
    assert_identical(pickle.loads(pickle.dumps(moments)), moments)


@given(st.floats(0, float(np.finfo(np.float32).max)))
def test_the_grid_holds_the_magnitude_and_is_the_finest_that_does(magnitude: float) -> None:
    exponent = grid_exponent(magnitude)
    assert math.ldexp(magnitude, -exponent) < 2**GRID_BITS
    assert magnitude == 0 or math.ldexp(magnitude, 1 - exponent) >= 2**GRID_BITS


@given(st.floats(2.0**-20, 2.0**20, width=32))
def test_the_magnitude_itself_fits_its_grid(magnitude: float) -> None:
    exponent = grid_exponent(magnitude)
    steps = round(math.ldexp(magnitude, -exponent))
    assert Moments.from_frames(np.array([[magnitude, -magnitude]]), exponent).sums.tolist() == [steps, -steps]


@pytest.mark.parametrize("magnitude", [math.nan, math.inf, -1.0, 1e39])
def test_a_magnitude_that_is_not_finite_is_an_error(magnitude: float) -> None:
    with pytest.raises(DataError, match=r"no finite magnitude\n.*train frames\n.*largest absolute value.*\n.*again"):
        grid_exponent(magnitude)


def magnitudes_of(values: Sequence[float]) -> Magnitudes:
    none = Magnitudes(largest=(0.0, ""), exponents=Counter())
    return sum((Magnitudes.of(value, f"video {index}") for index, value in enumerate(values)), none)


@given(st.lists(st.floats(1.0, 1000.0) | st.just(0.0), min_size=1), st.randoms())
def test_the_grid_of_many_videos_is_that_of_the_largest_in_any_order(values: list[float], random: Random) -> None:
    assert magnitudes_of(values).grid_exponent() == grid_exponent(max(values))
    shuffled = [Magnitudes.of(value, f"video {index}") for index, value in enumerate(values)]
    random.shuffle(shuffled)
    assert reduce(add, shuffled) == magnitudes_of(values)


@pytest.mark.parametrize("outlier", [6e4, 3e38])
def test_a_video_out_of_all_proportion_is_named(outlier: float) -> None:
    with pytest.raises(DataError) as caught:
        magnitudes_of([0.0, 0.0, 0.0, 12.0, outlier, 9.0, 1.0]).grid_exponent()
    assert caught.value.what == "The features of a video are out of all proportion"
    assert caught.value.where == "video video 4"
    assert caught.value.why == f"its largest is {outlier:g}; in half of the train videos none reaches 16"


def test_the_median_video_keeps_the_precision_of_float16() -> None:
    assert magnitudes_of([1.0, 1.0, 2047.0]).grid_exponent() == grid_exponent(2047.0)
    with pytest.raises(DataError, match="out of all proportion"):
        magnitudes_of([1.0, 1.0, 2048.0]).grid_exponent()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1024.5, -1025.0])
def test_the_first_feature_outside_the_grid_is_named(bad: float) -> None:
    features = np.zeros((4, DIMENSIONS), np.float32)
    features[2, 1] = features[3, 0] = bad
    with pytest.raises(DataError, match=r"outside the grid.*\n.*frame 2 .*dimension 1\n.*ends at ±1024.0\n.*verify"):
        moments_of(features)


@pytest.mark.parametrize("other", [Moments.zero(DIMENSIONS + 1, EXPONENT), Moments.zero(DIMENSIONS, EXPONENT + 1)])
def test_moments_of_different_spaces_do_not_add(other: Moments) -> None:
    with pytest.raises(ValueError, match="different spaces"):
        Moments.zero(DIMENSIONS, EXPONENT) + other


@pytest.mark.parametrize("name", ["products_high", "products_low"])
@pytest.mark.parametrize("shape", [(2, 2), (3,), (3, 2), (3, 3, 1)])
def test_products_of_another_shape_than_the_sums_are_refused(name: str, shape: tuple[int, ...]) -> None:
    none = Moments.zero(DIMENSIONS, EXPONENT)
    products: dict[str, Any] = {"products_high": none.products_high, "products_low": none.products_low}
    products[name] = np.zeros(shape, products[name].dtype)
    with pytest.raises(ValueError, match=r"products must be \(3, 3\), got .*" + re.escape(str(shape))):
        Moments(0, EXPONENT, none.sums, **products)


@settings(max_examples=5)
@given(st.integers(0, 1))
def test_covariance_needs_two_frames(count: int) -> None:
    with pytest.raises(ZeroDivisionError):
        moments_of(np.zeros((count, DIMENSIONS))).covariance()


def test_repr_shows_shapes_not_data() -> None:
    assert repr(moments_of(np.zeros((2, DIMENSIONS)))) == "Moments(count=2, dimensions=3, step=2**-11)"
