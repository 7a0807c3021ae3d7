"""Where the words of a tag cloud stand (paper Figure 3): sizes proportional to numbers, none over another.

This is the only module that imports wordcloud, whose map of the free places is used. Its own layout is not: from word
to word it rounds the size of the last one, so that the sizes of 200 words are far from proportional.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from wordcloud.wordcloud import IntegralOccupancyMap

WIDTH, HEIGHT = 1400, 700
"""The size of the cloud, in its own units."""

MARGIN = 4
"""The free units around a word."""

LARGEST, SMALLEST = 200, 5
"""The sizes of the font, in units: at most the first, since a word is wide; words below the second cannot be read."""

SHRINK = 0.85
"""Where the words do not all find a place, all become smaller by this factor."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a cloud.

    Attributes:
        text: The word.
        size: The size of its font, in units.
        left: The distance of its left end from that of the cloud, in units.
        baseline: The distance of its baseline from the upper end of the cloud, in units.
    """

    text: str
    size: int
    left: int
    baseline: int


def lay_out(numbers: Mapping[str, int], font: str) -> list[Word]:
    """Places words, the most frequent one first; equal numbers by the alphabet. The same words have the same places.

    Args:
        numbers: What the size of each word is proportional to; at least 1.
        font: The path of a TrueType font.

    Returns:
        The words that are not too small to be read.
    """
    ordered = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
    size = float(LARGEST)
    while ordered and size >= SMALLEST:
        sizes = [(text, round(size * number / ordered[0][1])) for text, number in ordered]
        placed = _place([item for item in sizes if item[1] >= SMALLEST], font)
        if placed is not None:
            return placed
        size *= SHRINK
    return []


def _place(sizes: list[tuple[str, int]], font: str) -> list[Word] | None:
    """Places words of given sizes; None if they do not all find a place."""
    image, words, random = Image.new("L", (WIDTH, HEIGHT)), [], Random(0)  # noqa: S311  places, no secrets
    draw, free = ImageDraw.Draw(image), IntegralOccupancyMap(HEIGHT, WIDTH, None)
    for text, size in sizes:
        face = ImageFont.truetype(font, size)
        left, top, right, bottom = map(int, draw.textbbox((0, 0), text, face, anchor="ls"))
        found: Any = free.sample_position(bottom - top + 2 * MARGIN, right - left + 2 * MARGIN, random)
        if found is None:
            return None
        word = Word(text, size, found[1] + MARGIN - left, found[0] + MARGIN - top)
        draw.text((word.left, word.baseline), text, "white", face, anchor="ls")
        free.update(np.asarray(image), found[0], found[1])
        words.append(word)
    return words
