"""Uris of rows that would lead a program to a server, to another program or to a file of the kernel, if they could."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from urllib.parse import quote

LOOPBACK = "127.0.0.1"

PYARROW = (
    "file",
    "gs",
    "gcs",
    "s3",
    "hdfs",
    "viewfs",
    "abfs",
    "abfss",
    "wasb",
    "hf",
    "mock",
    "fsspec+http",
)
BEAM = ("gs", "s3", "s3a", "hdfs", "webhdfs", "azfs", "http", "https")
FFMPEG = ("ftp", "tcp", "udp", "rtmp", "rtsp", "concat", "subfile", "crypto", "data", "pipe", "srt", "tls", "unix")
CACHES = ("async", "cache", "memory", "zip")
OTHERS = ("gopher", "ldap", "smb", "ssh", "sftp", "webdav", "jar", "dict", "telnet", "svn", "git", "javascript")
SCHEMES = sorted({*PYARROW, *BEAM, *FFMPEG, *CACHES, *OTHERS})


def hostile_uris(port: int) -> list[str]:
    """Uris that name a server on this port of this machine in every way, and none that a build may read."""
    server = f"{LOOPBACK}:{port}"
    return list(dict.fromkeys([*_servers(server), *_options(server), *_disguised(server), *_nested(server)]))


def _servers(server: str) -> list[str]:
    """The server as the authority, of every scheme that a library knows, also in capital letters, and as a guest."""
    plain = [f"{scheme}://{server}/x.mp4" for name in SCHEMES for scheme in (name, name.upper())]
    places = (f"user:password@{server}", f"bucket@{server}", server.replace(":", "%3A"), f"//{server}")
    return plain + [f"{scheme}://{place}/x.mp4" for scheme in SCHEMES for place in places]


def _options(server: str) -> list[str]:
    """The server as an option of a filesystem, for a client that would take its credentials there."""
    query = f"endpoint_override={server}&scheme=http"
    names = [f"bucket/x.mp4?{query}", f"bucket/x.mp4?{quote(query)}", f"bucket?{query}", f"bucket/?{query}"]
    names += [f"bucket/x.mp4#?{query}", f"bucket/x.mp4%3F{query}", f"bucket/x.mp4;?{query}", f"?{query}", f"/?{query}"]
    names += [f"user@bucket/x.mp4?{query}", f"user:secret@bucket/x.mp4?{query}", f"bucket:80/x.mp4?{query}"]
    names += [f"bucket/x.mp4?region=x&{query}", f"bucket/x.mp4?{query}&allow_bucket_creation=true"]
    names += [f"bucket/a/../x.mp4?{query}", f"bucket/x.mp4\0?{query}", f"bucket/x.mp4\r\nHost: {server}"]
    return [f"{scheme}://{name}" for scheme in ("gs", "gcs", "s3", "GS", "Gs", "S3") for name in names]


def _disguised(server: str) -> list[str]:
    """The server in letters that a careless parser takes for those of a URI."""
    return [
        f"gs：／／{server}/x.mp4",
        f"http：//{server}/x.mp4",
        f"ｈｔｔｐ：／／{server}/x.mp4",
        f"gs:／／bucket/x.mp4?endpoint_override={server}",
        f"gs://bücket/x.mp4?endpoint_override={server}",
        f"gs://{server}@bucket/x.mp4",
        f"gs://anonymous@{server}/x.mp4",
        f"gs://{server}\\@bucket/x.mp4",
        f"gs%3A%2F%2F{server}://x.mp4",
        f" http://{server}/x.mp4",
        f"\thttp://{server}/x.mp4",
        f"\x1b]8;;http://{server}\x1b\\x.mp4",
        f"://{server}/x.mp4",
        f"videos/http://{server}/x.mp4",
    ]


def _nested(server: str) -> list[str]:
    """A URI within a URI."""
    inner = f"http://{server}/x.mp4"
    return [
        f"{scheme}://{inner}" for scheme in ("gs", "s3", "cache", "simplecache", "zip", "concat", "crypto+http")
    ] + [
        f"gs://bucket/{inner}",
        f"gs://bucket/x?url={inner}",
        f"zip://x.mp4::{inner}",
        f"filecache://x::{inner}",
        f"concat:{inner}|{inner}",
        f"subfile,,start,0,end,9,,:{inner}",
    ]


class Server:
    """A server on this machine that counts who comes and sends them away."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener, self.visits = listener, 0
        self.port: int = listener.getsockname()[1]

    def serve(self) -> None:
        while True:
            try:
                visitor, _ = self._listener.accept()
            except OSError:
                return
            self.visits += 1
            visitor.close()


@contextmanager
def listening() -> Iterator[Server]:
    with socket.create_server((LOOPBACK, 0)) as listener:
        server = Server(listener)
        thread = Thread(target=server.serve, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
