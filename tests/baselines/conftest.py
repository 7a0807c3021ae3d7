"""Datasets with something planted, made once in a test run, and models trained on them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.baselines import planted
from yt8m_pipeline import train
from yt8m_pipeline.baselines.settings import MODELS
from yt8m_pipeline.data_model import Partition

FEW = {Partition.TRAIN: 48, Partition.VALIDATE: 18, Partition.TEST: 3}


@pytest.fixture(scope="session")
def separable(tmp_path_factory: pytest.TempPathFactory) -> str:
    """48 train videos of three classes that a line divides; 8 dimensions, 4 to 11 frames."""
    folder = tmp_path_factory.mktemp("separable") / "dataset"
    return planted.plant(folder, planted.separable, dimensions=8, classes=3, sizes=FEW)


@pytest.fixture(scope="session")
def trained(separable: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a model that was trained on `separable`; each is trained once."""
    root = tmp_path_factory.mktemp("models")

    def folder(model: str) -> Path:
        assert model in MODELS
        if not (root / model).exists():
            train(model, separable, str(root / model), small=True, settings=QUICK[model])
        return root / model

    return folder


QUICK = {
    "frame_logistic": ["epochs=3"],
    "dbof": ["epochs=3", "projection=32", "hidden=8"],
    "lstm": ["epochs=4", "units=8", "window=6", "learning_rate=0.03"],
    "hinge": ["epochs=3"],
    "logistic": ["epochs=3"],
    "moe": ["epochs=3"],
}


@pytest.fixture
def copy() -> Callable[[str, Path], str]:
    """Copies a dataset, to change it."""

    def copied(dataset: str, folder: Path) -> str:
        return str(shutil.copytree(dataset, folder / "copy"))

    return copied
