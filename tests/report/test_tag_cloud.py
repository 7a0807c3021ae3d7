from itertools import combinations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from yt8m_pipeline.report.dataset_figures import FONT
from yt8m_pipeline.report.tag_cloud import HEIGHT, SMALLEST, WIDTH, Word, lay_out

NUMBERS = {f"word {index}": 4000 // (index + 1) for index in range(60)}


def pixels(word: Word) -> "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]":
    image = Image.new("L", (WIDTH, HEIGHT))
    face = ImageFont.truetype(FONT, word.size)
    ImageDraw.Draw(image).text((word.left, word.baseline), word.text, "white", face, anchor="ls")
    return np.asarray(image) > 0


def test_no_word_is_over_another_or_beyond_the_edge() -> None:
    words = lay_out(NUMBERS, FONT)
    drawn = [pixels(word) for word in words]
    assert len(words) > 20
    assert not any((one & other).any() for one, other in combinations(drawn, 2))
    whole = np.logical_or.reduce(drawn)
    assert not (whole[0].any() or whole[-1].any() or whole[:, 0].any() or whole[:, -1].any())


def test_sizes_are_proportional_and_the_small_ones_left_out() -> None:
    words = lay_out(NUMBERS, FONT)
    largest = words[0].size
    assert [word.text for word in words] == list(NUMBERS)[: len(words)]
    for word in words:
        assert abs(word.size - largest * NUMBERS[word.text] / 4000) <= 1
        assert word.size >= SMALLEST
    assert largest * 4000 // (len(words) + 1) / 4000 <= SMALLEST + 1


def test_the_same_words_have_the_same_places_in_any_order() -> None:
    assert lay_out(NUMBERS, FONT) == lay_out(dict(reversed(NUMBERS.items())), FONT)


def test_one_word_and_none() -> None:
    assert [word.text for word in lay_out({"alone": 1}, FONT)] == ["alone"]
    assert lay_out({}, FONT) == []
    assert len(lay_out({"a" * 32: 5}, FONT)) == 1
