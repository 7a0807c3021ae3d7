"""Stage 3: partitions that the user gives, by a column of the videos table or by lists of videos.

In a table, `given_partition` begins as a text of the user's and becomes the name of a partition, or "" for none.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from yt8m_pipeline.accounting.outcome import Drop, Outcome, mask, split
from yt8m_pipeline.accounting.reasons import DropReason, Stage
from yt8m_pipeline.config import Partitioning
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.selection.partitioning import units_of

UNKNOWN = "?"
"""What stands before a text that means no partition."""

TWICE = "!"
"""What stands before the id of a video that has its id in the list of one partition, and its uri in that of another."""

SHOWN = 10
"""How many values, videos or groups a message names."""


def name_given(videos: pa.Table, config: Partitioning) -> pa.Table:
    """Replaces each text of the partition column by the partition that `partitioning.values` says it means.

    Capitals and spaces around it make no difference, and 0.0 is 0: pandas writes numbers so where a cell is empty.
    """
    meant = {_plain(text): part.value for part, texts in config.values.items() for text in texts} | {"": ""}
    texts = videos["given_partition"].to_pylist()
    return _with_given(videos, [meant.get(_plain(text), UNKNOWN + text) for text in texts])


def name_listed(videos: pa.Table, listed: Mapping[str, str]) -> pa.Table:
    """Gives each video the partition in whose list its id or its uri stands."""
    pairs = zip(videos["video_id"].to_pylist(), videos["uri"].to_pylist(), strict=True)
    return _with_given(videos, [_listed(video_id, uri, listed) for video_id, uri in pairs])


def _listed(video_id: str, uri: str, listed: Mapping[str, str]) -> str:
    by_id, by_uri = listed.get(video_id, ""), listed.get(uri, "")
    return f"{TWICE}{video_id} ({by_id}, {by_uri})" if by_id and by_uri and by_id != by_uri else by_id or by_uri


def listed_names(videos: pa.Table, listed: Mapping[str, str]) -> list[str]:
    """The names of a list that are ids or uris of these videos."""
    return [name for column in ("video_id", "uri") for name in videos[column].to_pylist() if name in listed]


def unlisted_warnings(listed: Collection[str], found: Collection[str]) -> list[str]:
    """Warns of the names in lists that no video has.

    >>> unlisted_warnings(["a", "b"], {"a"})
    ['partitioning.lists: 1 of 2 names are those of no video of the videos table: b']
    """
    lost = sorted(set(listed) - set(found))
    text = f"partitioning.lists: {len(lost)} of {len(listed)} names are those of no video of the videos table"
    return [f"{text}: {_first(lost)}"] if lost else []


def settle_groups(videos: pa.Table) -> tuple[pa.Table, list[str]]:
    """Lets the members of a group without a partition follow the others. Of a divided group, each keeps its own.

    All rows of one group must be in the same call, in the order of files and rows.

    Returns:
        The videos, and for each divided group its id and partitions.
    """
    units, given = units_of(videos).to_pylist(), videos["given_partition"].to_pylist()
    partitions: dict[str, list[str]] = defaultdict(list)
    for unit, partition in zip(units, given, strict=True):
        if partition and partition not in partitions[unit]:
            partitions[unit].append(partition)
    settled = [own or (partitions[unit] or [""])[0] for unit, own in zip(units, given, strict=True)]
    divided = [f"{unit} ({', '.join(parts)})" for unit, parts in sorted(partitions.items()) if len(parts) > 1]
    return _with_given(videos, settled), divided


def reject_without(videos: pa.Table, config: Partitioning) -> Outcome:
    """Rejects the videos to which nothing gives a partition, if `partitioning.without` says so."""
    lacking = mask(pc.equal(videos["given_partition"], "")) & np.bool_(config.without == "reject")
    drop = Drop(DropReason.NO_PARTITION, lacking, "no partition is given, and partitioning.without is reject")
    return split(videos, [drop], Stage.PARTITIONING, "videos")


@dataclass(frozen=True, slots=True)
class Given:
    """What is known of the given partitions; it adds.

    Attributes:
        videos: How many videos have each value of `given_partition`.
        divided: How many groups are in two partitions.
        shown: The first of them.
    """

    videos: Counter[str]
    divided: int = 0
    shown: tuple[str, ...] = ()

    @classmethod
    def of(cls, videos: pa.Table) -> "Given":
        """What the videos of whole groups tell."""
        settled, divided = settle_groups(videos)
        return cls(Counter(settled["given_partition"].to_pylist()), len(divided), tuple(divided[:SHOWN]))

    def __add__(self, other: "Given") -> "Given":
        shown = tuple(sorted(self.shown + other.shown)[:SHOWN])
        return Given(self.videos + other.videos, self.divided + other.divided, shown)

    def warnings(self) -> list[str]:
        """Warns of divided groups."""
        return [f"{self.divided} groups are in two given partitions: {self._groups}"] if self.divided else []

    def check(self, config: Partitioning, where: str) -> None:
        """Checks that every video may go where it is given to.

        Raises:
            DataError: a text means no partition, a video is in two lists, a group is divided, or no video is of train.
        """
        twice = sorted(text.removeprefix(TWICE) for text in self.videos if text.startswith(TWICE))
        if twice:
            raise DataError(
                what=f"{len(twice)} videos stand in the lists of two partitions",
                where=where,
                why=f"their ids are in one list and their uris in another: {_first(twice)}",
                fix="remove each from one of the lists",
            )
        unknown = sorted(text.removeprefix(UNKNOWN) for text in self.videos if text.startswith(UNKNOWN))
        if unknown:
            raise DataError(
                what=f"The column {config.column} of the videos table gives partitions that are not known",
                where=where,
                why=f"partitioning.values does not have {', '.join(map(repr, unknown))}",
                fix="add each to the partition that it stands for in partitioning.values, or correct the table",
            )
        if self.divided and config.divided_groups == "error":
            raise DataError(
                what=f"{self.divided} groups are in two given partitions",
                where=where,
                why=f"what is alike would be in both: {self._groups}",
                fix="correct the table, or set partitioning.divided_groups to warn",
            )
        hashed = self.videos[""] if config.without == "hash" else 0
        if self.videos and not self.videos[Partition.TRAIN.value] + hashed:
            counts = ", ".join(f"{name or 'none'} {number}" for name, number in sorted(self.videos.items()))
            raise DataError(
                what="No video is given to the train partition",
                where=where,
                why=f"the partitions of the eligible videos: {counts}",
                fix="give train videos, on which the PCA and the codebook are fitted, or correct partitioning.values",
            )

    @property
    def _groups(self) -> str:
        return _first(self.shown, self.divided)


def _plain(text: str) -> str:
    return re.sub(r"^(\d+)\.0+$", r"\1", text.strip().casefold())


def _with_given(videos: pa.Table, given: list[str]) -> pa.Table:
    place = videos.schema.get_field_index("given_partition")
    return videos.set_column(place, "given_partition", pa.array(given, pa.string()))


def _first(names: Collection[str], number: int | None = None) -> str:
    shown = list(names)[:SHOWN]
    return ", ".join(shown) + (", …" if (number or len(names)) > len(shown) else "")
