"""The coefficients that the codes of a dataset stand for, computed again from the feature store."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from yt8m_pipeline import files
from yt8m_pipeline.chance import salted_hashes
from yt8m_pipeline.compression.pca import Pca
from yt8m_pipeline.data_model import Float32Array, Partition
from yt8m_pipeline.dataset.index import read_parquet
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import Manifest
from yt8m_pipeline.dataset.steps import file_entry
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.store.feature_store import DESCRIPTION, FeatureStore

SALT = "yt8m-stats"
"""The salt of the hash that chooses the videos to measure."""

STORE_BESIDE = "features"
"""The default name of the feature store, a folder beside the dataset (`Config.store`)."""


@dataclass(frozen=True, slots=True)
class StoredCoefficients:
    """The whitened coefficients of videos, read and projected anew by each iteration: float32, (frames, components).

    Attributes:
        pca: The PCA of the dataset.
        store: The feature store.
        digests: The SHA-256 of the features of each video, by its id.
        advance: It is called after each video with its number of frames.
    """

    pca: Pca
    store: FeatureStore
    digests: Mapping[str, str]
    advance: Callable[[int], None] = lambda _: None

    def __iter__(self) -> Iterator[Float32Array]:
        """Yields video by video.

        Raises:
            DataError: if a stored file is damaged, cannot be read, or has other features than the dataset was built of.
        """
        for video_id, digest in self.digests.items():
            uri = self.store.path(video_id)
            stored = self.store.open(uri)
            if stored.header.sha256 != digest:
                raise DataError(
                    what="The store has other features of a video than the dataset was built of",
                    where=uri,
                    why=f"their sha256 is {stored.header.sha256[:12]}…, {Layout.VIDEOS} says {digest[:12]}…",
                    fix="give the dataset's own store with --store, or run `yt8m build` again",
                )
            yield self.pca.transform(stored.video.features)
            self.advance(len(stored.video.features))


def store_beside(dataset: str) -> str:
    """The folder `features` beside a dataset, where a build keeps its store by default."""
    folder = dataset.rstrip("/") if "://" in dataset else os.path.abspath(dataset)
    return files.join(folder.rpartition("/")[0], STORE_BESIDE)


def find_coefficients(dataset: str, pca: Pca, store: str, partition: Partition, frames: int) -> StoredCoefficients:
    """Chooses whole videos of a partition, by a salted hash of their ids, and finds them in the store.

    Args:
        dataset: The folder of a finished dataset.
        pca: The PCA of that dataset.
        store: The root of its feature store.
        partition: The partition whose videos are measured.
        frames: The most frames that the chosen videos have together.

    Raises:
        UsageError: if there is no dataset, its store is not there or lacks a video, the partition is empty, or no whole
            video fits into the frames.
        DataError: if videos.parquet or the manifest is not what the build wrote.
    """
    layout = Layout(dataset)
    manifest = Manifest.of(layout)
    found = FeatureStore(store, manifest.feature_space.fingerprint)
    if not files.exists(files.join(found.folder, DESCRIPTION)):
        why = f"{store} has no features of space {found.space}; a dataset does not say where its store is"
        raise _not_in_store("The feature store of this dataset is not there", found.folder, why)
    chosen = _choose(_videos(layout, manifest, partition), frames)
    digests = dict(zip(chosen["video_id"].to_pylist(), chosen["features_sha256"].to_pylist(), strict=True))
    missing = [video_id for video_id in digests if not files.exists(found.path(video_id))]
    if missing:
        why = f"{len(missing)} of the {len(digests)} videos to measure are missing, one is {missing[0]!r}"
        raise _not_in_store("The feature store lacks videos of this dataset", found.path(missing[0]), why)
    return StoredCoefficients(pca, found, digests)


def _videos(layout: Layout, manifest: Manifest, partition: Partition) -> pa.Table:
    """The partition's rows of videos.parquet, which must be the one of the manifest."""
    path = layout.path(Layout.VIDEOS)
    if not files.exists(path) or file_entry(layout, Layout.VIDEOS) not in manifest.files:
        why = "it is missing, or its sha256 is not the one in the manifest"
        raise DataError(
            what="The list of videos is not this dataset's",
            where=path,
            why=why,
            fix="run `yt8m verify`, then build again",
        )
    videos = read_parquet(layout, Layout.VIDEOS)
    rows = videos.filter(pc.equal(videos["partition"], partition.value))
    if not rows.num_rows:
        fix = "choose another one with --partition"
        raise UsageError(
            what=f"The {partition.value} partition has no videos",
            where=path,
            why="no row is of this partition",
            fix=fix,
        )
    return rows


def _choose(videos: pa.Table, frames: int) -> pa.Table:
    """The first videos by salted hash that have at most so many frames together."""
    order = np.argsort(salted_hashes(SALT, videos["video_id"].to_pylist()), kind="stable")
    totals = np.cumsum(videos["frames"].to_numpy()[order])
    if totals[0] > frames:
        why = f"videos are taken whole, and the first one has {totals[0]} frames"
        raise UsageError(
            what="No video fits into so few frames",
            where=f"--frames {frames}",
            why=why,
            fix=f"give at least {totals[0]}",
        )
    return videos.take(order[totals <= frames])


def _not_in_store(what: str, where: str, why: str) -> UsageError:
    fix = "give the store that the dataset was built with: --store DIR; or run `yt8m build` again, which fills it"
    return UsageError(what=what, where=where, why=why, fix=fix)
