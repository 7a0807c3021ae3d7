"""What an export for other trainers will do, found out before it starts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from yt8m_pipeline import __version__
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.file_list import ListedFile, write_list
from yt8m_pipeline.dataset.layout import Layout, Shard
from yt8m_pipeline.dataset.manifest import Manifest
from yt8m_pipeline.dataset.reader import FinishedDataset, open_dataset
from yt8m_pipeline.dataset.steps import FileEntry, step_key
from yt8m_pipeline.interop.export_list import LIST, ExportList
from yt8m_pipeline.interop.trainer_formats import Classes, ShardWriter
from yt8m_pipeline.interop.trainer_names import TrainerFormat, Values
from yt8m_pipeline.jobs.build_folder import require_apart
from yt8m_pipeline.jobs.journal import Journal
from yt8m_pipeline.jobs.listed_folder import is_whole, require_own_list

REVISION = 1
"""The revision of what the writers write. Whoever changes a byte of it raises this number."""


@dataclass(frozen=True, slots=True)
class TrainerExportPlan:
    """Everything that an export needs to know. It is small, since every step of the pipeline gets it.

    Attributes:
        dataset: The finished dataset. It travels as its path, and each worker opens it once.
        build_key: That of the dataset.
        videos: The number of videos of each partition.
        copied: The codebook and the vocabulary of the dataset, which go beside its export.
        layout: Where the export goes.
        writer: Writes shards in the format.
        key: A SHA-256 of everything that the bytes of the export depend on.
    """

    dataset: FinishedDataset
    build_key: str
    videos: Mapping[Partition, int]
    copied: Sequence[FileEntry]
    layout: Layout
    writer: ShardWriter
    key: str

    @property
    def shards(self) -> list[tuple[Shard, Shard]]:
        """Each shard that has videos, sorted, and the shard of the export that it becomes, numbered without gaps.

        WebDataset ends a training with "No samples found" in a worker all of whose files are empty.
        """
        rows = [row for row in self.dataset.rows.values() if row.level == "frame" and row.records]
        found = sorted(Shard.of_name(row.name) for row in rows)
        by_partition = [[shard for shard in found if shard.partition == part] for part in Partition]
        return [
            (shard, Shard(shard.partition, number, len(shards)))
            for shards in by_partition
            for number, shard in enumerate(shards)
        ]

    @property
    def journal(self) -> Journal:
        return Journal(self.layout)

    @property
    def is_done(self) -> bool:
        """Whether the folder holds this very export, finished, with no listed file gone."""
        found = ExportList.find(self.layout.root)
        return bool(found and found.key == self.key and is_whole(self.layout, found.files))


def plan_trainer_export(
    dataset: str, output: str, form: TrainerFormat | str, values: Values | str = Values.FLOAT32
) -> TrainerExportPlan:
    """Looks at the dataset and the output folder; the arguments and errors are those of `export_for_trainers`."""
    opened = open_dataset(dataset)
    require_apart(dataset, output)
    manifest = Manifest.of(opened.layout)
    withheld = frozenset(Partition) - manifest.published
    writer = ShardWriter(
        TrainerFormat(form), Values(values), opened.dimensions, Classes(tuple(opened.classes), withheld)
    )
    copied = [file for file in manifest.files if file.path in (Layout.QUANTIZER, Layout.VOCABULARY)]
    read = sorted((file.path, file.sha256) for file in (*copied, *(row.file for row in manifest.shards)))
    key = step_key(REVISION, __version__, writer.form, writer.values, sorted(withheld), read)
    videos = {part: row.videos for part, row in manifest.partitions.items()}
    plan = TrainerExportPlan(opened, manifest.build_key, videos, copied, Layout(output), writer, key)
    found = ExportList.find(output)
    require_own_list(plan.layout, LIST, "this export", is_other=bool(found and found.key != key))
    return plan


def write_export_list(plan: TrainerExportPlan, found: Iterable[ListedFile]) -> None:
    """Writes export.json, when every other file stands."""
    writer = plan.writer
    listed = tuple(sorted(found, key=lambda file: file.path))
    told = ExportList(__version__, writer.form.value, writer.values.value, plan.key, plan.build_key, listed)
    write_list(plan.layout, LIST, told)
