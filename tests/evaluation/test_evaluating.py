"""Predictions against a real dataset: every format, every bad row, and what is missing or unknown."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.command_line import four_parts, run
from yt8m_pipeline import open_dataset
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.reader import FinishedDataset
from yt8m_pipeline.errors import DataError, PipelineError, UsageError
from yt8m_pipeline.evaluation.batch import Batch
from yt8m_pipeline.evaluation.bootstrap import Sampled, poisson_weights
from yt8m_pipeline.evaluation.bounds import MAX_VALUES
from yt8m_pipeline.evaluation.confusions import Confusions
from yt8m_pipeline.evaluation.evaluating import evaluate
from yt8m_pipeline.evaluation.examples import Examples
from yt8m_pipeline.evaluation.predictions import read_predictions
from yt8m_pipeline.evaluation.studying import study
from yt8m_pipeline.evaluation.truth import read_rated, read_truth

VALIDATE = Partition.VALIDATE


@pytest.fixture
def opened(built: Path) -> FinishedDataset:
    return open_dataset(str(built / "dataset"))


def ids_and_labels(opened: FinishedDataset, partition: str = "validate") -> tuple[list[str], np.ndarray]:
    videos = list(opened.videos(partition))
    labels = np.zeros((len(videos), len(opened.vocabulary)), np.bool_)
    for row, video in enumerate(videos):
        labels[row, video.labels] = True
    return [video.video_id for video in videos], labels


def write(path: Path, ids: list[Any], scores: list[Any], labels: list[Any] | None = None) -> str:
    columns = {"video_id": ids, "scores": scores} | ({} if labels is None else {"labels": labels})
    pq.write_table(pa.table(columns), path)
    return str(path)


def test_perfect_predictions_are_perfect(opened: FinishedDataset, tmp_path: Path) -> None:
    ids, labels = ids_and_labels(opened)
    report = evaluate(opened.layout.root, write(tmp_path / "p.parquet", ids, labels.astype(float).tolist()), "validate")
    assert report.evaluation.values == {"map": 1.0, "hit@1": 1.0, "hit@5": 1.0, "perr": 1.0, "gap": 1.0}
    assert (report.videos, report.missing, report.unknown) == (len(ids), 0, 0)
    assert report.evaluation.average_precision.classes == np.count_nonzero(labels.any(axis=0))


def test_every_format_gives_the_same(opened: FinishedDataset, tmp_path: Path) -> None:
    ids, labels = ids_and_labels(opened, "train")
    scores = np.random.default_rng(0).integers(0, 9999, labels.shape) / 10_000
    best = [np.flatnonzero(row) for row in scores]
    pairs = [(index.tolist(), row[index].tolist()) for row, index in zip(scores, best, strict=True)]
    lines = [
        f"{video_id},{' '.join(f'{label} {score}' for label, score in zip(*row, strict=True))}"
        for video_id, row in zip(ids, pairs, strict=True)
    ]
    (tmp_path / "p.csv").write_text("VideoId,LabelConfidencePairs\n" + "\n".join(lines) + "\n")
    paths = [
        write(tmp_path / "dense.parquet", ids, scores.tolist()),
        write(tmp_path / "pairs.parquet", ids, [row[1] for row in pairs], [row[0] for row in pairs]),
        str(tmp_path / "p.csv"),
    ]
    values = [evaluate(opened.layout.root, path, "train").evaluation.values for path in paths]
    assert values[0] == values[1] == values[2]
    assert 0 < values[0]["map"] < 1


def test_missing_videos_count_as_not_predicted_and_unknown_ones_are_named(
    opened: FinishedDataset, tmp_path: Path
) -> None:
    ids, labels = ids_and_labels(opened)
    rows = labels.astype(float).tolist()
    path = write(tmp_path / "p.parquet", [*ids[1:], "stranger"], [*rows[1:], rows[0]])
    report = evaluate(opened.layout.root, path, VALIDATE)
    assert (report.missing_ids, report.unknown_ids) == ((ids[0],), ("stranger",))
    assert report.evaluation.hits.at(1) == (len(ids) - 1) / len(ids)


def test_the_withheld_labels_of_test_are_used_where_they_are(opened: FinishedDataset, copied: Path) -> None:
    assert len(read_truth(opened, Partition.TEST).labels)
    (copied / "dataset" / "withheld" / "test_labels.parquet").unlink()
    with pytest.raises(UsageError, match="withheld"):
        read_truth(open_dataset(str(copied / "dataset")), Partition.TEST)


BAD_ROWS: list[tuple[list[Any], list[Any], list[Any] | None, str]] = [
    (["a", "b"], [[0.5], [float("nan")]], [[0], [1]], "row 2"),
    (["a"], [[1.5]], [[0]], "not in"),
    (["a"], [[0.5]], [[999]], "none of the"),
    (["a"], [[0.5]], [[-1]], "none of the"),
    (["a"], [[0.5, 0.4]], [[3, 3]], "a class twice"),
    (["a"], [[0.5, 0.4]], [[3]], "as many labels as scores"),
    ([None], [[0.5]], [[3]], "no video_id"),
    (["a"], [[0.5]], [[None]], "none of the"),
    (["a"], [[0.5]], None, "no labels, and not as many scores"),
    (["a"], [None], None, "no labels, and not as many scores"),
    (["a"], [[0.5]], [[1.7]], "truncated"),
    (["a"], [[0.5]], [["x"]], "it is list<.*: string>"),
    (["a"], [["high"]], [[0]], "it is list<.*: string>"),
    (["a"], [0.5], [[0]], "it is double"),
    (["a"], [[0.5]], [0], "it is int64"),
    ([b"\xff"], [[0.5]], [[0]], "it is binary"),
]


@pytest.mark.parametrize(("ids", "scores", "labels", "why"), BAD_ROWS)
def test_a_bad_row_is_named(
    opened: FinishedDataset, tmp_path: Path, ids: list[Any], scores: list[Any], labels: list[Any] | None, why: str
) -> None:
    with pytest.raises(DataError, match=why):
        evaluate(opened.layout.root, write(tmp_path / "p.parquet", ids, scores, labels), VALIDATE)


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("p.csv", "VideoId,LabelConfidencePairs\na,0\n", "no whole number and a score"),
        ("p.csv", "VideoId,LabelConfidencePairs\na,0 0.5 1.5 0.1\n", "no whole number and a score"),
        ("p.csv", "VideoId,LabelConfidencePairs\na,0 high\n", "could not convert"),
        ("p.csv", "VideoId,LabelConfidencePairs\na\n", "not enough values"),
        ("p.csv", "video,label\na,1\n", "its columns are video, label"),
        ("p.csv", "VideoId,LabelConfidencePairs\na," + "0 0.5 " * (1 << 22), "field limit"),
        ("p.csv", "", "its columns are none"),
        ("p.json", "{}", "ends in .json"),
        ("p.parquet", "no parquet", "Parquet"),
        ("missing.csv", None, "missing.csv"),
    ],
)
def test_a_bad_table_is_named(opened: FinishedDataset, tmp_path: Path, name: str, text: str | None, why: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(PipelineError, match=why):
        evaluate(opened.layout.root, str(tmp_path / name), VALIDATE)


def test_nothing_to_evaluate_is_no_result(opened: FinishedDataset, tmp_path: Path) -> None:
    (tmp_path / "none.csv").write_text("video_id,labels\n")
    (tmp_path / "p.csv").write_text("VideoId,LabelConfidencePairs\n")
    with pytest.raises(DataError, match="There is no video to evaluate"):
        evaluate(opened.layout.root, str(tmp_path / "p.csv"), rated=str(tmp_path / "none.csv"))


def test_there_is_no_other_partition(opened: FinishedDataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="validation"):
        evaluate(opened.layout.root, write(tmp_path / "p.parquet", ["a"], [[0.5]], [[0]]), "validation")


def test_a_column_that_is_there_twice_is_named(opened: FinishedDataset, tmp_path: Path) -> None:
    columns = [pa.array(["a"]), pa.array(["a"]), pa.array([[0.5]])]
    pq.write_table(pa.table(columns, names=["video_id", "video_id", "scores"]), tmp_path / "p.parquet")
    with pytest.raises(UsageError, match="its columns are video_id, video_id, scores"):
        evaluate(opened.layout.root, str(tmp_path / "p.parquet"), VALIDATE)


def test_a_csv_has_all_pairs_of_4800_classes_in_full_precision(tmp_path: Path) -> None:
    scores = np.linspace(1e-5, 2e-5, 4800)
    pairs = " ".join(f"{label} {score:.19e}" for label, score in enumerate(scores))
    (tmp_path / "p.csv").write_text(f"VideoId,LabelConfidencePairs\na,{pairs}\n")
    (found,) = read_predictions(str(tmp_path / "p.csv"), 4800)
    assert np.array_equal(found.scores, [scores])


def test_an_id_that_is_no_utf_8_is_that_of_an_unknown_video(opened: FinishedDataset, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes(b"VideoId,LabelConfidencePairs\n\xff\xfea,0 0.5\n")
    report = evaluate(opened.layout.root, str(tmp_path / "p.csv"), VALIDATE)
    assert report.unknown_ids == (r"\xff\xfea",)


def test_a_video_that_is_predicted_twice_is_refused(opened: FinishedDataset, tmp_path: Path) -> None:
    ids, _ = ids_and_labels(opened)
    with pytest.raises(DataError, match="twice"):
        evaluate(opened.layout.root, write(tmp_path / "p.parquet", [ids[0]] * 2, [[0.1]] * 2, [[0]] * 2), VALIDATE)


def test_bootstrap_intervals_hold_the_value_and_depend_on_the_ids_alone(
    opened: FinishedDataset, tmp_path: Path
) -> None:
    ids, labels = ids_and_labels(opened, "train")
    scores = np.where(np.random.default_rng(1).random(labels.shape) < 0.7, labels, 0.5).tolist()
    path = write(tmp_path / "p.parquet", ids, scores)
    turned = write(tmp_path / "turned.parquet", ids[::-1], scores[::-1])
    reports = [evaluate(opened.layout.root, place, "train", bootstrap=30) for place in (path, turned)]
    assert reports[0].intervals == reports[1].intervals
    for name, (low, high) in reports[0].intervals.items():
        assert low <= reports[0].evaluation.values[name] <= high
    assert np.ptp(reports[0].intervals["map"]) > 0


def test_a_difference_is_paired_over_the_videos(opened: FinishedDataset, tmp_path: Path) -> None:
    ids, labels = ids_and_labels(opened, "train")
    noisy = np.where(np.random.default_rng(1).random(labels.shape) < 0.7, labels, 0.5)
    better = noisy.copy()
    better[0] = labels[0]
    paths = [write(tmp_path / f"{number}.parquet", ids, rows.tolist()) for number, rows in enumerate((noisy, better))]
    worse, best = (evaluate(opened.layout.root, path, "train", bootstrap=20) for path in paths)
    found = {name: best.metrics[name] - worse.metrics[name] for name in best.metrics}
    for name, difference in found.items():
        pairs = zip(best.metrics[name].samples, worse.metrics[name].samples, strict=True)
        by_hand = [one - other for one, other in pairs]
        assert difference.value == best.evaluation.values[name] - worse.evaluation.values[name]
        assert difference.interval == tuple(np.quantile(by_hand, [0.025, 0.975]))
    assert np.ptp(found["perr"].interval) < np.ptp(best.intervals["perr"])
    assert (best.metrics["map"] - best.metrics["map"]).interval == (0, 0)


def test_only_as_many_samples_have_a_difference() -> None:
    with pytest.raises(ValueError, match="shorter than"):
        _ = Sampled(0.5, (0.4, 0.6)) - Sampled(0.5, (0.4,))
    assert np.isnan((Sampled(0.5) - Sampled(0.25)).interval[0])
    assert Sampled(0.5, (float("nan"), 0.5)).interval == (0.5, 0.5)


def rate(path: Path, ids: list[Any], labels: list[Any]) -> str:
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"video_id": ids, "labels": labels}), path)
    else:
        rows = [f"{video_id},{';'.join(map(str, row))}" for video_id, row in zip(ids, labels, strict=True)]
        path.write_text("\n".join(["video_id,labels", *rows]) + "\n")
    return str(path)


@pytest.mark.parametrize("name", ["rated.parquet", "rated.csv"])
@pytest.mark.parametrize("by_id", [True, False])
def test_human_ratings_are_another_truth(opened: FinishedDataset, tmp_path: Path, name: str, by_id: bool) -> None:
    ids, labels = ids_and_labels(opened, "train")
    entities = [entity.entity_id for entity in opened.vocabulary]
    other = (np.flatnonzero(labels[0])[0] + 1) % len(entities)
    given = [[other], [], np.flatnonzero(labels[2]).tolist()]
    rows = [[entities[index] if by_id else int(index) for index in row] for row in given]
    rated = rate(tmp_path / name, ids[:3][::-1], rows[::-1])
    truth = read_rated(opened, rated)
    order = np.argsort(ids[:3])
    assert truth.video_ids.to_pylist() == sorted(ids[:3])
    assert [np.flatnonzero(row).tolist() for row in truth.of(np.arange(3))] == [given[row] for row in order]
    predictions = write(tmp_path / "p.parquet", ids, np.eye(len(entities))[[other] * len(ids)].tolist())
    report = evaluate(opened.layout.root, predictions, rated=rated)
    assert (report.videos, report.missing, report.unknown) == (3, 0, len(ids) - 3)
    assert report.evaluation.hits.at(1) == pytest.approx((1 + (other in given[2])) / 3)


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("r.csv", "video_id,labels\na,/m/none\n", "'/m/none' is no label"),
        ("r.csv", "video_id,labels\na,0\na,1\n", "row 2"),
        ("r.csv", "video_id,labels\n,0\n", "row 1"),
        ("r.csv", "video_id,labels\na\n", "row 1(.|\n)*no list"),
        ("r.csv", "video_id,labels\na,0,1\n", "row 1(.|\n)*two cells"),
        ("r.csv", "video_id,labels\na," + "0;" * (1 << 24), "field limit"),
        ("r.csv", "id,labels\na,0\n", "its columns are id, labels"),
        ("r.csv", "", "its columns are none"),
        ("r.csv", b"video_id,labels\n\xff,0\n", "utf-8"),
        ("r.parquet", "none", "Parquet"),
        ("r.json", "{}", "ends in .json"),
        ("r.csv", None, "no such file"),
    ],
)
def test_bad_ratings_are_named(
    opened: FinishedDataset, tmp_path: Path, name: str, text: str | bytes | None, why: str
) -> None:
    if text is not None:
        (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(PipelineError, match=why):
        read_rated(opened, str(tmp_path / name))


@pytest.mark.parametrize(
    ("ids", "labels", "why"),
    [(["a"], [0], "no list"), (["a"], [None], "no list"), ([b"\xff"], [[0]], "no text"), ([7], [[0]], "no text")],
)
def test_ratings_of_other_types_are_named(
    opened: FinishedDataset, tmp_path: Path, ids: list[Any], labels: list[Any], why: str
) -> None:
    with pytest.raises(DataError, match=why):
        read_rated(opened, rate(tmp_path / "r.parquet", ids, labels))


def test_a_label_that_is_an_id_and_another_index_is_refused(opened: FinishedDataset, tmp_path: Path) -> None:
    first, second, *others = opened.vocabulary
    numbered = [replace(first, entity_id="1"), replace(second, entity_id="7"), *others]
    vars(opened)["vocabulary"] = numbered
    with pytest.raises(DataError, match="'1' is the id of one class and the index of another"):
        read_rated(opened, rate(tmp_path / "r.csv", ["a"], [["1"]]))
    assert read_rated(opened, rate(tmp_path / "r.csv", ["a"], [["0"]])).labels.tolist() == [0]


def test_a_study_reads_what_the_metrics_read(opened: FinishedDataset, tmp_path: Path) -> None:
    ids, labels = ids_and_labels(opened, "train")
    scores = np.random.default_rng(2).random(labels.shape)
    path = write(tmp_path / "p.parquet", [*ids[1:], "stranger"], [*scores[1:].tolist(), scores[0].tolist()])
    found, whole = study(opened.layout.root, path, "train", examples=2), Batch.of(scores[1:], labels[1:])
    assert np.array_equal(found.confusions.counts, Confusions.from_batch(whole).counts)
    assert found.examples == Examples.from_batch(ids[1:], whole, 2)


def test_poisson_weights_have_mean_and_variance_one() -> None:
    weights = poisson_weights([str(number) for number in range(40_000)], 7)
    assert (weights.mean(), weights.var()) == (pytest.approx(1, abs=0.03), pytest.approx(1, abs=0.05))
    assert not np.array_equal(weights[:99], poisson_weights([str(number) for number in range(99)], 8))


def test_the_command_prints_tables_or_json(opened: FinishedDataset, tmp_path: Path) -> None:
    ids, labels = ids_and_labels(opened)
    path = write(tmp_path / "p.parquet", ids[1:], labels.astype(float).tolist()[1:])
    printed = json.loads(run("evaluate", opened.layout.root, path, "--json").stdout)
    assert printed["missing_videos"] == 1
    assert {"map", "hit@1", "hit@5", "perr", "gap", "classes", "classes_averaged"} <= set(printed)
    assert [row["index"] for row in printed["classes"]] == list(range(labels.shape[1]))
    shown = run("evaluate", opened.layout.root, path, "--bootstrap", "3")
    assert shown.returncode == 0
    assert {"best classes", "worst classes"} <= set(shown.stdout.splitlines())
    rated = rate(tmp_path / "rated.csv", ids[:2], [[0], [1]])
    printed = json.loads(run("evaluate", opened.layout.root, path, "--rated", rated, "--json").stdout)
    assert printed["missing_videos"] == 1
    both = run("evaluate", opened.layout.root, path, "--rated", rated, "--partition", "test")
    assert four_parts(both)[1] == "--partition and --rated"
    refused = run("evaluate", opened.layout.root, str(tmp_path / "none.csv"))
    assert refused.returncode == 2
    assert "no predictions" in four_parts(refused)[0]


def repeated(text: str, rows: int) -> pa.DictionaryArray:
    """A column that a file holds once, however many its rows are."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([text]))


def test_a_file_of_a_kilobyte_does_not_unpack_to_gigabytes(opened: FinishedDataset, tmp_path: Path) -> None:
    ids, path = repeated("x" * (8 << 20), 1000), tmp_path / "p.parquet"
    pq.write_table(pa.table({"video_id": ids, "scores": [[0.5]] * 1000, "labels": [[0]] * 1000}), path)
    with pytest.raises(DataError, match=r"video_id has 8,388,608,000 bytes in 1,000 rows"):
        evaluate(opened.layout.root, str(path), VALIDATE)
    with pytest.raises(DataError, match=r"video_id has 8,388,608,000 bytes in 1,000 rows"):
        read_rated(opened, str(path))
    labels = pa.ListArray.from_arrays(pa.array([0, 1000]), ids)
    pq.write_table(pa.table({"video_id": ["a"], "labels": labels}), path)
    with pytest.raises(DataError, match=r"labels has 8,388,608,000 bytes in 1 rows"):
        read_rated(opened, str(path))
    scores = pa.ListArray.from_arrays(pa.array([0, MAX_VALUES + 1], pa.int32()), np.full(MAX_VALUES + 1, 0.5, "f4"))
    pq.write_table(pa.table({"video_id": ["a"], "scores": scores}), path, compression="zstd")
    with pytest.raises(DataError, match=r"scores.list.element has 16,777,217 values in 1 rows"):
        evaluate(opened.layout.root, str(path), VALIDATE)


def test_a_line_that_does_not_end_is_not_read_as_a_whole(opened: FinishedDataset, tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("VideoId,LabelConfidencePairs\n")
    os.truncate(path, 4 << 30)  # a hole, which reads as zeros
    with pytest.raises(DataError, match="a line has more than 33,554,432 characters"):
        evaluate(opened.layout.root, str(path), VALIDATE)
    path.write_text("VideoId,LabelConfidencePairs\n" + "x" * 9000 + ",0 0.5\n")
    with pytest.raises(DataError, match="its video_id has more than 8,192 characters"):
        evaluate(opened.layout.root, str(path), VALIDATE)
    path.write_text("VideoId,LabelConfidencePairs\na," + "0 0.5 " * 100_000)
    with pytest.raises(DataError, match="it names a class twice"):
        evaluate(opened.layout.root, str(path), VALIDATE)
    (rated := tmp_path / "r.csv").write_text("video_id,labels\n")
    os.truncate(rated, 4 << 30)
    with pytest.raises(DataError, match="it has more than 268,435,456 bytes"):
        read_rated(opened, str(rated))
