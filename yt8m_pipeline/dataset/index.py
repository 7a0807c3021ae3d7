"""The tables of a dataset: vocabulary.csv, videos.parquet and the withheld labels of test; rejects.py has the rest."""

import csv
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from importlib import resources
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from yt8m_pipeline import files
from yt8m_pipeline.data_model import MediaFile, Partition, StoredEntry, StoredVideo
from yt8m_pipeline.dataset.layout import Layout, Shard
from yt8m_pipeline.dataset.manifest import PUBLISHED, Manifest
from yt8m_pipeline.dataset.offsets import OFFSET_COLUMNS, with_offsets
from yt8m_pipeline.dataset.steps import FileEntry, file_entry
from yt8m_pipeline.dataset.typed_rows import typed
from yt8m_pipeline.dataset.vocabulary import vocabulary_rows
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.parsing import parquet_file

VOCABULARY_COLUMNS = (
    "Index",
    "TrainVideoCount",
    "KnowledgeGraphId",
    "Name",
    "WikiUrl",
    "Vertical1",
    "Vertical2",
    "Vertical3",
    "WikiDescription",
    "MeanRaterScore",
    "Specificity",
)
"""The columns of the published vocabulary.csv, and two more that say what the raters gave (paper §3.1, Figure 4)."""

VIDEOS = pa.schema(
    [
        ("video_id", pa.string()),
        ("partition", pa.string()),
        ("labels", pa.list_(pa.int64())),
        ("frames", pa.int64()),
        ("shard", pa.string()),
        ("features_sha256", pa.string()),
        ("features_magnitude", pa.float64()),
        ("decoded_fraction", pa.float64()),
        ("deviation_seconds", pa.float64()),
        ("uri", pa.string()),
        ("duration_seconds", pa.float64()),
        ("view_count", pa.int64()),
        ("transfer", pa.string()),
        ("container", pa.string()),
        ("codec", pa.string()),
        ("file_bytes", pa.int64()),
        ("width", pa.int64()),
        ("height", pa.int64()),
        ("frame_rate", pa.float64()),
        ("packets", pa.int64()),
        ("decoded_packets", pa.int64()),
        *((name, pa.int64()) for name in OFFSET_COLUMNS),
    ]
)
"""The columns of videos.parquet. Behind them stand the columns of the user's own that `tables.keep_columns` names."""
TEST_LABELS = pa.schema([("video_id", pa.string()), ("labels", pa.list_(pa.int64()))])


def label_indices(entity_ids: Iterable[str], train_counts: Mapping[str, int]) -> dict[str, int]:
    """The label index of each entity id: entities with more train videos come first, ties are sorted by id.

    This is the order of the published vocabulary.
    """
    ranked = sorted(entity_ids, key=lambda entity_id: (-train_counts.get(entity_id, 0), entity_id))
    return {entity_id: index for index, entity_id in enumerate(ranked)}


def vocabulary_csv(entities: Iterable[pa.Table], train_counts: Mapping[str, int]) -> bytes:
    """The text of vocabulary.csv, as UTF-8: one row for each entity that was kept, in the order of the indices."""
    rows = [row for table in entities for row in table.to_pylist()]
    indices = label_indices((row["entity_id"] for row in rows), train_counts)
    rows.sort(key=lambda row: indices[row["entity_id"]])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(VOCABULARY_COLUMNS)
    for row in rows:
        verticals = [*(row["verticals"] or []), "", "", ""][:3]
        entity_id = row["entity_id"]
        names = map(_with_newlines, (row["name"], row["wiki_url"], *verticals, row["description"]))
        scores = ("", "") if row["mean_score"] is None else (f"{row['mean_score']:g}", row["specificity"])
        writer.writerow([indices[entity_id], train_counts.get(entity_id, 0), entity_id, *names, *scores])
    return text.getvalue().encode()


def without_train_videos(text: bytes) -> bytes:
    """The text of a vocabulary.csv in which no label has a train video, as that of a dataset without train videos."""
    reader = vocabulary_rows(text)
    copy = io.StringIO()
    writer = csv.DictWriter(copy, reader.fieldnames or VOCABULARY_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "TrainVideoCount": 0} for row in reader)
    return copy.getvalue().encode()


def _with_newlines(text: str | None) -> str:
    """The text with each line end as \\n, since `csv` does not quote a lone carriage return, which breaks the row."""
    return (text or "").replace("\r\n", "\n").replace("\r", "\n")


def write_vocabulary(layout: Layout, text: bytes, *, frozen: bool) -> FileEntry:
    """Writes vocabulary.csv.

    Raises:
        DataError: it would change, but must not (`frozen`, as in `rebuild-split`): the labels of the splits that are
            not rebuilt are indices into it.
    """
    path = layout.path(Layout.VOCABULARY)
    if frozen and files.read_bytes(path) != text:
        raise DataError(
            what="The vocabulary would change",
            where=path,
            why="the entities, or their numbers of train videos, are not those of the dataset",
            fix="run `yt8m build`, which writes every partition that changed",
        )
    layout.write_bytes(Layout.VOCABULARY, text)
    return file_entry(layout, Layout.VOCABULARY)


def video_rows(
    shard: Shard, members: Sequence[StoredVideo], indices: Mapping[str, int], keep_columns: Sequence[str] = ()
) -> pa.Table:
    """The rows of videos.parquet for the videos of a shard, before `write_videos` withholds labels and adds offsets.

    Args:
        shard: Which shard.
        members: Its videos, sorted by id.
        indices: The label index of each entity id.
        keep_columns: The names of the texts that the videos have in `kept_columns`.
    """
    rows = [
        {
            "video_id": member.video.video_id,
            "partition": shard.partition.value,
            "labels": sorted(indices[entity_id] for entity_id in member.video.entity_ids),
            "frames": member.entry.frames,
            "shard": shard.name,
            "features_sha256": member.entry.sha256,
            "features_magnitude": member.entry.magnitude,
            "decoded_fraction": member.entry.decoded_fraction,
            "deviation_seconds": member.entry.deviation_seconds,
            "uri": member.video.listed_uri,
            "duration_seconds": member.video.duration_seconds,
            "view_count": member.video.view_count,
            "transfer": member.entry.transfer or None,
            **(asdict(member.entry.media) if member.entry.media else {}),
            **dict(zip(keep_columns, member.video.kept_columns, strict=True)),
        }
        for member in members
    ]
    kept = pa.schema([(name, pa.string()) for name in keep_columns])
    return pa.Table.from_pylist(rows, schema=pa.unify_schemas([VIDEOS, kept]))


def recorded_entry(row: Mapping[str, Any]) -> StoredEntry:
    """What a row of videos.parquet says of the stored features. Tables of older versions tell nothing of the file."""
    media: dict[str, Any] = {field.name: row.get(field.name) for field in fields(MediaFile)}
    return StoredEntry(
        frames=row["frames"],
        magnitude=row["features_magnitude"],
        sha256=row["features_sha256"],
        decoded_fraction=row["decoded_fraction"],
        deviation_seconds=row["deviation_seconds"],
        transfer=row.get("transfer") or "",
        media=MediaFile(**media) if media["codec"] else None,
    )


def write_videos(
    layout: Layout,
    tables: Iterable[pa.Table],
    width: int,
    feature_name: str,
    published: Collection[Partition] = PUBLISHED,
) -> list[FileEntry]:
    """Writes videos.parquet, where withheld labels are null, and withheld/test_labels.parquet if those of test are.

    Args:
        layout: The paths of the dataset.
        tables: The rows of all videos, as `video_rows` makes them.
        width: The number of codes of a frame.
        feature_name: The name of the feature list that holds them.
        published: The partitions whose labels are not withheld.
    """
    rows = pa.concat_tables([VIDEOS.empty_table(), *tables], promote_options="default").sort_by("video_id")
    is_published = pc.is_in(rows["partition"], pa.array([partition.value for partition in sorted(published)]))
    labels = pc.if_else(is_published, rows["labels"].combine_chunks(), pa.scalar(None, rows["labels"].type))
    shown = rows.set_column(rows.schema.get_field_index("labels"), "labels", labels)
    entries = [write_index(layout, shown, width, feature_name)]
    if Partition.TEST not in published:
        withheld = rows.filter(pc.equal(rows["partition"], Partition.TEST.value)).select(TEST_LABELS.names)
        entries.append(write_parquet(layout, Layout.TEST_LABELS, withheld))
    return entries


def write_index(layout: Layout, videos: pa.Table, width: int, feature_name: str) -> FileEntry:
    """Writes videos.parquet, of its rows sorted by id, with the offsets; columns that are missing are null.

    The arguments are those of `write_videos`.
    """
    located = with_offsets(typed(videos, VIDEOS), width, feature_name)
    rows = pa.concat_tables([VIDEOS.empty_table(), located], promote_options="default")
    return write_parquet(layout, Layout.VIDEOS, rows)


def write_reader(layout: Layout) -> FileEntry:
    """Writes read_dataset.py: the module of this name beside this one, which imports nothing of ours."""
    layout.write_bytes(Layout.READER, resources.files(__package__).joinpath(Layout.READER).read_bytes())
    return file_entry(layout, Layout.READER)


def count_classes(layout: Layout) -> dict[Partition, int]:
    """How many classes have a video, for each partition whose labels are there: withheld ones may have been removed."""
    videos, published = read_parquet(layout, Layout.VIDEOS, ["partition", "labels"]), Manifest.of(layout).published
    labels = {part: videos.filter(pc.equal(videos["partition"], part.value))["labels"] for part in published}
    if Partition.TEST not in published and files.exists(layout.path(Layout.TEST_LABELS)):
        labels[Partition.TEST] = read_parquet(layout, Layout.TEST_LABELS, ["labels"])["labels"]
    return {part: pc.count_distinct(pc.list_flatten(column)).as_py() for part, column in labels.items()}


def write_parquet(layout: Layout, name: str, table: pa.Table) -> FileEntry:
    with layout.open_write(name) as stream:
        pq.write_table(table.combine_chunks(), stream, compression="zstd")
    return file_entry(layout, name)


def streamed(stream: IO[bytes]) -> pq.ParquetFile:
    """A Parquet file that is read some rows at a time, in the memory of a row group.

    By default pyarrow keeps the bytes of all columns that it was ever asked for until the file is closed.
    """
    return parquet_file(stream, pre_buffer=False)


def read_parquet(layout: Layout, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """A table as a whole. In one thread: where memory is short, Arrow ends the process that it cannot give another."""
    with files.open_read(layout.path(name)) as stream:
        return parquet_file(stream).read(columns, use_threads=False)
