"""A storage emulator that honours conditions and pages, and fails as networks and servers fail."""

import json
import os
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import ThreadingHTTPServer
from io import BytesIO
from typing import Any, BinaryIO
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers.buckets import create_bucket
from gcp_storage_emulator.server import RequestHandler, Router
from gcp_storage_emulator.storage import Storage

from yt8m_pipeline import buckets

BUCKET = "bucket"

STATUSES = (429, 500, 502, 503, 504)
"""The answers that pass."""

FAULTS = (*map(str, STATUSES), "reset before", "reset after", "cut", "slow")
"""What may happen to a request: an answer that passes, a connection that breaks before or after the request was served
(so that the answer is lost), a body that ends too early, and one that comes slowly."""

PAGE = 7
"""How many objects a page of a listing has."""

SLOW_SECONDS = 0.1


@dataclass
class FaultyBucket:
    """A server with one bucket, and what it was asked.

    Attributes:
        url: Its address.
        share: The chance of each of the `FAULTS`, for each request.
        always: A fault or a status that requests meet; '' for none.
        period: Of how many requests one meets it.
        stall_seconds: How long a slow body stands still half-way.
        asked: Each request as its kind and the name of the object.
        met: How often each fault happened.
    """

    url: str = ""
    share: float = 0.0
    always: str = ""
    period: int = 1
    stall_seconds: float = SLOW_SECONDS
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    asked: list[tuple[str, str]] = field(default_factory=list)
    met: list[tuple[str, str]] = field(default_factory=list)
    storage: Any = field(default_factory=lambda: Storage(use_memory_fs=True))
    lock: Any = field(default_factory=threading.RLock)

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which gs:// is this server."""
        return {**os.environ, **self.variables}

    @property
    def variables(self) -> Mapping[str, str]:
        return {"STORAGE_EMULATOR_HOST": self.url, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}

    def draw(self, kind: str) -> str:
        """The fault that the next request meets. Where there are faults, the first answer of each kind gets lost."""
        with self.lock:
            number = int(self.chance.random() / self.share) if self.share else len(FAULTS)
            if self.share and kind not in {kind for kind, _ in self.met}:
                number = FAULTS.index("reset after")
            always = self.always if len(self.asked) % self.period == 0 else ""
            fault = always or (FAULTS[number] if number < len(FAULTS) else "")
            if fault:
                self.met.append((kind, fault))
            return fault

    def names(self) -> set[str]:
        """The names of all objects."""
        return set(self.storage.objects.get(BUCKET, {}))


class _Handler(RequestHandler):  # type: ignore[misc]
    """The emulator's handler, with conditions, pages and faults around it."""

    rfile: BinaryIO
    wfile: BinaryIO

    def __init__(self, faulty: FaultyBucket, *arguments: Any) -> None:
        self._faulty = faulty
        super().__init__(faulty.storage, *arguments)

    def log_message(self, *_: object) -> None:
        pass

    def _serve(self) -> None:
        method = self.command
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        name = unquote(url.path.partition("/o/")[2]) or query.get("name", "")
        kind = _kind(method, name, query)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if method == "POST" and not name:
            name = _named_in(body)
        with self._faulty.lock:
            self._faulty.asked.append((kind, name or query.get("prefix", "")))
        fault = self._faulty.draw(kind)
        if fault == "reset before":
            self._reset()
        elif fault.isdigit():
            self._answer(_error(int(fault)))
        else:
            answer = self._answered(method, kind, name, query, body)
            self._reset() if fault == "reset after" else self._answer(answer, fault)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815  as http.server calls them

    def _answered(self, method: str, kind: str, name: str, query: Mapping[str, str], body: bytes) -> bytes:
        """What the emulator answers, with what it lacks added."""
        with self._faulty.lock:
            wanted, found = query.get("ifGenerationMatch"), self._generation(name)
            if wanted is not None and (found or "0") != wanted:
                return _error(404 if found is None and wanted != "0" else 412)
            theirs, ours = self.wfile, BytesIO()
            self.rfile, self.wfile = BytesIO(body), ours
            Router(self).handle(method)
            answer, self.wfile = ours.getvalue(), theirs
            if kind == "list":
                return _page(answer, int(query.get("pageToken", 0)))
            line, _, rest = answer.partition(b"\r\n")
            return line + f"\r\nX-Goog-Generation: {self._generation(name) or 0}\r\n".encode() + rest

    def _generation(self, name: str) -> str | None:
        try:
            return str(self._faulty.storage.get_file_obj(BUCKET, name)["generation"])
        except NotFound:
            return None

    def _answer(self, answer: bytes, fault: str = "") -> None:
        half = (answer.index(b"\r\n\r\n") + 4 + len(answer)) // 2
        self.wfile.write(answer[:half])
        if fault == "slow":
            self.wfile.flush()
            time.sleep(self._faulty.stall_seconds)
        if fault != "cut":
            self.wfile.write(answer[half:])

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())


def _kind(method: str, name: str, query: Mapping[str, str]) -> str:
    """What a request is for: put, get, look, list or delete."""
    if method in ("POST", "PUT"):
        return "put"
    if method == "DELETE":
        return "delete"
    if not name:
        return "list"
    return "get" if query.get("alt") == "media" else "look"


def _named_in(body: bytes) -> str:
    """The name in the metadata of an upload in two parts."""
    start = body.find(b"{")
    return str(json.JSONDecoder().raw_decode(body[start:].decode("latin1"))[0]["name"]) if start >= 0 else ""


def _error(status: int) -> bytes:
    return _json(f"HTTP/1.0 {status} Fault", {"error": {"code": status, "message": f"fault {status}"}})


def _json(line: str, values: Any) -> bytes:
    body = json.dumps(values)
    return f"{line}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def _page(answer: bytes, first: int) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    values = json.loads(body or b"{}")
    items = values.get("items", [])
    values["items"] = items[first : first + PAGE]
    if first + PAGE < len(items):
        values["nextPageToken"] = str(first + PAGE)
    return _json(head.partition(b"\r\n")[0].decode(), values)


@contextmanager
def faulty_bucket(share: float = 0.0, seed: int = 0) -> Iterator[FaultyBucket]:
    """Runs a server while the block runs."""
    faulty = FaultyBucket(share=share, chance=random.Random(seed))
    create_bucket(BUCKET, faulty.storage)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, faulty))
    server.daemon_threads = True
    faulty.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield faulty
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def bucket_of_this_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyBucket]:
    """Runs a server while the block runs, and lets gs:// be there in this process."""
    with faulty_bucket() as faulty:
        for name, value in faulty.variables.items():
            monkeypatch.setenv(name, value)
        buckets._client.cache_clear()
        yield faulty
    buckets._client.cache_clear()
