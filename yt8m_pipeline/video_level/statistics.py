"""The fixed-length representation of a video: mean, standard deviation and top values of each feature (paper §4.2.1).

>>> frames = np.array([[0, 5], [2, 1], [4, 3]], np.float32)
>>> describe(frames, ("mu", "sigma")).round(2)
array([2.  , 3.  , 1.63, 1.63], dtype=float32)
>>> describe(frames, ("top",), top=2).tolist()
[4.0, 5.0, 2.0, 3.0]
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from yt8m_pipeline.compression.exact_products import fold
from yt8m_pipeline.data_model import Float32Array, Float64Array
from yt8m_pipeline.video_level.names import Blocks

Block: TypeAlias = Literal["mu", "sigma", "top"]
"""A part of the representation: the mean μ, the standard deviation σ, or the largest values, of each feature."""

PARTS: Mapping[Blocks, tuple[Block, ...]] = {
    Blocks.MU: ("mu",),
    Blocks.MU_SIGMA: ("mu", "sigma"),
    Blocks.MU_SIGMA_TOP5: ("mu", "sigma", "top"),
}
"""The parts of φ in their order (paper §4.2.1, equation 2)."""

TOP = 5
"""The number of largest values of each feature that the paper takes (§4.2.1)."""


BATCH_FRAMES = 1024
"""The number of frames that are projected at a time: the slices of 1,024 of 2,048 values take 50 MB."""

Frames: TypeAlias = npt.NDArray[np.floating]
"""The features or coefficients of the frames of a video: (frames, dimensions)."""


def describe(frames: npt.NDArray[np.floating], blocks: Sequence[Block], *, top: int = TOP) -> Float32Array:
    """Computes φ of a video (paper §4.2.1, equation 2), with the same bits on every machine.

    Args:
        frames: float16, float32 or float64, (frames, dimensions), at least one frame. The paper takes the features as
            they are before PCA, where a large value means that something is there (§5.2).
        blocks: The parts, in the order in which they are wanted.
        top: The number of largest values. Where a video has fewer frames, its smallest value stands for the others.

    Returns:
        float32, (length,): each part has `dimensions` values, and the largest values have `top` times as many, the
        largest of every dimension first.

    Raises:
        ValueError: if there is no frame.
    """
    if not len(frames):
        raise ValueError("a video has at least one frame")
    exact = frames.astype(np.float64)
    return np.concatenate([_part(block, exact, top) for block in blocks]).astype(np.float32)


def length(dimensions: int, blocks: Sequence[Block], top: int = TOP) -> int:
    """The number of values of φ.

    >>> length(2048, ("mu", "sigma", "top"))
    14336
    """
    return dimensions * sum(top if block == "top" else 1 for block in blocks)


def by_batches(
    work: Callable[[Frames], Float32Array], videos: Iterable[Frames], size: int = BATCH_FRAMES
) -> Iterator[Float32Array]:
    """Yields what a function of frames makes of each video; it gets the frames of several videos at once.

    `Pca.transform` and `Pca.inverse_transform` cut the matrix of the PCA into slices in each call, which takes as long
    as the products of 100 frames. What they make of a frame does not depend on those beside it.

    Args:
        work: Makes one row of each frame, whatever frames are beside it.
        videos: The frames of each video, (frames, dimensions), at least one.
        size: The number of frames from which a batch is full.
    """
    batch: list[Frames] = []
    for video in videos:
        batch.append(video)
        if sum(map(len, batch)) >= size:
            yield from _each(work, batch)
            batch = []
    if batch:
        yield from _each(work, batch)


def _each(work: Callable[[Frames], Float32Array], batch: Sequence[Frames]) -> Iterator[Float32Array]:
    yield from np.split(work(np.concatenate(batch)), np.cumsum([len(video) for video in batch])[:-1])


def normalize_length(vectors: Float32Array) -> Float32Array:
    """Divides each vector by its Euclidean length (paper §4.2.2). A vector of zeros stays one.

    Args:
        vectors: float32, (videos, dimensions).
    """
    values = vectors.astype(np.float64)
    lengths = np.sqrt(fold((values * values).T.copy()))[:, np.newaxis]
    unit: Float32Array = np.divide(values, lengths, out=np.zeros_like(values), where=lengths > 0).astype(np.float32)
    return unit


def _part(block: Block, frames: Float64Array, top: int) -> Float64Array:
    match block:
        case "mu":
            return _mean(frames)
        case "sigma":
            return _deviation(frames)
        case "top":
            return _largest(frames, top)


def _mean(frames: Float64Array) -> Float64Array:
    return fold(frames.copy()) / len(frames)


def _deviation(frames: Float64Array) -> Float64Array:
    """The standard deviation over the frames, which are all there are: divided by their number, not by one less."""
    deviation: Float64Array = np.sqrt(_mean(np.square(frames - _mean(frames))))
    return deviation


def _largest(frames: Float64Array, number: int) -> Float64Array:
    ascending = np.sort(frames, axis=0)
    largest: Float64Array = ascending[np.maximum(len(frames) - 1 - np.arange(number), 0)].ravel()
    return largest
