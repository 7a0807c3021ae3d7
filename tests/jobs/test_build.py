"""The life of a build: what an engine refuses, or only looks at, leaves a finished dataset as it was."""

import re
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.api_core.exceptions import Forbidden

from tests.conftest import Workshop, published_bytes, yt8m
from yt8m_pipeline import DataError, build, export, load_config, rebuild_split
from yt8m_pipeline.jobs.build_plan import plan_build


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


def forbid(*_: Any) -> None:
    raise Forbidden("the job was refused: permission")  # type: ignore[no-untyped-call]


def fail(*_: Any) -> None:
    raise ValueError("an option is missing")


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def misunderstood(workshop: Workshop, tmp_path: Path) -> Path:
    """The config of a corpus whose videos have a column `split`, and whose annotations change their separator."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for path in workshop.corpus.iterdir():
        (corpus / path.name).symlink_to(path)
    videos = pq.read_table(workshop.corpus / "videos.parquet")
    (corpus / "videos.parquet").unlink()
    pq.write_table(videos.append_column("split", pa.repeat("train", videos.num_rows)), corpus / "videos.parquet")
    header, *lines = (workshop.corpus / "annotations.csv").read_text().splitlines()
    (corpus / "annotations.csv").unlink()
    lines[5:10] = [line.replace(",", ";") for line in lines[5:10]]
    (corpus / "annotations.csv").write_text("\n".join([header, *lines]))
    return workshop.config(tmp_path, tables__root=str(corpus))


UNUSED_SPLIT = "the videos table has a column 'split' that nothing uses: a build draws partitions by chance"


def test_a_build_says_first_what_nothing_uses_and_opens_no_video_of_a_misunderstood_table(misunderstood: Path) -> None:
    run = yt8m("build", str(misunderstood))
    assert run.returncode == 1
    assert run.stderr.startswith(f"warning: {UNUSED_SPLIT}")
    assert re.search(r"\b5 of \d+ rows of the annotations table are malformed$", run.stderr, re.MULTILINE)
    assert "annotations.csv, row 6; why: 1 fields, the header has 3, with ',' between them" in run.stderr
    assert "tables.max_malformed_fraction 0.01 allows 1 of them" in run.stderr
    assert not list((misunderstood.parent / "features").rglob("*.npz"))


def test_what_nothing_uses_is_in_the_manifest(misunderstood: Path) -> None:
    warnings = plan_build(load_config(misunderstood)).for_manifest["warnings"]
    assert [text for text in warnings if text.startswith(UNUSED_SPLIT)]


def test_a_finished_dataset_stays_complete_where_the_engine_does_not_build(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = published_bytes(copied / "dataset")
    config = load_config(copied / "config.yaml", ["video_sampling.salt=another"])
    outcomes: list[tuple[Any, type[BaseException], str]] = [
        (dry_run, DataError, "has not done the work"),
        (refuse, DataError, "The engine stopped"),
        (forbid, DataError, "The engine stopped"),
        (fail, ValueError, "an option is missing"),
        (interrupt, KeyboardInterrupt, "^$"),
    ]
    for run, kind, what in outcomes:
        monkeypatch.setattr(beam.Pipeline, "run", run)
        with pytest.raises(kind, match=what):
            build(config)
        assert published_bytes(copied / "dataset") == before


@pytest.mark.parametrize(("run", "what"), [(dry_run, "has not done the work"), (refuse, "The engine stopped")])
def test_a_partition_that_the_engine_does_not_write_again_is_not_taken_for_written(
    copied: Path, monkeypatch: pytest.MonkeyPatch, run: Any, what: str
) -> None:
    """The key of the manifest that stands there is that of the job."""
    before = published_bytes(copied / "dataset")
    monkeypatch.setattr(beam.Pipeline, "run", run)
    with pytest.raises(DataError, match=what):
        rebuild_split(load_config(copied / "config.yaml"), "test")
    assert published_bytes(copied / "dataset") == before


@pytest.mark.parametrize(("run", "what"), [(dry_run, "has not done the work"), (refuse, "The engine stopped")])
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
