"""The plan of the corpus keeps its promises whatever the seed and the number of videos."""

from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from yt8m_pipeline.chance import salted_hash
from yt8m_pipeline.config import Partitioning, VideoSampling, load
from yt8m_pipeline.demo.entities import DEPICTED, RARE, SCARCE
from yt8m_pipeline.demo.videos import BROKEN, ENCODED_BEFORE_DECODING, Defect, DemoVideo, plan_videos

SMOKE = load(Path(__file__).parents[2] / "configs" / "smoke.yaml")
plans = st.builds(plan_videos, st.integers(24, 90), st.floats(2, 30), st.integers(0, 2**32))


def partition(video: DemoVideo) -> str:
    share = salted_hash(Partitioning().salt, video.group_id or video.video_id) / 2**64
    return "train" if share < 0.7 else "validate" if share < 0.9 else "test"


def drawn(planned: list[DemoVideo], size: int) -> list[DemoVideo]:
    """The sample of an oracle: the first candidates by salted hash."""
    candidates = [video for video in planned if video.defect not in ENCODED_BEFORE_DECODING]
    return sorted(candidates, key=lambda video: salted_hash(VideoSampling().salt, video.video_id))[:size]


@given(plans)
def test_the_sample_leaves_out_just_the_surplus(planned: list[DemoVideo]) -> None:
    surplus = {video.video_id for video in planned if video.defect == Defect.SURPLUS}
    size = len(planned) - len(ENCODED_BEFORE_DECODING) - len(surplus)
    kept = {video.video_id for video in drawn(planned, size)}
    assert surplus
    assert kept.isdisjoint(surplus)
    assert len(kept) == size


@given(plans)
def test_every_partition_has_whole_videos_and_every_entity_trains(planned: list[DemoVideo]) -> None:
    whole = [video for video in planned if video.defect is None]
    assert {partition(video) for video in whole} == {"train", "validate", "test"}
    trained = {label for video in whole if partition(video) == "train" for label in video.labels}
    assert trained >= {entity.entity_id for entity in DEPICTED}


@given(plans)
def test_labels_meet_the_thresholds_that_their_entities_are_there_to_meet_or_miss(planned: list[DemoVideo]) -> None:
    popular = Counter(label for video in planned if video.defect != Defect.UNPOPULAR for label in video.labels)
    kept = Counter(
        label for video in planned if video.defect in (None, Defect.SCARCE, *BROKEN) for label in video.labels
    )
    above, at_least = SMOKE.video_sampling.popular_videos_above, SMOKE.video_sampling.min_videos_per_entity
    assert above is not None
    assert all(popular[entity.entity_id] > above and kept[entity.entity_id] >= at_least for entity in DEPICTED)
    assert 0 < popular[RARE.entity_id] <= above
    assert popular[SCARCE.entity_id] > above
    assert kept[SCARCE.entity_id] < at_least


@given(plans)
def test_ids_look_like_youtubes_and_are_unique(planned: list[DemoVideo]) -> None:
    ids = [video.video_id for video in planned]
    assert len(set(ids)) == len(ids)
    assert all(len(name) == 11 and name.replace("-", "").replace("_", "").isalnum() for name in ids)


@given(plans)
def test_channels_are_shared_and_lie_in_one_partition(planned: list[DemoVideo]) -> None:
    channels = Counter(video.group_id for video in planned if video.group_id)
    assert max(channels.values()) > 1
    for channel in channels:
        assert len({partition(video) for video in planned if video.group_id == channel}) == 1


@given(plans)
def test_only_the_defective_videos_break_the_eligibility_of_the_smoke_config(planned: list[DemoVideo]) -> None:
    rules = SMOKE.video_sampling
    for video in planned:
        reasons = {
            Defect.UNPOPULAR: video.view_count < rules.min_views,
            Defect.SHORT: video.duration_seconds < rules.min_duration_seconds,
            Defect.LONG: video.duration_seconds > rules.max_duration_seconds,
        }
        assert {defect for defect, applies in reasons.items() if applies} == {video.defect} & set(reasons)


def test_the_default_corpus_has_the_sample_of_the_smoke_config_and_every_defect() -> None:
    planned = plan_videos(40, 10.0, 0)
    dropped = {Defect.SURPLUS, *ENCODED_BEFORE_DECODING}
    assert sum(video.defect not in dropped for video in planned) == SMOKE.video_sampling.sample_size
    assert {video.defect for video in planned} == {None, *Defect}
    assert sum(video.rate is None for video in planned) == 1
    assert min(video.seconds for video in planned if video.defect is None) == 5.0
    assert max(video.seconds for video in planned) == 15.0


def test_another_seed_gives_other_ids() -> None:
    ids = [{video.video_id for video in plan_videos(24, 3.0, seed)} for seed in (0, 1)]
    assert ids[0].isdisjoint(ids[1])
