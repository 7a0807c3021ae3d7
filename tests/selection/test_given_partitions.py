"""Partitions that the user gives: what texts mean, lists of videos, and groups that stay together."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from yt8m_pipeline.config import Partitioning
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.selection.given_partitions import (
    Given,
    listed_names,
    name_given,
    name_listed,
    reject_without,
    settle_groups,
    unlisted_warnings,
)
from yt8m_pipeline.selection.partitioning import assign_partitions
from yt8m_pipeline.tables.partition_lists import read_lists

from .rows import assert_conserved, table, tables

COLUMNS = {name: pa.string() for name in ("video_id", "uri", "group_id", "given_partition")}
COLUMN = Partitioning(by="column")
NUMBERS = {"train": [0, True], "validate": [1], "test": ["2"]}

given_videos = tables(
    {
        "video_id": st.text(min_size=1, max_size=3),
        "uri": st.just("a.mp4"),
        "group_id": st.sampled_from(["", "channel 1", "channel 2"]),
        "given_partition": st.sampled_from(["", "train", "test"]),
    },
    COLUMNS,
)


def videos(*texts: str, **columns: list[str]) -> pa.Table:
    rows = [{"video_id": f"v{number}", "uri": f"{number}.mp4", "group_id": ""} for number in range(len(texts))]
    for number, row in enumerate(rows):
        row |= {"given_partition": texts[number], **{name: values[number] for name, values in columns.items()}}
    return table(rows, COLUMNS)


def partitions(rows: pa.Table) -> Any:
    return rows["given_partition"].to_pylist()


def test_texts_mean_partitions_in_any_capitals_and_unknown_ones_are_marked() -> None:
    rows = name_given(videos("Train", " VAL ", "testing", "", "holdout", "?"), COLUMN)
    assert partitions(rows) == ["train", "validate", "test", "", "?holdout", "??"]


@pytest.mark.parametrize(("text", "name"), [("0", "train"), ("0.0", "train"), ("True", "train"), ("1.0", "validate")])
def test_numbers_and_truth_values_mean_what_the_config_says(text: str, name: str) -> None:
    config = Partitioning.model_validate({"by": "column", "values": NUMBERS})
    assert partitions(name_given(videos(text), config)) == [name]


def test_a_name_of_ours_that_the_config_does_not_have_is_unknown() -> None:
    config = Partitioning.model_validate({"by": "column", "values": NUMBERS})
    assert partitions(name_given(videos("train"), config)) == ["?train"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"values": {"train": ["a"], "test": ["A "]}}, "values of two partitions: a"),
        ({"by": "lists"}, "go together"),
        ({"lists": {"train": "a.txt"}}, "go together"),
    ],
)
def test_a_config_that_is_not_clear_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Partitioning.model_validate(values)


@given(given_videos)
def test_a_member_without_a_partition_follows_its_group(rows: pa.Table) -> None:
    settled, divided = settle_groups(rows)
    assert settled.drop_columns("given_partition").equals(rows.drop_columns("given_partition"))
    given_in: dict[str, set[str]] = defaultdict(set)
    for row in rows.to_pylist():
        given_in[row["group_id"] or row["video_id"]] |= {row["given_partition"]} - {""}
    for before, after in zip(rows.to_pylist(), settled.to_pylist(), strict=True):
        among = given_in[before["group_id"] or before["video_id"]]
        own = before["given_partition"]
        assert after["given_partition"] == own if own else after["given_partition"] in (among or {""})
    assert len(divided) == sum(len(parts) > 1 for parts in given_in.values())


@given(given_videos)
def test_what_is_given_counts_and_the_rest_is_hashed(rows: pa.Table) -> None:
    hashed = assign_partitions(rows, Partitioning())["partition"].to_pylist()
    assigned = assign_partitions(rows, COLUMN)["partition"].to_pylist()
    assert assigned == [own or other for own, other in zip(partitions(rows), hashed, strict=True)]


@given(given_videos)
def test_what_has_no_partition_is_rejected_if_the_config_says_so(rows: pa.Table) -> None:
    assert reject_without(rows, COLUMN).kept.equals(rows)
    outcome = reject_without(rows, Partitioning(by="column", without="reject"))
    assert_conserved(rows, outcome)
    assert "" not in partitions(outcome.kept)


@given(given_videos)
def test_what_is_known_adds(rows: pa.Table) -> None:
    grouped = [row["group_id"] == "channel 1" for row in rows.to_pylist()]
    parts = [rows.filter(pa.array([own == one for own in grouped], pa.bool_())) for one in (True, False)]
    if not any(row["video_id"].startswith("channel") for row in rows.to_pylist()):
        assert Given.of(parts[0]) + Given.of(parts[1]) == Given.of(rows)


def test_every_unknown_text_is_named() -> None:
    with pytest.raises(DataError, match=r"'hold out', 'x'"):
        Given.of(name_given(videos("train", "x", "hold out", "x"), COLUMN)).check(COLUMN, "videos.csv")


def test_divided_groups_are_an_error_or_a_warning_that_names_the_first_ten() -> None:
    texts = ["train", "test"] * 11
    rows = videos(*texts, group_id=[f"g{number // 2:02d}" for number in range(22)])
    found = Given.of(rows)
    with pytest.raises(DataError, match="11 groups are in two given partitions") as error:
        found.check(COLUMN, "videos.csv")
    assert "g09 (train, test), …" in str(error.value)
    found.check(Partitioning(by="column", divided_groups="warn"), "videos.csv")
    assert found.warnings()[0].startswith("11 groups are in two given partitions: g00 (train, test), g01")


def test_no_train_video_is_an_error_unless_others_are_hashed() -> None:
    found = Given.of(videos("test", ""))
    found.check(COLUMN, "videos.csv")
    with pytest.raises(DataError, match="No video is given to the train partition"):
        found.check(Partitioning(by="column", without="reject"), "videos.csv")


BY_LISTS = Partitioning.model_validate({"by": "lists", "lists": {"train": "train.txt"}})


class TestLists:
    def test_videos_are_named_by_id_or_uri_and_the_rest_of_a_line_does_not_count(self, tmp_path: Path) -> None:
        (tmp_path / "train.txt").write_bytes("\ufeff0.mp4 1\r\n\r\nv1\n".encode())
        (tmp_path / "test.txt").write_text("v2\t0\nlost 3\nwith spaces\t1\n")
        listed = read_lists({part: str(tmp_path / f"{part}.txt") for part in ("train", "test")})
        assert listed == {"0.mp4": "train", "v1": "train", "v2": "test", "lost": "test", "with spaces": "test"}
        rows = videos("", "", "", "")
        assert partitions(name_listed(rows, listed)) == ["train", "train", "test", ""]
        Given.of(name_listed(rows, listed)).check(BY_LISTS, "videos.csv")
        twice = {**listed, "v0": "test"}  # whose uri, 0.mp4, is in the list of train
        with pytest.raises(DataError, match="1 videos stand in the lists of two partitions") as caught:
            Given.of(name_listed(rows, twice)).check(BY_LISTS, "videos.csv")
        assert "v0 (test, train)" in caught.value.why
        warning = unlisted_warnings(listed, listed_names(rows, listed))
        assert warning == [
            "partitioning.lists: 2 of 5 names are those of no video of the videos table: lost, with spaces"
        ]

    def test_a_video_in_two_lists_and_a_list_that_is_not_there_are_refused(self, tmp_path: Path) -> None:
        for name in ("train", "test"):
            (tmp_path / name).write_text("a 1\nb\n")
        with pytest.raises(UsageError, match="stands in the lists of two partitions"):
            read_lists({name: str(tmp_path / name) for name in ("train", "test")})
        with pytest.raises(UsageError, match="cannot be read"):
            read_lists({"train": str(tmp_path / "none.txt")})
        (tmp_path / "empty.txt").write_text("\n \n")
        with pytest.raises(UsageError, match="is empty"):
            read_lists({"test": str(tmp_path / "empty.txt")})
