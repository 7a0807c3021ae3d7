"""`yt8m convert` on folders of protos and on datasets: what comes out, what is rejected, and that both ways agree."""

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.command_line import four_parts, run
from tests.conftest import published_bytes, rejects_of
from yt8m_pipeline import files
from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.compression.histogram import Histogram
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.config import Shards
from yt8m_pipeline.data_model import Float32Array, Partition
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import Encoded, FeatureSpace, Manifest
from yt8m_pipeline.dataset.reader import read_frames, read_videos
from yt8m_pipeline.dataset.records import FrameRecord, parse_frame_record
from yt8m_pipeline.dataset.shards import shard_of
from yt8m_pipeline.dataset.tfrecord import read_records, write_record
from yt8m_pipeline.dataset.verify import verify
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.interop.converting import convert_to_records
from yt8m_pipeline.interop.intake import MAX_LABELS
from yt8m_pipeline.interop.media_sequence import MediaSequence, media_sequence, parse_media_sequence
from yt8m_pipeline.interop.media_sequence_files import first_proto, proto_name

GOLDEN = Path(__file__).parent / "golden" / "media_sequence.pb"
GOLDEN_PROTO = GOLDEN.read_bytes()
SECOND = 1_000_000
DIMENSIONS = 5


def values(seed: int, frames: int = 4, dimensions: int = DIMENSIONS) -> Float32Array:
    """Some of which `uniform` clips."""
    return np.random.default_rng(seed).normal(0, 1.2, (frames, dimensions)).astype(np.float32)


def proto(
    video_id: str, seed: int, labels: Sequence[int] = (), names: Sequence[str] = (), step: int = SECOND, **shape: int
) -> bytes:
    found = values(seed, **shape)
    times = step * np.arange(len(found), dtype=np.int64)
    return media_sequence(MediaSequence(video_id, tuple(labels), tuple(names), found, times), 1.0)


def some_protos(count: int = 9) -> dict[str, bytes]:
    """By video id; the ids need escaping."""
    ids = [f"vidéo/{number}" for number in range(count)]
    return {name: proto(name, seed, [seed % 3, 5], [f"N{seed % 3}", "five"]) for seed, name in enumerate(ids)}


def write_protos(folder: Path, protos: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for number, data in enumerate(protos.values()):
        (folder / f"{number:03d}.binarypb").write_bytes(data)
    return folder


def write_tfrecord(path: Path, protos: Sequence[bytes]) -> Path:
    stream = io.BytesIO()
    for data in protos:
        write_record(stream, data)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(stream.getvalue())
    return path


def to_records(*inputs: Path, output: Path, options: Sequence[str] = ()) -> dict[str, Any]:
    """Converts, checks that the dataset is sound, and gives what was printed."""
    finished = run("convert", *map(str, inputs), "--to", "records", "--output", str(output), "--json", *options)
    assert finished.returncode == 0, finished.stderr
    assert verify(str(output)) == []
    facts: dict[str, Any] = json.loads(finished.stdout)
    return facts


def to_protos(dataset: Path, output: Path, *options: str) -> dict[str, MediaSequence]:
    """The protos of a dataset, by their path without the ending."""
    finished = run("convert", str(dataset), "--to", "mediasequence", "--output", str(output), *options)
    assert finished.returncode == 0, finished.stderr
    paths = sorted(path for path in output.rglob("*") if path.is_file())
    return {
        str(path.relative_to(output)).removesuffix(".pb"): parse_media_sequence(path.read_bytes()) for path in paths
    }


def frame_records(dataset: Path, partition: str = "train") -> dict[str, FrameRecord]:
    paths = sorted((dataset / "frame" / partition).iterdir())
    data = [record for path in paths for record in read_records(io.BytesIO(path.read_bytes()), str(path))]
    records = [parse_frame_record(record, "x") for record in data]
    assert len({record.video_id for record in records}) == len(records)
    return {record.video_id: record for record in records}


def rejects(dataset: Path) -> list[dict[str, Any]]:
    return rejects_of(dataset)


@cache
def optimal() -> Quantizer:
    return Quantizer.fit(Histogram.from_values(values(7, 400)), 32)


@cache
def optimal_per_dimension() -> Quantizer:
    return Quantizer.fit(Histogram.from_values(values(7, 400), DIMENSIONS), 32)


# Protos to records ----------------------------------------------------------------------------------------------------


def test_what_mediapipe_wrote_becomes_the_codes_of_mediapipes_rule(tmp_path: Path) -> None:
    facts = to_records(GOLDEN, output=tmp_path / "out")
    (record,) = frame_records(tmp_path / "out").values()
    exact = np.arange(24).reshape(4, 6) / 8 - 0.75
    by_hand = [[int((min(max(value, -2), 2) + 2) * 255 // 4) for value in row] for row in exact.tolist()]
    assert record.codes.tolist() == by_hand
    assert (record.video_id, record.labels, record.feature_name) == ("golden/video", (3, 7), "rgb")
    assert facts["quantization"][0]["clipped_fraction"] == pytest.approx(1 / 24, rel=1e-3)
    assert facts["warnings"] == [
        {"warning": "left out of 1 of 1 videos: AUDIO/feature/floats, for which the records have no place"}
    ]
    assert facts["title"] == "1 of 1 protos converted to uniform codes"


def test_our_readers_read_the_dataset(tmp_path: Path) -> None:
    protos = some_protos()
    to_records(write_protos(tmp_path / "in", protos), output=tmp_path / "out", options=["--shards", "3"])
    assert not list(read_frames(str(tmp_path / "out"), Partition.TEST))
    frames = {example.video_id: example for example in read_frames(str(tmp_path / "out"), Partition.TRAIN)}
    means = {example.video_id: example for example in read_videos(str(tmp_path / "out"), Partition.TRAIN)}
    assert frames.keys() == means.keys() == protos.keys()
    for video_id, data in protos.items():
        given_values = parse_media_sequence(data).coefficients
        assert np.abs(frames[video_id].features - np.clip(given_values, -2, 2)).max() <= 4 / 255
        mean = frames[video_id].features.mean(axis=0, dtype=np.float64)
        np.testing.assert_array_equal(means[video_id].mean_rgb, mean.astype(np.float32))
    assert frames["vidéo/2"].labels.tolist() == [2, 5]


def test_shards_are_those_of_a_build_sorted_by_id(tmp_path: Path) -> None:
    protos = some_protos(20)
    to_records(write_protos(tmp_path / "in", protos), output=tmp_path / "out", options=["--shards", "3"])
    for index in range(3):
        path = tmp_path / "out" / "frame" / "train" / f"train-{index:05d}-of-00003.tfrecord"
        found = [parse_frame_record(data, "x").video_id for data in read_records(io.BytesIO(path.read_bytes()), "x")]
        assert found == sorted(
            name for name in protos if shard_of(name, Partition.TRAIN, 3, Shards().salt).index == index
        )


def test_files_tfrecords_folders_and_their_order_make_the_same_bytes(tmp_path: Path) -> None:
    data = list(some_protos().values())
    one = write_protos(tmp_path / "one", some_protos())
    two = write_tfrecord(tmp_path / "two" / "a" / "x.tfrecord", data[5:])
    rest = [one / f"{number:03d}.binarypb" for number in reversed(range(5))]
    to_records(one, output=tmp_path / "from_files")
    to_records(two.parent.parent, *rest, output=tmp_path / "from_both")
    assert published_bytes(tmp_path / "from_files") == published_bytes(tmp_path / "from_both")


def test_the_vocabulary_has_what_the_protos_tell(tmp_path: Path) -> None:
    to_records(write_protos(tmp_path / "in", some_protos()), output=tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out" / "vocabulary.csv").open(newline="")))
    assert [(row["Index"], row["TrainVideoCount"], row["Name"]) for row in rows] == [
        ("0", "3", "N0"),
        ("1", "3", "N1"),
        ("2", "3", "N2"),
        ("3", "0", ""),
        ("4", "0", ""),
        ("5", "9", "five"),
    ]


def test_a_video_without_an_id_is_named_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "my video.features.pb").write_bytes(proto("", 1))
    write_tfrecord(tmp_path / "in" / "many.tfrecord", [proto("named", 2), proto("", 3)])
    to_records(tmp_path / "in", output=tmp_path / "out")
    assert frame_records(tmp_path / "out").keys() == {"my video.features", "named", "many-00001"}


@pytest.mark.parametrize("partition", ["validate", "test"])
def test_a_partition_can_be_chosen_and_labels_of_test_are_withheld(tmp_path: Path, partition: str) -> None:
    source = write_protos(tmp_path / "in", some_protos())
    to_records(source, output=tmp_path / "out", options=["--partition", partition])
    labels = {name: record.labels for name, record in frame_records(tmp_path / "out", partition).items()}
    withheld = pq.read_table(tmp_path / "out" / "withheld" / "test_labels.parquet").to_pylist()
    if partition == "validate":
        assert labels["vidéo/1"] == (1, 5)
        assert withheld == []
    else:
        assert set(labels.values()) == {()}
        assert {row["video_id"]: tuple(row["labels"]) for row in withheld}["vidéo/1"] == (1, 5)


def test_protos_in_the_folder_of_a_partition_become_that_partition(tmp_path: Path) -> None:
    """As the other way writes them: test videos never become train videos unasked."""
    write_protos(tmp_path / "protos" / "test", some_protos())
    to_records(tmp_path / "protos", output=tmp_path / "out")
    assert frame_records(tmp_path / "out", "test").keys() == some_protos().keys()
    write_protos(tmp_path / "protos" / "others", {"another": proto("another", 3)})
    what, _, why, fix = refused(2, tmp_path / "protos", "--to", "records", "--output", tmp_path / "mixed")
    assert what == "Only some of the protos are of a partition"
    assert why == "they lie in folders called others, test"
    assert "--partition" in fix
    assert not (tmp_path / "mixed").exists()
    to_records(tmp_path / "protos", output=tmp_path / "all", options=["--partition", "validate"])
    assert frame_records(tmp_path / "all", "validate").keys() == some_protos().keys() | {"another"}


def test_folders_of_partitions_become_one_dataset(tmp_path: Path) -> None:
    protos = some_protos()
    parts = {"train": sorted(protos)[:5], "validate": sorted(protos)[5:8], "test": sorted(protos)[8:]}
    for part, names in parts.items():
        write_protos(tmp_path / "protos" / part, {name: protos[name] for name in names})
    to_records(tmp_path / "protos", output=tmp_path / "out", options=["--shards", "2"])
    assert verify(str(tmp_path / "out")) == []
    for part, names in parts.items():
        assert frame_records(tmp_path / "out", part).keys() == set(names)
        assert len(list((tmp_path / "out" / "frame" / part).iterdir())) == 2
    withheld = pq.read_table(tmp_path / "out" / "withheld" / "test_labels.parquet").to_pylist()
    assert [row["video_id"] for row in withheld] == parts["test"]
    assert all(record.labels == () for record in frame_records(tmp_path / "out", "test").values())
    counts = Manifest.of(Layout(str(tmp_path / "out"))).partitions
    assert {part.value: counts[part].videos for part in Partition} == {"train": 5, "validate": 3, "test": 1}


@pytest.mark.parametrize("name", ["a.pb", "a.tfrecord", "a.features", "a.npz", "a"])
@pytest.mark.parametrize("is_framed", [False, True])
def test_inspect_knows_protos_under_any_name_and_says_how_they_are_converted(
    tmp_path: Path, name: str, is_framed: bool
) -> None:
    stream = io.BytesIO()
    write_record(stream, proto("é", 1, [2, 3]))
    (tmp_path / name).write_bytes(stream.getvalue() if is_framed else proto("é", 1, [2, 3]))
    facts = json.loads(run("inspect", str(tmp_path / name), "--json").stdout)
    assert facts["kind"] == "MediaSequence of MediaPipe, which is no file of a dataset"
    assert (facts["id"], facts["labels"], facts["frames"], facts["dimensions"]) == ("é", "2 3", 4, DIMENSIONS)
    command = facts["convert"].replace("DATASET", str(tmp_path / "out")).split()
    assert run(*command[1:]).returncode == 0
    assert verify(str(tmp_path / "out")) == []


def test_inspect_says_why_a_proto_cannot_be_used(tmp_path: Path) -> None:
    sequence = json.loads(run("inspect", str(unusable(tmp_path / "x.tfrecord")), "--json").stdout)
    assert sequence["unusable"].startswith("missing_value: it has no feature list RGB/feature/floats")


@pytest.mark.parametrize("name", ["a.pb", "a.tfrecord", "a"])
def test_inspect_knows_a_proto_that_was_cut_short(tmp_path: Path, name: str) -> None:
    """Wherever it is cut, as long as one of its keys is left: it is neither a damaged shard nor a damaged PCA."""
    for kept in range(100, len(GOLDEN_PROTO), 50):
        (tmp_path / name).write_bytes(GOLDEN_PROTO[:kept])
        found = first_proto(str(tmp_path / name))
        assert isinstance(found, VideoRejected)
        assert found.reason in (DropReason.DAMAGED, DropReason.MISSING_VALUE)
    facts = json.loads(run("inspect", str(tmp_path / name), "--json").stdout)
    assert facts["kind"].startswith("MediaSequence")
    assert facts["unusable"].startswith("damaged: ")


def test_inspect_takes_a_damaged_shard_for_no_proto(dataset: Path) -> None:
    shard = next((dataset / "frame" / "train").iterdir())
    for at in range(12):
        data = bytearray(shard.read_bytes())
        data[at] = b"\x0a"[0] if at == 0 else data[at] ^ 1
        (dataset / "damaged.tfrecord").write_bytes(data)
        assert first_proto(str(dataset / "damaged.tfrecord")) is None


def unusable(path: Path) -> Path:
    """A proto of the sound alone."""
    path.write_bytes(GOLDEN_PROTO.replace(b"RGB/feature", b"SND/feature"))
    return path


def test_every_input_is_in_the_records_or_in_the_rejects(tmp_path: Path) -> None:
    faulty = {
        "a0.pb": (b"", "empty_file"),
        "a1.pb": (b"no proto at all", "damaged"),
        "c0.pb": (proto("other", 1, dimensions=DIMENSIONS + 1), "wrong_shape"),
        "c1.pb": (proto("b0", 2), "duplicate"),
        "c2.pb": (proto("negative", 3, [-1]), "out_of_range"),
        "c3.pb": (proto("beyond", 3, [MAX_LABELS]), "out_of_range"),
        "c4.pb": (proto("backwards", 4, step=-SECOND), "unordered_timestamps"),
    }
    sound = {"b0.pb": proto("b0", 5), "b1.pb": proto("b1", 6, [MAX_LABELS // 1000])}
    (tmp_path / "in").mkdir()
    for name, data in {**sound, **{name: data for name, (data, _) in faulty.items()}}.items():
        (tmp_path / "in" / name).write_bytes(data)
    facts = to_records(tmp_path / "in", output=tmp_path / "out")
    assert frame_records(tmp_path / "out").keys() == {"b0", "b1"}
    found = {Path(row["file"]).name: row["reason"] for row in rejects(tmp_path / "out")}
    assert found == {name: reason for name, (_, reason) in faulty.items()}
    counted = {row["reason"]: row["protos"] for row in facts["rejected"]}
    assert counted == Counter(reason for _, reason in faulty.values())
    assert facts["title"] == "2 of 9 protos converted to uniform codes"
    (duplicate,) = [row for row in rejects(tmp_path / "out") if row["reason"] == "duplicate"]
    assert duplicate["id"] == "b0"
    assert duplicate["detail"] == f"{tmp_path / 'in' / 'b0.pb'} has the same id and is kept"


def test_the_records_before_damage_are_kept_and_the_rest_is_a_reject(tmp_path: Path) -> None:
    path = write_tfrecord(tmp_path / "x.tfrecord", [proto("a", 1), b"", proto("b", 2), proto("c", 3)])
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    to_records(path, output=tmp_path / "out")
    assert frame_records(tmp_path / "out").keys() == {"a", "b"}
    empty, damaged = sorted(rejects(tmp_path / "out"), key=lambda row: row["row"] or 99)
    assert (empty["id"], empty["reason"], empty["row"]) == ("x-00001", "empty_file", 2)
    assert (damaged["id"], damaged["reason"], damaged["row"]) == (None, "damaged", None)
    assert "record 3" in damaged["detail"]
    assert "ends too early" in damaged["detail"]


def test_an_unreadable_file_is_a_reject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_protos(tmp_path / "in", some_protos(2))
    open_read = files.open_read

    def failing(uri: str) -> Any:
        if uri.endswith("000.binarypb"):
            raise PermissionError("denied")
        return open_read(uri)

    monkeypatch.setattr(files, "open_read", failing)
    convert_to_records([str(source)], str(tmp_path / "out"), Quantizer.uniform(), Partition.TRAIN, 1, lambda _: None)
    (reject,) = rejects(tmp_path / "out")
    assert (reject["reason"], reject["detail"]) == ("io_error", "denied")


def test_another_rate_than_one_frame_per_second_is_said(tmp_path: Path) -> None:
    protos = {"slow": proto("slow", 1, step=2 * SECOND), "right": proto("right", 2)}
    facts = to_records(write_protos(tmp_path / "in", protos), output=tmp_path / "out")
    (row,) = facts["warnings"]
    assert row["warning"].startswith("not at one frame per second: 1 of 2 videos")


# Both ways ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codebook", [Quantizer.uniform, optimal, optimal_per_dimension])
@pytest.mark.parametrize("partition", ["train", "test"])
def test_records_to_protos_to_records_gives_the_same_bytes(
    tmp_path: Path, codebook: Callable[[], Quantizer], partition: str
) -> None:
    codebook().save(str(tmp_path / "quantizer.npz"))
    options = ["--quantizer", str(tmp_path / "quantizer.npz"), "--partition", partition, "--shards", "2"]
    to_records(write_protos(tmp_path / "in", some_protos()), output=tmp_path / "first", options=options)
    to_protos(tmp_path / "first", tmp_path / "protos")
    to_records(tmp_path / "protos", output=tmp_path / "second", options=options)
    first, second = (
        published_bytes(tmp_path / name, lambda path: f"/{partition}/" in path or path == "quantizer.npz")
        for name in ("first", "second")
    )
    assert len(first) == 5
    assert first == second


def test_a_built_dataset_survives_the_way_to_protos_and_back(built: Path, tmp_path: Path) -> None:
    dataset = built / "dataset"
    protos = to_protos(dataset, tmp_path / "protos")
    rows = pq.read_table(dataset / "videos.parquet").to_pylist()
    assert protos.keys() == {f"{row['partition']}/{proto_name(row['video_id']).removesuffix('.pb')}" for row in rows}
    vocabulary = list(csv.DictReader((dataset / "vocabulary.csv").open(newline="")))
    to_records(tmp_path / "protos", output=tmp_path / "back", options=["--quantizer", str(dataset / "quantizer.npz")])
    assert verify(str(tmp_path / "back")) == []
    for partition in Partition:
        before, after = frame_records(dataset, partition), frame_records(tmp_path / "back", partition)
        assert before.keys() == after.keys()
        for name, record in before.items():
            np.testing.assert_array_equal(after[name].codes, record.codes, strict=True)
            sequence = protos[f"{partition}/{proto_name(name).removesuffix('.pb')}"]
            assert after[name].labels == record.labels == sequence.labels
            assert sequence.label_names == tuple(vocabulary[label]["Name"] for label in record.labels)
            assert bool(record.labels) == (partition is not Partition.TEST)


# Records to protos ----------------------------------------------------------------------------------------------------


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    to_records(write_protos(tmp_path / "in", some_protos()), output=tmp_path / "dataset", options=["--shards", "2"])
    return tmp_path / "dataset"


def test_floats_are_de_quantized_codes(dataset: Path, tmp_path: Path) -> None:
    protos = {sequence.video_id: sequence for sequence in to_protos(dataset, tmp_path / "out").values()}
    for example in read_frames(str(dataset), Partition.TRAIN):
        np.testing.assert_array_equal(protos[example.video_id].coefficients, example.features, strict=True)


@pytest.mark.parametrize("rate", [None, 1.0, 2.0, 29.97])
def test_timestamps_are_those_of_the_grid(dataset: Path, tmp_path: Path, rate: float | None) -> None:
    manifest = json.loads((dataset / "manifest.json").read_text())
    manifest["config"] = {"decoding": {"frames_per_second": rate}} if rate else {}
    (dataset / "manifest.json").write_text(json.dumps(manifest))
    expected = [round(k * SECOND / Fraction(str(rate or 1))) for k in range(4)]
    for sequence in to_protos(dataset, tmp_path / "out").values():
        assert sequence.timestamps.tolist() == expected


def test_labels_without_names_have_no_strings(tmp_path: Path) -> None:
    source = write_protos(tmp_path / "in", {"named": proto("named", 1, [1], ["one"]), "bare": proto("bare", 2, [1, 2])})
    to_records(source, output=tmp_path / "dataset")
    protos = to_protos(tmp_path / "dataset", tmp_path / "out")
    assert (protos["train/named"].labels, protos["train/named"].label_names) == ((1,), ("one",))
    assert (protos["train/bare"].labels, protos["train/bare"].label_names) == ((1, 2), ())


def test_one_partition_can_be_chosen(dataset: Path, tmp_path: Path) -> None:
    assert len(to_protos(dataset, tmp_path / "train", "--partition", "train")) == 9
    assert to_protos(dataset, tmp_path / "validate", "--partition", "validate") == {}
    assert (tmp_path / "validate").is_dir()


@given(st.lists(st.text(max_size=300), min_size=2, max_size=2, unique=True))
def test_any_id_is_a_safe_file_name_of_its_own(ids: list[str]) -> None:
    names = [proto_name(video_id) for video_id in ids]
    assert names[0] != names[1]
    for name in names:
        assert len(name) <= 255
        assert name.isascii()
        assert not set(name) & set("/\\\0:")
        assert name not in (".", "..")


# What is refused ------------------------------------------------------------------------------------------------------


def refused(code: int, *arguments: str | Path) -> tuple[str, str, str, str]:
    finished = run("convert", *map(str, arguments))
    assert (finished.returncode, finished.stdout) == (code, "")
    return four_parts(finished)


def test_an_output_that_is_not_empty_is_refused(dataset: Path, tmp_path: Path) -> None:
    before = published_bytes(dataset)
    for target, source in (("records", GOLDEN), ("mediasequence", dataset)):
        what, where, why, fix = refused(2, source, "--to", target, "--output", dataset)
        assert (what, where) == ("The output is no empty folder", str(dataset))
        assert (why, fix) == ("COMPLETE stands there already", "give an empty or new folder with --output")
    assert published_bytes(dataset) == before
    *_, why, _ = refused(2, GOLDEN, "--to", "records", "--output", tmp_path / "in" / "000.binarypb")
    assert why == f"{tmp_path / 'in' / '000.binarypb'} stands there already"
    *_, why, _ = refused(2, GOLDEN, "--to", "records", "--output", "nowhere://x")
    assert "nowhere" in why


def test_an_empty_output_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    to_records(GOLDEN, output=tmp_path / "out")


def test_a_link_to_an_empty_folder_stays_one(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    link = tmp_path / "link"
    link.symlink_to("out")
    to_records(GOLDEN, output=link)
    assert link.is_symlink()
    assert (tmp_path / "out" / "COMPLETE").exists()


def test_an_output_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    output = tmp_path / "file" / "out"
    what, where, why, fix = refused(1, GOLDEN, "--to", "records", "--output", output)
    assert (what, where) == ("The output folder cannot be written", str(output))
    assert "Not a directory" in why
    assert fix == "give a new folder with --output, in a folder that you may write to"


def test_an_output_that_another_fills_meanwhile_is_an_error(tmp_path: Path) -> None:
    def fill(_: str) -> None:
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "theirs").touch()

    with pytest.raises(DataError, match="The output folder cannot be written"):
        convert_to_records([str(GOLDEN)], str(tmp_path / "out"), Quantizer.uniform(), Partition.TRAIN, 1, fill)
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["out", "out/theirs"]


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_an_input_that_does_not_exist_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    missing = str(tmp_path / name)
    what, where, why, fix = refused(2, GOLDEN, missing, "--to", "records", "--output", tmp_path / "out")
    assert (what, where, fix) == ("There is nothing to convert", missing, "give files or folders of protos")
    assert why
    assert not (tmp_path / "out").exists()


def test_nothing_is_left_behind_where_no_proto_can_be_converted(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.pb").write_bytes(b"no proto")
    (tmp_path / "in" / "b.pb").write_bytes(b"")
    what, where, why, fix = refused(1, tmp_path / "in", "--to", "records", "--output", tmp_path / "out")
    assert (what, where) == ("No proto can be converted", str(tmp_path / "in" / "a.pb"))
    assert why.startswith("damaged 1, empty_file 1; the first: Error parsing message")
    assert "RGB/feature/floats" in fix
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_codebook_of_other_dimensions_takes_nothing(tmp_path: Path) -> None:
    optimal_per_dimension().save(str(tmp_path / "quantizer.npz"))
    options = ["--to", "records", "--output", str(tmp_path / "out"), "--quantizer", str(tmp_path / "quantizer.npz")]
    *_, why, _ = refused(1, GOLDEN, *options)
    assert why.startswith(
        "wrong_shape 1; the first: a frame has 6 values, those of the codebook or of the first video 5"
    )


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_bytes(proto("vidéo/0", 99))])
def test_an_input_that_changes_meanwhile_is_an_error_and_nothing_is_left(
    tmp_path: Path, change: Callable[[Path], object]
) -> None:
    source = write_protos(tmp_path / "in", some_protos(2))
    seen: list[str] = []

    def progress(stage: str) -> None:
        seen.append(stage)
        if seen == ["read", "read"]:
            change(source / "000.binarypb")

    with pytest.raises(DataError) as caught:
        convert_to_records([str(source)], str(tmp_path / "out"), Quantizer.uniform(), Partition.TRAIN, 1, progress)
    error = caught.value
    assert (error.what, error.where) == ("An input changed while it was converted", str(source / "000.binarypb"))
    assert error.why == "video vidéo/0 is not what it was when the inputs were looked through"
    assert error.fix == "let the program that writes it end, then convert again"
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_conversion_that_is_stopped_leaves_nothing(tmp_path: Path) -> None:
    source = write_protos(tmp_path / "in", some_protos(3))

    def stop(stage: str) -> None:
        if stage == "write":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_to_records([str(source)], str(tmp_path / "out"), Quantizer.uniform(), Partition.TRAIN, 1, stop)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_codebook_that_is_no_file_is_refused(tmp_path: Path) -> None:
    options = ["--to", "records", "--output", str(tmp_path / "out"), "--quantizer", "unifrom"]
    what, where, why, fix = refused(2, GOLDEN, *options)
    assert (what, where) == ("There is no such codebook", "unifrom")
    assert (why, fix) == ("it is neither `uniform` nor a file", "give the quantizer.npz of a dataset")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--quantizer", "uniform"], "--quantizer say how records are written"),
        (["--quantizer", "uniform", "--shards", "2"], "--quantizer and --shards say how records are written"),
        (["another"], "there are 2 inputs"),
    ],
)
def test_protos_are_made_of_one_dataset_without_options(dataset: Path, arguments: list[str], why: str) -> None:
    found = refused(2, dataset, *arguments, "--to", "mediasequence", "--output", dataset.parent / "out")
    assert found == ("Protos are made of one dataset as it is", "yt8m convert", why, "give one DATASET alone")


def test_a_folder_that_is_not_there_is_no_dataset(tmp_path: Path) -> None:
    what, *_ = refused(2, tmp_path / "nowhere", "--to", "mediasequence", "--output", tmp_path / "out")
    assert what == "There is no dataset"


def test_an_unfinished_dataset_is_refused(dataset: Path, tmp_path: Path) -> None:
    (dataset / "COMPLETE").unlink()
    what, *_ = refused(1, dataset, "--to", "mediasequence", "--output", tmp_path / "out")
    assert what == "This is not a finished dataset"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", [None, b"Number,Name\n1,a\n", b"Index,Name\nx,a\n", b"\xff"])
def test_a_vocabulary_that_cannot_be_read_is_an_error(dataset: Path, tmp_path: Path, text: bytes | None) -> None:
    path = dataset / "vocabulary.csv"
    path.unlink()
    if text is not None:
        path.write_bytes(text)
    what, where, _, fix = refused(1, dataset, "--to", "mediasequence", "--output", tmp_path / "out")
    assert (what, where, fix) == ("The vocabulary cannot be read", str(path), "build the dataset again")


def test_damage_in_a_shard_leaves_no_protos(dataset: Path, tmp_path: Path) -> None:
    shard = dataset / "frame" / "train" / "train-00001-of-00002.tfrecord"
    shard.write_bytes(shard.read_bytes()[:-1])
    what, where, *_ = refused(1, dataset, "--to", "mediasequence", "--output", tmp_path / "out")
    assert what == "A shard is truncated or not the one of the manifest"
    assert where.startswith(str(shard))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset", "in"]


def test_the_manifest_says_where_the_records_come_from(dataset: Path) -> None:
    manifest = Manifest.of(Layout(str(dataset)))
    assert manifest.encoded == Encoded("mediasequence")
    assert manifest.feature_space == FeatureSpace("mediasequence")
    assert manifest.partition(Partition.TRAIN).labels == 18
    assert manifest.quantizer.facts.more["levels"] == 256
