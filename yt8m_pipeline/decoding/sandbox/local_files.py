"""Opening of videos by name: only what a row may name, and of local files only regular ones.

A device, a named pipe or a file of the kernel is never opened: reading one may block for ever or change something. The
path is resolved and looked at first; what was opened is looked at once more, because the path may have changed between.
"""

import io
import os
import stat

from yt8m_pipeline import files
from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.places import SYSTEM_FOLDERS, Places, is_below

READING = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
"""A named pipe that has taken the file's place does not block, and a link that has is not followed."""


def require_accepted(uri: str, places: Places | None) -> None:
    """Raises VideoRejected, URI_NOT_ACCEPTED, for a uri that no row may name; places of None accept any."""
    why = places.refusal(uri) if places else None
    if why:
        raise _not_accepted(uri, why)


def open_local(uri: str, places: Places | None) -> io.FileIO:
    """Opens a local file for reading.

    Args:
        uri: A local path. Symbolic links in it are followed, also out of the root folder, unless `places` forbids it.
        places: What may be read; None: anything.

    Raises:
        VideoRejected: NOT_A_VIDEO, if it is not a regular file; URI_NOT_ACCEPTED, if it is one of the kernel's or
            outside of the root.
        OSError: if it is missing or cannot be opened.
    """
    path = files.resolve(uri)[1]
    real = path if _is_of_system(path) else os.path.realpath(path)
    if _is_of_system(real):
        raise _not_accepted(uri, "the file is the kernel's")
    if places and not places.encloses(real):  # said of what is missing too: nobody learns what stands outside
        raise _not_accepted(uri, "it is outside tables.root (tables.allow_outside_root)")
    _require_regular(uri, os.stat(real, follow_symlinks=False))
    opened = io.FileIO(os.open(real, READING))
    try:
        _require_regular(uri, os.fstat(opened.fileno()))
    except VideoRejected:
        opened.close()
        raise
    return opened


def _is_of_system(path: str) -> bool:
    return any(is_below(path, folder) for folder in SYSTEM_FOLDERS)


def _require_regular(uri: str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise VideoRejected(DropReason.NOT_A_VIDEO, f"{uri}: not a regular file")
    if any(os.path.ismount(folder) and os.stat(folder).st_dev == found.st_dev for folder in SYSTEM_FOLDERS):
        raise _not_accepted(uri, "the file is the kernel's")


def _not_accepted(uri: str, why: str) -> VideoRejected:
    return VideoRejected(DropReason.URI_NOT_ACCEPTED, f"uri {uri}: {why}")
