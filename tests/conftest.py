"""A tiny corpus, a tiny network and builds of them, made once per test run."""

import fcntl
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import settings

from tests.faulty_bucket import FaultyBucket, bucket_of_this_process
from yt8m_pipeline.demo.corpus import CorpusSummary, write_corpus

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
"""As a build has it: whichever test imports TensorFlow first, the features of all have the same bits."""

os.environ.pop("COLUMNS", None)
"""Tables are as wide as their rows, whatever terminal or test runner the tests are started from."""

settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")

TESTS = Path(__file__).parent
CONFIGS = TESTS.parent / "configs"

TINY_MODEL = """
import sys, numpy as np, tensorflow as tf
random = np.random.default_rng(0)
kernel = tf.constant(random.standard_normal((5, 5, 3, 24)), tf.float32)
mixing = tf.constant(random.standard_normal((24 * 4, int(sys.argv[2]))) / 10, tf.float32)
class Tiny(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)])
    def __call__(self, images):
        maps = tf.nn.relu(tf.nn.conv2d(images, kernel, 4, "VALID"))
        pooled = tf.reshape(tf.image.resize(maps, [2, 2], "area"), [-1, 24 * 4])
        return tf.nn.relu(pooled @ mixing)
tf.saved_model.save(Tiny(), sys.argv[1])
"""
"""A real network, a small one: one convolution, and so many features from images of any size."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the files that build whole datasets first: none of them should keep one process busy at the end."""
    slow = {item.path for item in items if "workshop" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: item.path not in slow)


@dataclass(frozen=True)
class Workshop:
    """A corpus, a network, and configs for them."""

    corpus: Path
    model: Path
    summary: CorpusSummary

    @classmethod
    def of(cls, folder: Path) -> "Workshop":
        """What `make_workshop` has made in a folder."""
        with (folder / "summary.pickle").open("rb") as stream:
            return cls(folder / "corpus", folder / "model", pickle.load(stream))

    def config(self, folder: Path, *, stored: Path | None = None, **changes: object) -> Path:
        """The smoke config for this corpus and network, with the dataset and the store in a folder.

        `stored` is a finished build: the store begins as a copy of its own.
        """
        values = yaml.safe_load((CONFIGS / "smoke.yaml").read_text())
        values["tables"]["root"] = str(self.corpus)
        values |= {"store": str(folder / "features"), "output": str(folder / "dataset")}
        values["inception"] = {"model": {"saved_model": str(self.model)}, "image_size": 64}
        values |= {"pca": {"components": 16}, "parallelism": {"join_buckets": 2, "fitting_units": 2}}
        values["video_sampling"]["sample_size"] = self.summary.sample_size
        for field, value in changes.items():
            *parents, leaf = field.split("__")
            section = values
            for parent in parents:
                section = section.setdefault(parent, {})
            section[leaf] = value
        folder.mkdir(parents=True, exist_ok=True)
        if stored is not None:
            shutil.copytree(stored / "features", folder / "features", dirs_exist_ok=True)
        path = folder / "config.yaml"
        path.write_text(yaml.safe_dump(values))
        return path


@contextmanager
def shared(tmp_path_factory: pytest.TempPathFactory, name: str) -> Iterator[tuple[Path, bool]]:
    """A folder that all processes of a test run share, and whether it is still to be made; the others wait."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    folder, mark = root / name, root / f"{name}.made"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder.mkdir(exist_ok=True)
        yield folder, not mark.exists()
        mark.touch()


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """The corpus and the network, made once in a test run."""
    with shared(tmp_path_factory, "workshop") as (folder, is_new):
        if is_new:
            make_workshop(folder)
        return Workshop.of(folder)


def make_workshop(folder: Path, features: int = 40) -> None:
    """Makes the corpus and a network of so many features, and writes down what the corpus holds."""
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    model = subprocess.Popen([sys.executable, "-c", TINY_MODEL, str(folder / "model"), str(features)], env=quiet)
    summary = write_corpus(folder / "corpus", videos=24, seconds=3.0)
    assert model.wait() == 0
    (folder / "summary.pickle").write_bytes(pickle.dumps(summary))


@pytest.fixture(scope="session")
def built(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a finished build: config.yaml, features/ and dataset/. Copy it before you change it."""
    with shared(tmp_path_factory, "built") as (folder, is_new):
        if is_new:
            assert yt8m("build", str(workshop.config(folder))).returncode == 0
    files = published_bytes(folder)
    yield folder
    assert published_bytes(folder) == files, "a test changed the build that all share"


@pytest.fixture
def copied(built: Path, tmp_path: Path) -> Path:
    """A copy of the finished build to change, whose config names the copy."""
    folder = tmp_path / "copied"
    shutil.copytree(built, folder)
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace(str(built), str(folder)))
    return folder


def yt8m(*arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a process of its own."""
    command = [sys.executable, "-m", "yt8m_pipeline", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def rejects_of(dataset: Path) -> list[dict[str, Any]]:
    """The rows of every part of a dataset's rejects."""
    return [row for path in sorted(dataset.glob("rejects/*.parquet")) for row in pq.read_table(path).to_pylist()]


def published_bytes(dataset: Path, keep: Callable[[str], bool] = lambda _: True) -> dict[str, bytes]:
    """Every file of a dataset by its path in it."""
    paths = [path for path in sorted(dataset.rglob("*")) if path.is_file()]
    names = {str(path.relative_to(dataset)): path for path in paths}
    return {name: path.read_bytes() for name, path in names.items() if keep(name)}


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyBucket]:
    """A server that does not fail yet, and is where gs:// goes."""
    with bucket_of_this_process(monkeypatch) as faulty:
        yield faulty
