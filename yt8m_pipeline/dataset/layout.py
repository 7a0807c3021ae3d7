"""The path of each file of a dataset; README.md beside this file says what the files hold."""

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


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of the dataset that stands in the folder `root`."""

    root: str

    MANIFEST: ClassVar = "manifest.json"
    COMPLETE: ClassVar = "COMPLETE"
    UNFINISHED: ClassVar = ".unfinished"
    LOCK: ClassVar = ".lock"
    JOURNAL: ClassVar = ".journal"
    REFUSALS: ClassVar = ".refusals"
    VOCABULARY: ClassVar = "vocabulary.csv"
    VIDEOS: ClassVar = "videos.parquet"
    REJECTS: ClassVar = "rejects.parquet"
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
