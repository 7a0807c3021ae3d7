"""Each kind of fault in a dataset is found and named, and a sound dataset has none."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.selection.rows import STRINGS, table
from yt8m_pipeline.accounting.counts import StageCount
from yt8m_pipeline.accounting.outcome import reject_video
from yt8m_pipeline.accounting.reasons import DropReason, Stage, VideoRejected
from yt8m_pipeline.chance import salted_hash
from yt8m_pipeline.compression.histogram import Histogram
from yt8m_pipeline.compression.moments import Moments, grid_exponent
from yt8m_pipeline.compression.pca import Pca
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.data_model import Partition, StoredEntry, StoredVideo, Video
from yt8m_pipeline.dataset.index import (
    read_parquet,
    video_rows,
    vocabulary_csv,
    write_parquet,
    write_videos,
    write_vocabulary,
)
from yt8m_pipeline.dataset.layout import Layout, Shard
from yt8m_pipeline.dataset.manifest import PartitionSummary, fitted_row, shard_parts, write_manifest
from yt8m_pipeline.dataset.offsets import OFFSET_COLUMNS
from yt8m_pipeline.dataset.rejects import find_rejects, write_rejects
from yt8m_pipeline.dataset.shards import Member, write_shard
from yt8m_pipeline.dataset.steps import CodebookFacts, CodebookStep, PcaFacts, PcaStep, Step, file_entry
from yt8m_pipeline.dataset.verify import Fault, verify
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.jobs.build_folder import finish

INDICES = {"/m/a": 0, "/m/b": 1}
SHARDS = {
    Shard(Partition.TRAIN, 0, 2): ("t1", "t2"),
    Shard(Partition.TRAIN, 1, 2): ("t3",),
    Shard(Partition.VALIDATE, 0, 1): ("v1",),
    Shard(Partition.TEST, 0, 1): ("s1",),
}
REJECTS, SUMMARY = "rejects/decode-00000-of-00001.parquet", "rejects/summary.json"
TRAIN, TEST = (f"frame/{part}/{part}-00000-of-0000{of}.tfrecord" for part, of in (("train", 2), ("test", 1)))
ENTITY_COLUMNS = {
    **dict.fromkeys(("entity_id", "name", "description", "wiki_url", "specificity"), pa.string()),
    "verticals": STRINGS,
    "mean_score": pa.float64(),
}


def stored(video_id: str, partition: Partition) -> StoredVideo:
    entry = StoredEntry(9, 1.0, "sha256", decoded_fraction=0.9 if video_id == "v1" else 1.0, deviation_seconds=0.0)
    return StoredVideo(Video(video_id, "uri", partition, ("/m/a", "/m/b")), entry)


def rejected(stage: Stage, video_id: str, reason: DropReason) -> pa.Table:
    return reject_video(stage, video_id, "uri", VideoRejected(reason, ""))


class Dataset:
    """A small, sound dataset that a test may damage; `restate` makes the manifest agree with the files again."""

    def __init__(self, root: Path) -> None:
        self.root, self.layout = root, Layout(str(root))
        rng = np.random.default_rng(0)
        names = sorted(name for members in SHARDS.values() for name in members)
        self.features = {name: rng.normal(size=(9, 6)).astype(np.float32) for name in names}
        self.pca, self.quantizer = self.fit(30)
        self.shards = {shard: self.write(shard, members) for shard, members in SHARDS.items()}
        videos = [[stored(name, shard.partition) for name in members] for shard, members in SHARDS.items()]
        rows = [video_rows(*pair, INDICES) for pair in zip(SHARDS, videos, strict=True)]
        write_videos(self.layout, rows, 4, self.quantizer.feature_name)
        everything = [video for members in videos for video in members]
        self.summaries = {part: PartitionSummary() for part in Partition}
        for video in everything:
            self.summaries[video.video.partition] += PartitionSummary.of(video)
        write_rejects(self.layout, [rejected(Stage.DECODE, "x", DropReason.TRUNCATED)])
        self.accounting = [
            StageCount(Stage.READ, "videos", 6).to_json(),
            StageCount(Stage.DECODE, "videos", 5, (("truncated", 1),)).to_json(),
            StageCount(Stage.EXTRACT, "videos", 5).to_json(),
        ]
        write_vocabulary(self.layout, vocabulary(), frozen=False)
        self.restate()

    def fit(self, levels: int) -> tuple[Pca, Quantizer]:
        frames = np.concatenate(list(self.features.values()))
        moments = Moments.from_frames(frames, grid_exponent(float(np.abs(frames).max())))
        pca = Pca.fit(moments, components=4, epsilon=1e-4)
        pca.save(str(self.root / "pca"))
        quantizer = Quantizer.fit(Histogram.from_values(pca.transform(frames)), levels)
        quantizer.save(str(self.root / "quantizer.npz"))
        return pca, quantizer

    def write(self, shard: Shard, members: Sequence[str], labels: tuple[int, ...] = (0, 1)) -> Step:
        videos = [(Member(name, "sha256", labels), self.pca.transform(self.features[name])) for name in members]
        return write_shard(self.layout, shard, "key", videos, self.quantizer)

    def restate(self, **changes: Any) -> None:
        """Writes the manifest of the files that stand, and the mark."""
        pca = tuple(file_entry(self.layout, f"pca/{name}") for name in Pca.FILES)
        quantizer = file_entry(self.layout, "quantizer.npz")
        names = ("vocabulary.csv", "videos.parquet", SUMMARY, "withheld/test_labels.parquet")
        tables = [file_entry(self.layout, name) for name in (*names, *find_rejects(self.layout))]
        fingerprint = self.quantizer.fingerprint
        steps = [
            replace(step, files=tuple(file_entry(self.layout, file.path) for file in step.files))
            for step in self.shards.values()
        ]
        values: dict[str, Any] = {
            "build_key": "key",
            "config": {},
            "inputs": {},
            "versions": {},
            "feature_space": {"fingerprint": "space"},
            "pca": fitted_row(PcaStep("pca", "key", pca, PcaFacts("fitted", 4, 1e-4, self.pca.fingerprint))),
            "quantizer": fitted_row(
                CodebookStep("quantizer", "key", (quantizer,), CodebookFacts("optimal", "shared", fingerprint))
            ),
            "partitions": {part.value: summary.to_json() for part, summary in self.summaries.items()},
            "accounting": self.accounting,
            "warnings": [],
            "encoded": {"from": "features"},
            **shard_parts(steps),
            "files": [{"path": file.path, "bytes": file.bytes, "sha256": file.sha256} for file in tables],
        }
        write_manifest(self.layout, values | changes)
        finish(self.layout)

    def change_videos(self, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
        rows = read_parquet(self.layout, "videos.parquet")
        changed = [row for row in map(change, rows.to_pylist()) if row]
        write_parquet(self.layout, "videos.parquet", pa.Table.from_pylist(changed, schema=rows.schema))
        self.restate()

    def faults(self) -> list[tuple[str, str]]:
        return [(fault.where, fault.what) for fault in verify(str(self.root))]


def vocabulary(train_videos: int = 3) -> bytes:
    rows = [{"entity_id": name, "mean_score": 1.0, "verticals": [], "specificity": "fine"} for name in INDICES]
    return vocabulary_csv([table(rows, ENTITY_COLUMNS)], dict.fromkeys(INDICES, train_videos))


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset(tmp_path / "dataset")


def test_a_sound_dataset_has_no_fault(dataset: Dataset) -> None:
    assert dataset.faults() == []
    (dataset.root / ".lock").touch()
    assert dataset.faults() == []


def test_there_must_be_a_dataset(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"There is no dataset[^$]*manifest\.json"):
        verify(str(tmp_path))


class TestFiles:
    def test_a_missing_mark(self, dataset: Dataset) -> None:
        (dataset.root / "COMPLETE").unlink()
        assert dataset.faults() == [("COMPLETE", "missing: the build has not ended")]

    def test_a_manifest_changed_afterwards(self, dataset: Dataset) -> None:
        with (dataset.root / "manifest.json").open("a") as stream:
            stream.write("\n")
        assert dataset.faults() == [("manifest.json", "is not the manifest that the build completed with")]

    @pytest.mark.parametrize(
        "path", [TRAIN, "pca/mean.npy", "videos.parquet", "quantizer.npz", REJECTS, SUMMARY, "vocabulary.csv"]
    )
    def test_a_missing_file(self, dataset: Dataset, path: str) -> None:
        (dataset.root / path).unlink()
        assert dataset.faults() == [(path, "missing")]

    @pytest.mark.parametrize("path", ["frame/train/x.tfrecord", "x", ".unfinished", ".journal/pca.json"])
    def test_a_file_too_many(self, dataset: Dataset, path: str) -> None:
        (dataset.root / path).parent.mkdir(exist_ok=True)
        (dataset.root / path).touch()
        assert dataset.faults() == [(path, "not in the manifest")]

    @pytest.mark.parametrize("path", [TRAIN, "pca/mean.npy", "videos.parquet", "withheld/test_labels.parquet"])
    def test_one_bit(self, dataset: Dataset, path: str) -> None:
        data = bytearray((dataset.root / path).read_bytes())
        data[len(data) // 2] ^= 1
        (dataset.root / path).write_bytes(data)
        ((where, what),) = dataset.faults()
        assert where == path
        assert what.startswith(f"{len(data)} bytes, sha256 ")
        assert what.endswith("the manifest says otherwise")

    def test_all_faults_are_told_at_once_and_sorted(self, dataset: Dataset) -> None:
        (dataset.root / "COMPLETE").unlink()
        (dataset.root / "pca" / "mean.npy").unlink()
        (dataset.root / "a").touch()
        faults = verify(str(dataset.root))
        assert faults == sorted(faults)
        assert [fault.where for fault in faults] == ["COMPLETE", "a", "pca/mean.npy"]
        assert faults[1] == Fault("a", "not in the manifest")


class TestRecords:
    """Files with the right digest and the wrong content: someone made the manifest agree."""

    def test_a_truncated_shard(self, dataset: Dataset) -> None:
        data = (dataset.root / TRAIN).read_bytes()
        (dataset.root / TRAIN).write_bytes(data[:-1])
        dataset.restate()
        counted, damaged = dataset.faults()
        assert counted == (TRAIN, "1 records, the manifest says 2")
        assert damaged[0] == TRAIN
        assert "A TFRecord file is truncated or damaged: the file ends too early" in damaged[1]

    def test_a_record_that_is_no_example(self, dataset: Dataset) -> None:
        (dataset.root / TRAIN).write_bytes((dataset.root / TRAIN.replace("frame", "video")).read_bytes())
        dataset.restate()
        assert {where for where, _ in dataset.faults()} == {TRAIN}

    def test_a_record_too_few(self, dataset: Dataset) -> None:
        step = dataset.write(Shard(Partition.TRAIN, 0, 2), ("t1",))
        assert step.facts.records == 1
        dataset.restate()
        assert (TRAIN, "1 records, the manifest says 2") in dataset.faults()

    def test_a_shard_too_small_whose_manifest_agrees(self, dataset: Dataset) -> None:
        shard = Shard(Partition.TRAIN, 0, 2)
        dataset.shards[shard] = dataset.write(shard, ("t1",))
        dataset.restate()
        assert dataset.faults() == [
            ("videos.parquet", f"5 videos, but the {level}-level shards have another number")
            for level in ("frame", "video")
        ]

    def test_a_video_twice(self, dataset: Dataset) -> None:
        shard = Shard(Partition.TRAIN, 0, 2)
        dataset.shards[shard] = dataset.write(shard, ("t1", "t1"))
        dataset.restate()
        assert ("videos.parquet", "video t1 has 2 records") in dataset.faults()

    def test_a_video_that_the_index_lacks(self, dataset: Dataset) -> None:
        dataset.features["unknown"] = dataset.features["t1"]
        dataset.write(Shard(Partition.TRAIN, 0, 2), ("t1", "unknown"))
        dataset.restate()
        assert (TRAIN, "video unknown: not in videos.parquet") in dataset.faults()

    def test_a_video_in_another_shard(self, dataset: Dataset) -> None:
        dataset.write(Shard(Partition.TRAIN, 0, 2), ("t1", "t3"))
        dataset.restate()
        assert (TRAIN, "video t3: belongs in train-00001-of-00002") in dataset.faults()

    def test_a_train_video_in_the_test_split(self, dataset: Dataset) -> None:
        dataset.write(Shard(Partition.TEST, 0, 1), ("t1",))
        dataset.restate()
        assert (TEST, "video t1: belongs in train-00000-of-00002") in dataset.faults()

    def test_labels_that_are_not_those_of_the_index(self, dataset: Dataset) -> None:
        dataset.write(Shard(Partition.TRAIN, 0, 2), ("t1", "t2"), labels=(1,))
        dataset.restate()
        expected = [f"video {name}: its labels are not those of videos.parquet" for name in ("t1", "t2")]
        paths = (TRAIN, TRAIN.replace("frame", "video"))
        assert dataset.faults() == [(path, what) for path in paths for what in expected]

    def test_labels_in_a_test_record(self, dataset: Dataset) -> None:
        step = dataset.write(Shard(Partition.TRAIN, 0, 1), ("s1",))
        for file, level in zip(step.files, ("frame", "video"), strict=True):
            (dataset.root / file.path).rename(dataset.root / Shard(Partition.TEST, 0, 1).file(level))
        dataset.restate()
        assert (TEST, "video s1: its labels are not those of videos.parquet") in dataset.faults()

    def test_another_number_of_frames(self, dataset: Dataset) -> None:
        dataset.features["t1"] = dataset.features["t1"][:8]
        dataset.write(Shard(Partition.TRAIN, 0, 2), ("t1", "t2"))
        dataset.restate()
        assert dataset.faults() == [(TRAIN, "video t1: 8 frames of rgb_codes, not 9")]

    def test_codes_under_the_name_of_another_codebook(self, dataset: Dataset) -> None:
        usual, dataset.quantizer = dataset.quantizer, Quantizer.uniform()
        dataset.write(Shard(Partition.VALIDATE, 0, 1), ("v1",))
        dataset.quantizer = usual
        dataset.restate()
        path = "frame/validate/validate-00000-of-00001.tfrecord"
        assert dataset.faults() == [(path, "video v1: 9 frames of rgb, not 9")]

    def test_a_codebook_that_the_shards_were_not_encoded_with(self, dataset: Dataset) -> None:
        dataset.fit(20)
        dataset.restate()
        assert dataset.faults() == [("quantizer.npz", "is not the codebook that the shards were encoded with")]


class TestTables:
    def test_train_counts_that_are_not_those_of_the_videos(self, dataset: Dataset) -> None:
        write_vocabulary(dataset.layout, vocabulary(2), frozen=False)
        dataset.restate()
        assert dataset.faults() == [
            ("vocabulary.csv", f"row {index}: 2 train videos, found 3") for index in range(len(INDICES))
        ]

    def test_a_label_without_an_entity(self, dataset: Dataset) -> None:
        text = vocabulary().splitlines(keepends=True)
        write_vocabulary(dataset.layout, b"".join(text[:2]), frozen=False)
        dataset.restate()
        assert dataset.faults() == [("videos.parquet", "label 1 is not in vocabulary.csv")]

    def test_a_published_test_label(self, dataset: Dataset) -> None:
        dataset.change_videos(lambda row: row | {"labels": [0]} if row["partition"] == "test" else row)
        assert ("videos.parquet", "labels of the test partition are published") in dataset.faults()

    def test_partitions_that_do_not_add_up(self, dataset: Dataset) -> None:
        usual = dataset.summaries[Partition.VALIDATE]
        what = "validate: 1 videos, 9 frames, 1 videos salvaged; the manifest says otherwise"
        for change in ({"videos": 2}, {"frames": 8}, {"salvaged": 0}):
            dataset.summaries[Partition.VALIDATE] = replace(usual, **change)
            dataset.restate()
            assert dataset.faults() == [("videos.parquet", what)]

    @pytest.mark.parametrize("column", OFFSET_COLUMNS)
    def test_a_record_that_stands_elsewhere_than_the_index_says(self, dataset: Dataset, column: str) -> None:
        dataset.change_videos(lambda row: row | {column: row[column] + 1} if row["video_id"] == "t2" else row)
        ((where, what),) = dataset.faults()
        assert where == TRAIN.replace("frame", column.split("_", maxsplit=1)[0])
        assert re.fullmatch(r"video t2: its record has \d+ bytes from \d+ on, videos\.parquet says otherwise", what)

    def test_an_index_of_an_older_version_has_no_offsets(self, dataset: Dataset) -> None:
        rows = read_parquet(dataset.layout, "videos.parquet")
        write_parquet(dataset.layout, "videos.parquet", rows.drop_columns(list(OFFSET_COLUMNS)))
        dataset.restate()
        assert dataset.faults() == []

    def test_a_video_less_in_the_index(self, dataset: Dataset) -> None:
        dataset.change_videos(lambda row: None if row["video_id"] == "v1" else row)
        faults = dataset.faults()
        assert any(what.startswith("validate: 0 videos, 0 frames, 0 videos salvaged") for _, what in faults)
        assert ("videos.parquet", "4 rows, but 5 videos were kept") in faults
        assert ("videos.parquet", "4 videos, but the frame-level shards have another number") in faults

    def test_a_partition_of_the_index_may_be_empty(self, dataset: Dataset) -> None:
        dataset.summaries[Partition.VALIDATE] = PartitionSummary()
        shard = Shard(Partition.VALIDATE, 0, 1)
        dataset.shards[shard] = dataset.write(shard, ())
        dataset.accounting[2] = StageCount(Stage.EXTRACT, "videos", 4, (("non_finite_features", 1),)).to_json()
        write_rejects(
            dataset.layout,
            [
                rejected(Stage.DECODE, "x", DropReason.TRUNCATED),
                rejected(Stage.EXTRACT, "v1", DropReason.NON_FINITE_FEATURES),
            ],
        )
        dataset.change_videos(lambda row: None if row["video_id"] == "v1" else row)
        assert dataset.faults() == []


class TestAccounting:
    def test_rows_that_vanished_within_a_stage(self, dataset: Dataset) -> None:
        dataset.accounting[1]["kept"] = 4
        dataset.restate()
        assert dataset.faults() == [
            ("manifest.json", "decode: videos rows in are not rows kept + rejected"),
            ("manifest.json", "extract: got 5 videos, 4 were left"),
        ]

    def test_rows_that_vanished_between_stages(self, dataset: Dataset) -> None:
        dataset.accounting[0] = StageCount(Stage.READ, "videos", 7).to_json()
        dataset.restate()
        assert dataset.faults() == [("manifest.json", "decode: got 6 videos, 7 were left")]

    def test_rejects_that_the_manifest_does_not_count(self, dataset: Dataset) -> None:
        write_rejects(dataset.layout, [rejected(Stage.DECODE, "x", DropReason.NO_FRAMES)])
        dataset.restate()
        assert dataset.faults() == [
            ("rejects", "decode/videos/no_frames: 1 rows, the manifest says 0"),
            ("rejects", "decode/videos/truncated: 0 rows, the manifest says 1"),
        ]

    def test_a_summary_of_other_counts(self, dataset: Dataset) -> None:
        path = dataset.root / SUMMARY
        path.write_text(path.read_text().replace('"rows": 1', '"rows": 2'))
        dataset.restate()
        assert dataset.faults() == [(SUMMARY, "its counts are not those of the parts")]

    def test_a_reject_in_the_part_of_another_stage(self, dataset: Dataset) -> None:
        (dataset.root / REJECTS).rename(dataset.root / REJECTS.replace("decode", "read"))
        dataset.restate()
        assert dataset.faults() == [(REJECTS.replace("decode", "read"), "1 rows belong in other parts")]

    def test_a_reject_in_the_part_of_another_id(self, dataset: Dataset) -> None:
        names = [f"rejects/decode-0000{index}-of-00002.parquet" for index in range(2)]
        of_x = salted_hash("yt8m-rejects", "x") % 2
        (dataset.root / REJECTS).rename(dataset.root / names[1 - of_x])
        dataset.restate()
        assert dataset.faults() == [(names[1 - of_x], "1 rows belong in other parts")]

    def test_videos_kept_that_are_not_in_the_index(self, dataset: Dataset) -> None:
        dataset.accounting[0] = StageCount(Stage.READ, "videos", 7).to_json()
        dataset.accounting[1] = StageCount(Stage.DECODE, "videos", 6, (("truncated", 1),)).to_json()
        dataset.accounting[2] = StageCount(Stage.EXTRACT, "videos", 6).to_json()
        dataset.restate()
        assert dataset.faults() == [("videos.parquet", "5 rows, but 6 videos were kept")]


def test_the_dataset_of_these_tests_is_written_by_the_package(dataset: Dataset) -> None:
    """So that it cannot drift from what a build writes."""
    values = json.loads((dataset.root / "manifest.json").read_text())
    assert {row["level"] for row in values["shards"]} == {"frame", "video"}
    assert sum(row["records"] for row in values["shards"]) == 10
