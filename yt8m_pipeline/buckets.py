"""Objects in Google Cloud Storage: one request for each operation, within a deadline, tried again where that can help.

An object is put in one request, and so appears whole or not at all: there is no temporary, no move and no look before.
What passes (429, 500, 502, 503, 504, a connection that breaks or is silent, a body that is cut) is tried again, with
exponential back-off and jitter, until the deadline. A refusal (401, 403, 404) is final. An answer that gets lost does
no harm: the same bytes are put again, an object that is gone counts as deleted, and a conditional write that fails is
ours if what stands there are our bytes.

The environment decides where and as whom: STORAGE_EMULATOR_HOST, `ANONYMOUS`, or Google's application default
credentials. A URI names a bucket and an object and nothing else. `files` is the door to this module.
"""

import io
import os
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cache
from math import inf
from time import monotonic
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeVar

from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.places import BUCKET

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Client

T = TypeVar("T")

SCHEME = "gs://"

PLACE = re.compile(rf"gs://({BUCKET.pattern})(?:/(.*))?", re.DOTALL)
"""A bucket, and an object in it."""

ANONYMOUS = "CLOUDSDK_AUTH_DISABLE_CREDENTIALS"
"""Where this variable is `true`, nobody's credentials are used, which suffices for public buckets. gcloud knows it."""

DEADLINE_SECONDS = 120.0
"""An operation on a small object ends by then, in whatever way. Google's own clients have the same limit."""

SLOWEST_BYTES_PER_SECOND = 1 << 20
"""A transfer may be as slow as this: its bytes add to the deadline."""

CONNECT_SECONDS, SILENCE_SECONDS = 10.0, 20.0
"""A try ends when there is no connection, or no byte of an answer, for so long."""

CREDENTIALS_SECONDS = 5.0
"""Credentials are found within this time, once for each process. On a machine outside Google Cloud, its libraries
look for Google's metadata server for minutes."""

BLOCK_BYTES = 16 << 20
"""A stream is read in ranges of this many bytes, and most films of the paper's kind in one."""

JUMP_BYTES = 1 << 20
"""The range that is read after a jump, as to the index at the end of a Parquet file."""

SPOOLED_BYTES = 8 << 20
"""An object that is longer than this while it is written waits on the local disk, and is put by a resumable upload."""

PART_BYTES = 32 << 20
"""A resumable upload sends parts of this many bytes, each of which is held in memory."""

_UNTIL: ContextVar[float] = ContextVar("until", default=inf)


class UnknownPlace(UsageError, ValueError):
    """A URI names no kind of place that this package can reach; for the uri of a table's row, one bad value."""


class BucketError(DataError, OSError):
    """A bucket refuses, or gives no answer in time. As a row's fault it is one line; as an error it has four parts."""

    def __init__(self, *, what: str, where: str, why: str, fix: str) -> None:
        super().__init__(what=what, where=where, why=why, fix=fix)
        self.strerror = why

    def __str__(self) -> str:
        return self.why


class Facts(NamedTuple):
    """What is known of an object: its size in bytes, the time of its last change, and the number of this version."""

    size: int
    updated: datetime
    generation: int


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Lets the operations of the block end within a time, all together. The limits of blocks around it hold too."""
    token = _UNTIL.set(min(_UNTIL.get(), monotonic() + seconds))
    try:
        yield
    finally:
        _UNTIL.reset(token)


def split(uri: str) -> tuple[str, str]:
    """The bucket and the name of an object.

    Raises:
        UnknownPlace: the URI names no bucket.

    >>> split("gs://films/a/b.mp4")
    ('films', 'a/b.mp4')
    """
    match = PLACE.fullmatch(uri)
    if not match:
        fix = "give a local path, or gs://BUCKET/PATH"
        raise UnknownPlace(what="This is no place for files", where=uri, why="it names no bucket", fix=fix)
    return match[1], match[2] or ""


def identity() -> str:
    """As whom buckets are reached: an e-mail address, `anonymous`, or the kind of the credentials.

    Raises:
        BucketError: where there are no credentials.
    """
    credentials = client()._credentials
    if type(credentials).__name__ == "AnonymousCredentials":
        return "anonymous"
    names = (getattr(credentials, name, "") for name in ("service_account_email", "account"))
    return next(filter(None, names), f"{type(credentials).__module__.rpartition('.')[2]} credentials")


def stat(uri: str) -> Facts | None:
    """What is known of an object; None where there is none."""
    bucket, name = split(uri)
    found = _answer(uri, lambda terms: client().bucket(bucket).get_blob(name, **terms)) if name else None
    return _facts(found) if found is not None else None


def get(uri: str) -> bytes:
    """The bytes of an object, of one version, in one request. They are compared with the checksum that is kept of them.

    Raises:
        FileNotFoundError: there is no such object.
    """
    return _download(uri, {})[0]


def get_version(uri: str) -> tuple[bytes, Facts] | None:
    """The bytes of an object and what is known of this version of it; None where there is none."""
    with suppress(FileNotFoundError):
        while facts := stat(uri):
            with suppress(Superseded):
                return _download(uri, {"if_generation_match": facts.generation}, size=facts.size)[0], facts
    return None


def put(uri: str, source: IO[bytes], size: int) -> Facts:
    """Makes an object of a stream, in place of what stands there."""
    return _put(uri, source, size, None)


def put_if(uri: str, data: bytes, generation: int) -> Facts | None:
    """Makes an object if the one in its place is of a version (0: if there is none); None where it is of another.

    An earlier try of ours, whose answer was lost, counts; therefore no two writers may give the same bytes.
    """
    try:
        return _put(uri, io.BytesIO(data), len(data), generation)
    except Superseded:
        found = get_version(uri)
        return found[1] if found and found[0] == data else None


def remove(uri: str, generation: int | None = None) -> None:
    """Deletes an object, of one version or of any; it is no error if there is no such object any more."""
    bucket, name = split(uri)
    condition = {"if_generation_match": generation}
    with suppress(FileNotFoundError, Superseded):
        _answer(uri, lambda terms: client().bucket(bucket).delete_blob(name, **condition, **terms))


def listed(folder: str) -> Iterator[tuple[str, Facts]]:
    """The objects under a folder and what is known of each, by their paths in it. A page is one request."""
    return ((name, facts) for name, facts in _pages(folder, None) if facts)


def children(folder: str) -> Iterator[tuple[str, Facts | None]]:
    """The names in a folder, and what is known of each that is an object; the others are folders."""
    return _pages(folder, "/")


def _pages(folder: str, delimiter: str | None) -> Iterator[tuple[str, Facts | None]]:
    bucket, name = split(folder)
    prefix = f"{name.rstrip('/')}/" if name.strip("/") else ""
    fields = "items(name,size,updated,generation),prefixes,nextPageToken"

    def page(terms: dict[str, Any]) -> tuple[list[Any], set[str], str | None]:
        named = {"prefix": prefix, "delimiter": delimiter, "fields": fields, "page_token": token}
        blobs = client().list_blobs(bucket, **named, **terms)
        items = list(next(blobs.pages, ()))
        return items, set(blobs.prefixes), blobs.next_page_token

    token: str | None = None
    while True:
        try:
            items, prefixes, token = _answer(folder, page)
        except FileNotFoundError:
            return
        yield from ((item[len(prefix) :].rstrip("/"), None) for item in sorted(prefixes))
        yield from ((blob.name[len(prefix) :], _facts(blob)) for blob in items if not blob.name.endswith("/"))
        if token is None:
            return


class ObjectStream(io.RawIOBase):
    """The bytes of one version of an object, read in ranges; nothing is asked for before it is needed.

    Whoever reads before he asks for the end learns a short object's size for nothing.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._position, self._start, self._block = 0, 0, b""
        self._size: int | None = None
        self._generation: int | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position}.get(whence)
        self._position = max(offset + (self.size() if start is None else start), 0)
        return self._position

    def size(self) -> int:
        """The size of the object in bytes."""
        if self._size is None:
            facts = stat(self._uri)
            if facts is None:
                raise FileNotFoundError(2, "No such object", self._uri)
            if self._generation not in (None, facts.generation):
                raise _changed(self._uri)
            self._size, self._generation = facts.size, facts.generation
        return self._size

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        if not self._start <= self._position < self._start + len(self._block):
            self._fetch(len(view))
        offset = self._position - self._start
        data = self._block[offset : offset + len(view)]
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def readall(self) -> bytes:
        """The rest, in as many requests as it has blocks."""
        return b"".join(iter(lambda: self.read(BLOCK_BYTES) or b"", b""))

    def _fetch(self, wanted: int) -> None:
        is_next = self._position == self._start + len(self._block)
        length = max(wanted, BLOCK_BYTES if is_next else JUMP_BYTES)
        if self._size is not None:
            length = min(length, self._size - self._position)
        self._start, self._block = self._position, b""
        if length > 0:
            self._block = self._range(length)
        if len(self._block) < length and self._size is None and (self._block or not self._start):
            self._size = self._start + len(self._block)

    def _range(self, length: int) -> bytes:
        terms = {"start": self._start, "end": self._start + length - 1, "if_generation_match": self._generation}
        try:
            data, generation = _download(self._uri, terms, size=length)
        except Superseded:
            raise _changed(self._uri) from None
        self._generation = self._generation or generation
        if self._size is not None and len(data) != length:
            raise _changed(self._uri)
        return data


@contextmanager
def writing(uri: str) -> Iterator[IO[bytes]]:
    """A stream whose bytes become an object when the block ends well. Long ones wait on the local disk until then."""
    from tempfile import SpooledTemporaryFile  # noqa: PLC0415

    with SpooledTemporaryFile(SPOOLED_BYTES) as spool:
        yield spool
        size = spool.tell()
        spool.seek(0)
        put(uri, spool, size)


class Superseded(Exception):
    """An object is not of the version that was asked for."""


def _changed(uri: str) -> BucketError:
    fix = "leave the objects as they are while they are read, and run the same command again"
    return BucketError(what="An object has changed while it was read", where=uri, why="it has another version", fix=fix)


def _facts(blob: "Blob") -> Facts:
    return Facts(int(blob.size or 0), blob.updated or datetime.fromtimestamp(0, UTC), int(blob.generation or 0))


def _put(uri: str, source: IO[bytes], size: int, generation: int | None) -> Facts:
    bucket, name = split(uri)

    def upload(terms: dict[str, Any]) -> Facts:
        source.seek(0)
        blob = client().bucket(bucket).blob(name, chunk_size=PART_BYTES)
        blob.upload_from_file(source, size=size, checksum="crc32c", if_generation_match=generation, **terms)
        return _facts(blob)

    try:
        return _answer(uri, upload, size)
    except FileNotFoundError:
        fix = "make it, or correct the place in the config"
        raise BucketError(what="There is no such bucket", where=uri, why=f"{bucket} is unknown", fix=fix) from None


def _download(uri: str, terms: dict[str, Any], size: int = BLOCK_BYTES) -> tuple[bytes, int | None]:
    """Bytes of an object, and its version where the server tells it. A range behind the end has none."""
    from google.api_core.exceptions import RequestRangeNotSatisfiable  # noqa: PLC0415

    bucket, name = split(uri)

    def download(more: dict[str, Any]) -> tuple[bytes, int | None]:
        blob, sink = client().bucket(bucket).blob(name), io.BytesIO()
        try:
            blob.download_to_file(sink, raw_download=True, checksum="crc32c", **terms, **more)
        except RequestRangeNotSatisfiable:
            return b"", None
        return sink.getvalue(), blob.generation

    return _answer(uri, download, size)


def _answer(uri: str, ask: Callable[[dict[str, Any]], T], size: int = 0) -> T:
    """What a request brings, in a thread of its own: nothing that the server does holds us beyond the deadline.

    Args:
        uri: The place, for the error.
        ask: One try of the request. It is given the terms of the library: its time, and that the library tries once.
        size: About how many bytes are transferred.

    Raises:
        FileNotFoundError: there is no such object.
        Superseded: it is of another version.
        BucketError: the bucket refuses, or gives no answer in time.
    """
    from google.api_core import exceptions  # noqa: PLC0415

    client()
    seconds = max(min(DEADLINE_SECONDS + size / SLOWEST_BYTES_PER_SECOND, _UNTIL.get() - monotonic()), 0.1)
    terms = {"timeout": (min(CONNECT_SECONDS, seconds), min(SILENCE_SECONDS, seconds)), "retry": None}
    patiently: Callable[[dict[str, Any]], T] = _patience().with_timeout(seconds)(ask)
    try:
        return _within(seconds, lambda: patiently(terms))
    except exceptions.NotFound:
        raise FileNotFoundError(2, "No such object", uri) from None
    except exceptions.PreconditionFailed:
        raise Superseded(uri) from None
    except exceptions.RetryError as error:
        raise _silent(uri, seconds, _line(error.cause)) from None
    except TimeoutError:
        raise _silent(uri, seconds, "") from None
    except _failures() as error:
        raise _refused(uri, error) from None


def _within(seconds: float, call: Callable[[], T]) -> T:
    """The result of a call in a thread of its own. One that takes longer is left to end by itself."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001  it is raised by who waits
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future.result(seconds)


def _silent(uri: str, seconds: float, said: str) -> BucketError:
    return BucketError(
        what="A bucket does not answer",
        where=uri,
        why=f"no answer within {seconds:.0f} s" + (f"; the last was: {said}" if said else ""),
        fix="check the network and the name of the bucket; the same command goes on from here",
    )


def _refused(uri: str, error: BaseException) -> BucketError:
    return BucketError(
        what="A bucket refuses a request",
        where=uri,
        why=f"as {identity()}: {_line(error)}",
        fix="let this identity read and write there, or use another one; `yt8m config check` tells what may be done",
    )


def _line(error: object) -> str:
    return " ".join(str(error).split())[:500]


@cache
def _failures() -> tuple[type[BaseException], ...]:
    """What Google's libraries and those below raise."""
    from google.api_core.exceptions import GoogleAPIError  # noqa: PLC0415
    from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse  # noqa: PLC0415

    return (GoogleAPIError, GoogleAuthError, DataCorruption, InvalidResponse, OSError)


@cache
def _patience() -> Any:
    """How requests are repeated: after up to 0.2 s, 0.4 s, 0.8 s … 16 s, of which a random part is waited."""
    from google.api_core.retry import Retry  # noqa: PLC0415
    from google.auth.exceptions import RefreshError  # noqa: PLC0415
    from google.cloud.storage.exceptions import DataCorruption  # noqa: PLC0415
    from google.cloud.storage.retry import DEFAULT_RETRY  # noqa: PLC0415

    def passes(error: Exception) -> bool:
        if isinstance(error, RefreshError):
            return bool(error.retryable)
        return isinstance(error, DataCorruption) or DEFAULT_RETRY._predicate(error)

    return Retry(passes, initial=0.2, maximum=16.0, multiplier=2.0)


UNASKED = "DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA"
"""Where this is not `true`, Google's client also asks for a bucket's metadata, at its first use and at every 404."""

_LOCK = threading.Lock()


def client() -> "Client":
    """The client of this process. As whom it asks is found out once, and that nobody is known too.

    Raises:
        BucketError: there are no credentials.
    """
    with _LOCK:
        found = _client()
    if isinstance(found, str):
        raise BucketError(
            what="There are no credentials for Google Cloud Storage",
            where=SCHEME,
            why=found,
            fix=f"run `gcloud auth application-default login`, or set {ANONYMOUS}=true for public buckets",
        )
    return found


@cache
def _client() -> "Client | str":
    import google.auth  # noqa: PLC0415
    from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415
    from google.cloud.storage import Client  # noqa: PLC0415

    os.environ.setdefault(UNASKED, "true")
    if "STORAGE_EMULATOR_HOST" in os.environ or os.environ.get(ANONYMOUS, "").lower() in ("true", "1"):
        return Client.create_anonymous_client()
    try:
        credentials, project = _within(CREDENTIALS_SECONDS, lambda: google.auth.default(scopes=Client.SCOPE))
    except TimeoutError:
        return f"none were found within {CREDENTIALS_SECONDS:.0f} s"
    except GoogleAuthError as error:
        return _line(error)
    return Client(project=project or "none", credentials=credentials)
