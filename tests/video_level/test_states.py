"""The states of a trained LSTM as the vectors of videos (paper §4.1.3)."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from yt8m_pipeline import features, open_dataset
from yt8m_pipeline.baselines.states import open_states
from yt8m_pipeline.baselines.training import train
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.layout import Shard
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.jobs.features_plan import Wanted, plan_features
from yt8m_pipeline.transforms.video_level import vectors
from yt8m_pipeline.video_level.feature_list import verify_features
from yt8m_pipeline.video_level.names import Source


@pytest.fixture(scope="module")
def model(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "lstm"
    train("lstm", str(built / "dataset"), str(folder), settings=["epochs=1"], small=True)
    return folder


def test_each_vector_is_the_state_at_the_last_frame(built: Path, model: Path, tmp_path: Path) -> None:
    found = features(str(built / "dataset"), str(tmp_path / "x"), model=str(model)).features
    states, dataset = open_states(str(model)), open_dataset(str(built / "dataset"))
    assert found.dimensions == states.dimensions > 1
    for part in Partition:
        for vector, example in zip(found.videos(part), dataset.frames(part), strict=True):
            assert (vector.video_id, vector.labels.tolist()) == (example.video_id, example.labels.tolist())
            np.testing.assert_allclose(vector.features, states(example.features), atol=1e-6)
            assert np.ptp(vector.features) > 0
    assert (found.told.source, found.told.pca, found.told.space) == (Source.STATES, None, None)
    assert found.told.identity["model"] == hashlib.sha256((model / "best.keras").read_bytes()).hexdigest()
    assert not (tmp_path / "x" / "pca").exists()
    assert verify_features(str(tmp_path / "x")) == []
    assert not features(str(built / "dataset"), str(tmp_path / "x"), model=str(model)).is_new
    with pytest.raises(UsageError, match="of another kind"):
        features(str(built / "dataset"), str(tmp_path / "y"), like=str(tmp_path / "x"))


def test_a_dataset_of_another_feature_space_is_refused(copied: Path, model: Path, tmp_path: Path) -> None:
    manifest = json.loads((copied / "dataset" / "manifest.json").read_text())
    manifest["feature_space"]["fingerprint"] = "0123456789abcdef"
    (copied / "dataset" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match=r"trained on other features(?s:.*)feature_space"):
        features(str(copied / "dataset"), str(tmp_path / "x"), model=str(model))


def test_no_state_is_computed_by_other_weights_than_were_planned(built: Path, model: Path, tmp_path: Path) -> None:
    plan = plan_features(str(built / "dataset"), str(tmp_path / "x"), Wanted(model=str(model)))
    with pytest.raises(DataError, match="has changed while its states were computed"):
        vectors(Shard(Partition.TRAIN, 0, 1), [], replace(plan, told=replace(plan.told, model="0" * 64)))
