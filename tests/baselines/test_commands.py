"""`yt8m train` and `yt8m predict`, and a feature set of the project's own as what they read."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command_line import four_parts, run
from tests.conftest import TESTS
from yt8m_pipeline import features, open_features, predict, train
from yt8m_pipeline.baselines.saved import ModelCard
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.evaluation.evaluating import evaluate


def test_train_predict_and_evaluate_are_three_commands(separable: str, tmp_path: Path) -> None:
    model, table = str(tmp_path / "model"), str(tmp_path / "p.parquet")
    command = ["train", "hinge", separable, "--output", model, "--small", "--set", "epochs=2"]
    first = run(*command)
    assert first.returncode == 0, first.stderr
    assert re.search(r"epoch 2 of at most 2: loss [\d.e-]+; validate map 1\.000, hit@1 1\.000", first.stderr)
    assert "train: 96/96 videos, 0 s left" in first.stderr
    assert first.stdout.startswith("Trained hinge in ")
    again = run(*command, "--json")
    assert json.loads(again.stdout)["title"].startswith("Nothing to do")
    assert json.loads(again.stdout)["best_epoch"] == 1
    predicted = run("predict", model, separable, "--output", table, "--top", "2", "--json")
    assert json.loads(predicted.stdout)["videos"] == 18
    evaluated = run("evaluate", separable, table, "--json")
    assert json.loads(evaluated.stdout)["hit@1"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["train", "resnet", "DATASET", "--output", "OUT"], "There is no such model"),
        (["train", "moe", "DATASET", "--output", "OUT", "--set", "experts=0"], "The settings of moe have 1 problem"),
        (["train", "lstm", "DATASET", "--output", "OUT", "--features", "F"], "lstm takes no feature set"),
        (["predict", "OUT", "DATASET", "--output", "p.parquet"], "There is no model"),
        (["predict", "MODEL", "DATASET", "--output", "p.csv"], "Predictions are written as Parquet"),
    ],
)
def test_what_is_wrong_is_told_in_four_parts(
    arguments: list[str], what: str, separable: str, trained: Callable[[str], Path], tmp_path: Path
) -> None:
    places = {"DATASET": separable, "OUT": str(tmp_path / "out"), "MODEL": str(trained("logistic"))}
    finished = run(*(places.get(argument, argument) for argument in arguments))
    assert finished.returncode == 2
    assert four_parts(finished)[0] == what


@pytest.fixture(scope="module")
def feature_set(separable: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The mean and the deviation of each video, normalised: 4 of 16 components."""
    folder = str(tmp_path_factory.mktemp("features") / "set")
    features(separable, folder, space="pca", blocks="mu+sigma", components=4)
    return folder


def test_a_model_of_a_feature_set_is_asked_about_that_alone(
    separable: str, feature_set: str, trained: Callable[[str], Path], tmp_path: Path
) -> None:
    model, table = str(tmp_path / "model"), str(tmp_path / "p.parquet")
    train("logistic", separable, model, features=feature_set, small=True, settings=["epochs=3"])
    card = ModelCard.of(model)
    assert card.dimensions == open_features(feature_set).dimensions == 4
    assert card.identity.input == {"features": open_features(feature_set).told.identity}
    predict(model, separable, table, features=feature_set)
    report = evaluate(separable, table, "validate")
    assert report.evaluation.values == card.history[card.best - 1].metrics
    assert report.evaluation.hits.at(1) > 0.9
    with pytest.raises(UsageError, match=r"why:   input: .*'mu\+sigma'.* and mean_rgb\n"):
        predict(model, separable, table)
    with pytest.raises(UsageError, match=r"why:   input: mean_rgb and "):
        predict(str(trained("moe")), separable, table, features=feature_set)


def test_the_features_of_another_dataset_are_refused(
    feature_set: str, tmp_path: Path, separable: str, copy: Callable[[str, Path], str]
) -> None:
    other = copy(separable, tmp_path)
    path = Path(other, "manifest.json")
    path.write_text(path.read_text().replace('"build_key": "synthetic"', '"build_key": "other"'))
    with pytest.raises(UsageError, match="features are those of another dataset"):
        train("moe", other, str(tmp_path / "model"), features=feature_set)


def test_a_model_that_version_0_2_0_trained_is_read(tmp_path: Path) -> None:
    golden, table = TESTS / "golden_formats" / "0.2.0", str(tmp_path / "p.parquet")
    predict(str(golden / "model"), str(golden / "dataset"), table)
    (epoch,) = ModelCard.of(str(golden / "model")).history
    assert evaluate(str(golden / "dataset"), table, "validate").evaluation.values == pytest.approx(epoch.metrics)
