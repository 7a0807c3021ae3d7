"""Files, local or in a bucket: read, list, and write all or nothing.

Local files go through pyarrow's filesystem, objects at gs:// through `buckets`, and other places (s3://) through what
pyarrow has for them. It is imported when a file is first needed, since whoever imports the front door needs none.

A local file is written under a temporary name, which its writer locks. The system lets go of the lock when the writer
ends, however it ends, so that a temporary file without a lock is abandoned. A process id would not tell that: the same
number may be another process in another container.
"""

import hashlib
import io
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, NamedTuple, TypeAlias, cast
from urllib.parse import quote
from uuid import uuid4

from yt8m_pipeline import buckets
from yt8m_pipeline.errors import DataError

if TYPE_CHECKING:
    from pyarrow import fs

TEMPORARY_MARK = ".tmp-"
"""The beginning of the ending of a temporary file's name, which goes on with the writer's host and a random token."""

OUR_TEMPORARY = re.compile(re.escape(f"{TEMPORARY_MARK}{socket.gethostname()}-") + "[0-9a-f]{32}$")
"""The ending of the name of a temporary file of this host."""

UnknownPlace: TypeAlias = buckets.UnknownPlace
time_limit = buckets.time_limit


class FileState(NamedTuple):
    """What a listing tells of a file: bytes, and the modification time in nanoseconds, 0 where there is none."""

    size: int
    modified_ns: int


def resolve(uri: str) -> "tuple[fs.FileSystem, str]":
    """The filesystem of a path or URI, and the path in it. Objects at gs:// have none.

    Raises:
        UnknownPlace: its scheme is unknown, it is no URI, or its scheme needs a package that is not installed, which
            pyarrow tells as an ImportError (hf://).
    """
    if "://" not in uri:
        return _local(), os.path.abspath(uri)
    from pyarrow import ArrowException, fs  # noqa: PLC0415

    try:
        return cast(tuple[fs.FileSystem, str], fs.FileSystem.from_uri(_escaped(uri)))
    except ImportError:
        raise _unknown_place(uri, f"the scheme {uri.partition('://')[0]}:// is not supported") from None
    except (ValueError, ArrowException) as error:
        raise _unknown_place(uri, str(error)) from None


@cache
def _local() -> "fs.FileSystem":
    from pyarrow import fs  # noqa: PLC0415

    return fs.LocalFileSystem()


def _escaped(uri: str) -> str:
    """A URI whose path has spaces and foreign letters, as people name objects, as RFC 3986 §2 writes it."""
    server = re.match(r"[^/]*://[^/]*/?", uri)
    end = server.end() if server else 0
    return uri[:end] + quote(uri[end:], safe="%/:?#@!$&'()*+,;=~")


def require_known(uri: str) -> str:
    """The URI, if it names a kind of place that can be reached at all.

    Raises:
        UnknownPlace: the URI cannot be resolved, or its filesystem cannot be opened.
    """
    try:
        buckets.split(uri) if is_object(uri) else resolve(uri)
    except OSError as error:
        raise _unknown_place(uri, str(error)) from None
    return uri


def _unknown_place(uri: str, said: str) -> UnknownPlace:
    why = said.strip().partition("\n")[0]  # hdfs:// appends a line for each folder that holds no Java
    fix = "give a local path, or gs://BUCKET/PATH"
    return UnknownPlace(what="This is no place for files", where=uri, why=why, fix=fix)


def is_local(uri: str) -> bool:
    return "://" not in uri or uri.startswith("file://")


def is_object(uri: str) -> bool:
    """Whether a URI names something in Google Cloud Storage."""
    return uri.startswith(buckets.SCHEME)


def join(root: str, *parts: str) -> str:
    return "/".join([root.rstrip("/"), *parts])


def last_name(uri: str) -> str:
    """The name of a file or folder: the last part of its path, also of `.`; all of it, where it has no parts.

    >>> last_name("gs://bucket/a/"), last_name("/data/here/..")
    ('a', 'data')
    """
    return PurePosixPath(resolve(uri)[1] if is_local(uri) else uri).name or uri


def file_size(uri: str) -> int | None:
    """The size in bytes, or None where there is no such file."""
    found = state(uri)
    return found.size if found else None


def describe(uri: str) -> tuple[int, str]:
    """The size in bytes and the modification time, ISO 8601 or '' where the filesystem keeps none."""
    if is_object(uri):
        facts = buckets.stat(uri)
        return (facts.size, facts.updated.isoformat()) if facts else (0, "")
    filesystem, path = resolve(uri)
    info = filesystem.get_file_info(path)
    return max(info.size or 0, 0), info.mtime.isoformat() if info.mtime else ""


def state(uri: str) -> FileState | None:
    """The state of a file, as a listing of its folder gives it; None where there is no such file."""
    if is_object(uri):
        facts = buckets.stat(uri)
        return _object_state(facts) if facts else None
    filesystem, path = resolve(uri)
    info = filesystem.get_file_info(path)
    return _state(info) if info.is_file else None


def exists(uri: str) -> bool:
    return file_size(uri) is not None


@contextmanager
def open_read(uri: str) -> Iterator[IO[bytes]]:
    """A readable, seekable binary stream. A file in a bucket that is missing may be told only when it is read."""
    if is_object(uri):
        with io.BufferedReader(buckets.ObjectStream(uri)) as stream:
            yield cast(IO[bytes], stream)
        return
    filesystem, path = resolve(uri)
    with filesystem.open_input_file(path) as stream:
        yield cast(IO[bytes], stream)


MAX_WHOLE_BYTES = 1 << 32
"""What is read as a whole has at most this many bytes; the largest files of ours that are, of models and features, have
some hundred megabytes."""


def read_bytes(uri: str) -> bytes:
    """The bytes of a file.

    Raises:
        DataError: if it has more than MAX_WHOLE_BYTES.
    """
    if is_object(uri):
        return buckets.get(uri)
    with open_read(uri) as stream:
        size = stream.seek(0, os.SEEK_END)
        if size > MAX_WHOLE_BYTES:
            raise DataError(
                what="A file is too large to be read as a whole",
                where=uri,
                why=f"it has {size:,} bytes, more than {MAX_WHOLE_BYTES:,}",
                fix="see whether it is what its name says; copy it again",
            )
        stream.seek(0)
        return stream.read()


def sha256(uri: str) -> str:
    """The SHA-256 of a file's bytes, hexadecimal; memory is bounded whatever its size."""
    digest = hashlib.sha256()
    with open_read(uri) as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def open_atomic(uri: str, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """A writable binary stream. The file appears under its name whole, when the block ends well, or not at all.

    Args:
        uri: The place of the file. Folders that are missing are made.
        durable: Whether bytes and name of a local file are on the disk before this returns, so that a power failure
            takes neither away. That costs milliseconds, and is left out for what a later run finds out anew.

    Raises:
        DataError: if the file cannot be written (no space, no permission, no such bucket).
    """
    try:
        with _written(uri, durable=durable) as stream:
            yield stream
    except buckets.BucketError:
        raise
    except OSError as error:
        raise DataError(
            what="A file cannot be written",
            where=uri,
            why=error.strerror or str(error),
            fix="free space, or check the permissions of the folder",
        ) from error


@contextmanager
def _written(uri: str, *, durable: bool) -> Iterator[IO[bytes]]:
    """As `open_atomic`, with the errors of the place."""
    if is_object(uri):
        with buckets.writing(uri) as spool:
            yield spool
        return
    filesystem, path = resolve(uri)
    temporary = f"{path}{TEMPORARY_MARK}{socket.gethostname()}-{uuid4().hex}"
    try:
        if is_local(uri):
            with _local_file(path, temporary, durable=durable) as local:
                yield local
        else:
            filesystem.create_dir(os.path.dirname(path), recursive=True)
            with filesystem.open_output_stream(temporary) as remote:
                yield cast(IO[bytes], remote)
            filesystem.move(temporary, path)
    finally:
        _discard(filesystem, temporary)


@contextmanager
def _local_file(path: str, temporary: str, *, durable: bool) -> Iterator[IO[bytes]]:
    """As `open_atomic`, of a local file. Whenever there is a file with the temporary name, it is locked."""
    import fcntl  # noqa: PLC0415  Windows, where finished datasets can be read, has none

    folder = os.path.dirname(path)
    _make_folder(folder)
    with open(f"{temporary}.new", "xb") as stream:
        with suppress(OSError):  # of a file system without locks
            fcntl.flock(stream, fcntl.LOCK_EX)
        os.rename(f"{temporary}.new", temporary)
        yield stream
        stream.flush()
        if durable:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    if durable:
        _sync_folder(folder)


def _make_folder(folder: str) -> None:
    """Makes a folder and those above it, and writes the names of the new ones to the disk."""
    parents = [folder]
    while not os.path.isdir(parents[-1]):
        parents.append(os.path.dirname(parents[-1]))
    _local().create_dir(folder, recursive=True)
    for parent in reversed(parents[1:]):
        _sync_folder(parent)


def _sync_folder(folder: str) -> None:
    """Writes the names in a folder to the disk. Some network file systems refuse; there a name may be lost."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_bytes(uri: str, data: bytes, *, durable: bool = True) -> FileState:
    """Writes a file as `open_atomic` does, and returns its state."""
    if is_object(uri):
        return _object_state(buckets.put(uri, io.BytesIO(data), len(data)))
    with open_atomic(uri, durable=durable) as stream:
        stream.write(data)
    return state(uri) or FileState(len(data), 0)


def delete(uri: str) -> None:
    """Deletes a file; a file that is not there is no error."""
    if is_object(uri):
        buckets.remove(uri)
        return
    filesystem, path = resolve(uri)
    _discard(filesystem, path)


def delete_folder(uri: str) -> None:
    """Deletes a folder and all in it; a folder that is not there is no error."""
    if is_object(uri):
        for name in list_files(uri):
            buckets.remove(join(uri, name))
        return
    filesystem, path = resolve(uri)
    if _is_folder(filesystem.get_file_info(path)):
        filesystem.delete_dir(path)


def list_files(root: str) -> list[str]:
    """Every file under a folder, as paths relative to it with forward slashes, sorted; [] where there is no folder."""
    if is_object(root):
        return sorted(name for name, _ in buckets.listed(root))
    path, infos = _listing(root, recursive=True)
    return sorted(info.path[len(path) :].lstrip("/") for info in infos if info.is_file)


def list_states(folder: str) -> dict[str, FileState]:
    """The files of one folder by name, without those of its subfolders; {} where there is no such folder."""
    if is_object(folder):
        return {name: _object_state(facts) for name, facts in buckets.children(folder) if facts}
    _, infos = _listing(folder, recursive=False)
    return {info.base_name: _state(info) for info in infos if info.is_file}


def list_folders(folder: str) -> list[str]:
    """The names of the folders in a folder, sorted; [] where there is no such folder.

    A bucket has no folders, only names with slashes; a client that does not know them gets all files listed.
    """
    if is_object(folder):
        return sorted(name for name, facts in buckets.children(folder) if facts is None)
    if not is_local(folder):
        return sorted({name.partition("/")[0] for name in list_files(folder) if "/" in name})
    _, infos = _listing(folder, recursive=False)
    return sorted(info.base_name for info in infos if _is_folder(info))


def delete_temporaries(root: str) -> list[str]:
    """Removes what killed writers of this host left under a local folder; returns the paths removed.

    Files that cannot be removed, for example from a disk that can only be read, stay.
    """
    if not is_local(root):
        return []
    return [name for name in list_files(root) if is_abandoned(join(root, name)) and _try_to_delete(join(root, name))]


def _try_to_delete(uri: str) -> bool:
    try:
        delete(uri)
    except OSError:
        return False
    return True


def is_abandoned(uri: str) -> bool:
    """Whether a local file is one that a killed writer of this host left half written.

    Nobody can tell of a file of another host, of an object in a bucket, or where the file system has no locks: then the
    answer is no.
    """
    if not is_local(uri) or not OUR_TEMPORARY.search(uri):
        return False
    import fcntl  # noqa: PLC0415  Windows, where finished datasets can be read, has none

    try:
        with open(resolve(uri)[1], "r+b") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _listing(folder: str, *, recursive: bool) -> "tuple[str, list[fs.FileInfo]]":
    """The path of a folder in its filesystem, and what is in it; nothing where there is no such folder."""
    from pyarrow import fs  # noqa: PLC0415

    filesystem, path = resolve(folder)
    try:
        return path, filesystem.get_file_info(fs.FileSelector(path, recursive=recursive, allow_not_found=True))
    except NotADirectoryError:
        return path, []


def _is_folder(info: "fs.FileInfo") -> bool:
    return bool(info.type.name == "Directory")


def _state(info: "fs.FileInfo") -> FileState:
    return FileState(info.size or 0, info.mtime_ns or 0)


def _object_state(facts: buckets.Facts) -> FileState:
    since = facts.updated - datetime.fromtimestamp(0, UTC)
    return FileState(facts.size, since // timedelta(microseconds=1) * 1000)


def _discard(filesystem: "fs.FileSystem", path: str) -> None:
    """Another process may do the same at the same time."""
    if filesystem.get_file_info(path).is_file:
        with suppress(FileNotFoundError):
            filesystem.delete_file(path)
