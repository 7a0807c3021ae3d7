"""Entities with enough videos, against brute force; and that one pass reaches the fixed point."""

from collections import Counter
from collections.abc import Iterable

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from yt8m_pipeline.accounting.outcome import Outcome
from yt8m_pipeline.accounting.reasons import Stage
from yt8m_pipeline.config import VideoSampling
from yt8m_pipeline.selection.frequency import count_videos, keep_frequent, keep_popular
from yt8m_pipeline.selection.labels import keep_labels

from .rows import STRINGS, assert_conserved, reasons, table, tables

LABELLED = {"video_id": pa.string(), "entity_ids": STRINGS}
labelled_tables = tables(
    {"video_id": st.sampled_from("uvw"), "entity_ids": st.sets(st.sampled_from("abcd")).map(sorted)}, LABELLED
)


@given(labelled_tables, labelled_tables)
def test_videos_are_counted_by_entity_and_counts_add_up(some: pa.Table, others: pa.Table) -> None:
    together = count_videos(pa.concat_tables([some, others]))
    assert together == Counter(label for t in (some, others) for row in t.to_pylist() for label in row["entity_ids"])
    assert count_videos(some) + count_videos(others) == together


def _kept(outcome: Outcome) -> set[str]:
    return set(outcome.kept["entity_id"].to_pylist())


def _entities(ids: Iterable[str]) -> pa.Table:
    return table([{"entity_id": entity_id} for entity_id in ids], {"entity_id": pa.string()})


def test_popular_means_more_and_frequent_means_at_least() -> None:
    counts, entities = {"a": 199, "b": 200, "c": 201}, _entities("abc")
    assert _kept(keep_popular(entities, counts, VideoSampling(popular_videos_above=200))) == {"c"}
    assert _kept(keep_popular(entities, counts, VideoSampling(popular_videos_above=199))) == {"b", "c"}
    for stage in (Stage.FREQUENCY, Stage.RECOUNT):
        assert _kept(keep_frequent(entities, counts, VideoSampling(), stage)) == {"b", "c"}
        assert _kept(keep_frequent(entities, counts, VideoSampling(min_videos_per_entity=201), stage)) == {"c"}


def test_by_default_no_entity_goes_before_the_draw() -> None:
    assert _kept(keep_popular(_entities("ab"), {"a": 1}, VideoSampling())) == {"a", "b"}


def test_the_entities_with_too_few_videos_are_rejected_with_their_counts() -> None:
    counts = {"a": 199, "b": 200, "c": 201}
    entities = _entities("abcd")
    popular = keep_popular(entities, counts, VideoSampling(popular_videos_above=200))
    frequent = keep_frequent(entities, counts, VideoSampling(), Stage.FREQUENCY)
    again = keep_frequent(entities, counts, VideoSampling(), Stage.RECOUNT)
    assert popular.kept["entity_id"].to_pylist() == ["c"]
    assert frequent.kept["entity_id"].to_pylist() == ["b", "c"]
    assert set(reasons(popular).values()) == {"too_few_popular_videos"}
    assert set(reasons(frequent).values()) == {"too_few_videos"}
    assert popular.rejects["detail"][1].as_py() == "eligible videos: 200, not above popular_videos_above 200"
    assert frequent.rejects["detail"][1].as_py() == "sampled videos: 0, below min_videos_per_entity 200"
    assert again.rejects["detail"][1].as_py() == "extracted videos: 0, below min_videos_per_entity 200"
    assert set(again.rejects["stage"].to_pylist()) == {"recount"}
    for outcome in (popular, frequent, again):
        assert_conserved(entities, outcome)


def _fixed_point(labels: list[set[str]], at_least: int) -> list[set[str]]:
    """Drops entities with too few videos, then videos without labels, until neither changes anything."""
    while True:
        counts = Counter(entity for found in labels for entity in found)
        left = [{entity for entity in found if counts[entity] >= at_least} for found in labels]
        left = [found for found in left if found]
        if left == labels:
            return left
        labels = left


@given(st.lists(st.sets(st.sampled_from("abcdef"), min_size=1, max_size=4), max_size=15), st.integers(0, 5), st.data())
def test_one_pass_over_the_videos_that_are_left_reaches_the_fixed_point(
    labels: list[set[str]], at_least: int, data: st.DataObject
) -> None:
    extracted = data.draw(st.lists(st.booleans(), min_size=len(labels), max_size=len(labels)))
    left = [found for found, is_left in zip(labels, extracted, strict=True) if is_left]
    videos = table([{"video_id": str(row), "entity_ids": sorted(found)} for row, found in enumerate(left)], LABELLED)
    config = VideoSampling(min_videos_per_entity=at_least)
    entities = keep_frequent(_entities("abcdef"), count_videos(videos), config, Stage.RECOUNT)
    kept = keep_labels(videos, _kept(entities), Stage.RECOUNT).kept
    assert [set(found) for found in kept["entity_ids"].to_pylist()] == _fixed_point(left, at_least)
    assert all(count >= at_least for count in count_videos(kept).values())
    assert _kept(entities) >= set(count_videos(kept))
