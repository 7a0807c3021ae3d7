"""The facts of the page, from predictions that are planted: every figure equal to what `evaluate` says."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from yt8m_pipeline import files, open_dataset
from yt8m_pipeline.dataset.reader import FinishedDataset
from yt8m_pipeline.dataset.typed_json import from_json, to_json
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.evaluation.evaluating import evaluate
from yt8m_pipeline.results.assembling import Outcome, Shown, assemble, best_model
from yt8m_pipeline.results.facts import Facts, Measured
from yt8m_pipeline.results.making import Wanted, partition_of_rated, write_page
from yt8m_pipeline.results.parts import build_key
from yt8m_pipeline.results.plan import plan_tables
from yt8m_pipeline.results.record import Question, Record

SAMPLES = 20
PLANNED = plan_tables(has_store=True, compression=True, transfer=True)
FAILED = {"dbof": "memory is out"}
NOISE = {
    name: 0.1 * place for place, name in enumerate(model.name for model in PLANNED.models if model.name not in FAILED)
}
"""The more noise, the worse: the first row of Table 3 is the best model."""


@pytest.fixture
def opened(built: Path) -> FinishedDataset:
    return open_dataset(str(built / "dataset"))


def plant(opened: FinishedDataset, path: Path, noise: float, partition: str = "validate") -> str:
    """The labels as scores, mixed with so much noise."""
    videos = list(opened.videos(partition))
    labels = np.array([opened.multi_hot(video.labels) for video in videos])
    scores = (labels + noise * np.random.default_rng(5).random(labels.shape)) / (1 + noise)
    pq.write_table(pa.table({"video_id": [video.video_id for video in videos], "scores": scores.tolist()}), path)
    return str(path)


def asked(opened: FinishedDataset, path: str) -> Question:
    return Question(opened, build_key(opened), path, files.sha256(path), "validate", None, None, SAMPLES)


@pytest.fixture
def planted(opened: FinishedDataset, tmp_path: Path) -> tuple[Facts, dict[str, Record]]:
    records = {
        name: asked(opened, plant(opened, tmp_path / f"{name}.parquet", noise)).answer()
        for name, noise in NOISE.items()
    }
    outcome = Outcome(records, rated=records, failures=FAILED, seconds={"train moe-mu": 2.5})
    shown = Shown(opened, opened, SAMPLES, "yt8m results", {"numpy": "2"})
    return assemble(shown, PLANNED, outcome), records


def test_the_figures_are_those_of_evaluate(
    opened: FinishedDataset, tmp_path: Path, planted: tuple[Facts, dict[str, Record]]
) -> None:
    table = planted[0].tables[0]
    for row in table.rows:
        if row.model in FAILED:
            assert (row.values, row.why) == ({}, FAILED[row.model])
            continue
        report = evaluate(opened.layout.root, str(tmp_path / f"{row.model}.parquet"), bootstrap=SAMPLES)
        for metric, figure in row.values.items():
            assert figure.value == report.evaluation.values[metric]
            assert (figure.low, figure.high) == report.intervals[metric]
    assert {table.name for table in planted[0].tables} == {"table-3", "table-4", "compression", "loss", "table-5"}


def test_a_loss_is_full_size_less_compressed(planted: tuple[Facts, dict[str, Record]]) -> None:
    facts, records = planted
    losses = {row.model: row for table in facts.tables if table.name == "loss" for row in table.rows}
    assert set(losses) == {f"{model}-{kind}" for model in ("logistic", "moe") for kind in ("mu-float-pca", "mu-codes")}
    for name, row in losses.items():
        full = records[f"{name.partition('-')[0]}-mu"].metrics["map"]
        difference = full.sampled - records[name].metrics["map"].sampled
        assert row.values["map"] == Measured.of(difference)
        assert (difference.value >= 0) and row.labels[2] == ("< 1.0" if name.endswith("codes") else "–")


def test_the_best_model_is_looked_at(planted: tuple[Facts, dict[str, Record]], opened: FinishedDataset) -> None:
    facts, records = planted
    assert facts.best == best_model(PLANNED.benchmarks, records) == "frame_logistic"
    assert not facts.confusions
    assert not facts.wrong
    assert {one.video_id for one in facts.right} <= set(opened.ids("validate"))
    for looked in facts.right:
        assert looked.guesses[0].name in looked.labels


def test_what_a_reader_must_know_is_said(planted: tuple[Facts, dict[str, Record]], opened: FinishedDataset) -> None:
    facts, _ = planted
    labels = {label for video in opened.videos("validate") for label in video.labels.tolist()}
    said = "\n".join(facts.warnings)
    assert "dbof has no results: memory is out" in said
    assert f"The validate partition has {facts.videos['validate']} videos" in said
    assert f"{len(opened.vocabulary) - len(labels)} of {len(opened.vocabulary)} classes have no video" in said
    assert [each.positives > 0 for each in facts.classes] == [
        index in labels for index in range(len(opened.vocabulary))
    ]


def test_videos_that_a_transferred_model_has_learnt_from_are_told(opened: FinishedDataset, copied: Path) -> None:
    path, swapped = copied / "dataset" / "videos.parquet", {"train": "validate", "validate": "train"}
    rows = pq.read_table(path).to_pylist()
    for row in rows:
        part, _, rest = row["shard"].partition("-")
        row["shard"] = f"{swapped.get(part, part)}-{rest}"
    pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(path)), path)
    other = open_dataset(str(copied / "dataset"))
    for dataset, is_told in ((other, True), (opened, False)):
        said = assemble(Shown(opened, dataset, SAMPLES, "", {}), PLANNED, Outcome()).warnings
        number = len(opened.ids("train"))
        assert is_told == any(f"{number} of the {number} validate videos" in warning for warning in said)


def test_models_of_the_other_dataset_say_nothing_of_these_classes(planted: tuple[Facts, dict[str, Record]]) -> None:
    others = [model for model in planted[0].models if model.name.startswith("transfer-")]
    assert len(others) == 8
    assert not [model for model in others if model.average_precisions or model.calibration]


def test_a_record_is_read_again_and_its_key_depends_on_what_it_is_of(opened: FinishedDataset, tmp_path: Path) -> None:
    first, second = (asked(opened, plant(opened, tmp_path / f"{noise}.parquet", noise)) for noise in (0, 5))
    record = first.answer()
    assert from_json(Record, json.loads(json.dumps(to_json(record), allow_nan=False))) == record
    assert first.key != second.key
    assert second.answer().confusions


def test_a_page_that_is_the_same_is_not_written(planted: tuple[Facts, dict[str, Record]], tmp_path: Path) -> None:
    folder = tmp_path / "page"
    write_page(str(folder), planted[0])
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    write_page(str(folder), planted[0])
    assert before == {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert set(before) == {"index.html", "results.md", "results.csv", "results.json"}


def test_rated_videos_are_of_one_partition(opened: FinishedDataset, tmp_path: Path) -> None:
    path = tmp_path / "rated.csv"
    path.write_text(f"video_id,labels\n{opened.ids('test')[0]},0\nstranger,1\n")
    assert partition_of_rated(opened, str(path)).value == "test"
    path.write_text(f"video_id,labels\n{opened.ids('test')[0]},0\n{opened.ids('train')[0]},1\n")
    with pytest.raises(UsageError, match="test, train"):
        partition_of_rated(opened, str(path))
    path.write_text("video_id,labels\nstranger,1\n")
    with pytest.raises(UsageError, match="none of the dataset"):
        partition_of_rated(opened, str(path))


def test_the_command_is_the_one_that_makes_the_page() -> None:
    wanted = Wanted("a b", "out", "store", ("moe",), small=True, compression=False, transfer="c", rated="r.csv")
    assert wanted.command == (
        "yt8m results 'a b' --output out --store store --transfer c --rated r.csv --models moe --small "
        "--no-compression --bootstrap 200"
    )
