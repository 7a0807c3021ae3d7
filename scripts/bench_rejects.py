"""Rejects many videos or rows by the pipeline's own transforms, and prints seconds per million and peak memory.

    python scripts/bench_rejects.py FOLDER --kinds missing failed rows --counts 30000 1000000

missing: videos whose files are not there, decoded, rejected and remembered in a feature store (stage 4). failed: the
same without decoding and without the store, which leaves what a reject itself costs. rows: rows of the videos table
that are too short (stage 3). Each runs in a process of its own on the local engine, and writes rejects/ into FOLDER.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import PCollection
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from benching import peak_mib

from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.config import Decoding, Inception, RandomModel, VideoSampling
from yt8m_pipeline.data_model import Partition, Video
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.store.feature_store import FeatureStore
from yt8m_pipeline.tables.reading import schema
from yt8m_pipeline.transforms.dataset import SumUpRejects
from yt8m_pipeline.transforms.extraction import ExtractFeatures
from yt8m_pipeline.transforms.ledger import Ledger, Outputs, outputs_of
from yt8m_pipeline.transforms.lookup import rejected
from yt8m_pipeline.transforms.rejects import WriteRejects
from yt8m_pipeline.transforms.selection import FilterEligible
from yt8m_pipeline.transforms.steps import NotingDoFn

BATCH = 10_000
"""How many videos or rows are made at once."""


class Fail(NotingDoFn):
    """Rejects every video as stage 4 does."""

    def process(self, video: Video) -> Iterator[Any]:
        yield from rejected(video, VideoRejected(DropReason.MISSING_FILE, f"there is no file {video.uri}"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kinds", nargs="+", choices=["missing", "failed", "rows"], default=["failed", "rows"])
    parser.add_argument("--counts", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.folder, options.kinds[0], options.counts[0])))
        return
    for kind in options.kinds:
        for count in options.counts:
            command = [
                sys.executable,
                __file__,
                str(options.folder),
                "--child",
                "--kinds",
                kind,
                "--counts",
                str(count),
            ]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            print(
                f"{count:>9,} {kind:<8} {found['cpu_seconds'] * 1e6 / count:5.0f} CPU s a million, "
                f"{found['seconds'] * 1e6 / count:5.0f} s by the clock; "
                f"peak {found['peak_mb']:5.0f} MB, of which {found['idle_mb']:.0f} before; "
                f"{found['parts']} parts, {found['bytes'] / count:.1f} bytes a reject",
                flush=True,
            )


def measure(folder: Path, kind: str, count: int) -> dict[str, float]:
    layout = Layout(str(folder / "dataset"))
    shutil.rmtree(folder, ignore_errors=True)
    idle, start = peak_mib(), time.monotonic()
    with beam.Pipeline(runner=FnApiRunner()) as root:
        ledger = Ledger()
        ledger.keep(_outputs(root | beam.Create(list(range(0, count, BATCH))), kind, count, folder))
        parts = ledger.take_rejects("bench") | WriteRejects(layout)
        _ = parts | SumUpRejects(layout, root | "always" >> beam.Create([True]))
        _ = ledger.counts()
    files = list((folder / "dataset" / "rejects").glob("*.parquet"))
    size = sum(path.stat().st_size for path in files)
    spent = {"seconds": time.monotonic() - start, "cpu_seconds": time.process_time()}
    return {**spent, "peak_mb": peak_mib(), "idle_mb": idle, "parts": len(files), "bytes": size}


def _outputs(starts: PCollection[int], kind: str, count: int, folder: Path) -> Outputs[Any]:
    if kind == "rows":
        return cast(Outputs[Any], starts | beam.Map(_rows, count) | FilterEligible(VideoSampling()))
    videos = starts | beam.FlatMap(_videos, count).with_output_types(Video)
    if kind == "failed":
        return outputs_of(videos, Fail(), kept=Video)
    store = FeatureStore(str(folder / "features"), "0" * 16)
    return cast(Outputs[Any], videos | ExtractFeatures(store, Decoding(), Inception(model=RandomModel(random=0))))


def _videos(start: int, count: int) -> Iterator[Video]:
    for number in range(start, min(start + BATCH, count)):
        yield Video(_name(number), f"/videos/of/nobody/{_name(number)}.mp4", Partition.TRAIN, ("/m/04rlf",))


def _rows(start: int, count: int) -> pa.Table:
    numbers = range(start, min(start + BATCH, count))
    values = {"duration_seconds": 1.0, "view_count": 10**6, "_file": "videos.parquet"}
    rows = [{"video_id": _name(n), "uri": f"{_name(n)}.mp4", "_row": n + 1, **values} for n in numbers]
    return pa.Table.from_pylist(rows, schema=schema("videos"))


def _name(number: int) -> str:
    """An id of eleven characters, in no order."""
    return f"{number * 2654435761 % (1 << 32):08x}xyz"


if __name__ == "__main__":
    main()
