"""Measures how long a report of many videos takes, and in how much memory.

    python scripts/bench_report.py DATASET FOLDER --videos 8000000 --classes 4800

writes into FOLDER the finished dataset DATASET with another videos.parquet and vocabulary.csv: so many synthetic
videos, whose labels follow a Zipf distribution of exponent 0.8, 1.8 for a video on average, and so many classes of 24
verticals. A process of its own then runs `yt8m report` on it. The manifest keeps the numbers of DATASET.

8,000,000 videos, 4,800 classes (videos.parquet 205 MB), on two busy x86-64 cores (2026-11-28): 35 s, of which 10 s of
CPU time, in 304 MiB, of which about 200 are Python and its libraries.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from benching import cost_of, output_of, peak_mib

from yt8m_pipeline.data_model import Float64Array, Int64Array
from yt8m_pipeline.dataset.index import VIDEOS, VOCABULARY_COLUMNS
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import mark_complete
from yt8m_pipeline.dataset.steps import file_entry
from yt8m_pipeline.report.known_datasets import read_known_datasets
from yt8m_pipeline.report.statistics import measure_dataset
from yt8m_pipeline.report.writing import write_report
from yt8m_pipeline.report.zipf import zipf_shares

KINDS = (
    *(("mov,mp4,m4a,3gp,3g2,mj2", codec) for codec in ("h264", "hevc", "av1")),
    *(("matroska,webm", codec) for codec in ("vp9", "h264", "vp8")),
)
"""The containers and codecs of the videos, the most frequent first."""

ROWS = 1 << 18
"""The rows that are made at once."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--videos", type=int, default=8_000_000)
    parser.add_argument("--classes", type=int, default=4_800)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    synthetic, output = arguments.folder / "dataset", arguments.folder / "report"
    if arguments.child:
        report(str(synthetic), str(output))
        return
    write_synthetic(arguments.dataset, synthetic, arguments.videos, arguments.classes)
    command = [sys.executable, __file__, str(arguments.dataset), str(arguments.folder), "--child"]
    cost = cost_of(lambda: output_of(command))
    print(
        f"{arguments.videos:,} videos, {arguments.classes:,} classes: {cost.wall_seconds:.0f} s, "
        f"CPU {cost.cpu_seconds:.0f} s, peak memory {float(cost.answer):,.0f} MiB; "
        f"{Layout.VIDEOS} has {(synthetic / Layout.VIDEOS).stat().st_size / 1e6:,.0f} MB"
    )


def report(dataset: str, output: str) -> None:
    """Writes the report as `yt8m report` does, and prints the most memory that this process has had."""
    write_report(measure_dataset(dataset), read_known_datasets(None), dataset, output)
    print(peak_mib())


def write_synthetic(dataset: Path, folder: Path, videos: int, classes: int) -> None:
    """Writes a dataset with other tables, whose manifest lists these."""
    shutil.copytree(dataset, folder)
    train = np.zeros(classes, np.int64)
    with pq.ParquetWriter(folder / Layout.VIDEOS, VIDEOS, compression="zstd") as writer:
        for start in range(0, videos, ROWS):
            rows, counts = _rows(start, min(ROWS, videos - start), classes)
            train += counts
            writer.write_table(rows)
    lines = [",".join(VOCABULARY_COLUMNS)]
    kinds = ("coarse", "medium", "fine")
    for index in range(classes):
        vertical, kind = f"Vertical {index % 24}", kinds[index % 3]
        lines.append(f"{index},{train[index]},/m/{index:05x},Entity {index},,{vertical},,,,1.5,{kind}")
    (folder / Layout.VOCABULARY).write_text("\n".join(lines) + "\n")
    _seal(folder)


def _rows(start: int, number: int, classes: int) -> tuple[pa.Table, Int64Array]:
    """Rows of videos.parquet, and how many train videos of them each class has."""
    random = np.random.default_rng(start)
    parts = random.choice(3, number, p=(0.7, 0.2, 0.1))
    lengths = 1 + random.binomial(8, 0.1, number)
    labels = random.choice(classes, lengths.sum(), p=zipf_shares(0.8, classes))
    counts = np.bincount(labels[np.repeat(parts == 0, lengths)], minlength=classes)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    lists = pa.ListArray.from_arrays(offsets, pa.array(labels), mask=pa.array(parts == 2))
    seconds = random.uniform(120, 500, number)
    columns = {
        "video_id": pa.array([f"{start + row:011x}" for row in range(number)]),
        "partition": pa.array(["train", "validate", "test"]).take(pa.array(parts)),
        "labels": lists.cast(VIDEOS.field("labels").type),
        "frames": pa.array(np.minimum(seconds, 360).astype(np.int64)),
        "decoded_fraction": pa.array(np.where(random.random(number) < 0.01, 0.95, 1.0)),
        "duration_seconds": pa.array(seconds),
        "view_count": pa.array((1000 * random.pareto(0.5, number) + 1000).clip(0, 1e10).astype(np.int64)),
        **_films(random, seconds),
    }
    given = {field.name: columns.get(field.name, pa.nulls(number, field.type)) for field in VIDEOS}
    return pa.table(given, schema=VIDEOS), counts


def _films(random: np.random.Generator, seconds: Float64Array) -> dict[str, pa.Array]:
    """The columns of videos.parquet that tell of the files."""
    number, packets = len(seconds), (25 * np.minimum(seconds, 360)).astype(np.int64)
    heights = random.choice([240, 360, 480, 720, 1080], number)
    kinds = random.choice(6, number, p=(0.6, 0.2, 0.1, 0.05, 0.04, 0.01))
    containers, codecs = zip(*KINDS, strict=True)
    return {
        "container": pa.array(containers).take(pa.array(kinds)),
        "codec": pa.array(codecs).take(pa.array(kinds)),
        "file_bytes": pa.array((seconds * heights * 150).astype(np.int64)),
        "width": pa.array(heights * 16 // 9),
        "height": pa.array(heights),
        "frame_rate": pa.array(random.choice([24, 25, 30000 / 1001, 60], number)),
        "packets": pa.array(packets),
        "decoded_packets": pa.array((packets * random.uniform(0.3, 1, number)).astype(np.int64)),
    }


def _seal(folder: Path) -> None:
    """Lists the new tables in the manifest."""
    layout, path = Layout(str(folder)), folder / Layout.MANIFEST
    values = json.loads(path.read_text())
    new = {name: file_entry(layout, name) for name in (Layout.VIDEOS, Layout.VOCABULARY)}
    for row in values["files"]:
        if row["path"] in new:
            row |= {"bytes": new[row["path"]].bytes, "sha256": new[row["path"]].sha256}
    path.write_text(json.dumps(values))
    mark_complete(layout)


if __name__ == "__main__":
    main()
