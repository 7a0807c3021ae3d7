"""The Beam shell of selection: tables in, videos with labels and a partition out.

Rows travel as Arrow tables. Where rows with the same id must meet, tables are cut into hash buckets and the pieces of
a bucket are joined in Arrow, so that a shuffle sees a few large values in place of many small ones.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pipeline import Pipeline
from apache_beam.pvalue import AsIter, AsSingleton, PCollection, TaggedOutput
from apache_beam.transforms.combiners import ToList, ToSet

from yt8m_pipeline.accounting.outcome import PROVENANCE, Outcome, drop_duplicates
from yt8m_pipeline.accounting.reasons import Stage
from yt8m_pipeline.chance import salted_hashes
from yt8m_pipeline.config import Partitioning, RaterScores, VideoSampling, Vocabulary
from yt8m_pipeline.data_model import Partition, StoredVideo, Video
from yt8m_pipeline.places import Places
from yt8m_pipeline.selection.frequency import count_videos, keep_frequent, keep_popular
from yt8m_pipeline.selection.given_partitions import (
    Given,
    listed_names,
    name_given,
    name_listed,
    reject_without,
    settle_groups,
    unlisted_warnings,
)
from yt8m_pipeline.selection.labels import (
    OF_SEGMENTS,
    attach_labels,
    derive_entities,
    has_segments,
    keep_labels,
    nested_annotations,
    settle_annotations,
)
from yt8m_pipeline.selection.partitioning import assign_partitions, lacking_entities, lacking_warnings, units_of
from yt8m_pipeline.selection.rater_scores import prune_by_rater_score, unrated
from yt8m_pipeline.selection.video_sampling import (
    PREFIXES,
    Cut,
    cut_sample,
    draw_boundary,
    filter_eligible,
    hash_prefix_counts,
    sampling_cut,
)
from yt8m_pipeline.selection.vocabulary import filter_by_type, unused_types, used_types
from yt8m_pipeline.tables.partition_lists import read_lists
from yt8m_pipeline.tables.reading import Piece, TableFiles, pieces_of, read_batches, schema
from yt8m_pipeline.tables.uris import accept_uris
from yt8m_pipeline.transforms.combiners import Sum
from yt8m_pipeline.transforms.ledger import (
    COUNTS,
    KEPT,
    REJECTS,
    Outputs,
    SeveralInputs,
    SeveralOutputs,
    outputs_of,
    settle,
    settled_by,
    typed_step,
)
from yt8m_pipeline.transforms.steps import FlatMap, Map, NotingDoFn, Passes

BOUNDARY = "boundary"
LABELS = "labels"

Tables: TypeAlias = PCollection[pa.Table]
Joined: TypeAlias = dict[str, pa.Table]
"""The rows of several tables that have one of the ids of a bucket, by the table's name."""


@dataclass
class ReadTable(SeveralOutputs[Pipeline, Outputs[pa.Table]]):
    """Pipeline → PCollection[pa.Table]: the well-formed rows of one input table, with their provenance.

    Attributes:
        source: The table's files.
        places: What the uris of a videos table may name; None for the other tables.
    """

    source: TableFiles
    places: Places | None = None

    def expand(self, root: Pipeline) -> Outputs[pa.Table]:
        pieces = root | beam.Create(self.source.files) | "pieces" >> FlatMap(_pieces, self.source) | beam.Reshuffle()
        return outputs_of(pieces, _Read(self.source, self.places), kept=pa.Table)


def _pieces(file: str, source: TableFiles) -> list[Piece]:
    return pieces_of(source, file)


class _Read(NotingDoFn):
    def __init__(self, source: TableFiles, places: Places | None) -> None:
        self._source, self._places = source, places

    def process(self, piece: Piece) -> Iterator[Any]:
        for outcome in read_batches(self._source, piece.file, piece.row_group):
            yield from settle(outcome.then(partial(accept_uris, places=self._places)) if self._places else outcome)


@dataclass
class JoinByHash(SeveralInputs[dict[str, Tables], PCollection[Joined]]):
    """{name: PCollection[pa.Table]} → PCollection[{name: pa.Table}]: all rows with one id are in one element.

    Attributes:
        columns: The id's column and the schema of each table.
        buckets: How many elements there are at most.
    """

    columns: Mapping[str, tuple[str, pa.Schema]]
    buckets: int

    def expand(self, tables: Mapping[str, Tables]) -> PCollection[Joined]:
        keyed = {
            name: table | f"bucket {name}" >> FlatMap(_into_buckets, self.columns[name][0], self.buckets)
            for name, table in tables.items()
        }
        schemas = {name: columns for name, (_, columns) in self.columns.items()}
        return keyed | beam.CoGroupByKey() | "gather" >> Map(_gather_all, schemas)


def _into_buckets(table: pa.Table, column: str, buckets: int) -> Iterator[tuple[int, pa.Table]]:
    bucket = salted_hashes("bucket", table[column].to_pylist()) % np.uint64(buckets)
    for number in np.unique(bucket):
        yield int(number), table.filter(pa.array(bucket == number))


def _gather_all(bucket: tuple[int, Mapping[str, Iterable[pa.Table]]], schemas: Mapping[str, pa.Schema]) -> Joined:
    _, pieces = bucket
    return {name: gather(pieces[name], columns) for name, columns in schemas.items()}


def gather(pieces: Iterable[pa.Table], columns: pa.Schema) -> pa.Table:
    """One table, in the order of the files and rows, whatever the order of the pieces."""
    return pa.concat_tables([columns.empty_table(), *pieces]).sort_by([("_file", "ascending"), ("_row", "ascending")])


@dataclass
class DropDuplicates(SeveralOutputs[Tables, Outputs[pa.Table]]):
    """PCollection[pa.Table] → the first row of each id.

    Attributes:
        table: The table's name.
        key: The column of the id.
        buckets: How many elements the rows are joined in.
    """

    table: str
    key: str
    buckets: int

    def expand(self, tables: Tables) -> Outputs[pa.Table]:
        joined = {self.table: tables} | JoinByHash({self.table: (self.key, schema(self.table))}, self.buckets)
        return settled_by(joined, _drop_duplicates, self.table, self.key)


def _drop_duplicates(tables: Joined, table: str, key: str) -> Iterator[Outcome]:
    yield drop_duplicates(tables[table], [key], Stage.UNIQUE, table)


@dataclass
class FilterByType(SeveralOutputs[Tables, Outputs[pa.Table]]):
    """PCollection[pa.Table] of entities → those with a whitelisted type and no blacklisted one."""

    config: Vocabulary

    def expand(self, entities: Tables) -> Outputs[pa.Table]:
        return settled_by(entities, _filter_by_type, self.config)


def _filter_by_type(entities: pa.Table, config: Vocabulary) -> Iterator[Outcome]:
    yield filter_by_type(entities, config)


@dataclass
class WarnOfUnusedTypes(beam.PTransform[Tables, PCollection[str]]):
    """PCollection[pa.Table] of entities → PCollection[str]: a warning for each whitelisted type that no entity has."""

    config: Vocabulary

    def expand(self, entities: Tables) -> PCollection[str]:
        used = entities | Map(used_types, self.config) | beam.CombineGlobally(_union)
        return used | FlatMap(_warnings_of_unused, self.config)


def _union(groups: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset().union(*groups)


def _warnings_of_unused(used: frozenset[str], config: Vocabulary) -> list[str]:
    return [
        f"vocabulary.type_whitelist: no entity has the type '{name}'; is it misspelt?"
        for name in unused_types(used, config)
    ]


@dataclass
class PruneByRaterScore(SeveralOutputs[dict[str, Tables], Outputs[pa.Table]]):
    """{typed, entities, ratings} → PCollection[pa.Table] of the entities that raters find visual."""

    config: RaterScores
    buckets: int

    def expand(self, tables: Mapping[str, Tables]) -> Outputs[pa.Table]:
        columns = {name: ("entity_id", schema("entities")) for name in ("typed", "entities")}
        joined = tables | JoinByHash({**columns, "ratings": ("entity_id", schema("ratings"))}, self.buckets)
        return settled_by(joined, _prune, self.config)


def _prune(tables: Joined, config: RaterScores) -> tuple[Outcome, Outcome]:
    known = tables["entities"]["entity_id"].combine_chunks()
    return prune_by_rater_score(tables["typed"], tables["ratings"], config, all_entity_ids=known)


class LeaveUnrated(beam.PTransform[Tables, Tables]):
    """PCollection[pa.Table] of entities → the same where nobody rated them: stage 2 is skipped."""

    def expand(self, entities: Tables) -> Tables:
        return entities | Map(unrated).with_output_types(pa.Table)


@dataclass
class DeriveEntities(SeveralInputs[dict[str, Tables], Tables]):
    """{videos, annotations} → PCollection[pa.Table] of entities: each distinct label of a known video is one."""

    buckets: int

    def expand(self, tables: Mapping[str, Tables]) -> Tables:
        columns = {name: ("video_id", schema(name)) for name in ("videos", "annotations")}
        found = tables | "by video" >> JoinByHash(columns, self.buckets) | Map(_entities).with_output_types(pa.Table)
        joined = {"entities": found} | "by label" >> JoinByHash({"entities": ("entity_id", ENTITIES)}, self.buckets)
        return joined | "first" >> Map(_first_entities).with_output_types(pa.Table)


def _entities(tables: Joined) -> pa.Table:
    rows = derive_entities(tables["annotations"], tables["videos"]["video_id"].combine_chunks())
    return pa.concat_tables([ENTITIES.empty_table(), rows], promote_options="default")


def _first_entities(tables: Joined) -> pa.Table:
    return drop_duplicates(tables["entities"], ["entity_id"], Stage.UNIQUE, "entities").kept


ENTITIES = schema("entities")


@dataclass
class FilterEligible(SeveralOutputs[Tables, Outputs[pa.Table]]):
    """PCollection[pa.Table] of videos → those with enough views that are neither too short nor too long."""

    config: VideoSampling

    def expand(self, videos: Tables) -> Outputs[pa.Table]:
        return settled_by(videos, _filter_eligible, self.config)


def _filter_eligible(videos: pa.Table, config: VideoSampling) -> Iterator[Outcome]:
    yield filter_eligible(videos, config)


class UnnestAnnotations(SeveralOutputs[Tables, Outputs[pa.Table]]):
    """PCollection[pa.Table] of videos with `labels` → PCollection[pa.Table] of annotations."""

    def expand(self, videos: Tables) -> Outputs[pa.Table]:
        return settled_by(videos, _unnest)


def _unnest(videos: pa.Table) -> Iterator[Outcome]:
    yield nested_annotations(videos)


class WarnOfSegments(beam.PTransform[Tables, PCollection[str]]):
    """PCollection[pa.Table] of annotations → PCollection[str]: one warning if any annotation is of a segment."""

    def expand(self, annotations: Tables) -> PCollection[str]:
        return annotations | Map(has_segments) | beam.CombineGlobally(any) | FlatMap(_warning_of_segments)


def _warning_of_segments(found: bool) -> list[str]:
    return [OF_SEGMENTS] if found else []


class Attached(NamedTuple):
    """What labelling hands on: the videos with their labels, and the annotations behind these."""

    outputs: Outputs[pa.Table]
    annotations: Tables


@dataclass
class AttachLabels(SeveralOutputs[dict[str, Tables], Attached]):
    """{videos, eligible, annotations} → PCollection[pa.Table] of eligible videos with column `entity_ids`.

    Attributes:
        config: Which scores count.
        vocabulary: The entities that are still in.
        entities: All entities.
        buckets: How many elements the rows are joined in.
    """

    config: VideoSampling
    vocabulary: Tables
    entities: Tables
    buckets: int

    def expand(self, tables: Mapping[str, Tables]) -> Attached:
        columns = {name: ("video_id", schema("videos")) for name in ("videos", "eligible")}
        joined = tables | JoinByHash({**columns, "annotations": ("video_id", schema("annotations"))}, self.buckets)
        sides = (_ids_of(self.vocabulary, "vocabulary ids"), _ids_of(self.entities, "entity ids"))
        step = typed_step(_AttachLabels(self.config), pa.Table, *sides, labels=pa.Table)
        found = joined | step.with_outputs(REJECTS, COUNTS, LABELS, main=KEPT)
        return Attached(Outputs(found[KEPT], found[REJECTS], found[COUNTS]), found[LABELS])


def _ids_of(entities: Tables, label: str) -> AsIter:
    return AsIter(entities | label >> Map(_ids))


def _ids(entities: pa.Table) -> pa.Array:
    return entities["entity_id"].combine_chunks()


class _AttachLabels(NotingDoFn):
    def __init__(self, config: VideoSampling) -> None:
        self._config = config

    def process(
        self, tables: Joined, vocabulary_ids: Iterable[pa.Array], entity_ids: Iterable[pa.Array]
    ) -> Iterator[Any]:
        labelled = attach_labels(
            tables["eligible"],
            tables["annotations"],
            self._config,
            all_video_ids=tables["videos"]["video_id"].combine_chunks(),
            vocabulary_ids=_all_ids(vocabulary_ids),
            all_entity_ids=_all_ids(entity_ids),
        )
        yield from settle(*labelled)
        yield TaggedOutput(LABELS, labelled.annotations.kept)


def _all_ids(pieces: Iterable[pa.Array]) -> pa.Array:
    return pa.concat_arrays([pa.array([], pa.string()), *pieces])


class CountVideos(beam.PTransform[Tables, PCollection[Counter[str]]]):
    """PCollection[pa.Table] of labelled videos → PCollection[Counter] of one: entity id → videos."""

    def expand(self, videos: Tables) -> PCollection[Counter[str]]:
        return videos | Map(count_videos) | beam.CombineGlobally(Sum(Counter()))


@dataclass
class KeepPopular(SeveralOutputs[Tables, Outputs[pa.Table]]):
    """PCollection[pa.Table] of entities → those with more than `popular_videos_above` eligible videos."""

    config: VideoSampling
    counts: PCollection[Counter[str]]

    def expand(self, entities: Tables) -> Outputs[pa.Table]:
        return settled_by(entities, _keep_popular, self.config, AsSingleton(self.counts))


def _keep_popular(entities: pa.Table, config: VideoSampling, counts: Counter[str]) -> Iterator[Outcome]:
    yield keep_popular(entities, counts, config)


@dataclass
class KeepFrequent(SeveralOutputs[Tables, Outputs[pa.Table]]):
    """PCollection[pa.Table] of entities → those with at least `min_videos_per_entity` videos."""

    config: VideoSampling
    counts: PCollection[Counter[str]]
    stage: Stage

    def expand(self, entities: Tables) -> Outputs[pa.Table]:
        return settled_by(entities, _keep_frequent, self.config, self.stage, AsSingleton(self.counts))


def _keep_frequent(entities: pa.Table, config: VideoSampling, stage: Stage, counts: Counter[str]) -> Iterator[Outcome]:
    yield keep_frequent(entities, counts, config, stage)


@dataclass
class KeepLabels(SeveralOutputs[Tables, Outputs[pa.Table]]):
    """PCollection[pa.Table] of videos → the same with the labels of these entities only; those left with none drop."""

    stage: Stage
    entities: Tables

    def expand(self, videos: Tables) -> Outputs[pa.Table]:
        return settled_by(videos, _keep_labels, self.stage, _ids_of(self.entities, "ids"))


def _keep_labels(videos: pa.Table, stage: Stage, ids: Iterable[pa.Array]) -> Iterator[Outcome]:
    yield keep_labels(videos, _all_ids(ids).to_pylist(), stage)


class CountStored(beam.PTransform[PCollection[StoredVideo], PCollection[Counter[str]]]):
    """PCollection[StoredVideo] → PCollection[Counter] of one: entity id → videos whose features are in the store."""

    def expand(self, stored: PCollection[StoredVideo]) -> PCollection[Counter[str]]:
        return stored | Map(_labels_of) | beam.CombineGlobally(Sum(Counter()))


def _labels_of(stored: StoredVideo) -> Counter[str]:
    return Counter(stored.video.entity_ids)


@dataclass
class KeepStored(SeveralOutputs[PCollection[StoredVideo], Outputs[StoredVideo]]):
    """PCollection[StoredVideo] → the same with the labels of these entities only; those left with none drop."""

    entities: Tables

    def expand(self, stored: PCollection[StoredVideo]) -> Outputs[StoredVideo]:
        return outputs_of(stored | batches(), _KeepStored(), _ids_of(self.entities, "ids"), kept=StoredVideo)


class _KeepStored(NotingDoFn):
    def process(self, stored: list[StoredVideo], ids: Iterable[pa.Array]) -> Iterator[Any]:
        outcome = keep_labels(label_rows(stored), _all_ids(ids).to_pylist(), Stage.RECOUNT)
        left = dict(zip(*(outcome.kept[name].to_pylist() for name in ("video_id", "entity_ids")), strict=True))
        for item in stored:
            if item.video.video_id in left:
                yield replace(item, video=replace(item.video, entity_ids=tuple(left[item.video.video_id])))
        yield TaggedOutput(COUNTS, outcome.count)
        yield TaggedOutput(REJECTS, outcome.rejects)


@dataclass
class SettleAnnotations(SeveralOutputs[dict[str, Any], Outputs[pa.Table]]):
    """{videos: StoredVideo, annotations: pa.Table} → PCollection[pa.Table] of the annotations that are labels."""

    buckets: int

    def expand(self, tables: Mapping[str, PCollection[Any]]) -> Outputs[pa.Table]:
        rows = {**tables, "videos": tables["videos"] | batches() | Map(label_rows)}
        columns = {"videos": ("video_id", LABEL_ROWS), "annotations": ("video_id", schema("annotations"))}
        return settled_by(rows | JoinByHash(columns, self.buckets), _settle_annotations)


def _settle_annotations(tables: Joined) -> Iterator[Outcome]:
    yield settle_annotations(tables["annotations"], tables["videos"])


@dataclass
class FindLackingEntities(beam.PTransform[PCollection[StoredVideo], PCollection[dict[str, list[str]]]]):
    """PCollection[StoredVideo] → PCollection[dict] of one: partition → the entities that none of its videos has.

    Attributes:
        entities: The entities of the vocabulary.
        published: The partitions whose labels are published; of others, nothing is told.
    """

    entities: Tables
    published: frozenset[Partition]

    def expand(self, stored: PCollection[StoredVideo]) -> PCollection[dict[str, list[str]]]:
        labels = stored | "labels" >> FlatMap(_labels_by_partition) | beam.Distinct() | ToSet()
        return labels | "lacking" >> Map(_lacking, _ids_of(self.entities, "ids"), self.published)


def _labels_by_partition(stored: StoredVideo) -> Iterator[tuple[str, str]]:
    for entity_id in stored.video.entity_ids:
        yield stored.video.partition.value, entity_id


def _lacking(
    labels: set[tuple[str, str]], ids: Iterable[pa.Array], published: frozenset[Partition]
) -> dict[str, list[str]]:
    return lacking_entities(labels, _all_ids(ids).to_pylist(), published)


@dataclass
class WarnOfLackingEntities(beam.PTransform[PCollection[dict[str, list[str]]], PCollection[str]]):
    """PCollection[dict] of `FindLackingEntities` → PCollection[str]: a warning for each partition that lacks any."""

    entities: Tables

    def expand(self, lacking: PCollection[dict[str, list[str]]]) -> PCollection[str]:
        return lacking | FlatMap(_lacking_warnings, AsIter(self.entities))


def _lacking_warnings(lacking: Mapping[str, list[str]], entities: Iterable[pa.Table]) -> list[str]:
    pairs = (zip(*(table[name].to_pylist() for name in ("entity_id", "name")), strict=True) for table in entities)
    return lacking_warnings(lacking, dict(chain.from_iterable(pairs)))


def label_rows(stored: Iterable[StoredVideo]) -> pa.Table:
    """The ids and labels of stored videos, with their own files as provenance: schema `LABEL_ROWS`."""
    videos = [item.video for item in stored]
    columns = [
        [video.video_id for video in videos],
        [video.entity_ids for video in videos],
        [video.uri for video in videos],
        pa.nulls(len(videos), pa.int64()),
    ]
    return pa.table(columns, schema=LABEL_ROWS)


LABEL_ROWS = pa.schema([("video_id", pa.string()), ("entity_ids", pa.list_(pa.string())), *PROVENANCE])


def batches() -> beam.BatchElements:
    """Elements → lists of them, so that a table does not have one row."""
    return beam.BatchElements(min_batch_size=100, max_batch_size=10_000)


@dataclass
class SampleVideos(SeveralOutputs[Tables, Outputs[pa.Table]]):
    """PCollection[pa.Table] of videos → exactly `sample_size` of them, the first by salted hash (paper §3.2)."""

    config: VideoSampling

    def expand(self, videos: Tables) -> Outputs[pa.Table]:
        cut = (
            videos
            | "prefixes" >> Map(hash_prefix_counts, self.config)
            | "sum" >> beam.CombineGlobally(Sum(np.zeros(PREFIXES, np.int64)))
            | "cut" >> Map(sampling_cut, self.config)
        )
        step = typed_step(_CutSample(self.config), pa.Table, AsSingleton(cut), boundary=pa.Table)
        decided = videos | "cut sample" >> step.with_outputs(REJECTS, COUNTS, BOUNDARY, main=KEPT)
        boundary = decided[BOUNDARY] | "one list" >> ToList() | "if any" >> beam.Filter(bool)
        drawn = settled_by(boundary, _draw, AsSingleton(cut), self.config)
        return Outputs(
            (decided[KEPT], drawn.kept) | "kept" >> beam.Flatten(),
            (decided[REJECTS], drawn.rejects) | "rejects" >> beam.Flatten(),
            (decided[COUNTS], drawn.counts) | "counts" >> beam.Flatten(),
        )


class _CutSample(NotingDoFn):
    def __init__(self, config: VideoSampling) -> None:
        self._config = config

    def process(self, videos: pa.Table, cut: Cut) -> Iterator[Any]:
        outcome, boundary = cut_sample(videos, cut, self._config)
        yield from settle(outcome)
        if boundary.num_rows:
            yield TaggedOutput(BOUNDARY, boundary)


def _draw(boundary: list[pa.Table], cut: Cut, config: VideoSampling) -> Iterator[Outcome]:
    yield draw_boundary(pa.concat_tables(boundary), cut, config)


class GivenPartitions(NamedTuple):
    """What giving partitions hands on: the videos, whether they may go on, and warnings."""

    outputs: Outputs[pa.Table]
    passed: PCollection[bool]
    warnings: PCollection[str]


@dataclass
class GivePartitions(SeveralOutputs[Tables, GivenPartitions]):
    """PCollection[pa.Table] of videos → the same with the name of a partition, or "", as `given_partition`.

    Attributes:
        config: What gives partitions, and what a video without one is.
        lists: The list file of each partition, where lists do.
        where: The videos table, for errors.
        buckets: How many elements the groups are joined in.
    """

    config: Partitioning
    lists: Mapping[str, str]
    where: str
    buckets: int

    def expand(self, videos: Tables) -> GivenPartitions:
        named, warnings = self._by_lists(videos) if self.config.by == "lists" else self._by_column(videos)
        joined = {"videos": named | "units" >> Map(_with_units)} | JoinByHash({"videos": ("unit", UNITS)}, self.buckets)
        found = joined | "survey" >> Map(_survey) | beam.CombineGlobally(Sum(Given(Counter())))
        passed = found | "may go on" >> Passes(_check_given, self.config, self.where)
        told = (warnings, found | "divided" >> FlatMap(_given_warnings)) | "warnings" >> beam.Flatten()
        return GivenPartitions(settled_by(joined, _settle_given, self.config), passed, told)

    def _by_column(self, videos: Tables) -> tuple[Tables, PCollection[str]]:
        named = videos | "named" >> Map(name_given, self.config).with_output_types(pa.Table)
        return named, videos.pipeline | "no list" >> beam.Create([], reshuffle=False).with_output_types(str)

    def _by_lists(self, videos: Tables) -> tuple[Tables, PCollection[str]]:
        listed = videos.pipeline | "lists" >> beam.Create([dict(self.lists)]) | Map(read_lists)
        found = videos | "listed" >> FlatMap(listed_names, AsSingleton(listed)).with_output_types(str)
        named = videos | "named" >> Map(name_listed, AsSingleton(listed)).with_output_types(pa.Table)
        return named, listed | "not found" >> FlatMap(_unlisted_warnings, AsIter(found)).with_output_types(str)


UNITS = schema("videos").append(pa.field("unit", pa.string()))


def _with_units(videos: pa.Table) -> pa.Table:
    return videos.append_column("unit", units_of(videos))


def _survey(tables: Joined) -> Given:
    return Given.of(tables["videos"])


def _check_given(found: Given, config: Partitioning, where: str) -> None:
    found.check(config, where)


def _given_warnings(found: Given) -> list[str]:
    return found.warnings()


def _unlisted_warnings(listed: Mapping[str, str], found: Iterable[str]) -> list[str]:
    return unlisted_warnings(listed, set(found))


def _settle_given(tables: Joined, config: Partitioning) -> Iterator[Outcome]:
    settled, _ = settle_groups(tables["videos"])
    yield reject_without(settled.drop_columns("unit"), config)


@dataclass
class AssignPartitions(beam.PTransform[Tables, PCollection[Video]]):
    """PCollection[pa.Table] of videos → PCollection[Video], each with its partition.

    Attributes:
        config: The shares of the partitions.
        places: What the rows may name, and the folder that relative paths are relative to.
    """

    config: Partitioning
    places: Places

    def expand(self, videos: Tables) -> PCollection[Video]:
        return videos | FlatMap(_videos, self.config, self.places)


def _videos(table: pa.Table, config: Partitioning, places: Places) -> Iterator[Video]:
    for row in assign_partitions(table, config).to_pylist():
        yield Video(
            row["video_id"],
            places.absolute(row["uri"]),
            Partition(row["partition"]),
            tuple(row["entity_ids"]),
            row["unit"],
            row["uri"],
            row["duration_seconds"],
            tuple(row["kept_columns"]),
            bool(row["given_partition"]) and config.by != "hash",
            row["view_count"],
        )
