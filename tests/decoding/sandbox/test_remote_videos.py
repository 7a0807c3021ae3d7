"""A video in a bucket whose server does not give it costs itself only, and no more than its time."""

import time

import pytest

from tests.faulty_bucket import BUCKET, FaultyBucket
from yt8m_pipeline import files
from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.decoding.sandbox import parent
from yt8m_pipeline.decoding.sandbox.parent import Sandbox
from yt8m_pipeline.store import failures
from yt8m_pipeline.store.failures import Source

FILM = f"gs://{BUCKET}/film.mp4"


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits for tests, which cannot wait."""
    monkeypatch.setattr(parent, "OPENING_SECONDS", 1.0)
    monkeypatch.setattr(failures, "LOOK_SECONDS", 1.0)


def rejection(uri: str) -> VideoRejected:
    with Sandbox(Decoding(), 1) as sandbox, pytest.raises(VideoRejected) as rejected:
        sandbox.probe(uri, frames=False)
    return rejected.value


@pytest.mark.parametrize(
    ("fault", "reason", "detail"),
    [
        ("slow", DropReason.IO_ERROR, "no answer within 1 s"),
        ("503", DropReason.IO_ERROR, "no answer within 1 s; the last was: 503"),
        ("403", DropReason.IO_ERROR, "as anonymous: 403"),
    ],
)
def test_a_server_that_gives_nothing_is_a_reason_in_time(
    bucket: FaultyBucket, fault: str, reason: DropReason, detail: str
) -> None:
    files.write_bytes(FILM, b"film")
    bucket.always, bucket.stall_seconds = fault, 60.0
    before = time.monotonic()
    assert Source.of(FILM) == Source(FILM, 0, "")
    found = rejection(FILM)
    assert time.monotonic() - before < 5
    assert (found.reason, found.reason.is_transient) == (reason, True)
    assert found.detail.startswith(f"{FILM}: ")
    assert detail in found.detail
    assert "\n" not in found.detail


@pytest.mark.usefixtures("bucket")
def test_a_film_that_is_not_there_and_a_place_that_is_none() -> None:
    assert rejection(FILM).reason == DropReason.MISSING_FILE
    assert rejection("gs://me@bucket/film.mp4").reason == DropReason.NOT_A_VIDEO


def test_a_short_film_is_read_in_one_request(bucket: FaultyBucket) -> None:
    files.write_bytes(FILM, bytes(100_000))
    bucket.asked.clear()
    assert rejection(FILM).reason == DropReason.NOT_A_VIDEO
    assert bucket.asked == [("get", "film.mp4")]
