"""The Beam shell of selection: tables in, videos with labels and a partition out.

Rows travel as Arrow tables. Where rows with the same id must meet, tables are cut into hash buckets and the pieces of
a bucket are joined in Arrow, so that a shuffle sees a few large values in place of many small ones.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import AsIter, AsSingleton, TaggedOutput

from yt8m_pipeline.accounting.outcome import PROVENANCE, Outcome, drop_duplicates
from yt8m_pipeline.accounting.reasons import Stage
from yt8m_pipeline.chance import salted_hashes
from yt8m_pipeline.config import Partitioning, RaterScores, VideoSampling, Vocabulary
from yt8m_pipeline.data_model import Int64Array, Partition, StoredVideo, Video
from yt8m_pipeline.files import absolute
from yt8m_pipeline.selection.frequency import count_videos, keep_frequent, keep_popular
from yt8m_pipeline.selection.labels import attach_labels, keep_labels, nested_annotations, settle_annotations
from yt8m_pipeline.selection.partitioning import assign_partitions, lacking_entities, lacking_warnings
from yt8m_pipeline.selection.rater_scores import Pruned, prune_by_rater_score
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
from yt8m_pipeline.tables.reading import TableFiles, read_batches, schema
from yt8m_pipeline.transforms.ledger import COUNTS, KEPT, outputs_of, settle, settling
from yt8m_pipeline.transforms.ledger import REJECTS as REJECTED

BOUNDARY = "boundary"
LABELS = "labels"


class ReadTable(beam.PTransform):
    """Pipeline → PCollection[pa.Table]: the well-formed rows of one input table, with their provenance."""

    def __init__(self, source: TableFiles) -> None:
        super().__init__()
        self._source = source

    def expand(self, root: Any) -> Any:
        return root | beam.Create(self._source.files) | beam.Reshuffle() | outputs_of(_Read(self._source))


class _Read(beam.DoFn):
    def __init__(self, source: TableFiles) -> None:
        self._source = source

    def process(self, file: str) -> Iterator[Any]:
        for outcome in read_batches(self._source, file):
            yield from settle(outcome)


class JoinByHash(beam.PTransform):
    """{name: PCollection[pa.Table]} → PCollection[{name: pa.Table}]: all rows with one id are in one element."""

    def __init__(self, columns: Mapping[str, tuple[str, pa.Schema]], buckets: int) -> None:
        super().__init__()
        self._columns, self._buckets = columns, buckets

    def expand(self, tables: Mapping[str, Any]) -> Any:
        keyed = {
            name: table | f"bucket {name}" >> beam.FlatMap(_into_buckets, self._columns[name][0], self._buckets)
            for name, table in tables.items()
        }
        return keyed | beam.CoGroupByKey() | beam.MapTuple(self._gather)

    def _gather(self, _: int, pieces: Mapping[str, Iterable[pa.Table]]) -> dict[str, pa.Table]:
        return {name: gather(pieces[name], columns) for name, (_, columns) in self._columns.items()}


def _into_buckets(table: pa.Table, column: str, buckets: int) -> Iterator[tuple[int, pa.Table]]:
    bucket = salted_hashes("bucket", table[column].to_pylist()) % np.uint64(buckets)
    for number in np.unique(bucket):
        yield int(number), table.filter(pa.array(bucket == number))


def gather(pieces: Iterable[pa.Table], columns: pa.Schema) -> pa.Table:
    """One table, in the order of the files and rows, whatever the order of the pieces."""
    return pa.concat_tables([columns.empty_table(), *pieces]).sort_by([("_file", "ascending"), ("_row", "ascending")])


class DropDuplicates(beam.PTransform):
    """PCollection[pa.Table] → the first row of each id."""

    def __init__(self, table: str, key: str, buckets: int) -> None:
        super().__init__()
        self._table, self._key, self._buckets = table, key, buckets

    def expand(self, tables: Any) -> Any:
        join_by = JoinByHash({self._table: (self._key, schema(self._table))}, self._buckets)
        return {self._table: tables} | join_by | settling(self._drop)

    def _drop(self, tables: Mapping[str, pa.Table]) -> Iterator[Outcome]:
        yield drop_duplicates(tables[self._table], [self._key], Stage.UNIQUE, self._table)


class FilterByType(beam.PTransform):
    """PCollection[pa.Table] of entities → those with a whitelisted type and no blacklisted one."""

    def __init__(self, config: Vocabulary) -> None:
        super().__init__()
        self._config = config

    def expand(self, entities: Any) -> Any:
        return entities | settling(lambda table: [filter_by_type(table, self._config)])


class WarnOfUnusedTypes(beam.PTransform):
    """PCollection[pa.Table] of entities → PCollection[str]: a warning for each whitelisted type that no entity has."""

    def __init__(self, config: Vocabulary) -> None:
        super().__init__()
        self._config = config

    def expand(self, entities: Any) -> Any:
        used = (
            entities
            | beam.Map(used_types, self._config)
            | beam.CombineGlobally(lambda groups: frozenset().union(*groups))
        )
        return used | beam.FlatMap(
            lambda types: [
                f"vocabulary.type_whitelist: no entity has the type '{name}'; is it misspelt?"
                for name in unused_types(types, self._config)
            ]
        )


class PruneByRaterScore(beam.PTransform):
    """{typed, entities, ratings} → PCollection[pa.Table] of the entities that raters find visual."""

    def __init__(self, config: RaterScores, buckets: int) -> None:
        super().__init__()
        self._config, self._buckets = config, buckets

    def expand(self, tables: Mapping[str, Any]) -> Any:
        columns = {name: ("entity_id", schema("entities")) for name in ("typed", "entities")}
        join_by = JoinByHash({**columns, "ratings": ("entity_id", schema("ratings"))}, self._buckets)
        return tables | join_by | settling(self._prune)

    def _prune(self, tables: Mapping[str, pa.Table]) -> Pruned:
        known = tables["entities"]["entity_id"].combine_chunks()
        return prune_by_rater_score(tables["typed"], tables["ratings"], self._config, all_entity_ids=known)


class FilterEligible(beam.PTransform):
    """PCollection[pa.Table] of videos → those with enough views that are neither too short nor too long."""

    def __init__(self, config: VideoSampling) -> None:
        super().__init__()
        self._config = config

    def expand(self, videos: Any) -> Any:
        return videos | settling(lambda table: [filter_eligible(table, self._config)])


class UnnestAnnotations(beam.PTransform):
    """PCollection[pa.Table] of videos with `labels` → PCollection[pa.Table] of annotations."""

    def expand(self, videos: Any) -> Any:
        return videos | settling(lambda table: [nested_annotations(table)])


class AttachLabels(beam.PTransform):
    """{videos, eligible, annotations} → PCollection[pa.Table] of eligible videos with column `entity_ids`.

    Its output `LABELS` is PCollection[pa.Table] of the annotations behind them.
    """

    def __init__(self, config: VideoSampling, *, vocabulary: Any, entities: Any, buckets: int) -> None:
        super().__init__()
        self._config, self._vocabulary, self._entities, self._buckets = config, vocabulary, entities, buckets

    def expand(self, tables: Mapping[str, Any]) -> Any:
        columns = {name: ("video_id", schema("videos")) for name in ("videos", "eligible")}
        join_by = JoinByHash({**columns, "annotations": ("video_id", schema("annotations"))}, self._buckets)
        sides = (_ids_of(self._vocabulary, "vocabulary ids"), _ids_of(self._entities, "entity ids"))
        attach = beam.ParDo(_AttachLabels(self._config), *sides)
        return tables | join_by | attach.with_outputs(REJECTED, COUNTS, LABELS, main=KEPT)


def _ids_of(entities: Any, label: str) -> AsIter:
    return AsIter(entities | label >> beam.Map(lambda table: table["entity_id"].combine_chunks()))


class _AttachLabels(beam.DoFn):
    def __init__(self, config: VideoSampling) -> None:
        self._config = config

    def process(
        self, tables: Mapping[str, pa.Table], vocabulary_ids: Iterable[pa.Array], entity_ids: Iterable[pa.Array]
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


class CountVideos(beam.PTransform):
    """PCollection[pa.Table] of labelled videos → PCollection[Counter] of one: entity id → videos."""

    def expand(self, videos: Any) -> Any:
        return videos | beam.Map(count_videos) | beam.CombineGlobally(_sum_counters)


def _sum_counters(counters: Iterable[Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for counter in counters:
        total.update(counter)
    return total


class KeepPopular(beam.PTransform):
    """PCollection[pa.Table] of entities → those with more than `popular_videos_above` eligible videos."""

    def __init__(self, config: VideoSampling, counts: Any) -> None:
        super().__init__()
        self._config, self._counts = config, counts

    def expand(self, entities: Any) -> Any:
        return entities | settling(self._keep, AsSingleton(self._counts))

    def _keep(self, entities: pa.Table, counts: Counter[str]) -> Iterator[Outcome]:
        yield keep_popular(entities, counts, self._config)


class KeepFrequent(beam.PTransform):
    """PCollection[pa.Table] of entities → those with at least `min_videos_per_entity` videos."""

    def __init__(self, config: VideoSampling, counts: Any, stage: Stage) -> None:
        super().__init__()
        self._config, self._counts, self._stage = config, counts, stage

    def expand(self, entities: Any) -> Any:
        return entities | settling(self._keep, AsSingleton(self._counts))

    def _keep(self, entities: pa.Table, counts: Counter[str]) -> Iterator[Outcome]:
        yield keep_frequent(entities, counts, self._config, self._stage)


class KeepLabels(beam.PTransform):
    """PCollection[pa.Table] of videos → the same with the labels of these entities only; those left with none drop."""

    def __init__(self, stage: Stage, entities: Any) -> None:
        super().__init__()
        self._stage, self._entities = stage, entities

    def expand(self, videos: Any) -> Any:
        return videos | settling(self._keep, _ids_of(self._entities, "ids"))

    def _keep(self, videos: pa.Table, ids: Iterable[pa.Array]) -> Iterator[Outcome]:
        yield keep_labels(videos, _all_ids(ids).to_pylist(), self._stage)


class CountStored(beam.PTransform):
    """PCollection[StoredVideo] → PCollection[Counter] of one: entity id → videos whose features are in the store."""

    def expand(self, stored: Any) -> Any:
        return stored | beam.Map(lambda item: Counter(item.video.entity_ids)) | beam.CombineGlobally(_sum_counters)


class KeepStored(beam.PTransform):
    """PCollection[StoredVideo] → the same with the labels of these entities only; those left with none drop."""

    def __init__(self, entities: Any) -> None:
        super().__init__()
        self._entities = entities

    def expand(self, stored: Any) -> Any:
        return stored | _batches() | outputs_of(_KeepStored(), _ids_of(self._entities, "ids"))


class _KeepStored(beam.DoFn):
    def process(self, stored: list[StoredVideo], ids: Iterable[pa.Array]) -> Iterator[Any]:
        outcome = keep_labels(label_rows(stored), _all_ids(ids).to_pylist(), Stage.RECOUNT)
        left = dict(zip(*(outcome.kept[name].to_pylist() for name in ("video_id", "entity_ids")), strict=True))
        for item in stored:
            if item.video.video_id in left:
                yield replace(item, video=replace(item.video, entity_ids=tuple(left[item.video.video_id])))
        yield TaggedOutput(COUNTS, outcome.count)
        yield TaggedOutput(REJECTED, outcome.rejects)


class SettleAnnotations(beam.PTransform):
    """{videos: StoredVideo, annotations: pa.Table} → PCollection[pa.Table] of the annotations that are labels."""

    def __init__(self, buckets: int) -> None:
        super().__init__()
        self._buckets = buckets

    def expand(self, tables: Mapping[str, Any]) -> Any:
        rows = {**tables, "videos": tables["videos"] | _batches() | beam.Map(label_rows)}
        columns = {"videos": ("video_id", LABEL_ROWS), "annotations": ("video_id", schema("annotations"))}
        return rows | JoinByHash(columns, self._buckets) | settling(_settle_annotations)


def _settle_annotations(tables: Mapping[str, pa.Table]) -> Iterator[Outcome]:
    yield settle_annotations(tables["annotations"], tables["videos"])


class FindLackingEntities(beam.PTransform):
    """PCollection[StoredVideo] → PCollection[dict] of one: partition → the entities that none of its videos has."""

    def __init__(self, entities: Any) -> None:
        super().__init__()
        self._entities = entities

    def expand(self, stored: Any) -> Any:
        labels = (
            stored
            | "labels"
            >> beam.FlatMap(lambda item: [(item.video.partition.value, name) for name in item.video.entity_ids])
            | beam.Distinct()
            | beam.combiners.ToSet()
        )
        return labels | "lacking" >> beam.Map(_lacking, _ids_of(self._entities, "ids"))


def _lacking(labels: set[tuple[str, str]], ids: Iterable[pa.Array]) -> dict[str, list[str]]:
    return lacking_entities(labels, _all_ids(ids).to_pylist())


class WarnOfLackingEntities(beam.PTransform):
    """PCollection[dict] of `FindLackingEntities` → PCollection[str]: a warning for each partition that lacks any."""

    def __init__(self, entities: Any) -> None:
        super().__init__()
        self._entities = entities

    def expand(self, lacking: Any) -> Any:
        return lacking | beam.FlatMap(_lacking_warnings, AsIter(self._entities))


def _lacking_warnings(lacking: Mapping[str, list[str]], entities: Iterable[pa.Table]) -> list[str]:
    pairs = (zip(*(table[name].to_pylist() for name in ("entity_id", "name")), strict=True) for table in entities)
    return lacking_warnings(lacking, dict(chain.from_iterable(pairs)))


def label_rows(stored: Iterable[StoredVideo]) -> pa.Table:
    """The ids and labels of stored videos, with their own files as provenance."""
    videos = [item.video for item in stored]
    columns = [
        [video.video_id for video in videos],
        [video.entity_ids for video in videos],
        [video.uri for video in videos],
        pa.nulls(len(videos), pa.int64()),
    ]
    return pa.table(columns, schema=LABEL_ROWS)


LABEL_ROWS = pa.schema([("video_id", pa.string()), ("entity_ids", pa.list_(pa.string())), *PROVENANCE])


def _batches() -> beam.BatchElements:
    """Elements → lists of them, so that a table does not have one row."""
    return beam.BatchElements(min_batch_size=100, max_batch_size=10_000)


class SampleVideos(beam.PTransform):
    """PCollection[pa.Table] of videos → exactly `sample_size` of them, the first by salted hash (paper §3.2)."""

    def __init__(self, config: VideoSampling) -> None:
        super().__init__()
        self._config = config

    def expand(self, videos: Any) -> dict[str, Any]:
        cut = (
            videos
            | "prefixes" >> beam.Map(hash_prefix_counts, self._config)
            | "sum" >> beam.CombineGlobally(_sum_counts)
            | "cut" >> beam.Map(sampling_cut, self._config)
        )
        decided = videos | beam.ParDo(_CutSample(self._config), AsSingleton(cut)).with_outputs(
            REJECTED, COUNTS, BOUNDARY, main=KEPT
        )
        drawn = (
            decided[BOUNDARY]
            | "one group" >> beam.Map(lambda table: (0, table))
            | beam.GroupByKey()
            | "gather" >> beam.MapTuple(lambda _, tables: pa.concat_tables(tables))
            | "draw" >> settling(self._draw, AsSingleton(cut))
        )
        return {tag: (decided[tag], drawn[tag]) | tag >> beam.Flatten() for tag in (KEPT, REJECTED, COUNTS)}

    def _draw(self, boundary: pa.Table, cut: Cut) -> Iterator[Outcome]:
        yield draw_boundary(boundary, cut, self._config)


class _CutSample(beam.DoFn):
    def __init__(self, config: VideoSampling) -> None:
        self._config = config

    def process(self, videos: pa.Table, cut: Cut) -> Iterator[Any]:
        outcome, boundary = cut_sample(videos, cut, self._config)
        yield from settle(outcome)
        if boundary.num_rows:
            yield TaggedOutput(BOUNDARY, boundary)


def _sum_counts(counts: Iterable[Int64Array]) -> Int64Array:
    return sum(counts, np.zeros(PREFIXES, np.int64))


class AssignPartitions(beam.PTransform):
    """PCollection[pa.Table] of videos → PCollection[Video], each with its partition."""

    def __init__(self, config: Partitioning, root: str) -> None:
        super().__init__()
        self._config, self._root = config, root

    def expand(self, videos: Any) -> Any:
        return videos | beam.FlatMap(self._videos)

    def _videos(self, table: pa.Table) -> Iterator[Video]:
        columns = ("video_id", "uri", "partition", "entity_ids")
        rows = assign_partitions(table, self._config).select(columns).to_pydict()
        for video_id, uri, partition, entity_ids in zip(*(rows[name] for name in columns), strict=True):
            yield Video(video_id, absolute(uri, self._root), Partition(partition), tuple(entity_ids))
