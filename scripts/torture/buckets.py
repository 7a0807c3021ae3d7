"""A build in a bucket behind a proxy that breaks one request in twenty: the same bytes, nothing left over."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from random import Random

import yaml

from torture.bench import Bench, differences, require_orderly, yt8m
from torture.rounds import NotHeld, Skipped

PROXY = "tests.faulty_bucket"
"""The module whose `faulty_bucket(folder, seed, share)` is a context: an emulator of a bucket behind such a proxy. It
gives the environment in which gs:// is that bucket, `upload(folder, uri)` and `download(uri, folder)`."""

SHARE = 0.05
BUCKET = "gs://anonymous@bucket"


def buckets(bench: Bench, folder: Path, random: Random) -> str:
    """A build whose tables, videos, store and dataset are in a faulty bucket."""
    if find_spec(PROXY) is None:
        raise Skipped(f"this tree has no {PROXY}, which injects the faults")
    with import_module(PROXY).faulty_bucket(folder, random.randrange(10**6), SHARE) as bucket:
        bucket.upload(bench.workshop.corpus, f"{BUCKET}/corpus")
        ended = yt8m(("build", str(_config(bench, folder))), folder, bucket.prefix)
        require_orderly(ended)
        if ended.code:
            raise NotHeld(f"exit code {ended.code}: {ended.last}")
        bucket.download(f"{BUCKET}/dataset", folder / "down")
    names_places = {"rejects.parquet", "manifest.json", "COMPLETE"}
    if different := set(differences(folder / "down", bench.built / "dataset")) - names_places:
        raise NotHeld(f"other bytes than a local build's: {', '.join(sorted(different))}")
    return f"{SHARE:.0%} of the requests broken"


def _config(bench: Bench, folder: Path) -> Path:
    values = yaml.safe_load((bench.built / "config.yaml").read_text())
    values["tables"]["root"] = f"{BUCKET}/corpus"
    values |= {"store": f"{BUCKET}/features", "output": f"{BUCKET}/dataset"}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    return path
