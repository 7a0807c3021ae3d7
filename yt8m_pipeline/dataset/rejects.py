"""The rejects of a dataset: every row of a table and every video that is not in it, in a folder of Parquet files.

Each stage has its own files, and a part for every quarter of a million of its rows. So nothing sorts or holds all
rejects: a part is sorted by itself, on whichever worker, and its bytes depend on its rows alone.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from yt8m_pipeline import files
from yt8m_pipeline.accounting.outcome import REJECTS
from yt8m_pipeline.accounting.reasons import Stage
from yt8m_pipeline.chance import salted_hash, salted_hashes
from yt8m_pipeline.data_model import Int64Array
from yt8m_pipeline.dataset.layout import Layout, RejectsPart
from yt8m_pipeline.dataset.steps import FileEntry, file_entry
from yt8m_pipeline.dataset.typed_json import from_json, to_json
from yt8m_pipeline.dataset.typed_rows import typed
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.parsing import MAX_PARQUET_ITEMS, parse_json

RejectKey: TypeAlias = tuple[str, str, str]
"""The stage, the table and the reason that rejects are counted by."""

ROWS_PER_PART = 1 << 18
"""The rows of a part, on average over the parts of a stage: what a worker sorts in memory, in about 80 MB."""

ROWS_PER_GROUP = 1 << 14
"""The rows of a row group, which is the least that a reader of one id reads of a part."""

SALT = "yt8m-rejects"
"""The salt of the hash of the id that chooses a row's part among those of its stage."""

ORDER = [(name, "ascending") for name in ("table", "id", "file", "row", "reason", "detail", "decoded_fraction")]
"""What a part is sorted by: every column but the stage, which all its rows share. So equal rows are equal bytes."""

LARGE = pa.schema([field.with_type(pa.large_string()) if field.type == pa.string() else field for field in REJECTS])
"""`REJECTS` with 64-bit offsets, since more than 2 GiB of text may be sorted together."""


@dataclass(frozen=True, order=True, slots=True)
class RejectCount:
    """How many rows of a table a stage rejected for a reason."""

    stage: str
    table: str
    reason: str
    rows: int


@dataclass(frozen=True, slots=True)
class WrittenPart:
    """The file of a part, and what is in it."""

    file: FileEntry
    counts: Counter[RejectKey]


@dataclass(frozen=True, slots=True)
class RejectsSummary:
    """What rejects/summary.json holds: the counts of all parts together, sorted."""

    rejects: tuple[RejectCount, ...]

    @property
    def totals(self) -> Counter[RejectKey]:
        return Counter({(count.stage, count.table, count.reason): count.rows for count in self.rejects})

    @classmethod
    def of(cls, layout: Layout) -> "RejectsSummary":
        """Reads the summary of a dataset.

        Raises:
            DataError: it is damaged.
        """
        path = layout.path(Layout.REJECTS_SUMMARY)
        try:
            return from_json(cls, parse_json(files.read_bytes(path)))
        except (OSError, ValueError, RecursionError) as error:
            raise _damaged(path, error) from None


# Writing --------------------------------------------------------------------------------------------------------------


def divide(rows: pa.Table, totals: Mapping[str, int]) -> Iterator[tuple[RejectsPart, pa.Table]]:
    """Divides rejects among the parts that they belong in. Parts without rows are not there.

    Args:
        rows: Some of the rejects, in schema `REJECTS`.
        totals: How many rejects each stage has altogether. A stage has as many parts as keep these below
            `ROWS_PER_PART` on average, so that small datasets have one file for each stage.
    """
    for stage in rows["stage"].unique().to_pylist():
        of_stage, of = rows.filter(pc.equal(rows["stage"], stage)), -(-totals[stage] // ROWS_PER_PART)
        indices = part_indices(of_stage, of)
        for index in np.unique(indices):
            yield RejectsPart(stage, int(index), of), of_stage.filter(pa.array(indices == index))


def part_indices(rows: pa.Table, of: int) -> Int64Array:
    """The number of the part that each row belongs in: int64, (rows,).

    It is a hash of the id, so that all rows of one id are in one part. Rows without an id are spread by their place.
    """
    if of == 1:
        return np.zeros(rows.num_rows, np.int64)
    places = pc.binary_join_element_wise(
        rows["file"], rows["row"].cast(pa.string()), ":", null_handling="replace", null_replacement=""
    )
    keys = pc.coalesce(rows["id"], places).to_pylist()
    return (salted_hashes(SALT, keys) % np.uint64(of)).astype(np.int64)


def write_part(layout: Layout, part: RejectsPart, tables: Iterable[pa.Table]) -> WrittenPart:
    """Writes a part, sorted. All its rows are in memory, and each of its row groups once more."""
    rows = pa.concat_tables(table.cast(LARGE) for table in tables).combine_chunks()
    order = pc.sort_indices(rows, ORDER)
    with (
        layout.open_write(part.path) as stream,
        pq.ParquetWriter(stream, REJECTS, compression="zstd") as writer,
    ):
        for start in range(0, len(order), ROWS_PER_GROUP):
            writer.write_table(rows.take(order.slice(start, ROWS_PER_GROUP)).cast(REJECTS))
    return WrittenPart(file_entry(layout, part.path), count_rejects(rows))


def count_rejects(rows: pa.Table) -> Counter[RejectKey]:
    """Counts rows by stage, table and reason."""
    counts = rows.group_by(["stage", "table", "reason"]).aggregate([([], "count_all")]).to_pylist()
    return Counter({(row["stage"], row["table"], row["reason"]): row["count_all"] for row in counts})


def count_misplaced(path: str, rows: pa.Table) -> int:
    """How many of the rows of a file belong in another part; none of the one table of format 3."""
    if path == Layout.REJECTS_TABLE:
        return 0
    part = RejectsPart.of_path(path)
    is_elsewhere = np.asarray(pc.not_equal(rows["stage"], part.stage)) | (part_indices(rows, part.of) != part.index)
    return int(is_elsewhere.sum())


def write_summary(layout: Layout, parts: Iterable[WrittenPart]) -> list[FileEntry]:
    """Writes rejects/summary.json, when all parts are written, and removes the rejects of earlier builds.

    Returns:
        The parts, sorted, and the summary.
    """
    written = list(parts)
    totals = sum((part.counts for part in written), Counter[RejectKey]())
    summary = RejectsSummary(tuple(RejectCount(*key, rows) for key, rows in sorted(totals.items())))
    text = json.dumps(to_json(summary), indent=2, sort_keys=True, ensure_ascii=False)
    listed = [part.file for part in written]
    layout.require_owned()
    for path in set(find_rejects(layout)) - {file.path for file in listed}:
        files.delete(layout.path(path))
    layout.write_bytes(Layout.REJECTS_SUMMARY, text.encode() + b"\n")
    return [*sorted(listed), file_entry(layout, Layout.REJECTS_SUMMARY)]


def write_rejects(layout: Layout, tables: Iterable[pa.Table]) -> list[FileEntry]:
    """Writes all rejects of a dataset that one process makes; a build does the same on many workers."""
    rows = pa.concat_tables([REJECTS.empty_table(), *tables])
    pieces = divide(rows, Counter(rows["stage"].to_pylist()))
    return write_summary(layout, [write_part(layout, part, [piece]) for part, piece in pieces])


# Reading --------------------------------------------------------------------------------------------------------------


def find_rejects(layout: Layout) -> list[str]:
    """The files with rejects that stand in a folder, finished or not."""
    parts = [f"{Layout.REJECTS}/{name}" for name in files.list_states(layout.path(Layout.REJECTS))]
    table = [Layout.REJECTS_TABLE] if files.exists(layout.path(Layout.REJECTS_TABLE)) else []
    return sorted(path for path in [*table, *parts] if layout.is_rejects(path))


def failed_videos(
    layout: Layout, paths: Sequence[str], stages: Iterable[str] = (Stage.DECODE, Stage.EXTRACT)
) -> Iterator[dict[str, Any]]:
    """Yields the id, reason, detail and decoded_fraction of each video that could not be decoded or extracted.

    The arguments and errors are those of `read_rejects`.
    """
    columns = ("id", "reason", "detail", "decoded_fraction")
    for table in read_rejects(layout, paths, stages=stages, columns=columns):
        yield from table.to_pylist()


def videos_rejected_later(layout: Layout, paths: Sequence[str]) -> set[str]:
    """The ids of the videos that were extracted, and rejected afterwards.

    The arguments and errors are those of `read_rejects`.
    """
    tables = read_rejects(layout, paths, stages=(Stage.SAME_FEATURES, Stage.RECOUNT), columns=("id", "table"))
    return {row["id"] for table in tables for row in table.to_pylist() if row["table"] == "videos"}


def read_rejects(
    layout: Layout,
    paths: Sequence[str],
    *,
    video_id: str | None = None,
    stages: Iterable[str] = (),
    reason: str | None = None,
    columns: Sequence[str] = tuple(REJECTS.names),
) -> Iterator[pa.Table]:
    """Yields rejects, file by file and in the order of each. Parts and row groups that cannot match are not read.

    Args:
        layout: Where the dataset is.
        paths: Its files with rejects.
        video_id: Only the rows of this video, or with this id in another table.
        stages: Only the rows of these stages; none: of all.
        reason: Only the rows with this reason.
        columns: The columns to read.

    Raises:
        DataError: a file is missing or damaged.
    """
    wanted = [str(stage) for stage in stages]
    terms = [pc.field(name) == value for name, value in (("id", video_id), ("reason", reason)) if value is not None]
    terms += [pc.field("stage").isin(wanted)] if wanted else []
    condition = reduce(and_, terms) if terms else None
    for path in paths:
        if _may_hold(path, video_id, wanted):
            yield from _read_file(layout.path(path), condition, columns)


def _may_hold(path: str, video_id: str | None, stages: Sequence[str]) -> bool:
    """Whether a file may hold rows of an id and of one of these stages, by its name."""
    if path == Layout.REJECTS_TABLE:
        return True
    part = RejectsPart.of_path(path)
    is_of_id = video_id is None or salted_hash(SALT, video_id) % part.of == part.index
    return is_of_id and (not stages or part.stage in stages)


_FORMAT = ds.ParquetFileFormat(
    default_fragment_scan_options=ds.ParquetFragmentScanOptions(thrift_container_size_limit=MAX_PARQUET_ITEMS)
)


def _read_file(uri: str, condition: ds.Expression | None, columns: Sequence[str]) -> Iterator[pa.Table]:
    try:
        with files.open_read(uri) as stream:
            fragment = _FORMAT.make_fragment(stream)
            for batch in fragment.to_batches(
                columns=list(columns), filter=condition, batch_size=ROWS_PER_GROUP, batch_readahead=1
            ):
                if batch.num_rows:
                    yield typed(pa.Table.from_batches([batch]), REJECTS)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(uri, error) from None


def _damaged(uri: str, error: Exception) -> DataError:
    return DataError(
        what="Rejects of the dataset cannot be read",
        where=uri,
        why=" ".join(str(error).split()),
        fix="list all damage with `yt8m verify`; build the dataset again",
    )
