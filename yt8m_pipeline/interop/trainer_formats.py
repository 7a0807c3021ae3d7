"""A shard of a dataset in the formats of other trainers: WebDataset, Parquet, Hugging Face datasets, .npy files.

Each writer gets the videos of one shard, and writes one file (for .npy, one for each video and a table of them). The
bytes depend on the videos alone: no time, user or host is in them.
"""

import csv
import hashlib
import io
import json
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.file_names import safe_name
from yt8m_pipeline.dataset.layout import Shard
from yt8m_pipeline.dataset.reader import FrameExample
from yt8m_pipeline.interop.trainer_names import TrainerFormat, Values

Write: TypeAlias = Callable[[str], AbstractContextManager[IO[bytes]]]
"""Opens a file of the export for writing, given its path there."""

ROWS = 16
"""The number of videos of a row group: 23 MB of 360 frames of 1,024 float32."""

HF_SPLITS = {Partition.TRAIN: "train", Partition.VALIDATE: "validation", Partition.TEST: "test"}
"""The names that Hugging Face gives to the partitions."""


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes of a dataset.

    Attributes:
        names: Their names, in the order of the label indices.
        are_withheld: The partitions whose labels the dataset does not publish. Theirs are null here, too.
    """

    names: tuple[str, ...]
    are_withheld: frozenset[Partition]

    def of(self, example: FrameExample, partition: Partition) -> list[int] | None:
        """The label indices of a video; None where they are withheld."""
        return None if partition in self.are_withheld else [int(label) for label in example.labels]

    @property
    def unique_names(self) -> list[str]:
        """The names; those that several classes have are followed by their index."""
        classes = Counter(self.names)
        return [name if classes[name] == 1 else f"{name} ({index})" for index, name in enumerate(self.names)]


@dataclass(frozen=True, slots=True)
class ShardWriter:
    """Writes shards in one format.

    Attributes:
        form: The format.
        values: What stands for a frame.
        dimensions: The number of values of a frame.
        classes: The classes of the dataset.
    """

    form: TrainerFormat
    values: Values
    dimensions: int
    classes: Classes

    def path(self, shard: Shard) -> str:
        """The file of a shard; of .npy files, the table of them."""
        partition = shard.partition.value
        match self.form:
            case TrainerFormat.WEBDATASET:
                return f"{partition}-{shard.index:06d}.tar"
            case TrainerFormat.NPY:
                return f"{partition}/{shard.name}.csv"
            case TrainerFormat.PARQUET:
                return f"{partition}/{shard.name}.parquet"
            case TrainerFormat.HF:
                return f"data/{HF_SPLITS[shard.partition]}-{shard.index:05d}-of-{shard.of:05d}.parquet"

    def write(self, shard: Shard, examples: Iterable[FrameExample], write: Write) -> None:
        """Writes the videos of a shard.

        Args:
            shard: The shard.
            examples: Its videos, sorted by id.
            write: Opens files.
        """
        match self.form:
            case TrainerFormat.WEBDATASET:
                self._write_tar(shard, examples, write)
            case TrainerFormat.NPY:
                self._write_arrays(shard, examples, write)
            case TrainerFormat.PARQUET | TrainerFormat.HF:
                self._write_parquet(shard, examples, write)

    def array(self, example: FrameExample) -> npt.NDArray[Any]:
        """The values of a video: (frames, dimensions)."""
        return example.codes if self.values == Values.CODES else example.features.astype(self.values.value)

    def _write_tar(self, shard: Shard, examples: Iterable[FrameExample], write: Write) -> None:
        with write(self.path(shard)) as stream, tarfile.open(None, "w", stream, format=tarfile.GNU_FORMAT) as archive:
            for example in examples:
                key = safe_name(example.video_id)
                _add(archive, f"{key}.json", json.dumps(self._described(example, shard.partition)).encode())
                _add(archive, f"{key}.npy", _npy_bytes(self.array(example)))

    def _described(self, example: FrameExample, partition: Partition) -> dict[str, Any]:
        labels = self.classes.of(example, partition)
        names = None if labels is None else [self.classes.names[label] for label in labels]
        return {
            "id": example.video_id,
            "partition": partition.value,
            "labels": labels,
            "names": names,
            "frames": len(example.codes),
        }

    def _write_arrays(self, shard: Shard, examples: Iterable[FrameExample], write: Write) -> None:
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["video_id", "path", "labels", "frames", "bytes", "sha256"])
        for example in examples:
            path, data = f"{shard.partition.value}/{shard.name}/{safe_name(example.video_id)}.npy", self.array(example)
            labels = ";".join(map(str, self.classes.of(example, shard.partition) or ()))
            with write(path) as stream:
                stream.write(content := _npy_bytes(data))
            digest = hashlib.sha256(content).hexdigest()
            table.writerow([example.video_id, path, labels, len(data), len(content), digest])
        with write(self.path(shard)) as stream:
            stream.write(text.getvalue().encode())

    def _write_parquet(self, shard: Shard, examples: Iterable[FrameExample], write: Write) -> None:
        schema = self.schema
        with (
            write(self.path(shard)) as stream,
            pq.ParquetWriter(stream, schema, compression="zstd", store_schema=True) as parquet,
        ):
            rest = iter(examples)
            while group := list(islice(rest, ROWS)):
                parquet.write_table(self._table(group, shard.partition, schema))

    @property
    def schema(self) -> pa.Schema:
        """The columns of Parquet: the id, the label indices (null where they are withheld), and the frames."""
        frame = pa.list_(pa.field("element", self._type), self.dimensions)
        fields = [
            ("video_id", pa.string()),
            ("labels", pa.list_(pa.field("element", pa.int64()))),
            ("features", pa.list_(pa.field("element", frame))),
        ]
        if self.form != TrainerFormat.HF:
            return pa.schema(fields)
        return pa.schema(fields, {"huggingface": json.dumps({"info": {"features": self._hf_features}})})

    @property
    def _type(self) -> pa.DataType:
        types = {Values.FLOAT32: pa.float32(), Values.FLOAT16: pa.float16(), Values.CODES: pa.uint8()}
        return types[self.values]

    @property
    def _hf_features(self) -> dict[str, Any]:
        """The columns as Hugging Face `datasets` describes them, by which labels have names."""
        value = {"dtype": "uint8" if self.values == Values.CODES else self.values.value, "_type": "Value"}
        return {
            "video_id": {"dtype": "string", "_type": "Value"},
            "labels": {"feature": {"names": self.classes.unique_names, "_type": "ClassLabel"}, "_type": "Sequence"},
            "features": {
                "feature": {"feature": value, "length": self.dimensions, "_type": "Sequence"},
                "_type": "Sequence",
            },
        }

    def _table(self, examples: Sequence[FrameExample], partition: Partition, schema: pa.Schema) -> pa.Table:
        arrays = [self.array(example) for example in examples]
        offsets = np.cumsum([0, *map(len, arrays)])
        values = pa.array(np.concatenate(arrays).ravel(), self._type)
        frames = pa.FixedSizeListArray.from_arrays(values, type=schema.field("features").type.value_type)
        features = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), frames, type=schema.field("features").type)
        labels = [self.classes.of(example, partition) for example in examples]
        ids = [example.video_id for example in examples]
        return pa.table([pa.array(ids), pa.array(labels, schema.field("labels").type), features], schema=schema)


def _npy_bytes(array: npt.NDArray[Any]) -> bytes:
    """An array as the bytes of a .npy file, of version 1.0."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return stream.getvalue()


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """Adds a file to an archive, without time, owner or rights of anybody."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o644
    archive.addfile(entry, io.BytesIO(data))


def webdataset_index(shards: Iterable[tuple[str, int, int]]) -> bytes:
    """The list of the shards of a partition as WebDataset's `wids` reads it, with the number of samples of each.

    Args:
        shards: The path, the number of samples and the size in bytes of each shard.
    """
    rows = [{"url": path, "nsamples": samples, "filesize": size} for path, samples, size in shards]
    return (json.dumps({"wids_version": 1, "shardlist": rows}, indent=1) + "\n").encode()


def hf_card(sizes: Mapping[Partition, int]) -> bytes:
    """The README.md by which `datasets.load_dataset` finds the splits.

    Args:
        sizes: The number of videos of each partition. A split without videos is left out.
    """
    splits = [
        f"  - split: {HF_SPLITS[part]}\n    path: data/{HF_SPLITS[part]}-*" for part, size in sizes.items() if size
    ]
    header = "\n".join(["---", "configs:", "- config_name: default", "  data_files:", *splits, "---"])
    text = "`features` has one row of coefficients for each second of a video; `labels` are classes."
    return f"{header}\n\n{text}\n".encode()
