"""Stage 3: the labels of videos, from the annotations that they begin as to the labels that a dataset holds (§3.2).

Annotations are joined before the draw, since only videos with a label are drawn from; `keep_labels` drops those of
entities that went after it, and "videos with no remaining entities".
"""

from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from yt8m_pipeline.accounting.outcome import PROVENANCE, Drop, Outcome, duplicates, mask, split
from yt8m_pipeline.accounting.reasons import DropReason, Stage
from yt8m_pipeline.config import VideoSampling
from yt8m_pipeline.data_model import Int64Array

SEGMENT = ("start_seconds", "end_seconds")
"""The columns of the segment of a video that an annotation is of; null where it is of the whole video."""


class Labelled(NamedTuple):
    """The videos with their labels, `entity_ids` list<string> (sorted, distinct), and the annotations behind them."""

    videos: Outcome
    annotations: Outcome


def attach_labels(
    videos: pa.Table,
    annotations: pa.Table,
    config: VideoSampling,
    *,
    all_video_ids: pa.Array,
    vocabulary_ids: pa.Array,
    all_entity_ids: pa.Array,
) -> Labelled:
    """Joins annotations to videos, and keeps the videos with a label. The column `entity_ids` replaces `labels`.

    All rows of one video must be in the same call.

    Args:
        videos: The eligible videos: columns `video_id`, provenance.
        annotations: Columns `video_id`, `entity_id` string, `score` float64, provenance.
        config: The lowest score. An annotation without a score has none to be too low.
        all_video_ids: Every id of the videos table, also of videos that are not eligible: string.
        vocabulary_ids: The ids of the entities that are kept so far: string.
        all_entity_ids: Every id of the entities table: string.
    """
    why = "is in no valid row of the entities table"
    known = _known(annotations, config, all_video_ids, all_entity_ids, why)
    outcome = known.then(lambda rows: _of_kept(rows, videos["video_id"], vocabulary_ids))
    return Labelled(keep_labels(_with_labels(videos, outcome.kept), vocabulary_ids.to_pylist(), Stage.LABELS), outcome)


def label_by_vocabulary(
    videos: pa.Table, annotations: pa.Table, config: VideoSampling, *, entity_ids: pa.Array
) -> Labelled:
    """Joins annotations to videos by a vocabulary that stands already; a video without a label keeps [].

    All rows of one video must be in the same call. The tables are those of `attach_labels`.

    Args:
        videos: All videos.
        annotations: Their annotations.
        config: The lowest score.
        entity_ids: The ids of the entities of the vocabulary: string.
    """
    why = "is not in the vocabulary of the dataset"
    known = _known(annotations, config, videos["video_id"], entity_ids, why)
    outcome = known.then(lambda rows: _of_kept(rows, videos["video_id"], entity_ids))
    return Labelled(Outcome(Stage.LABELS, "videos", _with_labels(videos, outcome.kept)), outcome)


def _with_labels(videos: pa.Table, annotations: pa.Table) -> pa.Table:
    others = videos.drop_columns("labels") if "labels" in videos.column_names else videos
    return others.append_column("entity_ids", _labels_of(videos, annotations))


def _known(
    annotations: pa.Table, config: VideoSampling, video_ids: pa.Array, entity_ids: pa.Array, why_unknown: str
) -> Outcome:
    """Keeps the annotations of known videos and entities, with a score that is high enough."""
    low = pc.less(annotations["score"], pa.scalar(config.min_score, pa.float64()))
    drops = [
        _not_in(annotations, "video_id", video_ids, DropReason.UNKNOWN_VIDEO, "is in no valid row of the videos table"),
        _not_in(annotations, "entity_id", entity_ids, DropReason.UNKNOWN_ENTITY, why_unknown),
        Drop(DropReason.LOW_SCORE, mask(low), f"score {{score}} is below min_score {config.min_score}"),
    ]
    return split(annotations, drops, Stage.LABELS, "annotations")


def _of_kept(annotations: pa.Table, video_ids: pa.Array, entity_ids: pa.Array) -> Outcome:
    """Keeps the first annotation of each eligible video with each entity that is kept so far."""
    drops = [
        _other_segments(annotations),
        duplicates(annotations, ["video_id", "entity_id"]),
        _not_in(annotations, "entity_id", entity_ids, DropReason.ENTITY_NOT_KEPT, "was dropped by an earlier stage"),
        _not_in(annotations, "video_id", video_ids, DropReason.VIDEO_NOT_KEPT, "is not eligible"),
    ]
    return split(annotations, drops, Stage.LABELS, "annotations")


def _other_segments(annotations: pa.Table) -> Drop:
    """Makes the reason that applies to each further segment of a label that a video has.

    A label holds for its whole video. So an annotation of another segment of the same video adds nothing.
    """
    if not has_segments(annotations):
        return Drop(DropReason.OTHER_SEGMENT, np.zeros(annotations.num_rows, np.bool_), "")
    keyed = annotations
    for name in SEGMENT:
        keyed = keyed.append_column(f"{name} as text", annotations[name].cast(pa.string()))
    label = duplicates(annotations, ["video_id", "entity_id"])
    same = duplicates(keyed, ["video_id", "entity_id", *keyed.column_names[-2:]])
    return Drop(
        DropReason.OTHER_SEGMENT,
        label.applies & ~same.applies & mask(annotations[SEGMENT[0]].is_valid()),
        "{start_seconds} to {end_seconds} s is another segment of a label that the video has by {_first_file}, row "
        "{_first_row}; a label holds for the whole video",
        label.values,
    )


def has_segments(annotations: pa.Table) -> bool:
    """Whether any annotation says when its label holds."""
    return bool(annotations["start_seconds"].null_count < annotations.num_rows)


OF_SEGMENTS = (
    "annotations have start_seconds and end_seconds; each label holds for its whole video, since this version writes "
    "no records of segments"
)
"""What a user must know of a dataset that is made of annotations of segments."""


def nested_annotations(videos: pa.Table) -> Outcome:
    """Makes an annotations table of the column `labels` of a videos table, which `tables` has read.

    Each annotation has the provenance of its video. One that has a fault is rejected, as it is in an annotations table.
    """
    lists = videos["labels"].combine_chunks()
    rows, labels = pc.list_parent_indices(lists), pc.list_flatten(lists)
    table = pa.table(
        {
            "video_id": videos["video_id"].take(rows),
            **{name: pc.struct_field(labels, name) for name in ("entity_id", "score", *SEGMENT)},
            **{name: videos[name].take(rows) for name in PROVENANCE.names},
        }
    )
    faults, details = pc.struct_field(labels, "reason"), pc.struct_field(labels, "detail")
    drops = [
        Drop(reason, mask(pc.equal(faults, reason.value)), "{_detail}", {"_detail": details})
        for reason in (DropReason.WRONG_TYPE, DropReason.MISSING_VALUE, DropReason.OUT_OF_RANGE)
    ]
    return split(table, drops, Stage.READ, "annotations")


def derive_entities(annotations: pa.Table, video_ids: pa.Array) -> pa.Table:
    """Makes an entity of each distinct label of the known videos: its id and its name are the label's text.

    Args:
        annotations: Columns `video_id`, `entity_id` string, provenance.
        video_ids: Every id of the videos table: string.

    Returns:
        Columns `entity_id`, `name` string, provenance: that of the label's first annotation.
    """
    known = annotations.filter(pc.is_in(annotations["video_id"], value_set=video_ids))
    first = known.filter(pa.array(~duplicates(known, ["entity_id"]).applies))
    columns = [first[name] for name in ("entity_id", "entity_id", "_file", "_row")]
    return pa.table(columns, names=["entity_id", "name", "_file", "_row"])


def keep_labels(videos: pa.Table, entity_ids: Collection[str], stage: Stage) -> Outcome:
    """Removes the labels of other entities, and drops the videos that have none left (paper §3.2).

    Args:
        videos: Columns `video_id`, `entity_ids` list<string>, provenance.
        entity_ids: The entities whose labels are kept.
        stage: The stage that dropped the others.
    """
    lists = videos["entity_ids"].combine_chunks()
    labels, parents = pc.list_flatten(lists), pc.list_parent_indices(lists)
    stays = pc.is_in(labels, value_set=pa.array(entity_ids, pa.string()))
    left = _lists(np.asarray(parents.filter(stays)), labels.filter(stays), videos.num_rows)
    without = Drop(
        DropReason.NO_VOCABULARY_LABEL if stage in (Stage.LABELS, Stage.POPULARITY) else DropReason.NO_LABEL_LEFT,
        np.asarray(pc.list_value_length(left)) == 0,
        "no label is kept of: {before}",
        {"before": lists},
    )
    column = videos.column_names.index("entity_ids")
    return split(videos.set_column(column, "entity_ids", left), [without], stage, "videos")


def settle_annotations(annotations: pa.Table, videos: pa.Table) -> Outcome:
    """Keeps the annotations that are labels in the dataset, and gives a reason for each of the others.

    All rows of one video must be in the same call. So every row of the annotations table ends as a label or a reject.

    Args:
        annotations: Those that `attach_labels` kept: columns `video_id`, `entity_id`, provenance.
        videos: The videos of the dataset: columns `video_id`, `entity_ids` list<string>.
    """
    lists = videos["entity_ids"].combine_chunks()
    labels, known = pc.list_flatten(lists), pc.unique(pc.list_flatten(lists))
    of_labels = _codes(pc.list_parent_indices(lists), labels, known)
    owners = pc.index_in(annotations["video_id"], value_set=videos["video_id"])
    is_label = np.isin(_codes(owners, annotations["entity_id"], known), of_labels)
    later, video_ids = "was dropped by a later stage", videos["video_id"]
    drops = [
        _not_in(annotations, "video_id", video_ids, DropReason.VIDEO_NOT_KEPT, later),
        Drop(DropReason.ENTITY_NOT_KEPT, ~is_label, f"{{entity_id}} {later}"),
    ]
    return split(annotations, drops, Stage.RECOUNT, "annotations")


def _codes(video_indices: Any, entity_ids: Any, known: pa.Array) -> Int64Array:
    """Numbers each pair of a video and an entity: int64, (pairs,). No pair of an unknown one has a label's number."""
    entities = np.asarray(pc.fill_null(pc.index_in(entity_ids, value_set=known), -1), np.int64)
    return np.asarray(pc.fill_null(video_indices, -1), np.int64) * (len(known) + 1) + entities + 1


def _not_in(rows: pa.Table, column: str, known: pa.Array, reason: DropReason, why: str) -> Drop:
    """Makes the reason that applies to the rows whose id in a column is not a known one."""
    return Drop(reason, ~mask(pc.is_in(rows[column], value_set=known)), f"{{{column}}} {why}")


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
