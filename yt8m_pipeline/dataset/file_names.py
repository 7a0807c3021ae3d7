"""The names of files that are made of the ids of videos, for other programs."""

import hashlib
from urllib.parse import quote

SAFE_NAME_BYTES = 180
"""A file name longer than this is cut, and ends in a digest: filesystems have 255 bytes, with the ending."""


def safe_name(video_id: str) -> str:
    """A name for the files of a video: without dots, slashes and spaces, and of bounded length; no two ids share one.

    WebDataset ends the key of a sample at the first dot.

    >>> safe_name("park-01"), safe_name("a/b.c d")
    ('park-01', 'a%2Fb%2Ec%20d')
    """
    name = quote(video_id, safe="").replace(".", "%2E").replace("~", "%7E")
    if len(name) <= SAFE_NAME_BYTES:
        return name
    digest = hashlib.sha256(video_id.encode()).hexdigest()
    return f"{name[: SAFE_NAME_BYTES - len(digest) - 1]}~{digest}"  # no other name has a ~
