"""A shard is a function of its videos, their features, the PCA and the codebook, and of nothing else."""

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from yt8m_pipeline.compression.histogram import Histogram
from yt8m_pipeline.compression.moments import Moments, grid_exponent
from yt8m_pipeline.compression.pca import Pca
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.data_model import Float32Array, Partition, VideoFeatures
from yt8m_pipeline.dataset.journal import file_entry
from yt8m_pipeline.dataset.layout import Layout, Shard
from yt8m_pipeline.dataset.records import FrameRecord, VideoRecord, parse_frame_record, parse_video_record
from yt8m_pipeline.dataset.shards import Encoding, Member, published_labels, shard_of, write_shard
from yt8m_pipeline.dataset.tfrecord import read_records
from yt8m_pipeline.errors import DataError

SHARD = Shard(Partition.TRAIN, 1, 4)


@pytest.fixture(scope="module")
def features() -> dict[str, Float32Array]:
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(12, 12))
    return {
        f"video {frames}é": (rng.normal(size=(frames, 12)) @ mixing + 1).astype(np.float32) for frames in (1, 7, 40)
    }


@pytest.fixture(scope="module")
def encoding(features: dict[str, Float32Array]) -> Encoding:
    frames = np.concatenate(list(features.values()))
    moments = Moments.from_frames(frames, grid_exponent(float(np.abs(frames).max())))
    pca = Pca.fit(moments, components=5, epsilon=1e-4)
    return Encoding(pca, Quantizer.fit(Histogram.from_values(pca.transform(frames)), 30))


class Shelf:
    """Writes shards of some videos into a folder."""

    def __init__(self, folder: Path, features: dict[str, Float32Array], encoding: Encoding) -> None:
        self.folder, self.features, self.encoding = folder, features, encoding
        self.layout = Layout(str(folder))

    def read(self, video_id: str) -> VideoFeatures:
        found = self.features[video_id]
        return VideoFeatures(video_id, found, np.arange(len(found), dtype=np.float64))

    def members(self) -> list[Member]:
        return [Member(name, "sha256", (number, number + 3)) for number, name in enumerate(sorted(self.features))]

    def data(self, level: str, shard: Shard = SHARD) -> bytes:
        return (self.folder / shard.file(level)).read_bytes()

    def frame_records(self, shard: Shard = SHARD) -> list[FrameRecord]:
        return [parse_frame_record(data, "x") for data in records(self.data("frame", shard))]

    def video_records(self, shard: Shard = SHARD) -> list[VideoRecord]:
        return [parse_video_record(data, "x") for data in records(self.data("video", shard))]


def records(data: bytes) -> list[bytes]:
    return list(read_records(io.BytesIO(data), "x"))


@pytest.fixture
def shelf(tmp_path: Path, features: dict[str, Float32Array], encoding: Encoding) -> Shelf:
    return Shelf(tmp_path, features, encoding)


def test_the_records_are_the_encoded_features_and_their_mean(shelf: Shelf) -> None:
    write_shard(shelf.layout, SHARD, "key", shelf.members(), shelf.read, shelf.encoding)
    levels = shelf.encoding.quantizer.levels
    found = zip(shelf.members(), shelf.frame_records(), shelf.video_records(), strict=True)
    for member, frames, video in found:
        expected = shelf.encoding.pca.transform(shelf.features[member.video_id])
        assert frames.video_id == video.video_id == member.video_id
        assert tuple(frames.labels) == tuple(video.labels) == member.labels
        assert frames.feature_name == "rgb_codes"
        assert (np.abs(levels[frames.codes] - expected) <= np.abs(expected[..., None] - levels).min(-1) + 1e-6).all()
        np.testing.assert_allclose(video.mean_rgb, levels[frames.codes].mean(axis=0), rtol=1e-5, atol=1e-6)


def test_the_step_says_how_much_was_written(shelf: Shelf) -> None:
    step = write_shard(shelf.layout, SHARD, "key", shelf.members(), shelf.read, shelf.encoding)
    assert (step.name, step.key) == ("train-00001-of-00004", "key")
    assert step.facts == {"partition": "train", "records": 3, "frames": 48}
    assert step.files == tuple(file_entry(shelf.layout, SHARD.file(level)) for level in ("frame", "video"))


def test_what_stands_beside_a_video_changes_no_byte_of_its_record(shelf: Shelf) -> None:
    """A shard is the concatenation of the shards of its videos."""
    whole = write_shard(shelf.layout, SHARD, "key", shelf.members(), shelf.read, shelf.encoding)
    expected = shelf.data("frame")
    again = write_shard(shelf.layout, SHARD, "key", iter(shelf.members()), shelf.read, shelf.encoding)
    assert again == whole
    alone = b""
    for member in shelf.members():
        write_shard(shelf.layout, SHARD, "key", [member], shelf.read, shelf.encoding)
        alone += shelf.data("frame")
    assert alone == expected


def test_a_shard_without_videos_is_an_empty_file_of_each_level(shelf: Shelf) -> None:
    step = write_shard(shelf.layout, SHARD, "key", [], shelf.read, shelf.encoding)
    assert step.facts == {"partition": "train", "records": 0, "frames": 0}
    assert shelf.data("frame") == shelf.data("video") == b""


def test_no_label_of_the_test_partition_is_written(shelf: Shelf) -> None:
    shard = Shard(Partition.TEST, 0, 1)
    write_shard(shelf.layout, shard, "key", shelf.members(), shelf.read, shelf.encoding)
    first = shelf.data("frame", shard), shelf.data("video", shard)
    assert not any(record.labels for record in shelf.frame_records(shard))
    assert not any(record.labels for record in shelf.video_records(shard))
    unlabelled = [Member(member.video_id, member.sha256, (9,)) for member in shelf.members()]
    write_shard(shelf.layout, shard, "key", unlabelled, shelf.read, shelf.encoding)
    assert (shelf.data("frame", shard), shelf.data("video", shard)) == first
    assert published_labels(Partition.VALIDATE, (1, 2)) == (1, 2)
    assert published_labels(Partition.TEST, (1, 2)) == ()


def test_a_failure_leaves_neither_file(shelf: Shelf) -> None:
    def read(video_id: str) -> VideoFeatures:
        if video_id == shelf.members()[1].video_id:
            raise DataError("The stored features are damaged", video_id, "x", "y")
        return shelf.read(video_id)

    with pytest.raises(DataError, match="damaged"):
        write_shard(shelf.layout, SHARD, "key", shelf.members(), read, shelf.encoding)
    assert not [path for path in shelf.folder.rglob("*") if path.is_file()]


def test_a_video_is_in_the_shard_of_its_salted_hash() -> None:
    names = [str(number) for number in range(4000)]
    shards = [shard_of(name, Partition.VALIDATE, 4, "salt") for name in names]
    assert {shard.of for shard in shards} == {4}
    assert min(Counter(shard.index for shard in shards).values()) > 850
    assert [shard_of(name, Partition.VALIDATE, 4, "salt") for name in names] == shards
    assert [shard_of(name, Partition.VALIDATE, 4, "other") for name in names] != shards


def test_a_shard_names_its_files_as_the_published_dataset_does() -> None:
    assert SHARD.file("frame") == "frame/train/train-00001-of-00004.tfrecord"
    assert SHARD.file("video") == "video/train/train-00001-of-00004.tfrecord"


@pytest.mark.parametrize("index", [-1, 4])
def test_a_shard_beyond_the_last_does_not_exist(index: int) -> None:
    with pytest.raises(ValueError, match=f"shard {index} of 4 does not exist"):
        Shard(Partition.TRAIN, index, 4)
