"""Thumbnails in a store: whose they are, of which state of the film, and what damage does to them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from yt8m_pipeline.store.failures import Source
from yt8m_pipeline.store.formats import NewerFormatError
from yt8m_pipeline.store.thumbnails import Thumbnails, source_digest
from yt8m_pipeline.store.upkeep import ThumbnailStats, check_thumbnails, survey_thumbnails

JPEG = b"\xff\xd8 the rest of a picture"
FILM = Source("films/guitar.mp4", 1000, "yesterday")


@pytest.fixture
def thumbnails(tmp_path: Path) -> Thumbnails:
    return Thumbnails(str(tmp_path / "store"))


def test_what_is_written_is_read(thumbnails: Thumbnails) -> None:
    thumbnails.write("guitar", FILM, 4, JPEG)
    found = thumbnails.read("guitar")
    assert found
    assert (found.count, found.source) == (4, source_digest(FILM))
    assert found.jpeg.startswith(b"\xff\xd8\xff\xfe")
    assert found.jpeg.endswith(JPEG[2:])
    assert b"films" not in found.jpeg
    assert [file.name for file in thumbnails.files()] == [Path(thumbnails.path("guitar")).name]


@pytest.mark.parametrize("other", [FILM, Source("b.mp4", 1000, "yesterday"), Source(FILM.uri, 1000, "today")])
def test_those_of_a_film_that_has_changed_count_for_nothing(thumbnails: Thumbnails, other: Source) -> None:
    thumbnails.write("guitar", FILM, 4, JPEG)
    assert thumbnails.has("guitar", other, 4) == (other == FILM)
    assert not thumbnails.has("guitar", other, 3)


def test_there_are_none(thumbnails: Thumbnails) -> None:
    assert thumbnails.read("guitar") is None
    assert not list(thumbnails.files())


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda _: b"", lambda data: data + b"x"])
def test_a_file_that_is_not_what_was_written_counts_for_nothing(
    thumbnails: Thumbnails, change: Callable[[bytes], bytes]
) -> None:
    thumbnails.write("guitar", FILM, 4, JPEG)
    path = Path(thumbnails.path("guitar"))
    path.write_bytes(change(path.read_bytes()))
    assert thumbnails.read("guitar") is None


def test_no_changed_byte_of_a_picture_goes_unseen(thumbnails: Thumbnails) -> None:
    thumbnails.write("guitar", FILM, 4, JPEG)
    path = Path(thumbnails.path("guitar"))
    data = path.read_bytes()
    for at in range(len(data) - len(JPEG) + 2, len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert thumbnails.read("guitar") is None


def change_comment(path: Path, before: str, after: str) -> None:
    """Changes what a file says of itself, as another version would have written it."""
    data = path.read_bytes().replace(before.encode(), after.encode(), 1)
    length = int.from_bytes(data[4:6], "big") + len(after) - len(before)
    path.write_bytes(data[:4] + length.to_bytes(2, "big") + data[6:])


def test_a_later_format_is_refused_with_the_advice_to_upgrade_and_a_new_field_is_skipped(
    thumbnails: Thumbnails,
) -> None:
    thumbnails.write("guitar", FILM, 4, JPEG)
    path = Path(thumbnails.path("guitar"))
    change_comment(path, '"format": 1', '"colours": "many", "format": 1')
    assert thumbnails.has("guitar", FILM, 4)
    change_comment(path, '"format": 1', '"format": 2')
    for read in (lambda: thumbnails.has("guitar", FILM, 4), lambda: check_thumbnails(thumbnails.root)):
        with pytest.raises(NewerFormatError, match="upgrade yt8m_pipeline"):
            read()
    change_comment(path, '"format": 2, ', "")
    assert thumbnails.has("guitar", FILM, 4)


def test_any_id_has_a_place_of_its_own(thumbnails: Thumbnails) -> None:
    ids = ["../x", "a/b", "a b", "ä" * 300, "A", "a"]
    for number, video_id in enumerate(ids, 1):
        thumbnails.write(video_id, FILM, number, JPEG)
    assert [found.count for video_id in ids if (found := thumbnails.read(video_id))] == [1, 2, 3, 4, 5, 6]


def test_a_store_that_can_only_be_read_costs_the_pictures_alone(
    thumbnails: Thumbnails, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "store").write_text("a file where the folder must be")
    thumbnails.write("guitar", FILM, 4, JPEG)
    assert thumbnails.read("guitar") is None
    assert "thumbnails cannot be kept" in caplog.text


def test_what_is_kept_is_counted_and_what_is_damaged_is_told(thumbnails: Thumbnails) -> None:
    for video_id in ("a", "b", "c"):
        thumbnails.write(video_id, FILM, 4, JPEG)
    sizes = [file.state.size for file in thumbnails.files()]
    assert survey_thumbnails(thumbnails.root) == ThumbnailStats(3, sum(sizes), 0)
    assert not check_thumbnails(thumbnails.root)
    Path(thumbnails.path("b")).write_bytes(b"no picture")
    assert [fault.where for fault in check_thumbnails(thumbnails.root)] == [thumbnails.path("b")]
