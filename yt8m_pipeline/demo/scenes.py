"""The pictures of the demo's videos: moving signatures before random, drifting backgrounds, under noise."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from yt8m_pipeline.data_model import Float32Array, UInt8Array
from yt8m_pipeline.demo.signatures import BRIGHTEST, DARKEST, SIGNATURES, Motion, Sprite, draw_sprite

WIDTH, HEIGHT = 320, 180
MARGIN = 32
"""How far a background drifts, pixels."""
SCENE_SECONDS = 2.5
NOISE_DEVIATION = 9.0


@dataclass(frozen=True, slots=True)
class Actor:
    """A sprite that moves about the middle of its column, at most (reach_x, reach_y) pixels away."""

    sprite: Sprite
    motion: Motion
    period_seconds: float
    phase: float
    middle: tuple[float, float]
    reach: tuple[float, float]

    def draw(self, frame: UInt8Array, scene_seconds: float) -> None:
        """Blends the sprite into a frame; what lies outside of it is cut."""
        offset = self.motion(self.phase + scene_seconds / self.period_seconds)
        size = len(self.sprite.rgb)
        left, top = (round(m + o * r - size / 2) for m, o, r in zip(self.middle, offset, self.reach, strict=True))
        rows, columns = slice(max(0, top), top + size), slice(max(0, left), left + size)
        below = frame[rows, columns]
        visible = (slice(rows.start - top, None), slice(columns.start - left, None))
        above = self.sprite.rgb[visible][: below.shape[0], : below.shape[1]]
        transparency = self.sprite.transparency[visible][: below.shape[0], : below.shape[1]]
        below[:] = above + (below * transparency >> 8).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Scene:
    """A background, larger than the frame by MARGIN, that drifts past, and the actors before it."""

    background: UInt8Array
    drift: tuple[float, float]
    actors: tuple[Actor, ...]

    def draw(self, scene_seconds: float) -> UInt8Array:
        left, top = (round(MARGIN / 2 * (1 + math.sin(speed * scene_seconds))) for speed in self.drift)
        frame = self.background[top : top + HEIGHT, left : left + WIDTH].copy()
        for actor in self.actors:
            actor.draw(frame, scene_seconds)
        return frame


def frames(names: Sequence[str], times_seconds: Sequence[float], seed: Sequence[int]) -> Iterator[UInt8Array]:
    """Draws a video of the named entities: side by side, or in turn where the video is long enough.

    Args:
        names: Keys of SIGNATURES; none gives a video of backgrounds.
        times_seconds: The time of each frame, not decreasing.
        seed: Decides everything that is random.

    Yields:
        uint8, (HEIGHT, WIDTH, 3), RGB.
    """
    random = np.random.default_rng(seed)
    in_turn = times_seconds[-1] > len(names) * SCENE_SECONDS and bool(random.integers(2))
    noise = _noise(random)
    current, scene = -1, None
    for time in times_seconds:
        if scene is None or int(time // SCENE_SECONDS) != current:
            current = int(time // SCENE_SECONDS)
            cast = names[current % len(names)] if in_turn and names else None
            scene = _scene([cast] if cast else random.permutation(names).tolist(), random)
        yield _with_noise(scene.draw(time - current * SCENE_SECONDS), noise, random)


def _scene(names: Sequence[str], random: np.random.Generator) -> Scene:
    columns = len(names)
    actors = tuple(_actor(name, index, columns, random) for index, name in enumerate(names))
    return Scene(_background(random), (random.uniform(0.2, 0.9), random.uniform(0.2, 0.9)), actors)


def _actor(name: str, column: int, columns: int, random: np.random.Generator) -> Actor:
    signature = SIGNATURES[name]
    width = WIDTH / columns
    size = int(min(width * 1.05, HEIGHT) * random.uniform(0.76, 0.95))
    sprite = draw_sprite(signature, size, tint=random.uniform(0.88, 1.12), mirrored=bool(random.integers(2)))
    reach = (max(6.0, (width - size) / 2), (HEIGHT - size) / 2)
    period_seconds = signature.period_seconds * random.uniform(0.85, 1.2)
    return Actor(sprite, signature.motion, period_seconds, random.random(), ((column + 0.5) * width, HEIGHT / 2), reach)


def _background(random: np.random.Generator) -> UInt8Array:
    """Soft clouds of muted colours, and in half of the scenes a horizon."""
    height, width = HEIGHT + MARGIN, WIDTH + MARGIN
    grey = random.uniform(70, 175)
    coarse = grey + random.normal(0, 22, (5, 8, 1)) + random.normal(0, 9, (5, 8, 3)) + random.normal(0, 12, 3)
    clouds = np.einsum("yi,ixc->yxc", _linear(5, height), np.einsum("ijc,xj->ixc", coarse, _linear(8, width)))
    if random.integers(2):
        clouds[int(height * random.uniform(0.5, 0.8)) :] -= random.normal(30, 10, 3)
    background: UInt8Array = clouds.clip(DARKEST, BRIGHTEST).astype(np.uint8)
    return background


def _linear(knots: int, samples: int) -> Float32Array:
    """The weights of linear interpolation between knots: float32, (samples, knots)."""
    position = np.linspace(0, knots - 1, samples)[:, None] - np.arange(knots)
    return np.asarray(np.clip(1 - np.abs(position), 0, 1), np.float32)


def _noise(random: np.random.Generator) -> UInt8Array:
    """Noise of up to ±DARKEST, modulo 256, so that adding bytes adds it."""
    shape = (HEIGHT + MARGIN, WIDTH + MARGIN, 3)
    deviations = random.normal(0, NOISE_DEVIATION, shape).clip(-DARKEST, DARKEST)
    noise: UInt8Array = np.rint(deviations).astype(np.int8).view(np.uint8)
    return noise


def _with_noise(frame: UInt8Array, noise: UInt8Array, random: np.random.Generator) -> UInt8Array:
    """Adds another window of the noise to each frame."""
    top, left = random.integers(0, MARGIN, 2)
    frame += noise[top : top + HEIGHT, left : left + WIDTH]
    return frame
