"""A build in a bucket whose server and network fail: the same bytes as a local build's."""

import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

import yaml

from torture.bench import ROOT, Bench, differences, require_orderly, yt8m
from torture.rounds import NotHeld, Skipped

EMULATOR = "tests.faulty_bucket"
"""The module of the tests whose context `faulty_bucket` is a storage emulator that fails as it is told."""

SHARE = 0.05
"""The chance of each fault of the emulator, for each request."""

PLACE = "gs://bucket"
NAMES_PLACES = ("rejects", "manifest.json", "COMPLETE")
"""The files of a dataset that name the places of videos, or have the digests of such files."""

COPY = """
import sys
from yt8m_pipeline import files
source, target = sys.argv[1:]
for name in files.list_files(source):
    files.write_bytes(files.join(target, name), files.read_bytes(files.join(source, name)))
"""


def buckets(bench: Bench, folder: Path, random: Random) -> str:
    """A build whose tables, videos, store and dataset are in a faulty bucket."""
    if find_spec(EMULATOR) is None:
        raise Skipped(f"this tree has no {EMULATOR}, which injects the faults")
    with import_module(EMULATOR).faulty_bucket(seed=random.randrange(10**6)) as bucket:
        prefix = ["env", *(f"{name}={value}" for name, value in bucket.variables.items())]
        _copy(bench.workshop.corpus, f"{PLACE}/corpus", prefix)
        _build(bench, folder, prefix, bucket)
        _copy(f"{PLACE}/dataset", folder / "dataset", prefix)
        faults = len(bucket.met)
    different = differences(folder / "dataset", bench.built / "dataset")
    if wrong := [name for name in different if not name.startswith(NAMES_PLACES)]:
        raise NotHeld(f"other bytes than a local build's: {', '.join(wrong)}")
    return f"{faults} faults in {len(bucket.asked)} requests"


def _build(bench: Bench, folder: Path, prefix: list[str], bucket: Any) -> None:
    bucket.share = SHARE
    ended = yt8m(("build", str(_config(bench, folder))), folder, prefix)
    bucket.share = 0.0
    require_orderly(ended)
    if ended.code:
        raise NotHeld(f"exit code {ended.code}: {ended.last}")


def _config(bench: Bench, folder: Path) -> Path:
    values = yaml.safe_load((bench.built / "config.yaml").read_text())
    values["tables"]["root"] = f"{PLACE}/corpus"
    values |= {"store": f"{PLACE}/features", "output": f"{PLACE}/dataset"}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def _copy(source: str | Path, target: str | Path, prefix: list[str]) -> None:
    subprocess.run([*prefix, sys.executable, "-c", COPY, str(source), str(target)], check=True, cwd=ROOT)
