"""What a finished dataset says of the videos of partitions that stay as they are."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import rejects_of
from yt8m_pipeline.accounting.outcome import reject_video
from yt8m_pipeline.accounting.reasons import DropReason, Stage, VideoRejected
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.data_model import Partition, Video
from yt8m_pipeline.dataset.index import read_parquet, recorded_entry
from yt8m_pipeline.dataset.layout import Layout, RejectsPart
from yt8m_pipeline.dataset.rejects import write_part
from yt8m_pipeline.transforms.lookup import Recalled, RecallVideos

from .harness import run


class Found(NamedTuple):
    """The videos whose features the dataset lists, and those that have to be looked up."""

    listed: Any
    unlisted: Any


def recall(layout: Layout, video_id: str) -> Found:
    videos = [Video(video_id, "uri", Partition.TRAIN, ("/m/a",))]
    found = run(lambda videos: _found(videos | RecallVideos(layout, Decoding(), Partition.TEST)), videos=videos)
    assert isinstance(found, Found)
    return found


def _found(recalled: Recalled) -> Found:
    return Found(recalled.outputs.kept, recalled.unlisted)


def listed(layout: Layout, partition: Partition) -> dict[str, object]:
    rows = read_parquet(layout, Layout.VIDEOS).to_pylist()
    return next(row for row in rows if row["partition"] == partition.value)


def test_the_features_that_the_dataset_lists_are_recalled(built: Path) -> None:
    layout = Layout(str(built / "dataset"))
    row = listed(layout, Partition.TRAIN)
    (stored,), unlisted = recall(layout, str(row["video_id"]))
    assert (stored.entry, unlisted) == (recorded_entry(row), [])


def test_a_video_that_could_not_be_decoded_is_rejected_again(built: Path) -> None:
    failed = next(row["id"] for row in rejects_of(built / "dataset") if row["stage"] == "decode")
    assert recall(Layout(str(built / "dataset")), failed) == ([], [])


def test_one_that_its_film_moved_into_the_partition_that_is_written_is_looked_up(built: Path) -> None:
    layout = Layout(str(built / "dataset"))
    recorded, unlisted = recall(layout, str(listed(layout, Partition.TEST)["video_id"]))
    assert (recorded, len(unlisted)) == ([], 1)


@pytest.mark.parametrize(
    ("stage", "reason"),
    [(Stage.SAME_FEATURES, DropReason.DUPLICATE_FILM), (Stage.RECOUNT, DropReason.NO_LABEL_LEFT)],
)
def test_one_that_was_extracted_and_rejected_afterwards_is_looked_up(
    copied: Path, stage: Stage, reason: DropReason
) -> None:
    layout = Layout(str(copied / "dataset"))
    rejected = reject_video(stage, "later", "uri", VideoRejected(reason, "seen"))
    write_part(layout, RejectsPart(stage, 0, 1), [rejected])
    recorded, unlisted = recall(layout, "later")
    assert (recorded, [video.video_id for video in unlisted]) == ([], ["later"])
