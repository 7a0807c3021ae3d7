"""Fits and writes a dataset from a store of synthetic features, and prints time per stage and peak memory.

    python scripts/bench_write.py FOLDER --videos 2000 20000

Each size runs in a process of its own, by the pipeline's own transforms (stages 6, 7 and 8) on the local engine. The
store is float16 by default, 0.94 MB a video at 230 frames × 2048; it is filled once and kept in FOLDER.
"""

import argparse
import json
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from benching import output_of, peak_mib

from yt8m_pipeline.config import Config
from yt8m_pipeline.data_model import Partition, StoredEntry, StoredVideo, Video
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.jobs.build_plan import BuildPlan
from yt8m_pipeline.store.failures import Source
from yt8m_pipeline.store.feature_store import FeatureStore
from yt8m_pipeline.store.features import VideoFeatures
from yt8m_pipeline.transforms.compression import FitPca, FitQuantizer, Fitting
from yt8m_pipeline.transforms.dataset import GroupByShard, WriteShards, Writing
from yt8m_pipeline.transforms.monitoring import stage_seconds

SCENES = 64
"""Base vectors that the synthetic frames mix: non-negative, sparse, correlated, as pool_3 is."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--videos", type=int, nargs="+", default=[2000, 20000])
    parser.add_argument("--frames", type=int, default=230)
    parser.add_argument("--dimensions", type=int, default=2048)
    parser.add_argument("--components", type=int, default=1024)
    parser.add_argument("--dtype", choices=["float16", "float32"], default="float16")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options)))
        return
    for count in options.videos:
        run_in_own_process(options, count)


def run_in_own_process(options: argparse.Namespace, count: int) -> None:
    fill_store(options, count)
    flags = ["--frames", "--dimensions", "--components", "--dtype"]
    values = [str(getattr(options, flag.strip("-"))) for flag in flags]
    pairs = [item for pair in zip(flags, values, strict=True) for item in pair]
    command = [sys.executable, __file__, str(options.folder), "--child", "--videos", str(count), *pairs]
    facts = json.loads(output_of(command).splitlines()[-1])
    frames = count * options.frames
    print(f"{count} videos, {frames} frames: {facts['wall']:.0f} s, peak {facts['peak_mib']:.0f} MiB", flush=True)
    for stage, seconds in facts["seconds"].items():
        print(f"  {stage:<10} {seconds:8.1f} s  {frames / max(seconds, 1e-9):12,.0f} frames/s", flush=True)


def features_of(index: int, options: argparse.Namespace) -> VideoFeatures:
    random = np.random.default_rng(index)
    scenes = np.random.default_rng(0).gamma(0.4, 1.0, (SCENES, options.dimensions)).astype(np.float32)
    weights = random.dirichlet(np.full(SCENES, 0.1), options.frames).astype(np.float32)
    noise = random.standard_normal((options.frames, options.dimensions), dtype=np.float32)
    features = np.maximum(weights @ scenes + 0.1 * noise, 0).astype(options.dtype)
    return VideoFeatures(f"synthetic-{index:06d}", features, np.arange(options.frames, dtype=np.float64))


def store_of(options: argparse.Namespace) -> FeatureStore:
    return FeatureStore(str(options.folder / "features"), f"{options.frames}x{options.dimensions}-{options.dtype}")


def fill_store(options: argparse.Namespace, count: int) -> None:
    store = store_of(options)
    start, written = time.monotonic(), 0
    for index in range(count):
        if not Path(store.path(f"synthetic-{index:06d}")).exists():
            store.write(features_of(index, options), Source("synthetic", 0, ""), 1.0, Fraction(1))
            written += 1
    print(f"filled the store with {written} videos in {time.monotonic() - start:.0f} s", flush=True)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    plan = plan_of(options)
    stored = [_stored(index, options) for index in range(options.videos[0])]
    start = time.monotonic()
    root = beam.Pipeline(runner=FnApiRunner())
    train = root | beam.Create(stored)
    fitting = Fitting(plan.store, plan.journal, frozen=False, parallelism=plan.config.parallelism)
    pca = train | FitPca(fitting, plan.config.pca)
    quantizer = train | FitQuantizer(fitting, plan.config.quantizer, pca)
    indices = root | "Indices" >> beam.Create([{"/m/0342h": 0}])
    sizes = root | "Sizes" >> beam.Create([{part.value: plan.config.shards.of(part) for part in Partition}])
    writing = Writing(plan.store, plan.journal, anew=None)
    _ = train | GroupByShard(plan.config.shards.salt, sizes) | WriteShards(writing, pca, quantizer, indices)
    result = root.run()
    return {"wall": time.monotonic() - start, "peak_mib": peak_mib(), "seconds": stage_seconds(result)}


def plan_of(options: argparse.Namespace) -> BuildPlan:
    output = str(options.folder / f"dataset-{options.videos[0]}-{time.time_ns()}")
    values = {
        "output": output,
        "vocabulary": {"type_whitelist": ["any"], "type_blacklist": []},
        "inception": {"model": {"random": 0}},
        "pca": {"components": options.components},
        "shards": {"train": 16, "validate": 1, "test": 1},
    }
    config = Config.model_validate(values)
    return BuildPlan(config, Layout(output), store_of(options), {}, {}, {}, "", None, None)


def _stored(index: int, options: argparse.Namespace) -> StoredVideo:
    video = Video(f"synthetic-{index:06d}", "synthetic", Partition.TRAIN, ("/m/0342h",))
    return StoredVideo(video, StoredEntry(options.frames, 32.0, f"{index:064x}", 1.0, 0.0))


if __name__ == "__main__":
    main()
