"""Statistics in one pass are those of a plain loop over the rows."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.report.resealing import reseal
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.index import VIDEOS
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import PUBLISHED
from yt8m_pipeline.dataset.reader import open_dataset
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.report import sources, statistics
from yt8m_pipeline.report.sources import KindTotals
from yt8m_pipeline.report.spread import PARTITIONS, Spread
from yt8m_pipeline.report.statistics import (
    EntityRow,
    VideoCounter,
    VideoCounts,
    count_codes,
    measure_dataset,
)
from yt8m_pipeline.report.tables import balance_scores

VERTICALS = ("A", "B", "C")
ENTITIES = [
    EntityRow(f"/m/{index}", f"entity {index}", verticals, "")
    for index, verticals in enumerate([("A",), ("A", "B"), (), ("C", "B", "A"), ("B",)])
]


def rows(number: int, seed: int) -> list[dict[str, Any]]:
    """Random rows of videos.parquet: some labels, durations and fractions are missing."""
    random = np.random.default_rng(seed)
    parts = random.choice([part.value for part in Partition], number)
    return [
        {
            "partition": str(part),
            "labels": sorted(map(int, random.choice(5, random.integers(0, 5), replace=False)))
            if random.random() < 0.9
            else None,
            "frames": int(random.integers(1, 400)),
            "duration_seconds": [None, float(random.uniform(0, 600)), float("nan"), float("inf"), -1.0][
                random.choice(5, p=(0.2, 0.5, 0.1, 0.1, 0.1))
            ],
            "decoded_fraction": [None, 1.0, float(random.random())][random.choice(3)],
            "view_count": [None, int(10 ** random.uniform(0, 9)), 0, -1][random.choice(4)],
            **(film(random) if random.random() < 0.8 else {}),
        }
        for part in parts
    ]


def film(random: np.random.Generator) -> dict[str, Any]:
    packets = int(random.integers(1, 9000))
    return {
        "container": str(random.choice(["avi", "matroska,webm"])),
        "codec": str(random.choice(["h264", "vp9", "av1"])),
        "file_bytes": int(random.integers(0, 10**9)),
        "width": int(random.integers(1, 4000)),
        "height": int(random.integers(1, 4000)),
        "frame_rate": [None, 23.976, float(random.uniform(0.1, 2000))][random.choice(3)],
        "packets": packets,
        "decoded_packets": int(random.integers(0, packets + 1)),
    }


def as_batch(values: list[dict[str, Any]]) -> pa.RecordBatch:
    schema = pa.schema([VIDEOS.field(name) for name in statistics.COLUMNS])
    return pa.RecordBatch.from_pylist(values, schema=schema)


def counted(values: list[dict[str, Any]], published: frozenset[Partition] = PUBLISHED) -> VideoCounts:
    return VideoCounter.of("videos.parquet", published, ENTITIES, VERTICALS).count(as_batch(values))


@pytest.mark.parametrize("published", [PUBLISHED, frozenset(Partition)])
@pytest.mark.parametrize("number", [0, 1, 500])
def test_counts_are_those_of_a_loop(number: int, published: frozenset[Partition]) -> None:
    values = rows(number, seed=number)
    found = counted(values, published)
    labels, verticals = Counter[tuple[str, int]](), Counter[str]()
    for row in values:
        if row["partition"] in published and row["labels"] is not None:
            labels.update((row["partition"], label) for label in row["labels"])
            if row["partition"] == "train":
                verticals.update({name for label in row["labels"] for name in ENTITIES[label].verticals})
    assert found.labels.tolist() == [[labels[part.value, index] for index in range(5)] for part in PARTITIONS]
    assert found.verticals.tolist() == [verticals[name] for name in VERTICALS]
    known = [len(row["labels"]) for row in values if row["partition"] in published and row["labels"] is not None]
    assert (found.labels_per_video.number, found.labels_per_video.sums.sum()) == (len(known), sum(known))
    seconds = [row["duration_seconds"] for row in values if row["duration_seconds"] is not None]
    seconds = [value for value in seconds if 0 <= value < float("inf")]
    assert found.seconds.number == len(seconds)
    assert found.seconds.mean == (pytest.approx(np.mean(seconds)) if seconds else None)
    assert found.seconds.largest == max(seconds, default=0)
    assert found.frames.sums.sum() == sum(row["frames"] for row in values)
    for place, part in enumerate(PARTITIONS):
        own = [row for row in values if row["partition"] == part]
        lost = [1 - row["decoded_fraction"] for row in own if (row["decoded_fraction"] or 1) < 1]
        assert found.frames.part(part).number == len(own)
        assert found.salvaged[place] == len(lost)
        assert found.lost[place] == pytest.approx(sum(lost))


@pytest.mark.parametrize("number", [0, 1, 500])
def test_counts_of_files_are_those_of_a_loop(number: int) -> None:
    values = rows(number, seed=number)
    found = counted(values).sources
    known = [row for row in values if row.get("codec")]
    kinds = {
        (container, codec): [row for row in known if (row["container"], row["codec"]) == (container, codec)]
        for container in ("avi", "matroska,webm")
        for codec in ("h264", "vp9", "av1")
    }
    assert found.known == len(known)
    assert found.kinds == {
        kind: KindTotals(
            len(of), *(sum(row[name] for row in of) for name in ("frames", "file_bytes", "packets", "decoded_packets"))
        )
        for kind, of in kinds.items()
        if of
    }
    for place, part in enumerate(PARTITIONS):
        own = [row for row in values if row["partition"] == part]
        sides = Counter(
            sum(side <= min(row["width"], row["height"]) for side in sources.SIDES) for row in own if row.get("codec")
        )
        assert found.sides[place].tolist() == [sides[index] for index in range(len(sources.SIDES) + 1)]
        rates = Counter(round(row["frame_rate"]) for row in own if (row.get("frame_rate") or 1001) <= 1000)
        assert {rate: count for rate, count in enumerate(found.rates[place]) if count} == rates
        viewed = [row["view_count"] for row in own if row["view_count"] not in (None, -1)]
        views = Counter(len(str(number)) * (number > 0) for number in viewed)
        assert {digits: count for digits, count in enumerate(found.decades[place]) if count} == views
    timed = [row for row in known if row["duration_seconds"] and 0 < row["duration_seconds"] < float("inf")]
    assert found.kilobits.number == len(timed)
    assert found.kilobits.sums.sum() == pytest.approx(
        sum(row["file_bytes"] * 8 / 1000 / row["duration_seconds"] for row in timed)
    )
    assert found.kilobytes.sums.sum() == pytest.approx(sum(row["file_bytes"] for row in known) / 1000)
    assert found.views.sums.sum() == sum(row["view_count"] for row in values if (row["view_count"] or 0) > 0)


def test_views_are_counted_by_their_digits() -> None:
    for number in (0, 1, 9, 10, 10**15 - 1, 10**15, 2**53 - 1):
        decades = counted([{**rows(1, seed=0)[0], "view_count": number}]).sources.decades.sum(axis=0)
        assert np.flatnonzero(decades).tolist() == [len(str(number)) * (number > 0)]


def test_a_share_that_is_none_counts_as_the_nearest() -> None:
    values = [{**rows(1, seed=0)[0], "partition": "train", "decoded_fraction": share} for share in (7.0, -3.0, 0.5)]
    found = counted(values)
    assert (found.salvaged[0], found.lost[0]) == (2, 1.5)


def test_nothing_is_known_of_the_files_of_an_older_dataset() -> None:
    names = ("partition", "labels", "frames", "duration_seconds", "decoded_fraction")
    batch = as_batch(rows(20, seed=3)).select(names)
    found = VideoCounter.of("videos.parquet", PUBLISHED, ENTITIES, VERTICALS).count(batch).sources
    assert found.known == found.sides.sum() == found.rates.sum() == found.decades.sum() == found.kilobytes.number == 0


def test_counts_of_parts_add_up_to_those_of_the_whole() -> None:
    values = rows(300, seed=1)
    whole, parts = counted(values), counted(values[:100]) + counted(values[100:]) + counted([])
    for one, other in ((whole.labels, parts.labels), (whole.verticals, parts.verticals), (whole.lost, parts.lost)):
        assert one == pytest.approx(other)
    assert (whole.seconds.counts == parts.seconds.counts).all()
    assert whole.seconds.median == parts.seconds.median
    assert whole.sources.kinds == parts.sources.kinds
    assert (whole.sources.decades == parts.sources.decades).all()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"partition": "training"}, "none of the partitions"),
        ({"partition": None}, "none of the partitions"),
        ({"labels": [5]}, "a label that is none of the 5"),
        ({"labels": [-1]}, "a label that is none of the 5"),
        ({"labels": [None]}, "a label that is none of the 5"),
        ({"frames": None}, "no number of frames"),
        ({"frames": -1}, "no number of frames"),
    ],
)
def test_rows_that_no_dataset_has_are_refused(change: dict[str, Any], why: str) -> None:
    values = [{**rows(1, seed=0)[0], "partition": "train", **change}]
    with pytest.raises(DataError, match=why):
        counted(values)


def test_a_median_is_the_bin_of_the_middle_value() -> None:
    for values in ([3.0], [1.0, 9.0], [1.0, 2.0, 9.0], [0.0, 0.0, 50.0]):
        spread = Spread.of(np.zeros(len(values), np.int64), np.array(values), 10)
        assert spread.median == int(min(sorted(values)[(len(values) - 1) // 2], 9))
    assert Spread.zero(3).median is Spread.zero(3).mean is None
    assert Spread.of(np.zeros(3, np.int64), np.array([1.0, 70.0, 5000.0]), 10).median is None


def test_a_built_dataset_is_measured_in_batches_of_any_size(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = str(built / "dataset")
    whole = measure_dataset(dataset)
    monkeypatch.setattr(statistics, "BATCH", 2)
    small = measure_dataset(dataset)
    assert (whole.videos.labels == small.videos.labels).all()
    assert (whole.videos.verticals == small.videos.verticals).all()
    table = pq.read_table(built / "dataset" / Layout.VIDEOS).to_pylist()
    train = Counter(label for row in table if row["partition"] == "train" for label in row["labels"])
    assert whole.videos.labels[0].tolist() == [train[index] for index in range(len(whole.entities))]
    assert whole.videos.labels[2].sum() == 0
    assert [row.name for row in whole.entities] == open_dataset(dataset).classes
    assert sum(whole.specificities().values()) == len(whole.entities)


def test_withheld_labels_are_counted_only_where_they_are_asked_for_and_there(copied: Path) -> None:
    dataset = copied / "dataset"
    withheld = pq.read_table(dataset / Layout.TEST_LABELS)["labels"].to_pylist()
    counts = Counter(label for labels in withheld for label in labels)
    found = measure_dataset(str(dataset), with_withheld=True)
    assert found.counted == frozenset(Partition)
    assert found.videos.labels[2].tolist() == [counts[index] for index in range(len(found.entities))]
    (dataset / Layout.TEST_LABELS).unlink()
    assert measure_dataset(str(dataset)).counted == PUBLISHED
    with pytest.raises(UsageError, match="no withheld labels to count"):
        measure_dataset(str(dataset), with_withheld=True)


def test_labels_of_test_that_should_be_withheld_are_not_counted(copied: Path) -> None:
    """A manifest says that they are withheld, and a damaged table has them."""
    path = copied / "dataset" / Layout.VIDEOS
    table = pq.read_table(path)
    labels = pa.array([labels or [0] for labels in table["labels"].to_pylist()], VIDEOS.field("labels").type)
    pq.write_table(table.set_column(table.schema.get_field_index("labels"), "labels", labels), path)
    reseal(copied / "dataset")
    assert measure_dataset(str(copied / "dataset")).videos.labels[2].sum() == 0


def test_codes_are_counted_as_they_stand_in_the_shards(built: Path) -> None:
    opened = open_dataset(str(built / "dataset"))
    codes = np.concatenate([example.codes.ravel() for example in opened.frames("validate")])
    found = count_codes(opened)
    assert (found.partition, found.frames) == (Partition.VALIDATE, len(codes) // opened.dimensions)
    assert found.counts.tolist() == np.bincount(codes, minlength=256).tolist()
    shares = np.bincount(codes)[np.unique(codes)] / len(codes)
    assert found.bits == pytest.approx(-(shares * np.log2(shares)).sum())


def test_balance_is_in_standard_deviations_of_the_binomial_distribution(built: Path) -> None:
    found = measure_dataset(str(built / "dataset"))
    scores, labels = balance_scores(found), found.videos.labels
    share = labels[0].sum() / labels.sum()
    for index in range(labels.shape[1]):
        number = labels[:, index].sum()
        expected = (labels[0, index] - number * share) / np.sqrt(number * share * (1 - share))
        assert scores[0, index] == pytest.approx(expected)
    assert (scores[2] == 0).all()


@pytest.mark.parametrize("name", [Layout.VIDEOS, Layout.VOCABULARY])
def test_a_damaged_table_is_told(copied: Path, name: str) -> None:
    path = copied / "dataset" / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="A file of the dataset is damaged"):
        measure_dataset(str(copied / "dataset"))
    if name == Layout.VIDEOS:
        reseal(copied / "dataset")
        with pytest.raises(DataError, match="A table of the dataset is damaged"):
            measure_dataset(str(copied / "dataset"))
