"""The strip of pictures of a video: which frames, in which shape, as a JPEG file that another program reads."""

import io
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from tests.decoding.clips import encode, number_of, picture_of, real_clip
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.decoding.facts import SampledFrame
from yt8m_pipeline.decoding.frames import decode_frames
from yt8m_pipeline.decoding.sandbox.parent import Sandbox
from yt8m_pipeline.decoding.thumbnails import HEIGHT, KEPT_FOR_EACH, Strip


def frames(count: int, aspect: float = 4 / 3) -> Iterator[SampledFrame]:
    return (SampledFrame(index, float(index), picture_of(index), aspect=aspect) for index in range(count))


def strip_of(count: int, pictures: int, aspect: float = 4 / 3) -> Strip:
    strip = Strip(pictures)
    assert [frame.index for frame in strip.watching(frames(count, aspect))] == list(range(count))
    return strip


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 31, 32, 33, 100, 360, 4000])
@pytest.mark.parametrize("pictures", [1, 4])
def test_pictures_stand_at_the_middles_of_equal_parts(count: int, pictures: int) -> None:
    chosen = [number_of(picture) for picture in strip_of(count, pictures).chosen]
    number = min(pictures, count)
    middles = (np.arange(number) + 0.5) * count / number
    assert len(chosen) == number == len(set(chosen))
    assert np.abs(np.array(chosen) + 0.5 - middles).max() <= 0.5 + 2 * count / (pictures * KEPT_FOR_EACH)


def test_memory_does_not_grow_with_the_video() -> None:
    assert len(strip_of(4000, 3)._kept) < KEPT_FOR_EACH * 3


@pytest.mark.parametrize(
    ("aspect", "width"), [(16 / 9, 214), (9 / 16, 68), (1.0, 120), (1e9, 960), (1e-9, 16), (2.39, 286)]
)
def test_a_strip_is_a_jpeg_file_of_pictures_in_the_films_aspect(aspect: float, width: int) -> None:
    strip = strip_of(8, 3, aspect)
    picture = Image.open(io.BytesIO(strip.to_jpeg()))
    assert (picture.format, picture.size, strip.count) == ("JPEG", (3 * width, HEIGHT), 3)
    parts = np.split(np.asarray(picture), 3, axis=1)
    assert [number_of(part) for part in parts] == [number_of(part) for part in strip.chosen]


def test_no_picture_is_wanted_or_there_is_none() -> None:
    assert strip_of(3, 0).count == Strip(4).count == 0
    with pytest.raises(ValueError, match="at least one frame"):
        Strip(4).to_jpeg()


@pytest.mark.parametrize(
    ("name", "width", "height"),
    [("rotated_0.mov", 0, 0), ("rotated_90.mov", 0, 0), ("h264_720p_aac.mp4", 1280, 640)],
)
def test_a_frame_tells_the_aspect_in_which_players_show_it(name: str, width: int, height: int) -> None:
    path = real_clip(name)
    with Sandbox(Decoding(), 64) as sandbox, Sandbox(Decoding(), None) as own:
        small, large = next(sandbox.decode(str(path))), next(own.decode(str(path)))
    shown = width / height if width else large.rgb.shape[1] / large.rgb.shape[0]
    assert small.aspect == large.aspect == pytest.approx(shown)
    assert small.rgb.shape == (64, 64, 3)


@pytest.mark.parametrize(("pixel", "aspect"), [("2", 8 / 3), ("1/2", 2 / 3), ("100", 4 / 3), ("0", 4 / 3)])
def test_pixels_that_are_not_square_count_unless_they_are_nonsense(pixel: str, aspect: float) -> None:
    video = encode(range(0, 3000, 1000), prepare=lambda stream: _set_pixel(stream, Fraction(pixel)))
    assert next(decode_frames(io.BytesIO(video), Decoding(), 64)).aspect == pytest.approx(aspect)


def _set_pixel(stream: object, pixel: Fraction) -> None:
    stream.sample_aspect_ratio = pixel  # type: ignore[attr-defined]
