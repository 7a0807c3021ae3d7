"""Stage 1 against the paper's rule, said in sets."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from yt8m_pipeline.config import Vocabulary
from yt8m_pipeline.selection.vocabulary import filter_by_type, unused_types, used_types

from .rows import STRINGS, assert_conserved, provenance, reasons, table, tables

CONFIG = Vocabulary(type_whitelist=("sport", "food"), type_blacklist=("album", "artist"))
COLUMNS = {"entity_id": pa.string(), "types": STRINGS}

entities = tables(
    {
        "entity_id": st.text("ab", min_size=1, max_size=2),
        "types": st.lists(st.sampled_from(["sport", "food", "album", "artist", "city", ""]), max_size=3),
    },
    COLUMNS,
)


@given(entities)
def test_an_entity_needs_a_whitelisted_type_and_no_blacklisted_one(rows: pa.Table) -> None:
    expected = {}
    for row in rows.to_pylist():
        if set(row["types"]) & set(CONFIG.type_blacklist):
            expected[provenance(row)] = "blacklisted_type"
        elif not set(row["types"]) & set(CONFIG.type_whitelist):
            expected[provenance(row)] = "no_whitelisted_type"
    outcome = filter_by_type(rows, CONFIG)
    assert reasons(outcome) == expected
    assert_conserved(rows, outcome)


def test_a_reject_shows_the_types_of_the_entity() -> None:
    rows = table([{"entity_id": "/m/1", "types": ["city", "album"]}, {"entity_id": "/m/2", "types": ["city"]}], COLUMNS)
    rejects = filter_by_type(rows, CONFIG).rejects
    assert rejects["detail"].to_pylist() == ["a blacklisted type in: city;album", "no whitelisted type in: city"]
    assert rejects["stage"].to_pylist() == ["vocabulary"] * 2


@given(entities)
def test_a_whitelisted_type_is_used_or_unused(rows: pa.Table) -> None:
    used = used_types(rows, CONFIG)
    held = {name for row in rows.to_pylist() for name in row["types"]}
    assert used == held & set(CONFIG.type_whitelist)
    assert unused_types(used, CONFIG) == tuple(name for name in CONFIG.type_whitelist if name not in held)
