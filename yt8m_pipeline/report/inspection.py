"""What a file, a dataset or a feature store is, and what is in it: `yt8m inspect`."""

import io
import shlex
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from yt8m_pipeline import files
from yt8m_pipeline.accounting.reasons import DropReason, Stage, VideoRejected
from yt8m_pipeline.compression.artefacts import damage_named
from yt8m_pipeline.compression.quantization import LEVELS_KEY, Quantizer
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.layout import LEVELS, Layout
from yt8m_pipeline.dataset.manifest import Manifest, not_finished
from yt8m_pipeline.dataset.records import level_of, parse_frame_record, parse_vector_record, vector_name
from yt8m_pipeline.dataset.rejects import RejectKey, count_rejects, find_rejects, read_rejects
from yt8m_pipeline.dataset.tfrecord import read_records
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.interop.matrix_data import matrix_from_bytes
from yt8m_pipeline.interop.media_sequence import MediaSequence
from yt8m_pipeline.interop.media_sequence_files import first_proto
from yt8m_pipeline.parsing import parquet_file
from yt8m_pipeline.store.failures import open_failure
from yt8m_pipeline.store.feature_store import FAILURE_SUFFIX, FeatureStore
from yt8m_pipeline.store.stored_file import open_stored
from yt8m_pipeline.store.upkeep import find_spaces, is_space, survey
from yt8m_pipeline.video_level.feature_list import FeatureList

Facts = dict[str, Any]

TOTALS = ("videos", "frames", "labels")
"""What the summary of a dataset counts in each partition."""


def inspect_path(uri: str, rows: int) -> Facts:
    """Says what a file or a folder is. A file's first rows are shown, a folder is summed up.

    Args:
        uri: A shard, a file of the feature store, a codebook, an array, a table or a manifest; or the folder of a
            dataset, of a feature store or of video-level features.
        rows: How many records or rows of a file to show.

    Raises:
        UsageError: if there is no such file or folder, or it is none of ours.
        DataError: if it is damaged.
    """
    if not files.exists(uri):
        return _inspect_folder(uri)
    proto = first_proto(uri)
    if proto:
        return _proto_facts(uri, proto)
    ending = PurePosixPath(uri).suffix.lower()
    if ending not in _INSPECTORS:
        raise UsageError(
            what="This is not a file of a dataset",
            where=uri,
            why=f"its ending is '{ending}'",
            fix="give a shard, table or array",
        )
    return _INSPECTORS[ending](uri, rows)


def _inspect_folder(folder: str) -> Facts:
    layout = Layout(folder)
    manifest = Manifest.find(layout)
    if manifest:
        return _sum_up_dataset(layout, manifest)
    told = FeatureList.find(folder)
    if told:
        return _sum_up_features(layout, told)
    root, _, name = folder.rstrip("/").rpartition("/")
    if is_space(name):
        return _sum_up_store([FeatureStore(root, name)])
    if any(map(is_space, files.list_folders(folder))):
        return _sum_up_store(find_spaces(folder))
    if files.exists(layout.path(Layout.UNFINISHED)):
        raise not_finished(layout, Layout.MANIFEST)
    if name == Layout.REJECTS and find_rejects(Layout(root or ".")):
        raise _rejects_alone(folder, root or ".")
    raise _nothing_of_ours(folder)


def inspect_rejects(
    folder: str,
    rows: int,
    *,
    video_id: str | None = None,
    stage: Stage | None = None,
    reason: DropReason | None = None,
) -> Facts:
    """Counts the rows and videos that are not in a dataset, in the order of the stages, and shows some of them.

    While a build runs, or if it was refused, these are the rejects that it has written so far.

    Args:
        folder: The folder of a dataset, finished or not.
        rows: How many rows to show.
        video_id: Only the rows of this video, or with this id in another table.
        stage: Only the rows that this stage rejected.
        reason: Only the rows that were rejected for this reason.

    Raises:
        UsageError: if the folder has no rejects.
        DataError: if a file is missing or damaged.
    """
    layout = Layout(folder)
    paths = _files_with_rejects(layout)
    stages = () if stage is None else (stage,)
    counts: Counter[RejectKey] = Counter()
    first: list[Facts] = []
    for table in read_rejects(layout, paths, video_id=video_id, stages=stages, reason=reason):
        counts += count_rejects(table)
        first += table.slice(0, rows - len(first)).to_pylist()
    names = ("stage", "table", "reason", "rows")
    rejected = [dict(zip(names, (*key, number), strict=True)) for key, number in sorted(counts.items(), key=_in_turn)]
    return {"kind": "rejects of a dataset", "rows": counts.total(), "rejected": rejected, "first": first}


def _in_turn(count: tuple[RejectKey, int]) -> tuple[int, RejectKey]:
    """The place of a count: its stage's, then by table and reason. A stage that a strange file names comes last."""
    key, _ = count
    stages = [stage.value for stage in Stage]
    return stages.index(key[0]) if key[0] in stages else len(stages), key


def _files_with_rejects(layout: Layout) -> list[str]:
    """The files that the manifest of a finished dataset lists; of an unfinished one those that stand in its folder."""
    manifest = Manifest.find(layout)
    if manifest and files.exists(layout.path(Layout.COMPLETE)):
        return manifest.rejects
    found = find_rejects(layout)
    if not found:
        raise UsageError(
            what="There are no rejects",
            where=layout.root,
            why="it is not the folder of a dataset, or its build has not yet selected the videos",
            fix="give the folder that `output` in the config names",
        )
    return found


def _rejects_alone(folder: str, dataset: str) -> UsageError:
    return UsageError(
        what="These are the rejects of a dataset",
        where=folder,
        why="they are shown of the dataset, not of this folder",
        fix=f"run `{shlex.join(['yt8m', 'inspect', dataset, '--rejects'])}`",
    )


def _nothing_of_ours(folder: str) -> UsageError:
    if files.list_files(folder):
        what = "This is neither a dataset nor a feature store"
        why = f"it has no {Layout.MANIFEST}, and no folder named by a feature space, 16 hexadecimal digits"
    else:
        what, why = "There is no such file", "it does not exist, or is a folder without files"
    return UsageError(what=what, where=folder, why=why, fix="give the path of a file, a dataset, a store or features")


def _sum_up_dataset(layout: Layout, manifest: Manifest) -> Facts:
    pca, codebook = manifest.pca.facts, manifest.quantizer.facts
    counts = [(part.value, asdict(manifest.partition(part))) for part in Partition]
    return {
        "kind": "dataset",
        "complete": files.exists(layout.path(Layout.COMPLETE)),
        "pca": f"{pca.source}, {pca.components} components",
        "quantizer": f"{codebook.method}, {codebook.scope}, {codebook.more.get('levels')} levels",
        "files": len(manifest.files),
        "bytes": sum(file.bytes for file in manifest.files),
        "warnings": len(manifest.warnings),
        "partitions": [{"partition": part, **{name: totals[name] for name in TOTALS}} for part, totals in counts],
    }


def _sum_up_features(layout: Layout, told: FeatureList) -> Facts:
    """The counts are those of the TFRecord files, since each video stands in Parquet too."""
    listed = [file for file in told.files if file.path.endswith(".tfrecord")]
    videos = {part.value: sum(file.videos for file in listed if file.partition == part) for part in Partition}
    return {
        "kind": "video-level features",
        "complete": files.exists(layout.path(Layout.COMPLETE)),
        "source": told.source.value,
        **{name: str(value) for name, value in told.identity.items() if value},
        "files": len(told.files),
        "bytes": sum(file.bytes for file in told.files),
        "warnings": len(told.warnings),
        "partitions": [{"partition": part, "videos": number} for part, number in videos.items()],
    }


def _sum_up_store(spaces: Sequence[FeatureStore]) -> Facts:
    found = [(store.space, survey(store, lambda _: None)) for store in spaces]
    rows = [{"space": space, **stats._asdict(), "failures": stats.failures.total()} for space, stats in found]
    return {"kind": "feature store", "spaces": rows}


def _proto_facts(uri: str, proto: MediaSequence | VideoRejected) -> Facts:
    facts: Facts = {"kind": "MediaSequence of MediaPipe, which is no file of a dataset"}
    if isinstance(proto, VideoRejected):
        return {**facts, "unusable": f"{proto.reason.value}: {proto.detail}"}
    frames, dimensions = proto.coefficients.shape
    first = {"id": proto.video_id, "labels": " ".join(map(str, proto.labels)) or "none"}
    convert = f"yt8m convert {uri} --to records --output DATASET"
    return {**facts, **first, "frames": frames, "dimensions": dimensions, "convert": convert}


def _inspect_shard(uri: str, rows: int) -> Facts:
    shown: list[Facts] = []
    count, level = 0, ""
    with files.open_read(uri) as stream:
        for data in read_records(stream, uri):
            level = level or level_of(data)
            facts = _frame_facts if level == LEVELS[0] else _vector_facts
            found = facts(data, f"{uri}, record {count}")
            shown += [found] if count < rows else []
            count += 1
    return {"kind": f"shard of {level}-level records" if level else "shard", "records": count, "first": shown}


def _vector_facts(data: bytes, where: str) -> Facts:
    name = vector_name(data)
    video_id, labels, vector = parse_vector_record(data, name, where)
    return {"id": video_id, "labels": _numbers(labels), "dimensions": len(vector), name: _start_of(vector)}


def _numbers(labels: Sequence[int]) -> str:
    return " ".join(map(str, labels)) or "none"


def _frame_facts(data: bytes, where: str) -> Facts:
    record = parse_frame_record(data, where)
    frames, dimensions = record.codes.shape
    codes = " ".join(map(str, record.codes[0, :6])) if frames else ""
    facts = {"id": record.video_id, "labels": _numbers(record.labels), "frames": frames, "dimensions": dimensions}
    return {**facts, "feature": record.feature_name, "first codes": f"{codes} …"}


def _inspect_npz(uri: str, rows: int) -> Facts:
    return _inspect_codebook(uri, rows) if _is_codebook(uri) else _inspect_features(uri, rows)


def _is_codebook(uri: str) -> bool:
    """Whether a file is a codebook: by what it holds, or by its name where it cannot be opened."""
    try:
        with zipfile.ZipFile(io.BytesIO(files.read_bytes(uri))) as archive:
            return not {f"{key}.npy" for key in LEVELS_KEY.values()}.isdisjoint(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return uri.endswith(Layout.QUANTIZER)


def _inspect_codebook(uri: str, rows: int) -> Facts:
    quantizer = Quantizer.load(uri)
    step = max(1, quantizer.length // max(rows, 1))
    shown = quantizer.levels.reshape(-1, quantizer.length)[0]
    levels = [{"code": code, "level": float(level)} for code, level in enumerate(shown)]
    own = "" if quantizer.scope == "shared" else f" for each of {len(quantizer.levels)} dimensions, here the first"
    return {
        "kind": f"{quantizer.name} codebook of {quantizer.length} levels{own}",
        "feature": quantizer.feature_name,
        "fingerprint": quantizer.fingerprint,
        "levels": levels[::step],
    }


def _inspect_features(uri: str, rows: int) -> Facts:
    stored = open_stored(uri)
    video, (frames, dimensions) = stored.video, stored.video.features.shape
    first = [
        {"k": k, "pts_seconds": float(video.pts_seconds[k]), "features": _start_of(video.features[k])}
        for k in range(min(rows, frames))
    ]
    facts = {"kind": "features of one video", **stored.header.to_json(), "dtype": str(video.features.dtype)}
    return {**facts, "frames": frames, "dimensions": dimensions, "first": first}


def _start_of(values: npt.NDArray[np.floating]) -> str:
    return " ".join(f"{value:.3f}" for value in values[:6]) + " …"


def _inspect_npy(uri: str, _: int) -> Facts:
    with damage_named(uri), files.open_read(uri) as stream:
        array = np.lib.format.read_array(stream, allow_pickle=False)
    return _array_facts("array", array)


def _inspect_matrix_data(uri: str, _: int) -> Facts:
    with damage_named(uri):
        return _array_facts("MediaPipe's MatrixData", matrix_from_bytes(files.read_bytes(uri)))


def _array_facts(kind: str, array: npt.NDArray[Any]) -> Facts:
    shape = "×".join(map(str, array.shape))
    facts: Facts = {"kind": kind, "dtype": str(array.dtype), "shape": shape}
    if array.size and np.issubdtype(array.dtype, np.number):
        facts |= {"min": array.min(), "max": array.max()}
    return facts


def _inspect_parquet(uri: str, rows: int) -> Facts:
    try:
        with files.open_read(uri) as stream:
            table = parquet_file(stream).read()
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            what="A table is damaged",
            where=uri,
            why=" ".join(str(error).split()),
            fix="replace the file, or build the dataset again",
        ) from None
    return {"kind": "table", "rows": table.num_rows, "first": table.slice(0, rows).to_pylist()}


def _inspect_json(uri: str, rows: int) -> Facts:
    return _inspect_failure(uri) if uri.endswith(FAILURE_SUFFIX) else _inspect_text(uri, rows)


def _inspect_failure(uri: str) -> Facts:
    failure = asdict(open_failure(uri))
    return {"kind": "failure of one video", **failure.pop("source"), **failure}


def _inspect_text(uri: str, rows: int) -> Facts:
    with files.open_read(uri) as stream:
        lines = stream.read().decode("utf-8", "replace").splitlines()
    return {"kind": "text", "lines": len(lines), "first": [{"line": line} for line in lines[: 4 * rows]]}


_INSPECTORS: dict[str, Callable[[str, int], Facts]] = {
    ".tfrecord": _inspect_shard,
    ".npz": _inspect_npz,
    ".npy": _inspect_npy,
    ".pb": _inspect_matrix_data,
    ".parquet": _inspect_parquet,
    ".csv": _inspect_text,
    ".json": _inspect_json,
    ".jsonl": _inspect_text,
    ".ndjson": _inspect_text,
}
