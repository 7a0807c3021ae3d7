"""Thumbnails of a build, and of `yt8m thumbnails` where a build made none."""

import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.conftest import yt8m
from yt8m_pipeline.config import load
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.reader import open_dataset
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.jobs.garbage import collect_garbage
from yt8m_pipeline.jobs.thumbnails import CHANGED, NOT_STORED, make_thumbnails
from yt8m_pipeline.store.failures import Source
from yt8m_pipeline.store.thumbnails import Thumbnails


def pictures(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "features" / "thumbnails").rglob("*.jpg"))}


def test_a_build_keeps_thumbnails_and_the_command_makes_the_very_same(copied: Path) -> None:
    built = pictures(copied)
    dataset = open_dataset(str(copied / "dataset"))
    assert len(built) >= len(dataset) > 0
    kept = Thumbnails(str(copied / "features"))
    frames = pq.read_table(copied / "dataset" / "videos.parquet").select(["video_id", "frames"]).to_pylist()
    for row in frames:
        found = kept.read(row["video_id"])
        assert found
        assert found.count == min(4, row["frames"])
    shutil.rmtree(copied / "features" / "thumbnails")
    made = make_thumbnails(load(copied / "config.yaml"))
    assert (made.kept, made.made, made.failed) == (0, len(dataset), {})
    assert pictures(copied).items() <= built.items()
    assert make_thumbnails(load(copied / "config.yaml")).kept == len(dataset)


def test_their_number_is_a_config_field(copied: Path) -> None:
    """It may change: pictures in another number are made anew."""
    make_thumbnails(load(copied / "config.yaml", ["decoding.thumbnails=2"]))
    kept = Thumbnails(str(copied / "features"))
    assert {found.count for found in map(kept.read, open_dataset(str(copied / "dataset"))) if found} == {2}
    with pytest.raises(UsageError, match="No thumbnails are wanted"):
        make_thumbnails(load(copied / "config.yaml", ["decoding.thumbnails=0"]))


def test_a_video_that_is_not_stored_is_told(copied: Path) -> None:
    shutil.rmtree(copied / "features" / "thumbnails")
    videos = pq.read_table(copied / "dataset" / "videos.parquet").to_pylist()
    stored = sorted((copied / "features").glob("*/*/*.npz"))
    ids = [row["video_id"] for row in videos]
    gone = next(path for path in stored if path.name.rpartition("-")[0] == ids[0])
    gone.unlink()
    result = yt8m("thumbnails", str(copied / "config.yaml"), "--json")
    told = json.loads(result.stdout)
    assert (result.returncode, told["made"]) == (1, len(ids) - 1)
    assert told["without"] == [{"reason": NOT_STORED, "videos": 1, "for example": ids[0]}]


def test_what_a_take_down_leaves_unused_goes(copied: Path) -> None:
    before = pictures(copied)
    dataset, store = open_dataset(str(copied / "dataset")), str(copied / "features")
    table = copied / "videos.csv"
    kept = dataset.ids(Partition.TRAIN)
    table.write_text("\n".join(["video_id,uri,view_count,duration_seconds", *(f"{one},x.mp4,1000,3" for one in kept)]))
    old = time.time() - 10 * 86_400
    for path in (copied / "features" / "thumbnails").rglob("*.jpg"):
        os.utime(path, (old, old))
    assert not collect_garbage(store)["thumbnails"]
    found = collect_garbage(store, [str(table)], delete=True)["thumbnails"]
    assert len(found) == len(before) - len(kept) > 0
    assert sorted(pictures(copied)) == sorted(Path(Thumbnails(store).path(one)).name for one in kept)


def test_a_film_that_has_changed_gets_no_pictures(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(copied / "features" / "thumbnails")
    now = Source.of
    monkeypatch.setattr(Source, "of", lambda uri: replace(now(uri), modified="later"))
    made = make_thumbnails(load(copied / "config.yaml"))
    assert made.failed == {CHANGED: len(open_dataset(str(copied / "dataset")))}
    assert not pictures(copied)
