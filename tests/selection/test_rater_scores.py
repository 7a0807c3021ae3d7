"""Stage 2 against exact rational arithmetic."""

import math
from collections import defaultdict
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yt8m_pipeline.config import RaterScores
from yt8m_pipeline.selection.rater_scores import Pruned, prune_by_rater_score, specificities, unrated

from .rows import Provenance, Row, assert_conserved, provenance, reasons, table, tables

ENTITIES = {"entity_id": pa.string()}
RATINGS = {"entity_id": pa.string(), "rater_id": pa.string(), "score": pa.float64()}
CONFIG = RaterScores(min_raters=2)
KEPT, DROPPED, UNKNOWN = ("a", "b", "c"), "d", "z"
ALL_IDS = pa.array([*KEPT, DROPPED])
SCORES = [1.0, 2.0, 3.0, 5.0, 1.1, 2.4, 2.6, 0.0, 6.0, math.nan, math.inf]

ratings_tables = tables(
    {
        "entity_id": st.sampled_from([*KEPT, DROPPED, UNKNOWN]),
        "rater_id": st.sampled_from("xyz"),
        "score": st.sampled_from(SCORES),
    },
    RATINGS,
    max_rows=25,
)


def _entities() -> pa.Table:
    return table([{"entity_id": entity_id} for entity_id in KEPT], ENTITIES)


def _prune(ratings: pa.Table, config: RaterScores = CONFIG) -> Pruned:
    return prune_by_rater_score(_entities(), ratings, config, all_entity_ids=ALL_IDS)


def _rated(scores: list[float], entity_id: str = "a") -> pa.Table:
    rows = [{"entity_id": entity_id, "rater_id": str(rater), "score": score} for rater, score in enumerate(scores)]
    return table(rows, RATINGS)


def _expected_rating_reasons(rows: list[Row]) -> dict[Provenance, str]:
    seen, expected = set(), {}
    for row in sorted(rows, key=provenance):
        key = row["entity_id"], row["rater_id"]
        if not 1 <= row["score"] <= 5:
            expected[provenance(row)] = "out_of_range"
        elif key in seen:
            expected[provenance(row)] = "duplicate"
        elif row["entity_id"] == UNKNOWN:
            expected[provenance(row)] = "unknown_entity"
        elif row["entity_id"] == DROPPED:
            expected[provenance(row)] = "entity_not_kept"
        if 1 <= row["score"] <= 5:
            seen.add(key)
    return expected


@given(ratings_tables)
def test_each_rating_counts_or_has_its_reason(ratings: pa.Table) -> None:
    outcome = _prune(ratings).ratings
    assert reasons(outcome) == _expected_rating_reasons(ratings.to_pylist())
    assert_conserved(ratings, outcome)


@given(ratings_tables)
def test_entities_are_kept_by_the_exact_mean_of_enough_ratings(ratings: pa.Table) -> None:
    pruned = _prune(ratings)
    scores: dict[str, list[Fraction]] = defaultdict(list)
    for row in pruned.ratings.kept.to_pylist():
        scores[row["entity_id"]].append(Fraction(row["score"]))
    expected = {}
    for row in _entities().to_pylist():
        rated = scores[row["entity_id"]]
        if len(rated) < CONFIG.min_raters:
            expected[provenance(row)] = "too_few_raters"
        elif sum(rated) / len(rated) > Fraction(CONFIG.max_mean_score):
            expected[provenance(row)] = "not_visual"
    assert reasons(pruned.entities) == expected
    assert_conserved(_entities(), pruned.entities)
    for row in pruned.entities.kept.to_pylist():
        rated = scores[row["entity_id"]]
        assert row["mean_score"] == pytest.approx(float(sum(rated) / len(rated)), rel=1e-15)


@given(st.permutations([1.1, 2.2, 3.3, 1.7, 4.9]))
def test_the_mean_does_not_depend_on_the_order_of_the_ratings(scores: list[float]) -> None:
    config = RaterScores(max_mean_score=5.0)
    [mean] = _prune(_rated(scores), config).entities.kept["mean_score"].to_pylist()
    assert mean == math.fsum([1.1, 2.2, 3.3, 1.7, 4.9]) / 5


@pytest.mark.parametrize(
    ("scores", "specificity"),
    [
        ([1, 1, 1], "coarse"),
        ([1, 1, 2], "coarse"),
        ([1, 2], "medium"),
        ([2, 2, 1], "medium"),
        ([2, 2, 2], "fine"),
        ([2, 3], "fine"),
    ],
)
def test_the_three_ranges_are_equal_half_open_and_closed_at_the_end(scores: list[float], specificity: str) -> None:
    assert _prune(_rated(scores)).entities.kept["specificity"].to_pylist() == [specificity]


@given(st.integers(0, 3), st.integers(1, 9), st.lists(st.integers(0, 1000), min_size=1))
def test_specificity_is_the_third_of_the_range_in_exact_arithmetic(low: int, width: int, parts: list[int]) -> None:
    config = RaterScores(min_score=low, max_mean_score=low + width, max_score=100)
    exact = [Fraction(low) + Fraction(width * part, 1000) for part in parts]
    thirds = [min(int(3 * (mean - low) / width), 2) for mean in exact]
    names = specificities(np.array([float(mean) for mean in exact]), config).to_pylist()
    assert names == [("coarse", "medium", "fine")[third] for third in thirds]


@pytest.mark.parametrize(
    ("settings", "scores", "kept"),
    [
        ({}, [2, 2, 3.5], True),
        ({}, [2, 2, 3.6], False),
        ({"max_mean_score": 2.6}, [2, 2, 3.6], True),
        ({}, [2, 2], False),
        ({"min_raters": 2}, [2, 2], True),
        ({"min_score": 2.0}, [2, 2, 1], False),
        ({"max_score": 3.0}, [2, 2, 3.5], False),
    ],
)
def test_each_threshold_decides(settings: dict[str, Any], scores: list[float], kept: bool) -> None:
    outcome = _prune(_rated(scores), RaterScores(**settings)).entities
    assert outcome.kept["entity_id"].to_pylist() == ["a"] * kept


def test_the_reasons_are_told_with_their_numbers() -> None:
    ratings = pa.concat_tables([_rated([2, 3, 4]), _rated([6, 1], "b"), _rated([1], DROPPED), _rated([1], UNKNOWN)])
    pruned = _prune(ratings)
    assert pruned.entities.rejects["detail"].to_pylist() == [
        "valid ratings: 1, below min_raters 2",
        "valid ratings: 0, below min_raters 2",
        "mean score 3 is above max_mean_score 2.5",
    ]
    assert sorted(pruned.ratings.rejects["detail"].to_pylist()) == [
        "d was dropped by an earlier stage",
        "score 6 is not in 1.0 … 5.0",
        "z is in no valid row of the entities table",
    ]


def test_a_bucket_without_entities_or_ratings_is_no_error() -> None:
    nothing = prune_by_rater_score(
        _entities().slice(0, 0), _rated([]), CONFIG, all_entity_ids=pa.array([], pa.string())
    )
    assert nothing.entities.kept.num_rows == nothing.ratings.kept.num_rows == 0
    assert nothing.entities.kept.schema.names[-2:] == ["mean_score", "specificity"]


def test_entities_that_nobody_rated_have_no_score() -> None:
    entities = table([{"entity_id": "a"}], {"entity_id": pa.string()})
    assert unrated(entities).select(["mean_score", "specificity"]).to_pylist() == [
        {"mean_score": None, "specificity": None}
    ]
