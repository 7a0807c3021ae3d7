"""What each depicted entity looks like: shapes in its colours and textures, and the way it moves."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from yt8m_pipeline.data_model import Float32Array, UInt8Array

Colour: TypeAlias = tuple[int, int, int]
Field: TypeAlias = Callable[[Float32Array, Float32Array], Float32Array]
"""A function of the coordinates x (to the right) and y (down) of a square from −1 to 1."""
Motion: TypeAlias = Callable[[float], tuple[float, float]]
"""Phase, one unit per period → offset (x, y), each from −1 to 1."""

SUPERSAMPLING = 2
DARKEST, BRIGHTEST = 32, 223
"""The range of all drawn values: noise of up to 32 can be added to them without clipping."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One shape, in one colour: where `shape` is ≤ 0 it covers what is below it.

    `texture`, from −1 to 1, darkens and lightens the colour.
    """

    shape: Field
    colour: Colour
    texture: Field | None = None


@dataclass(frozen=True, slots=True)
class Signature:
    """How an entity shows: layers from back to front, a motion and the seconds that one period of it takes."""

    layers: tuple[Layer, ...]
    motion: Motion
    period_seconds: float


@dataclass(frozen=True, slots=True)
class Sprite:
    """A drawn signature.

    Attributes:
        rgb: uint8, (size, size, 3), premultiplied by the opacity.
        transparency: uint16, (size, size, 3), 0 where the sprite is opaque and 256 where there is none.
    """

    rgb: UInt8Array
    transparency: npt.NDArray[np.uint16]


def draw_sprite(signature: Signature, size: int, *, tint: float = 1.0, mirrored: bool = False) -> Sprite:
    """Draws a signature `size` pixels wide and high, its colours multiplied by `tint`."""
    fine = size * SUPERSAMPLING
    axis = (np.arange(fine, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / fine) - np.float32(1)
    x, y = np.meshgrid(-axis if mirrored else axis, axis)
    canvas = np.zeros((fine, fine, 4), np.float32)
    for layer in signature.layers:
        inside = layer.shape(x, y) <= 0
        light = 1 + 0.25 * layer.texture(x[inside], y[inside]) if layer.texture else np.ones(1, np.float32)
        colour = tint * np.asarray(layer.colour, np.float32)
        canvas[inside, :3] = np.multiply.outer(light, colour).clip(DARKEST, BRIGHTEST)
        canvas[inside, 3] = 1
    pixels = canvas.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING, 4).mean(axis=(1, 3))
    transparency = np.rint(256 * (1 - pixels[..., 3:])).astype(np.uint16)
    return Sprite(pixels[..., :3].astype(np.uint8), transparency.repeat(3, axis=2))


def ellipse(x0: float, y0: float, radius_x: float, radius_y: float) -> Field:
    return lambda x, y: ((x - x0) / radius_x) ** 2 + ((y - y0) / radius_y) ** 2 - 1


def ring(x0: float, y0: float, radius: float, width: float) -> Field:
    return lambda x, y: np.abs(np.hypot(x - x0, y - y0) - radius) - width / 2


def box(left: float, top: float, right: float, bottom: float) -> Field:
    return lambda x, y: np.maximum(np.maximum(left - x, x - right), np.maximum(top - y, y - bottom))


def polygon(*corners: tuple[float, float]) -> Field:
    """A convex polygon; the corners go clockwise on the screen."""
    edges = list(zip(corners, (*corners[1:], corners[0]), strict=True))

    def outside(x: Float32Array, y: Float32Array) -> Float32Array:
        sides = [(x1 - x0) * (y0 - y) - (y1 - y0) * (x0 - x) for (x0, y0), (x1, y1) in edges]
        return np.asarray(np.max(sides, axis=0), np.float32)

    return outside


def both(first: Field, second: Field) -> Field:
    return lambda x, y: np.maximum(first(x, y), second(x, y))


def stripes(x_per_unit: float, y_per_unit: float) -> Field:
    return lambda x, y: np.sign(np.sin(2 * math.pi * (x * x_per_unit + y * y_per_unit)))


def checks(per_unit: float) -> Field:
    return lambda x, y: np.sign(np.sin(math.pi * per_unit * x) * np.sin(math.pi * per_unit * y))


def strings(per_unit: float) -> Field:
    return lambda x, _: np.cos(x * np.float32(per_unit)) - np.float32(0.2)


def fur(per_unit: float) -> Field:
    return lambda x, y: np.sin(per_unit * (5 * x + 2 * y)) * np.sin(per_unit * (y * 4 - 3 * x))


def sway(phase: float) -> tuple[float, float]:
    return math.sin(2 * math.pi * phase), 0.15 * math.sin(4 * math.pi * phase)


def drive(phase: float) -> tuple[float, float]:
    return 4 * abs((phase + 0.25) % 1 - 0.5) - 1, 0.0


def bounce(phase: float) -> tuple[float, float]:
    return math.sin(math.pi * phase), 1 - 2 * abs(math.sin(2 * math.pi * phase))


def circle(phase: float) -> tuple[float, float]:
    return math.cos(2 * math.pi * phase), math.sin(2 * math.pi * phase)


def flutter(phase: float) -> tuple[float, float]:
    return math.sin(2 * math.pi * phase), 0.7 * math.sin(6 * math.pi * phase)


def nod(phase: float) -> tuple[float, float]:
    return 0.1 * math.sin(2 * math.pi * phase), math.sin(4 * math.pi * phase)


BLACK, WHITE, GLASS = (28, 26, 30), (245, 243, 238), (176, 214, 235)
WOOD, SPRUCE = (112, 58, 24), (226, 160, 78)
RED, TYRE, CHROME = (214, 24, 32), (34, 34, 38), (196, 198, 204)
TAN, UMBER = (186, 134, 84), (92, 56, 34)
ORANGE = (244, 112, 18)
PINK, CREAM, SPONGE, GOLD = (246, 128, 176), (255, 238, 214), (214, 158, 88), (255, 206, 52)
GREEN, MOSS = (22, 132, 70), (10, 78, 46)
AZURE, NAVY, BEAK = (34, 112, 224), (18, 54, 140), (252, 186, 36)
EBONY, IVORY = (58, 40, 32), (240, 222, 178)
PLUSH, SNOUT, BOW = (150, 92, 172), (226, 198, 232), (250, 214, 60)


def _wheel(x0: float, y0: float, radius: float) -> tuple[Layer, ...]:
    return Layer(ellipse(x0, y0, radius, radius), TYRE), Layer(ellipse(x0, y0, radius / 2, radius / 2), CHROME)


SIGNATURES = {
    "Guitar": Signature(
        (
            Layer(box(-0.09, -0.98, 0.09, 0.1), WOOD, stripes(0, 6)),
            Layer(box(-0.15, -1, 0.15, -0.78), BLACK),
            Layer(ellipse(0, 0.52, 0.58, 0.46), WOOD),
            Layer(ellipse(0, 0.08, 0.44, 0.36), WOOD),
            Layer(ellipse(0, 0.52, 0.5, 0.39), SPRUCE, stripes(7, 0)),
            Layer(ellipse(0, 0.08, 0.37, 0.29), SPRUCE, stripes(7, 0)),
            Layer(ellipse(0, 0.2, 0.17, 0.17), BLACK),
            Layer(box(-0.24, 0.6, 0.24, 0.68), BLACK),
            Layer(both(box(-0.07, -0.8, 0.07, 0.62), strings(112)), WHITE),
        ),
        sway,
        3.0,
    ),
    "Car": Signature(
        (
            Layer(polygon((-0.5, -0.32), (0.3, -0.32), (0.58, 0.08), (-0.68, 0.08)), RED),
            Layer(polygon((-0.45, -0.24), (-0.1, -0.24), (-0.1, 0.04), (-0.57, 0.04)), GLASS),
            Layer(polygon((-0.02, -0.24), (0.26, -0.24), (0.46, 0.04), (-0.02, 0.04)), GLASS),
            Layer(box(-0.96, 0.04, 0.96, 0.42), RED),
            Layer(box(-0.96, 0.22, 0.96, 0.28), WHITE),
            Layer(box(0.84, 0.1, 0.96, 0.2), GOLD),
            *_wheel(-0.52, 0.44, 0.24),
            *_wheel(0.52, 0.44, 0.24),
        ),
        drive,
        4.0,
    ),
    "Dog": Signature(
        (
            Layer(ellipse(0, 0, 0.68, 0.74), TAN, fur(9)),
            Layer(ellipse(-0.68, -0.12, 0.24, 0.62), UMBER, fur(9)),
            Layer(ellipse(0.68, -0.12, 0.24, 0.62), UMBER, fur(9)),
            Layer(ellipse(-0.27, -0.2, 0.13, 0.15), WHITE),
            Layer(ellipse(0.27, -0.2, 0.13, 0.15), WHITE),
            Layer(ellipse(-0.25, -0.18, 0.08, 0.1), BLACK),
            Layer(ellipse(0.29, -0.18, 0.08, 0.1), BLACK),
            Layer(ellipse(0.02, 0.72, 0.14, 0.24), (232, 96, 112)),
            Layer(ellipse(0, 0.36, 0.36, 0.28), CREAM, fur(9)),
            Layer(ellipse(0, 0.22, 0.17, 0.12), BLACK),
        ),
        nod,
        2.5,
    ),
    "Basketball": Signature(
        (
            Layer(ellipse(0, 0, 0.9, 0.9), ORANGE, fur(22)),
            Layer(ring(0, 0, 0.88, 0.06), BLACK),
            Layer(box(-0.88, -0.03, 0.88, 0.03), BLACK),
            Layer(box(-0.03, -0.88, 0.03, 0.88), BLACK),
            Layer(both(ring(-1.1, 0, 0.8, 0.06), ellipse(0, 0, 0.9, 0.9)), BLACK),
            Layer(both(ring(1.1, 0, 0.8, 0.06), ellipse(0, 0, 0.9, 0.9)), BLACK),
        ),
        bounce,
        2.0,
    ),
    "Cake": Signature(
        (
            Layer(box(-0.96, 0.78, 0.96, 0.9), CHROME),
            Layer(box(-0.8, 0.2, 0.8, 0.78), PINK, stripes(3, 0)),
            Layer(box(-0.8, 0.44, 0.8, 0.54), CREAM),
            Layer(box(-0.54, -0.28, 0.54, 0.2), PINK, stripes(3, 0)),
            Layer(box(-0.54, -0.08, 0.54, 0.0), CREAM),
            *(Layer(ellipse(x / 5, 0.22, 0.11, 0.12), CREAM) for x in range(-4, 5)),
            *(Layer(ellipse(x / 5, -0.26, 0.11, 0.12), CREAM) for x in range(-2, 3)),
            *(Layer(box(x - 0.05, -0.7, x + 0.05, -0.3), GLASS, stripes(0, 5)) for x in (-0.3, 0.0, 0.3)),
            *(Layer(ellipse(x, -0.82, 0.07, 0.13), GOLD) for x in (-0.3, 0.0, 0.3)),
        ),
        circle,
        6.0,
    ),
    "Train": Signature(
        (
            Layer(box(-1, 0.7, 1, 0.76), UMBER),
            Layer(box(-0.98, -0.6, -0.28, 0.44), GREEN, stripes(0, 4)),
            Layer(box(-0.86, -0.44, -0.42, -0.06), GLASS),
            Layer(box(-0.98, -0.7, -0.2, -0.56), MOSS),
            Layer(box(-0.3, -0.2, 0.86, 0.44), GREEN, stripes(0, 4)),
            Layer(box(0.44, -0.62, 0.66, -0.18), MOSS),
            Layer(box(0.38, -0.72, 0.72, -0.58), GOLD),
            Layer(box(-0.3, 0.02, 0.86, 0.08), GOLD),
            Layer(polygon((0.86, 0.1), (1, 0.62), (0.7, 0.62), (0.7, 0.1)), MOSS),
            *_wheel(-0.68, 0.46, 0.24),
            *_wheel(-0.14, 0.46, 0.24),
            *_wheel(0.4, 0.46, 0.24),
        ),
        drive,
        7.0,
    ),
    "Bird": Signature(
        (
            Layer(polygon((-0.98, -0.02), (-0.4, 0.02), (-0.4, 0.26), (-0.86, 0.4)), NAVY),
            Layer(ellipse(-0.04, 0.18, 0.62, 0.44), AZURE, fur(13)),
            Layer(polygon((0.72, -0.34), (0.99, -0.2), (0.72, -0.1)), BEAK),
            Layer(ellipse(0.48, -0.22, 0.33, 0.31), AZURE),
            Layer(ellipse(0.2, 0.34, 0.34, 0.22), WHITE),
            Layer(ellipse(-0.24, 0.06, 0.4, 0.26), NAVY, stripes(4, 4)),
            Layer(ellipse(0.56, -0.28, 0.09, 0.09), WHITE),
            Layer(ellipse(0.58, -0.27, 0.05, 0.05), BLACK),
            Layer(box(-0.06, 0.58, -0.01, 0.88), BEAK),
            Layer(box(0.12, 0.58, 0.17, 0.88), BEAK),
        ),
        flutter,
        3.5,
    ),
    "Chess": Signature(
        (
            Layer(box(-0.96, -0.96, 0.96, 0.96), EBONY),
            Layer(both(box(-0.86, -0.86, 0.86, 0.86), checks(1 / 0.43)), IVORY),
            *(Layer(ellipse(x, y, 0.14, 0.14), BLACK) for x, y in ((-0.64, -0.64), (0.22, -0.64), (0.64, -0.22))),
            *(Layer(ellipse(x, y, 0.14, 0.14), WHITE) for x, y in ((-0.64, 0.22), (-0.22, 0.64), (0.64, 0.64))),
        ),
        circle,
        9.0,
    ),
    "Teddy bear": Signature(
        (
            Layer(ellipse(-0.56, -0.62, 0.28, 0.28), PLUSH),
            Layer(ellipse(0.56, -0.62, 0.28, 0.28), PLUSH),
            Layer(ellipse(-0.56, -0.62, 0.14, 0.14), SNOUT),
            Layer(ellipse(0.56, -0.62, 0.14, 0.14), SNOUT),
            Layer(ellipse(0, 0.72, 0.66, 0.5), PLUSH, checks(9)),
            Layer(ellipse(0, -0.2, 0.7, 0.6), PLUSH, checks(9)),
            Layer(ellipse(0, 0.04, 0.32, 0.25), SNOUT),
            Layer(ellipse(0, -0.08, 0.11, 0.08), BLACK),
            Layer(ellipse(-0.28, -0.3, 0.08, 0.08), BLACK),
            Layer(ellipse(0.28, -0.3, 0.08, 0.08), BLACK),
            Layer(polygon((-0.3, 0.34), (0.0, 0.44), (-0.3, 0.6)), BOW),
            Layer(polygon((0.0, 0.44), (0.3, 0.34), (0.3, 0.6)), BOW),
        ),
        sway,
        1.5,
    ),
}
"""By the entity's name."""
