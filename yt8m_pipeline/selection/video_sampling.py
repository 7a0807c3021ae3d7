"""Stage 3: which videos, and which entities have enough of them (paper §3.1, §3.2)."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from yt8m_pipeline.accounting.outcome import Drop, Outcome, duplicates, mask, split
from yt8m_pipeline.accounting.reasons import DropReason, Stage
from yt8m_pipeline.chance import salted_hashes
from yt8m_pipeline.config import VideoSampling
from yt8m_pipeline.data_model import Int64Array

PREFIX_BITS = 16
"""The number of leading bits of a hash by which videos are counted; 65,536 counts find the cut of any sample."""

PREFIXES = 1 << PREFIX_BITS
"""The number of hash prefixes."""


def filter_eligible(videos: pa.Table, config: VideoSampling) -> Outcome:
    """Keeps the videos with enough views that are neither too short nor too long (paper §3.2).

    Args:
        videos: Columns `video_id`, `view_count` int64, `duration_seconds` float64, provenance.
        config: The thresholds. A video that has exactly a threshold's value is eligible.
    """
    views, seconds = np.asarray(videos["view_count"]), np.asarray(videos["duration_seconds"])
    shortest, longest = config.min_duration_seconds, config.max_duration_seconds
    drops = [
        Drop(
            DropReason.TOO_FEW_VIEWS,
            views < config.min_views,
            f"view_count {{view_count}} is below min_views {config.min_views}",
        ),
        Drop(DropReason.TOO_SHORT, seconds < shortest, f"{{duration_seconds}} s is below {shortest} s"),
        Drop(DropReason.TOO_LONG, seconds > longest, f"{{duration_seconds}} s is above {longest} s"),
    ]
    return split(videos, drops, Stage.ELIGIBILITY, "videos")


class Labelled(NamedTuple):
    """The videos with their labels, `entity_ids` list<string> (sorted, distinct, maybe empty), and the annotations."""

    videos: pa.Table
    annotations: Outcome


def attach_labels(
    videos: pa.Table,
    annotations: pa.Table,
    *,
    all_video_ids: pa.Array,
    vocabulary_ids: pa.Array,
    all_entity_ids: pa.Array,
) -> Labelled:
    """Joins annotations to videos. The column `entity_ids` replaces the column `labels`.

    All rows of one video must be in the same call.

    Args:
        videos: The eligible videos: columns `video_id`, provenance.
        annotations: Columns `video_id`, `entity_id` string, provenance.
        all_video_ids: Every id of the videos table, also of videos that are not eligible: string.
        vocabulary_ids: The ids of the entities that are kept so far: string.
        all_entity_ids: Every id of the entities table: string.
    """
    video_ids, entity_ids = annotations["video_id"], annotations["entity_id"]
    drops = [
        _not_in(video_ids, all_video_ids, DropReason.UNKNOWN_VIDEO, "{video_id} is not in the videos table"),
        _not_in(entity_ids, all_entity_ids, DropReason.UNKNOWN_ENTITY, "{entity_id} is not in the entities table"),
        duplicates(annotations, ["video_id", "entity_id"]),
        _not_in(entity_ids, vocabulary_ids, DropReason.ENTITY_NOT_KEPT, "{entity_id} was dropped by an earlier stage"),
        _not_in(video_ids, videos["video_id"], DropReason.VIDEO_NOT_KEPT, "{video_id} is not eligible"),
    ]
    outcome = split(annotations, drops, Stage.LABELS, "annotations")
    others = videos.drop_columns("labels") if "labels" in videos.column_names else videos
    return Labelled(others.append_column("entity_ids", _labels_of(videos, outcome.kept)), outcome)


def nested_annotations(videos: pa.Table) -> pa.Table:
    """Makes an annotations table of the column `labels`, list<struct<entity_id, score>>, of a videos table.

    Each annotation has the provenance of its video. A label without an entity id gets the id "", which no entity has.
    """
    lists = videos["labels"].combine_chunks()
    rows, labels = pc.list_parent_indices(lists), pc.list_flatten(lists)
    columns = {name: videos[name].take(rows) for name in ("video_id", "_file", "_row")}
    return pa.table(
        {
            "video_id": columns["video_id"],
            "entity_id": pc.fill_null(pc.struct_field(labels, "entity_id"), ""),
            "score": pc.struct_field(labels, "score"),
            "_file": columns["_file"],
            "_row": columns["_row"],
        }
    )


def count_videos(videos: pa.Table) -> Counter[str]:
    """Counts the videos of each entity. `+` adds the counts of two tables."""
    counts = pc.value_counts(pc.list_flatten(videos["entity_ids"]))
    return Counter({pair["values"]: pair["counts"] for pair in counts.to_pylist()})


def popular_entities(counts: Mapping[str, int], config: VideoSampling) -> frozenset[str]:
    """The entities with "more than 200 popular videos" (paper §3.1), from the counts of eligible videos."""
    return frozenset(entity_id for entity_id, count in counts.items() if count > config.popular_videos_above)


def frequent_entities(counts: Mapping[str, int], config: VideoSampling) -> frozenset[str]:
    """The entities left when those "with less than 200 videos" go (paper §3.2), from the counts of sampled videos."""
    return frozenset(entity_id for entity_id, count in counts.items() if count >= config.min_videos_per_entity)


def keep_popular(entities: pa.Table, counts: Mapping[str, int], config: VideoSampling) -> Outcome:
    """Drops the other entities than the `popular_entities` from the entities table."""
    videos = _counts_of(entities, counts)
    drop = Drop(
        DropReason.TOO_FEW_POPULAR_VIDEOS,
        videos <= config.popular_videos_above,
        f"eligible videos: {{videos}}, not above popular_videos_above {config.popular_videos_above}",
        {"videos": pa.array(videos)},
    )
    return split(entities, [drop], Stage.POPULARITY, "entities")


def keep_frequent(entities: pa.Table, counts: Mapping[str, int], config: VideoSampling) -> Outcome:
    """Drops the other entities than the `frequent_entities` from the entities table."""
    videos = _counts_of(entities, counts)
    drop = Drop(
        DropReason.TOO_FEW_VIDEOS,
        videos < config.min_videos_per_entity,
        f"sampled videos: {{videos}}, below min_videos_per_entity {config.min_videos_per_entity}",
        {"videos": pa.array(videos)},
    )
    return split(entities, [drop], Stage.FREQUENCY, "entities")


def keep_labels(videos: pa.Table, entity_ids: Collection[str], reason: DropReason) -> Outcome:
    """Removes the labels of other entities, and drops the videos that have none left (paper §3.2).

    Args:
        videos: Columns `video_id`, `entity_ids` list<string>, provenance.
        entity_ids: The entities whose labels are kept.
        reason: `NO_VOCABULARY_LABEL` before the draw, `NO_LABEL_LEFT` after it.
    """
    lists = videos["entity_ids"].combine_chunks()
    labels, parents = pc.list_flatten(lists), pc.list_parent_indices(lists)
    stays = pc.is_in(labels, value_set=pa.array(entity_ids, pa.string()))
    left = _lists(np.asarray(parents.filter(stays)), labels.filter(stays), videos.num_rows)
    without = Drop(
        reason, np.asarray(pc.list_value_length(left)) == 0, "no label is kept of: {before}", {"before": lists}
    )
    column = videos.column_names.index("entity_ids")
    relabelled = videos.set_column(column, "entity_ids", left)
    stage = Stage.POPULARITY if reason == DropReason.NO_VOCABULARY_LABEL else Stage.FREQUENCY
    return split(relabelled, [without], stage, "videos")


@dataclass(frozen=True, slots=True)
class Cut:
    """The place in the order of (hash, id) where the sample ends.

    Attributes:
        prefix: Videos with a smaller hash prefix are drawn, those with a larger one are not. At 65,536 all are drawn.
        quota: The number of videos with this very prefix that are drawn: the first by (hash, id).
    """

    prefix: int
    quota: int

    def __post_init__(self) -> None:
        if not 0 <= self.prefix <= PREFIXES or self.quota < 0:
            raise ValueError(f"a cut has a prefix of 0 … {PREFIXES} and a quota of at least 0, got {self}")


class CutVideos(NamedTuple):
    """The videos below the prefix of a cut (kept) and above it (rejected), and those at it, still undecided."""

    outcome: Outcome
    boundary: pa.Table


def hash_prefix_counts(videos: pa.Table, config: VideoSampling) -> Int64Array:
    """Counts the videos of each hash prefix: int64, (65536,). The sum over tables is that of all videos."""
    return np.bincount(_prefixes(_hashes(videos, config)), minlength=PREFIXES)


def sampling_cut(counts: Int64Array, config: VideoSampling) -> Cut:
    """Finds the cut that draws exactly `sample_size` videos, or all if there are no more (paper §3.2).

    Args:
        counts: The `hash_prefix_counts` of all videos: int64, (65536,).
        config: The sample size.
    """
    below = np.cumsum(counts)
    if below[-1] <= config.sample_size:
        return Cut(PREFIXES, 0)
    prefix = int(np.searchsorted(below, config.sample_size))
    return Cut(prefix, int(config.sample_size - (below[prefix] - counts[prefix])))


def cut_sample(videos: pa.Table, cut: Cut, config: VideoSampling) -> CutVideos:
    """Decides on all videos but those at the cut, which must be gathered for `draw_boundary`."""
    prefixes = _prefixes(_hashes(videos, config))
    decided = videos.filter(pa.array(prefixes != cut.prefix))
    above = prefixes[prefixes != cut.prefix] > cut.prefix
    return CutVideos(_drop_unsampled(decided, above, config), videos.filter(pa.array(prefixes == cut.prefix)))


def draw_boundary(boundary: pa.Table, cut: Cut, config: VideoSampling) -> Outcome:
    """Keeps the first `quota` videos by (hash, id) of those at the cut, all of which must be in this one table."""
    by_hash = pa.table({"hash": _hashes(boundary, config), "id": boundary["video_id"]})
    order = pc.sort_indices(by_hash, sort_keys=[("hash", "ascending"), ("id", "ascending")])
    beyond = np.ones(boundary.num_rows, np.bool_)
    beyond[np.asarray(order)[: cut.quota]] = False
    return _drop_unsampled(boundary, beyond, config)


def sample_videos(videos: pa.Table, config: VideoSampling) -> Outcome:
    """Keeps the `sample_size` first videos of one table by (salted hash, id) (paper §3.2)."""
    cut = sampling_cut(hash_prefix_counts(videos, config), config)
    decided, boundary = cut_sample(videos, cut, config)
    drawn = draw_boundary(boundary, cut, config)
    rejects = pa.concat_tables([decided.rejects, drawn.rejects])
    return Outcome(Stage.SAMPLING, "videos", pa.concat_tables([decided.kept, drawn.kept]), rejects)


def _not_in(ids: pa.ChunkedArray, known: pa.Array, reason: DropReason, detail: str) -> Drop:
    return Drop(reason, ~mask(pc.is_in(ids, value_set=known)), detail)


def _labels_of(videos: pa.Table, annotations: pa.Table) -> pa.ListArray:
    """Gathers the sorted entity ids of each video: list<string>, (videos,)."""
    pairs = pa.table(
        {
            "video": pc.index_in(annotations["video_id"], value_set=videos["video_id"]),
            "entity_id": annotations["entity_id"],
        }
    ).sort_by([("video", "ascending"), ("entity_id", "ascending")])
    return _lists(np.asarray(pairs["video"]), pairs["entity_id"].combine_chunks(), videos.num_rows)


def _lists(parents: npt.NDArray[np.integer], values: pa.Array, rows: int) -> pa.ListArray:
    """Makes the list of each row, of values and the row that each belongs to, in order."""
    offsets = np.concatenate([[0], np.cumsum(np.bincount(parents, minlength=rows))])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def _counts_of(entities: pa.Table, counts: Mapping[str, int]) -> Int64Array:
    return np.array([counts.get(entity_id, 0) for entity_id in entities["entity_id"].to_pylist()], np.int64)


def _drop_unsampled(videos: pa.Table, unsampled: npt.NDArray[np.bool_], config: VideoSampling) -> Outcome:
    drop = Drop(DropReason.NOT_SAMPLED, unsampled, f"not among the first {config.sample_size} by salted hash")
    return split(videos, [drop], Stage.SAMPLING, "videos")


def _hashes(videos: pa.Table, config: VideoSampling) -> npt.NDArray[np.uint64]:
    return salted_hashes(config.salt, videos["video_id"].to_pylist())


def _prefixes(hashes: npt.NDArray[np.uint64]) -> Int64Array:
    return (hashes >> np.uint64(64 - PREFIX_BITS)).astype(np.int64)
