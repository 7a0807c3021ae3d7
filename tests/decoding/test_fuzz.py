from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
import pytest

from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.decoding.facts import SampledFrame

from .clips import real_clip
from .damage import MUTATIONS, TRUNCATIONS, Variant, Video, variants
from .fuzzing import (
    SALVAGE,
    SIZE,
    STRICT,
    Attempt,
    Original,
    Outcome,
    encode_videos,
    originals_of,
    outcomes,
    violations,
)

SEED = 8
REAL = ("corrupted.mp4", "pancake.mkv", "rotated_90.mov", "unordered.mov", "vp8_vorbis.mkv")


@pytest.fixture(scope="module")
def videos() -> list[Video]:
    return encode_videos()


@pytest.fixture(scope="module")
def originals(videos: list[Video], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Original]:
    return originals_of(videos, tmp_path_factory.mktemp("videos"))


def broken(found: Sequence[Outcome]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(outcome.variant, outcome.policy, outcome.violations) for outcome in found if outcome.violations]


def test_damaged_videos_end_as_frames_or_as_a_reason(
    videos: list[Video], originals: dict[str, Original], tmp_path: Path
) -> None:
    some = {variant.mutation: variant for variant in islice(variants(videos, SEED), 200)}
    found = list(outcomes(some.values(), originals, tmp_path))
    assert len(found) == 2 * len(MUTATIONS)
    assert not broken(found)
    assert {outcome.reason for outcome in found} >= {None, DropReason.TRUNCATED, DropReason.NOT_A_VIDEO}
    assert sum(outcome.identical for outcome in found) > 20


def test_damaged_real_clips_end_as_frames_or_as_a_reason(tmp_path: Path) -> None:
    clips = [Video.of(name, real_clip(name).read_bytes()) for name in REAL]
    some = islice(variants(clips, SEED), 12)
    assert not broken(list(outcomes(some, originals_of(clips, tmp_path), tmp_path)))


def test_a_seed_always_gives_the_same_variants(videos: list[Video]) -> None:
    first, again, other = (list(islice(variants(videos, seed), 40)) for seed in (0, 0, 1))
    assert first == again
    assert {variant.name for variant in first}.isdisjoint(variant.name for variant in other)
    assert len({variant.name for variant in first}) == 40


def test_every_mutation_can_damage_every_video_that_it_is_made_for(videos: list[Video]) -> None:
    made = {(variant.mutation, variant.video.name) for variant in islice(variants(videos, SEED), 600)}
    missing = {(mutation, video.name) for mutation in MUTATIONS for video in videos} - made
    containers = {video.name: video.container for video in videos}
    assert {(mutation, containers[name]) for mutation, name in missing} == {
        *(("splice_boxes", other) for other in ("matroska", "flv", "avi", "mpegts")),
        *(("nest_deeply", other) for other in ("flv", "avi", "mpegts")),
    }


@pytest.mark.parametrize("mutation", TRUNCATIONS)
def test_a_truncation_is_a_beginning_of_the_video(videos: list[Video], mutation: str) -> None:
    for seed, video in enumerate(videos):
        cut = TRUNCATIONS[mutation](Random(seed), video, video)
        assert 0 < len(cut) <= len(video.data)
        assert video.data.startswith(cut)


FRAME = SampledFrame(0, 0.0, np.zeros((SIZE, SIZE, 3), np.uint8))
SOUND = Attempt([FRAME], 1.0, 1.0, 100.0)
REJECTED = VideoRejected(DropReason.DAMAGED, "")


def test_a_sound_decoding_and_a_rejected_one_break_no_law() -> None:
    assert not list(violations(SOUND, STRICT))
    assert not list(violations(replace(SOUND, end=REJECTED), STRICT))
    assert not list(violations(replace(SOUND, frames=[], end=REJECTED), STRICT))
    assert not list(violations(replace(SOUND, frames=[replace(FRAME, pts_seconds=0.1)], end=0.95), SALVAGE))


@pytest.mark.parametrize(
    ("attempt", "law"),
    [
        (replace(SOUND, frames=[replace(FRAME, index=k) for k in range(361)]), "more frames than the grid has times"),
        (replace(SOUND, frames=[replace(FRAME, index=1)]), "frames without an order"),
        (replace(SOUND, frames=[replace(FRAME, rgb=np.zeros((9, 9, 3), np.uint8))]), "a frame of another size"),
        (replace(SOUND, frames=[replace(FRAME, pts_seconds=0.1)]), "a frame before its time"),
        (replace(SOUND, frames=[replace(FRAME, pts_seconds=-0.1)]), "times that go back"),
        (
            replace(SOUND, frames=[replace(FRAME, index=k, pts_seconds=t) for k, t in enumerate((0.0, 0.5, 0.4))]),
            "times that go back",
        ),
        (replace(SOUND, frames=[]), "neither a frame nor a reason"),
        (replace(SOUND, end=VideoRejected(DropReason.DAMAGED, "", 1.5)), "a fraction that is none"),
        (replace(SOUND, end=0.99), "an accepted video of too few sound frames"),
        (replace(SOUND, seconds=91.0), "too long"),
        (replace(SOUND, peak_mib=4096.0), "too much memory"),
    ],
)
def test_each_law_can_be_broken(attempt: Attempt, law: str) -> None:
    assert list(violations(attempt, STRICT)) == [law]


def test_a_frame_that_the_whole_video_does_not_have_breaks_a_truncation(
    videos: list[Video], originals: dict[str, Original], tmp_path: Path
) -> None:
    video, other = videos[0], replace(videos[0], name="other.mp4")
    original = originals[video.name]
    strange = replace(original, digests=dict.fromkeys(original.digests, b""))
    whole = [Variant(name, "cut_anywhere", of, video.data) for name, of in (("1", video), ("2", other))]
    found = list(outcomes(whole, {video.name: original, other.name: strange}, tmp_path))
    law = "a frame that the whole video does not have"
    assert broken(found) == [("2", "strict", (law,)), ("2", "salvage", (law,))]
    counts = [(outcome.expected, outcome.frames, outcome.known, outcome.identical) for outcome in found]
    assert counts == [(4, 4, 4, 4)] * 2 + [(4, 4, 4, 0)] * 2
    assert not list(tmp_path.iterdir())
