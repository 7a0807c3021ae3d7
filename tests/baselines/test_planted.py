"""Each model learns what is planted for it, and those that cannot learn it do not."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.baselines import planted
from yt8m_pipeline import predict, train
from yt8m_pipeline.baselines.settings import MODELS
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.evaluation.evaluating import evaluate


def hit_at_1(folder: Path, model: str, dataset: str, *settings: str) -> float:
    """Hit@1 on the validate videos, by the commands that a user has: train, predict, evaluate."""
    train(model, dataset, str(folder / model), small=True, settings=settings)
    predict(str(folder / model), dataset, str(folder / f"{model}.parquet"))
    return evaluate(dataset, str(folder / f"{model}.parquet"), "validate").evaluation.hits.at(1)


HALF = {Partition.TRAIN: 120, Partition.VALIDATE: 60, Partition.TEST: 1}


@pytest.mark.parametrize("model", MODELS)
def test_every_model_learns_classes_that_a_line_divides(
    model: str, separable: str, trained: Callable[[str], Path], tmp_path: Path
) -> None:
    predict(str(trained(model)), separable, str(tmp_path / "p.parquet"))
    assert evaluate(separable, str(tmp_path / "p.parquet"), "validate").evaluation.hits.at(1) > 0.95


def test_a_mixture_learns_a_class_of_two_clusters_and_logistic_regression_cannot(tmp_path: Path) -> None:
    dataset = planted.plant(tmp_path / "dataset", planted.two_clusters, dimensions=2)
    assert hit_at_1(tmp_path, "logistic", dataset, "epochs=4") < 0.75
    assert hit_at_1(tmp_path, "moe", dataset, "epochs=4") > 0.95


def test_max_pooling_finds_two_frames_of_two_hundred_and_averages_lose_them(tmp_path: Path) -> None:
    dataset = planted.plant(tmp_path / "dataset", planted.rare_frames, dimensions=6, sizes=HALF)
    settings = ["frames=200", "projection=32", "hidden=16", "epochs=4", "monitor=hit@1"]
    assert hit_at_1(tmp_path, "dbof", dataset, *settings) > 0.95
    assert hit_at_1(tmp_path, "frame_logistic", dataset, "epochs=3") < 0.75
    assert hit_at_1(tmp_path, "logistic", dataset, "epochs=3") < 0.75


def test_only_the_lstm_learns_an_order_of_frames(tmp_path: Path) -> None:
    dataset = planted.plant(tmp_path / "dataset", planted.ordered, dimensions=4)
    assert hit_at_1(tmp_path, "lstm", dataset, "units=16", "window=16", "epochs=3") > 0.95
    assert hit_at_1(tmp_path, "dbof", dataset, "projection=32", "hidden=16", "epochs=3") < 0.75
    assert hit_at_1(tmp_path, "frame_logistic", dataset, "epochs=4") < 0.75
    assert hit_at_1(tmp_path, "moe", dataset, "epochs=4") < 0.75
