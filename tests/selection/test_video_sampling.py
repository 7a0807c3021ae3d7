"""Stage 3 against brute force: eligibility, labels, counts, and the draw of exactly N videos."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yt8m_pipeline.accounting.outcome import drop_duplicates
from yt8m_pipeline.accounting.reasons import DropReason, Stage
from yt8m_pipeline.chance import salted_hash
from yt8m_pipeline.config import VideoSampling
from yt8m_pipeline.selection import video_sampling
from yt8m_pipeline.selection.video_sampling import (
    PREFIXES,
    Cut,
    Labelled,
    attach_labels,
    count_videos,
    cut_sample,
    draw_boundary,
    filter_eligible,
    frequent_entities,
    hash_prefix_counts,
    keep_frequent,
    keep_labels,
    keep_popular,
    nested_annotations,
    popular_entities,
    sample_videos,
    sampling_cut,
)
from yt8m_pipeline.tables.cells import LABELS

from .rows import STRINGS, Provenance, Row, assert_conserved, provenance, reasons, table, tables

ID = {"video_id": pa.string()}
STATISTICS = {"video_id": pa.string(), "view_count": pa.int64(), "duration_seconds": pa.float64()}
LABELLED = {"video_id": pa.string(), "entity_ids": STRINGS}
ANNOTATIONS = {"video_id": pa.string(), "entity_id": pa.string()}

VIDEOS = {"eligible": ["u", "v", "w"], "known": ["x"], "unknown": ["z", ""]}
ENTITIES = {"vocabulary": ["a", "b", "c"], "known": ["d"], "unknown": ["y", ""]}
ALL_VIDEOS = [*VIDEOS["eligible"], *VIDEOS["known"]]
ALL_ENTITIES = [*ENTITIES["vocabulary"], *ENTITIES["known"]]

annotation_tables = tables(
    {
        "video_id": st.sampled_from([name for names in VIDEOS.values() for name in names]),
        "entity_id": st.sampled_from([name for names in ENTITIES.values() for name in names]),
    },
    ANNOTATIONS,
    max_rows=30,
)
labelled_tables = tables(
    {"video_id": st.sampled_from("uvw"), "entity_ids": st.sets(st.sampled_from("abcd")).map(sorted)}, LABELLED
)


@given(
    tables(
        {
            "video_id": st.just("v"),
            "view_count": st.sampled_from([0, 999, 1000, 5000]),
            "duration_seconds": st.sampled_from([0.0, 119.999, 120.0, 230.0, 500.0, 500.001]),
        },
        STATISTICS,
    )
)
def test_a_video_is_eligible_by_its_views_and_duration(videos: pa.Table) -> None:
    expected = {}
    for row in videos.to_pylist():
        if row["view_count"] < 1000:
            expected[provenance(row)] = "too_few_views"
        elif row["duration_seconds"] < 120:
            expected[provenance(row)] = "too_short"
        elif row["duration_seconds"] > 500:
            expected[provenance(row)] = "too_long"
    outcome = filter_eligible(videos, VideoSampling())
    assert reasons(outcome) == expected
    assert_conserved(videos, outcome)


def test_an_ineligible_video_is_told_its_number_and_the_threshold() -> None:
    rows = [
        {"video_id": "a", "view_count": 7, "duration_seconds": 200.0},
        {"video_id": "b", "view_count": 1000, "duration_seconds": 12.5},
        {"video_id": "c", "view_count": 1000, "duration_seconds": 501.0},
    ]
    assert filter_eligible(table(rows, STATISTICS), VideoSampling()).rejects["detail"].to_pylist() == [
        "view_count 7 is below min_views 1000",
        "12.5 s is below 120.0 s",
        "501 s is above 500.0 s",
    ]


@pytest.mark.parametrize(
    "settings", [{"min_views": 100}, {"min_duration_seconds": 50.0}, {"max_duration_seconds": 900.0}]
)
def test_each_threshold_of_eligibility_decides(settings: dict[str, Any]) -> None:
    rows = [
        {"video_id": "few views", "view_count": 100, "duration_seconds": 200.0},
        {"video_id": "short", "view_count": 1000, "duration_seconds": 50.0},
        {"video_id": "long", "view_count": 1000, "duration_seconds": 900.0},
    ]
    assert filter_eligible(table(rows, STATISTICS), VideoSampling(**settings)).kept.num_rows == 1


def _attach(annotations: pa.Table) -> Labelled:
    return attach_labels(
        table([{"video_id": video_id} for video_id in VIDEOS["eligible"]], ID),
        annotations,
        all_video_ids=pa.array(ALL_VIDEOS),
        vocabulary_ids=pa.array(ENTITIES["vocabulary"]),
        all_entity_ids=pa.array(ALL_ENTITIES),
    )


def _expected_annotation_reasons(rows: Iterable[Row]) -> dict[Provenance, str]:
    seen, expected = set(), {}
    for row in sorted(rows, key=provenance):
        pair = row["video_id"], row["entity_id"]
        if row["video_id"] not in ALL_VIDEOS:
            expected[provenance(row)] = "unknown_video"
        elif row["entity_id"] not in ALL_ENTITIES:
            expected[provenance(row)] = "unknown_entity"
        elif pair in seen:
            expected[provenance(row)] = "duplicate"
        elif row["entity_id"] not in ENTITIES["vocabulary"]:
            expected[provenance(row)] = "entity_not_kept"
        elif row["video_id"] not in VIDEOS["eligible"]:
            expected[provenance(row)] = "video_not_kept"
        seen.add(pair)
    return expected


@given(annotation_tables)
def test_each_annotation_becomes_a_label_or_has_its_reason(annotations: pa.Table) -> None:
    labelled = _attach(annotations)
    assert reasons(labelled.annotations) == _expected_annotation_reasons(annotations.to_pylist())
    assert_conserved(annotations, labelled.annotations)


@given(annotation_tables)
def test_the_labels_of_a_video_are_sorted_and_distinct(annotations: pa.Table) -> None:
    videos = _attach(annotations).videos
    pairs = {(row["video_id"], row["entity_id"]) for row in annotations.to_pylist()}
    assert {row["video_id"]: row["entity_ids"] for row in videos.to_pylist()} == {
        video_id: [entity_id for entity_id in ENTITIES["vocabulary"] if (video_id, entity_id) in pairs]
        for video_id in VIDEOS["eligible"]
    }


def test_an_annotation_that_is_dropped_says_why() -> None:
    pairs = [("z", "a"), ("u", "y"), ("u", "d"), ("x", "a"), ("u", "a"), ("u", "a")]
    rejects = _attach(table([{"video_id": video, "entity_id": entity} for video, entity in pairs], ANNOTATIONS))
    assert rejects.annotations.rejects["detail"].to_pylist() == [
        "z is not in the videos table",
        "y is not in the entities table",
        "the first row with the same video_id and entity_id is kept: table.csv, row 5",
        "d was dropped by an earlier stage",
        "x is not eligible",
    ]


labels = st.fixed_dictionaries({"entity_id": st.sampled_from(["a", "b", None]), "score": st.sampled_from([0.5, None])})


@given(tables({"video_id": st.sampled_from("uvw"), "labels": st.lists(labels, max_size=3)}, {**ID, "labels": LABELS}))
def test_nested_labels_are_the_annotations_that_a_table_would_hold(videos: pa.Table) -> None:
    assert nested_annotations(videos).to_pylist() == [
        {
            "video_id": row["video_id"],
            "entity_id": label["entity_id"] or "",
            "score": label["score"],
            "_file": row["_file"],
            "_row": row["_row"],
        }
        for row in videos.to_pylist()
        for label in row["labels"]
    ]


def test_the_column_of_labels_takes_the_place_of_the_nested_ones() -> None:
    nested = [{"entity_id": "b", "score": 1.0}, {"entity_id": "a", "score": 0.5}, {"entity_id": "b", "score": 0.1}]
    videos = table([{"video_id": "v", "labels": nested}], {**ID, "labels": LABELS})
    ids = pa.array(["a", "b"])
    labelled = attach_labels(
        videos, nested_annotations(videos), all_video_ids=pa.array(["v"]), vocabulary_ids=ids, all_entity_ids=ids
    )
    assert labelled.videos.select(["video_id", "entity_ids"]).to_pylist() == [
        {"video_id": "v", "entity_ids": ["a", "b"]}
    ]
    assert "labels" not in labelled.videos.column_names
    assert labelled.annotations.rejects["reason"].to_pylist() == ["duplicate"]


@given(labelled_tables, labelled_tables)
def test_videos_are_counted_by_entity_and_counts_add_up(some: pa.Table, others: pa.Table) -> None:
    together = count_videos(pa.concat_tables([some, others]))
    assert together == Counter(label for t in (some, others) for row in t.to_pylist() for label in row["entity_ids"])
    assert count_videos(some) + count_videos(others) == together


def test_popular_means_more_and_frequent_means_at_least() -> None:
    counts = {"a": 199, "b": 200, "c": 201}
    assert popular_entities(counts, VideoSampling()) == {"c"}
    assert frequent_entities(counts, VideoSampling()) == {"b", "c"}
    assert popular_entities(counts, VideoSampling(popular_videos_above=199)) == {"b", "c"}
    assert frequent_entities(counts, VideoSampling(min_videos_per_entity=201)) == {"c"}


def test_the_entities_with_too_few_videos_are_rejected_with_their_counts() -> None:
    counts = {"a": 199, "b": 200, "c": 201}
    entities = table([{"entity_id": entity_id} for entity_id in "abcd"], {"entity_id": pa.string()})
    popular, frequent = (keep(entities, counts, VideoSampling()) for keep in (keep_popular, keep_frequent))
    assert popular.kept["entity_id"].to_pylist() == ["c"]
    assert frequent.kept["entity_id"].to_pylist() == ["b", "c"]
    assert set(reasons(popular).values()) == {"too_few_popular_videos"}
    assert set(reasons(frequent).values()) == {"too_few_videos"}
    assert popular.rejects["detail"][1].as_py() == "eligible videos: 200, not above popular_videos_above 200"
    assert frequent.rejects["detail"][1].as_py() == "sampled videos: 0, below min_videos_per_entity 200"
    for outcome in (popular, frequent):
        assert_conserved(entities, outcome)


@given(labelled_tables, st.sets(st.sampled_from("abcd")))
def test_only_the_labels_that_stay_stay_and_no_video_is_left_without(videos: pa.Table, stay: set[str]) -> None:
    outcome = keep_labels(videos, stay, DropReason.NO_LABEL_LEFT)
    kept = {provenance(row): [label for label in row["entity_ids"] if label in stay] for row in videos.to_pylist()}
    assert {provenance(row): row["entity_ids"] for row in outcome.kept.to_pylist()} == {
        place: labels for place, labels in kept.items() if labels
    }
    assert reasons(outcome) == {place: "no_label_left" for place, labels in kept.items() if not labels}
    assert_conserved(videos, outcome)


def test_a_video_without_labels_is_told_which_it_had() -> None:
    videos = table([{"video_id": "v", "entity_ids": ["a", "b"]}], LABELLED)
    [reject] = keep_labels(videos, ["c"], DropReason.NO_VOCABULARY_LABEL).rejects.to_pylist()
    assert (reject["stage"], reject["reason"]) == ("popularity", "no_vocabulary_label")
    assert reject["detail"] == "no label is kept of: a;b"
    [reject] = keep_labels(videos, ["c"], DropReason.NO_LABEL_LEFT).rejects.to_pylist()
    assert (reject["stage"], reject["reason"]) == ("frequency", "no_label_left")


def _videos(ids: Iterable[str]) -> pa.Table:
    return table([{"video_id": video_id} for video_id in ids], ID)


def _first_by_hash(ids: Iterable[str], config: VideoSampling) -> list[str]:
    return sorted(ids, key=lambda video_id: (salted_hash(config.salt, video_id), video_id))[: config.sample_size]


@given(st.sets(st.text(min_size=1, max_size=4), max_size=40), st.integers(1, 45), st.sampled_from(["one", "two"]))
def test_the_sample_is_the_first_by_hash_and_id(ids: set[str], size: int, salt: str) -> None:
    config = VideoSampling(sample_size=size, salt=salt)
    videos = _videos(ids)
    outcome = sample_videos(videos, config)
    assert sorted(outcome.kept["video_id"].to_pylist()) == sorted(_first_by_hash(ids, config))
    assert set(reasons(outcome).values()) <= {"not_sampled"}
    assert_conserved(videos, outcome)


@given(st.sets(st.integers(0, 999), max_size=40), st.integers(1, 45), st.sampled_from([3, 50, 64]))
@settings(max_examples=60)
def test_the_sample_is_exact_when_hashes_collide(numbers: set[int], size: int, width: int) -> None:
    def narrow_hash(video_id: str) -> int:
        return (int(video_id) * 0x9E3779B97F4A7C15 % 7 << 61 | int(video_id) % 2) >> (64 - width) << (64 - width)

    def narrow_hashes(_: str, ids: Iterable[str]) -> npt.NDArray[np.uint64]:
        return np.array([narrow_hash(video_id) for video_id in ids], np.uint64)

    ids = [str(number) for number in numbers]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(video_sampling, "salted_hashes", narrow_hashes)
        outcome = sample_videos(_videos(ids), VideoSampling(sample_size=size))
    expected = sorted(ids, key=lambda video_id: (narrow_hash(video_id), video_id))[:size]
    assert sorted(outcome.kept["video_id"].to_pylist()) == sorted(expected)


@given(st.integers(0, 300), st.integers(1, 301), st.integers(1, 7))
@settings(max_examples=30)
def test_a_draw_from_pieces_equals_the_draw_from_the_whole(number: int, size: int, pieces: int) -> None:
    config = VideoSampling(sample_size=size)
    ids = [f"video-{index}" for index in range(number)]
    parts = [_videos(ids[start::pieces]) for start in range(pieces)]
    counts = sum((hash_prefix_counts(part, config) for part in parts), np.zeros(PREFIXES, np.int64))
    cut = sampling_cut(counts, config)
    decided = [cut_sample(part, cut, config) for part in parts]
    drawn = draw_boundary(pa.concat_tables([part.boundary for part in decided]), cut, config)
    kept = [video_id for part in (*(part.outcome for part in decided), drawn) for video_id in part.kept["video_id"]]
    assert sorted(map(str, kept)) == sorted(_first_by_hash(ids, config))


def test_the_boundary_is_small_and_is_the_only_part_that_must_be_gathered() -> None:
    config = VideoSampling(sample_size=1000)
    videos = _videos(f"video-{index}" for index in range(4000))
    cut = sampling_cut(hash_prefix_counts(videos, config), config)
    outcome, boundary = cut_sample(videos, cut, config)
    assert 1 <= boundary.num_rows <= 10
    assert outcome.kept.num_rows + cut.quota == 1000
    assert outcome.rejects["detail"][0].as_py() == "not among the first 1000 by salted hash"


@pytest.mark.parametrize("size", [5, 6, 10_000_000])
def test_a_sample_of_all_videos_has_no_boundary(size: int) -> None:
    config = VideoSampling(sample_size=size)
    videos = _videos("abcde")
    assert sampling_cut(hash_prefix_counts(videos, config), config) == Cut(PREFIXES, 0)
    assert sample_videos(videos, config).kept.num_rows == 5


@pytest.mark.parametrize(("prefix", "quota"), [(-1, 0), (PREFIXES + 1, 0), (0, -1)])
def test_a_cut_refuses_what_cannot_be(prefix: int, quota: int) -> None:
    with pytest.raises(ValueError, match="a cut has a prefix of 0 … 65536 and a quota of at least 0"):
        Cut(prefix, quota)


def test_another_salt_draws_other_videos() -> None:
    videos = _videos(f"video-{index}" for index in range(200))
    draws = [sample_videos(videos, VideoSampling(sample_size=50, salt=salt)).kept for salt in ("one", "two")]
    assert draws[0]["video_id"].to_pylist() != draws[1]["video_id"].to_pylist()


def test_no_function_minds_an_empty_table() -> None:
    config = VideoSampling()
    empty = table([], {**STATISTICS, "entity_ids": STRINGS, "labels": LABELS})
    stages = [
        filter_eligible(empty, config),
        keep_labels(empty, ["a"], DropReason.NO_LABEL_LEFT),
        sample_videos(empty, config),
        drop_duplicates(empty, ["video_id"], Stage.UNIQUE, "videos"),
    ]
    assert [outcome.kept.num_rows + outcome.rejects.num_rows for outcome in stages] == [0] * 4
    assert nested_annotations(empty).num_rows == 0
    assert count_videos(empty) == {}
