"""The manifest: counts and summaries that add, errors that say what is wrong, steps that come back whole."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yt8m_pipeline.accounting.counts import StageCount, total_counts
from yt8m_pipeline.accounting.reasons import Stage
from yt8m_pipeline.compression.distortion import Distortion
from yt8m_pipeline.data_model import Partition, StoredEntry, StoredVideo, Video
from yt8m_pipeline.dataset.layout import LEVELS, Layout, Shard
from yt8m_pipeline.dataset.manifest import (
    Manifest,
    PartitionRow,
    PartitionSummary,
    fitted_row,
    shard_parts,
    write_manifest,
)
from yt8m_pipeline.dataset.steps import CodebookFacts, CodebookStep, FileEntry, PcaFacts, PcaStep, ShardFacts, ShardStep
from yt8m_pipeline.dataset.typed_json import WrongJson, from_json
from yt8m_pipeline.errors import DataError, UsageError

numbers = st.integers(0, 1000)
reasons = st.dictionaries(st.sampled_from(["duplicate", "too_long", "too_short"]), st.integers(1, 1000))
counts = st.builds(
    lambda kept, some: StageCount(Stage.READ, "videos", kept, tuple(sorted(some.items()))), numbers, reasons
)
entity_ids = st.sets(st.text(min_size=1, max_size=3), min_size=1, max_size=3).map(lambda ids: tuple(sorted(ids)))
entries = st.builds(
    StoredEntry,
    frames=st.integers(1, 400),
    magnitude=st.just(1.0),
    sha256=st.just(""),
    decoded_fraction=st.just(1.0) | st.floats(0, 1),
    deviation_seconds=st.floats(0, 1e6),
)
stored_videos = st.builds(
    lambda video_id, ids, entry: StoredVideo(Video(video_id, "uri", Partition.TRAIN, ids), entry),
    st.text(min_size=1, max_size=3),
    entity_ids,
    entries,
)


class TestStageCount:
    @given(counts, counts, counts)
    def test_neither_order_nor_grouping_changes_a_total(self, a: StageCount, b: StageCount, c: StageCount) -> None:
        total = total_counts([a, b, c])
        assert total_counts([c, a, b]) == total
        assert total_counts([*total_counts([a, b]), c]) == total_counts([a, *total_counts([b, c])]) == total
        assert total_counts([a, StageCount(Stage.READ, "videos", 0)]) == total_counts([a])

    @given(counts, counts)
    def test_no_row_is_lost_by_adding(self, a: StageCount, b: StageCount) -> None:
        (total,) = total_counts([a, b])
        assert (total.rows_in, total.kept) == (a.rows_in + b.rows_in, a.kept + b.kept)
        for reason in ("duplicate", "too_long", "too_short"):
            assert dict(total.rejected).get(reason) == (
                sum(dict(count.rejected).get(reason, 0) for count in (a, b)) or None
            )

    @given(counts)
    def test_the_json_says_rows_in(self, count: StageCount) -> None:
        values = count.to_json()
        assert values["rows_in"] == values["kept"] + sum(values["rejected"].values()) == count.rows_in

    def test_totals_are_one_per_stage_and_table(self) -> None:
        read, unique = StageCount(Stage.READ, "videos", 1, (("duplicate", 2),)), StageCount(Stage.UNIQUE, "videos", 4)
        assert total_counts([unique, read, unique, read]) == [
            StageCount(Stage.READ, "videos", 2, (("duplicate", 4),)),
            StageCount(Stage.UNIQUE, "videos", 8),
        ]


class TestPartitionSummary:
    @given(st.lists(stored_videos, max_size=5), st.randoms())
    def test_no_order_changes_the_sum(self, videos: list[StoredVideo], random: Any) -> None:
        shuffled = random.sample(videos, len(videos))
        total = summarize(videos)
        assert summarize(shuffled) == total
        assert summarize(shuffled[:2]) + summarize(shuffled[2:]) == total
        assert (total.videos, total.frames) == (len(videos), sum(video.entry.frames for video in videos))
        assert total.labels == sum(len(video.video.entity_ids) for video in videos)
        assert total.salvaged == sum(video.entry.decoded_fraction < 1 for video in videos)

    @given(st.lists(stored_videos, min_size=1, max_size=5))
    def test_the_deviation_is_told_in_seconds_to_the_microsecond(self, videos: list[StoredVideo]) -> None:
        deviations = [video.entry.deviation_seconds for video in videos]
        found = summarize(videos).deviation_seconds()
        assert found["mean"] == pytest.approx(sum(deviations) / len(videos), abs=1e-6)
        assert found["max"] == pytest.approx(max(deviations), abs=1e-6)

    def test_no_videos_deviate_by_nothing(self) -> None:
        assert PartitionSummary().deviation_seconds() == {"mean": 0.0, "max": 0.0}

    @given(stored_videos, stored_videos)
    def test_the_digest_tells_the_videos_and_their_labels_apart(self, a: StoredVideo, b: StoredVideo) -> None:
        same = (a.video.video_id, a.video.entity_ids) == (b.video.video_id, b.video.entity_ids)
        assert (PartitionSummary.of(a).digest == PartitionSummary.of(b).digest) == same

    @given(st.builds(PartitionSummary, numbers, numbers, numbers, st.integers(0, 2**256 - 1), *[numbers] * 3))
    def test_it_survives_json(self, summary: PartitionSummary) -> None:
        assert from_json(PartitionRow, json.loads(json.dumps(summary.to_json()))).summary() == summary


def summarize(videos: Sequence[StoredVideo]) -> PartitionSummary:
    return reduce(add, map(PartitionSummary.of, videos), PartitionSummary())


def a_file(path: str) -> FileEntry:
    return FileEntry(path, len(path), path[::-1])


def shard_step(shard: Shard) -> ShardStep:
    facts = ShardFacts(shard.partition, shard.index, 7 * shard.index, Distortion())
    return ShardStep(shard.name, f"key of {shard.name}", tuple(a_file(shard.file(level)) for level in LEVELS), facts)


PCA = PcaStep(
    "pca",
    "pca key",
    (a_file("pca/eigenvals.npy"), a_file("pca/mean.npy")),
    PcaFacts("fitted", 8, 1e-4, "fingerprint", {"frames": 12}),
)
CODEBOOK = CodebookFacts("optimal", "shared", "fingerprint")
QUANTIZER = CodebookStep("quantizer", "quantizer key", (a_file("quantizer.npz"),), CODEBOOK)
SHARDS = [shard_step(Shard(partition, index, 3)) for partition in Partition for index in range(3)]


def manifest_values() -> dict[str, Any]:
    return {
        "build_key": "the key",
        "config": {"decoding": {"frames_per_second": 2}},
        "inputs": {},
        "versions": {},
        "feature_space": {"fingerprint": "space", "model": "é"},
        "sampling": {"policy": "exact"},
        "pca": fitted_row(PCA),
        "quantizer": fitted_row(QUANTIZER),
        "partitions": {part.value: PartitionSummary(index).to_json() for index, part in enumerate(Partition)},
        "accounting": [],
        "warnings": [],
        "encoded": {"from": "features"},
        **shard_parts(SHARDS),
        "files": [{"path": "vocabulary.csv", "bytes": 1, "sha256": "é"}],
    }


@given(st.lists(st.tuples(st.sampled_from(Partition), st.integers(0, 5), st.integers(0, 9)), max_size=6), st.randoms())
def test_the_cost_of_quantization_is_told_for_each_partition(
    numbers: list[tuple[Partition, int, int]], random: Any
) -> None:
    steps = []
    for index, (partition, clipped, error) in enumerate(numbers):
        step = shard_step(Shard(partition, index, 6))
        cost = Distortion(coefficients=5, clipped=clipped, squares=10.0, squared_error=error)
        steps.append(replace(step, facts=replace(step.facts, distortion=cost)))
    parts = shard_parts(random.sample(steps, len(steps)))
    assert parts == shard_parts(steps)
    assert [row["path"] for row in parts["shards"]] == sorted(file.path for step in steps for file in step.files)
    for partition in Partition:
        own = [(clipped, error) for part, clipped, error in numbers if part == partition]
        found = parts["distortion"][partition]
        assert (found["coefficients"], found["clipped"]) == (5 * len(own), sum(clipped for clipped, _ in own))
        assert found["clipped_fraction"] == found["clipped"] / (5 * len(own) or 1)
        assert found["mean_squared_error"] == sum(error for _, error in own) / (5 * len(own) or 1)
        assert found["relative_error"] == (found["mean_squared_error"] / 2 if own else None)


class TestManifest:
    @pytest.fixture
    def layout(self, tmp_path: Path) -> Layout:
        return Layout(str(tmp_path))

    @pytest.fixture
    def manifest(self, layout: Layout) -> Manifest:
        write_manifest(layout, manifest_values())
        return Manifest.of(layout)

    def test_every_step_comes_back_as_it_was(self, manifest: Manifest) -> None:
        assert manifest.steps() == [PCA, QUANTIZER, *sorted(SHARDS, key=lambda step: step.name)]

    def test_it_lists_every_file_once_sorted(self, manifest: Manifest) -> None:
        entries = [file for step in (PCA, QUANTIZER, *SHARDS) for file in step.files]
        assert manifest.files == sorted([*entries, FileEntry("vocabulary.csv", 1, "é")])

    def test_it_says_its_key_and_its_partitions(self, manifest: Manifest) -> None:
        assert manifest.build_key == "the key"
        assert [manifest.partition(part).videos for part in Partition] == [0, 1, 2]

    def test_the_same_values_make_the_same_bytes_in_any_order(self, layout: Layout, tmp_path: Path) -> None:
        values = manifest_values()
        write_manifest(layout, values)
        first = (tmp_path / "manifest.json").read_bytes()
        write_manifest(layout, dict(reversed(values.items())))
        assert (tmp_path / "manifest.json").read_bytes() == first
        assert first.endswith(b"}\n")
        assert "é".encode() in first

    def test_no_manifest_is_none(self, layout: Layout) -> None:
        assert Manifest.find(layout) is None

    def test_where_one_is_needed_its_absence_is_told(self, layout: Layout) -> None:
        with pytest.raises(UsageError, match=r"There is no dataset\n.*\n.*the folder has no manifest.json\n.*fix: "):
            Manifest.of(layout)

    def test_what_it_does_not_know_is_kept(self, manifest: Manifest, layout: Layout, tmp_path: Path) -> None:
        assert manifest.more == {"sampling": {"policy": "exact"}}
        assert manifest.feature_space.more == {"model": "é"}
        first = (tmp_path / "manifest.json").read_bytes()
        write_manifest(layout, manifest.to_json())
        assert (tmp_path / "manifest.json").read_bytes() == first

    def test_it_says_the_rate_of_the_frames(self, manifest: Manifest) -> None:
        assert manifest.frames_per_second == 2
        assert replace(manifest, config={}).frames_per_second == 1

    def test_none_is_written_that_could_not_be_read(self, layout: Layout, tmp_path: Path) -> None:
        with pytest.raises(WrongJson, match=r"pca.facts.components: '8.0' is not a whole number"):
            write_manifest(layout, manifest_values() | {"pca": fitted_row(PCA) | {"components": 8.0}})
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("text", ['{"format": 3', "[]", "{}", "7", '"text"', '{"format": 3}'])
    def test_what_is_no_manifest_cannot_be_read(self, layout: Layout, tmp_path: Path, text: str) -> None:
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(DataError, match="The manifest cannot be read") as caught:
            Manifest.find(layout)
        assert caught.value.where == f"{tmp_path}/manifest.json"

    def test_bytes_that_are_no_text_cannot_be_read(self, layout: Layout, tmp_path: Path) -> None:
        (tmp_path / "manifest.json").write_bytes(b"\xff\xfe\xfd")
        with pytest.raises(DataError, match="The manifest cannot be read"):
            Manifest.find(layout)

    def test_another_format_is_named(self, layout: Layout, tmp_path: Path) -> None:
        (tmp_path / "manifest.json").write_text('{"format": 1}')
        with pytest.raises(DataError, match=r"another format[^$]*format 1, this version reads 3 to 4"):
            Manifest.find(layout)

    def test_a_newer_format_asks_for_an_upgrade(self, layout: Layout, tmp_path: Path) -> None:
        (tmp_path / "manifest.json").write_text('{"format": 5, "shards": "in a form that nobody knows yet"}')
        with pytest.raises(
            DataError, match=r"another format[^$]*format 5, this version reads 3 to 4[^$]*fix:   upgrade"
        ):
            Manifest.find(layout)


def test_one_video_is_summed_up_in_whole_numbers() -> None:
    video = Video("dog", "dog.mp4", Partition.TRAIN, ("/m/a", "/m/b"))
    summary = PartitionSummary.of(StoredVideo(video, StoredEntry(7, 1.0, "sha256", 0.75, 0.25)))
    found = (summary.videos, summary.frames, summary.labels, summary.salvaged, summary.deviation_microseconds)
    assert found == (1, 7, 2, 1, 250_000)
    assert {type(number) for number in found} == {int}
