"""What an export will do, found out before it starts: its source, what it encodes from, its output and key."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from yt8m_pipeline import files
from yt8m_pipeline.config import QuantizerConfig, recipe
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.index import read_parquet
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import Manifest
from yt8m_pipeline.dataset.offsets import OFFSET_COLUMNS
from yt8m_pipeline.dataset.reader import FinishedDataset, open_dataset
from yt8m_pipeline.dataset.steps import QUANTIZER, CodebookStep, FileEntry, PcaStep, step_key
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.jobs.build_folder import is_complete, require_apart
from yt8m_pipeline.jobs.build_plan import build_key, require_own_folder
from yt8m_pipeline.jobs.journal import Journal
from yt8m_pipeline.store.feature_store import DESCRIPTION, FeatureStore
from yt8m_pipeline.store.upkeep import is_space

UNIFORM = QuantizerConfig(method="uniform")
"""The codebook that every public reader assumes, and the only one that needs no fitting."""


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """Everything that an export needs to know.

    Attributes:
        source: The finished dataset to encode again.
        manifest: Its manifest.
        files: What its manifest says of each of its files, by path.
        pca: Its PCA, which the new dataset shares.
        store: The feature store that it was built from; None: its codes are encoded again.
        layout: Where the new dataset goes.
        config: The config of the new dataset, as its manifest has it: the source's, but for the codebook.
        key: From the store, that of a build with this config: the same bytes. From codes, another.
        previous: The manifest that the folder has already.
    """

    source: FinishedDataset
    manifest: Manifest
    files: Mapping[str, FileEntry]
    pca: PcaStep
    store: FeatureStore | None
    layout: Layout
    config: Mapping[str, Any]
    key: str
    previous: Manifest | None

    @property
    def quantizer(self) -> CodebookStep:
        """The codebook of the source."""
        return self.manifest.quantizer

    @property
    def videos(self) -> FileEntry:
        """The source's videos.parquet."""
        return self.files[Layout.VIDEOS]

    @property
    def tables(self) -> list[FileEntry]:
        """The source's tables, in which a codebook changes the offsets of records alone."""
        return [file for file in self.manifest.tables if file.path not in Layout.DESCRIPTION]

    @property
    def sizes(self) -> dict[Partition, int]:
        """How many shards each partition has."""
        return {part: len(self.source.shards("frame", part)) for part in Partition}

    @property
    def number_of_videos(self) -> int:
        return sum(self.manifest.partition(part).videos for part in Partition)

    @property
    def for_manifest(self) -> dict[str, Any]:
        """What the manifest says of the plan."""
        return {"build_key": self.key, "config": self.config, "inputs": _inputs(self.manifest)}

    @property
    def journal(self) -> Journal:
        return Journal(self.layout)

    @property
    def is_done(self) -> bool:
        """Whether the folder holds the finished export of the source as it is now, with no file gone."""
        if self.previous is None or not is_complete(self.layout, self.previous):
            return False
        stated = [(manifest.pca, _tables_but_videos(manifest)) for manifest in (self.previous, self.manifest)]
        videos = _videos(self.source.layout)
        return stated[0] == stated[1] and _videos(self.layout).select(videos.column_names).equals(videos)


def _tables_but_videos(manifest: Manifest) -> list[FileEntry]:
    return [file for file in manifest.tables if file.path not in {Layout.VIDEOS, *Layout.DESCRIPTION}]


def _videos(layout: Layout) -> pa.Table:
    """What videos.parquet says, but for the offsets of records."""
    videos = read_parquet(layout, Layout.VIDEOS)
    return videos.drop_columns([name for name in OFFSET_COLUMNS if name in videos.column_names])


def plan_export(dataset: str, output: str, store: str | None = None) -> ExportPlan:
    """Looks at the dataset, the store and the output folder.

    Args:
        dataset: The folder of a finished dataset.
        output: The folder of the new one.
        store: The feature store that the dataset was built from; None to encode its codes again.

    Raises:
        DataError: if the dataset is not finished or its manifest or codebook is damaged.
        UsageError: if it is uniform already, the store has no such features, or the output folder is not ours.
    """
    source, layout = open_dataset(dataset), Layout(output)
    manifest = Manifest.of(source.layout)
    _require_other_codebook(source)
    require_apart(dataset, output)
    space = manifest.feature_space.fingerprint
    config = {**manifest.config, "quantizer": recipe(UNIFORM)}
    built = build_key(manifest.versions.get("yt8m_pipeline", ""), config, _inputs(manifest), space)
    key = built if store else step_key("codes", manifest.build_key, source.quantizer.fingerprint, built)
    opened = require_store(store, space) if store else None
    listed = {file.path: file for file in manifest.files}
    return ExportPlan(source, manifest, listed, manifest.pca, opened, layout, config, key, _previous(layout, key))


def _inputs(manifest: Manifest) -> dict[str, Any]:
    """What the dataset was built from, but for a codebook that it had imported, whose place another one takes."""
    return {name: read for name, read in manifest.inputs.items() if name != QUANTIZER}


def _require_other_codebook(source: FinishedDataset) -> None:
    if source.quantizer.name == UNIFORM.method:
        raise UsageError(
            what="The dataset is uniform already",
            where=source.layout.root,
            why=f"its feature is {source.quantizer.feature_name}, which every public reader reads",
            fix="use it as it is, or copy the folder",
        )


def require_store(root: str, space: str) -> FeatureStore:
    """Opens a feature store that has features of a dataset's feature space.

    Raises:
        UsageError: if it has none.
    """
    store = FeatureStore(root, space)
    if not files.exists(files.join(store.folder, DESCRIPTION)):
        others = ", ".join(filter(is_space, files.list_folders(root))) or "nothing"
        raise UsageError(
            what="The feature store has no features of this dataset's feature space",
            where=root,
            why=f"the dataset is of space {space}, the folder holds {others}",
            fix="give the store that it was built from, or leave --store out to take its codes",
        )
    return store


def _previous(layout: Layout, key: str) -> Manifest | None:
    """The manifest of an earlier run of the same export."""
    require_own_folder(layout)
    previous = Manifest.find(layout)
    if previous and previous.build_key != key:
        raise UsageError(
            what="The output folder holds another dataset",
            where=layout.root,
            why="its manifest is not that of this export",
            fix="give an empty or new folder with --output",
        )
    return previous
