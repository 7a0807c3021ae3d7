"""What `yt8m init` understands of a source: the one value that every reader fills and the writer writes.

A reader of a source yields a `Reading`: what the source says of each video, whose file may not be on this machine.
Joined with the videos that are there, it becomes `Understood`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Label(NamedTuple):
    """A label of one video. The times are those of its segment in the video, where the source gives one."""

    entity_id: str
    score: float | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None


class Entity(NamedTuple):
    """What a source knows of a label beside its id."""

    entity_id: str
    name: str
    description: str = ""
    wiki_url: str = ""
    verticals: tuple[str, ...] = ()


class Unused(NamedTuple):
    """A file, row or value of a source that no table gets, and why."""

    why: str
    name: str


@dataclass(frozen=True, slots=True)
class Record:
    """What a source says of one video.

    Attributes:
        identifier: The dataset's own id; "" where it has none, and the id is made of the video's path.
        names: The paths, or names without an ending, that the video may have, the likeliest first.
        place: The local path or URI that the source itself gives; "" for none.
        labels: Its labels, in the order of the source.
        partition: The partition as the source writes it; "" for none.
        group: What the videos of one origin share; "" for none.
        duration_seconds: As the source gives it.
        view_count: As the source gives it.
    """

    identifier: str
    names: tuple[str, ...]
    place: str = ""
    labels: tuple[Label, ...] = ()
    partition: str = ""
    group: str = ""
    duration_seconds: float | None = None
    view_count: int | None = None

    @property
    def shown(self) -> str:
        """How a message names it."""
        return self.identifier or self.place or self.names[0]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a source says, before its videos are looked for.

    Attributes:
        kind: The name of the kind of source, as it is shown.
        records: What it says of each video.
        entities: What it knows of its labels beside their texts.
        columns: The column that was taken for each role.
        notes: What the user should know.
        unused: What could not be used.
        is_labelled: Whether the source is one of labels at all.
    """

    kind: str
    records: Sequence[Record]
    entities: Sequence[Entity] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    unused: Sequence[Unused] = ()
    is_labelled: bool = True


@dataclass(frozen=True, slots=True)
class Video:
    """A row of the videos table, with the rows that it has in the annotations table."""

    video_id: str
    uri: str
    labels: tuple[Label, ...] = ()
    partition: str = ""
    group_id: str = ""
    duration_seconds: float | None = None
    view_count: int | None = None


class Lacking(NamedTuple):
    """A row of missing.csv: a video that lacks its video or its labels."""

    lacks: str
    video_id: str
    uri: str


@dataclass(frozen=True, slots=True)
class Understood:
    """What becomes the tables. `lacking`, like `unused`, is in none of them.

    Attributes:
        kind: The name of the kind of source.
        videos: Sorted by their ids.
        entities: Sorted by their ids; empty where the source knows no more of a label than its text.
        lacking: The videos without a video, and the videos without labels, sorted.
    """

    kind: str
    videos: Sequence[Video]
    entities: Sequence[Entity]
    columns: Mapping[str, str]
    notes: Sequence[str]
    unused: Sequence[Unused]
    lacking: Sequence[Lacking]

    @property
    def classes(self) -> Counter[str]:
        """The number of videos of each label."""
        return Counter(label for video in self.videos for label in {item.entity_id for item in video.labels})

    @property
    def partitions(self) -> Counter[str]:
        """The number of videos of each given partition; "" stands for none."""
        return Counter(video.partition for video in self.videos)

    @property
    def groups(self) -> Counter[str]:
        """The number of videos of each group, without those of none."""
        return Counter(video.group_id for video in self.videos if video.group_id)

    @property
    def has_partitions(self) -> bool:
        return any(video.partition for video in self.videos)

    @property
    def has_segments(self) -> bool:
        return any(label.start_seconds is not None for video in self.videos for label in video.labels)
