"""Converts MediaPipe's protos, one per video, into a dataset, and a dataset into such protos.

One video at a time is in memory.
"""

import csv
import hashlib
import io
import os
import socket
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any, TypeAlias
from uuid import uuid4

import numpy as np
import pyarrow as pa

from yt8m_pipeline import __version__, files
from yt8m_pipeline.accounting.counts import StageCount
from yt8m_pipeline.accounting.outcome import REJECTS
from yt8m_pipeline.accounting.reasons import Stage
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.config import Shards
from yt8m_pipeline.data_model import Int64Array, Partition
from yt8m_pipeline.dataset.description import describe_dataset
from yt8m_pipeline.dataset.index import VIDEOS, VOCABULARY_COLUMNS, write_videos
from yt8m_pipeline.dataset.layout import Layout, Shard
from yt8m_pipeline.dataset.manifest import (
    PUBLISHED,
    Manifest,
    PartitionSummary,
    fitted_row,
    label_policy,
    mark_complete,
    shard_parts,
)
from yt8m_pipeline.dataset.reader import FrameExample, open_dataset, read_frames
from yt8m_pipeline.dataset.rejects import write_rejects
from yt8m_pipeline.dataset.shards import shard_key, shard_of, write_shard
from yt8m_pipeline.dataset.steps import (
    PCA,
    QUANTIZER,
    CodebookFacts,
    CodebookStep,
    FileEntry,
    PcaFacts,
    PcaStep,
    Step,
    file_entry,
    step_key,
)
from yt8m_pipeline.dataset.vocabulary import vocabulary_rows
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.interop.intake import Intake, Progress, Proto, read_coefficients, take_in
from yt8m_pipeline.interop.media_sequence import MICROSECONDS, MediaSequence, media_sequence
from yt8m_pipeline.interop.media_sequence_files import find_files, proto_name

MEDIA_SEQUENCE = "mediasequence"
"""What a manifest calls the source of a dataset that was converted from MediaPipe's protos."""
Groups: TypeAlias = Mapping[Shard, Sequence[Proto]]
"""The protos of the videos of each shard, sorted by id."""


def convert_to_records(
    inputs: Sequence[str],
    output: str,
    quantizer: Quantizer,
    partition: Partition | None,
    shards: int,
    progress: Progress,
) -> None:
    """Writes a finished dataset from MediaPipe's protos.

    Args:
        inputs: Files and folders, local or gs://. A file is one proto, or a TFRecord file of them.
        output: The folder of the dataset; it must be empty or not exist.
        quantizer: The codebook; `uniform` is what these coefficients are meant for.
        partition: The partition of all videos. None: each is of the partition that its proto's folder is called after,
            as `convert_to_media_sequences` calls it; if no folder is, all are of train. Labels of test are withheld.
        shards: How many shards each partition has that has videos.
        progress: Called after each video, for the stages "read" and "write".

    Raises:
        UsageError: an input does not exist, only some of the protos lie in the folder of a partition, or the output
            folder is not empty.
        DataError: no proto can be converted, one changes meanwhile, or the output cannot be written.
    """
    uris = find_files(inputs)
    partitions = dict.fromkeys(uris, partition) if partition else _partitions_by_folder(uris)
    with _new_folder(output) as folder:
        intake = take_in(uris, quantizer, progress)
        groups = _into_shards(intake.protos, partitions, shards)
        _write_dataset(Layout(folder), intake, groups, quantizer, progress)


def _partitions_by_folder(uris: Sequence[str]) -> dict[str, Partition]:
    """The partition that the folder of each file is called after; train, if no folder is called after one."""
    folders = {uri: PurePosixPath(uri).parent.name for uri in uris}
    names, known = set(folders.values()), set(Partition)
    if not names & known:
        return dict.fromkeys(uris, Partition.TRAIN)
    if not names <= known:
        raise UsageError(
            what="Only some of the protos are of a partition",
            where="yt8m convert",
            why=f"they lie in folders called {', '.join(sorted(names))}",
            fix="call each folder after its partition, or say with --partition what all of them become",
        )
    return {uri: Partition(name) for uri, name in folders.items()}


def convert_to_media_sequences(
    dataset: str, output: str, partition: Partition | None, progress: Progress
) -> dict[Partition, int]:
    """Writes one proto per video of a finished dataset, OUTPUT/{partition}/{id}.pb.

    The floats are the de-quantized codes, the timestamps those of the grid, k / frames per second, and the label
    strings the names of vocabulary.csv; labels of the test partition are withheld, as in the dataset.

    Args:
        dataset: The folder, local or gs://.
        output: The folder of the protos; it must be empty or not exist.
        partition: The only one to write; None for all.
        progress: Called after each video, for the stage "write".

    Returns:
        How many videos there are of each partition written.

    Raises:
        UsageError: the output folder is not empty.
        DataError: what `read_frames` refuses, or the output cannot be written.
    """
    opened = open_dataset(dataset)
    names, rate = _label_names(opened.layout), _frames_per_second(opened.layout)
    chosen = [partition] if partition else list(Partition)
    counts = dict.fromkeys(chosen, 0)
    with _new_folder(output) as folder:
        for part in chosen:
            for example in read_frames(dataset, part):
                data = media_sequence(_sequence(example, names, rate), float(rate))
                files.write_bytes(files.join(folder, part, proto_name(example.video_id)), data)
                counts[part] += 1
                progress("write")
    return counts


# The output -----------------------------------------------------------------------------------------------------------


@contextmanager
def _new_folder(output: str) -> Iterator[str]:
    """Yields a folder to fill, which gets the name `output` when the block ends well; if it fails, nothing is left.

    A bucket cannot rename a folder: there `output` is filled in place, and emptied again if the block fails.
    """
    _require_empty(output)
    if not files.is_local(output):
        with ExitStack() as undo:
            undo.callback(files.delete_folder, output)
            yield output
            undo.pop_all()
        return
    filesystem, resolved = files.resolve(output)
    path = os.path.realpath(resolved)
    working = f"{path}{files.TEMPORARY_MARK}{socket.gethostname()}-{uuid4().hex}"
    with ExitStack() as undo:
        undo.callback(files.delete_folder, working)
        with _write_error(output):
            filesystem.create_dir(working, recursive=True)
        yield working
        with _write_error(output):
            filesystem.move(working, path)
        undo.pop_all()


def _require_empty(output: str) -> None:
    try:
        found = [output] if files.exists(output) else files.list_files(output)
        why = f"{found[0]} stands there already" if found else ""
    except (OSError, pa.ArrowException) as error:
        why = " ".join(str(error).split())
    if why:
        raise UsageError(
            what="The output is no empty folder", where=output, why=why, fix="give an empty or new folder with --output"
        )


@contextmanager
def _write_error(output: str) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        why = " ".join(str(error).split())
        fix = "give a new folder with --output, in a folder that you may write to"
        raise DataError(what="The output folder cannot be written", where=output, why=why, fix=fix) from None


# Protos to records ----------------------------------------------------------------------------------------------------


def _write_dataset(layout: Layout, intake: Intake, groups: Groups, quantizer: Quantizer, progress: Progress) -> None:
    fitted = _fitted(layout, intake, quantizer)
    key = fitted["quantizer"]["key"]
    steps = [_write_shard(layout, shard, key, protos, quantizer, progress) for shard, protos in groups.items()]
    tables = _write_tables(layout, intake, groups, quantizer.feature_name)
    values = {
        **_origin(intake, steps),
        **fitted,
        **shard_parts(steps),
        "partitions": _summaries(groups),
    }
    describe_dataset(layout, values, tables)
    mark_complete(layout)


def _into_shards(protos: Mapping[str, Proto], partitions: Mapping[str, Partition], shards: int) -> Groups:
    """The videos of each shard, sorted by id, by the hash that a build uses; a partition without videos has one shard.

    Args:
        protos: The protos, by video id.
        partitions: The partition of each file.
        shards: How many shards a partition has.
    """
    of = {part: shards if part in partitions.values() else 1 for part in Partition}
    groups: dict[Shard, list[Proto]] = {Shard(part, index, of[part]): [] for part in of for index in range(of[part])}
    for video_id, proto in sorted(protos.items()):
        partition = partitions[proto.place.uri]
        groups[shard_of(video_id, partition, of[partition], Shards().salt)].append(proto)
    return groups


def _of_partition(groups: Groups, partition: Partition) -> list[Proto]:
    return [proto for shard, protos in groups.items() if shard.partition is partition for proto in protos]


def _fitted(layout: Layout, intake: Intake, quantizer: Quantizer) -> dict[str, Any]:
    """Writes the codebook; the manifest's entries of it, and of a PCA that only MediaPipe has."""
    layout.write_bytes(Layout.QUANTIZER, quantizer.to_bytes())
    codebook = file_entry(layout, Layout.QUANTIZER)
    dimensions = intake.dimensions or 0  # there is a video, so it is known
    key = step_key(Stage.CONVERT, dimensions, quantizer.fingerprint)
    facts = CodebookFacts(quantizer.name, quantizer.scope, quantizer.fingerprint, {"levels": quantizer.length})
    pca = PcaFacts(MEDIA_SEQUENCE, dimensions, epsilon=None, fingerprint=None)
    return {
        "pca": fitted_row(PcaStep(PCA, key, (), pca)),
        "quantizer": fitted_row(CodebookStep(QUANTIZER, key, (codebook,), facts)),
    }


def _write_shard(
    layout: Layout, shard: Shard, key: str, protos: Sequence[Proto], quantizer: Quantizer, progress: Progress
) -> Step:
    own_key = shard_key(shard, (proto.member for proto in protos), key)
    return write_shard(layout, shard, own_key, read_coefficients(protos, progress), quantizer)


def _origin(intake: Intake, steps: Sequence[Step]) -> dict[str, Any]:
    """The parts of the manifest that say where the records come from and what is not in them."""
    rejected = Counter(row["reason"] for row in intake.rejects)
    count = StageCount(Stage.CONVERT, "videos", len(intake.protos), tuple(sorted(rejected.items())))
    return {
        "build_key": step_key(Stage.CONVERT, __version__, [step.key for step in steps]),
        "versions": {"yt8m_pipeline": __version__},
        "config": {},
        "inputs": {},
        "feature_space": {"fingerprint": MEDIA_SEQUENCE},
        "labels": label_policy(PUBLISHED),
        "accounting": [count.to_json()],
        "warnings": _warnings(intake),
        "encoded": {"from": MEDIA_SEQUENCE},
    }


def _warnings(intake: Intake) -> list[str]:
    of = f"of {len(intake.protos)} videos"
    left_out = [
        f"left out of {count} {of}: {key}, for which the records have no place"
        for key, count in sorted(intake.left_out.items())
    ]
    off_grid = f"not at one frame per second: {intake.off_grid} {of}, and the records do not say when their frames are"
    return [*left_out, *([off_grid] if intake.off_grid else [])]


def _summaries(groups: Groups) -> dict[str, Any]:
    totals = {part: sum(map(_summary, _of_partition(groups, part)), PartitionSummary()) for part in Partition}
    return {part.value: total.to_json() for part, total in totals.items()}


def _summary(proto: Proto) -> PartitionSummary:
    text = "\0".join([proto.member.video_id, *map(str, proto.member.labels)])
    digest = int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
    return PartitionSummary(1, proto.frames, len(proto.member.labels), digest)


def _write_tables(layout: Layout, intake: Intake, groups: Groups, feature_name: str) -> list[FileEntry]:
    labels = max((label for proto in intake.protos.values() for label in proto.member.labels), default=-1) + 1
    train = _of_partition(groups, Partition.TRAIN)
    train_counts = Counter(label for proto in train for label in proto.member.labels)
    layout.write_bytes(Layout.VOCABULARY, _vocabulary_csv(labels, intake.names, train_counts))
    rows = [_video_rows(shard, protos) for shard, protos in groups.items()]
    videos = write_videos(layout, rows, intake.dimensions or 0, feature_name)
    rejects = write_rejects(layout, [pa.Table.from_pylist(intake.rejects, schema=REJECTS)])
    return [file_entry(layout, Layout.VOCABULARY), *videos, *rejects]


def _video_rows(shard: Shard, protos: Iterable[Proto]) -> pa.Table:
    """The rows of videos.parquet for a shard; what only a decoder knows is null."""
    rows = [
        {
            "video_id": proto.member.video_id,
            "partition": shard.partition.value,
            "labels": list(proto.member.labels),
            "frames": proto.frames,
            "shard": shard.name,
            "features_sha256": proto.member.sha256,
            "features_magnitude": proto.magnitude,
        }
        for proto in protos
    ]
    return pa.Table.from_pylist(rows, schema=VIDEOS)


def _vocabulary_csv(labels: int, names: Mapping[int, str], train_counts: Counter[int]) -> bytes:
    """vocabulary.csv with all that protos tell of labels: index, name, and the number of train videos."""
    text = io.StringIO()
    writer = csv.DictWriter(text, VOCABULARY_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for label in range(labels):
        name = names.get(label, "").replace("\r\n", "\n").replace("\r", "\n")
        writer.writerow({"Index": label, "TrainVideoCount": train_counts[label], "Name": name})
    return text.getvalue().encode()


# Records to protos ----------------------------------------------------------------------------------------------------


def _sequence(example: FrameExample, names: Mapping[int, str], rate: Fraction) -> MediaSequence:
    labels = tuple(example.labels.tolist())
    texts = tuple(names.get(label, "") for label in labels)
    timestamps = _grid(len(example.features), rate)
    return MediaSequence(example.video_id, labels, texts if all(texts) else (), example.features, timestamps)


def _grid(frames: int, rate: Fraction) -> Int64Array:
    return np.array([round(MICROSECONDS * k / rate) for k in range(frames)], np.int64)


def _label_names(layout: Layout) -> dict[int, str]:
    path = layout.path(Layout.VOCABULARY)
    try:
        return {int(row["Index"]): row["Name"] for row in vocabulary_rows(files.read_bytes(path))}
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise DataError(
            what="The vocabulary cannot be read", where=path, why=repr(error), fix="build the dataset again"
        ) from None


def _frames_per_second(layout: Layout) -> Fraction:
    """The frame rate of the dataset; 1 if its manifest does not say, as after a conversion of protos."""
    return Fraction(str(Manifest.of(layout).frames_per_second))
