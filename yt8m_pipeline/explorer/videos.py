"""The rows of videos.parquet, in batches, with the labels that may be shown."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from yt8m_pipeline import files
from yt8m_pipeline.data_model import Int64Array, Partition
from yt8m_pipeline.dataset.index import TEST_LABELS, VIDEOS, streamed
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.typed_rows import typed
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.parsing import parquet_file

PARTITIONS = tuple(part.value for part in Partition)
"""The names of the partitions, in their order; a number in the site's data is an index into them."""

BATCH = 1 << 16
"""How many rows are in memory at once."""


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """Some neighbouring rows of videos.parquet.

    Attributes:
        start: The number of the first row.
        table: The columns that were asked for.
        partitions: int64, (rows,), an index into `PARTITIONS` for each.
        is_labelled: bool, (rows,), whether the labels of a row may be shown.
        label_rows: int64, (labels,), ascending, the row in the batch that a label belongs to.
        labels: int64, (labels,), label indices.
    """

    start: int
    table: pa.Table
    partitions: Int64Array
    is_labelled: npt.NDArray[np.bool_]
    label_rows: Int64Array
    labels: Int64Array


def read_batches(
    layout: Layout,
    columns: Sequence[str],
    classes: int,
    published: Collection[Partition],
    *,
    with_withheld: bool = False,
) -> Iterator[Batch]:
    """Yields all rows of videos.parquet. Columns that an older dataset lacks are null.

    Args:
        layout: The paths of the dataset.
        columns: The columns that the tables have, besides the partition and the labels.
        classes: The number of entities.
        published: The partitions whose labels may be shown.
        with_withheld: Whether the labels of the test partition are shown that are withheld.

    Raises:
        UsageError: the withheld labels are asked for, and are not there.
        DataError: a table is missing or damaged, or has a video without id or shard, or a label that is no entity's.
    """
    path = layout.path(Layout.VIDEOS)
    try:
        withheld = _Withheld(layout) if with_withheld else None
        start = 0
        with files.open_read(path) as stream:
            source = streamed(stream)
            known = [
                name
                for name in dict.fromkeys(["video_id", "partition", "labels", "shard", *columns])
                if name in source.schema_arrow.names
            ]
            for found in source.iter_batches(BATCH, columns=known):
                yield _batch(
                    start, typed(pa.Table.from_batches([found]), VIDEOS), columns, classes, published, withheld
                )
                start += found.num_rows
    except (OSError, LookupError, ValueError, pa.ArrowException) as error:
        raise DataError(
            what="The videos of the dataset cannot be read",
            where=path,
            why=" ".join(str(error).split()),
            fix="list all damage with `yt8m verify`; copy the dataset again, or build it again",
        ) from None


def _batch(
    start: int,
    found: pa.Table,
    columns: Sequence[str],
    classes: int,
    published: Collection[Partition],
    withheld: "_Withheld | None",
) -> Batch:
    if any(found[name].null_count for name in ("video_id", "shard")):
        raise ValueError("it has a video without id or shard")
    partitions = np.asarray(pc.index_in(found["partition"], pa.array(PARTITIONS)).fill_null(-1), np.int64)
    if (partitions < 0).any():
        raise ValueError("it has a partition of another name")
    is_published = np.isin(partitions, [PARTITIONS.index(part.value) for part in published])
    lists = pc.if_else(is_published, found["labels"].combine_chunks(), pa.scalar(None, VIDEOS.field("labels").type))
    is_labelled = np.asarray(lists.is_valid())
    rows = np.asarray(pc.list_parent_indices(lists), np.int64)
    labels = np.asarray(pc.list_flatten(lists), np.int64)
    if withheld is not None:
        hidden = np.flatnonzero(~is_labelled & (partitions == PARTITIONS.index(Partition.TEST.value)))
        more_rows, more = withheld.take(found["video_id"].take(pa.array(hidden)))
        rows, labels = np.concatenate([rows, hidden[more_rows]]), np.concatenate([labels, more])
        order = np.lexsort((labels, rows))
        rows, labels = rows[order], labels[order]
        is_labelled = is_labelled | np.isin(np.arange(len(is_labelled)), hidden)
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"it has a label that is none of the {classes} entities")
    table = (
        pa.table({name: found[name] if name in found.column_names else pa.nulls(found.num_rows) for name in columns})
        if columns
        else found.select([])
    )
    return Batch(start, table, partitions, is_labelled, rows, labels)


class _Withheld:
    """The labels of withheld/test_labels.parquet, whose videos stand in the order of videos.parquet."""

    def __init__(self, layout: Layout) -> None:
        path = layout.path(Layout.TEST_LABELS)
        if not files.exists(path):
            raise UsageError(
                what="The withheld labels are not there",
                where=path,
                why="the dataset withholds none, or they have been removed from this copy",
                fix="leave --with-withheld out, or copy the folder `withheld` from where the dataset was built",
            )
        with files.open_read(path) as stream:
            self._rows = typed(parquet_file(stream).read(TEST_LABELS.names), TEST_LABELS)
        self._next = 0

    def take(self, ids: pa.ChunkedArray) -> tuple[Int64Array, Int64Array]:
        """The labels of the next videos: for each label, the number of its video among these, and the label."""
        rows = self._rows.slice(self._next, len(ids)).combine_chunks()
        if rows["video_id"].to_pylist() != ids.to_pylist():
            raise ValueError(f"its test videos are not those of {Layout.TEST_LABELS}")
        self._next += len(ids)
        lists = rows["labels"].combine_chunks()
        return np.asarray(pc.list_parent_indices(lists), np.int64), np.asarray(pc.list_flatten(lists), np.int64)
