"""The store's formats: what version 0.1.0 wrote is read for ever, and what a later version writes is not damage."""

import hashlib
import io
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from make_golden_formats import write_store

from tests.command_line import four_parts, run
from tests.conftest import published_bytes
from yt8m_pipeline.accounting.reasons import DropReason
from yt8m_pipeline.config import Decoding, Inception, RandomModel, load
from yt8m_pipeline.data_model import MediaFile, StoredEntry
from yt8m_pipeline.decoding.damage import conditions
from yt8m_pipeline.decoding.frames import library_version
from yt8m_pipeline.extraction.inception import describe as describe_network
from yt8m_pipeline.files import FileState
from yt8m_pipeline.jobs.build_plan import plan_build
from yt8m_pipeline.store.durations import duration_files
from yt8m_pipeline.store.failures import Failure, Source
from yt8m_pipeline.store.feature_store import (
    DEFAULTS,
    INDEX,
    Damaged,
    FeatureStore,
    describe,
    feature_space,
    open_store,
)
from yt8m_pipeline.store.formats import FORMAT, NewerFormatError
from yt8m_pipeline.store.index import IndexedFile, read_index
from yt8m_pipeline.store.stored_file import SEAL_BYTES, open_stored
from yt8m_pipeline.store.thumbnails import Thumbnails, source_digest

GOLDEN = Path(__file__).parent.parent / "golden_formats"
SPACE = "a96b1b0829e94990"
WHEN = "2016-09-28T00:00:00+00:00"
SOURCE = Source("gs://corpus/guitar.mp4", 123456, WHEN)
ENTRY = StoredEntry(3, 1.0, "bc37307404664367e4ac76e903e783de6b434678b78eafc5365e86e9b6b3f30f", 0.75, 1 - 0.96)

DESCRIPTION = {
    **describe_network(Inception(model=RandomModel(random=1))),
    "frames_per_second": 1.0,
    "max_seconds": 360.0,
    "sampling": "exact",
    "damage": "strict",
    "decoder": "av 18",
    "resize": "decoder, area, 299x299",
}
"""The feature space of the golden stores, as version 0.1.0 described it."""


@pytest.fixture(params=sorted(path.parent.name for path in GOLDEN.glob("*/store")))
def version(request: pytest.FixtureRequest) -> str:
    """A released version."""
    return str(request.param)


@pytest.fixture
def golden(version: str, tmp_path: Path) -> FeatureStore:
    """A copy of the store that it wrote by scripts/make_golden_formats.py."""
    shutil.copytree(GOLDEN / version / "store", tmp_path / "store")
    return FeatureStore(str(tmp_path / "store"), SPACE)


@pytest.fixture
def entry(version: str) -> StoredEntry:
    """What its store has of the video `guitar`. Version 0.1.0 knew nothing of transfer functions and files."""
    media = MediaFile("mov,mp4,m4a,3gp,3g2,mj2", "h264", SOURCE.size, 64, 48, 25.0, 60, 41)
    return ENTRY if version == "0.1.0" else replace(ENTRY, transfer="HLG", media=media)


class TestReleased:
    def test_its_features_are_read(self, golden: FeatureStore, entry: StoredEntry) -> None:
        stored = golden.open(golden.path("guitar"))
        assert stored.entry == entry
        assert (stored.header.source_uri, stored.header.source_size, stored.header.source_modified) == (
            SOURCE.uri,
            SOURCE.size,
            SOURCE.modified,
        )
        assert stored.video.features.dtype == np.float16
        np.testing.assert_array_equal(stored.video.features, np.arange(12).reshape(3, 4) / 8 - 1)
        np.testing.assert_array_equal(stored.video.pts_seconds, [0.0, 0.96, 2.0])

    def test_its_index_is_read(self, golden: FeatureStore, entry: StoredEntry) -> None:
        path = Path(golden.path("guitar"))
        (known,) = read_index(str(path.with_name(INDEX)), SPACE).items()
        assert known[0] == path.name
        assert known[1] == IndexedFile(FileState(path.stat().st_size, known[1].state.modified_ns), SOURCE, entry)

    def test_its_failure_is_read(self, golden: FeatureStore) -> None:
        source = Source("gs://corpus/broken.mp4", 99, WHEN)
        found = golden.failure("broken")
        reason = (DropReason.TRUNCATED, "it ends at 3 s", 0.25)
        assert found
        assert found.decoding.items() <= conditions(Decoding()).items()
        assert found == Failure("broken", SPACE, source, found.decoding, *reason)

    def test_its_feature_space_keeps_its_name(self, golden: FeatureStore) -> None:
        before = Path(golden.folder, "space.json").read_bytes()
        assert describe(golden) is not None
        assert open_store(golden.root, DESCRIPTION) == golden
        assert open_store(golden.root, {**DESCRIPTION, **DEFAULTS}) == golden
        assert Path(golden.folder, "space.json").read_bytes() == before

    def test_the_command_line_finds_it_sound(self, golden: FeatureStore) -> None:
        assert run("store", "check", golden.root).returncode == 0

    def test_its_thumbnails_and_durations_are_read(self, golden: FeatureStore) -> None:
        """Those of the versions that have some."""
        pictures = Thumbnails(golden.root).read("guitar")
        assert pictures is None or (pictures.count, pictures.source) == (2, source_digest(SOURCE))
        kept = [file.open() for file in duration_files(golden.root)]
        assert kept == [{SOURCE.uri: (SOURCE, 212.5)}] * (pictures is not None)


def test_what_this_version_writes_is_what_the_newest_released_one_wrote(tmp_path: Path) -> None:
    """Other bytes may be read by no earlier version. A new format has a number of its own, and adds a folder."""
    newest = max(GOLDEN.glob("*/store"))
    write_store(tmp_path / "store")
    found, expected = published_bytes(tmp_path / "store"), published_bytes(newest)
    assert found.keys() == expected.keys()
    index = next(name for name in found if name.endswith(INDEX))
    del found[index], expected[index]  # it has the time of the file
    assert found == expected


def test_the_libraries_of_the_lock_files_make_the_features_of_version_0_1_0() -> None:
    """A failure of this test renames the stores of everybody."""
    assert DEFAULTS["pixels"].startswith("PyAV 18, libavcodec 62.28, libswscale 9.5, AREA|")
    if av.__version__.startswith("18.1."):
        assert library_version() == DEFAULTS["pixels"]


# A later version


def numbered(number: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda values: {**values, "format": number}


def with_a_new_field(values: dict[str, Any]) -> dict[str, Any]:
    return {**values, "colour_space": "BT.2020"}


Change = Callable[[dict[str, Any]], dict[str, Any]]


def change_features(store: FeatureStore, change: Change, video_id: str = "guitar") -> Path:
    """Changes the header of stored features, as another version would have written it."""
    path = Path(store.path(video_id))
    with np.load(path) as arrays:
        header = change(json.loads(arrays["header"].tobytes()))
        others = {name: arrays[name] for name in ("pts_seconds", "features")}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.comment = bytes(SEAL_BYTES)
        for name, array in {"header": np.frombuffer(json.dumps(header).encode(), np.uint8), **others}.items():
            with archive.open(f"{name}.npy", "w") as stream:
                np.lib.format.write_array(stream, array)
    body = buffer.getvalue()[:-SEAL_BYTES]
    path.write_bytes(body + hashlib.sha256(body).hexdigest().encode())
    return path


def change_failure(store: FeatureStore, change: Change) -> Path:
    path = Path(store.failure_path("broken"))
    values = change(json.loads(path.read_text()))
    del values["sha256"]
    values["sha256"] = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(values))
    return path


def change_description(store: FeatureStore, change: Change) -> Path:
    path = Path(store.folder, "space.json")
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    return path


CHANGES = [change_features, change_failure, change_description]


def of_newer_format(path: Path) -> str:
    return re.escape(
        f"A stored file was written by a later version\n  where: {path}\n  why:   it is of format {FORMAT + 1}; this "
        f"version reads formats up to {FORMAT}\n  fix:   upgrade yt8m_pipeline"
    )


class TestLaterFormat:
    def test_it_is_refused_with_the_advice_to_upgrade(self, golden: FeatureStore) -> None:
        features, failure, description = (change(golden, numbered(FORMAT + 1)) for change in CHANGES)
        with pytest.raises(NewerFormatError, match=of_newer_format(features)):
            golden.read("guitar")
        with pytest.raises(NewerFormatError, match=of_newer_format(features)):
            golden.shelf(features.parent.name).find("guitar")
        with pytest.raises(NewerFormatError, match=of_newer_format(failure)):
            golden.failure("broken")
        with pytest.raises(NewerFormatError, match=of_newer_format(description)):
            open_store(golden.root, DESCRIPTION)

    @pytest.mark.parametrize("change", CHANGES)
    @pytest.mark.parametrize("command", [["stats"], ["check"]])
    def test_it_stops_the_commands(self, golden: FeatureStore, change: Any, command: list[str]) -> None:
        path = change(golden, numbered(FORMAT + 1))
        finished = run("store", *command, golden.root)
        assert (finished.returncode, four_parts(finished)[1]) == (1, str(path))
        assert four_parts(finished)[3].startswith("upgrade yt8m_pipeline")

    @pytest.mark.parametrize("change", [change_features, change_failure])
    def test_nothing_of_it_is_ever_removed(self, golden: FeatureStore, change: Any, tmp_path: Path) -> None:
        path = change(golden, numbered(FORMAT + 1))
        os.utime(path, (0, 0))
        table = tmp_path / "videos.csv"
        table.write_text("video_id,uri,duration_seconds,view_count\nother,other.mp4,3.0,5000\n")
        for arguments in ([], [str(table)]):
            finished = run("store", "gc", golden.root, *arguments, "--delete")
            assert (finished.returncode, four_parts(finished)[1]) == (1, str(path))
        assert path.exists()

    def test_it_stops_a_build_and_is_not_extracted_again(self, copied: Path) -> None:
        path = sorted((copied / "features").rglob("*.npz"))[0]
        store = FeatureStore(str(copied / "features"), path.parent.parent.name)
        change_features(store, numbered(FORMAT + 1), open_stored(str(path)).header.video_id)
        before = path.read_bytes()
        shutil.rmtree(copied / "dataset")
        finished = run("build", str(copied / "config.yaml"))
        what, where, _, fix = four_parts(finished)
        assert (finished.returncode, what, where) == (1, "A stored file was written by a later version", str(path))
        assert fix.startswith("upgrade yt8m_pipeline")
        assert path.read_bytes() == before

    def test_a_failure_for_an_unknown_reason_is_a_later_versions(self, golden: FeatureStore) -> None:
        change_failure(golden, lambda values: {**values, "reason": "too_colourful"})
        with pytest.raises(NewerFormatError, match="this version knows no reason 'too_colourful'"):
            golden.failure("broken")

    def test_an_index_is_not_used_and_its_files_are_read(self, golden: FeatureStore, entry: StoredEntry) -> None:
        path = Path(golden.path("guitar"))
        index = path.with_name(INDEX)
        index.unlink()
        shelf = golden.shelf(path.parent.name)
        shelf.find("guitar")
        shelf.save()
        assert list(read_index(str(index), SPACE)) == [path.name]
        first, *rows, seal = index.read_bytes().splitlines(keepends=True)
        assert json.loads(first) == {"format": FORMAT}
        body = b"".join([json.dumps({"format": FORMAT + 1}).encode() + b"\n", *rows])
        values = json.loads(seal) | {"sha256": hashlib.sha256(body).hexdigest()}
        index.write_bytes(body + json.dumps(values).encode())
        assert read_index(str(index), SPACE) == {}
        found = golden.shelf(path.parent.name).find("guitar")
        assert isinstance(found, IndexedFile)
        assert found.entry == entry


def test_fields_that_are_not_known_are_skipped(golden: FeatureStore) -> None:
    before = open_stored(golden.path("guitar")), golden.failure("broken")
    change_features(golden, with_a_new_field)
    change_failure(golden, with_a_new_field)
    after = open_stored(golden.path("guitar")), golden.failure("broken")
    assert (after[0].header, after[0].entry, after[1]) == (before[0].header, before[0].entry, before[1])


def test_a_number_that_is_none_is_damage(golden: FeatureStore) -> None:
    change_features(golden, lambda values: {**values, "format": "two"})
    assert isinstance(golden.shelf(Path(golden.path("guitar")).parent.name).find("guitar"), Damaged)


# New keys of the description


@pytest.fixture
def new_key(monkeypatch: pytest.MonkeyPatch) -> str:
    """A key that a later version describes, with the default `usual`."""
    monkeypatch.setitem(DEFAULTS, "colours", "usual")
    return "colours"


def test_a_new_key_renames_a_space_only_where_its_value_is_not_the_default(new_key: str, tmp_path: Path) -> None:
    assert feature_space(DESCRIPTION | {new_key: "usual"}) == SPACE
    assert feature_space(DESCRIPTION | {new_key: "other"}) != SPACE
    usual, other = (open_store(str(tmp_path), DESCRIPTION | {new_key: value}) for value in ("usual", "other"))
    assert describe(usual) == DESCRIPTION | {new_key: "usual"}
    assert describe(other) == DESCRIPTION | {new_key: "other"}


def test_a_version_that_does_not_know_the_new_key_reads_the_description(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as later:
        later.setitem(DEFAULTS, "colours", "usual")
        stores = [open_store(str(tmp_path), DESCRIPTION | {"colours": value}) for value in ("usual", "other")]
    assert open_store(str(tmp_path), DESCRIPTION) == stores[0]
    assert [describe(store) for store in stores] == [DESCRIPTION | {"colours": value} for value in ("usual", "other")]
    assert run("store", "check", str(tmp_path)).returncode == 0


@pytest.mark.parametrize(
    "other", ["PyAV 18, libavcodec 62.30, libswscale 9.5, AREA", "PyAV 18, libavcodec 62.28, libswscale 9.5, BILINEAR"]
)
def test_pixels_of_another_decoder_are_another_space(other: str) -> None:
    assert feature_space(DESCRIPTION | {"pixels": other}) != SPACE


def test_the_pca_of_a_dataset_that_lacks_the_new_key_is_of_the_same_space(copied: Path) -> None:
    path = copied / "dataset" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["feature_space"]["pixels"]
    path.write_text(json.dumps(manifest))
    config = load(copied / "config.yaml", [f"pca.source={copied}/dataset/pca", f"output={copied}/new"])
    pca = plan_build(config).pca
    assert pca
    assert pca.feature_space == manifest["feature_space"]["fingerprint"]
