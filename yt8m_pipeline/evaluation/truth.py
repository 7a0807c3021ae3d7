"""The true labels that predictions are compared with: those of a partition, or those that people gave."""

import csv
import io
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from yt8m_pipeline import files
from yt8m_pipeline.accounting.outcome import BoolArray
from yt8m_pipeline.data_model import Int64Array, Partition
from yt8m_pipeline.dataset.index import read_parquet
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.reader import Entity, FinishedDataset
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.evaluation.bounds import MAX_TEXT, open_table, require_short

RATED_COLUMNS = ("video_id", "labels")

BATCH_ROWS = 1024
"""The number of ratings that are converted at once."""

SEPARATOR = ";"
"""What stands between the labels of a video in a CSV table, as in the list columns of all input tables."""


@dataclass(frozen=True, eq=False)
class Truth:
    """The true labels of some videos, sorted by video id.

    Attributes:
        video_ids: string, (videos,).
        offsets: int64, (videos + 1,): where the labels of each video begin and end.
        labels: int64, (labels,).
        classes: The number of classes of the vocabulary.
    """

    video_ids: pa.Array
    offsets: Int64Array
    labels: Int64Array
    classes: int

    @classmethod
    def of_rows(cls, rows: pa.Table, classes: int) -> "Truth":
        """Makes it of a table with the columns `video_id` and `labels` list<int64>."""
        rows = rows.sort_by("video_id")
        labels = rows["labels"].combine_chunks()
        offsets = np.append(0, np.cumsum(np.asarray(pc.list_value_length(labels), np.int64)))
        flat = np.asarray(pc.list_flatten(labels), np.int64)
        return cls(rows["video_id"].combine_chunks(), offsets, flat, classes)

    def of(self, videos: Int64Array) -> BoolArray:
        """The labels of some videos: bool, (videos, classes)."""
        sizes = self.offsets[videos + 1] - self.offsets[videos]
        rows = np.repeat(np.arange(len(videos)), sizes)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        matrix = np.zeros((len(videos), self.classes), np.bool_)
        matrix[rows, self.labels[self.offsets[videos][rows] + within]] = True
        return matrix


def read_truth(dataset: FinishedDataset, partition: Partition) -> Truth:
    """Reads the true labels of a partition.

    Raises:
        UsageError: the labels are those of the test partition, and the dataset that is at hand withholds them.
        DataError: a table is damaged.
    """
    rows = read_parquet(dataset.layout, Layout.VIDEOS, ["video_id", "partition", "labels"])
    rows = rows.filter(pc.equal(rows["partition"], partition.value))
    if rows["labels"].null_count:
        if not files.exists(dataset.layout.path(Layout.TEST_LABELS)):
            raise UsageError(
                what="The labels of this partition are withheld",
                where=dataset.layout.root,
                why=f"there is no {Layout.TEST_LABELS}",
                fix="evaluate another partition, or ask whoever made the dataset",
            )
        rows = read_parquet(dataset.layout, Layout.TEST_LABELS, ["video_id", "labels"])
    return Truth.of_rows(rows, len(dataset.vocabulary))


def read_rated(dataset: FinishedDataset, path: str) -> Truth:
    """Reads the labels that human raters gave to some videos of a dataset, such as those of its test partition (§3.5).

    Args:
        dataset: The dataset, whose vocabulary the labels are of.
        path: A .parquet file with the columns `video_id` and `labels`, which is a list of entity ids or of label
            indices; or a .csv file with the same columns, where `;` stands between the labels.

    Raises:
        UsageError: there is no such file, it has another ending, or lacks a column.
        DataError: it is damaged; a row has no id, the id of a row before, or no list of labels; a label is none of the
            vocabulary, or the id of one class and the index of another.
    """
    rows = list(_indexed(_read_rows(path), dataset.vocabulary, path))
    schema = pa.schema([("video_id", pa.string()), ("labels", pa.list_(pa.int64()))])
    return Truth.of_rows(pa.Table.from_pylist(rows, schema=schema), len(dataset.vocabulary))


def _indexed(
    rows: Iterable[Mapping[str, object]], vocabulary: Sequence[Entity], path: str
) -> Iterator[Mapping[str, object]]:
    by_id = {entity.entity_id: entity.index for entity in vocabulary}
    by_index = {str(entity.index): entity.index for entity in vocabulary}
    indices, seen = by_id | by_index, set[object]()
    doubtful = {label for label in by_id if by_index.get(label, by_id[label]) != by_id[label]}
    for number, row in enumerate(rows, 1):
        labels = _items(row["labels"])
        why = _wrong_labels(labels, indices, doubtful)
        if not isinstance(row["video_id"], str) or not row["video_id"] or row["video_id"] in seen:
            why = "its video_id is no text, is empty, or stands twice"
        if None in row:
            why = "it has more than two cells: `;` stands between labels"
        if labels is None or why:
            raise DataError(
                what="A rating cannot be read", where=f"{path}, row {number}", why=why, fix="correct or remove the row"
            )
        seen.add(row["video_id"])
        yield {"video_id": row["video_id"], "labels": sorted({indices[label] for label in labels})}


def _wrong_labels(labels: Sequence[str] | None, indices: Mapping[str, int], doubtful: Collection[str]) -> str:
    """Why the labels of a row mean nothing, or not one thing; "" where they do."""
    if labels is None:
        return "its labels are no list"
    unknown = [label for label in labels if label not in indices]
    if unknown:
        return f"{unknown[0]!r} is no label of the vocabulary"
    both = [label for label in labels if label in doubtful]
    return f"{both[0]!r} is the id of one class and the index of another" if both else ""


def _items(labels: object) -> list[str] | None:
    """The labels of a cell, which is a list or the text of a list; None of another cell."""
    if isinstance(labels, str):
        return [part.strip() for part in labels.split(SEPARATOR) if part.strip()]
    return [str(label) for label in labels] if isinstance(labels, list) else None


def _read_rows(path: str) -> Sequence[Mapping[str, object]]:
    readers = {"csv": _read_csv, "parquet": _read_parquet}
    ending = path.rpartition(".")[2].lower()
    if ending not in readers:
        raise _no_table(path, f"the file ends in .{ending}")
    try:
        return readers[ending](path)
    except FileNotFoundError:
        raise _no_table(path, "no such file") from None
    except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
        why = " ".join(str(error).split())
        raise DataError(what="The ratings cannot be read", where=path, why=why, fix="copy the file again") from None


def _read_parquet(path: str) -> Sequence[Mapping[str, object]]:
    rows, size = list[Mapping[str, object]](), 0
    with files.open_read(path) as stream:
        table = open_table(stream, RATED_COLUMNS)
        _require_columns(table.schema_arrow.names, path)
        for group in range(table.num_row_groups):  # one by one: Arrow joins no nested dictionaries of several
            for batch in table.iter_batches(BATCH_ROWS, [group], list(RATED_COLUMNS)):
                size += sum(require_short(batch[name], name) for name in RATED_COLUMNS)
                if size > MAX_TEXT:
                    raise ValueError(f"it has more than {MAX_TEXT:,} bytes of text")
                rows += batch.to_pylist()
    return rows


def _read_csv(path: str) -> Sequence[Mapping[str, object]]:
    if (files.file_size(path) or 0) > MAX_TEXT:
        raise ValueError(f"it has more than {MAX_TEXT:,} bytes")
    reader = csv.DictReader(io.StringIO(files.read_bytes(path).decode("utf-8-sig"), newline=""))
    _require_columns(reader.fieldnames or (), path)
    return list(reader)


def _require_columns(names: Sequence[str], path: str) -> None:
    if not set(RATED_COLUMNS) <= set(names):
        raise _no_table(path, f"its columns are {', '.join(names) or 'none'}")


def _no_table(path: str, why: str) -> UsageError:
    return UsageError(
        what="This is no table of human ratings",
        where=path,
        why=why,
        fix=f"give a .parquet or .csv file with the columns {' and '.join(RATED_COLUMNS)}",
    )
