"""The Beam shell of films that are given several times: found by uri or by features, and rejected or kept together.

A few words of each video cross one shuffle. All that follows is about the films that several videos have.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias, TypeVar

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import AsSingleton, PCollection, TaggedOutput
from apache_beam.transforms.combiners import ToList

from yt8m_pipeline.accounting.outcome import Outcome
from yt8m_pipeline.accounting.reasons import Stage
from yt8m_pipeline.config import Config
from yt8m_pipeline.data_model import Partition, StoredVideo, Video
from yt8m_pipeline.places import Places
from yt8m_pipeline.selection.duplicate_films import (
    Cluster,
    Copy,
    clusters_of,
    first_copies,
    moves_of,
    reject_copies,
    warnings_of_kept,
    warnings_of_moved,
)
from yt8m_pipeline.transforms.ledger import COUNTS, REJECTS, Outputs, SeveralOutputs, outputs_of, settled_by
from yt8m_pipeline.transforms.selection import Tables, batches, label_rows
from yt8m_pipeline.transforms.steps import FlatMap, Map, NotingDoFn

Row: TypeAlias = tuple[str, int, str]
"""The file and row that a video is from, and its id."""
CopyCells: TypeAlias = tuple[str, str, str, bool]
"""The values of a `Copy`, which cross a shuffle faster than it does."""

T = TypeVar("T", str, Row, CopyCells)


class GroupByFilm(beam.PTransform[PCollection[tuple[str, T]], PCollection[list[list[T]]]]):
    """PCollection[(film, T)] → PCollection of one: the sorted values of each film that has several."""

    def expand(self, keyed: PCollection[tuple[str, T]]) -> PCollection[list[list[T]]]:
        films = keyed | "by film" >> beam.GroupByKey() | "sort" >> beam.MapTuple(_sorted_values)
        return films | "several" >> beam.Filter(_are_several) | "films" >> ToList()


def _sorted_values(_: str, values: Iterable[T]) -> list[T]:
    return sorted(set(values))


def _are_several(values: list[T]) -> bool:
    return len(values) > 1


@dataclass
class RejectSameUri(SeveralOutputs[Tables, Outputs[pa.Table]]):
    """PCollection[pa.Table] of videos → those of which no earlier row has the same uri."""

    places: Places

    def expand(self, videos: Tables) -> Outputs[pa.Table]:
        films = videos | "uris" >> FlatMap(_by_uri, self.places) | GroupByFilm()  # [[(file, row, video_id)]]
        first = films | "first" >> Map(_first_rows)
        return settled_by(videos, _reject_copies, AsSingleton(first))


def _by_uri(videos: pa.Table, places: Places) -> Iterator[tuple[str, Row]]:
    columns = (videos[name].to_pylist() for name in ("uri", "_file", "_row", "video_id"))
    for uri, file, row, video_id in zip(*columns, strict=True):
        yield places.absolute(uri), (file, row, video_id)


def _first_rows(films: Iterable[Sequence[Row]]) -> dict[str, str]:
    return first_copies([video_id for _, _, video_id in rows] for rows in films)


def _reject_copies(videos: pa.Table, first: Mapping[str, str]) -> Iterator[Outcome]:
    yield reject_copies(videos, first, Stage.SAME_URI)


class RejectSameFeatures(SeveralOutputs[PCollection[StoredVideo], Outputs[StoredVideo]]):
    """PCollection[StoredVideo] → those of which no video of a lesser id has the same features."""

    def expand(self, stored: PCollection[StoredVideo]) -> Outputs[StoredVideo]:
        first = stored | "features" >> Map(_by_features) | GroupByFilm() | "first" >> Map(first_copies)
        return outputs_of(stored | batches(), _RejectSameFeatures(), AsSingleton(first), kept=StoredVideo)


def _by_features(stored: StoredVideo) -> tuple[str, str]:
    return stored.entry.sha256, stored.video.video_id


class _RejectSameFeatures(NotingDoFn):
    def process(self, stored: list[StoredVideo], first: Mapping[str, str]) -> Iterator[Any]:
        outcome = reject_copies(label_rows(stored), first, Stage.SAME_FEATURES)
        yield from (item for item in stored if item.video.video_id not in first)
        yield TaggedOutput(COUNTS, outcome.count)
        yield TaggedOutput(REJECTS, outcome.rejects)


class FindSameUri(beam.PTransform[PCollection[Video], PCollection[list[Cluster]]]):
    """PCollection[Video] → the clusters of those with the same uri, in one list, before any of them is opened."""

    def expand(self, videos: PCollection[Video]) -> PCollection[list[Cluster]]:
        return videos | "uris" >> Map(_copy_by_uri) | GroupByFilm() | "clusters" >> Map(_clusters)


def _copy_by_uri(video: Video) -> tuple[str, CopyCells]:
    return f"uri {video.uri}", (video.video_id, _unit(video), video.partition.value, video.is_given)


class Together(NamedTuple):
    """The videos of a dataset with the films that several of them have.

    Attributes:
        stored: The videos, those moved that had to be.
        clusters: The clusters with the partitions that they had before, in one list.
        warnings: What the user should know.
    """

    stored: PCollection[StoredVideo]
    clusters: PCollection[list[Cluster]]
    warnings: PCollection[str]


@dataclass
class KeepFilmsTogether(SeveralOutputs[PCollection[StoredVideo], Together]):
    """PCollection[StoredVideo] → the same, every film in one partition, unless the config keeps them where they are."""

    config: Config

    def expand(self, stored: PCollection[StoredVideo]) -> Together:
        films = stored | "copies" >> FlatMap(_copies) | GroupByFilm()  # [[Copy]]
        clusters = films | "clusters" >> Map(_clusters)
        if self.config.duplicates == "keep":
            return Together(stored, clusters, clusters | "kept" >> FlatMap(warnings_of_kept))
        moves = AsSingleton(clusters | "moves" >> Map(moves_of))
        moved_ids = stored | "moved ids" >> FlatMap(_moved_ids, moves) | "their ids" >> ToList()
        warnings = clusters | "moved" >> FlatMap(warnings_of_moved, AsSingleton(moved_ids))
        return Together(stored | "move" >> Map(_moved, moves), clusters, warnings)


def _copies(stored: StoredVideo) -> Iterator[tuple[str, CopyCells]]:
    """The video by each film that it may be: by its features, and by its uri, which may have had other bytes before."""
    by_uri, cells = _copy_by_uri(stored.video)
    yield from ((f"features {stored.entry.sha256}", cells), (by_uri, cells))


def _clusters(films: Iterable[Sequence[CopyCells]]) -> list[Cluster]:
    return clusters_of([Copy(*values) for values in film] for film in films)


def _unit(video: Video) -> str:
    return video.unit or video.video_id


def _moved(stored: StoredVideo, moves: Mapping[str, str]) -> StoredVideo:
    partition = moves.get(_unit(stored.video))
    return replace(stored, video=replace(stored.video, partition=Partition(partition))) if partition else stored


def _moved_ids(stored: StoredVideo, moves: Mapping[str, str]) -> list[str]:
    return [stored.video.video_id] if _moved(stored, moves) != stored else []
