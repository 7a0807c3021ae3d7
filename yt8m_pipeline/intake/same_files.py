"""Videos that are one: links to the same file, and files of the same bytes."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

from yt8m_pipeline import files
from yt8m_pipeline.intake.video_files import VideoFile

HEAD_BYTES = 1 << 16
"""How much of two files of the same size is compared before the whole of them is: enough to tell videos apart."""


def copies(video_files: Sequence[VideoFile]) -> Iterator[list[VideoFile]]:
    """The groups of local videos that are links to one file or have the same bytes, each with at least two.

    Only files of one size are read, and only those whose beginnings are the same are read whole.
    """
    local = [video_file for video_file in video_files if files.is_local(video_file.uri)]
    for same_size in _divided([local], lambda video_file: os.stat(video_file.uri).st_size):
        by_file = defaultdict(list)
        for video_file in same_size:
            by_file[_file(video_file)].append(video_file)
        firsts = [group[0] for group in by_file.values()]
        same = {video_file.uri: same for same in _divided(_divided([firsts], _head), _whole) for video_file in same}
        for first in firsts:
            equals = same.get(first.uri, [first])
            if first is equals[0]:
                group = [video_file for equal in equals for video_file in by_file[_file(equal)]]
                if len(group) > 1:
                    yield sorted(group, key=lambda video_file: video_file.name)


def _file(video_file: VideoFile) -> tuple[int, int]:
    state = os.stat(video_file.uri)
    return state.st_dev, state.st_ino


def _divided(groups: Iterable[Sequence[VideoFile]], key: Callable[[VideoFile], Hashable]) -> Iterator[list[VideoFile]]:
    """The parts of groups that have the same key, without those of one video."""
    for group in groups:
        by_key = defaultdict(list)
        for video_file in group if len(group) > 1 else ():
            by_key[key(video_file)].append(video_file)
        yield from (part for part in by_key.values() if len(part) > 1)


def _head(video_file: VideoFile) -> str:
    """The digest of the beginning of a file. One that cannot be read is like no other."""
    try:
        with open(video_file.uri, "rb") as stream:
            return hashlib.sha256(stream.read(HEAD_BYTES)).hexdigest()
    except OSError:
        return video_file.uri


def _whole(video_file: VideoFile) -> str:
    return files.sha256(video_file.uri)
