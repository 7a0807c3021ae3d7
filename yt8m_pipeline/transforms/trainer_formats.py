"""The Beam shell of exports for other trainers: the shards of a finished dataset in, one file for each out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.pipeline import Pipeline
from apache_beam.pvalue import AsIter, PCollection

from yt8m_pipeline.compression.distortion import Distortion
from yt8m_pipeline.dataset.file_list import ListedFile
from yt8m_pipeline.dataset.layout import Shard
from yt8m_pipeline.dataset.reader import FinishedDataset, FrameExample, read_shard
from yt8m_pipeline.dataset.steps import FileEntry, ShardFacts, ShardStep, Step, file_entry, require_intact, step_key
from yt8m_pipeline.interop.trainer_formats import hf_card, webdataset_index
from yt8m_pipeline.interop.trainer_names import TrainerFormat
from yt8m_pipeline.jobs.trainer_export_plan import TrainerExportPlan, write_export_list
from yt8m_pipeline.transforms.dataset import WRITE
from yt8m_pipeline.transforms.exporting import Copying, copy_file
from yt8m_pipeline.transforms.monitoring import advance, announce, timed
from yt8m_pipeline.transforms.steps import Map


@dataclass
class WriteForTrainers(beam.PTransform[PCollection[tuple[Shard, Shard]], PCollection[ListedFile]]):
    """PCollection[(Shard, Shard of the export)] → PCollection[ListedFile]: each file, written or still valid."""

    plan: TrainerExportPlan

    def expand(self, shards: PCollection[tuple[Shard, Shard]]) -> PCollection[ListedFile]:
        announce(WRITE, sum(self.plan.videos.values()))
        return shards | Map(_write, self.plan)


def _write(shards: tuple[Shard, Shard], plan: TrainerExportPlan) -> ListedFile:
    shard, target = shards
    key, path = step_key(plan.key, shard.name), plan.writer.path(target)
    step: Step | None = plan.journal.find(shard.name, key)
    if step is None:
        plan.journal.forget(shard.name)
        with timed(WRITE):
            counted = _Counted(_examples(plan.dataset, shard))
            plan.writer.write(target, counted, plan.layout.open_write)
        facts = ShardFacts(shard.partition, counted.videos, counted.frames, Distortion())
        step = plan.journal.record(ShardStep(shard.name, key, (file_entry(plan.layout, path),), facts))
    advance(WRITE, videos=step.facts.records, frames=step.facts.frames)
    return ListedFile.of(step.files[0], step.facts.records)


class _Counted:
    """The examples of a shard, counted while they are written."""

    def __init__(self, examples: Iterable[FrameExample]) -> None:
        self._examples = examples
        self.videos = self.frames = 0

    def __iter__(self) -> Iterator[FrameExample]:
        for example in self._examples:
            self.videos, self.frames = self.videos + 1, self.frames + len(example.codes)
            yield example


def _examples(dataset: FinishedDataset, shard: Shard) -> Iterator[FrameExample]:
    """The videos of a shard whose bytes are those that the manifest lists."""
    require_intact(dataset.layout, dataset.rows[shard.file("frame")].file)
    return read_shard(dataset, dataset.shard("frame", shard))


@dataclass
class CopyForTrainers(beam.PTransform[Pipeline, PCollection[ListedFile]]):
    """Pipeline → PCollection[ListedFile]: the codebook and the vocabulary of the dataset, beside its export."""

    plan: TrainerExportPlan

    def expand(self, root: Pipeline) -> PCollection[ListedFile]:
        return root | beam.Create(self.plan.copied) | Map(_copy, self.plan)


def _copy(file: FileEntry, plan: TrainerExportPlan) -> ListedFile:
    return ListedFile.of(copy_file(file, Copying(plan.dataset.layout, plan.journal, None)))


@dataclass
class WriteExportList(beam.PTransform[PCollection[ListedFile], PCollection[None]]):
    """PCollection[ListedFile] → export.json, and what tells the readers of a format which shards there are."""

    plan: TrainerExportPlan

    def expand(self, written: PCollection[ListedFile]) -> PCollection[None]:
        return written.pipeline | beam.Create([self.plan]) | Map(_write_list, AsIter(written))


def _write_list(plan: TrainerExportPlan, written: Iterable[ListedFile]) -> None:
    found = sorted(written, key=lambda file: file.path)
    for name, data in _indices(plan, found).items():
        plan.layout.write_bytes(name, data)
        found.append(ListedFile.of(file_entry(plan.layout, name)))
    write_export_list(plan, found)


def _indices(plan: TrainerExportPlan, found: list[ListedFile]) -> dict[str, bytes]:
    """The files by which a format's readers find the shards, by name."""
    match plan.writer.form:
        case TrainerFormat.WEBDATASET:
            return {f"{part.value}.json": webdataset_index(_shards_of(found, f"{part.value}-")) for part in plan.videos}
        case TrainerFormat.HF:
            return {"README.md": hf_card(plan.videos)}
        case _:
            return {}


def _shards_of(found: Iterable[ListedFile], prefix: str) -> Iterator[tuple[str, int, int]]:
    return ((file.path, file.videos, file.bytes) for file in found if file.path.startswith(prefix))
