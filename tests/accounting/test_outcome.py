"""Outcomes: the first reason wins, the first row of its kind stays, and no row vanishes."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.selection.rows import STRINGS, assert_conserved, provenance, reasons, table, tables
from yt8m_pipeline.accounting.outcome import REJECTS, Drop, Outcome, drop_duplicates, mask, reject_video, split
from yt8m_pipeline.accounting.reasons import DropReason, Stage, VideoRejected

ID = {"id": pa.string()}
PAIRS = {"x": pa.string(), "y": pa.string()}
REASONS = (DropReason.TOO_SHORT, DropReason.TOO_LONG, DropReason.TOO_FEW_VIEWS)


def _split(rows: pa.Table, drops: list[Drop]) -> Outcome:
    return split(rows, drops, Stage.UNIQUE, "things")


def _details(rows: pa.Table, detail: str, **values: Any) -> list[str]:
    everything = np.ones(rows.num_rows, np.bool_)
    details: list[str] = _split(rows, [Drop(REASONS[0], everything, detail, values)]).rejects["detail"].to_pylist()
    return details


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=10))
def test_the_first_reason_that_applies_wins(flags: list[tuple[bool, bool, bool]]) -> None:
    rows = table([{"id": str(number)} for number in range(len(flags))], ID)
    masks = np.array(flags, np.bool_).reshape(-1, 3).T
    outcome = _split(rows, [Drop(reason, applies, "{id}") for reason, applies in zip(REASONS, masks, strict=True)])
    expected = {("table.csv", row): REASONS[flag.index(True)] for row, flag in enumerate(flags, 1) if any(flag)}
    assert reasons(outcome) == expected
    assert outcome.kept["id"].to_pylist() == [str(number) for number, flag in enumerate(flags) if not any(flag)]
    assert_conserved(rows, outcome)


def test_a_reject_says_its_stage_table_id_reason_file_and_row() -> None:
    rows = table([{"id": "v1"}, {"id": "v2"}], ID)
    rejects = _split(rows, [Drop(DropReason.TOO_LONG, np.array([False, True]), "too long")]).rejects
    assert rejects.to_pylist() == [
        {
            "stage": "unique",
            "table": "things",
            "id": "v2",
            "reason": "too_long",
            "detail": "too long",
            "file": "table.csv",
            "row": 2,
            "decoded_fraction": None,
        }
    ]


def test_a_detail_shows_the_values_of_its_own_row() -> None:
    columns = {"id": pa.string(), "seconds": pa.float64(), "types": STRINGS}
    rows = table([{"id": "a", "seconds": 1.5, "types": ["x", "y"]}, {"id": "b", "seconds": None, "types": []}], columns)
    assert _details(rows, "{id} lasts {seconds} s, {{{types}}}, {extra} more", extra=pa.array([7, 8])) == [
        "a lasts 1.5 s, {x;y}, 7 more",
        "b lasts null s, {}, 8 more",
    ]


def test_an_outcome_refuses_rejects_of_another_schema() -> None:
    rows = table([{"id": "a"}], ID)
    with pytest.raises(ValueError, match="rejects have the schema REJECTS"):
        Outcome(Stage.UNIQUE, "things", rows, rows)


def test_an_outcome_shows_how_many_rows_it_has() -> None:
    assert (
        repr(Outcome(Stage.UNIQUE, "things", table([{"id": "a"}], ID))) == "Outcome(unique, things, kept=1, rejects=0)"
    )


def test_null_in_a_mask_is_false() -> None:
    assert mask(pa.array([True, None, False])).tolist() == [True, False, False]


@pytest.mark.parametrize("decoded_fraction", [None, 0.75])
def test_a_rejected_video_says_where_it_is_and_how_much_of_it_is_sound(decoded_fraction: float | None) -> None:
    rejection = VideoRejected(DropReason.TRUNCATED, "it ends at 3 s", decoded_fraction)
    reject = reject_video(Stage.DECODE, "v1", "clips/v1.mp4", rejection)
    assert reject.schema == REJECTS
    assert reject.to_pylist() == [
        {
            "stage": "decode",
            "table": "videos",
            "id": "v1",
            "reason": "truncated",
            "detail": "it ends at 3 s",
            "file": "clips/v1.mp4",
            "row": None,
            "decoded_fraction": decoded_fraction,
        }
    ]


cells = st.sampled_from(["", "a", "b", "a\0", "\0b"])


@given(tables({"x": cells, "y": cells}, PAIRS))
def test_of_rows_with_the_same_keys_the_first_by_file_and_row_stays(rows: pa.Table) -> None:
    outcome = drop_duplicates(rows, ["x", "y"], Stage.UNIQUE, "things")
    firsts: dict[tuple[str, str], tuple[str, int]] = {}
    for row in sorted(rows.to_pylist(), key=provenance):
        firsts.setdefault((row["x"], row["y"]), provenance(row))
    assert sorted(provenance(row) for row in outcome.kept.to_pylist()) == sorted(firsts.values())
    assert set(reasons(outcome).values()) <= {"duplicate"}
    assert_conserved(rows, outcome)


def test_a_duplicate_names_the_row_that_stays() -> None:
    rows = table([{"id": "a", "_row": 9}, {"id": "a", "_row": 4}, {"id": "b", "_row": 1}], ID)
    rejects = drop_duplicates(rows, ["id"], Stage.UNIQUE, "things").rejects
    assert rejects["row"].to_pylist() == [9]
    assert rejects["detail"].to_pylist() == ["the first row with the same id is kept: table.csv, row 4"]


@given(tables({"id": st.sampled_from("abc")}, ID))
def test_two_stages_together_conserve_the_rows(rows: pa.Table) -> None:
    def drop_a(table: pa.Table) -> Outcome:
        applies = np.array([identifier == "a" for identifier in table["id"].to_pylist()], np.bool_)
        return _split(table, [Drop(DropReason.TOO_SHORT, applies, "a")])

    outcome = drop_duplicates(rows, ["id"], Stage.UNIQUE, "things").then(drop_a)
    assert set(outcome.kept["id"].to_pylist()) == set(rows["id"].to_pylist()) - {"a"}
    assert_conserved(rows, outcome)
