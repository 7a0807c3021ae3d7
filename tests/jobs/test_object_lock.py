"""One build at a time in a folder of a bucket, whatever happens to the builds and to the bucket."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faulty_bucket import BUCKET, FaultyBucket
from yt8m_pipeline import files
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.errors import DataError, Terminated, UsageError
from yt8m_pipeline.jobs import object_lock
from yt8m_pipeline.jobs.build_folder import exclusive
from yt8m_pipeline.jobs.object_lock import held

ROOT = f"gs://{BUCKET}/dataset"
LOCK = f"{ROOT}/{Layout.LOCK}"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks for tests, which cannot wait."""
    monkeypatch.setattr(object_lock, "RENEWAL_SECONDS", 0.1)
    monkeypatch.setattr(object_lock, "STALE_SECONDS", 1.0)
    monkeypatch.setattr(object_lock, "GIVING_UP_SECONDS", 0.5)


def left_by_a_killed_build() -> None:
    code = (
        "import os\n"
        "from yt8m_pipeline.dataset.layout import Layout\n"
        "from yt8m_pipeline.jobs.build_folder import exclusive\n"
        f"with exclusive(Layout({ROOT!r})):\n"
        "    os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9


def test_a_lock_tells_its_owner_and_is_gone_at_the_end(bucket: FaultyBucket) -> None:
    with exclusive(Layout(ROOT)):
        owner = json.loads(files.read_bytes(LOCK))
        assert (owner["pid"], len(owner["token"])) == (os.getpid(), 32)
    assert bucket.names() == set()


def test_a_second_build_is_told_who_holds_the_folder_and_how_long(bucket: FaultyBucket) -> None:
    with exclusive(Layout(ROOT)):
        before = files.read_bytes(LOCK)
        with pytest.raises(UsageError) as refused, exclusive(Layout(ROOT)):
            pytest.fail("two builds hold one folder")
        assert files.read_bytes(LOCK) == before
        assert bucket.names() == {LOCK.removeprefix(f"gs://{BUCKET}/")}
    assert f"process {os.getpid()} on " in refused.value.why
    assert "if it was killed, the folder is free in 1" in refused.value.fix


@pytest.mark.usefixtures("hasty")
def test_the_lock_of_a_killed_build_is_free_after_a_while(bucket: FaultyBucket) -> None:
    left_by_a_killed_build()
    assert bucket.names()
    with pytest.raises(UsageError), exclusive(Layout(ROOT)):
        pytest.fail("a lock was taken that might be renewed")
    time.sleep(1.1)
    with exclusive(Layout(ROOT)):
        assert json.loads(files.read_bytes(LOCK))["pid"] == os.getpid()
    assert bucket.names() == set()


def test_a_lock_that_is_renewed_stays(bucket: FaultyBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_lock, "RENEWAL_SECONDS", 1.0)
    monkeypatch.setattr(object_lock, "STALE_SECONDS", 4.0)
    bucket.always, bucket.period = "reset after", 2
    with exclusive(Layout(ROOT)):
        time.sleep(5.0)
        with pytest.raises(UsageError), exclusive(Layout(ROOT)):
            pytest.fail("a lock was taken that is renewed")
    assert bucket.names() == set()


def terminate(*_: object) -> None:
    raise Terminated


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM])
def interruptible(request: pytest.FixtureRequest) -> Iterator[None]:
    """A process that hears Ctrl-C, and one that a shell has started in its background, which hears SIGTERM alone."""
    handlers: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    if request.param == signal.SIGTERM:
        handlers = {signal.SIGINT: signal.SIG_IGN, signal.SIGTERM: terminate}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("hasty", "bucket", "interruptible")
def test_who_loses_the_lock_is_stopped_and_told_and_leaves_the_new_one() -> None:
    with pytest.raises(DataError, match="no longer holds its folder") as lost, held(LOCK, b"ours"):
        files.write_bytes(LOCK, b"theirs")
        time.sleep(5.0)
        pytest.fail("it was not stopped")
    assert "another build has taken it" in lost.value.why
    assert files.read_bytes(LOCK) == b"theirs"


@pytest.mark.usefixtures("hasty", "interruptible")
def test_who_cannot_renew_the_lock_is_stopped_before_it_is_free(bucket: FaultyBucket) -> None:
    with pytest.raises(DataError, match="could not be renewed"), held(LOCK, b"ours"):
        bucket.always = "503"
        time.sleep(5.0)
        pytest.fail("it was not stopped")
