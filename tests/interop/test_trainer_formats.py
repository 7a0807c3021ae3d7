"""Exports for other trainers: every value is that of the dataset, whoever reads it, however it was written."""

import csv
import hashlib
import io
import json
import os
import pickle
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.command_line import four_parts, run
from tests.conftest import published_bytes
from tests.faulty_bucket import FaultyBucket
from yt8m_pipeline import files, open_dataset
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.file_names import SAFE_NAME_BYTES, safe_name
from yt8m_pipeline.dataset.layout import Shard
from yt8m_pipeline.dataset.reader import FrameExample
from yt8m_pipeline.dataset.typed_json import to_json
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.interop.export_list import ExportList, verify_export
from yt8m_pipeline.interop.trainer_formats import Classes, ShardWriter
from yt8m_pipeline.interop.trainer_names import TrainerFormat, Values
from yt8m_pipeline.jobs.trainer_export import export_for_trainers
from yt8m_pipeline.jobs.trainer_export_plan import REVISION, plan_trainer_export

FORMS = list(TrainerFormat)
PEERS = Path(__file__).with_name("peers.py")
PEERS_PYTHON = os.environ.get("YT8M_PEERS_PYTHON", "")

Found = dict[str, tuple[str, list[int] | None, np.ndarray]]
"""The partition, the labels (None where they are withheld) and the values of each video."""


def expected(dataset: Path, values: Values = Values.FLOAT32) -> Found:
    found: Found = {}
    for part in Partition:
        for example in open_dataset(str(dataset)).frames(part):
            array = example.codes if values == Values.CODES else example.features.astype(values.value)
            labels = None if part == Partition.TEST else example.labels.tolist()
            found[example.video_id] = (part.value, labels, array)
    return found


def read_tars(folder: Path) -> Iterator[tuple[str, str, list[int] | None, np.ndarray]]:
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as archive:
            for told, array in zip(*[iter(archive.getmembers())] * 2, strict=True):
                assert (told.name.split(".")[0], told.mtime, told.uid) == (array.name.split(".")[0], 0, 0)
                about = json.load(archive.extractfile(told))  # type: ignore[arg-type]
                stream = archive.extractfile(array)
                assert stream
                (folder / "array.npy").write_bytes(stream.read())
                yield about["id"], about["partition"], about["labels"], np.load(folder / "array.npy")
    (folder / "array.npy").unlink()


def read_arrays(folder: Path) -> Iterator[tuple[str, str, list[int] | None, np.ndarray]]:
    for path in sorted(folder.glob("*/*.csv")):
        for row in csv.DictReader(path.open(newline="")):
            labels = [int(label) for label in row["labels"].split(";")] if row["labels"] else None
            yield row["video_id"], path.parent.name, labels, np.load(folder / row["path"])


def read_parquet(folder: Path) -> Iterator[tuple[str, str, list[int] | None, np.ndarray]]:
    for path in sorted(folder.glob("*/*.parquet")):
        partition = path.name.split("-")[0].replace("validation", "validate")
        table = pq.read_table(path)
        for row in range(table.num_rows):
            frames = table["features"][row].values
            values = frames.flatten().to_numpy(zero_copy_only=False).reshape(len(frames), -1)
            yield table["video_id"][row].as_py(), partition, table["labels"][row].as_py(), values


READERS: dict[TrainerFormat, Callable[[Path], Iterator[tuple[str, str, list[int] | None, np.ndarray]]]] = {
    TrainerFormat.WEBDATASET: read_tars,
    TrainerFormat.NPY: read_arrays,
    TrainerFormat.PARQUET: read_parquet,
    TrainerFormat.HF: read_parquet,
}


def assert_same(found: Iterator[tuple[str, str, list[int] | None, np.ndarray]], wanted: Found) -> None:
    seen = set()
    for video_id, partition, labels, values in found:
        assert video_id not in seen
        seen.add(video_id)
        assert (partition, labels) == wanted[video_id][:2]
        assert values.dtype == wanted[video_id][2].dtype
        np.testing.assert_array_equal(values, wanted[video_id][2])
    assert seen == set(wanted)
    assert len(seen) > 10


@pytest.mark.parametrize("values", Values)
@pytest.mark.parametrize("form", FORMS)
def test_every_value_is_that_of_the_dataset(built: Path, tmp_path: Path, form: TrainerFormat, values: Values) -> None:
    export_for_trainers(str(built / "dataset"), str(tmp_path / "x"), form, values)
    assert_same(READERS[form](tmp_path / "x"), expected(built / "dataset", values))
    assert verify_export(str(tmp_path / "x")) == []


def test_the_codes_are_those_of_the_codebook_beside_them(built: Path, tmp_path: Path) -> None:
    export_for_trainers(str(built / "dataset"), str(tmp_path), "npy", "codes")
    wanted, quantizer = expected(built / "dataset"), Quantizer.load(str(tmp_path / "quantizer.npz"))
    for video_id, _, _, codes in read_arrays(tmp_path):
        np.testing.assert_array_equal(quantizer.decode(codes), wanted[video_id][2])


@pytest.mark.parametrize("form", FORMS)
def test_an_export_that_was_stopped_goes_on_and_ends_with_the_same_bytes(
    built: Path, tmp_path: Path, form: TrainerFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, whole, stopped = str(built / "dataset"), tmp_path / "whole", tmp_path / "stopped"
    export_for_trainers(dataset, str(whole), form, beam_arguments=["--direct_num_workers=2"])
    with monkeypatch.context() as broken:
        broken.setattr("yt8m_pipeline.transforms.trainer_formats.write_export_list", _fail)
        with pytest.raises(DataError):
            export_for_trainers(dataset, str(stopped), form)
    assert not (stopped / "COMPLETE").exists()
    assert verify_export(str(stopped))
    written = {path: path.stat().st_mtime_ns for path in stopped.rglob("*") if path.suffix in ENDINGS}
    assert export_for_trainers(dataset, str(stopped), form).is_new
    assert published_bytes(stopped) == published_bytes(whole)
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert not export_for_trainers(dataset, str(stopped), form).is_new


ENDINGS = {".tar", ".parquet", ".npy"}


def _fail(*_: object) -> None:
    raise DataError(what="stopped", where="here", why="of a test", fix="none")


def test_the_bytes_depend_on_all_that_is_read_and_not_on_where_it_is(copied: Path, tmp_path: Path) -> None:
    first = export_for_trainers(str(copied / "dataset"), str(tmp_path / "x"), "hf")
    (copied / "dataset").rename(copied / "renamed")
    assert not export_for_trainers(str(copied / "renamed"), str(tmp_path / "x"), "hf").is_new
    export_for_trainers(str(copied / "renamed"), str(tmp_path / "y"), "hf")
    assert published_bytes(tmp_path / "y") == published_bytes(tmp_path / "x")
    manifest = json.loads((copied / "renamed" / "manifest.json").read_text())
    [vocabulary] = [file for file in manifest["files"] if file["path"] == "vocabulary.csv"]
    vocabulary["sha256"] = "0" * 64
    (copied / "renamed" / "manifest.json").write_text(json.dumps(manifest))
    assert plan_trainer_export(str(copied / "renamed"), str(tmp_path / "z"), "hf").key != first.plan.key
    with pytest.raises(DataError, match=r"vocabulary\.csv"):
        export_for_trainers(str(copied / "renamed"), str(tmp_path / "z"), "hf")


def test_a_plan_is_small_whatever_the_dataset(built: Path, tmp_path: Path) -> None:
    plan = plan_trainer_export(str(built / "dataset"), str(tmp_path / "x"), "npy")
    assert len(pickle.dumps(plan)) < len((built / "dataset" / "manifest.json").read_bytes()) / 4
    assert pickle.loads(pickle.dumps(plan)).shards == plan.shards


def test_an_engine_that_does_nothing_has_exported_nothing(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yt8m_pipeline.jobs.engine.run", lambda *_: {})
    with pytest.raises(DataError, match="has not done the work"):
        export_for_trainers(str(built / "dataset"), str(tmp_path / "x"), "parquet")
    assert not (tmp_path / "x" / "COMPLETE").exists()


def test_exports_in_a_bucket_have_the_same_bytes(built: Path, tmp_path: Path, bucket: FaultyBucket) -> None:
    export_for_trainers(str(built / "dataset"), str(tmp_path / "x"), "parquet")
    export_for_trainers(str(built / "dataset"), "gs://bucket/x", "parquet")
    assert verify_export("gs://bucket/x") == []
    assert bucket.names()
    for name, data in published_bytes(tmp_path / "x").items():
        assert files.read_bytes(f"gs://bucket/x/{name}") == data


def test_folders_that_are_not_of_this_export_are_refused(built: Path, tmp_path: Path) -> None:
    dataset = str(built / "dataset")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    export_for_trainers(dataset, str(tmp_path / "x"), "hf")
    for place, form in (("notes", "hf"), ("file", "hf"), ("x", "npy")):
        with pytest.raises(UsageError, match="not the folder of this export"):
            export_for_trainers(dataset, str(tmp_path / place), form)
    with pytest.raises(UsageError, match="folder of its own"):
        export_for_trainers(dataset, f"{dataset}/export", "hf")
    assert (tmp_path / "notes" / "a.txt").read_text() == "mine"


@pytest.mark.parametrize("form", TrainerFormat)
def test_no_file_is_without_videos_and_none_is_left_out_of_the_numbers(
    built: Path, tmp_path: Path, form: TrainerFormat
) -> None:
    plan = plan_trainer_export(str(built / "dataset"), str(tmp_path / "x"), form)
    rows = plan.dataset.rows
    emptied = {path: replace(row, records=0) if "train-00000" in path else row for path, row in rows.items()}
    pairs = replace(plan, dataset=replace(plan.dataset, rows=emptied)).shards
    train = [(shard.index, target.index, target.of) for shard, target in pairs if shard.partition == Partition.TRAIN]
    assert train == [(1, 0, 3), (2, 1, 3), (3, 2, 3)]
    assert all(rows[shard.file("frame")].records for shard, _ in plan.shards)
    found = export_for_trainers(str(built / "dataset"), str(tmp_path / "x"), form).list
    assert sum(file.videos > 0 for file in found.files) == len(plan.shards)


def test_a_damaged_shard_is_not_exported(copied: Path, tmp_path: Path) -> None:
    shard = max((copied / "dataset" / "frame" / "train").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        export_for_trainers(str(copied / "dataset"), str(tmp_path / "x"), "webdataset")
    assert not (tmp_path / "x" / "COMPLETE").exists()


def test_verify_names_what_is_wrong(built: Path, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    export_for_trainers(str(built / "dataset"), str(folder), "npy")
    array = next(folder.glob("train/*/*.npy"))
    array.write_bytes(array.read_bytes()[:-1])
    (folder / "vocabulary.csv").unlink()
    (folder / "notes.txt").write_text("mine")
    names = {str(array.relative_to(folder)), "vocabulary.csv", "notes.txt"}
    assert {fault.where for fault in verify_export(str(folder))} == names
    finished = run("verify", str(folder), "--json")
    assert (finished.returncode, len(json.loads(finished.stdout)["faults"])) == (1, 3)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--format", "hf", "--quantizer", "uniform"], "takes no --quantizer"),
        (["--format", "npy", "--store", "features"], "takes no --store"),
        (["--values", "codes", "--quantizer", "uniform"], "takes no --values"),
        ([], "needs --quantizer uniform"),
    ],
)
def test_options_of_other_formats_are_refused(built: Path, tmp_path: Path, options: list[str], what: str) -> None:
    finished = run("export", str(built / "dataset"), "--output", str(tmp_path / "x"), *options)
    assert finished.returncode == 2
    assert what in four_parts(finished)[0]


def test_the_command_says_what_it_wrote(built: Path, tmp_path: Path) -> None:
    finished = run("export", str(built / "dataset"), "--output", str(tmp_path / "x"), "--format", "hf", "--json")
    listed = json.loads(finished.stdout)["files"]
    assert sum(file["videos"] for file in listed) == len(open_dataset(str(built / "dataset")))


@given(st.text(max_size=300), st.text(max_size=300))
def test_names_are_safe_and_no_two_ids_share_one(one: str, other: str) -> None:
    one, other = (text.encode("utf-8", "replace").decode() for text in (one, other))
    for name in (safe_name(one), safe_name(other)):
        assert len(name) <= SAFE_NAME_BYTES
        assert not set(name) & set('./\\ \n\0:*?"<>|')
    assert (safe_name(one) == safe_name(other)) == (one == other)
    assert safe_name(safe_name("x" * 500)) != safe_name("x" * 500)


def test_classes_of_one_name_are_told_apart() -> None:
    assert Classes(("Car", "Dog", "Car"), frozenset()).unique_names == ["Car (0)", "Dog", "Car (2)"]


@pytest.mark.skipif(
    not PEERS_PYTHON, reason="scripts/test_exports makes the environment of the programs that read these"
)
@pytest.mark.parametrize("values", Values)
@pytest.mark.parametrize("reader", ["hf", "webdataset"])
def test_the_programs_that_exports_are_for_read_them(built: Path, tmp_path: Path, reader: str, values: Values) -> None:
    shutil.copytree(built / "dataset", tmp_path / "dataset")
    export_for_trainers(str(tmp_path / "dataset"), str(tmp_path / "x"), reader, values)
    names = open_dataset(str(built / "dataset")).classes
    command = [PEERS_PYTHON, str(PEERS), reader, str(tmp_path / "x")]
    environment = os.environ | {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    found: list[dict[str, Any]] = [json.loads(line) for line in printed.splitlines()]
    assert_same(
        ((row["id"], row["partition"], row["labels"], np.array(row["values"], row["dtype"])) for row in found),
        expected(built / "dataset", values),
    )
    assert all(row["labels"] is None or row["names"] == [names[label] for label in row["labels"]] for row in found)


@pytest.mark.parametrize(
    ("form", "digest"), [(TrainerFormat.WEBDATASET, "e86492a0471e851a"), (TrainerFormat.NPY, "1baa80c339c627db")]
)
def test_who_changes_a_byte_of_an_export_raises_its_revision(form: TrainerFormat, digest: str) -> None:
    """Else a stopped export would go on in other bytes. Those of Parquet are pyarrow's, and change with it."""
    quantizer = Quantizer(np.linspace(-1, 1, 5, dtype=np.float32), "optimal")
    codes = (np.arange(12).reshape(3, 4) % 5).astype(np.uint8)
    examples = [FrameExample(name, np.array([1]), codes[:frames], quantizer) for name, frames in (("a.b", 2), ("é", 3))]
    written: dict[str, io.BytesIO] = {}

    @contextmanager
    def write(path: str) -> Iterator[io.BytesIO]:
        yield written.setdefault(path, io.BytesIO())

    classes = Classes(("Cat", "Dog"), frozenset({Partition.TEST}))
    for values, part in ((Values.FLOAT16, Partition.TRAIN), (Values.CODES, Partition.TEST)):
        ShardWriter(form, values, 4, classes).write(Shard(part, 0, 1), examples, write)
    contents = b"".join(path.encode() + stream.getvalue() for path, stream in sorted(written.items()))
    assert (REVISION, hashlib.sha256(contents).hexdigest()[:16]) == (1, digest)


def test_a_list_of_a_later_format_asks_for_an_upgrade_and_a_new_field_is_skipped(tmp_path: Path) -> None:
    told = ExportList("0.2.0", "npy", "codes", "key", "build key", ())
    path = tmp_path / "export.json"
    path.write_text(json.dumps({**to_json(told), "colours": "many"}))
    assert ExportList.find(str(tmp_path)) == told
    path.write_text(json.dumps({**to_json(told), "list_format": 2, "files": "of another kind"}))
    with pytest.raises(DataError, match=r"newer format[^$]*fix:   upgrade"):
        ExportList.find(str(tmp_path))
