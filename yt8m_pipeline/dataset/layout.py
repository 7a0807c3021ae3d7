"""The path of each file of a dataset, and how it is written; README.md beside this file says what the files hold.

A build owns its folder by a token, which stands in the lock file, and not by a living process: its steps may run on
other machines, and go on when the command that started them has ended. Every file of a dataset is written through its
`Layout`, which proves that the lock file still has the build's token right before the file gets its name. So a build
that was stopped or superseded can write nothing more.

Between that proof and the renaming lie milliseconds, or the writing of the file's last bytes to the disk, in which the
folder may change hands. What is written then does no harm: the next build has only begun, and what the journal does
not record as done, it writes again.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, ClassVar

from yt8m_pipeline import files
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.files import TEMPORARY_MARK, join
from yt8m_pipeline.parsing import parse_json

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


class NotOwned(DataError):
    """A build has lost the folder that it writes to: it was stopped, or another build has taken the folder."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of the dataset that stands in the folder `root`.

    `REJECTS_TABLE` is what datasets of format 3 have in place of the folder `REJECTS`. `FEATURES` is the feature store
    of `yt8m extract`, which is no part of the dataset. `DESCRIPTION` are the files that every dataset gets anew, also
    one that takes the tables of another.

    Attributes:
        root: The folder, a local path or gs://.
        token: The token by which a build owns the folder: 32 random hexadecimal digits. None where the dataset is only
            read, or written by something other than a build, such as a conversion into a new folder; then writing
            asks for no lock.
    """

    root: str
    token: str | None = None

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
    READER: ClassVar = "read_dataset.py"
    CARD: ClassVar = "README.md"
    CROISSANT: ClassVar = "croissant.json"
    DESCRIPTION: ClassVar = frozenset({READER, CARD, CROISSANT})
    TEST_LABELS: ClassVar = "withheld/test_labels.parquet"
    ARRAYS: ClassVar = "arrays"
    FEATURES: ClassVar = "features"

    def path(self, name: str) -> str:
        """The full path of a file, given its path in the dataset."""
        return join(self.root, name)

    @contextmanager
    def open_write(self, name: str) -> Iterator[IO[bytes]]:
        """A writable binary stream for a file, given its path in the dataset; the file appears whole or not at all.

        Raises:
            NotOwned: the folder is another build's, before anything is written or when the file should get its name.
            DataError: the file cannot be written.
        """
        self.require_owned()
        try:
            with files.open_atomic(self.path(name)) as stream:
                yield stream
                self.require_owned()
        except DataError:
            self.require_owned()  # the build that has taken the folder has removed the half-written file
            raise

    def write_bytes(self, name: str, data: bytes) -> None:
        """Writes a file as `open_write` does."""
        with self.open_write(name) as stream:
            stream.write(data)

    @property
    def is_owned(self) -> bool:
        """Whether the lock file has this build's token; so of every layout without a token."""
        return self.token is None or self._owner().get("token") == self.token

    def require_owned(self) -> None:
        """Raises a `NotOwned` unless the lock file has this build's token."""
        if not self.is_owned:
            owner = self._owner()
            taken = f"process {owner.get('pid')} on {owner.get('host')} has taken it for another build"
            raise NotOwned(
                what="This build no longer owns the folder",
                where=self.path(self.LOCK),
                why=taken if owner else "the command that started this build has ended, and has given it up",
                fix="cancel what is left of this build: it can write nothing more here; the same command goes on",
            )

    def _owner(self) -> dict[str, object]:
        """What the lock file says; {} where there is none, or none that is signed."""
        try:
            owner = parse_json(files.read_bytes(self.path(self.LOCK)))
        except (FileNotFoundError, ValueError):
            return {}
        return owner if isinstance(owner, dict) else {}

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
