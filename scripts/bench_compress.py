"""Times compression against its yardsticks in one paired run, and tables the distortion of quantizers.

    python scripts/bench_compress.py --repeats 5

Everything runs on one thread, in CPU seconds. The repeats take turns, so that a slow moment of the machine falls on
all; each line gives the median, and the least and the most. `kmeans1d`, an exact program of others, is timed on raw
values beside our optimum.
"""

import argparse
import statistics
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

import kmeans1d
import numpy as np
from benching import cost_of, median_text, paired
from sklearn.decomposition import IncrementalPCA
from threadpoolctl import threadpool_limits

from yt8m_pipeline.compression.histogram import Histogram
from yt8m_pipeline.compression.moments import Moments, grid_exponent
from yt8m_pipeline.compression.optimal_cells import Line, optimal_cells
from yt8m_pipeline.compression.pca import Pca
from yt8m_pipeline.compression.quantization import MAX_LEVELS, Quantizer
from yt8m_pipeline.data_model import Float32Array, Float64Array

Draw: TypeAlias = Callable[[np.random.Generator, tuple[int, int]], Float64Array]
Work: TypeAlias = Callable[[], object]

DRAWS: Mapping[str, Draw] = {
    "gaussian": lambda random, shape: random.normal(size=shape),
    "laplace": lambda random, shape: random.laplace(size=shape) / np.sqrt(2),
    "student_t5": lambda random, shape: random.standard_t(5, size=shape) * np.sqrt(3 / 5),
}
"""Of variance 1."""

PANTER_DITE: Mapping[str, float] = {
    "gaussian": np.sqrt(3) * np.pi / 2,
    "laplace": 9 / 2,
    "student_t5": 8 / 3 * 5 * np.pi**2 / 12 * 3 / 5,
}
"""(∫ density^(1/3))³ / 12 of each, in closed form; over levels², the least distortion at a high rate."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--frames", type=int, default=2048, help="frames of a block, at least --components")
    parser.add_argument("--dimensions", type=int, default=2048)
    parser.add_argument("--components", type=int, default=1024)
    parser.add_argument("--samples", type=int, default=200_000, help="values of a dimension in the distortion table")
    parser.add_argument("--parts", nargs="+", default=["pca", "codes", "fit", "distortion", "kmeans1d"])
    options = parser.parse_args()
    parts: Mapping[str, Callable[[argparse.Namespace], None]] = {
        "pca": bench_pca,
        "codes": bench_codes,
        "fit": bench_fit,
        "distortion": table_distortion,
        "kmeans1d": bench_kmeans1d,
    }
    with threadpool_limits(limits=1):
        for part in options.parts:
            parts[part](options)


def bench_pca(options: argparse.Namespace) -> None:
    random = np.random.default_rng(0)
    features = random.gamma(0.4, 1.0, (options.frames, options.dimensions)).astype(np.float32)
    exact = features.astype(np.float64)
    other = exact.copy()  # of an array and itself, NumPy computes one half
    exponent = grid_exponent(float(features.max()))
    incremental = IncrementalPCA(options.components)
    basis = np.linalg.qr(random.normal(size=(options.dimensions, options.components)))[0].T
    pca = Pca(exact.mean(axis=0), np.ones(options.components), basis, float(options.dimensions), 1e-4)
    report_rates(
        {
            "float64 GEMM of the moments' shape": lambda: exact.T @ other,
            "float64 SYRK of the moments' shape": lambda: exact.T @ exact,
            "Moments.from_frames": lambda: Moments.from_frames(features, exponent),
            "IncrementalPCA.partial_fit": lambda: incremental.partial_fit(features),
            "float64 GEMM of the projection's shape": lambda: exact @ basis.T,
            "Pca.transform": lambda: pca.transform(features),
        },
        options,
    )


def bench_codes(options: argparse.Namespace) -> None:
    values = mixed(options.frames, options.components, seed=0)
    quantizers = [Quantizer.fit(Histogram.from_values(values, count)) for count in (1, options.components)]
    work: dict[str, Work] = {
        "Histogram, shared": lambda: Histogram.from_values(values),
        "Histogram, per dimension": lambda: Histogram.from_values(values, options.components),
    }
    for quantizer in [*quantizers, Quantizer.uniform()]:
        codes = quantizer.encode(values)
        label = f"{quantizer.name} {quantizer.scope}"
        work[f"encode, {label}"] = lambda quantizer=quantizer: quantizer.encode(values)  # type: ignore[misc]
        work[f"decode, {label}"] = lambda quantizer=quantizer, codes=codes: quantizer.decode(codes)  # type: ignore[misc]
    report_rates(work, options)


def bench_fit(options: argparse.Namespace) -> None:
    own = filled_histogram(options.components)
    shared = Histogram(
        own.bucket_counts.sum(axis=0, keepdims=True), own.bucket_sums.sum(axis=0, keepdims=True), own.exponents[:1]
    )
    occupied = np.count_nonzero(own.bucket_counts) / options.components
    print(f"\n{options.components} dimensions, {occupied:.0f} occupied buckets in the mean, {MAX_LEVELS} levels")
    work = {"Quantizer.fit, shared": lambda: Quantizer.fit(shared), "per dimension": lambda: Quantizer.fit(own)}
    for label, seconds in cpu_seconds(work, options.repeats).items():
        print(f"  {label:<40} {median_text(seconds)} s", flush=True)


def filled_histogram(dimensions: int) -> Histogram:
    """Of 200,000 values of each dimension."""
    blocks = (mixed(20_000, dimensions, seed) for seed in range(10))
    return Histogram.from_blocks(blocks, dimensions)


def mixed(frames: int, dimensions: int, seed: int) -> Float32Array:
    """Coefficients whose dimensions take turns at the distributions, with variances from 1 down to 1 / 2."""
    random = np.random.default_rng(seed)
    draws = list(DRAWS.values())
    columns = [draws[index % len(draws)](random, (frames, 1)) for index in range(dimensions)]
    scales = np.sqrt(np.linspace(1, 0.5, dimensions))
    return (np.concatenate(columns, axis=1) * scales).astype(np.float32)


def table_distortion(options: argparse.Namespace) -> None:
    """On values that no quantizer was fitted to."""
    print(f"\nMSE / variance of held-out values, {options.samples} values of each of 12 dimensions")
    shape = options.samples, 12
    cases: dict[str, Callable[[int], Float32Array]] = {
        name: lambda seed, draw=draw: draw(np.random.default_rng(seed), shape).astype(np.float32)  # type: ignore[misc]
        for name, draw in DRAWS.items()
    }
    cases["mixture"] = lambda seed: mixed(*shape, seed)
    mean_bound = statistics.fmean(PANTER_DITE.values())
    for name, draw in cases.items():
        bound = PANTER_DITE.get(name, mean_bound) / MAX_LEVELS**2
        rows = distortions(draw(1), draw(2)) | {"Panter–Dite bound": bound}
        print(f"  {name}")
        for label, value in rows.items():
            print(f"    {label:<24} {value:.3e}  {value / bound:8.2f} × the bound", flush=True)


def distortions(fitted: Float32Array, held_out: Float32Array) -> dict[str, float]:
    low, high = float(fitted.min()), float(fitted.max())
    evenly = np.linspace(low, high, MAX_LEVELS + 1)
    quantiles = np.quantile(fitted, (np.arange(MAX_LEVELS) + 0.5) / MAX_LEVELS)
    quantizers = {
        "optimal, per dimension": Quantizer.fit(Histogram.from_values(fitted, fitted.shape[1])),
        "optimal, shared": Quantizer.fit(Histogram.from_values(fitted)),
        "min-max uniform": Quantizer(((evenly[:-1] + evenly[1:]) / 2).astype(np.float32), "optimal"),
        "quantile bins": Quantizer(quantiles.astype(np.float32), "optimal"),
        "uniform [−2, 2]": Quantizer.uniform(),
    }
    return {label: distortion(held_out, quantizer) for label, quantizer in quantizers.items()}


def distortion(values: Float32Array, quantizer: Quantizer) -> float:
    """The mean over the dimensions of mean squared error / variance."""
    errors = quantizer.decode(quantizer.encode(values)).astype(np.float64) - values
    return float(((errors**2).mean(axis=0) / values.var(axis=0, dtype=np.float64)).mean())


def bench_kmeans1d(options: argparse.Namespace) -> None:
    print("\n20,000 raw values, 256 levels")
    values = np.sort(mixed(20_000, 1, seed=0)[:, 0]).astype(np.float64)
    line = Line(np.arange(len(values) + 1, dtype=np.float64), np.concatenate([[0], np.cumsum(values)]))
    work: dict[str, Work] = {
        "optimal_cells": lambda: optimal_cells([line], MAX_LEVELS),
        "kmeans1d": lambda: kmeans1d.cluster(values, MAX_LEVELS),
    }
    for label, seconds in cpu_seconds(work, options.repeats).items():
        print(f"  {label:<40} {median_text(seconds)} s", flush=True)
    (ends,) = optimal_cells([line], MAX_LEVELS)
    found = kmeans1d.cluster(values, MAX_LEVELS)
    theirs = float(((values - np.array(found.centroids)[found.clusters]) ** 2).sum())
    print(f"  squared error: ours {(values**2).sum() - line.gain(ends):.9e}, kmeans1d's {theirs:.9e}")


def report_rates(work: Mapping[str, Work], options: argparse.Namespace) -> None:
    print(f"\n{options.frames} frames, {options.dimensions} dimensions, {options.components} components")
    for label, seconds in cpu_seconds(work, options.repeats).items():
        print(f"  {label:<40} {median_text([options.frames / value for value in seconds])} frames/s", flush=True)


def cpu_seconds(work: Mapping[str, Work], repeats: int) -> dict[str, list[float]]:
    """CPU seconds of each work in each repeat."""
    costs = paired({label: partial(cost_of, run) for label, run in work.items()}, repeats)
    return {label: [cost.cpu_seconds for cost in taken] for label, taken in costs.items()}


if __name__ == "__main__":
    main()
