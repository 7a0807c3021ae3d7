"""Measures what video-level features cost: a video from the store and from codes, and the PCA of φ.

    python scripts/bench_features.py [--videos 24] [--rounds 5] [--fit 2048] [--large]

The videos have 230 frames of 2,048 features, as the paper's have on average; the PCA of their frames has 1,024
components. Each round reads and describes every video once in each way, in turns; a ratio compares neighbours of one
round. `--fit` is the number of dimensions of the covariance whose PCA is fitted, which takes time with at most their
third power. `--large` measures what 14,336 dimensions take beside that, and nothing else: the moments of some videos,
the sum of two, and the covariance, which need 8 GB of memory. yt8m_pipeline/video_level/README.md has the figures.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from benching import cost_of, paired, peak_mib, ratio_text, spread

from yt8m_pipeline.compression.moments import Moments, grid_exponent
from yt8m_pipeline.compression.pca import Pca
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.data_model import Float32Array, UInt8Array
from yt8m_pipeline.dataset.records import frame_record, parse_frame_record
from yt8m_pipeline.dataset.tfrecord import read_records, write_record
from yt8m_pipeline.store.failures import Source
from yt8m_pipeline.store.feature_store import FeatureStore
from yt8m_pipeline.store.features import VideoFeatures
from yt8m_pipeline.video_level.names import Blocks
from yt8m_pipeline.video_level.statistics import PARTS, by_batches, describe, normalize_length

FRAMES, FEATURES, COMPONENTS = 230, 2048, 1024
FEW = 300
"""The train videos of a small dataset, whose PCA is fitted by their Gram matrix."""
LARGE = 7 * FEATURES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fit", type=int, default=FEATURES, help="dimensions of the covariance that is fitted")
    parser.add_argument("--large", action="store_true", help="only moments and covariance of 14,336 dimensions")
    options = parser.parse_args()
    if options.large:
        time_large()
        return
    with tempfile.TemporaryDirectory() as folder:
        compare_sources(Path(folder), options.videos, options.rounds)
    time_vectors()
    time_few()
    time_fit(options.fit)


def compare_sources(folder: Path, videos: int, rounds: int) -> None:
    """A video from the store against one from codes, read alone and with all parts of φ."""
    store, shard, pca, quantizer = (
        FeatureStore(str(folder), "space"),
        folder / "shard",
        frame_pca(),
        Quantizer.uniform(),
    )
    fill(store, shard, videos, pca, quantizer)

    def stored() -> Iterator[Float32Array]:
        return (store.read(f"video{number}").features for number in range(videos))

    def codes() -> Iterator[UInt8Array]:
        with shard.open("rb") as stream:
            for data in read_records(stream, "shard"):
                yield parse_frame_record(data, "shard").codes

    def reconstructed() -> Iterator[Float32Array]:
        return by_batches(pca.inverse_transform, map(quantizer.decode, codes()))

    ways: dict[str, Callable[[], Iterator[npt.NDArray[Any]]]] = {
        "store, read": stored,
        "codes, read": codes,
        "codes, read and de-quantized": lambda: map(quantizer.decode, codes()),
        "codes, features reconstructed": reconstructed,
        "store, phi": lambda: map(phi, stored()),
        "codes, phi": lambda: map(phi, reconstructed()),
        "codes, phi of the coefficients": lambda: map(phi, map(quantizer.decode, codes())),
    }
    work = {name: partial(cost_of, partial(total_length, way)) for name, way in ways.items()}
    found = {name: [cost.cpu_seconds for cost in costs] for name, costs in paired(work, rounds).items()}
    for name, seconds in found.items():
        milliseconds = 1000 * np.median(seconds) / videos
        print(f"{name:32} {milliseconds:8.2f} CPU-ms a video, spread {spread(seconds):.0%}")
    print(f"phi from codes costs {ratio_text(np.array(found['codes, phi']) / found['store, phi'])} phi from the store")


def phi(frames: npt.NDArray[np.floating]) -> Float32Array:
    return describe(frames, PARTS[Blocks.MU_SIGMA_TOP5])


def total_length(way: Callable[[], Iterator[npt.NDArray[Any]]]) -> int:
    """Takes everything that a way yields, one by one."""
    return sum(map(len, way()))


def frame_pca() -> Pca:
    """A PCA of 1,024 components, of directions drawn at random."""
    random = np.random.default_rng(0)
    axes = np.linalg.qr(random.standard_normal((FEATURES, COMPONENTS)))[0].T
    return Pca(random.random(FEATURES), np.geomspace(1, 1e-3, COMPONENTS), np.ascontiguousarray(axes), 10.0, 1e-4)


def fill(store: FeatureStore, shard: Path, videos: int, pca: Pca, quantizer: Quantizer) -> None:
    random, pts = np.random.default_rng(1), np.arange(float(FRAMES))
    shard.touch()
    source = Source.of(str(shard))
    with shard.open("wb") as stream:
        for number in range(videos):
            features = np.maximum(random.standard_normal((FRAMES, FEATURES)), 0).astype(np.float16)
            name = f"video{number}"
            store.write(VideoFeatures(name, features, pts), source, 1.0, Fraction(1))
            write_record(stream, frame_record(name, (0,), quantizer.encode(pca.transform(features)), "rgb"))


def time_vectors() -> None:
    """The product of φ and the PCA, and the unit length."""
    random = np.random.default_rng(2)
    axes = random.standard_normal((COMPONENTS, LARGE)) / LARGE**0.5
    pca = Pca(random.random(LARGE), np.geomspace(1, 1e-3, COMPONENTS), axes, 10.0, 1e-4)
    rows = random.random((512, LARGE), np.float32)
    cost = cost_of(lambda: normalize_length(pca.transform(rows)))
    print(f"{'a vector of 1,024 of 14,336':32} {1000 * cost.cpu_seconds / len(rows):8.2f} CPU-ms a video")


def time_few() -> None:
    """The PCA of 300 train videos and 14,336 dimensions, from end to end."""
    rows = np.random.default_rng(3).random((FEW, LARGE), np.float32)
    cost = cost_of(lambda: Pca.fit_by_gram(rows, components=16, relative_epsilon=0.01))
    print(f"{'PCA of 300 videos x 14,336':32} {cost.cpu_seconds:8.2f} CPU-s, by their Gram matrix")


def time_fit(dimensions: int) -> None:
    """The moments of as many vectors as they have dimensions, and the PCA of them."""
    rows = np.random.default_rng(4).random((dimensions, dimensions), np.float32)
    moments = cost_of(lambda: Moments.from_frames(rows, grid_exponent(1.0)))
    fit = cost_of(lambda: Pca.fit(moments.answer, components=min(COMPONENTS, dimensions // 10), relative_epsilon=0.01))
    per_video = 1000 * moments.cpu_seconds / dimensions
    print(f"{f'moments of {dimensions:,} dimensions':32} {per_video:8.2f} CPU-ms a video")
    print(f"{f'PCA of {dimensions:,} dimensions':32} {fit.cpu_seconds:8.1f} CPU-s")


def time_large() -> None:
    """What 14,336 dimensions take until the covariance is there, and the memory that was needed at most."""
    rows = np.random.default_rng(5).random((2048, LARGE), np.float32)
    unit = cost_of(lambda: Moments.from_frames(rows, grid_exponent(1.0)))
    print(f"{'moments of 2,048 x 14,336':32} {1000 * unit.cpu_seconds / len(rows):8.2f} CPU-ms a video")
    addition = cost_of(lambda: unit.answer + unit.answer)
    print(f"{'their addition':32} {addition.cpu_seconds:8.1f} CPU-s")
    covariance = cost_of(addition.answer.covariance)
    print(f"{'their covariance':32} {covariance.cpu_seconds:8.1f} CPU-s")
    print(f"{'memory at most':32} {peak_mib() / 1000:8.1f} GB")


if __name__ == "__main__":
    main()
