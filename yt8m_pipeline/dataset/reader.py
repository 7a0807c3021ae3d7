"""Reading a finished dataset with NumPy: ids, labels and de-quantized features.

This module, and `verify`, import NumPy, pyarrow, protobuf and google-crc32c and no other package, so that who only
reads datasets need not install TensorFlow and Beam.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

from yt8m_pipeline import files
from yt8m_pipeline.accounting.reasons import DropReason, Stage
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.data_model import Float32Array, Int64Array, Partition, UInt8Array
from yt8m_pipeline.dataset.layout import LEVELS, Layout, Shard
from yt8m_pipeline.dataset.manifest import Manifest, ShardRow, not_finished
from yt8m_pipeline.dataset.tfrecord import read_record_at, read_records
from yt8m_pipeline.dataset.vocabulary import vocabulary_rows
from yt8m_pipeline.errors import DataError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from yt8m_pipeline.compression.pca import Pca
    from yt8m_pipeline.dataset.record_index import RecordIndex

Choice = TypeVar("Choice", bound=StrEnum)
Example = TypeVar("Example", bound="FrameExample | VideoExample")


@dataclass(frozen=True, eq=False)
class FrameExample:
    """One video, frame by frame.

    Attributes:
        video_id: The video's id.
        labels: int64, (labels,), ascending indices into vocabulary.csv; empty in the test partition, whose labels are
            withheld.
        codes: uint8, (frames, dimensions), as they are stored: a quarter of the size of the features.
        quantizer: The codebook that they are codes of.
    """

    video_id: str
    labels: Int64Array
    codes: UInt8Array
    quantizer: Quantizer

    def __repr__(self) -> str:
        return f"FrameExample({self.video_id!r}, labels={self.labels.tolist()}, features={self.codes.shape})"

    @cached_property
    def features(self) -> Float32Array:
        """float32, (frames, dimensions): the codes, de-quantized when they are first asked for."""
        return self.quantizer.decode(self.codes)


@dataclass(frozen=True, slots=True, eq=False)
class VideoExample:
    """One video as the mean of its frames.

    Attributes:
        video_id: The video's id.
        labels: int64, (labels,), ascending indices into vocabulary.csv; empty in the test partition, whose labels are
            withheld.
        mean_rgb: float32, (dimensions,), the mean of the de-quantized frames.
    """

    video_id: str
    labels: Int64Array
    mean_rgb: Float32Array

    def __repr__(self) -> str:
        return f"VideoExample({self.video_id!r}, labels={self.labels.tolist()}, mean_rgb={self.mean_rgb.shape})"


@dataclass(frozen=True, slots=True)
class Entity:
    """One class of the vocabulary.

    Attributes:
        index: Its label index in the records.
        train_videos: The number of train videos that it labels.
        entity_id: Its id, such as /m/04rlf.
        name: Its name.
    """

    index: int
    train_videos: int
    entity_id: str
    name: str

    @classmethod
    def of_row(cls, row: Mapping[str, str]) -> "Entity":
        """The class that a row of vocabulary.csv describes."""
        entity_id, name = row.get("KnowledgeGraphId") or "", row.get("Name") or ""
        return cls(int(row["Index"]), int(row["TrainVideoCount"]), entity_id, name)


def read_vocabulary(layout: Layout) -> list[Entity]:
    """The classes of a vocabulary.csv, in the order of their label indices."""
    return [Entity.of_row(row) for row in vocabulary_rows(files.read_bytes(layout.path(Layout.VOCABULARY)))]


@dataclass(frozen=True, slots=True)
class ShardFile:
    """A file of a shard, to read: its path or URI, and how many records the manifest says it has."""

    uri: str
    records: int


class Examples(Sequence[Example]):
    """The videos of a partition, in the order of the shards.

    A loop over them reads the files from their starts, and finds a file that has too few records; an index, a slice or
    a negative index reads those records alone. In datasets of version 0.2.0 and older, which have no offsets, each of
    these reads its shard up to the record.

    >>> frames = open_dataset(DATASET).frames("train")
    >>> len(frames), frames[-1].video_id, [example.video_id for example in frames[:2]]
    (3, 'c', ['a', 'b'])
    """

    def __init__(
        self, dataset: "FinishedDataset", level: str, partition: Partition, parse: Callable[[bytes, str], Example]
    ) -> None:
        self._dataset, self._level, self._partition, self._parse = dataset, level, partition, parse
        self._files = dataset.shards(level, partition)

    def __repr__(self) -> str:
        return f"Examples({self._level!r}, {self._partition.value!r}, videos={len(self)})"

    def __len__(self) -> int:
        return sum(file.records for file in self._files)

    def __iter__(self) -> Iterator[Example]:
        return (self._parse(*item) for item in _read_shards(self._files))

    @overload
    def __getitem__(self, item: int) -> Example: ...
    @overload
    def __getitem__(self, item: slice) -> list[Example]: ...
    def __getitem__(self, item: int | slice) -> Example | list[Example]:
        if isinstance(item, slice):
            return [self._read(row) for row in self._rows[item]]
        return self._read(self._rows[item])

    @cached_property
    def _rows(self) -> Int64Array:
        return self._dataset.index.rows(self._partition)

    def _read(self, row: int) -> Example:
        return _read_one(self._dataset, self._level, int(row), self._parse)


@dataclass(frozen=True)
class FinishedDataset:
    """A finished dataset, open for reading. It may be pickled: who unpickles it opens the folder again.

    >>> dataset = open_dataset(DATASET)
    >>> len(dataset), [entity.train_videos for entity in dataset.vocabulary]
    (5, [2, 1, 1])
    >>> dataset["d"].features.shape, "d" in dataset, "z" in dataset
    ((4, 4), True, False)
    >>> dataset.ids("train"), dataset.multi_hot([0, 2])
    (['a', 'b', 'c'], array([1., 0., 1.], dtype=float32))

    Attributes:
        layout: The paths of its files.
        quantizer: Its codebook.
        dimensions: The number of values of a frame.
        rows: What the manifest says of each file of a shard, by the file's path in the dataset.
    """

    layout: Layout
    quantizer: Quantizer
    dimensions: int
    rows: Mapping[str, ShardRow]

    def __repr__(self) -> str:
        return f"FinishedDataset({self.layout.root!r}, videos={len(self)}, dimensions={self.dimensions})"

    def __reduce__(self) -> tuple[Any, ...]:
        return open_dataset, (self.layout.root,)

    def frames(self, partition: Partition | str, *, max_frames: int | None = None) -> "Examples[FrameExample]":
        """The videos of a partition, frame by frame; see `read_frames`."""
        if max_frames is not None and max_frames < 1:
            raise UsageError(
                what="No frame would be left of a video",
                where="max_frames",
                why=f"it is {max_frames}",
                fix="give 1 or more, or None for all frames",
            )
        parse = partial(_frame_example, self, max_frames)
        return Examples(self, "frame", choice(Partition, partition, "partition"), parse)

    def videos(self, partition: Partition | str) -> "Examples[VideoExample]":
        """The videos of a partition as the means of their frames; see `read_videos`."""
        return Examples(self, "video", choice(Partition, partition, "partition"), partial(_video_example, self))

    def ids(self, partition: Partition | str) -> list[str]:
        """The ids of a partition, in the order in which `frames` and `videos` yield them."""
        rows = self.index.rows(choice(Partition, partition, "partition"))
        ids: list[str] = self.index.ids.take(rows).to_pylist()
        return ids

    def __len__(self) -> int:
        """The number of videos of all partitions."""
        return sum(row.records for row in self.rows.values() if row.level == LEVELS[0])

    def __iter__(self) -> Iterator[str]:
        """Yields the ids of all partitions, sorted."""
        return (video_id.as_py() for video_id in self.index.ids)

    def __contains__(self, video_id: object) -> bool:
        """Whether the dataset has a video."""
        try:
            return isinstance(video_id, str) and self.index.row(video_id) >= 0
        except KeyError:
            return False

    def __getitem__(self, video_id: str) -> FrameExample:
        """One video, frame by frame. Only its record is read, or its shard up to it if the dataset has no offsets.

        Raises:
            KeyError: the dataset has no such video.
            DataError: videos.parquet or the record is damaged.
        """
        return _read_one(self, "frame", self.index.row(video_id), partial(_frame_example, self, None))

    @cached_property
    def index(self) -> "RecordIndex":
        """The ids, and where their records stand: read when it is first needed, and kept."""
        from yt8m_pipeline.dataset.record_index import RecordIndex  # noqa: PLC0415

        return RecordIndex.of(self.layout)

    @property
    def classes(self) -> list[str]:
        """The names of the classes, in the order of their label indices; the id of a class without a name."""
        return [entity.name or entity.entity_id for entity in self.vocabulary]

    def multi_hot(self, labels: Iterable[int]) -> Float32Array:
        """float32, (classes,): 1 for each of the labels, and 0 for all others, which is what a loss takes.

        Raises:
            ValueError: one of them is no label: -1 does not count from the end, it pads the labels of `tf_reader`.
        """
        vector, indices = np.zeros(len(self.vocabulary), np.float32), list(labels)
        wrong = [index for index in indices if not 0 <= index < len(vector)]
        if wrong:
            raise ValueError(f"{wrong[0]} is no label: the {len(vector)} labels count from 0")
        vector[indices] = 1
        return vector

    @cached_property
    def vocabulary(self) -> list[Entity]:
        """The classes, in the order of their label indices."""
        return read_vocabulary(self.layout)

    def rejects(
        self, *, video_id: str | None = None, stage: Stage | str | None = None, reason: DropReason | str | None = None
    ) -> "Iterator[pa.Table]":
        """Yields the rows and videos that are not in the dataset, in tables of the columns `REJECTS`.

        Files, and row groups in them, that cannot match are not read. Memory is bounded whatever their number.

        >>> [table["detail"].to_pylist() for table in open_dataset(DATASET).rejects(video_id="f", stage="decode")]
        [['the file ends at byte 100']]

        Args:
            video_id: Only the rows of this video. The rows of other tables have the ids of these: /m/04rlf.
            stage: Only the rows that this stage rejected.
            reason: Only the rows that were rejected for this reason.

        Raises:
            UsageError: at once, if there is no such stage or reason.
            DataError: at once, if the manifest is damaged; while reading, a file that is missing or damaged.
        """
        from yt8m_pipeline.dataset.rejects import read_rejects  # noqa: PLC0415

        stages = () if stage is None else (choice(Stage, stage, "stage").value,)
        because = None if reason is None else choice(DropReason, reason, "reason").value
        paths = Manifest.of(self.layout).rejects
        return read_rejects(self.layout, paths, video_id=video_id, stages=stages, reason=because)

    @property
    def pca(self) -> "Pca":
        """The PCA that the coefficients were made with; see `open_pca`."""
        return open_pca(self.layout.root)

    def shards(self, level: str, partition: Partition | str) -> list[ShardFile]:
        """The shards of a level ("frame" or "video") and partition, in order.

        Raises:
            UsageError: there is no such partition.
            DataError: the manifest or the folder lacks a shard of the set, or one has another size than the manifest
                says, as a file has that was cut between two records.
        """
        part = choice(Partition, partition, "partition")
        folder = f"{level}/{part.value}"
        listed = {path for path in self.rows if path.startswith(f"{folder}/")}
        paths = [Shard(part, index, len(listed)).file(level) for index in range(len(listed))]
        if not listed or listed != set(paths):
            self._refuse_list(folder, sorted(listed))
        self._refuse_others(folder, paths)
        return [self._file(path) for path in paths]

    def shard(self, level: str, shard: Shard) -> ShardFile:
        """One shard of a level. `shards` looks whether all of a set are there, this does not."""
        return self._file(shard.file(level))

    def _file(self, path: str) -> ShardFile:
        return ShardFile(self.layout.path(path), self.rows[path].records)

    def count_classes(self) -> int:
        """The number of labels that there are: the rows of vocabulary.csv."""
        return len(self.vocabulary)

    def _refuse_list(self, folder: str, listed: Sequence[str]) -> None:
        raise DataError(
            what="The manifest does not list a whole set of shards",
            where=f"{self.layout.path(Layout.MANIFEST)}, {folder}",
            why=f"it lists {len(listed)} files, which are not one -of-{len(listed):05d} set: {', '.join(listed[:3])}",
            fix="build the dataset again",
        )

    def _refuse_others(self, folder: str, paths: Sequence[str]) -> None:
        present = {f"{folder}/{name}": state for name, state in files.list_states(self.layout.path(folder)).items()}
        missing = [path for path in paths if path not in present]
        if missing:
            raise DataError(
                what="A shard of the dataset is missing",
                where=self.layout.path(missing[0]),
                why=f"{len(missing)} of the {len(paths)} shards that the manifest lists are not in the folder",
                fix="copy the dataset again, or rebuild the partition with `yt8m rebuild-split`",
            )
        for path in paths:
            size, expected = present[path].size, self.rows[path].bytes
            if size != expected:
                raise DataError(
                    what="A shard is truncated or not the one of the manifest",
                    where=self.layout.path(path),
                    why=f"it has {size} bytes, the manifest says {expected}",
                    fix="copy the shard again, or rebuild the partition with `yt8m rebuild-split`",
                )


def choice(kind: type[Choice], name: str, what: str) -> Choice:
    """The member of an enumeration that has this name.

    Raises:
        UsageError: there is none; the error calls it what it is, such as "partition".
    """
    try:
        return kind(name)
    except ValueError:
        raise UsageError(
            what=f"There is no such {what}",
            where=repr(name),
            why=f"the {what}s of a dataset are {', '.join(kind)}",
            fix=f"give one of these names, or a `{kind.__name__}`",
        ) from None


def open_dataset(dataset: str) -> FinishedDataset:
    """Opens a dataset that a build has finished.

    >>> opened = open_dataset(DATASET)
    >>> opened.dimensions, opened.quantizer
    (4, Quantizer('uniform', shared, levels=256))
    >>> [shard.records for shard in opened.shards("frame", "train")]
    [2, 1]

    Args:
        dataset: The folder, local or gs://.

    Raises:
        UsageError: there is no dataset in the folder.
        DataError: the build is not finished, the manifest is damaged, or the codebook is not the manifest's.
    """
    layout = Layout(dataset)
    manifest = Manifest.of(layout)
    if not files.exists(layout.path(Layout.COMPLETE)):
        raise not_finished(layout, Layout.COMPLETE)
    quantizer = _load_quantizer(layout, manifest.quantizer.facts.fingerprint)
    rows = {row.path: row for row in manifest.shards}
    return FinishedDataset(layout, quantizer, manifest.pca.facts.components, rows)


def _load_quantizer(layout: Layout, fingerprint: str) -> Quantizer:
    path = layout.path(Layout.QUANTIZER)
    quantizer = Quantizer.load(path)
    if quantizer.fingerprint != fingerprint:
        raise DataError(
            what="The codebook is not the one that the dataset was encoded with",
            where=path,
            why=f"its fingerprint is {quantizer.fingerprint}, the manifest's is {fingerprint}",
            fix=f"put the dataset's own {Layout.QUANTIZER} back, or build the dataset again",
        )
    return quantizer


def read_frames(dataset: str, partition: Partition | str, *, max_frames: int | None = None) -> Iterator[FrameExample]:
    """Yields every video of a partition, frame by frame, in the order of the shards.

    >>> for example in read_frames(DATASET, "train"):
    ...     print(example.video_id, example.labels, example.features.shape)
    a [0 2] (3, 4)
    b [1] (2, 4)
    c [0] (3, 4)

    Args:
        dataset: The folder of a finished dataset, local or gs://.
        partition: A partition, or its name: "train", "validate" or "test".
        max_frames: The number of frames of a video after which the rest is left out; None for all.

    Raises:
        UsageError: at once, if there is no such folder or partition.
        DataError: at once, what `open_dataset` and `FinishedDataset.shards` refuse; while reading, a damaged or
            truncated shard, or a record that another codebook encoded.
    """
    return iter(open_dataset(dataset).frames(partition, max_frames=max_frames))


def read_shard(opened: FinishedDataset, file: ShardFile) -> Iterator[FrameExample]:
    """Yields every video of one frame-level shard; the errors are those that `read_frames` raises while reading.

    >>> dataset = open_dataset(DATASET)
    >>> [[example.video_id for example in read_shard(dataset, file)] for file in dataset.shards("frame", "train")]
    [['a', 'b'], ['c']]
    """
    return (_frame_example(opened, None, *item) for item in _read_shards([file]))


def read_videos(dataset: str, partition: Partition | str) -> Iterator[VideoExample]:
    """Yields every video of a partition as the mean of its frames.

    >>> [example.mean_rgb.shape for example in read_videos(DATASET, "validate")]
    [(4,)]

    The order, the arguments and the errors are those of `read_frames`.
    """
    return iter(open_dataset(dataset).videos(partition))


def _read_shards(shards: Sequence[ShardFile]) -> Iterator[tuple[bytes, str]]:
    """Yields each record of each shard, and its place as an error names it."""
    for shard in shards:
        count = 0
        with files.open_read(shard.uri) as stream:
            for data in read_records(stream, shard.uri):
                yield data, f"{shard.uri}, record {count}"
                count += 1
        if count != shard.records:
            raise DataError(
                what="A shard has not as many records as the manifest says",
                where=shard.uri,
                why=f"the manifest says {shard.records}, the file has {count}",
                fix="copy the shard again, or rebuild the partition with `yt8m rebuild-split`",
            )


def _read_one(opened: FinishedDataset, level: str, row: int, parse: Callable[[bytes, str], Example]) -> Example:
    """Reads the record of one row of the index."""
    video_id = opened.index.ids[row].as_py()
    place = opened.index.place(level, row)
    file = opened.shard(level, opened.index.shard(row))
    if place is None:
        return next(item for item in (parse(*item) for item in _read_shards([file])) if item.video_id == video_id)
    where = f"{file.uri}, byte {place.offset}"
    with files.open_read(file.uri) as stream:
        example = parse(read_record_at(stream, place.offset, place.bytes, file.uri), where)
    if example.video_id != video_id:
        raise DataError(
            what="The index and the shards are not of one dataset",
            where=where,
            why=f"{Layout.VIDEOS} says that {video_id} stands there, and {example.video_id} does",
            fix="copy the dataset again; `yt8m verify` lists what does not fit",
        )
    return example


def _frame_example(opened: FinishedDataset, max_frames: int | None, data: bytes, where: str) -> FrameExample:
    from yt8m_pipeline.dataset.records import parse_frame_record  # noqa: PLC0415

    record = parse_frame_record(data, where)
    found = record.feature_name, record.codes.shape[1]
    _refuse_mixture(where, found, (opened.quantizer.feature_name, opened.dimensions))
    opened.quantizer.require_levels(record.codes)
    return FrameExample(record.video_id, np.array(record.labels, np.int64), record.codes[:max_frames], opened.quantizer)


def _video_example(opened: FinishedDataset, data: bytes, where: str) -> VideoExample:
    from yt8m_pipeline.dataset.records import parse_video_record  # noqa: PLC0415

    record = parse_video_record(data, where)
    _refuse_mixture(where, ("mean_rgb", len(record.mean_rgb)), ("mean_rgb", opened.dimensions))
    return VideoExample(record.video_id, np.array(record.labels, np.int64), record.mean_rgb)


def _refuse_mixture(where: str, found: tuple[str, int], expected: tuple[str, int]) -> None:
    if found != expected:
        raise DataError(
            what="A record was encoded otherwise than the dataset",
            where=where,
            why=f"it has {found[0]} of {found[1]} values, the dataset has {expected[0]} of {expected[1]}",
            fix="rebuild the partition with `yt8m rebuild-split`; do not mix shards of two datasets",
        )


def open_pca(dataset: str) -> "Pca":
    """Loads the PCA that a dataset's coefficients were made with.

    Raises:
        UsageError: if the folder has no manifest, or the dataset was converted and has no PCA.
        DataError: if a file is damaged, or the PCA is not the one of the manifest.
    """
    from yt8m_pipeline.compression.pca import Pca  # noqa: PLC0415  it needs threadpoolctl and SciPy, reading does not

    layout = Layout(dataset)
    folder, facts = layout.path(Layout.PCA), Manifest.of(layout).pca.facts
    if facts.fingerprint is None or facts.epsilon is None:
        why = f"its coefficients come from {facts.source}, with no PCA"
        raise UsageError(
            what="The dataset has no PCA", where=dataset, why=why, fix="give a dataset that `yt8m build` made"
        )
    pca = Pca.load(folder, epsilon=facts.epsilon)
    if pca.fingerprint != facts.fingerprint:
        why = "its fingerprint is not the one in the manifest"
        raise DataError(
            what="The PCA is not this dataset's",
            where=folder,
            why=why,
            fix="run `yt8m verify`, then `yt8m build` again",
        )
    return pca
