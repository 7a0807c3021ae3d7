"""A whole build in a bucket, against a storage emulator: tables, videos, store and dataset at gs://."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import Workshop, published_bytes, yt8m

BUCKET = "gs://anonymous@bucket"


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment in which gs:// is an emulator of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = (
        "from gcp_storage_emulator.server import create_server\n"
        f"server = create_server('127.0.0.1', {port}, in_memory=True, default_bucket='bucket')\n"
        "server.run()"
    )
    with (tmp_path / "emulator.log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=log, stderr=log)
    try:
        _await_port(port, process)
        yield os.environ | {"CLOUD_STORAGE_EMULATOR_ENDPOINT": f"http://127.0.0.1:{port}"}
    finally:
        process.kill()
        process.wait()


def _await_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        assert process.poll() is None
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail("the storage emulator does not answer")


COPY = """
import sys
from yt8m_pipeline import files
source, target = sys.argv[1:]
names = files.list_files(source)
for name in names:
    files.write_bytes(files.join(target, name), files.read_bytes(files.join(source, name)))
"""


def copy(source: str, target: str, environment: dict[str, str]) -> None:
    subprocess.run([sys.executable, "-c", COPY, source, target], check=True, env=environment)


def test_a_build_in_a_bucket_equals_a_local_one(
    workshop: Workshop, built: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    copy(str(workshop.corpus), f"{BUCKET}/corpus", environment)
    values = yaml.safe_load((built / "config.yaml").read_text())
    values["tables"]["root"] = f"{BUCKET}/corpus"
    values |= {"store": f"{BUCKET}/features", "output": f"{BUCKET}/dataset"}
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(values))
    store = f"{BUCKET}/features"
    commands = (["store", "stats", store], ["store", "check", store], ["store", "gc", store, f"{BUCKET}/dataset"])
    for command in (["build", str(config)], ["verify", f"{BUCKET}/dataset"], *commands):
        finished = yt8m(*command, environment=environment)
        assert finished.returncode == 0, finished.stderr
    copy(f"{BUCKET}/dataset", str(tmp_path / "down"), environment)

    def names_no_place(name: str) -> bool:
        """The rejects, and so the manifest, name the place of a file that is missing."""
        return not name.startswith(("rejects/decode", "manifest.json", "COMPLETE"))

    assert published_bytes(tmp_path / "down", names_no_place) == published_bytes(built / "dataset", names_no_place)
