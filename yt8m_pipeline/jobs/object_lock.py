"""The lock of a build's folder in a bucket: an object that one build at a time can make, and that it must renew.

A bucket has no locks that end with a process. So the holder writes the object anew all the time, and a build that has
not done so for a while, because it was killed or cut off, has lost it. All times are those of the bucket's server.
"""

import _thread
import io
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from time import monotonic
from uuid import uuid4

from yt8m_pipeline import buckets, files
from yt8m_pipeline.errors import DataError

RENEWAL_SECONDS = 20.0
"""How long the holder waits between renewals, and how long each may take. A bucket takes one write a second of an
object (cloud.google.com/storage/quotas)."""

STALE_SECONDS = 120.0
"""A lock that was not renewed for so long is free. Five renewals have failed by then, and the holder has given up."""

GIVING_UP_SECONDS = STALE_SECONDS - 2 * RENEWAL_SECONDS
"""A holder that could not renew its lock for so long stops: its next try might end after the lock is free."""


class Held(Exception):
    """Another build holds the lock.

    Attributes:
        owner: What it wrote into the lock.
        seconds_left: After how many seconds the lock is free, if it is not renewed.
    """

    def __init__(self, owner: bytes, seconds_left: float) -> None:
        super().__init__(owner, seconds_left)
        self.owner, self.seconds_left = owner, seconds_left


@contextmanager
def held(uri: str, owner: bytes) -> Iterator[None]:
    """Holds the lock for the block. Whoever loses it is interrupted, as by Ctrl-C, and is told so.

    Args:
        uri: The place of the lock in a bucket.
        owner: The content of the lock, which nobody else may have.

    Raises:
        Held: another build holds it.
        DataError: the lock got lost; or the bucket refuses or does not answer.
    """
    lock = _Lock(uri, owner)
    try:
        try:
            yield
        finally:
            lock.release()
    except KeyboardInterrupt:
        lock.require_kept()
        raise
    lock.require_kept()


class _Lock:
    """A lock that is ours, and the thread that renews it."""

    def __init__(self, uri: str, owner: bytes) -> None:
        self._uri, self._owner = uri, owner
        self._loss = ""
        self._ended = threading.Event()
        self._generation = _taken(uri, owner)
        self._renewed = monotonic()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def _keep(self) -> None:
        while not self._ended.wait(RENEWAL_SECONDS):
            self._loss = self._renew()
            if self._loss:
                _interrupt()
                return

    def _renew(self) -> str:
        """Writes the lock anew. Returns why it is lost; '' where it is ours."""
        now = monotonic()
        try:
            with buckets.time_limit(RENEWAL_SECONDS):
                facts = buckets.put_if(self._uri, self._owner, self._generation)
        except (buckets.BucketError, RuntimeError) as error:  # RuntimeError: no thread can be started
            is_late = monotonic() - self._renewed > GIVING_UP_SECONDS
            return f"its lock could not be renewed: {error}" if is_late else ""
        if facts is None:
            return "another build has taken it, or somebody has removed its lock"
        self._generation, self._renewed = facts.generation, now
        return ""

    def release(self) -> None:
        self._ended.set()
        self._thread.join()
        with suppress(buckets.BucketError), buckets.time_limit(RENEWAL_SECONDS):
            found = buckets.get_version(self._uri)
            if found and found[0] == self._owner:
                buckets.remove(self._uri, found[1].generation)

    def require_kept(self) -> None:
        if self._loss:
            raise DataError(
                what="The build no longer holds its folder, and has stopped",
                where=self._uri,
                why=self._loss,
                fix="see that no other build works there; the same command goes on from here",
            )


def _interrupt() -> None:
    """Interrupts the main thread as Ctrl-C does; or as SIGTERM does, where a shell has started us deaf to Ctrl-C."""
    hears_interrupts = callable(signal.getsignal(signal.SIGINT))
    _thread.interrupt_main(signal.SIGINT if hears_interrupts else signal.SIGTERM)


def _taken(uri: str, owner: bytes) -> int:
    """The version of the lock that we have made: of a new object, or of one that its holder does not renew."""
    while True:
        if facts := buckets.put_if(uri, owner, 0):
            return facts.generation
        if found := buckets.get_version(uri):
            content, standing = found
            seconds_left = STALE_SECONDS - (_now_at(uri) - standing.updated).total_seconds()
            if seconds_left > 0:
                raise Held(content, seconds_left)
            if facts := buckets.put_if(uri, owner, standing.generation):
                return facts.generation


def _now_at(uri: str) -> datetime:
    """The time of the bucket's server, which an object tells that is made for it."""
    clock = f"{uri}{files.TEMPORARY_MARK}{uuid4().hex}"
    try:
        return buckets.put(clock, io.BytesIO(), 0).updated
    finally:
        buckets.remove(clock)
