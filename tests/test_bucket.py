"""A whole build in a bucket, against a storage emulator: tables, videos, store and dataset at gs://."""

import re
from collections import Counter
from pathlib import Path

import yaml

from tests.command_line import run
from tests.conftest import Workshop, published_bytes
from tests.faulty_bucket import BUCKET, FAULTS, FaultyBucket
from yt8m_pipeline import files

ROOT = f"gs://{BUCKET}"

FEATURES = re.compile(r"features/\w+/\w\w/[^/]+\.npz")


def copy(source: str, target: str) -> None:
    for name in files.list_files(source):
        files.write_bytes(files.join(target, name), files.read_bytes(files.join(source, name)))


def config_in_bucket(workshop: Workshop, built: Path, folder: Path) -> Path:
    """The config of the finished build with every place in the bucket, where the corpus is."""
    copy(str(workshop.corpus), f"{ROOT}/corpus")
    values = yaml.safe_load((built / "config.yaml").read_text())
    values["tables"]["root"] = f"{ROOT}/corpus"
    values |= {"store": f"{ROOT}/features", "output": f"{ROOT}/dataset"}
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(values))
    return config


def names_no_place(name: str) -> bool:
    """The rejects, and so the manifest, name the place of a file that is missing."""
    return not name.startswith(("rejects/decode", "manifest.json", "COMPLETE"))


def same(built: Path, folder: Path) -> bool:
    """Whether the dataset in the bucket is that of the finished build."""
    copy(f"{ROOT}/dataset", str(folder))
    return published_bytes(folder, names_no_place) == published_bytes(built / "dataset", names_no_place)


def test_a_build_in_a_bucket_equals_a_local_one(
    workshop: Workshop, built: Path, bucket: FaultyBucket, tmp_path: Path
) -> None:
    config = config_in_bucket(workshop, built, tmp_path)
    bucket.asked.clear()
    store = f"{ROOT}/features"
    commands = (["store", "stats", store], ["store", "check", store], ["store", "gc", store, f"{ROOT}/dataset"])
    for command in (["build", str(config)], ["verify", f"{ROOT}/dataset"], *commands):
        finished = run(*command)
        assert finished.returncode == 0, finished.stderr
        if command[0] == "build":
            require_few_requests(bucket)
    assert same(built, tmp_path / "down")


def require_few_requests(bucket: FaultyBucket) -> None:
    """A stored video is looked for and at, read, and put once, and its thumbnails are put once.

    Its features are read once to be written, and twice more in the train partition, to fit the PCA and the codebook.
    """
    stored = {name.rpartition("/")[2][:11] for name in bucket.names() if FEATURES.match(name)}
    life = [(kind, name) for kind, name in bucket.asked if name.rpartition("/")[2][:11] in stored]
    counts = Counter((kind, "pictures" if "/thumbnails/" in name else name.partition("/")[0]) for kind, name in life)
    reads = counts.pop(("get", "features"))
    once = [("look", "corpus"), ("get", "corpus"), ("look", "features"), ("put", "features")]
    once.append(("put", "pictures"))
    assert counts == dict.fromkeys(once, len(stored))
    assert reads <= 3 * len(stored)
    assert len(life) < 8 * len(stored)


def test_a_build_in_a_faulty_bucket_equals_a_local_one(
    workshop: Workshop, built: Path, bucket: FaultyBucket, tmp_path: Path
) -> None:
    config = config_in_bucket(workshop, built, tmp_path)
    bucket.asked.clear()
    bucket.share = 0.03  # of each fault: about every fourth request meets one
    finished = run("build", str(config))
    assert finished.returncode == 0, finished.stderr
    bucket.share = 0.0
    assert {fault for _, fault in bucket.met} == set(FAULTS)
    lost = {kind for kind, fault in bucket.met if fault == "reset after"}
    assert lost == {"delete", "get", "list", "look", "put"}
    assert same(built, tmp_path / "down")
    local = {str(path.relative_to(built)) for path in built.rglob("*") if path.is_file()}
    left = {name for name in bucket.names() if not name.startswith("corpus/")}
    assert left == local - {"config.yaml"}
