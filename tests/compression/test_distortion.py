"""What quantization costs, against NumPy on all coefficients at once."""

from collections.abc import Sequence
from functools import reduce
from operator import add

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yt8m_pipeline.compression.distortion import Distortion, relative_error_of_both, relative_error_of_facts
from yt8m_pipeline.compression.histogram import Histogram
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.data_model import Float32Array

QUANTIZERS = (Quantizer.uniform(), Quantizer(np.array([-1, 0.25, 3], np.float32), "optimal"))

numbers = st.one_of(st.floats(-5, 5, width=32), st.sampled_from([-2.0, 2.0, 0.0, 1e6]))
frames = st.lists(st.lists(numbers, min_size=3, max_size=3), min_size=1, max_size=4)
videos = st.lists(frames, max_size=4)


def of(quantizer: Quantizer, values: Float32Array) -> Distortion:
    return Distortion.of(quantizer, values, quantizer.decode(quantizer.encode(values)))


def array(rows: Sequence[Sequence[float]]) -> Float32Array:
    return np.array(rows, np.float32).reshape(-1, 3)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
@given(videos)
def test_sums_over_videos_are_those_of_all_coefficients(quantizer: Quantizer, rows: list[list[list[float]]]) -> None:
    found = reduce(add, (of(quantizer, array(video)) for video in rows), Distortion())
    everything = array([frame for video in rows for frame in video])
    exact = everything.astype(np.float64)
    error = np.square(exact - quantizer.decode(quantizer.encode(everything)))
    assert found.coefficients == exact.size
    assert found.clipped == (int((abs(exact) > 2).sum()) if quantizer.name == "uniform" else 0)
    if exact.size:
        assert found.mean_squared_error == pytest.approx(error.mean(), rel=1e-12)
        assert found.variance == pytest.approx(exact.var(), rel=1e-6, abs=1e-9)
        assert found.clipped_fraction == found.clipped / exact.size


def test_the_ends_of_the_uniform_range_are_not_clipped() -> None:
    values = np.array([-2, 2, np.nextafter(np.float32(2), np.float32(3)), -2.5, np.inf], np.float32)
    assert Quantizer.uniform().clipped(values) == 3


def test_one_coefficient_beyond_the_codebook_can_make_most_of_the_error() -> None:
    quantizer = Quantizer(np.linspace(-2, 2, 101, dtype=np.float32), "optimal")
    values = np.append(np.random.default_rng(0).uniform(-2, 2, 1503), 3.0).astype(np.float32)[:, np.newaxis]
    found = of(quantizer, values) + Distortion()
    errors = np.square(values.astype(np.float64) - quantizer.decode(quantizer.encode(values)))
    assert (found.overloaded, found.overload_fraction) == (1, 1 / 1504)
    assert found.overload_error == errors[-1]
    assert found.overload_error_fraction == pytest.approx(float(errors[-1, 0] / errors.sum()))
    assert found.overload_error_fraction > 0.8
    assert Distortion().overload_fraction == Distortion().overload_error_fraction == 0


def test_the_error_is_a_share_of_the_variance() -> None:
    values = np.random.default_rng(0).normal(size=(5000, 3)).astype(np.float32)
    found = of(Quantizer.uniform(), values)
    assert found.relative_error == pytest.approx(found.mean_squared_error / values.var(dtype=np.float64))
    assert found.clipped_fraction == pytest.approx(0.0455, abs=0.005)


def test_where_nothing_varies_there_is_no_share_of_it() -> None:
    assert of(Quantizer.uniform(), np.full((4, 3), 1.5, np.float32)).relative_error is None
    assert Distortion().relative_error is None
    assert (Distortion().clipped_fraction, Distortion().mean_squared_error, Distortion().variance) == (0, 0, 0)


def test_the_errors_of_codes_made_from_optimal_codes_add_up() -> None:
    """Each optimal level is the centroid of its cell, so the two errors are uncorrelated on what it was fitted to."""
    values = np.random.default_rng(0).normal(size=(20_000, 3)).astype(np.float32)
    optimal, uniform = Quantizer.fit(Histogram.from_values(values), 12), Quantizer.uniform()
    between = optimal.decode(optimal.encode(values))
    at_the_end = uniform.decode(uniform.encode(between))
    total = np.square(values.astype(np.float64) - at_the_end).mean()
    steps = of(optimal, values), of(uniform, between)
    assert total == pytest.approx(sum(step.mean_squared_error for step in steps), rel=1e-3)
    first, added = (step.relative_error or 0.0 for step in steps)
    relative = total / values.astype(np.float64).var()
    assert relative_error_of_both(first, added) == pytest.approx(relative, rel=1e-3)


def test_the_error_of_all_partitions_is_weighted_by_their_coefficients() -> None:
    facts = [
        {"coefficients": 3, "mean_squared_error": 0.5, "variance": 2.0},
        {"coefficients": 1, "mean_squared_error": 0.1, "variance": 1.0},
        {"coefficients": 0, "mean_squared_error": 0.0, "variance": 0.0},
    ]
    assert relative_error_of_facts(facts) == pytest.approx(1.6 / 7)
    assert relative_error_of_facts([]) == 0
