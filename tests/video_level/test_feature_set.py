"""Reading a feature set: what stands in it, by whoever reads it, and what is refused."""

import json
import pickle
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.video_level.example import CONTENTS, write_features
from yt8m_pipeline import open_features
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.video_level.feature_list import verify_features


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_features(tmp_path)
    return tmp_path


@pytest.mark.parametrize("partition", Partition)
def test_what_was_written_is_read(folder: Path, partition: Partition) -> None:
    found = list(open_features(str(folder)).videos(partition.value))
    assert [(video.video_id, tuple(video.labels), video.features.tolist()) for video in found] == [
        (video_id, labels or (), pytest.approx(vector)) for video_id, labels, vector in CONTENTS[partition]
    ]
    table = pq.read_table(folder / f"parquet/{partition.value}/{partition.value}-00000-of-00001.parquet")
    assert table.column_names == ["video_id", "labels", "features"]
    assert [tuple(row["labels"]) if row["labels"] else None for row in table.to_pylist()] == [
        labels for _, labels, _ in CONTENTS[partition]
    ]
    np.testing.assert_array_equal(np.stack(table["features"].to_numpy()), [video.features for video in found])


def test_tensorflow_reads_the_records(folder: Path) -> None:
    import tensorflow as tf

    [path] = [shard.uri for shard in open_features(str(folder)).shards("train")]
    spec = {"id": tf.io.FixedLenFeature([], tf.string), "features": tf.io.FixedLenFeature([2], tf.float32)}
    spec |= {"labels": tf.io.VarLenFeature(tf.int64)}
    rows = [tf.io.parse_single_example(data, spec) for data in tf.data.TFRecordDataset([path])]
    assert [row["id"].numpy() for row in rows] == [b"a", b"b"]
    assert rows[0]["labels"].values.numpy().tolist() == [0, 1]
    np.testing.assert_array_equal(rows[1]["features"], np.array([-0.6, 0.8], np.float32))


def test_its_classes_and_its_pickle(folder: Path) -> None:
    found = open_features(str(folder))
    assert (found.classes, found.dimensions) == (["Cat", "/m/b"], 2)
    assert pickle.loads(pickle.dumps(found)) == found
    assert repr(found) == f"FeatureSet({str(folder)!r}, dimensions=2)"
    assert [shard.records for part in Partition for shard in found.shards(part)] == [2, 1, 1]


def test_a_folder_without_features_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no video-level features(?s:.*)yt8m features DATASET"):
        open_features(str(tmp_path))


def test_unfinished_features_are_refused(folder: Path) -> None:
    (folder / "COMPLETE").unlink()
    with pytest.raises(DataError, match="not finished"):
        open_features(str(folder))


def test_a_shard_that_was_cut_is_refused_before_it_is_read(folder: Path) -> None:
    [shard] = open_features(str(folder)).shards("train")
    Path(shard.uri).write_bytes(Path(shard.uri).read_bytes()[:-60])
    with pytest.raises(DataError, match="missing or truncated"):
        open_features(str(folder)).videos("train")
    Path(shard.uri).unlink()
    with pytest.raises(DataError, match="it is not there"):
        open_features(str(folder)).shards("train")


def test_there_is_no_other_partition_and_no_pca(folder: Path) -> None:
    with pytest.raises(UsageError, match="no such partition"):
        open_features(str(folder)).videos("training")
    with pytest.raises(UsageError, match="have no PCA"):
        _ = open_features(str(folder)).pca


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"format": 2}, "newer format"),
        ({"format": "1"}, "is damaged"),
        ({"source": "air"}, "is damaged"),
        ({"files": [{"path": 1}]}, "is damaged"),
    ],
)
def test_a_list_of_another_kind_is_named(folder: Path, change: dict[str, object], what: str) -> None:
    told = json.loads((folder / "features.json").read_text()) | change
    (folder / "features.json").write_text(json.dumps(told))
    with pytest.raises(DataError, match=what):
        open_features(str(folder))


def test_what_a_later_version_says_besides_is_kept(folder: Path) -> None:
    told = json.loads((folder / "features.json").read_text()) | {"mood": "good"}
    (folder / "features.json").write_text(json.dumps(told))
    assert open_features(str(folder)).told.more == {"mood": "good"}


def test_verify_names_what_is_wrong(folder: Path) -> None:
    assert verify_features(str(folder)) == []
    train = "video/train/train-00000-of-00001.tfrecord"
    data = bytearray((folder / train).read_bytes())
    data[20] ^= 1
    (folder / train).write_bytes(data)
    (folder / "vocabulary.csv").unlink()
    (folder / "notes.txt").write_text("mine")
    told = (folder / "features.json").read_text()
    (folder / "features.json").write_text(told + " ")
    found = {fault.where: fault.what for fault in verify_features(str(folder))}
    assert set(found) == {train, "vocabulary.csv", "notes.txt", "features.json"}
    assert found["features.json"] == "is not the list that COMPLETE is of"
    (folder / "COMPLETE").unlink()
    assert [fault.where for fault in verify_features(str(folder))] == ["COMPLETE"]
