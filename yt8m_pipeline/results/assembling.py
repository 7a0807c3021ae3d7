"""From plans and evaluations to the facts of a page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from yt8m_pipeline.baselines.saved import ModelCard
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.manifest import Manifest
from yt8m_pipeline.dataset.reader import FinishedDataset
from yt8m_pipeline.results import notes
from yt8m_pipeline.results.facts import FORMAT, Class, Facts, Measured, Model, Row, Table
from yt8m_pipeline.results.plan import PlannedRow, PlannedTables, TrainedModel
from yt8m_pipeline.results.record import Record

METRICS = ("map", "hit@1", "perr", "gap")
"""The columns of Table 3, and GAP."""

RATED_METRICS = ("hit@1", "perr", "hit@5")
"""The columns of Table 4."""

TRANSFER_METRICS = ("map", "hit@1", "hit@5")
"""The columns of Table 5."""

YOUTUBE_8M, RATED, SPORTS_1M, ACTIVITY_NET = "YouTube-8M", "YouTube-8M, rated", "Sports-1M", "ActivityNet"
"""What the paper's figures are of."""

PAPERS_LOSS = "< 1.0"
"""What full-size data gains over codes in the paper, in per cent (§3.3)."""

FEW_VIDEOS = 1_000
"""With fewer videos, a share near one half is known to no more than ± 3 percentage points (95 %), 1.96 · √(¼ / n). Then
models that differ by as much as the paper's do cannot be told apart."""


@dataclass(frozen=True)
class Outcome:
    """What became of the models.

    Attributes:
        records: The evaluation of each model that has one, by its name.
        rated: The same against human ratings.
        cards: What is known of each trained model.
        failures: Why a model has no evaluation, by its name.
        rated_failures: Why it has none against human ratings.
        seconds: How long each part took.
        warnings: What feature sets and models warn of.
    """

    records: Mapping[str, Record] = field(default_factory=dict)
    rated: Mapping[str, Record] = field(default_factory=dict)
    cards: Mapping[str, ModelCard] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)
    rated_failures: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Shown:
    """What the page is of.

    Attributes:
        dataset: The dataset.
        other: The dataset that is transferred to.
        samples: The number of bootstrap samples.
        command: The command that makes the page.
        versions: The versions of the programs.
    """

    dataset: FinishedDataset
    other: FinishedDataset | None
    samples: int
    command: str
    versions: Mapping[str, str]


def assemble(shown: Shown, planned: PlannedTables, outcome: Outcome) -> Facts:
    """Puts together what a page says."""
    manifest = Manifest.of(shown.dataset.layout)
    best = best_model(planned.benchmarks, outcome.records)
    record = outcome.records[best] if best else None
    positives = record.positives if record else (0,) * len(shown.dataset.vocabulary)
    classes = tuple(
        Class(entity.name or entity.entity_id, entity.entity_id, entity.train_videos, number)
        for entity, number in zip(shown.dataset.vocabulary, positives, strict=True)
    )
    videos = {part.value: manifest.partitions[part].videos for part in Partition}
    return Facts(
        format=FORMAT,
        dataset=folder_name(shown.dataset),
        build_key=manifest.build_key,
        partition=Partition.VALIDATE.value,
        videos=videos,
        samples=shown.samples,
        command=shown.command,
        versions=shown.versions,
        warnings=(
            *warnings(videos[Partition.VALIDATE.value], classes, record, outcome),
            *_seen_before(shown),
            *manifest.warnings,
        ),
        classes=classes,
        tables=tuple(table for table in _tables(shown, planned, outcome) if table.rows),
        models=tuple(_model(model, outcome) for model in planned.models),
        best=best,
        confusions=record.confusions if record else (),
        right=record.right if record else (),
        wrong=record.wrong if record else (),
        seconds=outcome.seconds,
    )


def folder_name(dataset: FinishedDataset) -> str:
    """The name of a dataset: that of its folder, and that of the folder around it where that is called dataset."""
    parts = [part for part in dataset.layout.root.split("/") if part]
    return "/".join(parts[-2:] if parts[-1:] == ["dataset"] else parts[-1:])


def best_model(rows: Sequence[PlannedRow], records: Mapping[str, Record]) -> str | None:
    """The name of the model with the highest Hit@1, then mAP, then the first; None where none has a record."""
    known = [row.model.name for row in rows if row.model.name in records]
    values = {name: [records[name].metrics[metric].value or 0.0 for metric in ("hit@1", "map")] for name in known}
    return max(known, key=lambda name: values[name], default=None)


def warnings(videos: int, classes: Sequence[Class], record: Record | None, outcome: Outcome) -> Iterator[str]:
    """What a reader must know before he believes the figures."""
    for name, why in outcome.failures.items():
        yield f"{name} has no results: {why}"
    if videos < FEW_VIDEOS:
        yield (
            f"The validate partition has {videos:,} videos. With fewer than {FEW_VIDEOS:,}, models that differ by a "
            "few percentage points cannot be told apart: look at the intervals."
        )
    if record and record.metrics["hit@1"].value == 1:
        yield (
            f"The best model is right for all {videos:,} videos. Then a bootstrap interval has no width: of all videos "
            f"like these, {300 / videos:.1f} % may still be wrong at 95 % (the rule of three). A harder dataset tells "
            "more."
        )
    untrained = sum(not each.train_videos for each in classes)
    if untrained:
        yield f"{untrained:,} of {len(classes):,} classes have no train video, and cannot be learnt."
    lacking = sum(not each.positives for each in classes)
    if record and lacking:
        yield (
            f"{lacking:,} of {len(classes):,} classes have no video in the validate partition. The mAP is the mean "
            f"over the other {len(classes) - lacking:,}."
        )
    if record and record.missing:
        yield f"{record.missing:,} videos of the validate partition have no prediction, and count as not recognised."
    yield from outcome.warnings


def _seen_before(shown: Shown) -> Iterator[str]:
    """Whether the models that are transferred were trained on videos that they are evaluated on."""
    if shown.other is None:
        return
    evaluated = pa.array(shown.other.ids(Partition.VALIDATE), pa.string())
    seen = pc.sum(pc.is_in(evaluated, pa.array(shown.dataset.ids(Partition.TRAIN), pa.string()))).as_py()
    if seen:
        yield (
            f"{seen:,} of the {len(evaluated):,} validate videos of {folder_name(shown.other)} are train videos of "
            f"{folder_name(shown.dataset)}. What is transferred has learnt from them, and Table 5 is too good."
        )


def _tables(shown: Shown, planned: PlannedTables, outcome: Outcome) -> Iterator[Table]:
    heads = ("Input features", "Approach")
    rows = _rows(planned.benchmarks, outcome, METRICS)
    yield Table("table-3", "Table 3", notes.TABLE_3, heads, METRICS, (YOUTUBE_8M,), rows)
    if outcome.rated or outcome.rated_failures:
        rated = Outcome(outcome.rated, failures=outcome.rated_failures)
        rows = _rows(planned.rated, rated, RATED_METRICS)
        yield Table("table-4", "Table 4: human ratings", notes.TABLE_4, heads[::-1], RATED_METRICS, (RATED,), rows)
    heads = ("Approach", "Features")
    rows = _rows(planned.compression, outcome, METRICS)
    yield Table("compression", "Full size and compressed", notes.COMPRESSION, heads, METRICS, (), rows)
    losses = tuple(_losses(planned.compression, outcome))
    of_losses = ("Approach", "Full size less …", "Paper")
    yield Table("loss", "Loss by compression", notes.LOSS, of_losses, METRICS, (), losses, is_difference=True)
    if shown.other:
        names = {"source": folder_name(shown.dataset), "target": folder_name(shown.other)}
        rows = _rows(planned.transfer, outcome, TRANSFER_METRICS)
        note, papers = notes.TRANSFER.format(**names), (SPORTS_1M, ACTIVITY_NET)
        yield Table("table-5", "Table 5: transfer", note, ("Approach",), TRANSFER_METRICS, papers, rows)


def _rows(planned: Sequence[PlannedRow], outcome: Outcome, metrics: Sequence[str]) -> tuple[Row, ...]:
    return tuple(_row(row, outcome, metrics) for row in planned)


def _row(planned: PlannedRow, outcome: Outcome, metrics: Sequence[str]) -> Row:
    record = outcome.records.get(planned.model.name)
    values = {metric: Measured.of(record.metrics[metric].sampled) for metric in metrics} if record else {}
    why = None if record else outcome.failures.get(planned.model.name, "it was not evaluated")
    return Row(planned.model.name, planned.labels, values, planned.papers, why)


def _losses(planned: Sequence[PlannedRow], outcome: Outcome) -> Iterator[Row]:
    """Of each model: full size less float PCA, and full size less codes."""
    for full, *compressed in zip(planned[::3], planned[1::3], planned[2::3], strict=True):
        better = outcome.records.get(full.model.name)
        for row in compressed:
            worse = outcome.records.get(row.model.name)
            labels = (*row.labels, "–" if row is compressed[0] else PAPERS_LOSS)
            if better and worse:
                yield Row(row.model.name, labels, _differences(better, worse))
            else:
                yield Row(row.model.name, labels, {}, why="one of the two models has no results")


def _differences(better: Record, worse: Record) -> Mapping[str, Measured]:
    return {metric: Measured.of(better.metrics[metric].sampled - worse.metrics[metric].sampled) for metric in METRICS}


def _model(model: TrainedModel, outcome: Outcome) -> Model:
    """What the page says of a model. The classes of another dataset are not those of the page, and are left out."""
    record, card = outcome.records.get(model.name), outcome.cards.get(model.name)
    figures = record if record and not model.of_other else None
    return Model(
        name=model.name,
        inputs=model.told,
        settings=card.settings if card else {},
        epochs=card.history if card else (),
        best_epoch=card.best if card else None,
        average_precisions=figures.average_precisions if figures else (),
        calibration=figures.calibration if figures else (),
        calibration_error=figures.calibration_error if figures else None,
        why=outcome.failures.get(model.name),
    )
