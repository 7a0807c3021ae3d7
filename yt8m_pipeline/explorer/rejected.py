"""What is not in a dataset, as the explorer shows it: the funnel of the stages, and the reason of each id."""

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import AccountRow, Manifest
from yt8m_pipeline.dataset.rejects import read_rejects
from yt8m_pipeline.explorer.chunks import Buckets, bucket_of

UNASKED = ("annotations", "ratings")
"""The tables whose rows have no id of their own. The site counts what was rejected of them, and leaves the rows out."""

ROWS_OF_BUCKET = 200
"""The rows of a chunk of rejects, on average: what one question loads, some 30 kB."""

MAX_DETAIL = 500
"""The most characters of a detail. A cell of a table can be of any length, and one of them would fill a chunk."""


def funnel(accounting: Iterable[AccountRow]) -> list[dict[str, Any]]:
    """What each stage did with the rows of each table, in the order of the stages."""
    return [
        {
            "stage": row.stage,
            "table": row.table,
            "rows_in": row.rows_in,
            "kept": row.kept,
            "rejected": sorted(row.rejected.items(), key=lambda item: (-item[1], item[0])),
        }
        for row in accounting
    ]


def gather_rejects(layout: Layout, manifest: Manifest, *, with_uris: bool) -> Buckets:
    """The rows and videos that were rejected and have an id, in buckets by their ids.

    Without uris, the details of videos are left out: that of a missing film is where it should have been.

    Raises:
        DataError: a file of rejects is missing or damaged.
    """
    total = sum(table.num_rows for table in _listed(layout, manifest, "id", "table"))
    buckets = Buckets(max(1, -(-total // ROWS_OF_BUCKET)))
    for table in _listed(layout, manifest, "id", "stage", "table", "reason", "detail"):
        for row in table.to_pylist():
            detail = row["detail"] if with_uris or row["table"] != "videos" else None
            about = [row[name] or "" for name in ("stage", "table", "reason")]
            buckets.add(bucket_of(row["id"], buckets.count), [row["id"], *about, _shortened(detail or "")])
    return buckets


def _listed(layout: Layout, manifest: Manifest, *columns: str) -> Iterator[pa.Table]:
    """The rejects that have an id. They are counted as they stand: a manifest may tell of any number."""
    for table in read_rejects(layout, manifest.rejects, columns=columns):
        yield table.filter(pc.and_not(table["id"].is_valid(), pc.is_in(table["table"], pa.array(UNASKED))))


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_DETAIL else f"{text[:MAX_DETAIL]}…"
