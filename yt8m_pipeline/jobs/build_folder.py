"""One build at a time in a folder: taking it, going on where a killed build stopped, and closing it."""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from yt8m_pipeline import files
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.layout import LEVELS, Layout
from yt8m_pipeline.dataset.manifest import Manifest, mark_complete
from yt8m_pipeline.dataset.steps import FileEntry, is_intact
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.files import FileState
from yt8m_pipeline.jobs.journal import Journal
from yt8m_pipeline.jobs.object_lock import Held, held
from yt8m_pipeline.jobs.refusals import Refusals
from yt8m_pipeline.parsing import parse_json


@contextmanager
def exclusive(layout: Layout) -> Iterator[Layout]:
    """Holds the folder for this process; the system lets go of it when the process ends, however it ends.

    In a bucket the lock of a killed build is free after two minutes (`object_lock`). A place of another kind has no
    locks: there a lock file is left by a killed build, and the error says how to remove it.

    Yields:
        The layout with the token that the lock file has, by which the steps of the build own the folder.

    Raises:
        UsageError: if another build holds the folder, with its process id and host.
    """
    path, token = layout.path(Layout.LOCK), uuid4().hex
    with _local_lock(files.resolve(path)[1], token) if files.is_local(path) else _remote_lock(path, token):
        yield replace(layout, token=token)


def _remote_lock(path: str, token: str) -> AbstractContextManager[None]:
    return _object_lock(path, token) if files.is_object(path) else _marked(path, token)


@contextmanager
def _local_lock(path: str, token: str) -> Iterator[None]:
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        descriptor = _signed(path, token)
    except OSError as error:
        raise DataError(
            what="The output folder cannot be written",
            where=path,
            why=str(error),
            fix="check its permissions, or give another --output",
        ) from None
    try:
        yield
    finally:
        if _is_at(path, descriptor):  # somebody may have removed it by hand, and another build made its own
            Path(path).unlink()
        os.close(descriptor)


def _signed(path: str, token: str) -> int:
    """A descriptor of the lock file at this path, locked, with our name and token in it."""
    descriptor = _locked(path)
    try:
        os.truncate(descriptor, 0)
        os.write(descriptor, _owner(token))
    except OSError:
        Path(path).unlink()
        os.close(descriptor)
        raise
    return descriptor


def _locked(path: str) -> int:
    """A descriptor of the lock file at this path, locked; a file that its owner removed meanwhile does not count."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 4096)
            os.close(descriptor)
            raise _held(path, owner, "wait for it to end, or stop it") from None
        if _is_at(path, descriptor):
            return descriptor
        os.close(descriptor)


def _is_at(path: str, descriptor: int) -> bool:
    return Path(path).exists() and os.path.samestat(Path(path).stat(), os.fstat(descriptor))


@contextmanager
def _object_lock(path: str, token: str) -> Iterator[None]:
    try:
        with held(path, _owner(token)):
            yield
    except Held as error:
        free = f"if it was killed, the folder is free in {error.seconds_left:.0f} s"
        raise _held(path, error.owner, f"wait for it to end, or stop it; {free}") from None


@contextmanager
def _marked(path: str, token: str) -> Iterator[None]:
    """A lock for places without conditions: it is a file, and two builds that start at once may both write it."""
    if files.exists(path):
        raise _held(path, files.read_bytes(path), "wait for it to end; if it was killed, remove the lock object")
    files.write_bytes(path, _owner(token))
    try:
        yield
    finally:
        files.delete(path)


def _owner(token: str) -> bytes:
    return json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "token": token}).encode()


def _held(path: str, owner: bytes, fix: str) -> UsageError:
    try:
        known = parse_json(owner)
        who = f"process {known['pid']} on {known['host']} holds it"
    except (ValueError, KeyError, TypeError):
        who = "a process that has only just started holds it"
    return UsageError(what="Another build is at work in this folder", where=path, why=who, fix=fix)


def begin(layout: Layout, anew: Partition | None) -> None:
    """Opens a folder for a build: the mark of completion goes. What is finished stays so, by the manifest.

    Raises:
        DataError: if the folder cannot be written.
    """
    files.delete_temporaries(layout.root)
    layout.write_bytes(Layout.UNFINISHED, (anew.value if anew else "all").encode())
    files.delete(layout.path(Layout.COMPLETE))


@contextmanager
def written(layout: Layout, anew: Partition | None) -> Iterator[None]:
    """Opens a folder that this process holds, lets the block write the dataset, and closes it.

    Raises:
        DataError: if the folder cannot be written, or if the block has written no manifest: an engine that only looks
            at a job, in a dry run, has done nothing.
    """
    begin(layout, anew)
    before, is_written = files.state(layout.path(Layout.MANIFEST)), False
    try:
        yield
        require_news(layout, Layout.MANIFEST, before)
        is_written = True
    finally:  # an engine may refuse a job by an error of its own, or the user stop it
        if not is_written and layout.is_owned:
            withdraw(layout, anew)
    finish(layout)


def require_news(layout: Layout, name: str, before: FileState | None) -> None:
    """Raises a DataError if the engine has not written the file that lists all others since it had this state."""
    if files.state(layout.path(name)) == before:
        raise DataError(
            what="The engine has not done the work",
            where=layout.root,
            why=f"it took the job, and has not written {name}",
            fix="leave --dry_run out, or see the engine's log; the same command goes on from here",
        )


def withdraw(layout: Layout, anew: Partition | None) -> None:
    """Closes a folder in which a build was refused: if nothing was written, the dataset is complete again.

    Args:
        layout: The folder.
        anew: The one partition that was to be written (`rebuild-split`); None: all of them.
    """
    manifest = Manifest.find(layout)
    if manifest and not Journal(layout).has_news and all(_is_untouched(layout, file, anew) for file in manifest.files):
        finish(layout)


def _is_untouched(layout: Layout, file: FileEntry, anew: Partition | None) -> bool:
    """Whether a file is that of the finished dataset. The journal tells of the PCA, the codebook and the shards."""
    is_table = "/" not in file.path or file.path == Layout.TEST_LABELS or file.path.startswith(f"{Layout.REJECTS}/")
    if is_table or (anew and f"/{anew.value}/" in file.path):
        return is_intact(layout, file)
    return files.file_size(layout.path(file.path)) == file.bytes


def is_rebuildable(layout: Layout) -> bool:
    """Whether every partition, but for one that a killed `rebuild-split` left, is as the manifest says."""
    if files.exists(layout.path(Layout.COMPLETE)):
        return True
    path = layout.path(Layout.UNFINISHED)
    return files.exists(path) and files.read_bytes(path) != b"all"


def is_complete(layout: Layout, manifest: Manifest) -> bool:
    """Whether the build of a manifest has ended, with no file gone since."""
    return {Layout.COMPLETE, *(file.path for file in manifest.files)} <= set(files.list_files(layout.root))


def finish(layout: Layout) -> None:
    """Marks the dataset complete. What earlier builds left goes: shards, rejects, labels withheld no more, the journal.

    Raises:
        NotOwned: if the folder is another build's.
        DataError: if the build left no manifest.
    """
    layout.require_owned()
    manifest = Manifest.find(layout)
    if manifest is None:
        raise DataError(
            what="The build left no manifest",
            where=layout.root,
            why="the pipeline ended early",
            fix="run the same command again",
        )
    listed, ours = (
        {file.path for file in manifest.files},
        tuple(f"{folder}/" for folder in (*LEVELS, Layout.REJECTS, Layout.ARRAYS)),
    )
    for name in set(files.list_files(layout.root)) - listed:
        if name.startswith(ours) or name in (Layout.REJECTS_TABLE, Layout.TEST_LABELS) or files.TEMPORARY_MARK in name:
            files.delete(layout.path(name))
    close(layout, Layout.MANIFEST)


def close(layout: Layout, name: str) -> None:
    """Ends the work in a folder: the journal goes, and the mark of completion gets the digest of the list of files."""
    Journal(layout).clear()
    Refusals(layout).clear()
    files.delete(layout.path(Layout.UNFINISHED))
    mark_complete(layout, name)


def require_apart(dataset: str, output: str, whose: str = "An export") -> None:
    """Refuses an output in or around the dataset; `whose` output it is, the error says.

    Raises:
        UsageError: if one is inside the other.
    """
    source, target = _place(dataset), _place(output)
    if source.startswith(target) or target.startswith(source):
        where = "is the dataset itself" if source == target else "and the dataset are one inside the other"
        raise UsageError(
            what=f"{whose} needs a folder of its own",
            where=output,
            why=f"the output {where}",
            fix="give another folder with --output",
        )


def _place(uri: str) -> str:
    return (os.path.realpath(files.resolve(uri)[1]) if files.is_local(uri) else uri).rstrip("/") + "/"
