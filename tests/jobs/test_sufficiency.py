"""What each check lets through, exactly where it stops, and what it then says."""

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from yt8m_pipeline.accounting.counts import StageCount
from yt8m_pipeline.accounting.reasons import Stage
from yt8m_pipeline.config import Config
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import PartitionSummary
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.jobs.sufficiency import (
    check_failures,
    check_partitions,
    check_rest_unchanged,
    check_train_frames,
    check_videos_left,
)

LAYOUT = Layout("/data/set")


def config(**changes: Any) -> Config:
    minimal = {
        "vocabulary": {"type_whitelist": ["sport"], "type_blacklist": []},
        "inception": {"model": {"random": 1}},
    }
    return Config.model_validate({**minimal, **changes})


class TestVideosLeft:
    def test_a_build_with_videos_passes(self) -> None:
        check_videos_left(
            [
                StageCount(Stage.READ, "videos", 1, (("wrong_type", 99),)),
                StageCount(Stage.LABELS, "annotations", 0, (("unknown_video", 4),)),
                StageCount(Stage.RATER_SCORES, "ratings", 0, (("unknown_entity", 4),)),
                StageCount(Stage.DECODE, "videos", 0),
            ],
            LAYOUT,
        )

    @pytest.mark.parametrize("table", ["entities", "videos"])
    def test_the_first_filter_that_let_nothing_through_is_named_with_what_it_took(self, table: str) -> None:
        counts = [
            StageCount(Stage.SAMPLING, "videos", 0, (("not_sampled", 1),)),
            StageCount(Stage.ELIGIBILITY, table, 0, (("too_few_views", 2), ("too_short", 3))),
            StageCount(Stage.READ, "videos", 5),
        ]
        with pytest.raises(DataError, match="No video is left") as caught:
            check_videos_left(counts, LAYOUT)
        assert caught.value.where == "/data/set/rejects"
        assert caught.value.why == f"stage eligibility kept 0 of 5 {table} (too_few_views 2, too_short 3)"
        assert "relax that filter in the config" in caught.value.fix

    def test_where_all_that_are_measured_are_too_short_the_filter_is_to_blame(self) -> None:
        with pytest.raises(DataError) as caught:
            check_videos_left([StageCount(Stage.DURATION, "videos", 0, (("too_short", 3),))], LAYOUT)
        assert "relax that filter in the config" in caught.value.fix

    @pytest.mark.parametrize("stage", [Stage.DURATION, Stage.DECODE, Stage.EXTRACT])
    def test_where_all_videos_fail_no_filter_is_to_blame(self, stage: Stage) -> None:
        with pytest.raises(DataError) as caught:
            check_videos_left([StageCount(stage, "videos", 0, (("io_error", 3),))], LAYOUT)
        assert "yt8m probe --table" in caught.value.fix
        assert "filter" not in caught.value.fix


class TestFailures:
    @pytest.mark.parametrize(
        ("fraction", "attempted", "allowed"),
        [(0.05, 20, 1), (0.05, 19, 0), (0.25, 8, 2), (0.0, 10, 0), (1.0, 3, 3), (0.29, 100, 29), (0.07, 100, 7)],
    )
    def test_the_fraction_itself_is_allowed_and_one_more_is_not(
        self, fraction: float, attempted: int, allowed: int
    ) -> None:
        check_failures(decoded(attempted, allowed), config(max_failure_fraction=fraction), LAYOUT)
        if allowed < attempted:
            with pytest.raises(DataError, match=f"^{allowed + 1} of {attempted} videos failed"):
                check_failures(decoded(attempted, allowed + 1), config(max_failure_fraction=fraction), LAYOUT)

    def test_what_cannot_be_measured_is_judged_apart_and_what_is_too_short_is_no_failure(self) -> None:
        measured = StageCount(Stage.DURATION, "videos", 940, (("missing_file", 20), ("too_short", 40)))
        check_failures([measured, *decoded(50, 1)], config(max_failure_fraction=0.02), LAYOUT)
        with pytest.raises(DataError, match=r"^20 of 1000 videos failed") as caught:
            check_failures([measured, *decoded(50, 0)], config(max_failure_fraction=0.019), LAYOUT)
        assert "reasons: missing_file 20" in caught.value.why

    def test_decoding_and_extraction_count_together_over_the_videos_attempted(self) -> None:
        counts = [
            StageCount(Stage.DECODE, "videos", 9, (("truncated", 1),)),
            StageCount(Stage.EXTRACT, "videos", 8, (("non_finite_features", 1),)),
            StageCount(Stage.ELIGIBILITY, "videos", 10, (("too_short", 90),)),
        ]
        check_failures(counts, config(max_failure_fraction=0.2), LAYOUT)
        with pytest.raises(DataError) as caught:
            check_failures(counts, config(max_failure_fraction=0.1), LAYOUT)
        assert caught.value.what == "2 of 10 videos failed"
        assert caught.value.why == ("max_failure_fraction 0.1 allows 1; reasons: truncated 1, non_finite_features 1")
        assert "raise max_failure_fraction" in caught.value.fix

    def test_no_video_attempted_is_no_failure(self) -> None:
        check_failures([], config(max_failure_fraction=0), LAYOUT)
        check_failures(decoded(0, 0), config(max_failure_fraction=0), LAYOUT)


def decoded(attempted: int, failed: int) -> list[StageCount]:
    rejected = (("truncated", failed),) if failed else ()
    return [StageCount(Stage.DECODE, "videos", attempted - failed, rejected)]


class TestTrainFrames:
    def test_one_frame_more_than_components_is_enough(self) -> None:
        check_train_frames({"train": PartitionSummary(3, 17)}, config(pca={"components": 16}), LAYOUT)

    def test_as_many_frames_as_components_are_too_few(self) -> None:
        with pytest.raises(DataError, match="The train partition is too small for the PCA") as caught:
            check_train_frames({"train": PartitionSummary(3, 16)}, config(pca={"components": 16}), LAYOUT)
        assert caught.value.why == "16 train frames of 3 videos cannot fit 16 components, at least 17 are needed"
        assert caught.value.fix == "give more videos, or set pca.components below 16"

    @pytest.mark.parametrize(
        ("frames", "fix"),
        [(0, "give more videos"), (1, "give more videos"), (2, "give more videos, or set pca.components below 2")],
    )
    def test_fewer_components_are_proposed_where_there_can_be_fewer(self, frames: int, fix: str) -> None:
        summaries = {"train": PartitionSummary(1, frames)}
        with pytest.raises(DataError) as caught:
            check_train_frames(summaries, config(pca={"components": 2}), LAYOUT)
        assert caught.value.fix == fix
        if "below" in fix:
            check_train_frames(summaries, config(pca={"components": frames - 1}), LAYOUT)

    def test_other_partitions_do_not_help(self) -> None:
        with pytest.raises(DataError, match="0 train frames of 0 videos"):
            check_train_frames({"validate": PartitionSummary(3, 99)}, config(pca={"components": 1}), LAYOUT)


class TestRestUnchanged:
    BEFORE: Mapping[str, PartitionSummary] = {
        "train": PartitionSummary(7, 70, 10, 1),
        "validate": PartitionSummary(2, 20, 3, 2),
        "test": PartitionSummary(),
    }

    def check(self, anew: Partition, **now: PartitionSummary) -> None:
        previous = {Partition(name): summary for name, summary in self.BEFORE.items()}
        summaries = {name: summary for name, summary in {**self.BEFORE, **now}.items() if summary.videos}
        check_rest_unchanged(summaries, previous, anew, LAYOUT)

    def test_the_partition_written_anew_may_change_and_an_empty_one_may_be_absent(self) -> None:
        self.check(Partition.VALIDATE, validate=PartitionSummary(3, 30, 4, 5))

    @pytest.mark.parametrize(
        "now", [PartitionSummary(8, 70, 10, 1), PartitionSummary(7, 71, 10, 1), PartitionSummary(7, 70, 10, 9)]
    )
    def test_train_would_change_the_compression(self, now: PartitionSummary) -> None:
        with pytest.raises(DataError, match=r"The train partition .* the compression would change") as caught:
            self.check(Partition.VALIDATE, train=now)
        assert caught.value.where == "/data/set/manifest.json"
        assert caught.value.why == f"7 videos with 10 labels before, {now.videos} with 10 now, or others"

    def test_another_split_would_be_out_of_date(self) -> None:
        with pytest.raises(DataError, match=r"The validate partition .* it would be out of date") as caught:
            self.check(Partition.TEST, validate=PartitionSummary())
        assert "run `yt8m build`" in caught.value.fix


class TestPartitions:
    SUMMARIES: ClassVar[Mapping[str, PartitionSummary]] = {
        "train": PartitionSummary(videos=7),
        "validate": PartitionSummary(videos=1),
    }

    def test_partitions_with_videos_pass_and_an_empty_one_is_named(self) -> None:
        check_partitions({**self.SUMMARIES, "test": PartitionSummary(videos=1)}, config(), LAYOUT)
        with pytest.raises(DataError, match="The test partition is empty") as caught:
            check_partitions(self.SUMMARIES, config(), LAYOUT)
        assert caught.value.why == "none of the videos fell into its share 0.1 (videos: train 7, validate 1)"
        assert caught.value.fix == "give more videos, or another partitioning.salt, or set partitioning.test to 0"

    @pytest.mark.parametrize("given", [{"by": "column"}, {"by": "lists", "lists": {"train": "train.txt"}}])
    def test_a_given_partition_may_be_empty(self, given: dict[str, Any]) -> None:
        check_partitions(self.SUMMARIES, config(partitioning=given), LAYOUT)

    def test_a_partition_without_a_share_may_be_empty(self) -> None:
        shares = {"train": 0.5, "validate": 0.5, "test": 0.0}
        check_partitions(self.SUMMARIES, config(partitioning=shares), LAYOUT)
        with pytest.raises(DataError, match="The validate partition is empty"):
            check_partitions({"train": PartitionSummary(videos=7)}, config(partitioning=shares), LAYOUT)
