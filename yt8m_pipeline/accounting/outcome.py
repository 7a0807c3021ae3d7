"""The outcome of a stage: the rows that it keeps, and a reason for each row that it rejects.

Rows carry their provenance in two columns, `_file` (string) and `_row` (int64, the data row from 1). So "the first
row" means the same on every engine, and a rejected row can be found in its file.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from string import Formatter
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from yt8m_pipeline.accounting.counts import StageCount
from yt8m_pipeline.accounting.reasons import DropReason, Stage, VideoRejected
from yt8m_pipeline.data_model import Int64Array

BoolArray: TypeAlias = npt.NDArray[np.bool_]

PROVENANCE = pa.schema([("_file", pa.string()), ("_row", pa.int64())])

REJECTS = pa.schema(
    [
        ("stage", pa.string()),
        ("table", pa.string()),
        ("id", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("file", pa.string()),
        ("row", pa.int64()),
        ("decoded_fraction", pa.float64()),
    ]
)
"""The columns of a table of rejects. Each of its rows is a rejected row of an input table, or a rejected video.

`id` and the last three may be null. `file` is the file of the table, or of a rejected video the video's own.
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The rows of one table after one stage. Each row that came in is among those kept or those rejected.

    Attributes:
        stage: The stage.
        table: The name of the table.
        kept: The rows that go on.
        rejects: One row of schema `REJECTS` for each row that does not go on.
    """

    stage: Stage
    table: str
    kept: pa.Table
    rejects: pa.Table = field(default_factory=REJECTS.empty_table)

    def __post_init__(self) -> None:
        if self.rejects.schema != REJECTS:
            raise ValueError(f"rejects have the schema REJECTS, got {self.rejects.schema}")

    @property
    def count(self) -> StageCount:
        """The numbers of rows kept, and rejected by reason."""
        reasons = self.rejects.column("reason").value_counts().to_pylist()
        rejected = sorted((row["values"], row["counts"]) for row in reasons)
        return StageCount(self.stage, self.table, self.kept.num_rows, tuple(rejected))

    def then(self, following: Callable[[pa.Table], "Outcome"]) -> "Outcome":
        """Applies the following stage to the rows that are kept, and gives the rejects of both."""
        after = following(self.kept)
        return replace(after, rejects=pa.concat_tables([self.rejects, after.rejects]))

    def __repr__(self) -> str:
        return f"Outcome({self.stage}, {self.table}, kept={self.kept.num_rows}, rejects={self.rejects.num_rows})"


@dataclass(frozen=True, slots=True)
class Drop:
    """One reason to reject rows of a table.

    Attributes:
        reason: The reason.
        applies: Whether it applies to each row: bool, (rows,).
        detail: One line for people. `{column}` in it becomes the row's value in that column, and `{{` a brace.
        values: Arrow columns that the detail names and the table does not have, each (rows,).
    """

    reason: DropReason
    applies: BoolArray
    detail: str
    values: Mapping[str, Any] = field(default_factory=dict)


def mask(values: Any) -> BoolArray:
    """Converts an Arrow boolean column to bool, (rows,). Null becomes False."""
    return np.asarray(pc.fill_null(values, False), dtype=np.bool_)


def split(rows: pa.Table, drops: Sequence[Drop], stage: Stage, table: str) -> Outcome:
    """Divides the rows of a table into those that a stage keeps and those that it rejects.

    Where several reasons apply to a row, the first counts.

    Args:
        rows: The table's id in the first column, and provenance.
        drops: The reasons to reject rows.
        stage: The stage.
        table: The name of the table.
    """
    left = np.ones(rows.num_rows, np.bool_)
    rejects = [REJECTS.empty_table()]
    for drop in drops:
        rejects.append(_rejects(rows, drop, drop.applies & left, stage, table))
        left &= ~drop.applies
    return Outcome(stage, table, rows.filter(pa.array(left)), pa.concat_tables(rejects))


def drop_duplicates(rows: pa.Table, keys: Sequence[str], stage: Stage, table: str) -> Outcome:
    """Keeps the first by (`_file`, `_row`) of the rows with the same keys."""
    return split(rows, [duplicates(rows, keys)], stage, table)


def duplicates(table: pa.Table, keys: Sequence[str]) -> Drop:
    """Makes the reason that applies to every row with the same keys as an earlier row."""
    first = _first_rows(table, keys)
    return Drop(
        DropReason.DUPLICATE,
        first != np.arange(table.num_rows),
        f"the first row with the same {' and '.join(keys)} is kept: {{_first_file}}, row {{_first_row}}",
        {"_first_file": table["_file"].take(first), "_first_row": table["_row"].take(first)},
    )


def reject_video(stage: Stage, video_id: str, uri: str, rejection: VideoRejected) -> pa.Table:
    """Makes the reject of a video that cannot be used: schema `REJECTS`, (1,)."""
    return reject_videos(stage, [(video_id, uri, rejection)])


def reject_videos(stage: Stage, videos: Iterable[tuple[str, str, VideoRejected]]) -> pa.Table:
    """Makes the rejects of videos that cannot be used: schema `REJECTS`, (videos,).

    Whoever has many makes one table of them: a table of one row takes 22 KiB of memory.

    Args:
        stage: The stage that found out.
        videos: The id and uri of each video, and why it cannot be used.
    """
    rows = [
        {
            "stage": stage,
            "table": "videos",
            "id": video_id,
            "reason": rejection.reason.value,
            "detail": rejection.detail,
            "file": uri,
            "decoded_fraction": rejection.decoded_fraction,
        }
        for video_id, uri, rejection in videos
    ]
    return pa.Table.from_pylist(rows, schema=REJECTS)


def _first_rows(table: pa.Table, keys: Sequence[str]) -> Int64Array:
    """Finds for each row the index of the first row, by (`_file`, `_row`), with the same keys: int64, (rows,)."""
    files = _encoded(table["_file"])
    file_ranks = np.asarray(pc.rank(files.dictionary))[files.indices]
    order = np.lexsort((np.asarray(table["_row"]), file_ranks))
    codes = [np.asarray(_encoded(table[key]).indices) for key in keys]
    groups = np.ravel_multi_index(codes, [code.max(initial=0) + 1 for code in codes])
    _, first, group = np.unique(groups[order], return_index=True, return_inverse=True)
    rows = np.empty(table.num_rows, np.int64)
    rows[order] = order[first[group]]
    return rows


def _encoded(column: pa.ChunkedArray) -> pa.DictionaryArray:
    return pc.fill_null(column, "").combine_chunks().dictionary_encode()


def _rejects(rows: pa.Table, drop: Drop, applies: BoolArray, stage: Stage, table: str) -> pa.Table:
    dropped = rows.filter(pa.array(applies))
    stages, tables, reasons = (pa.repeat(text, dropped.num_rows) for text in (stage, table, drop.reason.value))
    details, unknown = _details(drop, dropped, applies), pa.nulls(dropped.num_rows, pa.float64())
    columns = [stages, tables, dropped[0], reasons, details, dropped["_file"], dropped["_row"], unknown]
    return pa.table(columns, schema=REJECTS)


def _details(drop: Drop, rows: pa.Table, applies: BoolArray) -> pa.ChunkedArray:
    """Fills in `drop.detail` for each of the rows: string, (rows,)."""
    parts: list[Any] = [pa.repeat("", rows.num_rows)]
    for literal, name, _, _ in Formatter().parse(drop.detail):
        parts.append(literal)
        if name is not None:
            given = drop.values.get(name)
            parts.append(_as_text(rows[name] if given is None else given.filter(pa.array(applies))))
    return pc.binary_join_element_wise(*parts, "", null_handling="replace", null_replacement="null")


def _as_text(values: Any) -> Any:
    return pc.binary_join(values, ";") if pa.types.is_list(values.type) else values.cast(pa.string())
