import itertools
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kmeans1d
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from yt8m_pipeline.compression.histogram import STEPS_PER_UNIT, Histogram
from yt8m_pipeline.compression.optimal_cells import Line, optimal_cells
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.data_model import Float32Array, Float64Array
from yt8m_pipeline.errors import DataError


def float32s(values: object) -> Float32Array:
    return np.array(values, np.float32)


any_float = st.floats(width=32, allow_nan=False)
floats = hnp.arrays(np.float32, hnp.array_shapes(min_side=0), elements=any_float)
codebooks = st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=20).map(
    lambda levels: Quantizer(np.unique(np.array(levels, np.float32)), "optimal")
)
points = st.lists(st.integers(-200, 200).map(lambda step: step / 16), min_size=1, max_size=14)


def histogram_of(values: list[float] | Float64Array) -> Histogram:
    return Histogram.from_values(np.array(values, np.float32))


def squared_error(values: Float32Array | Float64Array, quantizer: Quantizer) -> float:
    decoded = quantizer.decode(quantizer.encode(values.astype(np.float32))).astype(np.float64)
    return float(((decoded - values) ** 2).mean())


def own_levels(rows: list[list[float]]) -> Quantizer:
    return Quantizer(float32s(rows), "optimal")


def within(cell: Float64Array) -> float:
    return float(((cell - cell.mean()) ** 2).sum())


def least_error_by_trying_all(values: list[float], levels: int) -> float:
    distinct = np.unique(values)
    cuts = itertools.combinations(range(1, len(distinct)), min(levels, len(distinct)) - 1)
    bounds = ([-math.inf, *distinct[list(cut)], math.inf] for cut in cuts)
    array = np.array(values)
    return min(
        sum(within(array[(low <= array) & (array < high)]) for low, high in itertools.pairwise(bound)) / len(array)
        for bound in bounds
    )


def least_errors_by_plain_recursion(points: Float64Array, counts: Float64Array, most: int) -> list[float]:
    """The textbook O(levels · n²) recursion over a table of all segments' errors."""
    n = len(points)
    errors = np.full((n + 1, n + 1), np.inf)
    for first in range(n):
        weight = np.cumsum(counts[first:])
        mean = np.cumsum(counts[first:] * points[first:]) / weight
        errors[first, first + 1 :] = (
            np.cumsum(counts[first:] * (points[first:] - points[first]) ** 2) - weight * (mean - points[first]) ** 2
        )
    best, totals = errors[0], []
    for _ in range(most):
        totals.append(float(best[n]))
        best = (best[:, np.newaxis] + errors).min(axis=0)
    return totals


@given(points, st.integers(1, 5))
def test_no_choice_of_cells_is_better(values: list[float], levels: int) -> None:
    quantizer = Quantizer.fit(histogram_of(values), levels)
    assert quantizer.name == "optimal"
    assert len(quantizer.levels) == min(levels, len(set(values)))
    error = squared_error(np.array(values), quantizer)
    assert error == pytest.approx(least_error_by_trying_all(values, levels), rel=1e-5, abs=1e-10)


@pytest.mark.parametrize("seed", range(4))
def test_it_is_as_good_as_the_plain_recursion_for_every_number_of_levels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    histogram = histogram_of(rng.standard_t(3, size=400) * rng.integers(1, 5, size=400))
    centroids, counts = histogram.centroids(), histogram.occupied()[0].astype(np.float64)
    for levels, least in enumerate(least_errors_by_plain_recursion(centroids, counts, 40), 1):
        fitted = Quantizer.fit(histogram, levels)
        cells = fitted.encode(centroids.astype(np.float32))
        error = (counts * (fitted.levels[cells].astype(np.float64) - centroids) ** 2).sum()
        assert error == pytest.approx(least, rel=1e-5)


SAMPLES: dict[str, Callable[[np.random.Generator], Float64Array]] = {
    "gaussian": lambda rng: rng.normal(size=100_000),
    "laplace": lambda rng: rng.laplace(size=100_000),
    "student_t5": lambda rng: rng.standard_t(5, size=100_000),
}


@pytest.fixture(scope="module", params=SAMPLES)
def fitted_sample(request: pytest.FixtureRequest) -> tuple[str, Float32Array, Histogram, Quantizer]:
    sample = SAMPLES[request.param](np.random.default_rng(0))
    unit = (sample / sample.std()).astype(np.float32)
    histogram = Histogram.from_values(unit)
    return request.param, unit, histogram, Quantizer.fit(histogram)


def test_distortion_is_that_of_the_exact_optimum(
    fitted_sample: tuple[str, Float32Array, Histogram, Quantizer],
) -> None:
    """Against exact dynamic programming on the sorted samples themselves; uniform, quantile and Lloyd's are far off."""
    name, sample, _, quantizer = fitted_sample
    least = {"gaussian": 3.8e-5, "laplace": 5.9e-5, "student_t5": 6.5e-5}[name]
    assert len(quantizer.levels) == 256
    assert squared_error(sample, quantizer) < 1.05 * least
    assert squared_error(sample, Quantizer.uniform()) > 100 * least


def test_levels_are_the_centroids_of_their_cells(
    fitted_sample: tuple[str, Float32Array, Histogram, Quantizer],
) -> None:
    _, _, histogram, quantizer = fitted_sample
    codes = quantizer.encode(histogram.centroids().astype(np.float32))
    counts, sums = (np.bincount(codes, weights=weights, minlength=256) for weights in histogram.occupied())
    centroids = sums / counts / STEPS_PER_UNIT
    np.testing.assert_array_equal(centroids.astype(np.float32), quantizer.levels)


def test_the_fit_depends_on_the_histogram_only() -> None:
    sample = np.random.default_rng(5).normal(size=3000).astype(np.float32)
    halves = Histogram.from_values(sample[2000:]) + Histogram.from_values(sample[:2000])
    assert Quantizer.fit(halves, 16).fingerprint == Quantizer.fit(Histogram.from_values(sample), 16).fingerprint


def test_few_distinct_values_are_the_levels() -> None:
    quantizer = Quantizer.fit(histogram_of([3.0, -1.5, 3.0, 0.25]))
    assert quantizer.levels.tolist() == [-1.5, 0.25, 3.0]
    assert Quantizer.fit(histogram_of([-1e-9, 1e-9])).levels.tolist() == [0.0]


def test_an_empty_histogram_is_an_error() -> None:
    with pytest.raises(DataError, match=r"nothing to fit.*\n.*train frames\n.*no coefficient\n.*add videos"):
        Quantizer.fit(Histogram.zero())


def test_each_dimension_has_the_optimum_of_its_own_values() -> None:
    rng = np.random.default_rng(7)
    sample = (rng.laplace(size=(3000, 3)) * [0.1, 1.0, 5.0]).astype(np.float32)
    together = Quantizer.fit(Histogram.from_values(sample, dimensions=3), 40)
    assert (together.scope, together.levels.shape) == ("per_dimension", (3, 40))
    for dimension in range(3):
        alone = Quantizer.fit(Histogram.from_values(sample[:, dimension]), 40)
        np.testing.assert_array_equal(together.levels[dimension], alone.levels, strict=True)


def test_a_dimension_with_few_distinct_values_keeps_them_and_is_filled_up_beside_a_longer_one() -> None:
    values = np.stack([np.linspace(-2, 2, 300), np.full(300, -0.5), np.full(300, 1000.0)], axis=1).astype(np.float32)
    quantizer = Quantizer.fit(Histogram.from_values(values, dimensions=3))
    assert quantizer.levels.shape == (3, 256)
    np.testing.assert_array_equal(quantizer.decode(quantizer.encode(values))[:, 1:], values[:, 1:])
    assert np.ptp(quantizer.levels[1]) < 3e-4


per_dimension = st.integers(1, 6).flatmap(
    lambda length: st.lists(
        st.lists(st.floats(-100, 100, width=32), min_size=length, max_size=length, unique=True).map(sorted),
        min_size=1,
        max_size=4,
    ).map(own_levels)
)


@given(per_dimension, st.data())
def test_codes_and_values_of_each_dimension_are_those_of_its_own_levels(
    quantizer: Quantizer, data: st.DataObject
) -> None:
    shape = (*data.draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=4)), len(quantizer.levels))
    values = data.draw(hnp.arrays(np.float32, shape, elements=any_float))
    codes = quantizer.encode(values)
    decoded = quantizer.decode(codes)
    assert codes.dtype == np.uint8
    assert codes.shape == decoded.shape == shape
    for dimension, levels in enumerate(quantizer.levels):
        alone = Quantizer(levels, "optimal")
        np.testing.assert_array_equal(codes[..., dimension], alone.encode(values[..., dimension]))
        np.testing.assert_array_equal(decoded[..., dimension], levels[codes[..., dimension]], strict=True)
    np.testing.assert_array_equal(quantizer.encode(decoded), codes)


@pytest.mark.parametrize("shape", [(4,), (3, 1), (2, 3), ()])
def test_another_number_of_dimensions_than_the_codebook_has_is_an_error(shape: tuple[int, ...]) -> None:
    quantizer = own_levels([[0, 1], [0, 2]])
    text = r"another number of dimensions\n.*rgb_codes\n.*levels for 2 dimensions\n.*one and the same dataset"
    with pytest.raises(DataError, match=text):
        quantizer.encode(np.zeros(shape, np.float32))
    with pytest.raises(DataError, match=text):
        quantizer.decode(np.zeros(shape, np.uint8))


def test_a_reader_that_knows_shared_levels_only_stops_at_levels_per_dimension(tmp_path: Path) -> None:
    quantizer = own_levels([[0, 1], [0, 2]])
    quantizer.save(str(tmp_path / "quantizer.npz"))
    with np.load(tmp_path / "quantizer.npz") as arrays, pytest.raises(KeyError):
        arrays["levels"]
    loaded = Quantizer.load(str(tmp_path / "quantizer.npz"))
    np.testing.assert_array_equal(loaded.levels, quantizer.levels, strict=True)
    assert loaded.fingerprint == quantizer.fingerprint


RAW, RAW_LEVELS = 12_000, 256
DISCRETISED: dict[str, Callable[[np.random.Generator], Float64Array]] = {
    **SAMPLES,
    "sparse": lambda rng: np.maximum(rng.normal(size=100_000) - 0.5, 0) + 0.02 * rng.normal(size=100_000),
    "bimodal": lambda rng: rng.choice([-1, 1], 100_000) + 0.45 * rng.normal(size=100_000),
}


@pytest.mark.parametrize("shape", DISCRETISED)
def test_the_buckets_cost_less_than_three_thousandths_of_the_distortion(shape: str) -> None:
    """Against exact one-dimensional k-means of the raw values, ours and another program's."""
    sample = np.sort(DISCRETISED[shape](np.random.default_rng(1))[:RAW])
    unit = ((sample - sample.mean()) / sample.std()).astype(np.float32)
    raw = unit.astype(np.float64)
    line = Line(np.arange(RAW + 1, dtype=np.float64), np.concatenate([[0], np.cumsum(raw)]))
    (ends,) = optimal_cells([line], RAW_LEVELS)
    least = ((raw**2).sum() - line.gain(ends)) / RAW
    clusters, centroids = kmeans1d.cluster(raw, RAW_LEVELS)
    assert least == pytest.approx(((raw - np.array(centroids)[clusters]) ** 2).mean(), rel=1e-9)
    assert squared_error(raw, Quantizer.fit(Histogram.from_values(unit), RAW_LEVELS)) < 1.003 * least


@settings(max_examples=25)
@given(
    st.sampled_from(sorted(DISCRETISED)),
    st.floats(math.log(1e-6), math.log(1e6)).map(math.exp),
    st.integers(0, 5),
)
def test_at_every_scale_the_buckets_cost_less_than_three_thousandths(shape: str, scale: float, seed: int) -> None:
    """Against another program's exact one-dimensional k-means of the raw values."""
    sample = np.sort(DISCRETISED[shape](np.random.default_rng(seed))[:4000])
    values = ((sample - sample.mean()) / sample.std() * scale).astype(np.float32)
    raw = values.astype(np.float64)
    clusters, centroids = kmeans1d.cluster(raw, 256)
    least = ((raw - np.array(centroids)[clusters]) ** 2).mean()
    exponents = np.array([np.frexp(raw.var())[1] // 2])
    for histogram in (
        Histogram.from_values(values, exponents=exponents),
        Histogram.from_values(np.stack([values, values[::-1]], axis=1), 2, np.repeat(exponents, 2)),
    ):
        quantizer = Quantizer.fit(histogram)
        levels = quantizer.levels.reshape(-1, quantizer.length)[0]
        assert squared_error(raw, Quantizer(levels, "optimal")) < 1.003 * least


def test_overload_is_what_lies_beyond_the_outer_cells() -> None:
    """The outer cells reach half a step beyond the outer levels."""
    shared, own = Quantizer(float32s([-2, 0, 1]), "optimal"), own_levels([[-2, 0, 1], [0, 10, 20]])
    values = float32s([[-3.01, -5.01], [-3.0, -5.0], [0.3, 3.0], [1.5, 25.0], [1.51, 25.1]])
    expected = [True, False, False, False, True]
    assert shared.overloaded(values[:, 0]).tolist() == expected
    assert own.overloaded(values).tolist() == [[found, found] for found in expected]
    assert Quantizer(float32s([1]), "optimal").overloaded(float32s([0, 1, 2])).tolist() == [True, False, True]


@given(codebooks, floats)
def test_optimal_codes_are_those_of_the_nearest_level(quantizer: Quantizer, values: Float32Array) -> None:
    finite = np.clip(values, -200, 200).astype(np.float64)
    distances = np.abs(finite[..., np.newaxis] - quantizer.levels.astype(np.float64))
    codes = quantizer.encode(finite.astype(np.float32))
    chosen = np.take_along_axis(distances, codes[..., np.newaxis].astype(np.int64), axis=-1)[..., 0]
    np.testing.assert_allclose(chosen, distances.min(axis=-1), rtol=1e-15, atol=0)


@given(st.sets(st.integers(-20, 20), min_size=2))
def test_ties_go_to_the_lower_level(steps: set[int]) -> None:
    """On a grid where float64 is exact and every tie occurs, argmin takes the first of equal distances."""
    levels = float32s(sorted(steps))
    halves = np.arange(-25, 25, 0.5, dtype=np.float32)
    nearest = np.abs(halves[:, np.newaxis].astype(np.float64) - levels.astype(np.float64)).argmin(axis=1)
    np.testing.assert_array_equal(Quantizer(levels, "optimal").encode(halves), nearest.astype(np.uint8), strict=True)


@given(st.one_of(codebooks, st.just(Quantizer.uniform())), floats)
def test_encoding_is_total_monotone_and_keeps_the_shape(quantizer: Quantizer, values: Float32Array) -> None:
    codes = quantizer.encode(values)
    assert codes.dtype == np.uint8
    assert codes.shape == values.shape == quantizer.decode(codes).shape
    assert (np.diff(quantizer.encode(np.sort(values, axis=None)).astype(int)) >= 0).all()


@given(st.one_of(codebooks, st.just(Quantizer.uniform())))
def test_every_code_survives_decoding_and_encoding(quantizer: Quantizer) -> None:
    codes = np.arange(len(quantizer.levels), dtype=np.uint8)
    decoded = quantizer.decode(codes)
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(quantizer.encode(decoded), codes)


@given(st.one_of(codebooks, st.just(Quantizer.uniform())))
def test_infinite_values_go_to_the_end_levels(quantizer: Quantizer) -> None:
    ends = quantizer.encode(np.array([-np.inf, np.inf], np.float32))
    assert ends.tolist() == [0, len(quantizer.levels) - 1]


@pytest.mark.parametrize("quantizer", [Quantizer.uniform(), Quantizer(float32s([0, 1]), "optimal")])
def test_nan_cannot_be_encoded(quantizer: Quantizer) -> None:
    with pytest.raises(DataError, match=r"cannot be encoded\n.*1 of 3 coefficients\n.*not a number\n.*verify"):
        quantizer.encode(float32s([0, np.nan, 1]))


def test_a_code_without_a_level_is_an_error() -> None:
    with pytest.raises(
        DataError, match=r"has no level\n.*rgb_codes\n.*code 2, but the codebook has 2.*\n.*quantizer.npz"
    ):
        Quantizer(float32s([0, 1]), "optimal").decode(np.array([0, 2], np.uint8))


def test_uniform_levels_are_bit_for_bit_those_of_the_public_reader() -> None:
    codes = np.arange(256, dtype=np.uint8)
    decoded = Quantizer.uniform().decode(codes)
    scalar, bias = np.float32(4.0 / 255.0), np.float32(4.0 / 512.0 - 2.0)
    np.testing.assert_array_equal(decoded, codes.astype(np.float32) * scalar + bias, strict=True)
    np.testing.assert_allclose(decoded, codes * 4.0 / 255.0 + 4.0 / 512.0 - 2.0, rtol=0, atol=2.0**-21)


@given(hnp.arrays(np.float32, 40, elements=st.floats(-3, 3, width=32)))
def test_uniform_codes_are_the_floor_rule_exactly(values: Float32Array) -> None:
    two = np.float32(2)
    expected = [math.floor(float(min(max(value, -two), two) + two) * 255.0 / 4.0) for value in values]
    assert Quantizer.uniform().encode(values).tolist() == expected


def test_uniform_codes_are_those_of_a_sum_in_float32() -> None:
    """As in MediaPipe's QuantizeFloatVectorCalculator, where this value's sum with 2 is rounded up to a bin's begin."""
    value = np.float32(0.023529410362243652)
    assert math.floor((float(value) + 2.0) * 255.0 / 4.0) == 128
    assert Quantizer.uniform().encode(np.array([value])).tolist() == [129]


def test_the_floor_rule_and_the_public_reader_agree_without_bias() -> None:
    """Rounding instead would shift every value by half a step, +0.0078."""
    values = np.linspace(-1.99, 1.99, 200_001, dtype=np.float32)
    quantizer = Quantizer.uniform()
    assert abs(float((quantizer.decode(quantizer.encode(values)) - values).mean(dtype=np.float64))) < 1e-4


def test_only_uniform_codes_go_under_the_public_feature_name() -> None:
    assert Quantizer.uniform().feature_name == "rgb"
    assert Quantizer(float32s([0]), "optimal").feature_name == "rgb_codes"


def test_fingerprints_tell_levels_and_rules_apart() -> None:
    uniform = Quantizer.uniform()
    others = [Quantizer(uniform.levels, "optimal"), Quantizer(uniform.levels[:-1], "optimal")]
    others += [Quantizer(uniform.levels.reshape(shape), "optimal") for shape in ((1, 256), (2, 128), (128, 2))]
    assert len({uniform.fingerprint, *(other.fingerprint for other in others)}) == 6


@given(codebooks)
@settings(max_examples=20)
def test_it_is_loaded_as_it_was_saved(tmp_path_factory: pytest.TempPathFactory, quantizer: Quantizer) -> None:
    path = str(tmp_path_factory.mktemp("codebook") / "quantizer.npz")
    quantizer.save(path)
    loaded = Quantizer.load(path)
    assert (loaded.name, loaded.fingerprint) == (quantizer.name, quantizer.fingerprint)


def test_the_saved_bytes_hold_no_date(tmp_path: Path) -> None:
    path = tmp_path / "quantizer.npz"
    Quantizer.uniform().save(str(path))
    assert Quantizer.load(str(path)).name == "uniform"
    with zipfile.ZipFile(path) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    path = tmp_path_factory.mktemp("damaged") / "quantizer.npz"
    Quantizer(np.linspace(-3, 3, 9, dtype=np.float32), "optimal").save(str(path))
    return path, path.read_bytes()


@settings(max_examples=300)
@given(data=st.data())
def test_an_altered_file_is_refused_or_harmless(saved: tuple[Path, bytes], data: st.DataObject) -> None:
    path, whole = saved
    altered = bytearray(whole)
    altered[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(altered)
    try:
        loaded = Quantizer.load(str(path))
    except DataError as error:
        assert error.where == str(path)
    else:
        np.testing.assert_array_equal(loaded.levels, np.linspace(-3, 3, 9, dtype=np.float32))


def with_last_entry(whole: bytes, field: int, value: int) -> bytes:
    """Overwrites one byte of the last entry of the archive's central directory."""
    at = whole.rindex(b"PK\x01\x02") + field
    return whole[:at] + bytes([value]) + whole[at + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda _: b"no archive",
        lambda whole: whole[:-30],
        lambda whole: with_last_entry(whole, 8, 1),  # flags: encrypted
        lambda whole: with_last_entry(whole, 10, 99),  # compression method: unknown
    ],
)
def test_a_damaged_file_is_named(saved: tuple[Path, bytes], damage: Callable[[bytes], bytes]) -> None:
    path, whole = saved
    path.write_bytes(damage(whole))
    with pytest.raises(DataError, match=r"cannot be read\n.*quantizer.npz\n.*why: +\S.*\n.*restore the file"):
        Quantizer.load(str(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read\n.*nowhere.npz\n.*No such file.*\n.*fix:"):
        Quantizer.load(str(tmp_path / "nowhere.npz"))


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"levels": float32s([2, 1]), "name": "optimal"}, "strictly increasing"),
        ({"levels": float32s([1, 1]), "name": "optimal"}, "strictly increasing"),
        (
            {"levels": float32s([1, np.nextafter(np.float32(1), np.float32(0))]), "name": "optimal"},
            "strictly increasing",
        ),
        ({"levels": float32s([1, np.inf]), "name": "optimal"}, "finite"),
        ({"levels": np.array([1.0, 2.0]), "name": "optimal"}, "float64"),
        ({"levels": np.arange(257, dtype=np.float32), "name": "optimal"}, r"\(257,\)"),
        ({"levels": float32s([1, 2]), "name": "uniform"}, "not those of the public uniform"),
        ({"levels_of_dimension": float32s([1, 2]), "name": "optimal"}, "not per_dimension"),
        ({"levels": float32s([[1, 2]]), "name": "optimal"}, "not shared"),
        ({"levels": float32s([[[1]]]), "name": "optimal"}, "one or two axes"),
        ({"levels_of_dimension": float32s([[0, 1], [1, 0]]), "name": "optimal"}, "strictly increasing"),
        ({"levels": float32s([1, 2]), "name": "lloyd"}, "no quantizer 'lloyd'"),
        ({"levels": np.array([{}], object), "name": "optimal"}, "pickle"),
        ({"levels": float32s([1, 2])}, "name"),
    ],
)
def test_a_file_that_holds_no_quantizer_says_why(tmp_path: Path, arrays: dict[str, Any], why: str) -> None:
    path = tmp_path / "quantizer.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=rf"where: .*quantizer.npz\n.*why: .*{why}"):
        Quantizer.load(str(path))


def test_repr_shows_sizes_not_data() -> None:
    assert repr(own_levels([[0, 1], [0, 2]])) == "Quantizer('optimal', per_dimension, levels=2)"
    assert repr(Quantizer.uniform()) == "Quantizer('uniform', shared, levels=256)"


def test_a_codebook_of_a_newer_format_asks_for_an_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "quantizer.npz"
    Quantizer.uniform().save(str(path))
    with np.load(path) as arrays:
        told = dict(arrays)
    np.savez(path, **{**told, "colour": np.array("blue")})
    assert Quantizer.load(str(path)).fingerprint == Quantizer.uniform().fingerprint
    np.savez(path, **{**told, "format": told["format"] + 1})
    with pytest.raises(DataError) as caught:
        Quantizer.load(str(path))
    assert caught.value.what == "A fitted artefact was written by a newer version of yt8m_pipeline"
    assert (caught.value.where, caught.value.why) == (
        str(path),
        "its format is 2, and this version reads formats up to 1",
    )
    assert "upgrade" in caught.value.fix
    np.savez(path, **{**told, "format": np.array(0)})
    with pytest.raises(DataError, match=r"cannot be read\n.*\n.*no format 0"):
        Quantizer.load(str(path))
