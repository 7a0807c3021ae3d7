"""The life of a build: what an engine refuses, or only looks at, leaves a finished dataset as it was."""

from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest

from tests.conftest import published_bytes
from yt8m_pipeline import DataError, build, export, load_config, rebuild_split


class LookedAt:
    """The result of a dry run: there is no state, and there are no metrics."""

    def wait_until_finish(self) -> None:
        raise NotImplementedError

    def metrics(self) -> Any:
        raise NotImplementedError


def dry_run(*_: Any) -> LookedAt:
    return LookedAt()


def refuse(*_: Any) -> None:
    raise RuntimeError("the job was refused: quota")


@pytest.mark.parametrize(("run", "what"), [(dry_run, "has not built the dataset"), (refuse, "The engine stopped")])
def test_a_finished_dataset_stays_complete_where_the_engine_does_not_build(
    copied: Path, monkeypatch: pytest.MonkeyPatch, run: Any, what: str
) -> None:
    before = published_bytes(copied / "dataset")
    monkeypatch.setattr(beam.Pipeline, "run", run)
    config = load_config(copied / "config.yaml", ["video_sampling.salt=another"])
    with pytest.raises(DataError, match=what):
        build(config)
    assert published_bytes(copied / "dataset") == before


@pytest.mark.parametrize(("run", "what"), [(dry_run, "has not built the dataset"), (refuse, "The engine stopped")])
def test_a_partition_that_the_engine_does_not_write_again_is_not_taken_for_written(
    copied: Path, monkeypatch: pytest.MonkeyPatch, run: Any, what: str
) -> None:
    """The key of the manifest that stands there is that of the job."""
    before = published_bytes(copied / "dataset")
    monkeypatch.setattr(beam.Pipeline, "run", run)
    with pytest.raises(DataError, match=what):
        rebuild_split(load_config(copied / "config.yaml"), "test")
    assert published_bytes(copied / "dataset") == before


@pytest.mark.parametrize(("run", "what"), [(dry_run, "has not built the dataset"), (refuse, "The engine stopped")])
def test_an_export_that_the_engine_does_not_write_goes_on_later(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any, what: str
) -> None:
    source, target = str(copied / "dataset"), str(tmp_path / "uniform")
    with monkeypatch.context() as patch, pytest.raises(DataError, match=what):
        patch.setattr(beam.Pipeline, "run", run)
        export(source, target)
    assert export(source, target).is_new
    assert not export(source, target).is_new


def test_a_first_build_that_the_engine_refuses_goes_on_later(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(copied / "config.yaml", [f"output={tmp_path / 'new'}"])
    with monkeypatch.context() as patch, pytest.raises(DataError, match="The engine stopped"):
        patch.setattr(beam.Pipeline, "run", refuse)
        build(config)
    assert build(config).is_new
    assert published_bytes(tmp_path / "new") == published_bytes(copied / "dataset")
