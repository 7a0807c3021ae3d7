"""Each setting changes what is learnt; and what is wrong is told at once, with what may be meant."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from yt8m_pipeline.baselines.inputs import train_batches
from yt8m_pipeline.baselines.layers import tf
from yt8m_pipeline.baselines.learning import Learner
from yt8m_pipeline.baselines.plan import plan_training
from yt8m_pipeline.baselines.settings import KINDS, MODELS, ModelName, settings_of
from yt8m_pipeline.errors import UsageError

BASE: dict[str, list[str]] = {
    "frame_logistic": ["batch_size=8", "frames=3"],
    "dbof": ["batch_size=8", "frames=3", "projection=6", "hidden=4"],
    "lstm": ["batch_size=8", "units=3", "window=3", "layers=1"],
    "hinge": ["batch_size=8"],
    "logistic": ["batch_size=8"],
    "moe": ["batch_size=8"],
}
CHANGED: dict[str, Any] = {
    "seed": 1, "batch_size": 16, "learning_rate": 0.5, "shuffle_buffer": 2, "initial_accumulator": 1.0, "penalty": 5.0,
    "margin": 0.2, "experts": 3, "frames": 2, "projection": 7, "hidden": 5, "weight_decay": 0.1, "momentum": 0.5,
    "layers": 2, "units": 4, "window": 2, "clip_norm": 0.01,
}  # fmt: skip
ELSEWHERE = {"epochs", "patience", "monitor"}
"""These decide when training ends, and which epoch is best: test_training has them."""


def learnt(model: ModelName, dataset: str, folder: Path, *settings: str) -> list[np.ndarray]:
    """All weights after an epoch."""
    plan = plan_training(model, dataset, str(folder), settings=[*BASE[model], *settings])
    learner = Learner(plan)
    for batch in train_batches(plan.source, plan.settings, 1):
        learner.step(batch)
    return list(learner.network.get_weights())


@pytest.mark.parametrize("model", MODELS)
def test_every_setting_changes_the_weights(model: ModelName, separable: str, tmp_path: Path) -> None:
    names = KINDS[model].model_fields.keys() - ELSEWHERE
    assert names <= CHANGED.keys()
    tf.config.run_functions_eagerly(True)
    try:
        before = learnt(model, separable, tmp_path)
        assert all(map(np.array_equal, before, learnt(model, separable, tmp_path)))
        for name in sorted(names):
            after = learnt(model, separable, tmp_path, f"{name}={CHANGED[name]}")
            assert not (len(after) == len(before) and all(map(np.array_equal, before, after))), name
    finally:
        tf.config.run_functions_eagerly(False)


def test_the_defaults_are_the_papers() -> None:
    found = {name: settings_of(name).model_dump() for name in MODELS}
    papers: dict[ModelName, dict[str, Any]] = {
        "frame_logistic": {"frames": 20},
        "dbof": {"projection": 8192, "hidden": 1024, "learning_rate": 0.1, "weight_decay": 0.0005},
        "lstm": {"layers": 2, "units": 1024, "window": 60},
        "hinge": {"margin": 1.0},
        "moe": {"experts": 2, "learning_rate": 1.0, "batch_size": 32},
    }
    for model, values in papers.items():
        assert {name: found[model][name] for name in values} == values


def test_all_wrong_settings_are_told_at_once() -> None:
    with pytest.raises(UsageError) as told:
        settings_of("moe", ["expert=2", "batch_size=0", "monitor=accuracy"])
    assert told.value.what == "The settings of moe have 3 problems"
    assert "expert: there is no such setting; is experts meant?" in told.value.why
    assert "batch_size: Input should be greater than or equal to 1" in told.value.why
    assert "monitor: Input should be 'map'" in told.value.why


@pytest.mark.parametrize("wrong", [f"seed={1 << 32}", f"batch_size={1 << 31}", f"shuffle_buffer={10**20}"])
def test_a_number_that_tensorflow_cannot_hold_is_refused(wrong: str) -> None:
    with pytest.raises(UsageError, match="Input should be less than"):
        settings_of("moe", [wrong])


@pytest.mark.parametrize("wrong", ["experts", "experts=[1", "experts=yes", "learning_rate=on"])
def test_a_setting_is_name_and_value(wrong: str) -> None:
    with pytest.raises(UsageError, match="not name=value"):
        settings_of("moe", [wrong])


def test_there_is_no_other_model() -> None:
    with pytest.raises(UsageError, match="the models are frame_logistic, dbof, lstm, hinge, logistic, moe"):
        settings_of("resnet")
