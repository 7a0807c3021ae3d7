"""Trainings: killed and resumed to the bit, stopped early, refused; and what a trained model says of itself."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.baselines import planted
from yt8m_pipeline import open_dataset, predict, train
from yt8m_pipeline.baselines import learning
from yt8m_pipeline.baselines.history import METRICS, Epoch, best_epoch, is_over
from yt8m_pipeline.baselines.networks import load_network
from yt8m_pipeline.baselines.plan import plan_training
from yt8m_pipeline.baselines.saved import ModelCard
from yt8m_pipeline.baselines.settings import settings_of
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.evaluation.evaluating import evaluate

STEP_BY_STEP = """
import sys, time
from yt8m_pipeline import train
from yt8m_pipeline.baselines import learning
learning.CHECKPOINT_SECONDS = 0.0
step = learning.Learner.step
learning.Learner.step = lambda self, batch: (time.sleep(0.05), step(self, batch))[1]
train(sys.argv[1], sys.argv[2], sys.argv[3], small=True, settings=sys.argv[4:])
"""
"""A training that writes a checkpoint after each step, slowly enough to be killed between two of them."""


def weights(folder: Path) -> list[np.ndarray]:
    """All that the last checkpoint of a training has, optimizer and all."""
    with np.load(folder / "checkpoint.npz", allow_pickle=False) as arrays:
        return [arrays[name] for name in sorted(arrays) if name != "place"]


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("model", ["moe", "dbof"])
def test_a_killed_training_ends_with_the_same_weights_to_the_bit(model: str, separable: str, tmp_path: Path) -> None:
    settings = ["epochs=2", "batch_size=4"] + (["projection=16", "hidden=8"] if model == "dbof" else [])
    command = [sys.executable, "-c", STEP_BY_STEP, model, separable, str(tmp_path / "killed"), *settings]
    running = subprocess.Popen(command)
    while running.poll() is None and steps(tmp_path / "killed") < 15:
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert 15 <= steps(tmp_path / "killed") < 24
    for name in ("whole", "killed"):
        train(model, separable, str(tmp_path / name), small=True, settings=settings)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    networks = [load_network(str(tmp_path / name)).get_weights() for name in ("whole", "killed")]
    assert same(*networks)
    histories = [ModelCard.of(str(tmp_path / name)).history for name in ("whole", "killed")]
    assert [(row.loss, row.metrics) for row in histories[0]] == [(row.loss, row.metrics) for row in histories[1]]


def steps(folder: Path) -> int:
    """How many steps the checkpoint of a training of 12 batches an epoch has behind it."""
    path = folder / "checkpoint.npz"
    if not path.exists():
        return 0
    with np.load(path, allow_pickle=False) as arrays:
        place = json.loads(arrays["place"].tobytes())
    return int(12 * (place["epoch"] - 1) + place["batch"])


def test_the_checkpoint_of_the_middle_of_an_epoch_is_used(
    separable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only the same end: a training that goes on does not begin its epoch anew."""
    settings, taken = ["epochs=1", "batch_size=4"], list[int]()
    step = learning.Learner.step

    def counted(self: learning.Learner, batch: Any) -> float:
        taken.append(1)
        if len(taken) == 7:
            raise KeyboardInterrupt
        return step(self, batch)

    monkeypatch.setattr(learning, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(learning.Learner, "step", counted)
    with pytest.raises(KeyboardInterrupt):
        train("logistic", separable, str(tmp_path), settings=settings)
    with pytest.raises(DataError, match="has not ended"):
        predict(str(tmp_path), separable, str(tmp_path / "p.parquet"))
    train("logistic", separable, str(tmp_path), settings=settings)
    assert len(taken) == 7 + 6


def test_a_model_whose_best_weights_are_gone_is_trained_again(separable: str, tmp_path: Path) -> None:
    settings = ["epochs=2", "batch_size=16"]
    train("logistic", separable, str(tmp_path / "model"), settings=settings)
    before = load_network(str(tmp_path / "model")).get_weights()
    (tmp_path / "model" / "best.keras").unlink()
    assert train("logistic", separable, str(tmp_path / "model"), settings=settings).is_new
    assert same(before, load_network(str(tmp_path / "model")).get_weights())


def test_a_training_that_was_killed_before_its_curves_draws_them(
    separable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(learning, "write_curves", killed)
        train("logistic", separable, str(tmp_path), settings=["epochs=1"])
    assert ModelCard.of(str(tmp_path)).is_finished
    before = weights(tmp_path)
    train("logistic", separable, str(tmp_path), settings=["epochs=1"])
    assert {path.name for path in tmp_path.glob("curves.*")} == {"curves.csv", "curves.png", "curves.svg"}
    assert same(weights(tmp_path), before)


def test_a_finished_training_is_not_done_again_and_another_is_refused(
    separable: str, trained: Callable[[str], Path]
) -> None:
    folder = trained("logistic")
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = train("logistic", separable, str(folder), small=True, settings=["epochs=3"])
    assert not again.is_new
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    for model, settings in (("hinge", "epochs=3"), ("logistic", "epochs=4")):
        with pytest.raises(UsageError, match="has another model"):
            train(model, separable, str(folder), small=True, settings=[settings])


def test_a_folder_of_something_else_is_refused(separable: str, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(UsageError, match=r"thesis\.txt"):
        train("logistic", separable, str(tmp_path))
    with pytest.raises(UsageError, match="it is a file"):
        train("logistic", separable, str(tmp_path / "thesis.txt"))


def test_nothing_is_written_into_a_dataset(
    separable: str, trained: Callable[[str], Path], tmp_path: Path, copy: Callable[[str, Path], str]
) -> None:
    dataset = copy(separable, tmp_path)
    before = sorted(Path(dataset).rglob("*"))
    for place in ("model", "."):
        with pytest.raises(UsageError, match="A model needs a folder of its own"):
            train("logistic", dataset, f"{dataset}/{place}", small=True)
    with pytest.raises(UsageError, match="A table of predictions needs a folder of its own"):
        predict(str(trained("logistic")), dataset, f"{dataset}/videos.parquet")
    assert sorted(Path(dataset).rglob("*")) == before
    assert "labels" in pq.read_schema(f"{dataset}/videos.parquet").names


def test_the_folder_has_what_a_model_needs_and_its_curves(separable: str, trained: Callable[[str], Path]) -> None:
    folder = trained("moe")
    curves = {f"curves.{form}" for form in ("csv", "png", "svg")}
    assert {path.name for path in folder.iterdir()} == {
        "model.json",
        "best.keras",
        "last.keras",
        "checkpoint.npz",
        *curves,
    }
    card = ModelCard.of(str(folder))
    assert card.best == 1
    assert (card.model, card.dimensions, card.classes) == ("moe", 8, 3)
    assert card.identity.input == "mean_rgb"
    assert (folder / "curves.svg").read_text().count("<svg") == 1
    lines = (folder / "curves.csv").read_text().splitlines()
    assert lines[0] == "epoch,loss,map,hit@1,hit@5,perr,gap"
    assert len(lines) == 1 + len(card.history)
    assert open_dataset(separable).dimensions == card.dimensions


@pytest.mark.parametrize("model", ["frame_logistic", "dbof", "lstm", "moe"])
def test_predict_and_evaluate_give_the_metrics_that_training_found(
    model: str, separable: str, trained: Callable[[str], Path], tmp_path: Path
) -> None:
    card = ModelCard.of(str(trained(model)))
    predict(str(trained(model)), separable, str(tmp_path / "p.parquet"))
    report = evaluate(separable, str(tmp_path / "p.parquet"), "validate")
    assert report.evaluation.values == card.history[card.best - 1].metrics
    assert (report.missing, report.unknown) == (0, 0)


def test_a_table_has_a_row_for_each_video_in_the_order_of_the_shards(
    separable: str, trained: Callable[[str], Path], tmp_path: Path
) -> None:
    table = str(tmp_path / "p.parquet")
    found = predict(str(trained("hinge")), separable, table, partition="train")
    rows = pq.read_table(table)
    assert rows["video_id"].to_pylist() == open_dataset(separable).ids("train")
    assert found.videos == rows.num_rows == 48
    scores = np.array(rows["scores"].to_pylist())
    assert scores.shape == (48, 3)
    predict(str(trained("hinge")), separable, table, partition="train", top=2)
    best = pq.read_table(table)
    labels = np.array(best["labels"].to_pylist())
    assert (labels[:, 0] == scores.argmax(axis=1)).all()
    assert (np.take_along_axis(scores, labels, axis=1) == np.array(best["scores"].to_pylist())).all()


def test_training_stops_when_the_metric_rises_no_more(separable: str, tmp_path: Path) -> None:
    result = train("logistic", separable, str(tmp_path), small=True, settings=["patience=1", "monitor=hit@1"])
    assert len(result.card.history) == result.card.best + 1 < 20


def epochs(*values: float | None) -> list[Epoch]:
    rest = dict.fromkeys(METRICS, 0.5)
    return [Epoch(number, 1.0, {**rest, "map": value}, 0.0) for number, value in enumerate(values, 1)]


def test_patience_counts_epochs_since_the_best() -> None:
    settings = settings_of("moe", ["patience=2", "epochs=6"])
    assert not is_over([], settings)
    assert not is_over(epochs(0.1, 0.3, 0.2), settings)
    assert is_over(epochs(0.1, 0.3, 0.2, 0.3), settings)
    assert is_over(epochs(0.1, 0.2, 0.3, 0.4, 0.5, 0.6), settings)
    best = best_epoch(epochs(None, 0.3, 0.3), "map")
    assert best
    assert best.number == 2
    by_gap = best_epoch(epochs(0.1, 0.3), "gap")
    assert by_gap
    assert by_gap.number == 1


def test_the_best_weights_are_kept_beside_the_last(
    separable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of three epochs is made the best."""
    found = best_epoch

    def second(history: Any, monitor: str) -> Any:
        return history[1] if len(history) > 1 else found(history, monitor)

    monkeypatch.setattr(learning, "best_epoch", second)
    train("logistic", separable, str(tmp_path / "three"), settings=["epochs=3"])
    monkeypatch.undo()
    train("logistic", separable, str(tmp_path / "two"), settings=["epochs=2"])
    best = load_network(str(tmp_path / "three")).get_weights()
    assert same(best, weights(tmp_path / "two")[:2])
    assert not same(best, weights(tmp_path / "three")[:2])


@pytest.mark.parametrize(("batch_size", "what"), [(4, "loss is not a number"), (48, "score is not a number")])
def test_a_loss_or_score_that_is_no_number_is_told(batch_size: int, what: str, separable: str, tmp_path: Path) -> None:
    """With one step, the weights are no numbers only after the last loss."""
    with pytest.raises(DataError, match=rf"{what}(.|\n)*smaller learning_rate"):
        train("logistic", separable, str(tmp_path), settings=["learning_rate=1e38", f"batch_size={batch_size}"])


def test_a_lack_of_memory_names_the_batch_size(separable: str, tmp_path: Path) -> None:
    """38 TB for the activations of 48 videos of 10,000 frames, most of which are padding."""
    settings = ["frames=10000", "projection=20000", "hidden=2"]
    with pytest.raises(DataError, match=r"not enough memory(.|\n)*--set batch_size=64"):
        train("dbof", separable, str(tmp_path), settings=settings)


@pytest.mark.parametrize("empty", [Partition.TRAIN, Partition.VALIDATE])
def test_a_dataset_without_train_or_validate_videos_is_refused(empty: Partition, tmp_path: Path) -> None:
    sizes = {Partition.TRAIN: 3, Partition.VALIDATE: 3, Partition.TEST: 3} | {empty: 0}
    dataset = planted.plant(tmp_path / "dataset", planted.separable, dimensions=8, classes=3, sizes=sizes)
    with pytest.raises(DataError, match=f"has no {empty.value} videos"):
        train("moe", dataset, str(tmp_path / "model"))


def test_an_unfinished_dataset_is_refused(separable: str, tmp_path: Path, copy: Callable[[str, Path], str]) -> None:
    unfinished = copy(separable, tmp_path)
    Path(unfinished, "COMPLETE").unlink()
    with pytest.raises(DataError, match="not a finished dataset"):
        train("moe", unfinished, str(tmp_path / "model"))


def test_classes_without_train_videos_are_named_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sizes = {Partition.TRAIN: 6, Partition.VALIDATE: 3, Partition.TEST: 1}
    dataset = planted.plant(tmp_path / "dataset", planted.separable, dimensions=8, classes=5, sizes=sizes)
    result = train("logistic", dataset, str(tmp_path / "model"), settings=["epochs=1"])
    told = "2 of 5 classes have no train video, and are not learnt: /m/3, /m/4"
    assert result.card.warnings == (told,)
    assert told in caplog.text


def test_no_name_of_a_class_reaches_the_terminal_as_an_escape(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = other_dataset(tmp_path / "dataset", classes=4)
    vocabulary = Path(dataset, "vocabulary.csv")
    vocabulary.write_text(vocabulary.read_text().replace("/m/3,/m/3", "/m/3,\x1b[2Jevil"))
    plan_training("logistic", dataset, str(tmp_path / "model"))
    assert r"are not learnt: \x1b[2Jevil" in caplog.text
    assert "\x1b" not in caplog.text


def other_dataset(folder: Path, **changes: Any) -> str:
    """The planted classes, but for what is changed."""
    sizes = {Partition.TRAIN: 12, Partition.VALIDATE: 6, Partition.TEST: 1}
    return planted.plant(folder, planted.separable, **{"dimensions": 8, "classes": 3, "sizes": sizes, **changes})


def change_manifest(dataset: str, change: Callable[[dict[str, Any]], None]) -> None:
    path = Path(dataset, "manifest.json")
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def test_a_model_is_asked_about_its_own_features_and_classes_alone(
    trained: Callable[[str], Path], tmp_path: Path
) -> None:
    changes: dict[str, Callable[[dict[str, Any]], None]] = {
        "feature_space": lambda values: values["feature_space"].update(fingerprint="other"),
        "pca": lambda values: values["pca"].update(fingerprint="other"),
    }
    for name, change in changes.items():
        dataset = other_dataset(tmp_path / name)
        change_manifest(dataset, change)
        with pytest.raises(UsageError, match=f"other features or classes(.|\n)*{name}: .* and other"):
            predict(str(trained("moe")), dataset, str(tmp_path / "p.parquet"))
    with pytest.raises(UsageError, match=r"why:   vocabulary: \w{12} and \w{12}\n"):
        predict(str(trained("moe")), other_dataset(tmp_path / "classes", classes=4), str(tmp_path / "p.parquet"))


def test_weights_of_another_training_are_the_first_ones_and_other_classes_get_a_new_last_layer(
    trained: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning.Learner, "step", lambda *_: 0.0)
    source = load_network(str(trained("dbof")))
    settings = ["epochs=1", "projection=32", "hidden=8"]
    found = {}
    for classes in (3, 4):
        dataset, folder = other_dataset(tmp_path / f"{classes}", classes=classes), tmp_path / f"model-{classes}"
        train("dbof", dataset, str(folder), small=True, settings=settings, init_from=str(trained("dbof")))
        found[classes] = load_network(str(folder))
    for name in ("projection", "projection_normalisation", "hidden"):
        theirs = source.get_layer(name).get_weights()
        assert all(same(network.get_layer(name).get_weights(), theirs) for network in found.values())
    assert same(found[3].get_layer("scores").get_weights(), source.get_layer("scores").get_weights())
    assert found[4].get_layer("scores").get_weights()[0].shape == (8, 4)


def test_weights_that_do_not_fit_are_refused(trained: Callable[[str], Path], separable: str, tmp_path: Path) -> None:
    output = str(tmp_path / "model")
    with pytest.raises(UsageError, match=r"do not fit(.|\n)*layer projection"):
        train("dbof", separable, output, settings=["projection=16"], init_from=str(trained("dbof")))
    with pytest.raises(UsageError, match="of another kind"):
        train("lstm", separable, output, init_from=str(trained("dbof")))
    with pytest.raises(UsageError, match="Nothing of the other model"):
        train("moe", other_dataset(tmp_path / "other", classes=4), output, init_from=str(trained("moe")))
    with pytest.raises(UsageError, match="There is no model"):
        train("moe", separable, output, init_from=str(tmp_path))


def test_damaged_files_of_a_model_are_told(trained: Callable[[str], Path], separable: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for path in trained("logistic").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    table = str(tmp_path / "p.parquet")
    whole = (folder / "best.keras").read_bytes()
    middle, half = whole.index(b"model.weights.h5") + 2000, len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for damaged_weights, why in ((b"no zip", "not a zip"), (whole[:half], "not a zip"), (flipped, "checksum of model")):
        (folder / "best.keras").write_bytes(damaged_weights)
        with pytest.raises(DataError, match=f"weights of a model cannot be read(.|\\n)*{why}"):
            predict(str(folder), separable, table)
    text = (folder / "model.json").read_text()
    for damaged, told in (("{", "cannot be read"), (text.replace('"format": 1', '"format": 9'), "another format")):
        (folder / "model.json").write_text(damaged)
        with pytest.raises(DataError, match=told):
            predict(str(folder), separable, table)


def test_a_damaged_checkpoint_is_told(separable: str, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.npz").write_bytes(b"no zip")
    with pytest.raises(DataError, match="checkpoint of a training cannot be read"):
        train("logistic", separable, str(tmp_path))
