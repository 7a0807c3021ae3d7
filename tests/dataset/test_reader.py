"""Both readers on a dataset written by hand, whole and with every fault that a folder or a file can have."""

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.dataset.example import write_example
from yt8m_pipeline.compression.distortion import Distortion
from yt8m_pipeline.compression.histogram import Histogram
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.data_model import Float32Array, Partition, UInt8Array
from yt8m_pipeline.dataset.manifest import PartitionSummary, distortion_facts
from yt8m_pipeline.dataset.reader import (
    FrameExample,
    VideoExample,
    open_dataset,
    read_frames,
    read_shard,
    read_videos,
)
from yt8m_pipeline.dataset.records import frame_record, video_record
from yt8m_pipeline.dataset.tf_reader import frame_dataset, video_dataset
from yt8m_pipeline.dataset.tfrecord import write_record
from yt8m_pipeline.errors import DataError, UsageError

DIMENSIONS = 5
OF = {Partition.TRAIN: 4, Partition.VALIDATE: 2, Partition.TEST: 1}
FIRST = "frame/train/train-00000-of-00004.tfrecord"
ROW = {"path": FIRST, "level": "frame", "bytes": 0, "sha256": "", "key": "", "frames": 0, "distortion": {}}
ROW |= {"partition": "train", "records": 0}


PCA = {"key": "", "files": [], "source": "fitted", "components": DIMENSIONS, "epsilon": 1e-4, "fingerprint": ""}
CODEBOOK = {"key": "", "files": [], "method": "", "scope": "", "fingerprint": ""}
NO_FACTS: dict[str, Any] = {
    "config": {},
    "inputs": {},
    "versions": {},
    "accounting": [],
    "warnings": [],
    "files": [],
    "build_key": "",
    "feature_space": {"fingerprint": "space"},
    "encoded": {"from": "features"},
    "partitions": {partition: PartitionSummary().to_json() for partition in Partition},
    "distortion": {partition: distortion_facts(Distortion()) for partition in Partition},
}
"""The parts of a manifest that a reader does not look at."""


@dataclass(frozen=True)
class Expected:
    """A video as it was put in."""

    video_id: str
    labels: list[int]
    codes: UInt8Array


def shard_path(level: str, partition: Partition, index: int) -> str:
    return f"{level}/{partition}/{partition}-{index:05d}-of-{OF[partition]:05d}.tfrecord"


def shard_videos(partition: Partition, index: int) -> list[Expected]:
    """Shard i of the partition: i videos more than one, none in shard 2; the test partition's labels are withheld."""
    rng = np.random.default_rng([index, *partition.encode()])
    return [
        Expected(
            f"{partition}-{index}-{number}é",
            [] if partition == Partition.TEST else sorted({number, index + 7}),
            rng.integers(0, 200, (number + 1, DIMENSIONS), np.uint8),
        )
        for number in range(0 if index == 2 else index + 1)
    ]


@cache
def optimal_quantizer() -> Quantizer:
    values = np.random.default_rng(0).standard_normal((2000, 1)).astype(np.float32)
    return Quantizer.fit(Histogram.from_values(values), 200)


@cache
def quantizer_by_dimension() -> Quantizer:
    values = np.random.default_rng(0).standard_normal((2000, DIMENSIONS)).astype(np.float32)
    return Quantizer.fit(Histogram.from_values(values, DIMENSIONS), 200)


def framed(records: Sequence[bytes]) -> bytes:
    stream = io.BytesIO()
    for record in records:
        write_record(stream, record)
    return stream.getvalue()


class Dataset:
    """A dataset folder, written without the package's writer, that a test may then damage."""

    def __init__(self, root: Path, quantizer: Quantizer) -> None:
        self.root, self.quantizer = root, quantizer
        self.shards: list[dict[str, Any]] = []
        quantizer.save(str(root / "quantizer.npz"))
        for partition, of in OF.items():
            for index in range(of):
                self._write_shard(partition, index)
        self.write_manifest()
        (root / "COMPLETE").touch()

    def _write_shard(self, partition: Partition, index: int) -> None:
        videos = shard_videos(partition, index)
        name = self.quantizer.feature_name
        records = {
            "frame": [frame_record(video.video_id, video.labels, video.codes, name) for video in videos],
            "video": [video_record(video.video_id, video.labels, self.mean(video)) for video in videos],
        }
        for level in ("frame", "video"):
            path = shard_path(level, partition, index)
            self.file(path).parent.mkdir(parents=True, exist_ok=True)
            self.file(path).write_bytes(framed(records[level]))
            frames = sum(len(video.codes) for video in videos)
            facts = {"partition": partition, "records": len(videos), "frames": frames, "distortion": {}}
            size = self.file(path).stat().st_size
            self.shards.append({**facts, "path": path, "level": level, "bytes": size, "sha256": "", "key": ""})

    def write_manifest(self, **changes: Any) -> None:
        values = {
            **NO_FACTS,
            "format": 3,
            "pca": PCA,
            "quantizer": {**CODEBOOK, "fingerprint": self.quantizer.fingerprint},
            "shards": self.shards,
        }
        self.file("manifest.json").write_text(json.dumps(values | changes))

    def put(self, path: str, data: bytes) -> None:
        """Puts other bytes in the place of a shard, and their size into the manifest."""
        self.file(path).write_bytes(data)
        (row,) = (row for row in self.shards if row["path"] == path)
        row["bytes"] = len(data)
        self.write_manifest()

    def mean(self, video: Expected) -> Float32Array:
        return np.asarray(self.features(video).mean(axis=0), np.float32)

    def features(self, video: Expected) -> Float32Array:
        table = np.broadcast_to(self.quantizer.levels, (DIMENSIONS, self.quantizer.length))
        return np.asarray(table[np.arange(DIMENSIONS), video.codes])

    def file(self, path: str) -> Path:
        return self.root / path

    def frames(self, partition: Partition = Partition.TRAIN) -> list[FrameExample]:
        return list(read_frames(str(self.root), partition))

    def videos(self, partition: Partition = Partition.TRAIN) -> list[VideoExample]:
        return list(read_videos(str(self.root), partition))


@pytest.fixture(params=[optimal_quantizer, quantizer_by_dimension, Quantizer.uniform])
def dataset(tmp_path: Path, request: pytest.FixtureRequest) -> Dataset:
    return Dataset(tmp_path, request.param())


@pytest.fixture
def damaged(tmp_path: Path) -> Dataset:
    return Dataset(tmp_path, Quantizer.uniform())


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """For properties, whose every example writes the same one file anew."""
    return Dataset(tmp_path_factory.mktemp("scratch"), Quantizer.uniform())


@pytest.fixture(scope="module")
def tf() -> ModuleType:
    return import_module("tensorflow")


def expected_videos(partition: Partition) -> list[Expected]:
    return [video for index in range(OF[partition]) for video in shard_videos(partition, index)]


def ids(videos: Iterable[Expected | FrameExample | VideoExample]) -> list[str]:
    return [video.video_id for video in videos]


@pytest.mark.parametrize("index", range(OF[Partition.TRAIN]))
def test_one_shard_is_read_alone(dataset: Dataset, index: int) -> None:
    opened = open_dataset(str(dataset.root))
    found = list(read_shard(opened, opened.shards("frame", Partition.TRAIN)[index]))
    expected = shard_videos(Partition.TRAIN, index)
    assert [example.video_id for example in found] == [video.video_id for video in expected]
    for example, video in zip(found, expected, strict=True):
        np.testing.assert_array_equal(example.features, dataset.features(video))


def assert_frames(dataset: Dataset, partition: Partition = Partition.TRAIN) -> None:
    """Every video of the partition is read, in order, with its labels and its de-quantized frames."""
    expected = expected_videos(partition)
    found = dataset.frames(partition)
    assert [example.video_id for example in found] == [video.video_id for video in expected]
    for example, video in zip(found, expected, strict=True):
        np.testing.assert_array_equal(example.labels, np.array(video.labels, np.int64), strict=True)
        np.testing.assert_array_equal(example.features, dataset.features(video), strict=True)


def assert_videos(dataset: Dataset, partition: Partition = Partition.TRAIN) -> None:
    """Every video of the partition is read, in order, with its labels and its mean."""
    expected = expected_videos(partition)
    found = dataset.videos(partition)
    assert [example.video_id for example in found] == [video.video_id for video in expected]
    for example, video in zip(found, expected, strict=True):
        np.testing.assert_array_equal(example.labels, np.array(video.labels, np.int64), strict=True)
        np.testing.assert_array_equal(example.mean_rgb, dataset.mean(video), strict=True)


@pytest.mark.parametrize("partition", Partition)
def test_all_is_read_in_the_order_of_the_shards_and_dequantized(dataset: Dataset, partition: Partition) -> None:
    assert_frames(dataset, partition)
    assert_videos(dataset, partition)


@pytest.mark.parametrize("partition", Partition)
def test_a_partition_may_be_given_by_its_name(damaged: Dataset, partition: Partition) -> None:
    name = partition.value
    folder = str(damaged.root)
    assert ids(read_frames(folder, name)) == ids(read_videos(folder, name)) == ids(expected_videos(partition))
    for read in (frame_dataset, video_dataset):
        found = [example["video_id"].decode() for example in read(folder, name).as_numpy_iterator()]
        assert found == ids(expected_videos(partition))


@pytest.mark.parametrize("name", ["validation", "Train", ""])
def test_a_name_of_no_partition_is_wrong_usage(damaged: Dataset, name: str) -> None:
    text = (
        f"There is no such partition\n  where: '{name}'\n"
        "  why:   the partitions of a dataset are train, validate, test\n  fix: "
    )
    for read in READERS:
        with pytest.raises(UsageError, match=re.escape(text)):
            read(str(damaged.root), name)


@pytest.mark.parametrize("max_frames", [0, -1])
def test_no_frames_of_a_video_is_wrong_usage(damaged: Dataset, max_frames: int) -> None:
    with pytest.raises(UsageError, match="No frame would be left of a video"):
        read_frames(str(damaged.root), "train", max_frames=max_frames)


@pytest.mark.parametrize("label", [-1, 10_000])
def test_multi_hot_refuses_what_is_no_label(tmp_path: Path, label: int) -> None:
    with pytest.raises(ValueError, match=f"{label} is no label"):
        open_dataset(write_example(tmp_path)).multi_hot([0, label])


def test_an_example_shows_its_shapes_and_no_data(damaged: Dataset) -> None:
    assert repr(damaged.frames()[0]) == "FrameExample('train-0-0é', labels=[0, 7], features=(1, 5))"
    assert repr(damaged.videos()[0]) == "VideoExample('train-0-0é', labels=[0, 7], mean_rgb=(5,))"


@pytest.mark.parametrize("partition", Partition)
def test_tensorflow_reads_the_same_values_in_the_same_order(tf: Any, dataset: Dataset, partition: Partition) -> None:
    frames, videos = frame_dataset(str(dataset.root), partition), video_dataset(str(dataset.root), partition)
    assert frames.element_spec["features"] == tf.TensorSpec((None, DIMENSIONS), tf.float32)
    assert videos.element_spec["mean_rgb"] == tf.TensorSpec((DIMENSIONS,), tf.float32)
    for found, frame in zip(frames.as_numpy_iterator(), dataset.frames(partition), strict=True):
        assert found["video_id"].decode() == frame.video_id
        np.testing.assert_array_equal(found["labels"], frame.labels, strict=True)
        np.testing.assert_array_equal(found["features"], frame.features, strict=True)
    for found, video in zip(videos.as_numpy_iterator(), dataset.videos(partition), strict=True):
        assert found["video_id"].decode() == video.video_id
        np.testing.assert_array_equal(found["labels"], video.labels, strict=True)
        np.testing.assert_array_equal(found["mean_rgb"], video.mean_rgb, strict=True)


# Folders that are refused at once, before anything is read ------------------------------------------------------------


READERS: Sequence[Callable[..., Any]] = [read_frames, read_videos, frame_dataset, video_dataset]


@pytest.mark.parametrize("name", ["manifest.json", "COMPLETE"])
@pytest.mark.parametrize("read", READERS)
def test_an_unfinished_dataset_is_refused(damaged: Dataset, name: str, read: Callable[..., object]) -> None:
    damaged.file(name).unlink()
    damaged.file(".unfinished").touch()
    text = (
        f"This is not a finished dataset\n  where: {damaged.root}\n  why:   it has no {name}: its build has not ended\n"
        "  fix:   run `yt8m build`"
    )
    with pytest.raises(DataError, match=re.escape(text)):
        read(str(damaged.root), Partition.TRAIN)


@pytest.mark.parametrize("read", READERS)
def test_what_is_no_dataset_is_not_called_unfinished(tmp_path: Path, read: Callable[..., object]) -> None:
    (tmp_path / "thesis.txt").touch()
    for place, why in (
        (tmp_path, "the folder has no manifest.json"),
        (tmp_path / "thesis.txt", "it is a file"),
        (tmp_path / "nowhere", "the folder has no manifest.json"),
    ):
        with pytest.raises(UsageError, match="There is no dataset") as refused:
            read(str(place), Partition.TRAIN)
        assert (refused.value.where, refused.value.why) == (str(place), why)


@pytest.mark.parametrize("read", READERS)
def test_another_codebook_is_refused(damaged: Dataset, read: Callable[..., object]) -> None:
    optimal_quantizer().save(str(damaged.file("quantizer.npz")))
    text = f"its fingerprint is {optimal_quantizer().fingerprint}, the manifest's is {Quantizer.uniform().fingerprint}"
    with pytest.raises(DataError, match=f"(?s)The codebook is not the one.*quantizer.npz.*{text}.*fix: "):
        read(str(damaged.root), Partition.TRAIN)


def test_a_missing_codebook_is_refused(damaged: Dataset) -> None:
    damaged.file("quantizer.npz").unlink()
    with pytest.raises(DataError, match=r"cannot be read\n  where: .*quantizer\.npz"):
        read_frames(str(damaged.root), Partition.TRAIN)


@pytest.mark.parametrize("read", READERS)
def test_a_missing_shard_is_refused(damaged: Dataset, read: Callable[..., object]) -> None:
    level = "video" if read in (read_videos, video_dataset) else "frame"
    path = shard_path(level, Partition.TRAIN, 3)
    damaged.file(path).unlink()
    text = (
        f"A shard of the dataset is missing\n  where: {damaged.file(path)}\n"
        "  why:   1 of the 4 shards that the manifest lists are not in the folder\n  fix: "
    )
    with pytest.raises(DataError, match=re.escape(text)):
        read(str(damaged.root), Partition.TRAIN)


@pytest.mark.parametrize("lost", range(4))
def test_a_manifest_that_lacks_a_shard_of_the_set_is_refused(damaged: Dataset, lost: int) -> None:
    path = shard_path("frame", Partition.TRAIN, lost)
    damaged.write_manifest(shards=[row for row in damaged.shards if row["path"] != path])
    text = (
        "(?s)does not list a whole set.*manifest.json, frame/train\n.*3 files, which are not one -of-00003 set.*fix: "
    )
    with pytest.raises(DataError, match=text):
        damaged.frames()
    assert_videos(damaged)


def test_a_manifest_without_shards_is_refused(damaged: Dataset) -> None:
    damaged.write_manifest(shards=[])
    with pytest.raises(DataError, match="it lists 0 files"):
        damaged.frames()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"quantizer": CODEBOOK | {"fingerprint": None}}, "quantizer.facts.fingerprint: 'None' is not a text"),
        ({"pca": None}, "pca: it lacks files, key"),
        (
            {"shards": [{"path": FIRST}]},
            "shards[0]: it lacks bytes, distortion, frames, key, level, partition, records",
        ),
        ({"shards": [ROW | {"records": "two"}]}, "shards[0].records: 'two' is not a whole number"),
        ({"shards": [ROW | {"path": "../x"}]}, "shards[0]: '../x' is not the path of a file in a dataset"),
        ({"shards": [ROW | {"level": "film"}]}, "shards[0]: 'film' is no level of a dataset"),
        ({"encoded": {}}, "encoded: it lacks from"),
        ({"partitions": {}}, "the file: partitions: it has , not every partition"),
        ({"warnings": [True]}, "warnings[0]: 'True' is not a text"),
    ],
)
def test_a_manifest_that_lacks_a_field_is_refused(damaged: Dataset, changes: dict[str, Any], why: str) -> None:
    damaged.write_manifest(**changes)
    with pytest.raises(DataError, match=f"(?s)manifest cannot be read.*manifest.json.*{re.escape(why)}.*fix: "):
        damaged.frames()


def test_shards_of_another_generation_are_not_read(damaged: Dataset) -> None:
    leftover = damaged.file("frame/train/train-00000-of-00008.tfrecord")
    leftover.write_bytes(damaged.file(FIRST).read_bytes())
    assert_frames(damaged)


# Faults that are met while reading ------------------------------------------------------------------------------------


def write_frames(dataset: Dataset, codes: UInt8Array, feature_name: str) -> None:
    """Puts one record in the place of the first shard, whose manifest row says one record."""
    dataset.put(FIRST, framed([frame_record("v", [1], codes, feature_name)]))


def test_a_record_of_another_feature_list_is_refused(tf: Any, damaged: Dataset) -> None:
    write_frames(damaged, np.zeros((2, DIMENSIONS), np.uint8), "rgb_codes")
    text = f"(?s)encoded otherwise.*{FIRST}, record 0\n.*has rgb_codes of 5 values, the dataset has rgb of 5.*fix: "
    with pytest.raises(DataError, match=text):
        damaged.frames()
    with pytest.raises(tf.errors.InvalidArgumentError, match="rgb"):
        list(frame_dataset(str(damaged.root), Partition.TRAIN))


def test_a_record_of_another_width_is_refused(tf: Any, damaged: Dataset) -> None:
    write_frames(damaged, np.zeros((2, DIMENSIONS + 1), np.uint8), "rgb")
    with pytest.raises(DataError, match="has rgb of 6 values, the dataset has rgb of 5"):
        damaged.frames()
    with pytest.raises(tf.errors.InvalidArgumentError):
        list(frame_dataset(str(damaged.root), Partition.TRAIN))


def test_a_mean_of_another_width_is_refused(tf: Any, damaged: Dataset) -> None:
    mean = np.zeros(DIMENSIONS - 1, np.float32)
    damaged.put(FIRST.replace("frame", "video"), framed([video_record("v", [1], mean)]))
    with pytest.raises(DataError, match="has mean_rgb of 4 values, the dataset has mean_rgb of 5"):
        damaged.videos()
    with pytest.raises(tf.errors.InvalidArgumentError):
        list(video_dataset(str(damaged.root), Partition.TRAIN))


def test_a_code_without_a_level_is_refused(tf: Any, tmp_path: Path) -> None:
    dataset = Dataset(tmp_path, optimal_quantizer())
    write_frames(dataset, np.full((2, DIMENSIONS), 255, np.uint8), "rgb_codes")
    with pytest.raises(DataError, match="code 255, but the codebook has"):
        dataset.frames()
    with pytest.raises(tf.errors.InvalidArgumentError):
        list(frame_dataset(str(dataset.root), Partition.TRAIN))


def test_a_record_that_is_none_is_refused_with_its_place(damaged: Dataset) -> None:
    damaged.put(shard_path("frame", Partition.TRAIN, 1), framed([b"\xff", b"\xff"]))
    with pytest.raises(DataError, match=r"train-00001-of-00004\.tfrecord, record 0\n"):
        damaged.frames()


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_a_shard_cut_or_grown_at_a_record_boundary_is_refused(damaged: Dataset, kept: int) -> None:
    path = shard_path("frame", Partition.TRAIN, 1)
    records = framed([frame_record("v", [1], np.zeros((2, DIMENSIONS), np.uint8), "rgb")] * kept)
    damaged.file(path).write_bytes(records)
    size = f"(?s)A shard is truncated.*{path}\n.*it has {len(records)} bytes, the manifest says .*fix: "
    for read in (read_frames, frame_dataset):
        with pytest.raises(DataError, match=size):
            read(str(damaged.root), Partition.TRAIN)
    damaged.put(path, records)
    text = f"(?s)not as many records.*{path}\n.*the manifest says 2, the file has {kept}\n.*fix: "
    with pytest.raises(DataError, match=text):
        damaged.frames()


def read_damaged(tf: Any, dataset: Dataset, level: str, index: int, damage: Callable[[bytes], bytes]) -> None:
    """Both readers must fail on the damaged shard, and yield first what stands before it, and nothing wrong."""
    path = dataset.file(shard_path(level, Partition.VALIDATE, index))
    whole = path.read_bytes()
    before = [video.video_id for number in range(index) for video in shard_videos(Partition.VALIDATE, number)]
    names = ids(expected_videos(Partition.VALIDATE))
    read: Callable[..., Iterator[FrameExample | VideoExample]]
    read, tf_read = (read_frames, frame_dataset) if level == "frame" else (read_videos, video_dataset)
    path.write_bytes(damage(whole))
    try:
        found: list[str] = []
        with pytest.raises(DataError):
            found.extend(example.video_id for example in read(str(dataset.root), Partition.VALIDATE))
        assert len(found) >= len(before)
        assert found == names[: len(found)]
        with pytest.raises(tf.errors.DataLossError):
            list(tf_read(str(dataset.root), Partition.VALIDATE))
    finally:
        path.write_bytes(whole)


damaging = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None)
levels = st.sampled_from(["frame", "video"])


@damaging
@given(level=levels, index=st.integers(0, 1), position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_is_refused(
    tf: Any, scratch: Dataset, level: str, index: int, position: float, bit: int
) -> None:
    def flip(whole: bytes) -> bytes:
        damaged = bytearray(whole)
        damaged[int(position * len(whole))] ^= 1 << bit
        return bytes(damaged)

    read_damaged(tf, scratch, level, index, flip)


@damaging
@given(level=levels, index=st.integers(0, 1), kept=st.floats(0, 1, exclude_max=True))
def test_any_truncation_is_refused_at_once(scratch: Dataset, level: str, index: int, kept: float) -> None:
    path = scratch.file(shard_path(level, Partition.VALIDATE, index))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    try:
        for read in (read_frames, frame_dataset) if level == "frame" else (read_videos, video_dataset):
            with pytest.raises(DataError, match="A shard is truncated or not the one of the manifest"):
                read(str(scratch.root), Partition.VALIDATE)
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("position", [0, 8, 12, -1], ids=["length", "length's crc", "data", "data's crc"])
@pytest.mark.parametrize("level", ["frame", "video"])
def test_damage_in_each_part_of_a_record_is_refused(tf: Any, scratch: Dataset, level: str, position: int) -> None:
    def flip(whole: bytes) -> bytes:
        damaged = bytearray(whole)
        damaged[position] ^= 1
        return bytes(damaged)

    read_damaged(tf, scratch, level, 1, flip)
