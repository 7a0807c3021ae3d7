"""`yt8m features` as a whole: every vector against NumPy, whatever it is made from and however often it is killed."""

import hashlib
import json
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.command_line import four_parts, run
from tests.conftest import Workshop, published_bytes, yt8m
from tests.faulty_bucket import FaultyBucket
from yt8m_pipeline import features, files, open_dataset, open_features
from yt8m_pipeline.data_model import Float32Array, Float64Array, Partition, UInt8Array
from yt8m_pipeline.dataset.manifest import Manifest
from yt8m_pipeline.dataset.records import frame_record, parse_frame_record
from yt8m_pipeline.dataset.tfrecord import read_records, write_record
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.jobs.features_plan import FeaturesPlan, Wanted, plan_features
from yt8m_pipeline.store.feature_store import FeatureStore
from yt8m_pipeline.transforms.video_level import time_of_fit
from yt8m_pipeline.video_level.feature_list import FeatureList, verify_features
from yt8m_pipeline.video_level.names import Blocks, Source, Space
from yt8m_pipeline.video_level.statistics import PARTS

COMPONENTS = 3


def frames_of(folder: Path, source: Source, space: Space) -> Iterator[tuple[Partition, str, list[int], Float64Array]]:
    """The features of the frames of each video, from the store or the codes, computed by formula."""
    dataset = open_dataset(str(folder / "dataset"))
    pca, told = dataset.pca, Manifest.of(dataset.layout)
    deviation = np.sqrt(pca.eigenvalues + pca.epsilon)
    store = FeatureStore(str(folder / "features"), told.feature_space.fingerprint)
    for part in Partition:
        for example in dataset.frames(part):
            if source is Source.STORE:
                frames = store.read(example.video_id).features.astype(np.float64)
                frames = (frames - pca.mean) @ pca.eigenvectors.T / deviation if space is Space.PCA else frames
            else:
                frames = example.features.astype(np.float64)
                frames = frames if space is Space.PCA else (frames * deviation) @ pca.eigenvectors + pca.mean
            yield part, example.video_id, example.labels.tolist(), frames


def phi(frames: Float64Array, blocks: Blocks) -> Float64Array:
    ordered = np.sort(frames, axis=0)[::-1]
    top = ordered[np.minimum(np.arange(5), len(frames) - 1)].ravel()
    parts = {"mu": frames.mean(axis=0), "sigma": frames.std(axis=0), "top": top}
    return np.concatenate([parts[part] for part in PARTS[blocks]])


def normalised(rows: Float64Array, train: Float64Array) -> Float64Array:
    """Equation by equation: mean, PCA and whitening of train, and unit length (paper §4.2.2)."""
    mean = train.mean(axis=0)
    _, singular, axes = np.linalg.svd(train - mean, full_matrices=False)
    variances = singular[:COMPONENTS] ** 2 / (len(train) - 1)
    whitened = (rows - mean) @ axes[:COMPONENTS].T / np.sqrt(variances + 0.01 * variances[-1])
    unit: Float64Array = whitened / np.linalg.norm(whitened, axis=1, keepdims=True)
    return unit


def vectors(folder: Path | str) -> dict[str, Float32Array]:
    found = open_features(str(folder))
    return {video.video_id: video.features for part in Partition for video in found.videos(part)}


def make(folder: Path, output: Path, source: Source = Source.CODES, **options: Any) -> FeatureList:
    """Features of the build in a folder, of few components."""
    store = str(folder / "features") if source is Source.STORE else None
    components = None if "like" in options else COMPONENTS
    options = {"components": components, **options}
    return features(str(folder / "dataset"), str(output), store, **options).features.told


@pytest.fixture(scope="module")
def made(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features from codes, of all blocks, in the network's own space."""
    output = tmp_path_factory.mktemp("features") / "made"
    make(built, output)
    return output


@pytest.mark.parametrize(
    ("source", "space", "blocks"),
    [
        (Source.STORE, Space.RELU, Blocks.MU_SIGMA_TOP5),
        (Source.STORE, Space.PCA, Blocks.MU_SIGMA),
        (Source.CODES, Space.RELU, Blocks.MU_SIGMA_TOP5),
        (Source.CODES, Space.PCA, Blocks.MU),
    ],
)
def test_every_vector_is_that_of_numpy(
    built: Path, tmp_path: Path, source: Source, space: Space, blocks: Blocks
) -> None:
    told = make(built, tmp_path / "x", source, space=space, blocks=blocks)
    known = list(frames_of(built, source, space))
    rows = np.stack([phi(frames, blocks) for *_, frames in known])
    train = np.array([part is Partition.TRAIN for part, *_ in known])
    expected = normalised(rows, rows[train])
    found = vectors(tmp_path / "x")
    assert list(found) == [video_id for _, video_id, *_ in known]
    signs = np.sign((np.stack(list(found.values())) * expected).sum(axis=0))
    np.testing.assert_allclose(np.stack(list(found.values())), expected * signs, atol=2e-4)
    assert np.std(expected, axis=0).min() > 0.1, "the case is trivial"
    assert (told.described, told.dimensions) == (rows.shape[1], COMPONENTS)
    assert verify_features(str(tmp_path / "x")) == []
    read = open_features(str(tmp_path / "x"))
    assert {(part, video.video_id, tuple(video.labels)) for part in Partition for video in read.videos(part)} == {
        (part, video_id, tuple(labels)) for part, video_id, labels, _ in known
    }


def test_the_number_of_largest_values_is_a_choice(built: Path, made: Path, tmp_path: Path) -> None:
    two = make(built, tmp_path / "two", top=2)
    assert (two.top, two.described) == (2, 4 * 40)
    assert open_features(str(made)).told.described == 7 * 40
    with pytest.raises(UsageError, match="of another kind"):
        make(built, tmp_path / "x", top=3, like=str(tmp_path / "two"))


def test_many_videos_are_fitted_by_moments_to_the_same_vectors(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = make(built, tmp_path / "few")
    monkeypatch.setattr(FeaturesPlan, "by_gram", False)
    other = make(built, tmp_path / "many")
    assert told.pca
    assert other.pca
    assert (told.pca.more["by"], other.pca.more["by"]) == ("gram", "moments")
    assert (
        told.pca.more["videos"] == other.pca.more["videos"] == len(open_dataset(str(built / "dataset")).frames("train"))
    )
    few, many = vectors(tmp_path / "few"), vectors(tmp_path / "many")
    signs = np.sign(sum(few[name] * many[name] for name in few))
    np.testing.assert_allclose([few[name] for name in few], [many[name] * signs for name in few], atol=1e-4)


def test_which_of_both_is_decided_by_the_numbers_of_the_dataset(built: Path, tmp_path: Path) -> None:
    plan = plan_features(str(built / "dataset"), str(tmp_path), Wanted(components=2))
    train = plan.counts[Partition.TRAIN]
    for described, by_gram in ((train, False), (train + 1, True)):
        assert replace(plan, told=replace(plan.told, described=described)).by_gram is by_gram


def test_the_moments_path_has_the_same_bytes_after_a_stop(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FeaturesPlan, "by_gram", False)
    _stopped_and_continued(built, tmp_path, monkeypatch)


def test_what_was_stopped_goes_on_and_ends_with_the_same_bytes(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stopped_and_continued(built, tmp_path, monkeypatch)


def _stopped_and_continued(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    make(built, whole)
    with monkeypatch.context() as broken:
        broken.setattr("yt8m_pipeline.transforms.video_level.write_list", _fail)
        with pytest.raises(DataError, match="stopped"):
            make(built, stopped)
    assert not (stopped / "COMPLETE").exists()
    written = {path: path.stat().st_mtime_ns for path in stopped.rglob("*") if path.suffix in ENDINGS}
    assert any(path.suffix == ".f32" for path in written)
    with monkeypatch.context() as described:
        described.setattr("yt8m_pipeline.transforms.video_level.vectors", _fail)
        make(built, stopped)
    assert published_bytes(stopped) == published_bytes(whole)
    assert {path: path.stat().st_mtime_ns for path in written if path.suffix != ".f32"} == {
        path: time_ns for path, time_ns in written.items() if path.suffix != ".f32"
    }
    assert not features(str(built / "dataset"), str(stopped), components=COMPONENTS).is_new


ENDINGS = {".f32", ".tfrecord", ".parquet", ".npy"}


def _fail(*_: object) -> None:
    raise DataError(what="stopped", where="here", why="of a test", fix="none")


def test_a_killed_command_goes_on_and_ends_with_the_same_bytes(built: Path, made: Path, tmp_path: Path) -> None:
    output = tmp_path / "x"
    command = ["features", str(built / "dataset"), "--output", str(output), "--components", str(COMPONENTS)]
    for pattern in (".phi/*.f32", "pca/eigenvecs.npy", "video/*/*.tfrecord"):
        process = subprocess.Popen(
            [sys.executable, "-m", "yt8m_pipeline", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        while not any(output.glob(pattern)):
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
    finished = yt8m(*command)
    assert finished.returncode == 0, finished.stderr
    assert published_bytes(output) == published_bytes(made)
    again = run(*command)
    assert "Nothing to do" in again.stdout


def test_workers_change_no_byte(built: Path, made: Path, tmp_path: Path) -> None:
    options = ["--direct_num_workers=3", "--direct_running_mode=multi_threading"]
    make(built, tmp_path / "x", beam_arguments=options)
    assert published_bytes(tmp_path / "x") == published_bytes(made)


def test_features_in_a_bucket_have_the_same_bytes(built: Path, made: Path, bucket: FaultyBucket) -> None:
    features(str(built / "dataset"), "gs://bucket/x", components=COMPONENTS)
    assert verify_features("gs://bucket/x") == []
    assert bucket.names()
    for name, data in published_bytes(made).items():
        assert files.read_bytes(f"gs://bucket/x/{name}") == data


def test_the_number_of_shards_changes_no_vector(
    workshop: Workshop, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = workshop.config(tmp_path, stored=built, shards={"train": 7, "validate": 1, "test": 1})
    assert run("build", str(config)).returncode == 0
    for by_gram in (True, False):
        monkeypatch.setattr(FeaturesPlan, "by_gram", by_gram)
        make(built, tmp_path / f"x{by_gram}", Source.STORE)
        make(tmp_path, tmp_path / f"y{by_gram}", Source.STORE)
        one, other = vectors(tmp_path / f"x{by_gram}"), vectors(tmp_path / f"y{by_gram}")
        assert one.keys() == other.keys()
        for name, vector in one.items():
            np.testing.assert_array_equal(vector, other[name])


def rewrite(dataset: Path, partition: Partition, change: Callable[[UInt8Array], UInt8Array]) -> None:
    """Changes the codes of a partition, and the manifest so that they are the dataset's."""
    manifest = json.loads((dataset / "manifest.json").read_text())
    for row in manifest["shards"]:
        if (row["level"], row["partition"]) != ("frame", partition.value):
            continue
        path = dataset / row["path"]
        with path.open("rb") as stream:
            records = [parse_frame_record(data, row["path"]) for data in read_records(stream, row["path"])]
        with path.open("wb") as stream:
            for record in records:
                data = frame_record(record.video_id, record.labels, change(record.codes), record.feature_name)
                write_record(stream, data)
        row |= {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    (dataset / "manifest.json").write_text(json.dumps(manifest))


def test_the_pca_knows_of_train_alone(copied: Path, made: Path, tmp_path: Path) -> None:
    """Whatever changes in validate and test, no bit of it does, nor of a train vector; and the changed vectors do."""
    for part in (Partition.VALIDATE, Partition.TEST):
        rewrite(copied / "dataset", part, lambda codes: (codes.astype(int) // 2 + 60).astype(np.uint8)[::-1])
    make(copied, tmp_path / "x")
    for name in ("mean.npy", "eigenvals.npy", "eigenvecs.npy"):
        assert (tmp_path / "x" / "pca" / name).read_bytes() == (made / "pca" / name).read_bytes()
    before, after = vectors(made), vectors(tmp_path / "x")
    train = open_dataset(str(copied / "dataset")).ids("train")
    for name, vector in before.items():
        assert np.array_equal(vector, after[name]) == (name in train)


def test_no_withheld_label_is_in_any_file(built: Path, made: Path, copied: Path, tmp_path: Path) -> None:
    withheld = pq.read_table(built / "dataset" / "withheld" / "test_labels.parquet")["labels"].to_pylist()
    assert any(withheld)
    assert all(len(video.labels) == 0 for video in open_features(str(made)).videos("test"))
    for path in (made / "parquet" / "test").iterdir():
        assert all(row is None for row in pq.read_table(path)["labels"].to_pylist())
    assert not [path for path in made.rglob("*") if "withheld" in path.name]
    (copied / "dataset" / "withheld" / "test_labels.parquet").unlink()
    make(copied, tmp_path / "x")
    assert published_bytes(tmp_path / "x") == published_bytes(made)


def test_each_choice_changes_the_vectors(built: Path, made: Path, tmp_path: Path) -> None:
    choices: dict[str, dict[str, Any]] = {
        "store": {"source": Source.STORE},
        "space": {"space": "pca"},
        "blocks": {"blocks": "mu+sigma"},
        "fewer blocks": {"blocks": "mu"},
        "components": {"components": COMPONENTS - 1},
    }
    told = {name: make(built, tmp_path / name, **options) for name, options in choices.items()}
    told["none"] = open_features(str(made)).told
    firsts = {
        name: next(iter(vectors(made if name == "none" else tmp_path / name).values())).tobytes() for name in told
    }
    assert len(set(firsts.values())) == len(told)
    assert len({found.key for found in told.values()}) == len(told)
    assert len({json.dumps(found.identity) for found in told.values()}) == len(told)


def test_vectors_have_length_1(made: Path) -> None:
    assert [np.linalg.norm(vector) for vector in vectors(made).values()] == pytest.approx([1.0] * len(vectors(made)))


def test_the_pca_of_other_features_is_taken_bit_by_bit(copied: Path, made: Path, tmp_path: Path) -> None:
    """Transfer (paper §5.3): the dataset is another, and the PCA is not fitted to it."""
    rewrite(copied / "dataset", Partition.TRAIN, lambda codes: codes[::2])
    told = make(copied, tmp_path / "x", like=str(made))
    own = make(copied, tmp_path / "own")
    theirs = open_features(str(made)).told
    assert told.pca
    assert theirs.pca
    assert own.pca
    assert (told.pca.source, told.pca.fingerprint) == ("like", theirs.pca.fingerprint)
    assert told.pca.more["build_key"] == theirs.build_key
    assert own.pca.fingerprint != theirs.pca.fingerprint
    before, after = vectors(made), vectors(tmp_path / "x")
    for part in Partition:
        for name in open_dataset(str(copied / "dataset")).ids(part):
            assert np.array_equal(before[name], after[name]) == (part is not Partition.TRAIN)
    from_store = make(copied, tmp_path / "y", Source.STORE, like=str(made))
    assert [text for text in from_store.warnings if "differ by what compression loses" in text]
    assert from_store.identity == theirs.identity


@pytest.mark.parametrize(
    ("options", "differs"),
    [({"blocks": "mu"}, "blocks, top, described"), ({"space": "pca"}, "space, described"), ({}, "feature_space")],
)
def test_the_pca_of_other_features_must_be_of_this_kind(
    built: Path, made: Path, tmp_path: Path, options: dict[str, Any], differs: str
) -> None:
    other = tmp_path / "other"
    if options:
        make(built, other, **options)
    else:
        other.mkdir()
        told = json.loads((made / "features.json").read_text()) | {"feature_space": "another network"}
        (other / "features.json").write_text(json.dumps(told))
        (other / "COMPLETE").touch()
    with pytest.raises(UsageError, match=f"of another kind(?s:.*)their {differs} differ"):
        make(built, tmp_path / "x", like=str(other))


def test_coefficients_of_another_pca_are_of_another_kind(built: Path, tmp_path: Path) -> None:
    make(built, tmp_path / "other", space="pca")
    told = json.loads((tmp_path / "other" / "features.json").read_text()) | {"frame_pca": "another"}
    (tmp_path / "other" / "features.json").write_text(json.dumps(told))
    with pytest.raises(UsageError, match="their frame_pca differ"):
        make(built, tmp_path / "x", like=str(tmp_path / "other"), space="pca")


def test_too_few_train_videos_are_refused_before_anything_is_read(built: Path, tmp_path: Path) -> None:
    train = len(open_dataset(str(built / "dataset")).frames("train"))
    with pytest.raises(DataError, match=rf"too small(?s:.*)--components(?s:.*){train} videos, but {train} components"):
        make(built, tmp_path / "x", components=train)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("by_gram", [True, False])
def test_features_that_do_not_vary_are_refused(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, by_gram: bool
) -> None:
    monkeypatch.setattr(FeaturesPlan, "by_gram", by_gram)
    rewrite(copied / "dataset", Partition.TRAIN, np.zeros_like)
    with pytest.raises(DataError, match=r"do not vary(?s:.*)train videos"):
        make(copied, tmp_path / "x")
    assert not (tmp_path / "x" / "COMPLETE").exists()


def test_an_unfinished_or_damaged_dataset_is_refused(copied: Path, tmp_path: Path) -> None:
    shard = max((copied / "dataset" / "frame" / "train").iterdir(), key=lambda path: path.stat().st_size)
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match="damaged"):
        make(copied, tmp_path / "x")
    (copied / "dataset" / "COMPLETE").unlink()
    with pytest.raises(DataError, match="not a finished dataset"):
        make(copied, tmp_path / "y")
    with pytest.raises(UsageError, match="no dataset"):
        make(tmp_path, tmp_path / "y")


def test_a_store_that_is_not_that_of_the_dataset_is_refused(copied: Path, tmp_path: Path) -> None:
    dataset, store = str(copied / "dataset"), copied / "features"
    with pytest.raises(UsageError, match="no features of this dataset's feature space"):
        features(dataset, str(tmp_path / "x"), str(tmp_path))
    ids = open_dataset(dataset).ids("train")
    paths = [next(store.rglob(f"{name}-*.npz")) for name in ids[:2]]
    paths[0].unlink()
    with pytest.raises(DataError, match="lacks 1 of the"):
        features(dataset, str(tmp_path / "x"), str(store), components=2)
    assert not (tmp_path / "x" / "features.json").exists()
    paths[0].write_bytes(paths[1].read_bytes())
    with pytest.raises(DataError, match="it holds video"):
        features(dataset, str(tmp_path / "y"), str(store), components=2)


def test_folders_that_are_not_of_these_features_are_refused(built: Path, made: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "notes", tmp_path / "file"):
        with pytest.raises(UsageError, match="not the folder of these features"):
            make(built, place)
    with pytest.raises(UsageError, match=r"not the folder of these features(?s:.*)of other options"):
        make(built, made, blocks="mu")
    with pytest.raises(UsageError, match="A feature set needs a folder of its own"):
        make(built, built / "dataset" / "x")
    assert (tmp_path / "notes" / "a.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("wanted", "what"),
    [
        ({"model": "m", "store": "s"}, "--from takes no --store"),
        ({"model": "m", "space": Space.PCA}, "--from takes no --space"),
        ({"model": "m", "blocks": Blocks.MU}, "--from takes no --blocks"),
        ({"model": "m", "components": 2}, "--from takes no --components"),
        ({"model": "m", "like": "l"}, "--from takes no --like"),
        ({"like": "l", "components": 2}, "--like takes no --components"),
        ({"components": 0}, "A vector needs a value"),
        ({"top": 0}, "A vector needs a value"),
        ({"model": "m", "top": 2}, "--from takes no --top"),
        ({"blocks": Blocks.MU, "top": 2}, "--blocks takes no --top"),
    ],
)
def test_choices_that_exclude_each_other_are_refused(wanted: dict[str, Any], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        Wanted(**wanted)


@pytest.mark.parametrize(("option", "value"), [("space", "rgb"), ("blocks", "sigma")])
def test_there_are_no_other_names(built: Path, tmp_path: Path, option: str, value: str) -> None:
    options: dict[str, Any] = {option: value}
    with pytest.raises(UsageError, match=f"no such {'space' if option == 'space' else 'block'}"):
        make(built, tmp_path / "x", **options)


def test_a_plan_is_small_whatever_the_dataset(built: Path, made: Path, tmp_path: Path) -> None:
    plan = plan_features(str(built / "dataset"), str(tmp_path / "x"), Wanted(like=str(made)))
    assert len(pickle.dumps(plan)) < len((built / "dataset" / "manifest.json").read_bytes()) / 4
    assert pickle.loads(pickle.dumps(plan)).told == plan.told


def test_the_command_says_what_it_wrote_and_warns(built: Path, tmp_path: Path) -> None:
    output = str(tmp_path / "x")
    finished = run("features", str(built / "dataset"), "--output", output, "--components", "auto", "--json")
    told = json.loads(finished.stdout)
    assert (told["source"], told["space"], told["blocks"]) == ("codes", "relu", "mu+sigma+top5")
    assert (told["dimensions"], told["where"]) == (1, output)
    assert "only the sign is left" in told["warnings"][0]["warning"]
    assert sum(file["videos"] for file in told["files"]) == 2 * len(open_dataset(str(built / "dataset")))
    verified = run("verify", output)
    assert (verified.returncode, "sound" in verified.stdout) == (0, True)
    assert four_parts(run("verify", output, "--deep"))[0] == "Only datasets are computed again"
    (tmp_path / "x" / "pca" / "mean.npy").unlink()
    damaged = run("verify", output, "--json")
    assert (damaged.returncode, json.loads(damaged.stdout)["faults"]) == (
        1,
        [{"where": "pca/mean.npy", "what": "missing"}],
    )
    wrong = run("features", str(built / "dataset"), "--output", output, "--components", "many")
    assert (wrong.returncode, "neither auto nor a number" in wrong.stderr) == (2, True)


def test_an_engine_that_does_nothing_has_computed_nothing(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yt8m_pipeline.jobs.engine.run", lambda *_: {})
    with pytest.raises(DataError, match="has not done the work"):
        make(built, tmp_path / "x")
    assert not (tmp_path / "x" / "COMPLETE").exists()


def test_a_long_fit_says_how_long_it_takes() -> None:
    assert time_of_fit(300) == "which takes less than a minute"
    assert time_of_fit(14336) == "which takes about 91 minutes"
