"""Every figure against plain NumPy on the decoded values, and the bound against closed forms."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from scipy import integrate, stats

from yt8m_pipeline.compression.histogram import Histogram
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.data_model import Float32Array, Float64Array
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.report.quantizer_statistics import LEAST_BINS, VALUES_PER_BIN, Density, measure

ENOUGH = LEAST_BINS * VALUES_PER_BIN


def coefficients(frames: int = 3000, seed: int = 0) -> Float32Array:
    """Four dimensions that differ: Gaussian, Laplace, wide and off centre, and nearly all beyond [−2, 2]."""
    rng = np.random.default_rng(seed)
    columns = rng.normal(size=frames), rng.laplace(size=frames), rng.normal(1, 3, frames), rng.normal(4, 0.5, frames)
    return np.stack(columns, axis=1).astype(np.float32)


def fitted(values: Float32Array, scope: str, levels: int = 256) -> Quantizer:
    return Quantizer.fit(Histogram.from_values(values, 1 if scope == "shared" else values.shape[1]), levels)


def squared_errors(values: Float32Array, decoded: Float32Array | Float64Array) -> Float64Array:
    squared: Float64Array = (values.astype(np.float64) - decoded) ** 2
    return np.asarray(squared.mean(axis=0))


def min_max_errors(column: Float32Array, cells: int) -> float:
    """One value after another, by the nearest of the middles."""
    low, high = float(column.min()), float(column.max())
    middles = low + (np.arange(cells) + 0.5) * (high - low) / cells
    return float(np.mean([((middles - value) ** 2).min() for value in column.astype(np.float64)]))


@pytest.mark.parametrize("scope", ["shared", "per_dimension"])
@pytest.mark.parametrize("levels", [256, 16])
def test_every_figure_is_that_of_plain_numpy_on_the_decoded_values(scope: str, levels: int) -> None:
    values = coefficients()
    values[7] = 60  # beyond every cell
    quantizer, uniform = fitted(coefficients(seed=1), scope, levels), Quantizer.uniform()
    found = measure(np.array_split(values, 7), quantizer)
    figures, measures = found.by_dimension, found.by_dimension.measures()
    distortion = squared_errors(values, quantizer.decode(quantizer.encode(values)))
    of_uniform = squared_errors(values, uniform.decode(uniform.encode(values)))
    of_min_max = np.array([min_max_errors(column, levels) for column in values.T])
    variance = values.astype(np.float64).var(axis=0)
    assert found.frames == 3000
    np.testing.assert_allclose(figures.variance, variance, rtol=1e-12)
    np.testing.assert_allclose(measures["distortion"], distortion, rtol=1e-12)
    np.testing.assert_allclose(measures["effective_bits"], 0.5 * np.log2(variance / distortion), rtol=1e-12)
    np.testing.assert_allclose(measures["ratio_to_uniform"], distortion / of_uniform, rtol=1e-12)
    np.testing.assert_allclose(measures["ratio_to_min_max_uniform"], distortion / of_min_max, rtol=1e-9)
    np.testing.assert_array_equal(measures["clipped_by_uniform"], (np.abs(values) > 2).mean(axis=0))
    np.testing.assert_allclose(measures["ratio_to_panter_dite"], distortion / figures.panter_dite)
    beyond, errors = quantizer.overloaded(values), (values - quantizer.decode(quantizer.encode(values))) ** 2
    assert beyond.any()
    np.testing.assert_array_equal(measures["overload"], beyond.mean(axis=0))
    share = np.where(beyond, errors, 0).sum(axis=0) / errors.sum(axis=0)
    np.testing.assert_allclose(measures["overload_share_of_distortion"], share, rtol=1e-4)


@pytest.mark.parametrize("scope", ["shared", "per_dimension"])
def test_together_is_all_coefficients_as_one_set(scope: str) -> None:
    values = coefficients()
    quantizer = fitted(values, scope)
    found = measure([values], quantizer)
    together = found.together.measures()
    error = float(squared_errors(values, quantizer.decode(quantizer.encode(values))).mean())
    variance = values.astype(np.float64).var()
    assert together["distortion"] == pytest.approx([error])
    assert together["effective_bits"] == pytest.approx([0.5 * np.log2(variance / error)])
    assert together["clipped_by_uniform"] == pytest.approx([(np.abs(values) > 2).mean()])
    pooled = Density.of_buckets(Histogram.from_values(values).bucket_counts[0]).panter_dite(256)
    own = found.by_dimension.panter_dite.mean()
    assert found.together.panter_dite == pytest.approx([pooled if scope == "shared" else own])
    assert own < 0.9 * pooled


def test_how_the_frames_are_cut_into_blocks_changes_nothing() -> None:
    values = coefficients()
    quantizer = fitted(values, "shared")
    whole, parts = measure([values], quantizer).arrays(), measure([*np.split(values, 30)], quantizer).arrays()
    for name, expected in whole.items():
        assert parts[name] == pytest.approx(expected, rel=1e-12), name


def student(x: float) -> float:
    scale = math.sqrt(5 / 3)
    return float(stats.t(5).pdf(x * scale) * scale)


CLOSED_FORMS = {
    "gaussian": (stats.norm(), math.sqrt(3) * math.pi / 2),
    "laplace": (stats.laplace(scale=math.sqrt(0.5)), 9 / 2),
    "student_t5": (
        stats.t(5, scale=math.sqrt(3 / 5)),
        (2 * integrate.quad(lambda x: student(x) ** (1 / 3), 0, math.inf, limit=500)[0]) ** 3 / 12,
    ),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_the_bound_is_the_closed_form_of_panter_and_dite(name: str) -> None:
    """The sample is the quantiles themselves: no chance, but still no tail beyond 1 in 2,000,000."""
    distribution, factor = CLOSED_FORMS[name]
    sample = distribution.ppf((np.arange(1_000_000) + 0.5) / 1_000_000).astype(np.float32)
    density = Density.of_buckets(Histogram.from_values(sample).bucket_counts[0])
    tolerance = 0.08 if name == "student_t5" else 0.03
    assert density.panter_dite(256) == pytest.approx(factor / 256**2, rel=tolerance)
    assert density.panter_dite(16) == pytest.approx(256 * density.panter_dite(256))


@pytest.mark.parametrize("name", ["gaussian", "laplace"])
def test_the_exact_optimum_of_a_large_sample_comes_near_the_bound(name: str) -> None:
    sample = CLOSED_FORMS[name][0].rvs(size=(300_000, 1), random_state=3).astype(np.float32)
    found = measure([sample], fitted(sample, "shared")).together.measures()
    assert 0.85 < found["ratio_to_panter_dite"][0] < 1.05
    assert found["ratio_to_uniform"][0] < 0.02
    assert 6.9 < found["effective_bits"][0] < 7.5


@pytest.mark.parametrize("cells", [False, True])
def test_a_density_integrates_to_one_and_is_that_of_the_distribution(cells: bool) -> None:
    sample = np.random.default_rng(0).normal(size=200_000).astype(np.float32)
    histogram = Histogram.from_values(sample)
    counts = histogram.bucket_counts[0]
    density = Density.over_cells(counts, Quantizer.fit(histogram).levels) if cells else Density.of_buckets(counts)
    assert density.heights @ np.diff(density.edges) == pytest.approx(1)
    assert (np.diff(density.edges) > 0).all()
    assert (density.edges[0] <= sample.min()) & (density.edges[-1] >= sample.max())
    middles = (density.edges[1:] + density.edges[:-1]) / 2
    inner = np.abs(middles) < 2
    assert len(density.heights) > 200
    ratios = density.heights[inner] / stats.norm.pdf(middles[inner])
    np.testing.assert_allclose(ratios, 1, atol=0.6)
    assert np.average(ratios, weights=np.diff(density.edges)[inner]) == pytest.approx(1, abs=0.01)


def test_cells_are_joined_where_values_are_few() -> None:
    sample = np.random.default_rng(0).normal(size=2000).astype(np.float32)
    histogram = Histogram.from_values(sample)
    density = Density.over_cells(histogram.bucket_counts[0], Quantizer.fit(histogram).levels)
    assert len(density.heights) == 20
    assert density.heights @ np.diff(density.edges) == pytest.approx(1)


def test_fewer_frames_than_a_density_needs_have_no_bound() -> None:
    enough, few = coefficients(ENOUGH), coefficients(ENOUGH - 1)
    assert np.isfinite(measure([enough], fitted(enough, "shared")).by_dimension.panter_dite).all()
    found = measure([few], fitted(few, "shared"))
    assert np.isnan(found.by_dimension.panter_dite).all()
    assert np.isfinite(found.together.panter_dite).all()
    row = next(row for row in found.summary() if row["measure"] == "ratio_to_panter_dite")
    assert row["together"] > 0
    assert {row[name] for name in ("mean", "median", "best", "best_dimension", "worst", "worst_dimension")} == {None}
    assert found.arrays()["ratio_to_panter_dite"] == [None] * 4


def test_the_summary_names_the_best_and_the_worst_dimension() -> None:
    found = measure([coefficients()], fitted(coefficients(seed=1), "shared"))
    rows = {row["measure"]: row for row in found.summary()}
    for name, values in found.by_dimension.measures().items():
        ends = (values.argmin(), values.argmax())
        best, worst = reversed(ends) if name == "effective_bits" else ends
        row = rows[name]
        assert (row["best_dimension"], row["worst_dimension"]) == (best, worst)
        assert (row["best"], row["worst"]) == (values[best], values[worst])
        assert (row["mean"], row["median"]) == pytest.approx((values.mean(), np.median(values)))
    assert rows["clipped_by_uniform"]["worst_dimension"] == 3


def test_a_dimension_that_does_not_vary_has_no_bits_and_no_ratio_to_its_range() -> None:
    values = coefficients()
    values[:, 1] = 0.3
    found = measure([values], fitted(values, "shared"))
    arrays = found.arrays()
    assert found.by_dimension.variance[1] == found.by_dimension.min_max_uniform[1] == 0
    assert arrays["effective_bits"][1] is arrays["ratio_to_min_max_uniform"][1] is None
    assert all(value is not None for name in arrays for value in (arrays[name][0], arrays[name][2]))


def test_the_public_codebook_is_as_good_as_itself() -> None:
    measures = measure([coefficients()], Quantizer.uniform()).by_dimension.measures()
    np.testing.assert_array_equal(measures["ratio_to_uniform"], 1)


class CountedPasses:
    """Blocks that are made anew each time, and count how often, and how many are alive."""

    def __init__(self) -> None:
        self.passes = 0

    def __iter__(self) -> Iterator[Float32Array]:
        self.passes += 1
        return (coefficients(10, seed) for seed in range(20))


def test_two_passes_are_enough() -> None:
    blocks = CountedPasses()
    assert measure(blocks, Quantizer.uniform()).frames == 200
    assert blocks.passes == 2


def test_a_codebook_of_other_dimensions_is_an_error() -> None:
    with pytest.raises(DataError, match=r"another number of dim.*\n.*rgb_codes\n.*4 dimensions\n.*one and the"):
        measure([coefficients()[:, :3]], fitted(coefficients(), "per_dimension"))


def test_a_coefficient_that_is_no_number_is_an_error() -> None:
    values = coefficients()
    values[5, 2] = np.nan
    with pytest.raises(DataError, match=r"cannot be encoded\n.*1 of 12000 coefficients\n.*not a number\n.*verify"):
        measure([values], Quantizer.uniform())
