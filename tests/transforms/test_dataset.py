"""The gates let nothing pass, and shards are grouped whole, on a real engine."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.transforms.harness import run
from yt8m_pipeline.accounting.counts import StageCount
from yt8m_pipeline.accounting.reasons import Stage
from yt8m_pipeline.config import Config, Shards
from yt8m_pipeline.data_model import Partition, StoredEntry, StoredVideo, Video
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import PartitionSummary
from yt8m_pipeline.dataset.shards import shard_of
from yt8m_pipeline.dataset.steps import FileEntry
from yt8m_pipeline.jobs.refusals import Refusals
from yt8m_pipeline.selection.duplicate_films import Cluster, Copy
from yt8m_pipeline.transforms.dataset import CheckBuild, CheckOtherSplits, CountTrainLabels, GroupByShard, OnlyIf
from yt8m_pipeline.transforms.steps import refusing_to

SHARDS = Shards(train=3, validate=2, test=1)
CONFIG = Config.model_validate(
    {
        "vocabulary": {"type_whitelist": ["any"], "type_blacklist": []},
        "inception": {"model": {"random": 0}},
        "pca": {"components": 4},
    }
)
REJECTS = FileEntry("rejects/summary.json", 1, "sha256")
FULL = {part.value: PartitionSummary(videos=2, frames=9, labels=2, digest=1) for part in Partition}
COUNTS = [StageCount(Stage.DECODE, "videos", 6)]


def stored(video_id: str, partition: Partition, *entity_ids: str) -> StoredVideo:
    entry = StoredEntry(3, 1.0, "sha256", 1.0, 0.0)
    return StoredVideo(Video(video_id, f"{video_id}.mp4", partition, entity_ids or ("/m/a",)), entry)


@pytest.mark.parametrize("verdicts", [[True], [False], []])
def test_a_gate_lets_elements_pass_on_a_good_verdict_alone(verdicts: list[bool]) -> None:
    found = run(lambda elements, passed: elements | OnlyIf(passed), elements=[1, 2, 3], passed=verdicts)
    assert sorted(found) == ([1, 2, 3] if verdicts == [True] else [])


@pytest.mark.parametrize("passed", [True, False])
def test_each_shard_has_its_videos_sorted_and_shards_without_videos_are_there(passed: bool) -> None:
    parts = (Partition.TRAIN, Partition.VALIDATE) if passed else ()
    videos = [stored(name, part) for part in parts for name in "gfedcba"]
    sizes = [{part.value: SHARDS.of(part) for part in Partition}] if passed else []
    found = dict(run(lambda videos, sizes: videos | GroupByShard(SHARDS.salt, sizes), videos=videos, sizes=sizes))
    members = [item for group in found.values() for item in group]
    assert sorted(item.video.video_id for item in members) == sorted(item.video.video_id for item in videos)
    assert len(found) == (6 if passed else 0)
    for shard, group in found.items():
        assert [item.video.video_id for item in group] == sorted(item.video.video_id for item in group)
        for item in group:
            assert shard == shard_of(item.video.video_id, item.video.partition, shard.of, SHARDS.salt)


def test_only_train_labels_are_counted_and_no_videos_count_as_none() -> None:
    videos = [
        stored("a", Partition.TRAIN, "x", "y"),
        stored("b", Partition.TEST, "x"),
        stored("c", Partition.TRAIN, "x"),
    ]
    (counts,) = run(lambda videos: videos | CountTrainLabels(), videos=videos)
    assert counts == {"x": 2, "y": 1}
    assert run(lambda videos: videos | CountTrainLabels(), videos=[]) == [{}]


def check(
    folder: Path,
    counts: list[StageCount],
    summaries: dict[str, PartitionSummary],
    *,
    unchanged: bool,
    clusters: Sequence[Cluster] = (),
) -> tuple[list[bool], str | None]:
    """The verdict, and what is refused."""
    layout = Layout(str(folder))
    refusals = Refusals(layout)
    with refusing_to(refusals):
        found = run(
            lambda counts, summaries, clusters, unchanged, rejects: (
                counts | CheckBuild(layout, CONFIG, summaries, clusters, unchanged, rejects)
            ),
            counts=[counts],
            summaries=summaries.items(),
            clusters=[list(clusters)],
            unchanged=[unchanged],
            rejects=[REJECTS],
        )
    refused = refusals.first()
    return found, refused.what if refused else None


def test_enough_is_a_good_verdict(tmp_path: Path) -> None:
    assert check(tmp_path, COUNTS, FULL, unchanged=True) == ([True], None)


def test_too_many_failures_are_a_bad_one_and_written_down(tmp_path: Path) -> None:
    counts = [StageCount(Stage.DECODE, "videos", 1, (("truncated", 9),))]
    assert check(tmp_path, counts, FULL, unchanged=True) == ([False], "9 of 10 videos failed")


def test_too_few_train_frames_are_a_bad_one(tmp_path: Path) -> None:
    few = {**FULL, "train": PartitionSummary(videos=1, frames=4, labels=1, digest=1)}
    assert check(tmp_path, COUNTS, few, unchanged=True) == ([False], "The train partition is too small for the PCA")


def test_a_film_in_two_given_partitions_is_a_bad_one(tmp_path: Path) -> None:
    apart = [Copy("a", "a", "train", is_given=True), Copy("b", "b", "test", is_given=True)]
    what = "The videos table gives one film several partitions"
    assert check(tmp_path, COUNTS, FULL, unchanged=True, clusters=[apart]) == ([False], what)


def test_nothing_is_checked_where_the_other_splits_have_changed(tmp_path: Path) -> None:
    assert check(tmp_path, COUNTS, {}, unchanged=False) == ([], None)


@pytest.mark.parametrize(("anew", "is_good"), [(None, True), (Partition.TRAIN, True), (Partition.TEST, False)])
def test_the_other_splits_must_be_those_of_the_dataset(tmp_path: Path, anew: Partition | None, is_good: bool) -> None:
    layout = Layout(str(tmp_path))
    before = {part: FULL[part.value] for part in Partition}
    now = {**FULL, "train": PartitionSummary(videos=3, frames=9, labels=3, digest=7)}
    refusals = Refusals(layout)
    with refusing_to(refusals):
        found = run(lambda summaries: summaries | CheckOtherSplits(layout, anew, before), summaries=now.items())
    assert found == [is_good]
    assert (refusals.first() is None) == is_good


def test_a_bad_verdict_is_written_down_elsewhere_where_the_output_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "full").touch()
    layout = Layout(f"{tmp_path}/full")
    refusals = Refusals(layout, str(tmp_path / "spare"))
    before = {part: FULL[part.value] for part in Partition}
    now = {**FULL, "train": PartitionSummary(videos=3, frames=9, labels=3, digest=7)}
    with refusing_to(refusals):
        found = run(lambda rows: rows | CheckOtherSplits(layout, Partition.TEST, before), rows=now.items())
    assert found == [False]
    refused = refusals.first()
    assert refused and refused.what.startswith("The train partition is no longer what the dataset holds")
