"""Labels against brute force: which annotations become labels, which labels a video keeps, and where the others are."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given
from hypothesis import strategies as st

from yt8m_pipeline.accounting.outcome import REJECTS, Outcome
from yt8m_pipeline.accounting.reasons import Stage
from yt8m_pipeline.config import VideoSampling
from yt8m_pipeline.selection.labels import (
    Labelled,
    attach_labels,
    derive_entities,
    has_segments,
    keep_labels,
    nested_annotations,
    settle_annotations,
)
from yt8m_pipeline.tables.cells import LABELS
from yt8m_pipeline.tables.reading import TableFiles, read_batches, schema

from .rows import STRINGS, Provenance, Row, assert_conserved, provenance, reasons, table, tables

ID = {"video_id": pa.string()}
LABELLED = {"video_id": pa.string(), "entity_ids": STRINGS}
SEGMENT = {"start_seconds": pa.float64(), "end_seconds": pa.float64()}
ANNOTATIONS = {"video_id": pa.string(), "entity_id": pa.string(), "score": pa.float64(), **SEGMENT}

VIDEOS = {"eligible": ["u", "v", "w"], "known": ["x"], "unknown": ["z", ""]}
ENTITIES = {"vocabulary": ["a", "b", "c"], "known": ["d"], "unknown": ["y", ""]}
ALL_VIDEOS = [*VIDEOS["eligible"], *VIDEOS["known"]]
ALL_ENTITIES = [*ENTITIES["vocabulary"], *ENTITIES["known"]]

annotation_tables = tables(
    {
        "video_id": st.sampled_from([name for names in VIDEOS.values() for name in names]),
        "entity_id": st.sampled_from([name for names in ENTITIES.values() for name in names]),
        "score": st.sampled_from([None, 0.25, 0.5, 1.0]),
    },
    ANNOTATIONS,
    max_rows=30,
)
labelled_tables = tables(
    {"video_id": st.sampled_from("uvw"), "entity_ids": st.sets(st.sampled_from("abcd")).map(sorted)}, LABELLED
)


def _attach(annotations: pa.Table) -> Labelled:
    return attach_labels(
        table([{"video_id": video_id} for video_id in VIDEOS["eligible"]], ID),
        annotations,
        VideoSampling(min_score=0.5),
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
        elif row["score"] is not None and row["score"] < 0.5:
            expected[provenance(row)] = "low_score"
            continue
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
    rows = [row for row in annotations.to_pylist() if row["score"] is None or row["score"] >= 0.5]
    pairs = {(row["video_id"], row["entity_id"]) for row in rows}
    expected = {
        video_id: [entity_id for entity_id in ENTITIES["vocabulary"] if (video_id, entity_id) in pairs]
        for video_id in VIDEOS["eligible"]
    }
    assert {row["video_id"]: row["entity_ids"] for row in videos.kept.to_pylist()} == {
        video_id: found for video_id, found in expected.items() if found
    }
    assert set(videos.rejects["id"].to_pylist()) == {video_id for video_id, found in expected.items() if not found}
    assert {(row["stage"], row["reason"]) for row in videos.rejects.to_pylist()} <= {("labels", "no_vocabulary_label")}


def test_an_annotation_that_is_dropped_says_why() -> None:
    rows = [
        ("z", "a", 1.0),
        ("u", "y", 1.0),
        ("u", "d", 1.0),
        ("x", "a", 1.0),
        ("u", "a", 0.25),
        ("u", "a", 0.5),
        ("u", "a", None),
    ]
    names = ("video_id", "entity_id", "score")
    rejects = _attach(table([dict(zip(names, row, strict=True)) for row in rows], ANNOTATIONS))
    assert rejects.annotations.rejects["detail"].to_pylist() == [
        "z is in no valid row of the videos table",
        "y is in no valid row of the entities table",
        "score 0.25 is below min_score 0.5",
        "the first row with the same video_id and entity_id is kept: table.csv, row 6",
        "d was dropped by an earlier stage",
        "x is not eligible",
    ]


TIMES = [None, 0, 1.5, "2", -1, math.nan]
labels = st.fixed_dictionaries(
    {},
    optional={
        "entity_id": st.sampled_from(["a", " b", 7, 7.0, 7.5, True, None, ""]),
        "score": st.sampled_from([0.5, 1, "0.5", "high", None, math.nan, math.inf]),
        "start_seconds": st.sampled_from(TIMES),
        "end_seconds": st.sampled_from(TIMES),
    },
)
videos = st.fixed_dictionaries({"video_id": st.sampled_from("uvw"), "labels": st.lists(labels, max_size=3)})


@given(st.lists(videos, max_size=5))
def test_a_label_is_the_same_annotation_nested_and_in_a_table(rows: list[Row]) -> None:
    others = {"uri": "a.mp4", "duration_seconds": 200, "view_count": 5}
    flat = [{"video_id": row["video_id"], **label} for row in rows for label in row["labels"]]
    with TemporaryDirectory() as folder:
        nested = nested_annotations(_read(Path(folder), "videos", [row | others for row in rows]).kept)
        given = _read(Path(folder), "annotations", flat)
    columns = ["video_id", "entity_id", "score", "start_seconds", "end_seconds"]
    assert nested.kept.select(columns).to_pylist() == given.kept.select(columns).to_pylist()
    columns = ["stage", "table", "id", "reason"]
    by_reason = [("reason", "ascending"), ("id", "ascending")]
    assert nested.rejects.select(columns).sort_by(by_reason) == given.rejects.select(columns).sort_by(by_reason)
    assert nested.kept.num_rows + nested.rejects.num_rows == len(flat)


def _read(folder: Path, name: str, rows: list[Row]) -> Outcome:
    (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    outcomes = list(read_batches(TableFiles(name, str(folder), (f"{name}.jsonl",)), f"{name}.jsonl"))
    kept = pa.concat_tables([schema(name).empty_table(), *(outcome.kept for outcome in outcomes)])
    return Outcome(
        Stage.READ, name, kept, pa.concat_tables([REJECTS.empty_table(), *(out.rejects for out in outcomes)])
    )


def test_a_bad_label_says_which_it_is(tmp_path: Path) -> None:
    labels = [{"entity_id": "a"}, 7, {"entity_id": "b", "score": "high"}]
    row = {"video_id": "u", "uri": "a.mp4", "duration_seconds": 200, "view_count": 5, "labels": labels}
    details = nested_annotations(_read(tmp_path, "videos", [row]).kept).rejects["detail"].to_pylist()
    assert details == [
        "A cell has the wrong type; where: videos.jsonl, row 1, column labels, label 2, entity_id; why: it is no "
        "object that has one; fix: correct the value or remove the row",
        "A cell has the wrong type; where: videos.jsonl, row 1, column labels, label 3, score; why: 'high' is not a "
        "finite number; fix: correct the value or remove the row",
    ]


def test_another_segment_of_a_label_says_so_and_the_same_row_is_a_duplicate() -> None:
    times = [(None, None), (0.0, 5.0), (0.0, 5.0), (5.0, 9.0), (None, None)]
    rows = [{"video_id": "u", "entity_id": "a", "start_seconds": start, "end_seconds": end} for start, end in times]
    outcome = _attach(table(rows, ANNOTATIONS)).annotations
    assert {row["row"]: row["reason"] for row in outcome.rejects.to_pylist()} == {
        2: "other_segment",
        3: "duplicate",
        4: "other_segment",
        5: "duplicate",
    }
    assert outcome.rejects["detail"][0].as_py() == (
        "0 to 5 s is another segment of a label that the video has by table.csv, row 1; a label holds for the whole "
        "video"
    )
    assert has_segments(table(rows, ANNOTATIONS))
    assert not has_segments(table(rows[:1], ANNOTATIONS))


def test_the_column_of_labels_takes_the_place_of_the_nested_ones() -> None:
    nested = [{"entity_id": "b", "score": 1.0}, {"entity_id": "a", "score": 0.5}, {"entity_id": "b", "score": 0.1}]
    videos = table([{"video_id": "v", "labels": nested}], {**ID, "labels": LABELS})
    ids = pa.array(["a", "b"])
    labelled = attach_labels(
        videos,
        nested_annotations(videos).kept,
        VideoSampling(),
        all_video_ids=pa.array(["v"]),
        vocabulary_ids=ids,
        all_entity_ids=ids,
    )
    assert labelled.videos.kept.select(["video_id", "entity_ids"]).to_pylist() == [
        {"video_id": "v", "entity_ids": ["a", "b"]}
    ]
    assert "labels" not in labelled.videos.kept.column_names
    assert labelled.annotations.rejects["reason"].to_pylist() == ["duplicate"]


@given(labelled_tables, st.sets(st.sampled_from("abcd")))
def test_only_the_labels_that_stay_stay_and_no_video_is_left_without(videos: pa.Table, stay: set[str]) -> None:
    outcome = keep_labels(videos, stay, Stage.FREQUENCY)
    kept = {provenance(row): [label for label in row["entity_ids"] if label in stay] for row in videos.to_pylist()}
    assert {provenance(row): row["entity_ids"] for row in outcome.kept.to_pylist()} == {
        place: labels for place, labels in kept.items() if labels
    }
    assert reasons(outcome) == {place: "no_label_left" for place, labels in kept.items() if not labels}
    assert_conserved(videos, outcome)


def test_a_video_without_labels_is_told_which_it_had() -> None:
    videos = table([{"video_id": "v", "entity_ids": ["a", "b"]}], LABELLED)
    [reject] = keep_labels(videos, ["c"], Stage.POPULARITY).rejects.to_pylist()
    assert (reject["stage"], reject["reason"]) == ("popularity", "no_vocabulary_label")
    assert reject["detail"] == "no label is kept of: a;b"
    [reject] = keep_labels(videos, ["c"], Stage.FREQUENCY).rejects.to_pylist()
    assert (reject["stage"], reject["reason"]) == ("frequency", "no_label_left")


@given(annotation_tables, st.sets(st.sampled_from("uvw")), st.sets(st.sampled_from("abc")))
def test_an_annotation_is_a_label_of_the_dataset_or_has_its_reason(
    annotations: pa.Table, videos: set[str], entities: set[str]
) -> None:
    labelled = _attach(annotations)
    is_chosen = pc.is_in(labelled.videos.kept["video_id"], value_set=pa.array(videos, pa.string()))
    chosen = labelled.videos.kept.filter(is_chosen)
    dataset = keep_labels(chosen, entities, Stage.RECOUNT).kept
    settled = settle_annotations(labelled.annotations.kept, dataset)
    labels = {(row["video_id"], name) for row in dataset.to_pylist() for name in row["entity_ids"]}
    assert sorted((row["video_id"], row["entity_id"]) for row in settled.kept.to_pylist()) == sorted(labels)
    assert_conserved(labelled.annotations.kept, settled)
    left = set(dataset["video_id"].to_pylist())
    assert {row["reason"] for row in settled.rejects.to_pylist() if row["id"] in left} <= {"entity_not_kept"}
    assert {row["reason"] for row in settled.rejects.to_pylist() if row["id"] not in left} <= {"video_not_kept"}


def test_an_annotation_of_a_video_that_is_not_in_the_dataset_says_so() -> None:
    pairs = [("u", "a"), ("u", "b"), ("v", "a")]
    rows = table([{"video_id": video, "entity_id": entity} for video, entity in pairs], ANNOTATIONS)
    settled = settle_annotations(rows, table([{"video_id": "u", "entity_ids": ["a"]}], LABELLED))
    assert settled.rejects.select(["stage", "id", "reason", "detail"]).to_pylist() == [
        {"stage": "recount", "id": "v", "reason": "video_not_kept", "detail": "v was dropped by a later stage"},
        {"stage": "recount", "id": "u", "reason": "entity_not_kept", "detail": "b was dropped by a later stage"},
    ]


def test_a_dropped_entity_is_not_taken_for_a_label_of_the_video_before() -> None:
    pairs = [("u", "a"), ("u", "b"), ("v", "a"), ("v", "c"), ("w", "b")]
    rows = table([{"video_id": video, "entity_id": entity} for video, entity in pairs], ANNOTATIONS)
    labelled = [{"video_id": "u", "entity_ids": ["a", "b"]}, {"video_id": "v", "entity_ids": ["a"]}]
    assert reasons(settle_annotations(rows, table(labelled, LABELLED))) == {
        ("table.csv", 4): "entity_not_kept",
        ("table.csv", 5): "video_not_kept",
    }


def test_each_distinct_label_of_a_known_video_is_an_entity() -> None:
    pairs = [("x", "cat"), ("u", "dog"), ("v", "cat"), ("u", "cat"), ("v", "dog")]
    rows = [{"video_id": video, "entity_id": label, "score": None} for video, label in pairs]
    annotations = table(rows, {"video_id": pa.string(), "entity_id": pa.string(), "score": pa.float64()})
    found = derive_entities(annotations, pa.array(["u", "v"])).sort_by("entity_id").to_pylist()
    assert [(row["entity_id"], row["name"], row["_row"]) for row in found] == [("cat", "cat", 3), ("dog", "dog", 2)]
