"""Which videos are alike, and where they lie on a map, by the means of their frames (paper §4, video-level features).

Both are scikit-learn's: `NearestNeighbors` compares all pairs, and `PCA` finds the two directions in which the means
vary most. Each runs in one thread of BLAS, and what they find is rounded, so that a site has the same bytes every time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil, sqrt
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from scipy.special import betaincinv
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from yt8m_pipeline import files
from yt8m_pipeline.data_model import Float32Array, Float64Array, Int64Array, Partition
from yt8m_pipeline.dataset.reader import FinishedDataset
from yt8m_pipeline.dataset.records import parse_video_record
from yt8m_pipeline.dataset.tfrecord import read_record_at
from yt8m_pipeline.errors import DataError, printable

SIMILAR = 12
"""How many similar videos a video has at most."""

NEAR_DUPLICATE = 0.75
"""The cosine from which two videos are called near-duplicates. Of the demo's 316 videos no two different ones have more
than 0.72; eleven of them that were encoded again by x264 in their own size at CRF 23 have 0.79 to 0.93 with the
originals. Copies of two thirds of the size at CRF 33 have 0.01 to 0.35, and are not found: whitening gives the faint
directions, which compression disturbs most, the weight of the strong ones."""

CHANCE = 1e-6
"""In few dimensions, strangers are alike by chance. At most this share of random pairs is called near-duplicates."""

DIGITS = 3
"""The digits of a cosine and of a place on the map that are kept."""


@dataclass(frozen=True, eq=False, slots=True)
class Neighbours:
    """The videos most like each video.

    Attributes:
        rows: int64, (videos, neighbours), the most similar first; of equal ones the first of the dataset.
        cosines: float64, (videos, neighbours), rounded.
    """

    rows: Int64Array
    cosines: Float64Array


@dataclass(frozen=True, eq=False, slots=True)
class Plane:
    """The videos in two dimensions.

    Attributes:
        places: float64, (videos, 2), rounded; the larger extent goes from -1 to 1.
        explained: The share of the variance that the two directions have.
    """

    places: Float64Array
    explained: float


def read_means(dataset: FinishedDataset, rows: Sequence[Mapping[str, Any]]) -> Float32Array:
    """The means of the frames of some videos: float32, (videos, dimensions).

    Args:
        dataset: The dataset.
        rows: Their columns video_id, shard, video_offset and video_bytes; the latter are None in older datasets, where
            all videos are read to find them.

    Raises:
        DataError: a shard is missing or damaged, or is not that of these rows.
    """
    means = np.zeros((len(rows), dataset.dimensions), np.float32)
    numbers = {row["video_id"]: number for number, row in enumerate(rows)}
    has_offsets = not any(row["video_offset"] is None or row["video_bytes"] is None for row in rows)
    for video_id, mean in _at_offsets(dataset, rows) if has_offsets else _everywhere(dataset):
        if video_id in numbers:
            means[numbers.pop(video_id)] = mean
    if numbers:
        raise _unlike(dataset, f"no video-level record has the id {printable(min(numbers))}")
    return means


def _unlike(dataset: FinishedDataset, why: str) -> DataError:
    return DataError(
        what="The index and the shards are not of one dataset",
        where=dataset.layout.root,
        why=why,
        fix="copy the dataset again; `yt8m verify` lists what does not fit",
    )


def _everywhere(dataset: FinishedDataset) -> Iterator[tuple[str, Float32Array]]:
    for partition in Partition:
        for example in dataset.videos(partition):
            yield example.video_id, example.mean_rgb


def _at_offsets(dataset: FinishedDataset, rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Float32Array]]:
    uris = {PurePosixPath(shard.uri).stem: shard.uri for part in Partition for shard in dataset.shards("video", part)}
    ordered = sorted(rows, key=lambda row: (row["shard"], row["video_offset"]))
    for name, members in groupby(ordered, key=lambda row: str(row["shard"])):
        if name not in uris:
            raise _unlike(dataset, f"videos.parquet has a shard that there is not: {printable(name)}")
        uri = uris[name]
        with files.open_read(uri) as stream:
            for row in members:
                data = read_record_at(stream, row["video_offset"], row["video_bytes"], uri)
                record = parse_video_record(data, f"{uri}, byte {row['video_offset']}")
                yield record.video_id, record.mean_rgb


def neighbours(means: Float32Array) -> Neighbours:
    """The videos most like each of them, by the cosine of the angle between their means."""
    most = min(SIMILAR, len(means) - 1)
    if most < 1:
        return Neighbours(np.zeros((len(means), 0), np.int64), np.zeros((len(means), 0)))
    norms = np.linalg.norm(means, axis=1, keepdims=True)
    directions = means / np.where(norms > 0, norms, 1)
    with threadpool_limits(1, "blas"):
        search = NearestNeighbors(algorithm="brute", n_neighbors=most).fit(directions)
        distances, rows = search.kneighbors()
    cosines = np.round(1 - distances.astype(np.float64) ** 2 / 2, DIGITS)
    order = np.lexsort((rows, -cosines), axis=-1)
    return Neighbours(np.take_along_axis(rows, order, 1).astype(np.int64), np.take_along_axis(cosines, order, 1))


def near_duplicate(dimensions: int) -> float:
    """The cosine from which two videos of so many dimensions are called near-duplicates.

    It is NEAR_DUPLICATE or, below 29 dimensions, what random directions have with the probability CHANCE: the
    angle between two is such that P(cosine ≥ t) = I(1 - t²; (d - 1) / 2, 1/2) / 2, with the regularised incomplete beta
    function I.

    >>> near_duplicate(1024), near_duplicate(16), near_duplicate(4)
    (0.75, 0.888, 1.0)
    """
    if dimensions < 2:
        return 1.0
    by_chance = sqrt(1 - float(betaincinv((dimensions - 1) / 2, 0.5, 2 * CHANCE)))
    return float(max(NEAR_DUPLICATE, ceil(by_chance * 10**DIGITS) / 10**DIGITS))


def plane(means: Float32Array) -> Plane:
    """The videos in the two directions in which their means vary most."""
    components = min(2, *means.shape)
    places = np.zeros((len(means), 2))
    centred = means - means.mean(axis=0, dtype=np.float64, keepdims=True).astype(np.float32) if len(means) else means
    if not centred.any():
        return Plane(places, 0.0)
    with threadpool_limits(1, "blas"):
        fitted = PCA(components, svd_solver="covariance_eigh").fit(centred)
        places[:, :components] = fitted.transform(centred)
    middle = (places.max(axis=0) + places.min(axis=0)) / 2
    extent = np.abs(places - middle).max()
    ratio = float(fitted.explained_variance_ratio_.sum())
    return Plane(np.round((places - middle) / extent, DIGITS + 1) + 0.0, round(ratio, DIGITS))
