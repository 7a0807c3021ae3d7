"""Small tables with provenance, and the law that every stage keeps: rows in = rows kept + rows rejected."""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from yt8m_pipeline.accounting.outcome import PROVENANCE, Outcome

Row = dict[str, Any]
Provenance = tuple[str, int]

STRINGS = pa.list_(pa.string())


def table(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, pa.DataType]) -> pa.Table:
    """Rows without provenance of their own get that of one file, in order."""
    numbered = [{"_file": "table.csv", "_row": number, **row} for number, row in enumerate(rows, start=1)]
    return pa.Table.from_pylist(numbered, schema=pa.schema([*columns.items(), *PROVENANCE]))


@st.composite
def tables(
    draw: st.DrawFn, cells: Mapping[str, st.SearchStrategy[Any]], columns: Mapping[str, pa.DataType], max_rows: int = 12
) -> pa.Table:
    """Tables of two files whose rows come in any order and in two chunks."""
    rows = draw(st.lists(st.fixed_dictionaries(dict(cells)), max_size=max_rows))
    order = draw(st.permutations(range(len(rows))))
    placed = [{**row, "_file": "ab"[place % 2], "_row": place // 2 + 1} for row, place in zip(rows, order, strict=True)]
    whole, cut = table(placed, columns), draw(st.integers(0, len(rows)))
    return pa.concat_tables([whole.slice(0, cut), whole.slice(cut)])


def provenance(row: Mapping[str, Any]) -> Provenance:
    return row["_file"], row["_row"]


def reasons(outcome: Outcome) -> dict[Provenance, str]:
    """The reason of each rejected row."""
    return {(row["file"], row["row"]): row["reason"] for row in outcome.rejects.to_pylist()}


def assert_conserved(before: pa.Table, outcome: Outcome) -> None:
    """Each row is kept or rejected, and none is both or twice."""
    kept = [provenance(row) for row in outcome.kept.to_pylist()]
    rejected = [(row["file"], row["row"]) for row in outcome.rejects.to_pylist()]
    assert sorted(kept + rejected) == sorted(provenance(row) for row in before.to_pylist())
