"""Trains each model on a synthetic dataset of 4,800 classes, and says what a video costs and what that is made of.

    python scripts/bench_train.py FOLDER --videos 100000 --frame-videos 1500

The datasets are written through the project's own writers and kept in FOLDER. Their contents are random: nothing is
learnt from them, and a step costs the same. Video-level models read the first, of 1,024 values a video; each of its
videos has one frame, so that its frame-level files are small. Frame-level models read the second, of videos of 230
frames, which is smaller, since 100,000 such videos are 24 GB.

Each model runs in a process of its own, by the project's own input and step: some steps to warm up, then `--seconds` of
steps. Printed are videos per CPU-second of the whole process; the share of the CPU time that the input takes, measured
by reading the same batches with no step; the share of the bound that the matrix products set, which is the CPU time of
bare products of the same shapes, forward and backward, at the same batch size; the peak memory; and how long an epoch
of 5.8 million train videos (paper §3.2, 70 % of 8,264,650) takes one core.

Writing the first dataset takes 4 ms a video, the models 4 minutes. Figures stand in yt8m_pipeline/baselines/README.md.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from benching import cost_of, output_of, peak_mib
from synthetic_dataset import SyntheticVideo, write_dataset

from yt8m_pipeline.baselines.plan import TrainingPlan, plan_training
from yt8m_pipeline.baselines.settings import MODELS
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.layout import Shard

CLASSES, DIMENSIONS, FRAMES = 4_800, 1_024, 230
TRAIN_VIDEOS = 5_785_255
"""70 % of the 8,264,650 videos of the paper (§3.2)."""

LABELS = 2
"""The labels of a video; the paper has 1.8 on average (§3.2)."""

BATCH_SIZES = {"frame_logistic": 32, "dbof": 32, "lstm": 64}
"""Of frame-level models. Video-level ones are measured at the paper's 32 and at `--batch`."""

WARM_UP = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--videos", type=int, default=100_000)
    parser.add_argument("--frame-videos", type=int, default=1_500)
    parser.add_argument("--seconds", type=float, default=20.0, help="of steps, for each model")
    parser.add_argument("--batch", type=int, default=1_024, help="of the video-level models, beside the paper's 32")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["logistic", "hinge", "moe", *BATCH_SIZES])
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options, options.child[0], int(options.child[1]))))
        return
    write(options.folder / "video", options.videos, frames=1)
    write(options.folder / "frame", options.frame_videos, frames=FRAMES)
    for model in options.models:
        for batch in [BATCH_SIZES[model]] if model in BATCH_SIZES else [32, options.batch]:
            report(model, batch, facts_of(options, model, batch))


def facts_of(options: argparse.Namespace, model: str, batch: int) -> Mapping[str, float]:
    command = [sys.executable, __file__, str(options.folder), "--seconds", str(options.seconds)]
    facts: Mapping[str, float] = json.loads(output_of([*command, "--child", model, str(batch)]).splitlines()[-1])
    return facts


def report(model: str, batch: int, facts: Mapping[str, float]) -> None:
    per_second = facts["videos"] / facts["cpu"]
    print(
        f"{model:<14} batch {batch:>5}: {per_second:9,.1f} videos/CPU-s, input {facts['input'] / facts['cpu']:5.1%}, "
        f"matrix products {facts['products'] / facts['cpu']:4.0%}, peak {facts['peak_mib']:,.0f} MiB, "
        f"5.8 M videos: {TRAIN_VIDEOS / per_second / 3600:,.1f} CPU-hours",
        flush=True,
    )


def write(folder: Path, videos: int, frames: int) -> None:
    """Writes a dataset of so many train videos and few others, unless it is there."""
    if (folder / "COMPLETE").exists():
        return
    start, sizes = time.monotonic(), {Partition.TRAIN: (videos, 8), Partition.VALIDATE: (32, 1), Partition.TEST: (1, 1)}
    shards = {
        Shard(part, index, of): drawn(part, range(index, size, of), frames)
        for part, (size, of) in sizes.items()
        for index in range(of)
    }
    write_dataset(str(folder), shards, DIMENSIONS, [f"/m/{label:04d}" for label in range(CLASSES)])
    print(f"wrote {videos} videos of {frames} frames in {time.monotonic() - start:.0f} s", flush=True)


def drawn(part: Partition, numbers: range, frames: int) -> Iterator[SyntheticVideo]:
    """Videos of random frames, drawn from a pool: only what is read matters, and drawing numbers costs more."""
    random = np.random.default_rng(0)
    pool = random.standard_normal((4 * FRAMES, DIMENSIONS)).astype(np.float32)
    for number in numbers:
        labels = sorted(set(random.integers(0, CLASSES, LABELS).tolist()))
        start = int(random.integers(0, len(pool) - frames + 1))
        yield SyntheticVideo(f"{part.value}-{number:07d}", tuple(labels), pool[start : start + frames])


def measure(options: argparse.Namespace, model: str, batch: int) -> dict[str, float]:
    """The CPU time of some steps, of reading what they read, and of their bare matrix products."""
    level = "frame" if model in BATCH_SIZES else "video"
    settings = [f"batch_size={batch}", f"shuffle_buffer={8 * batch}"]
    plan = plan_training(model, str(options.folder / level), str(options.folder / "model"), settings=settings)
    from yt8m_pipeline.baselines.inputs import train_batches
    from yt8m_pipeline.baselines.learning import Learner

    learner = Learner(plan)
    for given in islice(train_batches(plan.source, plan.settings, 1), WARM_UP):
        learner.step(given)
    taken = 0

    def steps() -> None:
        nonlocal taken
        start, epoch = time.monotonic(), 2
        while time.monotonic() - start < options.seconds:
            for given in train_batches(plan.source, plan.settings, epoch):
                if given["labels"].shape[0] == batch:
                    learner.step(given)
                    taken += 1
                if time.monotonic() - start >= options.seconds:
                    return
            epoch += 1

    whole = cost_of(steps)
    reading = cost_of(lambda: consumed(plan, taken))
    product = products(plan, batch)
    product()
    repeats = max(1, min(taken, 5))
    bare = cost_of(lambda: [product() for _ in range(repeats)])
    return {
        "videos": taken * batch,
        "cpu": whole.cpu_seconds,
        "input": reading.cpu_seconds,
        "products": bare.cpu_seconds / repeats * taken,
        "peak_mib": peak_mib(),
    }


def consumed(plan: TrainingPlan, batches: int) -> int:
    """Reads so many batches, epoch after epoch."""
    from yt8m_pipeline.baselines.inputs import train_batches

    left, epoch = batches, 2
    while left > 0:
        left -= sum(1 for _ in islice(train_batches(plan.source, plan.settings, epoch), left))
        epoch += 1
    return epoch


def products(plan: TrainingPlan, batch: int) -> Callable[[], float]:
    """The matrix products of a step: of each matrix the scores, its gradient, and that of what it reads, if trained."""
    import tensorflow as tf

    shapes = products_of(plan, batch)
    operands = [
        (tf.random.stateless_normal((rows, inner), [0, 1]), tf.random.stateless_normal((inner, columns), [0, 2]))
        for rows, inner, columns, _, _ in shapes
    ]

    @tf.function  # type: ignore[untyped-decorator]
    def run() -> Any:
        total = tf.constant(0.0)
        for (left, right), (*_, backward, times) in zip(operands, shapes, strict=True):
            for _ in tf.range(times):
                product = tf.matmul(left, right)
                total += product[0, 0] + tf.matmul(left, product, transpose_a=True)[0, 0]
                if backward:
                    total += tf.matmul(product, right, transpose_b=True)[0, 0]
        return total

    return lambda: float(run())


def products_of(plan: TrainingPlan, batch: int) -> list[tuple[int, int, int, bool, int]]:
    """Rows, inner and columns of each product; whether the gradient goes on below it; and how often there is one."""
    values = plan.settings.model_dump()
    if plan.model == "moe":
        return [(batch, DIMENSIONS, CLASSES * values["experts"], False, 2)]
    if plan.model == "dbof":
        return [
            (batch * values["frames"], DIMENSIONS, values["projection"], False, 1),
            (batch, values["projection"], values["hidden"], True, 1),
            (batch, values["hidden"], CLASSES, True, 1),
        ]
    if plan.model == "lstm":
        units, window = values["units"], values["window"]
        return [
            (batch, DIMENSIONS, 4 * units, False, window),
            (batch, units, 4 * units, True, (2 * values["layers"] - 1) * window),
            (batch * window, units, CLASSES, True, 1),
        ]
    return [(batch * values.get("frames", 1), DIMENSIONS, CLASSES, False, 1)]


if __name__ == "__main__":
    main()
