"""Writes a synthetic dataset, makes its explorer, and opens it in headless Chromium; prints sizes, times and memory.

    python scripts/bench_explorer.py FOLDER --videos 1000000 --entities 4800

The dataset is written by the project's own writers: features of eight dimensions, one frame a video, and labels that
are drawn as often as a Zipf law says. What is there already of FOLDER is used again.
"""

import argparse
import csv
import io
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from benching import peak_mib
from playwright.sync_api import sync_playwright
from synthetic_dataset import describe

from yt8m_pipeline.accounting.counts import StageCount
from yt8m_pipeline.accounting.outcome import REJECTS
from yt8m_pipeline.accounting.reasons import Stage
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.data_model import Float32Array, Int64Array, Partition
from yt8m_pipeline.dataset.index import VIDEOS, VOCABULARY_COLUMNS, write_reader, write_videos, write_vocabulary
from yt8m_pipeline.dataset.layout import Layout, Shard
from yt8m_pipeline.dataset.manifest import PartitionSummary
from yt8m_pipeline.dataset.rejects import write_rejects
from yt8m_pipeline.dataset.shards import Member, write_shard
from yt8m_pipeline.explorer.exploring import explore

DIMENSIONS, LABELS, BLOCK = 8, 3, 4096
SHARE = {Partition.TRAIN: 0.7, Partition.VALIDATE: 0.2, Partition.TEST: 0.1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--videos", type=int, default=1_000_000)
    parser.add_argument("--entities", type=int, default=4_800)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    dataset, site = options.folder / "dataset", options.folder / "site"
    if options.child:
        print(json.dumps(measure(str(dataset), str(site))))
        return
    begin = time.monotonic()
    if not (dataset / Layout.COMPLETE).exists():
        write(dataset, options.videos, options.entities)
    print(f"dataset of {options.videos:,} videos: {time.monotonic() - begin:.0f} s", flush=True)
    command = [sys.executable, __file__, str(options.folder), "--child"]
    print(subprocess.run(command, check=True, capture_output=True, text=True).stdout, flush=True)
    for place in ("", "?q=thing%20477", "entity/%2Fm%2F0", "videos/train", "map", "rejected?id=gone-7"):
        print(json.dumps(opened(site, place)), flush=True)


def measure(dataset: str, site: str) -> dict[str, Any]:
    begin = time.monotonic()
    stages: dict[str, float] = {}

    def heard(stage: str, _done: int, _total: int | None) -> None:
        stages[stage] = round(time.monotonic() - begin, 1)

    found = explore(dataset, site, on_step=heard)
    return {
        **asdict(found),
        "seconds": round(time.monotonic() - begin, 1),
        "peak_mib": round(peak_mib()),
        "stage_ends": stages,
    }


def opened(site: Path, place: str) -> dict[str, Any]:
    """How long a page takes to be there in a fresh browser, and what it loads."""
    loaded: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda request: loaded.append(request.url))
        page.goto("about:blank")
        begin = time.monotonic()
        page.goto(f"file://{site.resolve()}/index.html#/{place}")
        page.wait_for_selector("main[aria-busy=false]")
        seconds = time.monotonic() - begin
        title = page.title()
        browser.close()
    names = [url.partition("/site/")[2].partition("#")[0] for url in loaded if "/site/" in url]
    size = sum((site / name).stat().st_size for name in names)
    return {"page": place, "title": title, "seconds": round(seconds, 2), "files": len(names), "kilobytes": size // 1000}


def write(folder: Path, videos: int, entities: int) -> None:
    random = np.random.default_rng(0)
    layout, quantizer = Layout(str(folder)), Quantizer.uniform()
    quantizer.save(layout.path(Layout.QUANTIZER))
    weights = 1 / np.arange(1, entities + 1)
    labels = np.searchsorted(np.cumsum(weights / weights.sum())[:-1], random.random((videos, LABELS))).astype(np.int64)
    partitions = random.choice(len(SHARE), videos, p=list(SHARE.values()))
    steps, rows = [], []
    for number, partition in enumerate(SHARE):
        members = np.flatnonzero(partitions == number)
        of = max(1, len(members) // 50_000)
        for index in range(of):
            shard = Shard(partition, index, of)
            steps.append(write_shard(layout, shard, "key", contents(members[index::of], labels, random), quantizer))
            rows.append(table(shard, members[index::of], labels))
    gone = videos // 10
    rejects = pa.table(
        {
            "stage": ["decode"] * gone,
            "table": ["videos"] * gone,
            "id": [f"gone-{number}" for number in range(gone)],
            "reason": ["truncated"] * gone,
            "detail": [f"the file ends at byte {number}" for number in range(gone)],
            **{name: pa.nulls(gone, REJECTS.field(name).type) for name in ("file", "row", "decoded_fraction")},
        },
        schema=REJECTS,
    )
    tables = [
        write_vocabulary(layout, vocabulary(entities), frozen=False),
        *write_videos(layout, rows, DIMENSIONS, "rgb"),
        write_reader(layout),
        *write_rejects(layout, [rejects]),
    ]
    describe(
        layout,
        quantizer,
        DIMENSIONS,
        partitions={
            part: PartitionSummary(videos=int((partitions == number).sum())) for number, part in enumerate(SHARE)
        },
        shards=steps,
        tables=tables,
        accounting=[StageCount(Stage.DECODE, "videos", videos, (("truncated", gone),))],
    )


def name_of(number: int) -> str:
    return f"video{number:08d}"


def contents(
    members: Int64Array, labels: Int64Array, random: np.random.Generator
) -> Iterator[tuple[Member, Float32Array]]:
    """The videos of a shard: around the middle of their first label lie their features."""
    for start in range(0, len(members), BLOCK):
        block = members[start : start + BLOCK]
        middles = np.sin(np.outer(labels[block, 0] + 1, np.arange(1, DIMENSIONS + 1)))
        features = (middles + 0.1 * random.standard_normal(middles.shape)).astype(np.float32)
        for number, feature in zip(block.tolist(), features, strict=True):
            yield Member(name_of(number), "sha256", tuple(np.unique(labels[number]).tolist())), feature[None]


def table(shard: Shard, members: Int64Array, labels: Int64Array) -> pa.Table:
    """The rows of videos.parquet of a shard."""
    count = len(members)
    ordered: npt.NDArray[np.int64] = np.sort(labels[members], axis=1)
    lists = [sorted(set(row)) for row in ordered.tolist()]
    known = {
        "video_id": [name_of(number) for number in members.tolist()],
        "partition": [shard.partition.value] * count,
        "labels": lists,
        "frames": np.ones(count, np.int64),
        "shard": [shard.name] * count,
        "decoded_fraction": np.ones(count),
        "deviation_seconds": np.zeros(count),
        "uri": [f"https://example.org/{number}.mp4" for number in members.tolist()],
        "duration_seconds": 30 + members % 470.0,
    }
    return pa.table({field.name: known.get(field.name, pa.nulls(count, field.type)) for field in VIDEOS}, schema=VIDEOS)


def vocabulary(entities: int) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, VOCABULARY_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for index in range(entities):
        row: dict[str, Any] = {"Index": index, "TrainVideoCount": 0, "KnowledgeGraphId": f"/m/{index}"}
        row |= {"Name": f"Thing {index}", "WikiDescription": f"Thing {index} is " + "a thing of its own kind, " * 15}
        row |= {"Vertical1": f"Vertical {index % 24}", "MeanRaterScore": 1 + index % 6 / 4, "Specificity": "coarse"}
        writer.writerow(row)
    return text.getvalue().encode()


if __name__ == "__main__":
    main()
