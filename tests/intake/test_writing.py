"""The files of `init`: their bytes, and what happens to those that are there."""

import os
from pathlib import Path

import pytest
import yaml

from tests.faulty_bucket import BUCKET
from tests.intake.samples import ACTIVITYNET, video_files, write
from yt8m_pipeline import files
from yt8m_pipeline.config import load
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.intake.options import Model, Options
from yt8m_pipeline.intake.understanding import understand
from yt8m_pipeline.intake.writing import write as write_tables


def init(source: Path, folder: Path, *, force: bool = False, model: Model = Model.RANDOM) -> dict[str, bytes]:
    write_tables(understand([str(source)], without=str(folder)), str(folder), model=model, force=force)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return video_files(tmp_path / "clips", "dog/a.mp4", "dog/b.mp4", "cat/c.mp4", "d.mp4")


def test_the_same_source_gives_the_same_bytes_and_touches_nothing(source: Path, tmp_path: Path) -> None:
    first = init(source, tmp_path / "out")
    assert list(first) == ["annotations.csv", "config.yaml", "init.json", "missing.csv", "videos.csv"]
    (tmp_path / "out" / "notes.txt").write_text("mine")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert init(source, tmp_path / "out") == first | {"notes.txt": b"mine"}
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before
    assert init(source, tmp_path / "other") == first


def test_the_folder_may_be_in_the_source(source: Path) -> None:
    first = init(source, source / "out")
    video_files(source / "out" / "dataset", "preview.mp4")
    assert {name: data for name, data in init(source, source / "out").items() if name in first} == first


def test_a_changed_source_changes_what_was_written_and_removes_what_is_needless(source: Path, tmp_path: Path) -> None:
    init(source, tmp_path / "out")
    (source / "d.mp4").unlink()
    video_files(source, "bird/e.mp4")
    written = init(source, tmp_path / "out")
    assert "missing.csv" not in written
    assert b"bird_e" in written["videos.csv"]


def test_what_a_user_has_changed_is_not_replaced(source: Path, tmp_path: Path) -> None:
    config = tmp_path / "out" / "config.yaml"
    first = init(source, tmp_path / "out")
    config.write_text(config.read_text().replace("withheld", "published"))
    video_files(source, "bird/e.mp4")
    with pytest.raises(UsageError, match="Files are not replaced") as caught:
        init(source, tmp_path / "out")
    assert caught.value.where == str(config)
    assert "--force" in caught.value.fix
    assert (tmp_path / "out" / "videos.csv").read_bytes() == first["videos.csv"]
    assert init(source, tmp_path / "out", force=True)["config.yaml"] == first["config.yaml"]


def test_files_of_somebody_else_are_not_replaced(source: Path, tmp_path: Path) -> None:
    write(tmp_path / "out" / "videos.csv", "mine\n")
    with pytest.raises(UsageError, match="Files are not replaced"):
        init(source, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["videos.csv"]


def test_a_damaged_record_of_what_was_written_is_told(source: Path, tmp_path: Path) -> None:
    write(tmp_path / "out" / "init.json", "[")
    with pytest.raises(DataError, match="damaged"):
        init(source, tmp_path / "out")


def test_films_near_the_tables_have_relative_uris(source: Path, tmp_path: Path) -> None:
    assert b",../clips/dog/a.mp4\n" in init(source, tmp_path / "out")["videos.csv"]
    far = init(source, tmp_path / "deep" / "er" / "out")["videos.csv"]
    assert f",{source}/dog/a.mp4\n".encode() in far


@pytest.mark.parametrize("model", Model)
def test_the_config_is_one(source: Path, tmp_path: Path, model: Model) -> None:
    init(source, tmp_path / "out", model=model)
    settings = ["pca.components=16", "shards={}"]
    config = load(tmp_path / "out" / "config.yaml", settings)
    assert config.inception.model.model_dump(exclude_none=True).items() >= (
        {"keras": "imagenet"}.items() if model is Model.IMAGENET else {"random": 0}.items()
    )
    assert (config.tables.ratings, config.tables.entities, config.vocabulary) == (None, None, None)
    assert config.tables.root == str(tmp_path / "out")
    assert config.partitioning.by == "hash"
    assert config.video_sampling.min_views == 0


def test_the_config_honours_given_partitions(tmp_path: Path) -> None:
    write(tmp_path / "in" / "activity_net.json", ACTIVITYNET)
    video_files(tmp_path / "in", "v_QOlSCBRmfWY.mp4")
    values = yaml.safe_load(init(tmp_path / "in", tmp_path / "out")["config.yaml"])
    shares = {"train": 1.0, "validate": 0, "test": 0}
    assert values["partitioning"] == {"by": "column", "without": "reject"} | shares
    assert values["pca"] == {"components": "auto"}
    assert values["shards"] == {"train": "auto", "validate": "auto", "test": "auto"}


@pytest.mark.usefixtures("bucket")
def test_a_bucket_is_a_source_and_a_place(tmp_path: Path) -> None:
    root = f"gs://{BUCKET}/clips"
    for name in ("dog/a.mp4", "dog/b.mp4", "cat/c.mp4", ".hidden/d.mp4", "x?.mp4"):
        files.write_bytes(f"{root}/{name}", name.encode())
    files.write_bytes(f"{root}/out/preview.mp4", b"video")
    understood = understand([root], Options(), without=f"{root}/out/")
    assert [(video.video_id, video.uri) for video in understood.videos] == [
        ("cat_c", f"{root}/cat/c.mp4"),
        ("dog_a", f"{root}/dog/a.mp4"),
        ("dog_b", f"{root}/dog/b.mp4"),
    ]
    assert len(understood.unused) == 2
    write_tables(understood, f"gs://{BUCKET}/out")
    assert b"cat_c,gs://" in files.read_bytes(f"gs://{BUCKET}/out/videos.csv")
    write_tables(understood, os.fspath(tmp_path / "out"))
    assert (tmp_path / "out" / "videos.csv").read_bytes() == files.read_bytes(f"gs://{BUCKET}/out/videos.csv")
