"""Groups of videos, by the paths of their videos."""

import re
from collections.abc import Sequence

from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.places import without_video_ending

UCF = re.compile(r"(?:\A|/)v_(\w+_g\d+)_c\d+\Z")
"""UCF-50 and UCF-101: v_CLASS_gGROUP_cCLIP. "The videos in each action category are grouped into 25 groups ... videos
from the same group may share some common features, such as similar background" (Soomro et al., 2012)."""

HMDB = re.compile(r"(?:\A|/)([^/]+)_[hulf]_(?:nm|cm)_np\d+_(?:fr|ba|le|ri)_(?:goo|med|bad)_\d+\Z")
"""HMDB51: FILM_ACTION_BODY-PARTS_CAMERA-MOTION_PEOPLE_VIEWPOINT_QUALITY_CLIP (Kuehne et al., 2011, §2.2). The official
splits keep the clips of one source together only within an action, and so the group is the source and the action."""


def group_pattern(names: Sequence[str], given: str | None) -> re.Pattern[str] | None:
    """The regular expression whose first group is a video's group: the given one, or a known one that all names have.

    Raises:
        UsageError: if the given one is no regular expression, or has no group.
    """
    if given is not None:
        return compiled(given, "--group-by", "--group-by '^(.+)_clip[0-9]+'")
    stems = [without_video_ending(name) for name in names]
    known = (pattern for pattern in (UCF, HMDB) if stems and all(map(pattern.search, stems)))
    return next(known, None)


def compiled(text: str, option: str, example: str) -> re.Pattern[str]:
    """A regular expression of the command line that has a group.

    Raises:
        UsageError: if it is none, or has no group.
    """
    try:
        pattern = re.compile(text)
        why = "" if pattern.groups else "it has no group in parentheses"
    except re.error as error:
        why = str(error)
    if why:
        raise UsageError(what="This is no pattern", where=f"{option} {text}", why=why, fix=f"for example {example}")
    return pattern


def group_of(name: str, pattern: re.Pattern[str] | None) -> str:
    """The group of a video by its path; "" for none.

    >>> group_of("Archery/v_Archery_g01_c02.avi", UCF), group_of("park.mp4", UCF)
    ('Archery_g01', '')
    """
    found = pattern.search(without_video_ending(name)) if pattern else None
    return (found.group(1) or "") if found else ""
