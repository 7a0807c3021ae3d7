"""Datasets in which something is planted that one kind of model finds and another cannot."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from synthetic_dataset import SyntheticVideo, write_dataset

from yt8m_pipeline.data_model import Float32Array, Partition
from yt8m_pipeline.dataset.layout import Shard

Draw = Callable[[np.random.Generator, int], tuple[tuple[int, ...], Float32Array]]
"""Makes the labels and the coefficients of a video, from a source of chance and the number of the video."""

SIZES = {Partition.TRAIN: 240, Partition.VALIDATE: 120, Partition.TEST: 2}


def plant(
    folder: Path, draw: Draw, *, dimensions: int, classes: int = 2, sizes: dict[Partition, int] | None = None
) -> str:
    """Writes a dataset of such videos: two shards of train, one of each other partition."""
    shards: dict[Shard, list[SyntheticVideo]] = {}
    for part, size in (sizes or SIZES).items():
        random = np.random.default_rng([7, list(Partition).index(part)])
        videos = [SyntheticVideo(f"{part.value}-{number:04d}", *draw(random, number)) for number in range(size)]
        of = 2 if part is Partition.TRAIN else 1
        shards |= {Shard(part, index, of): videos[index::of] for index in range(of)}
    return write_dataset(str(folder), shards, dimensions, [f"/m/{label}" for label in range(classes)])


def noise(random: np.random.Generator, frames: int, dimensions: int, scale: float = 0.1) -> Float32Array:
    return (scale * random.standard_normal((frames, dimensions))).astype(np.float32)


def separable(random: np.random.Generator, number: int) -> tuple[tuple[int, ...], Float32Array]:
    """Three classes, each with its own direction in every frame."""
    label = number % 3
    frames = noise(random, int(random.integers(4, 12)), 8)
    frames[:, label] += 1
    return (label,), frames


def two_clusters(random: np.random.Generator, number: int) -> tuple[tuple[int, ...], Float32Array]:
    """Class 1 is where two coordinates have one sign, class 0 where they have different ones: no line divides them."""
    signs = np.array([1, 1 if number % 2 else -1], np.float32) * random.choice([-1, 1])
    frames = noise(random, 3, 2, 0.15) + signs
    return (number % 2,), frames.astype(np.float32)


def rare_frames(random: np.random.Generator, number: int) -> tuple[tuple[int, ...], Float32Array]:
    """Class 1 is visible in 2 of 200 frames. In their mean it drowns: the same coordinate varies as much without it."""
    frames = noise(random, 200, 6, 0.5)
    frames[:, 0] += 0.3 * random.standard_normal()
    if number % 2:
        frames[random.choice(200, 2, replace=False), 0] = 2.0
    frames[:, 0] = np.clip(frames[:, 0], -2, None) if number % 2 else np.clip(frames[:, 0], -2, 1.2)
    return (number % 2,), frames


def ordered(random: np.random.Generator, number: int) -> tuple[tuple[int, ...], Float32Array]:
    """Class 0 shows one thing first and another then; class 1 the other way round. The frames are the same."""
    half = int(random.integers(4, 7))
    frames = noise(random, 2 * half, 4)
    first, second = (0, 1) if number % 2 == 0 else (1, 0)
    frames[:half, first] += 1
    frames[half:, second] += 1
    return (number % 2,), frames
