"""A shard is a function of its videos, their coefficients and the codebook, and of nothing else."""

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from yt8m_pipeline.compression.distortion import Distortion
from yt8m_pipeline.compression.histogram import Histogram
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.data_model import Float32Array, Partition
from yt8m_pipeline.dataset.layout import Layout, Shard
from yt8m_pipeline.dataset.records import FrameRecord, VideoRecord, parse_frame_record, parse_video_record
from yt8m_pipeline.dataset.shards import REVISION, Member, published_labels, shard_key, shard_of, write_shard
from yt8m_pipeline.dataset.steps import ShardFacts, ShardStep, file_entry
from yt8m_pipeline.dataset.tfrecord import read_records
from yt8m_pipeline.errors import DataError

SHARD = Shard(Partition.TRAIN, 1, 4)


@pytest.fixture(scope="module")
def coefficients() -> dict[str, Float32Array]:
    rng = np.random.default_rng(0)
    return {f"video {frames}é": (1.5 * rng.normal(size=(frames, 5))).astype(np.float32) for frames in (1, 7, 40)}


@pytest.fixture(scope="module")
def quantizer(coefficients: dict[str, Float32Array]) -> Quantizer:
    return Quantizer.fit(Histogram.from_values(np.concatenate(list(coefficients.values()))), 30)


class Shelf:
    """Writes shards of some videos into a folder."""

    def __init__(self, folder: Path, coefficients: dict[str, Float32Array], quantizer: Quantizer) -> None:
        self.folder, self.coefficients, self.quantizer = folder, coefficients, quantizer
        self.layout = Layout(str(folder))

    def members(self) -> list[Member]:
        return [Member(name, "sha256", (number, number + 3)) for number, name in enumerate(sorted(self.coefficients))]

    def write(self, members: Sequence[Member], shard: Shard = SHARD) -> ShardStep:
        videos = ((member, self.coefficients[member.video_id]) for member in members)
        return write_shard(self.layout, shard, "key", videos, self.quantizer)

    def data(self, level: str, shard: Shard = SHARD) -> bytes:
        return (self.folder / shard.file(level)).read_bytes()

    def frame_records(self, shard: Shard = SHARD) -> list[FrameRecord]:
        return [parse_frame_record(data, "x") for data in records(self.data("frame", shard))]

    def video_records(self, shard: Shard = SHARD) -> list[VideoRecord]:
        return [parse_video_record(data, "x") for data in records(self.data("video", shard))]


def records(data: bytes) -> list[bytes]:
    return list(read_records(io.BytesIO(data), "x"))


@pytest.fixture
def shelf(tmp_path: Path, coefficients: dict[str, Float32Array], quantizer: Quantizer) -> Shelf:
    return Shelf(tmp_path, coefficients, quantizer)


def test_the_records_are_the_encoded_coefficients_and_their_mean(shelf: Shelf) -> None:
    shelf.write(shelf.members())
    levels = shelf.quantizer.levels
    found = zip(shelf.members(), shelf.frame_records(), shelf.video_records(), strict=True)
    for member, frames, video in found:
        expected = shelf.coefficients[member.video_id]
        assert frames.video_id == video.video_id == member.video_id
        assert tuple(frames.labels) == tuple(video.labels) == member.labels
        assert frames.feature_name == "rgb_codes"
        assert (np.abs(levels[frames.codes] - expected) <= np.abs(expected[..., None] - levels).min(-1) + 1e-6).all()
        np.testing.assert_allclose(video.mean_rgb, levels[frames.codes].mean(axis=0), rtol=1e-5, atol=1e-6)


def test_the_step_says_how_much_was_written(shelf: Shelf) -> None:
    step = shelf.write(shelf.members())
    assert (step.name, step.key) == ("train-00001-of-00004", "key")
    assert (step.facts.partition, step.facts.records, step.facts.frames) == (Partition.TRAIN, 3, 48)
    assert step.files == tuple(file_entry(shelf.layout, SHARD.file(level)) for level in ("frame", "video"))


@pytest.mark.parametrize("is_uniform", [False, True])
def test_the_step_says_what_quantization_cost(shelf: Shelf, is_uniform: bool) -> None:
    if is_uniform:
        shelf = Shelf(shelf.folder, shelf.coefficients, Quantizer.uniform())
    found = shelf.write(shelf.members()).facts.distortion
    exact = np.concatenate([shelf.coefficients[member.video_id] for member in shelf.members()]).astype(np.float64)
    decoded = np.concatenate([shelf.quantizer.levels[record.codes] for record in shelf.frame_records()])
    assert found.coefficients == exact.size
    assert found.clipped == (np.count_nonzero(abs(exact) > 2) if is_uniform else 0)
    assert found.mean_squared_error == pytest.approx(np.mean((exact - decoded) ** 2))
    assert found.variance == pytest.approx(exact.var())


def test_what_stands_beside_a_video_changes_no_byte_of_its_record(shelf: Shelf) -> None:
    """A shard is the concatenation of the shards of its videos."""
    whole = shelf.write(shelf.members())
    expected = shelf.data("frame")
    assert shelf.write(shelf.members()) == whole
    alone = b""
    for member in shelf.members():
        shelf.write([member])
        alone += shelf.data("frame")
    assert alone == expected


def test_a_shard_without_videos_is_an_empty_file_of_each_level(shelf: Shelf) -> None:
    step = shelf.write([])
    assert step.facts == ShardFacts(Partition.TRAIN, records=0, frames=0, distortion=Distortion())
    assert shelf.data("frame") == shelf.data("video") == b""


def test_no_label_of_the_test_partition_is_written(shelf: Shelf) -> None:
    shard = Shard(Partition.TEST, 0, 1)
    shelf.write(shelf.members(), shard)
    first = shelf.data("frame", shard), shelf.data("video", shard)
    assert not any(record.labels for record in shelf.frame_records(shard))
    assert not any(record.labels for record in shelf.video_records(shard))
    unlabelled = [Member(member.video_id, member.sha256, (9,)) for member in shelf.members()]
    shelf.write(unlabelled, shard)
    assert (shelf.data("frame", shard), shelf.data("video", shard)) == first
    assert published_labels(Partition.VALIDATE, (1, 2)) == (1, 2)
    assert published_labels(Partition.TEST, (1, 2)) == ()


def test_a_failure_leaves_neither_file(shelf: Shelf) -> None:
    def videos() -> Iterator[tuple[Member, Float32Array]]:
        first, second, *_ = shelf.members()
        yield first, shelf.coefficients[first.video_id]
        raise DataError(what="The stored features are damaged", where=second.video_id, why="x", fix="y")

    with pytest.raises(DataError, match="damaged"):
        write_shard(shelf.layout, SHARD, "key", videos(), shelf.quantizer)
    assert not [path for path in shelf.folder.rglob("*") if path.is_file()]


def test_the_key_of_a_shard_tells_all_apart_that_its_bytes_depend_on() -> None:
    members = [Member("a", "sha", (1, 2)), Member("b", "sha", (3,))]
    variants = [
        shard_key(SHARD, members, "pca", "codebook"),
        shard_key(Shard(Partition.TRAIN, 2, 4), members, "pca", "codebook"),
        shard_key(SHARD, members[:1], "pca", "codebook"),
        shard_key(SHARD, [Member("a", "other", (1, 2)), members[1]], "pca", "codebook"),
        shard_key(SHARD, [Member("a", "sha", (1,)), members[1]], "pca", "codebook"),
        shard_key(SHARD, members, "pca", "other"),
        shard_key(SHARD, members, "pca", "from", "codebook"),
    ]
    assert len(set(variants)) == len(variants)
    assert shard_key(SHARD, iter(members), "pca", "codebook") == variants[0]


def test_labels_that_are_not_published_do_not_change_the_key() -> None:
    shard = Shard(Partition.TEST, 0, 1)
    assert shard_key(shard, [Member("a", "sha", (1,))]) == shard_key(shard, [Member("a", "sha", ())])


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


def test_who_changes_the_bytes_of_a_shard_raises_its_revision(tmp_path: Path) -> None:
    """Else a build would take over shards of older bytes, and one dataset would hold two kinds."""
    random = np.random.default_rng(0)
    videos = [
        (Member(name, "sha256", (0, 300)), random.standard_normal((3, 4)).astype(np.float32)) for name in ("a", "é")
    ]
    step = write_shard(Layout(str(tmp_path)), SHARD, "key", videos, Quantizer.uniform())
    digests = tuple(file.sha256[:16] for file in step.files)
    assert (REVISION, *digests) == (1, "1df1fd185b9f7946", "1826d85764298743")
