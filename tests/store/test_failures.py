"""A failure stands for another attempt only as long as nothing that decided it has changed."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yt8m_pipeline.accounting.reasons import DropReason, Retry, VideoRejected
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.decoding.damage import check_damage, conditions
from yt8m_pipeline.store.failures import Failure, Source

SOURCE = Source("video.mp4", 12345, "2016-09-28T00:00:00Z")


def failure(reason: DropReason = DropReason.NOT_A_VIDEO) -> Failure:
    return Failure("dog", "space", SOURCE, conditions(Decoding()), reason, "a text file", None)


def read(data: bytes) -> Failure | None:
    """The failure in a record; None where it is refused as damaged."""
    try:
        return Failure.from_bytes(data)
    except (KeyError, TypeError, ValueError):
        return None


class TestFailure:
    @given(
        st.builds(
            Failure,
            video_id=st.text(),
            space=st.text(),
            source=st.builds(Source, st.text(), st.integers(0), st.text()),
            decoding=st.just(conditions(Decoding())),
            reason=st.sampled_from(DropReason),
            detail=st.text(),
            decoded_fraction=st.none() | st.floats(0, 1),
        )
    )
    def test_it_survives_its_bytes(self, written: Failure) -> None:
        assert Failure.from_bytes(written.to_bytes()) == written

    def test_no_damage_makes_it_say_something_else(self) -> None:
        sound = failure().to_bytes()
        found = [read(sound[:end]) for end in range(len(sound))]
        found += [read(sound[:at] + b"0" + sound[at + 1 :]) for at in range(len(sound))]
        assert found.count(None) > 0.9 * len(found)
        assert set(map(repr, found)) == {repr(None), repr(failure())}

    def test_a_changed_word_is_found(self) -> None:
        with pytest.raises(ValueError, match="its content does not match its SHA-256"):
            Failure.from_bytes(failure().to_bytes().replace(b"text", b"best"))

    @pytest.mark.parametrize(
        ("retry", "of_permanent", "of_transient"),
        [(Retry.NONE, True, True), (Retry.TRANSIENT, True, False), (Retry.ALL, False, False)],
    )
    def test_it_counts_unless_its_kind_is_tried_again(
        self, retry: Retry, of_permanent: bool, of_transient: bool
    ) -> None:
        for reason in DropReason:
            expected = of_transient if reason.is_transient else of_permanent
            assert failure(reason).counts(SOURCE, conditions(Decoding()), retry) == expected

    @pytest.mark.parametrize(
        "change", [{"uri": "moved/video.mp4"}, {"size": 12346}, {"modified": "2016-09-28T00:00:01Z"}]
    )
    def test_it_counts_no_more_when_the_file_has_changed(self, change: dict[str, Any]) -> None:
        assert not failure().counts(replace(SOURCE, **change), conditions(Decoding()), Retry.NONE)

    @pytest.mark.parametrize(
        "change",
        [
            {"demuxers": ("mov", "matroska")},
            {"protocols": ("file",)},
            {"timeout_seconds": 121.0},
            {"timeout_seconds_per_frame": 21.0},
            {"memory_limit_mib": 8192},
        ],
    )
    def test_it_counts_no_more_when_the_limits_have_changed(self, change: dict[str, Any]) -> None:
        """Else a dataset would depend on what was tried before."""
        assert not failure().counts(SOURCE, conditions(Decoding(**change)), Retry.NONE)

    def test_what_decides_only_after_decoding_changes_nothing(self) -> None:
        assert failure().counts(SOURCE, conditions(Decoding(min_decoded_fraction=0.1)), Retry.NONE)


class TestSource:
    def test_a_file_has_a_size_and_a_modification_tag(self, tmp_path: Path) -> None:
        path = tmp_path / "video.mp4"
        path.write_bytes(b"12345")
        before = Source.of(str(path))
        assert (before.uri, before.size) == (str(path), 5)
        path.write_bytes(b"12346")
        assert Source.of(str(path)) != before

    @pytest.mark.parametrize("uri", ["{}/absent.mp4", "nosuchscheme://host/video.mp4", "{}/\0.mp4"])
    def test_a_file_that_is_not_there_has_none(self, tmp_path: Path, uri: str) -> None:
        uri = uri.format(tmp_path)
        assert Source.of(uri) == Source(uri, 0, "")

    def test_a_file_has_changed_if_its_size_or_time_has_but_not_if_it_is_gone(self, tmp_path: Path) -> None:
        path = tmp_path / "video.mp4"
        path.write_bytes(b"12345")
        os.utime(path, (1, 1))
        before = Source.of(str(path))
        assert not before.has_changed(Source.of(str(path)))
        os.utime(path, (2, 2))
        assert before.has_changed(Source.of(str(path)))
        for content in (b"123456", b""):
            path.write_bytes(content)
            os.utime(path, (1, 1))
            assert before.has_changed(Source.of(str(path)))
        path.unlink()
        assert not before.has_changed(Source.of(str(path)))


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_video_with_too_few_sound_frames_is_rejected_with_both_numbers(found: float, asked: float) -> None:
    decoding = Decoding(min_decoded_fraction=asked)
    if found >= asked:
        check_damage(found, decoding)
        return
    with pytest.raises(VideoRejected) as rejection:
        check_damage(found, decoding)
    detail = f"{found:g} of its grid times have a sound frame, min_decoded_fraction asks for {asked:g}"
    assert rejection.value.args == (DropReason.TOO_DAMAGED, detail, found)
