"""Whether places can be used, told in seconds."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.command_line import four_parts
from tests.conftest import Workshop, yt8m
from tests.faulty_bucket import BUCKET, FaultyBucket
from yt8m_pipeline import buckets
from yt8m_pipeline.config import Config, load
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.jobs.access import check_access


def config_of(workshop: Workshop, folder: Path, store: str) -> Path:
    config = workshop.config(folder)
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | {"store": store}))
    return config


@pytest.fixture
def config(workshop: Workshop, tmp_path: Path) -> Config:
    return load(config_of(workshop, tmp_path, f"gs://{BUCKET}/features"))


def test_each_place_has_a_line_and_nothing_is_left(bucket: FaultyBucket, config: Config, tmp_path: Path) -> None:
    tables, store, output = check_access(config)
    user = os.geteuid()
    assert tables == f"tables.root: {config.tables.root} can be read, as user {user}"
    assert store == f"store: gs://{BUCKET}/features can be read and written, as anonymous"
    assert output == f"output: {tmp_path}/dataset can be read and written, as user {user}"
    assert bucket.names() == set()
    assert not (tmp_path / "dataset").exists()


@pytest.mark.parametrize("fault", ["403", "503"])
def test_a_place_that_cannot_be_used_is_named(
    bucket: FaultyBucket, config: Config, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yt8m_pipeline.jobs.access.SECONDS", 1.0)
    bucket.always = fault
    with pytest.raises(DataError) as refused:
        check_access(config)
    assert refused.value.what == "1 of the 3 places of the config cannot be used"
    assert refused.value.where == "store"
    assert f"store: gs://{BUCKET}/features cannot be used: " in refused.value.why
    assert {"403": "as anonymous: 403", "503": "no answer within 1 s"}[fault] in refused.value.why


def test_a_server_that_accepts_and_never_answers_is_told_within_ten_seconds(workshop: Workshop, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"http://127.0.0.1:{silent.getsockname()[1]}"
        environment = os.environ | {"STORAGE_EMULATOR_HOST": where, "NO_PROXY": "127.0.0.1"}
        config = config_of(workshop, tmp_path, f"gs://{BUCKET}/features")
        before = time.monotonic()
        refused = yt8m("config", "check", str(config), environment=environment)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert time.monotonic() - before < 60  # of which 9 s wait, and the rest is the start of Python
    what, _, why, _ = four_parts(refused)
    assert what == "1 of the 3 places of the config cannot be used"
    assert "no answer within " in why


ASK_TWICE = """
import time
from yt8m_pipeline import buckets
for limit in (7, 0.1):
    before = time.monotonic()
    try:
        buckets.stat("gs://bucket/x")
    except buckets.BucketError as error:
        assert error.what == "There are no credentials for Google Cloud Storage", error.what
        assert time.monotonic() - before < limit, time.monotonic() - before
    else:
        raise AssertionError("there are credentials")
"""


@pytest.mark.parametrize("answers", [False, True])
def test_without_credentials_the_answer_comes_soon_and_once(tmp_path: Path, answers: bool) -> None:
    """Google's libraries ask a metadata server, which may be absent, or accept and never answer."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1] if answers else 9}"
        unset = ("STORAGE_EMULATOR_HOST", buckets.ANONYMOUS, "GOOGLE_APPLICATION_CREDENTIALS")
        inherited = {name: value for name, value in os.environ.items() if name not in unset}
        metadata = {"GCE_METADATA_HOST": host, "GCE_METADATA_IP": host, "NO_PROXY": "127.0.0.1"}
        environment = {**inherited, "CLOUDSDK_CONFIG": str(tmp_path), **metadata}
        subprocess.run([sys.executable, "-c", ASK_TWICE], check=True, env=environment)


def test_a_command_that_a_bucket_refuses_ends_with_four_parts(bucket: FaultyBucket) -> None:
    bucket.always = "403"
    refused = yt8m("store", "stats", f"gs://{BUCKET}/features", environment=bucket.environment)
    what, where, why, fix = four_parts(refused)
    assert (refused.returncode, what) == (1, "A bucket refuses a request")
    assert where == f"gs://{BUCKET}/features"
    assert why.startswith("as anonymous: 403")
    assert "let this identity read and write there" in fix
