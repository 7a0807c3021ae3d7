"""The plan of the corpus keeps its promises whatever the seed and the number of films."""

from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from yt8m_pipeline.chance import salted_hash
from yt8m_pipeline.config import Partitioning, VideoSampling, load
from yt8m_pipeline.demo.entities import DEPICTED, RARE, SCARCE
from yt8m_pipeline.demo.videos import BROKEN, ENCODED_BEFORE_DECODING, Defect, Film, plan_films

SMOKE = load(Path(__file__).parents[2] / "configs" / "smoke.yaml")
plans = st.builds(plan_films, st.integers(24, 90), st.floats(2, 30), st.integers(0, 2**32))


def partition(film: Film) -> str:
    share = salted_hash(Partitioning().salt, film.group_id or film.video_id) / 2**64
    return "train" if share < 0.7 else "validate" if share < 0.9 else "test"


def drawn(films: list[Film], size: int) -> list[Film]:
    """The sample of an oracle: the first candidates by salted hash."""
    candidates = [film for film in films if film.defect not in ENCODED_BEFORE_DECODING]
    return sorted(candidates, key=lambda film: salted_hash(VideoSampling().salt, film.video_id))[:size]


@given(plans)
def test_the_sample_leaves_out_just_the_surplus(films: list[Film]) -> None:
    surplus = {film.video_id for film in films if film.defect == Defect.SURPLUS}
    size = len(films) - len(ENCODED_BEFORE_DECODING) - len(surplus)
    kept = {film.video_id for film in drawn(films, size)}
    assert surplus
    assert kept.isdisjoint(surplus)
    assert len(kept) == size


@given(plans)
def test_every_partition_has_whole_films_and_every_entity_trains(films: list[Film]) -> None:
    whole = [film for film in films if film.defect is None]
    assert {partition(film) for film in whole} == {"train", "validate", "test"}
    trained = {label for film in whole if partition(film) == "train" for label in film.labels}
    assert trained >= {entity.entity_id for entity in DEPICTED}


@given(plans)
def test_labels_meet_the_thresholds_that_their_entities_are_there_to_meet_or_miss(films: list[Film]) -> None:
    popular = Counter(label for film in films if film.defect != Defect.UNPOPULAR for label in film.labels)
    kept = Counter(label for film in films if film.defect in (None, Defect.SCARCE, *BROKEN) for label in film.labels)
    above, at_least = SMOKE.video_sampling.popular_videos_above, SMOKE.video_sampling.min_videos_per_entity
    assert above is not None
    assert all(popular[entity.entity_id] > above and kept[entity.entity_id] >= at_least for entity in DEPICTED)
    assert 0 < popular[RARE.entity_id] <= above
    assert popular[SCARCE.entity_id] > above
    assert kept[SCARCE.entity_id] < at_least


@given(plans)
def test_ids_look_like_youtubes_and_are_unique(films: list[Film]) -> None:
    ids = [film.video_id for film in films]
    assert len(set(ids)) == len(ids)
    assert all(len(name) == 11 and name.replace("-", "").replace("_", "").isalnum() for name in ids)


@given(plans)
def test_channels_are_shared_and_lie_in_one_partition(films: list[Film]) -> None:
    channels = Counter(film.group_id for film in films if film.group_id)
    assert max(channels.values()) > 1
    for channel in channels:
        assert len({partition(film) for film in films if film.group_id == channel}) == 1


@given(plans)
def test_only_the_defective_films_break_the_eligibility_of_the_smoke_config(films: list[Film]) -> None:
    rules = SMOKE.video_sampling
    for film in films:
        reasons = {
            Defect.UNPOPULAR: film.view_count < rules.min_views,
            Defect.SHORT: film.duration_seconds < rules.min_duration_seconds,
            Defect.LONG: film.duration_seconds > rules.max_duration_seconds,
        }
        assert {defect for defect, applies in reasons.items() if applies} == {film.defect} & set(reasons)


def test_the_default_corpus_has_the_sample_of_the_smoke_config_and_every_defect() -> None:
    films = plan_films(40, 10.0, 0)
    dropped = {Defect.SURPLUS, *ENCODED_BEFORE_DECODING}
    assert sum(film.defect not in dropped for film in films) == SMOKE.video_sampling.sample_size
    assert {film.defect for film in films} == {None, *Defect}
    assert sum(film.rate is None for film in films) == 1
    assert min(film.seconds for film in films if film.defect is None) == 5.0
    assert max(film.seconds for film in films) == 15.0


def test_another_seed_gives_other_ids() -> None:
    ids = [{film.video_id for film in plan_films(24, 3.0, seed)} for seed in (0, 1)]
    assert ids[0].isdisjoint(ids[1])
