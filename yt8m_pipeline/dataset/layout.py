"""The path of each file of a dataset; README.md beside this file says what the files hold."""

import re
from dataclasses import dataclass
from typing import ClassVar

from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.files import TEMPORARY_MARK, join

LEVELS = ("frame", "video")
"""The two levels of the published dataset: one record has all frames of a video, or their mean (paper §4)."""


@dataclass(frozen=True, order=True, slots=True)
class Shard:
    """One of the `of` shards of a partition. It names two files, one of each level, that hold the same videos."""

    partition: Partition
    index: int
    of: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.of:
            raise ValueError(f"shard {self.index} of {self.of} does not exist")

    @classmethod
    def of_name(cls, name: str) -> "Shard":
        """The shard with this name."""
        partition, index, _, of = name.rsplit("-", 3)
        return cls(Partition(partition), int(index), int(of))

    @property
    def name(self) -> str:
        return f"{self.partition.value}-{self.index:05d}-of-{self.of:05d}"

    def file(self, level: str) -> str:
        """The shard's path in the dataset at a level, e.g. frame/train/train-00000-of-00004.tfrecord."""
        return f"{level}/{self.partition.value}/{self.name}.tfrecord"


@dataclass(frozen=True, order=True, slots=True)
class RejectsPart:
    """One of the `of` files with the rejects of a stage. Those of an id are all in one of them.

    >>> RejectsPart("decode", 0, 1).path
    'rejects/decode-00000-of-00001.parquet'
    >>> RejectsPart.of_path("rejects/decode-00000-of-00001.parquet")
    RejectsPart(stage='decode', index=0, of=1)
    """

    stage: str
    index: int
    of: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.of:
            raise ValueError(f"part {self.index} of {self.of} does not exist")

    @classmethod
    def of_path(cls, path: str) -> "RejectsPart":
        """The part whose file has this path in the dataset.

        Raises:
            ValueError: the path names no part.
        """
        found = re.fullmatch(rf"{Layout.REJECTS}/([a-z_]+)-(\d+)-of-(\d+)\.parquet", path)
        if found is None:
            raise ValueError(f"{path!r} is not the path of rejects")
        return cls(found[1], int(found[2]), int(found[3]))

    @property
    def path(self) -> str:
        """The file's path in the dataset."""
        return f"{Layout.REJECTS}/{self.stage}-{self.index:05d}-of-{self.of:05d}.parquet"


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of the dataset that stands in the folder `root`.

    `REJECTS_TABLE` is what datasets of format 3 have in place of the folder `REJECTS`.
    """

    root: str

    MANIFEST: ClassVar = "manifest.json"
    COMPLETE: ClassVar = "COMPLETE"
    UNFINISHED: ClassVar = ".unfinished"
    LOCK: ClassVar = ".lock"
    JOURNAL: ClassVar = ".journal"
    REFUSALS: ClassVar = ".refusals"
    VOCABULARY: ClassVar = "vocabulary.csv"
    VIDEOS: ClassVar = "videos.parquet"
    REJECTS: ClassVar = "rejects"
    REJECTS_SUMMARY: ClassVar = "rejects/summary.json"
    REJECTS_TABLE: ClassVar = "rejects.parquet"
    PCA: ClassVar = "pca"
    QUANTIZER: ClassVar = "quantizer.npz"
    TEST_LABELS: ClassVar = "withheld/test_labels.parquet"

    def path(self, name: str) -> str:
        """The full path of a file, given its path in the dataset."""
        return join(self.root, name)

    @staticmethod
    def is_beginning(name: str) -> bool:
        """Whether a file is all that a build leaves that was killed before it marked the folder as its own."""
        return name == Layout.LOCK or name.startswith(f"{Layout.UNFINISHED}{TEMPORARY_MARK}")

    @staticmethod
    def is_rejects(name: str) -> bool:
        """Whether a file holds rejects: it is a part, or the one table of format 3."""
        try:
            return name == Layout.REJECTS_TABLE or RejectsPart.of_path(name).of > 0
        except ValueError:
            return False
