"""The Beam shell of selection: tables in, videos with labels and a partition out.

Rows travel as Arrow tables. Where rows with the same id must meet, tables are cut into hash buckets and the pieces of
a bucket are joined in Arrow, so that a shuffle sees a few large values in place of many small ones.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import AsIter, AsSingleton, TaggedOutput

from yt8m_pipeline.accounting.outcome import Outcome, drop_duplicates
from yt8m_pipeline.accounting.reasons import DropReason, Stage
from yt8m_pipeline.chance import salted_hashes
from yt8m_pipeline.config import Partitioning, RaterScores, VideoSampling, Vocabulary
from yt8m_pipeline.data_model import Int64Array, Partition, Video
from yt8m_pipeline.files import absolute
from yt8m_pipeline.selection.partitioning import assign_partitions
from yt8m_pipeline.selection.rater_scores import Pruned, prune_by_rater_score
from yt8m_pipeline.selection.video_sampling import (
    PREFIXES,
    Cut,
    attach_labels,
    count_videos,
    cut_sample,
    draw_boundary,
    filter_eligible,
    hash_prefix_counts,
    keep_frequent,
    keep_labels,
    keep_popular,
    nested_annotations,
    sampling_cut,
)
from yt8m_pipeline.selection.vocabulary import filter_by_type, unused_types, used_types
from yt8m_pipeline.tables.reading import TableFiles, read_batches, schema
from yt8m_pipeline.transforms.ledger import COUNTS, KEPT, outputs_of, settle, settling
from yt8m_pipeline.transforms.ledger import REJECTS as REJECTED

BOUNDARY = "boundary"


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
        return videos | outputs_of(_Unnest())


class _Unnest(beam.DoFn):
    def process(self, videos: pa.Table) -> Iterator[Any]:
        yield from settle(Outcome(Stage.READ, "annotations", nested_annotations(videos)))


class AttachLabels(beam.PTransform):
    """{videos, eligible, annotations} → PCollection[pa.Table] of eligible videos with column `entity_ids`."""

    def __init__(self, *, vocabulary: Any, entities: Any, buckets: int) -> None:
        super().__init__()
        self._vocabulary, self._entities, self._buckets = vocabulary, entities, buckets

    def expand(self, tables: Mapping[str, Any]) -> Any:
        columns = {name: ("video_id", schema("videos")) for name in ("videos", "eligible")}
        join_by = JoinByHash({**columns, "annotations": ("video_id", schema("annotations"))}, self._buckets)
        sides = (_ids_of(self._vocabulary, "vocabulary ids"), _ids_of(self._entities, "entity ids"))
        return tables | join_by | settling(_attach, *sides)


def _ids_of(entities: Any, label: str) -> AsIter:
    return AsIter(entities | label >> beam.Map(lambda table: table["entity_id"].combine_chunks()))


def _attach(
    tables: Mapping[str, pa.Table], vocabulary_ids: Iterable[pa.Array], entity_ids: Iterable[pa.Array]
) -> tuple[Outcome, Outcome]:
    labelled = attach_labels(
        tables["eligible"],
        tables["annotations"],
        all_video_ids=tables["videos"]["video_id"].combine_chunks(),
        vocabulary_ids=_all_ids(vocabulary_ids),
        all_entity_ids=_all_ids(entity_ids),
    )
    return Outcome(Stage.LABELS, "videos", labelled.videos), labelled.annotations


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
    """PCollection[pa.Table] of entities → those with at least `min_videos_per_entity` sampled videos."""

    def __init__(self, config: VideoSampling, counts: Any) -> None:
        super().__init__()
        self._config, self._counts = config, counts

    def expand(self, entities: Any) -> Any:
        return entities | settling(self._keep, AsSingleton(self._counts))

    def _keep(self, entities: pa.Table, counts: Counter[str]) -> Iterator[Outcome]:
        yield keep_frequent(entities, counts, self._config)


class KeepLabels(beam.PTransform):
    """PCollection[pa.Table] of videos → the same with the labels of these entities only; those left with none drop."""

    def __init__(self, reason: DropReason, entities: Any) -> None:
        super().__init__()
        self._reason, self._entities = reason, entities

    def expand(self, videos: Any) -> Any:
        return videos | settling(self._keep, _ids_of(self._entities, "ids"))

    def _keep(self, videos: pa.Table, ids: Iterable[pa.Array]) -> Iterator[Outcome]:
        yield keep_labels(videos, _all_ids(ids).to_pylist(), self._reason)


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
