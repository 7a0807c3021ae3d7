"""The partition of a video against exact fractions, and groups that stay together."""

from collections import defaultdict
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yt8m_pipeline.chance import salted_hash
from yt8m_pipeline.config import Partitioning
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.selection import partitioning
from yt8m_pipeline.selection.partitioning import assign_partitions, lacking_entities, lacking_warnings

from .rows import table, tables

COLUMNS = {"video_id": pa.string(), "group_id": pa.string()}
NAMES = ("train", "validate", "test")

videos_tables = tables(
    {"video_id": st.text(min_size=1, max_size=5), "group_id": st.sampled_from(["", "channel 1", "channel 2"])}, COLUMNS
)


def _videos(number: int) -> pa.Table:
    return table([{"video_id": f"video-{index}", "group_id": ""} for index in range(number)], COLUMNS)


def _shares(train: int, validate: int) -> Partitioning:
    """Shares in hundredths."""
    return Partitioning(train=train / 100, validate=validate / 100, test=(100 - train - validate) / 100)


@given(videos_tables, st.integers(0, 100), st.integers(0, 100))
def test_the_partition_is_the_share_in_which_the_hash_falls(videos: pa.Table, one: int, other: int) -> None:
    train, both = sorted((one, other))
    config = _shares(train, both - train)
    for row in assign_partitions(videos, config).to_pylist():
        place = Fraction(salted_hash(config.salt, row["group_id"] or row["video_id"]), 2**64)
        passed = sum(place >= Fraction(end, 100) for end in (train, both))
        assert row["partition"] == NAMES[passed]


@given(videos_tables)
def test_a_group_is_never_divided_and_no_row_is_lost(videos: pa.Table) -> None:
    assigned = assign_partitions(videos, Partitioning())
    assert assigned.drop_columns(["partition", "unit"]).equals(videos)
    partitions = defaultdict(set)
    for row in assigned.to_pylist():
        partitions[row["group_id"] or f"alone: {row['video_id']}"].add(row["partition"])
    assert all(len(names) == 1 for names in partitions.values())


def test_the_shares_are_70_20_10_within_chance() -> None:
    partitions = assign_partitions(_videos(20_000), Partitioning())["partition"].to_pylist()
    shares = [partitions.count(name) / 20_000 for name in NAMES]
    assert shares == pytest.approx([0.7, 0.2, 0.1], abs=0.015)


@pytest.mark.parametrize(("train", "validate", "name"), [(100, 0, "train"), (0, 100, "validate"), (0, 0, "test")])
def test_a_share_of_one_takes_every_video(train: int, validate: int, name: str) -> None:
    assert set(assign_partitions(_videos(500), _shares(train, validate))["partition"].to_pylist()) == {name}


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (0, "train"),
        (7 * 2**64 // 10, "train"),
        (7 * 2**64 // 10 + 1, "validate"),
        (9 * 2**64 // 10, "validate"),
        (9 * 2**64 // 10 + 1, "test"),
        (2**64 - 1, "test"),
    ],
)
def test_the_ends_are_exact_to_the_last_bit(place: int, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fixed(_: str, units: list[str]) -> npt.NDArray[np.uint64]:
        return np.full(len(units), place, np.uint64)

    monkeypatch.setattr(partitioning, "salted_hashes", fixed)
    assert assign_partitions(_videos(1), Partitioning())["partition"].to_pylist() == [name]


def test_shares_that_floating_point_cannot_hold_still_cover_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Partitioning(train=1 / 3, validate=2 / 3, test=0.0)
    assert set(assign_partitions(_videos(500), config)["partition"].to_pylist()) == {"train", "validate"}
    monkeypatch.setattr(partitioning, "salted_hashes", lambda *_: np.array([2**64 - 1], np.uint64))
    assert assign_partitions(_videos(1), config)["partition"].to_pylist() == ["validate"]


def test_another_salt_partitions_otherwise() -> None:
    videos = _videos(100)
    one, other = (assign_partitions(videos, Partitioning(salt=salt))["partition"] for salt in ("one", "other"))
    assert one != other


def test_the_classes_that_a_partition_lacks_are_found_and_named() -> None:
    labels = {("train", "/m/a"), ("train", "/m/b"), ("validate", "/m/a"), ("test", "/m/z")}
    lacking = lacking_entities(labels, ["/m/b", "/m/a"])
    assert lacking == {"train": [], "validate": ["/m/b"], "test": ["/m/a", "/m/b"]}
    assert lacking_warnings(lacking, {"/m/a": "Guitar", "/m/b": ""}) == [
        "no validate video has 1 of the 2 classes: /m/b",
        "no test video has 2 of the 2 classes: Guitar, /m/b",
    ]


def test_nothing_is_told_of_the_classes_that_a_partition_of_withheld_labels_lacks() -> None:
    published = {Partition.TRAIN, Partition.VALIDATE}
    lacking = lacking_entities({("test", "/m/a")}, ["/m/a", "/m/b"], published)
    assert lacking == {"train": ["/m/a", "/m/b"], "validate": ["/m/a", "/m/b"]}


@pytest.mark.parametrize(("number", "ending"), [(9, ""), (10, ""), (11, ", …")])
def test_a_warning_of_lacking_classes_names_the_first_ten(number: int, ending: str) -> None:
    ids = [f"/m/{index:02d}" for index in range(number)]
    [warning] = lacking_warnings({"test": ids}, dict.fromkeys(ids, "x"))
    assert warning == f"no test video has {number} of the {number} classes: {', '.join('x' * min(number, 10))}{ending}"
