"""What a user may say of a source beside naming it, and what the files are called that are made of it.

The command line needs these names for its help, and so this module imports no heavy library.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

VIDEOS, ANNOTATIONS, ENTITIES = "videos.csv", "annotations.csv", "entities.csv"
CONFIG, MISSING, WRITTEN = "config.yaml", "missing.csv", "init.json"


class Model(StrEnum):
    """The networks that a new config may name."""

    IMAGENET = "imagenet"
    RANDOM = "random"


@dataclass(frozen=True, slots=True)
class Options:
    """How a source is understood.

    Attributes:
        match: How ids are joined with the names of videos: a pattern with {id}, or a regular expression with a group.
        group_by: A regular expression whose first group, found in the path of a video, is the id of its group.
        split: Which of several official splits is taken, from 1; None takes the first.
        columns: The columns of a table by their roles; several are possible for labels.
        encoding: The encoding of tables, by a name that Python knows; "auto" takes what their bytes tell.
    """

    match: str | None = None
    group_by: str | None = None
    split: int | None = None
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    encoding: str = "auto"
