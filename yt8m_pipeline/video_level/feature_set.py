"""Reading a set of video-level features with NumPy: `yt8m features` writes it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from yt8m_pipeline import files
from yt8m_pipeline.data_model import Float32Array, Int64Array, Partition
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.reader import Entity, ShardFile, choice, read_vocabulary
from yt8m_pipeline.dataset.records import parse_vector_record
from yt8m_pipeline.dataset.tfrecord import read_records
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.video_level.feature_list import FEATURE, LIST, FeatureList

if TYPE_CHECKING:
    from yt8m_pipeline.compression.pca import Pca


@dataclass(frozen=True, slots=True, eq=False)
class VideoVector:
    """One video as one vector.

    Attributes:
        video_id: The video's id.
        labels: int64, (labels,), ascending indices into vocabulary.csv; empty where the labels are withheld.
        features: float32, (dimensions,), of length 1 unless they are the states of a model.
    """

    video_id: str
    labels: Int64Array
    features: Float32Array

    def __repr__(self) -> str:
        return f"VideoVector({self.video_id!r}, labels={self.labels.tolist()}, features={self.features.shape})"


@dataclass(frozen=True)
class FeatureSet:
    """A finished set of video-level features, open for reading. It may be pickled: who unpickles it opens it again.

    Attributes:
        layout: The paths of its files.
        told: Its list, which says what the vectors are.
    """

    layout: Layout
    told: FeatureList

    def __reduce__(self) -> tuple[Any, ...]:
        return open_features, (self.layout.root,)

    def __repr__(self) -> str:
        return f"FeatureSet({self.layout.root!r}, dimensions={self.dimensions})"

    @property
    def dimensions(self) -> int:
        """The number of values of a vector."""
        return self.told.dimensions

    @cached_property
    def vocabulary(self) -> list[Entity]:
        """The classes, in the order of their label indices."""
        return read_vocabulary(self.layout)

    @property
    def classes(self) -> list[str]:
        """The names of the classes, in the order of their label indices; the id of a class without a name."""
        return [entity.name or entity.entity_id for entity in self.vocabulary]

    @property
    def pca(self) -> "Pca":
        """The PCA that made the vectors of φ.

        Raises:
            UsageError: if the vectors are the states of a model, which have none.
            DataError: if a file is damaged, or the PCA is not the one of the list.
        """
        from yt8m_pipeline.compression.pca import Pca  # noqa: PLC0415  it needs SciPy, reading does not

        facts, folder = self.told.pca, self.layout.path(Layout.PCA)
        if facts is None:
            raise UsageError(
                what="These features have no PCA",
                where=self.layout.root,
                why="they are the states of a model, as it gives them",
                fix="give features that were made without --from",
            )
        pca = Pca.load(folder)
        if pca.fingerprint != facts.fingerprint:
            raise DataError(
                what="The PCA is not that of these features",
                where=folder,
                why=f"its fingerprint is not the one in {LIST}",
                fix="copy the folder again; `yt8m verify` lists what is damaged",
            )
        return pca

    def shards(self, partition: Partition | str) -> list[ShardFile]:
        """The TFRecord files of a partition, in order: those of the dataset, with the same videos.

        Raises:
            UsageError: there is no such partition.
            DataError: a file is missing, or has another size than the list says.
        """
        part = choice(Partition, partition, "partition")
        listed = [file for file in self.told.files if file.partition == part and file.path.endswith(".tfrecord")]
        for file in listed:
            size = files.file_size(self.layout.path(file.path))
            if size != file.bytes:
                raise DataError(
                    what="A file of the features is missing or truncated",
                    where=self.layout.path(file.path),
                    why=f"{LIST} says {file.bytes} bytes, it " + ("is not there" if size is None else f"has {size}"),
                    fix="copy the folder again, or remove it and run `yt8m features` again",
                )
        return [ShardFile(self.layout.path(file.path), file.videos) for file in listed]

    def videos(self, partition: Partition | str) -> Iterator[VideoVector]:
        """Yields every video of a partition, in the order of the shards; one record at a time is in memory.

        Raises:
            UsageError: at once, there is no such partition.
            DataError: at once, what `shards` refuses; while reading, a damaged or truncated file.
        """
        return (vector for shard in self.shards(partition) for vector in self._read(shard))

    def _read(self, shard: ShardFile) -> Iterator[VideoVector]:
        with files.open_read(shard.uri) as stream:
            for number, data in enumerate(read_records(stream, shard.uri)):
                video_id, labels, features = parse_vector_record(data, FEATURE, f"{shard.uri}, record {number}")
                yield VideoVector(video_id, np.array(labels, np.int64), features)


def open_features(folder: str) -> FeatureSet:
    """Opens a set of video-level features that `yt8m features` has finished.

    >>> opened = open_features(FEATURES)
    >>> opened.dimensions, opened.told.blocks.value
    (2, 'mu+sigma')
    >>> for video in opened.videos("validate"):
    ...     print(video.video_id, video.labels, video.features)
    d [1] [0.6 0.8]

    Args:
        folder: The folder, local or gs://.

    Raises:
        UsageError: there are no features in the folder.
        DataError: they are not finished, or their list is damaged.
    """
    layout, told = Layout(folder), FeatureList.find(folder)
    if told is None:
        raise UsageError(
            what="There are no video-level features",
            where=folder,
            why=f"the folder has no {LIST}",
            fix="make them with `yt8m features DATASET --output DIR`, and give that folder",
        )
    if not files.exists(layout.path(Layout.COMPLETE)):
        raise DataError(
            what="These video-level features are not finished",
            where=folder,
            why=f"the folder has no {Layout.COMPLETE}",
            fix="run the same `yt8m features` again: it goes on where it stopped",
        )
    return FeatureSet(layout, told)
