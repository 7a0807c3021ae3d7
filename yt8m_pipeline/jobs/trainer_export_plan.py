"""What an export for other trainers will do, found out before it starts, and the list of what it wrote.

```
EXPORT/
  export.json    the format, which dataset it is of, and each file with its number of videos, size and digest
  COMPLETE       the digest of export.json, written last
  …              the files of the format (`interop/trainer_formats.py`), quantizer.npz and vocabulary.csv
```
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from yt8m_pipeline import __version__, files
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.layout import EXPORT_LIST, Layout, Shard
from yt8m_pipeline.dataset.manifest import Manifest
from yt8m_pipeline.dataset.reader import open_dataset
from yt8m_pipeline.dataset.steps import FileEntry, step_key
from yt8m_pipeline.dataset.typed_json import from_json, to_json
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.interop.trainer_formats import Classes, ShardWriter, TrainerFormat, Values
from yt8m_pipeline.jobs.export_plan import require_apart
from yt8m_pipeline.jobs.journal import Journal
from yt8m_pipeline.parsing import parse_json

LIST = EXPORT_LIST
"""The file that lists an export."""

REVISION = 2
"""The revision of what the writers write. Whoever changes a byte of it raises this number."""


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file of an export: its path there, the number of videos in it, its size in bytes and its SHA-256."""

    path: str
    videos: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ExportList:
    """What export.json says.

    Attributes:
        version: The version of this package that wrote it.
        format: The format, one of `TrainerFormat`.
        values: What stands for a frame, one of `Values`.
        key: A SHA-256 of everything that the bytes of the export depend on.
        build_key: That of the dataset.
        files: Every file but export.json and COMPLETE. Of .npy files only their tables are listed, which list them.
    """

    version: str
    format: str
    values: str
    key: str
    build_key: str
    files: tuple[ExportedFile, ...]

    @classmethod
    def find(cls, folder: str) -> "ExportList | None":
        """The list of the export in a folder, or None.

        Raises:
            DataError: it is damaged.
        """
        path = files.join(folder, LIST)
        if not files.exists(path):
            return None
        try:
            return from_json(cls, parse_json(files.read_bytes(path)))
        except (ValueError, KeyError, TypeError) as error:
            fix = "remove the folder, and export again"
            raise DataError(
                what="The list of an export is damaged", where=path, why=" ".join(str(error).split()), fix=fix
            ) from None


@dataclass(frozen=True, slots=True)
class TrainerExportPlan:
    """Everything that an export needs to know.

    Attributes:
        dataset: The folder of the finished dataset.
        manifest: Its manifest.
        layout: Where the export goes.
        writer: Writes shards in the format.
    """

    dataset: str
    manifest: Manifest
    layout: Layout
    writer: ShardWriter

    @property
    def shards(self) -> list[tuple[Shard, Shard]]:
        """Each shard that has videos, sorted, and the shard of the export that it becomes, numbered without gaps.

        WebDataset ends a training with "No samples found" in a worker all of whose files are empty.
        """
        rows = [row for row in self.manifest.shards if row.level == "frame" and row.records]
        found = sorted(Shard.of_name(row.path.rsplit("/", 1)[1].removesuffix(".tfrecord")) for row in rows)
        by_partition = [[shard for shard in found if shard.partition == part] for part in Partition]
        return [
            (shard, Shard(shard.partition, number, len(shards)))
            for shards in by_partition
            for number, shard in enumerate(shards)
        ]

    @property
    def key(self) -> str:
        """A SHA-256 of everything that the bytes of the export depend on."""
        shards = sorted((row.path, row.sha256) for row in self.manifest.shards)
        writer = (self.writer.form, self.writer.values, self.writer.classes.names)
        withheld = sorted(self.writer.classes.are_withheld)
        return step_key(REVISION, __version__, writer, withheld, shards, self.manifest.quantizer.facts.fingerprint)

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
    withheld = frozenset(Partition(name) for name, state in manifest.more["labels"].items() if state == "withheld")
    classes = Classes(tuple(opened.classes), withheld)
    writer = ShardWriter(TrainerFormat(form), Values(values), opened.dimensions, classes)
    plan = TrainerExportPlan(dataset, manifest, Layout(output), writer)
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
    told = ExportList(__version__, writer.form.value, writer.values.value, plan.key, plan.manifest.build_key, listed)
    plan.layout.write_bytes(LIST, (json.dumps(to_json(told), indent=1, sort_keys=True) + "\n").encode())


def exported(entry: FileEntry, videos: int) -> ExportedFile:
    """A file of an export, from what was written."""
    return ExportedFile(entry.path, videos, entry.bytes, entry.sha256)
