"""What an export for other trainers will do, found out before it starts."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from yt8m_pipeline import __version__, files
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.layout import Layout, Shard
from yt8m_pipeline.dataset.manifest import Manifest
from yt8m_pipeline.dataset.reader import FinishedDataset, open_dataset
from yt8m_pipeline.dataset.steps import FileEntry, step_key
from yt8m_pipeline.dataset.typed_json import to_json
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.interop.export_list import LIST, ExportedFile, ExportList
from yt8m_pipeline.interop.trainer_formats import Classes, ShardWriter
from yt8m_pipeline.interop.trainer_names import TrainerFormat, Values
from yt8m_pipeline.jobs.export_plan import require_apart
from yt8m_pipeline.jobs.journal import Journal

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
        if found is None or found.key != self.key or not files.exists(self.layout.path(Layout.COMPLETE)):
            return False
        return all(files.file_size(self.layout.path(file.path)) == file.bytes for file in found.files)


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
    _require_own_folder(plan)
    return plan


def _require_own_folder(plan: TrainerExportPlan) -> None:
    """Raises a UsageError if the folder has anything in it but this export, finished or not."""
    layout, found = plan.layout, ExportList.find(plan.layout.root)
    names = [name for name in files.list_files(layout.root) if not layout.is_beginning(name)]
    foreign = names and not {LIST, Layout.UNFINISHED} & set(names)
    if files.exists(layout.root) or foreign or (found and found.key != plan.key):
        why = "it is a file" if files.exists(layout.root) else f"it holds {names[0]} and {len(names) - 1} other files"
        raise UsageError(
            what="The output is not the folder of this export",
            where=layout.root,
            why="the export in it is of another dataset or in another format" if found else why,
            fix="give a new or empty folder with --output",
        )


def write_list(plan: TrainerExportPlan, found: Iterable[ExportedFile]) -> None:
    """Writes export.json, when every other file stands."""
    writer = plan.writer
    listed = tuple(sorted(found, key=lambda file: file.path))
    told = ExportList(__version__, writer.form.value, writer.values.value, plan.key, plan.build_key, listed)
    plan.layout.write_bytes(LIST, (json.dumps(to_json(told), indent=1, sort_keys=True) + "\n").encode())


def exported(entry: FileEntry, videos: int) -> ExportedFile:
    """A file of an export, from what was written."""
    return ExportedFile(entry.path, videos, entry.bytes, entry.sha256)
