"""The reader that every dataset carries gives the values of ours, in a process that can import nothing but NumPy."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dataset.example import write_example
from tests.dataset.test_reader import FIRST, Dataset, optimal_quantizer, quantizer_by_dimension, shard_path
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset import read_dataset
from yt8m_pipeline.dataset.manifest import Manifest
from yt8m_pipeline.dataset.reader import open_dataset
from yt8m_pipeline.dataset.steps import is_intact
from yt8m_pipeline.dataset.verify import verify

ALONE = """
import hashlib, json, sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("yt8m_pipeline", "pyarrow", "tensorflow", "google", "google_crc32c", "apache_beam"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hidden())
sys.path.insert(0, sys.argv[1])
from read_dataset import classes, read_frames, read_videos
digest = lambda array: hashlib.sha256(f"{array.dtype} {array.shape}".encode() + array.tobytes()).hexdigest()
found = [[[item.video_id, item.labels, digest(item.features())] for item in read_frames(part)] +
         [[item.video_id, item.labels, digest(item.mean_rgb)] for item in read_videos(part)]
         for part in ("train", "validate", "test")]
print(json.dumps(found))
"""


def alone(folder: Path) -> list[list[list[object]]]:
    command = [sys.executable, "-I", "-c", ALONE, str(folder)]
    found: list[list[list[object]]] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return found


def ours(folder: Path) -> list[list[list[object]]]:
    def digest(array: Any) -> str:
        return hashlib.sha256(f"{array.dtype} {array.shape}".encode() + array.tobytes()).hexdigest()

    opened = open_dataset(str(folder))
    return [
        [[item.video_id, item.labels.tolist(), digest(item.features)] for item in opened.frames(part)]
        + [[item.video_id, item.labels.tolist(), digest(item.mean_rgb)] for item in opened.videos(part)]
        for part in Partition
    ]


@pytest.mark.parametrize("quantizer", [optimal_quantizer, quantizer_by_dimension, Quantizer.uniform])
def test_its_values_are_ours(tmp_path: Path, quantizer: Callable[[], Quantizer]) -> None:
    dataset = Dataset(tmp_path, quantizer())
    (tmp_path / "read_dataset.py").write_bytes(Path(read_dataset.__file__).read_bytes())
    assert alone(dataset.root) == ours(dataset.root)


def test_every_dataset_carries_it_listed_and_verified(tmp_path: Path) -> None:
    layout = open_dataset(write_example(tmp_path)).layout
    (entry,) = (file for file in Manifest.of(layout).tables if file.path == "read_dataset.py")
    assert is_intact(layout, entry)
    assert alone(tmp_path) == ours(tmp_path)
    printed = subprocess.run(
        [sys.executable, "-I", str(tmp_path / "read_dataset.py")], capture_output=True, check=True, text=True
    )
    assert "train: 3 videos, 8 frames" in printed.stdout
    with (tmp_path / "read_dataset.py").open("a") as stream:
        stream.write("\n")
    assert [fault.where for fault in verify(str(tmp_path))] == ["read_dataset.py"]


@given(st.binary(max_size=3000))
def test_its_checksum_is_the_crc32c(data: bytes) -> None:
    assert read_dataset.crc32c(data) == google_crc32c.value(data)


@pytest.mark.parametrize("position", [0, 8, 12, 20, -1])
def test_damage_is_refused_with_the_file_and_record(tmp_path: Path, position: int) -> None:
    dataset = Dataset(tmp_path, Quantizer.uniform())
    whole = bytearray(dataset.file(FIRST).read_bytes())
    whole[position] ^= 1
    dataset.file(FIRST).write_bytes(whole)
    with pytest.raises(ValueError, match=f"{FIRST}, record 0 is damaged"):
        list(read_dataset.read_frames("train", tmp_path))


def test_a_folder_may_be_given_by_its_name(tmp_path: Path) -> None:
    folder = write_example(tmp_path)
    assert [item.video_id for item in read_dataset.read_frames("train", folder)] == ["a", "b", "c"]
    assert read_dataset.classes(folder) == open_dataset(folder).classes


def test_a_shard_that_lost_records_is_refused(tmp_path: Path) -> None:
    dataset = Dataset(tmp_path, Quantizer.uniform())
    dataset.file(shard_path("frame", Partition.TRAIN, 1)).write_bytes(b"")
    with pytest.raises(ValueError, match="has 0 records, the manifest says 2"):
        list(read_dataset.read_frames("train", tmp_path))


def test_another_codebook_and_another_partition_are_refused(tmp_path: Path) -> None:
    dataset = Dataset(tmp_path, Quantizer.uniform())
    with pytest.raises(ValueError, match="has no partition 'val'"):
        list(read_dataset.read_frames("val", tmp_path))
    optimal_quantizer().save(str(dataset.root / "quantizer.npz"))
    with pytest.raises(ValueError, match="is not the codebook"):
        list(read_dataset.read_frames("train", tmp_path))
