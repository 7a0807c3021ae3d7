"""Checks a dataset: compares everything on disk with the manifest, and the files with each other.

Checked are the files' digests, the records and their ids, labels and numbers of frames, the vocabulary's counts, the
sums of the partitions, the places of the records, that the labels are withheld that the manifest says, and that no row
vanished on the way.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from yt8m_pipeline import files
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.index import read_parquet
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import Manifest, ShardRow
from yt8m_pipeline.dataset.records import FrameRecord, parse_frame_record, parse_video_record
from yt8m_pipeline.dataset.rejects import (
    RejectKey,
    RejectsSummary,
    count_misplaced,
    count_rejects,
    read_rejects,
)
from yt8m_pipeline.dataset.steps import file_entry
from yt8m_pipeline.dataset.tfrecord import FRAMING_BYTES, read_records
from yt8m_pipeline.dataset.vocabulary import vocabulary_rows
from yt8m_pipeline.errors import DataError

REQUIRED = {Layout.VIDEOS, Layout.QUANTIZER, Layout.VOCABULARY}
"""The files that the contents of all others are compared with, beside the rejects."""

SUMMARY = Layout.REJECTS_SUMMARY
BYTE_CODE = f"__pycache__/{Layout.READER.removesuffix('.py')}."
"""How the names begin of the files that Python leaves where a program has imported the dataset's own reader."""


@dataclass(frozen=True, order=True, slots=True)
class Fault:
    """Something that is wrong with a dataset: the file that it is found in, and what it is."""

    where: str
    what: str


def verify(dataset: str) -> list[Fault]:
    """Reads every byte of a dataset and compares it with the manifest and with itself.

    Returns:
        The faults found, sorted; [] for a sound dataset.

    Raises:
        UsageError: if there is no manifest to compare with.
        DataError: if the manifest cannot be read.
    """
    layout = Layout(dataset)
    manifest = Manifest.of(layout)
    faults = [*_check_completion(layout), *_check_files(layout, manifest)]
    damaged = {fault.where for fault in faults}
    if not damaged & {*REQUIRED, *_rejects_files(manifest)}:
        faults += _check_contents(layout, manifest, damaged)
    return sorted(faults)


def _rejects_files(manifest: Manifest) -> set[str]:
    """The files of the rejects: the parts and their summary, or the one table of format 3."""
    return {*manifest.rejects} if Layout.REJECTS_TABLE in manifest.rejects else {*manifest.rejects, SUMMARY}


def _check_completion(layout: Layout) -> Iterator[Fault]:
    path = layout.path(Layout.COMPLETE)
    if not files.exists(path):
        yield Fault(Layout.COMPLETE, "missing: the build has not ended")
        return
    digest = files.sha256(layout.path(Layout.MANIFEST))
    if not files.read_bytes(path).startswith(digest.encode()):
        yield Fault(Layout.MANIFEST, "is not the manifest that the build completed with")


def _check_files(layout: Layout, manifest: Manifest) -> Iterator[Fault]:
    known = {entry.path: entry for entry in manifest.files}
    required = REQUIRED | _rejects_files(manifest)
    yield from (Fault(path, "the manifest does not list it") for path in sorted(required - known.keys()))
    unlisted = (BYTE_CODE, f"{Layout.FEATURES}/")
    listed = {name for name in files.list_files(layout.root) if not name.startswith(unlisted)}
    present = listed - {Layout.MANIFEST, Layout.COMPLETE, Layout.LOCK}
    yield from (Fault(path, "missing") for path in known.keys() - present)
    yield from (Fault(path, "not in the manifest") for path in present - known.keys())
    for path in sorted(known.keys() & present):
        found = file_entry(layout, path)
        if found != known[path]:
            yield Fault(path, f"{found.bytes} bytes, sha256 {found.sha256[:12]}…; the manifest says otherwise")


def _check_contents(layout: Layout, manifest: Manifest, damaged: set[str]) -> Iterator[Fault]:
    videos = read_parquet(layout, Layout.VIDEOS)
    quantizer = Quantizer.load(layout.path(Layout.QUANTIZER))
    if quantizer.fingerprint != manifest.quantizer.facts.fingerprint:
        yield Fault(Layout.QUANTIZER, "is not the codebook that the shards were encoded with")
    expected = {row["video_id"]: row for row in videos.to_pylist()}
    yield from _check_vocabulary(layout, videos)
    yield from _check_partitions(manifest, videos)
    yield from _check_accounting(layout, manifest, videos)
    for level in ("frame", "video"):
        rows = [row for row in manifest.shards if row.level == level]
        sound = [row for row in rows if row.path not in damaged]
        yield from _check_shards(layout, sound, expected, quantizer.feature_name)
        if len(sound) == len(rows) and sum(row.records for row in rows) != len(expected):
            yield Fault(Layout.VIDEOS, f"{len(expected)} videos, but the {level}-level shards have another number")


def _check_shards(
    layout: Layout, rows: Iterable[ShardRow], expected: dict[str, dict[str, Any]], feature_name: str
) -> Iterator[Fault]:
    seen: Counter[str] = Counter()
    for row in rows:
        path, count, offset = row.path, 0, 0
        faults: list[str] = []
        moved: list[str] = []
        try:
            with files.open_read(layout.path(path)) as stream:
                for data in read_records(stream, path):
                    count += 1
                    video_id, problem = _check_record(data, row, expected, feature_name)
                    seen[video_id] += 1
                    faults += [f"video {video_id}: {problem}"] if problem else []
                    size = len(data) + FRAMING_BYTES
                    moved += _check_place(expected.get(video_id, {}), row.level, offset, size)
                    offset += size
        except DataError as error:
            faults.append(f"{error.what}: {error.why}")
        if count != row.records:
            faults.append(f"{count} records, the manifest says {row.records}")
        yield from (Fault(path, what) for what in faults or moved[:1])
    yield from (Fault(Layout.VIDEOS, f"video {name} has {count} records") for name, count in seen.items() if count > 1)


def _check_record(
    data: bytes, row: ShardRow, expected: dict[str, dict[str, Any]], feature_name: str
) -> tuple[str, str | None]:
    """The video id of a record, and what is wrong with the record, or None."""
    record = (parse_frame_record if row.level == "frame" else parse_video_record)(data, row.path)
    known = expected.get(record.video_id)
    if known is None:
        return record.video_id, "not in videos.parquet"
    if known["partition"] != row.partition or f"/{known['shard']}." not in row.path:
        return record.video_id, f"belongs in {known['shard']}"
    if list(record.labels) != (known["labels"] or []):
        return record.video_id, "its labels are not those of videos.parquet"
    if isinstance(record, FrameRecord) and (len(record.codes), record.feature_name) != (known["frames"], feature_name):
        return record.video_id, f"{len(record.codes)} frames of {record.feature_name}, not {known['frames']}"
    return record.video_id, None


def _check_place(known: dict[str, Any], level: str, offset: int, size: int) -> list[str]:
    """What is wrong with the place of a record in videos.parquet, which in older datasets tells none."""
    stated = known.get(f"{level}_offset"), known.get(f"{level}_bytes")
    if stated in ((offset, size), (None, None)):
        return []
    name = known["video_id"]
    return [f"video {name}: its record has {size} bytes from {offset} on, {Layout.VIDEOS} says otherwise"]


def _check_vocabulary(layout: Layout, videos: pa.Table) -> Iterator[Fault]:
    rows = list(vocabulary_rows(files.read_bytes(layout.path(Layout.VOCABULARY))))
    train = videos.filter(pc.equal(videos["partition"], Partition.TRAIN.value))
    counts = Counter(pc.list_flatten(train["labels"]).to_pylist())
    for index, row in enumerate(rows):
        if int(row["Index"]) != index or int(row["TrainVideoCount"]) != counts[index]:
            yield Fault(Layout.VOCABULARY, f"row {index}: {row['TrainVideoCount']} train videos, found {counts[index]}")
    for index in counts.keys() - set(range(len(rows))):
        yield Fault(Layout.VIDEOS, f"label {index} is not in {Layout.VOCABULARY}")


def _check_partitions(manifest: Manifest, videos: pa.Table) -> Iterator[Fault]:
    for partition in Partition:
        rows = videos.filter(pc.equal(videos["partition"], partition.value))
        summary = manifest.partition(partition)
        frames = pc.sum(rows["frames"]).as_py() or 0
        salvaged = pc.sum(pc.less(rows["decoded_fraction"], 1)).as_py() or 0
        if (rows.num_rows, frames, salvaged) != (summary.videos, summary.frames, summary.salvaged):
            what = f"{rows.num_rows} videos, {frames} frames, {salvaged} videos salvaged"
            yield Fault(Layout.VIDEOS, f"{partition.value}: {what}; the manifest says otherwise")
        if partition not in manifest.published and rows["labels"].null_count != rows.num_rows:
            yield Fault(Layout.VIDEOS, f"labels of the {partition.value} partition are published")


def _check_accounting(layout: Layout, manifest: Manifest, videos: pa.Table) -> Iterator[Fault]:
    """Checks that no row vanished.

    At every stage rows in = rows kept + rows rejected, each stage gets the rows that the one before it kept, there
    are as many rejects as were rejected, each in its part, and the last stage kept the videos of the dataset.
    """
    found, misplaced = _count_rejects(layout, manifest.rejects)
    yield from (Fault(path, f"{rows} rows belong in other parts") for path, rows in misplaced.items())
    if SUMMARY in {file.path for file in manifest.tables} and RejectsSummary.of(layout).totals != found:
        yield Fault(SUMMARY, "its counts are not those of the parts")
    counted: dict[tuple[str, str, str], int] = {}
    left: dict[str, int] = {}
    for row in manifest.accounting:
        stage, table = row.stage, row.table
        counted |= {(stage, table, reason): number for reason, number in row.rejected.items()}
        if row.rows_in != row.kept + sum(row.rejected.values()):
            yield Fault(Layout.MANIFEST, f"{stage}: {table} rows in are not rows kept + rejected")
        if left.get(table, row.rows_in) != row.rows_in:
            yield Fault(Layout.MANIFEST, f"{stage}: got {row.rows_in} {table}, {left[table]} were left")
        left[table] = row.kept
    place = Layout.REJECTS_TABLE if Layout.REJECTS_TABLE in manifest.rejects else Layout.REJECTS
    for key in sorted(counted.keys() | found.keys()):
        if counted.get(key, 0) != found[key]:
            yield Fault(place, f"{'/'.join(key)}: {found[key]} rows, the manifest says {counted.get(key, 0)}")
    if left.get("videos", 0) != videos.num_rows:
        yield Fault(Layout.VIDEOS, f"{videos.num_rows} rows, but {left.get('videos', 0)} videos were kept")


def _count_rejects(layout: Layout, paths: Iterable[str]) -> tuple[Counter[RejectKey], Counter[str]]:
    """How many rejects there are by stage, table and reason, and how many of each file belong in another part."""
    found: Counter[RejectKey] = Counter()
    misplaced: Counter[str] = Counter()
    for path in paths:
        for table in read_rejects(layout, [path]):
            found += count_rejects(table)
            misplaced[path] += count_misplaced(path, table)
    return found, +misplaced
