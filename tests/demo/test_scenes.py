"""The pictures show what they are of: sprites blend exactly, videos are deterministic and learnable."""

from itertools import pairwise

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from yt8m_pipeline.data_model import Float64Array, UInt8Array
from yt8m_pipeline.demo.entities import DEPICTED, SCARCE
from yt8m_pipeline.demo.scenes import HEIGHT, SCENE_SECONDS, WIDTH, Actor, frames
from yt8m_pipeline.demo.signatures import BRIGHTEST, DARKEST, SIGNATURES, Sprite, draw_sprite

NAMES = [entity.name for entity in DEPICTED]


def colours(pictures: list[UInt8Array]) -> Float64Array:
    """A colour histogram with 4 bins per channel: (64,), it sums to 1."""
    bins = np.stack(pictures).reshape(-1, 3)[::5] // 64 @ np.array([16, 4, 1], np.uint8)
    return np.sqrt(np.bincount(bins, minlength=64) / len(bins))


def test_every_entity_that_stays_has_a_signature() -> None:
    assert set(SIGNATURES) == {*NAMES, SCARCE.name}


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_sprite_covers_a_part_of_its_square_within_the_range_of_values(name: str) -> None:
    sprite = draw_sprite(SIGNATURES[name], 80, tint=1.12)
    opaque = (sprite.transparency == 0).all(axis=2)
    assert 0.2 < opaque.mean() < 0.95
    assert sprite.rgb[opaque].min() >= DARKEST
    assert sprite.rgb[opaque].max() <= BRIGHTEST
    assert not sprite.rgb[(sprite.transparency == 256).all(axis=2)].any()


def test_mirroring_a_sprite_flips_it() -> None:
    plain, mirrored = (draw_sprite(SIGNATURES["Bird"], 60, mirrored=mirrored) for mirrored in (False, True))
    flipped, same = (np.abs(rgb.astype(int) - mirrored.rgb).mean() for rgb in (plain.rgb[:, ::-1], plain.rgb))
    assert flipped < 1
    assert same > 10


@pytest.mark.parametrize("middle", [(0.0, 0.0), (9.0, 3.0), (20.0, 10.0), (38.0, 19.0)])
def test_blending_equals_the_formula_pixel_by_pixel_and_is_cut_at_the_edges(middle: tuple[float, float]) -> None:
    random = np.random.default_rng(0)
    transparency = random.integers(0, 257, (8, 8, 1)).astype(np.uint16).repeat(3, axis=2)
    sprite = Sprite(random.integers(0, 100, (8, 8, 3), np.uint8), transparency)
    frame = random.integers(0, 100, (20, 40, 3), np.uint8)
    expected = frame.copy()
    for row, column in np.ndindex(8, 8):
        y, x = round(middle[1] - 4) + row, round(middle[0] - 4) + column
        if 0 <= y < 20 and 0 <= x < 40:
            for channel in range(3):
                through = int(frame[y, x, channel]) * int(transparency[row, column, channel]) // 256
                expected[y, x, channel] = int(sprite.rgb[row, column, channel]) + through
    Actor(sprite, lambda _: (0.0, 0.0), 1.0, 0.0, middle, (0.0, 0.0)).draw(frame, 0.0)
    assert np.array_equal(frame, expected)


def test_videos_follow_from_their_seed() -> None:
    one, same, other = (list(frames(["Car", "Dog"], [0.0, 1.0, 2.0], [0, seed])) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert one[0].shape == (HEIGHT, WIDTH, 3)


def test_noise_never_wraps_around() -> None:
    video = np.stack(list(frames(["Basketball"], np.arange(0, 2, 0.04).tolist(), [0])), dtype=np.int16)
    steps = np.abs(np.diff(video[:, :, :, 0], axis=2))
    assert steps.max() <= BRIGHTEST - DARKEST + 2 * DARKEST
    assert np.mean(steps > 200) < 1e-3


def test_pictures_move_and_cut() -> None:
    video = list(frames(["Car"], [0.0, 0.5, SCENE_SECONDS - 0.01, SCENE_SECONDS], [0]))
    motion = [np.abs(earlier.astype(int) - later).mean() for earlier, later in pairwise(video)]
    assert min(motion) > 5
    assert motion[-1] == max(motion)


@pytest.mark.parametrize("seed", range(6))
def test_every_entity_of_a_video_shows_on_the_one_second_grid(seed: int) -> None:
    names = ["Bird", "Car", "Basketball"]
    video = np.stack(list(frames(names, np.arange(9.0).tolist(), [seed]))).astype(int)
    red, green, blue = video[..., 0], video[..., 1], video[..., 2]
    shown = {
        "Bird": (blue > red + 90) & (blue > green + 60),
        "Car": (red > green + 110) & (red > blue + 100),
        "Basketball": (red > blue + 110) & (green > blue + 35),
    }
    assert all(mask.mean(axis=(1, 2)).max() > 0.005 for mask in shown.values())


def test_a_linear_classifier_tells_the_entities_apart() -> None:
    times = [0.0, 2.0, 3.0]
    planned = [[NAMES[index % 8], NAMES[(index + 1 + index // 8) % 8]] for index in range(40)]
    features = np.stack([colours(list(frames(names, times, [7, index]))) for index, names in enumerate(planned)])
    labels = np.array([[name in names for name in NAMES] for names in planned])
    model = [LogisticRegression(C=30).fit(features[:24], labels[:24, column]) for column in range(8)]
    scores = np.stack([one.decision_function(features[24:]) for one in model], axis=1)
    first = scores.argmax(axis=1)
    assert np.mean(labels[24:][np.arange(16), first]) >= 0.8
