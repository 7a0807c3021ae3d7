"""The labels of new videos by a vocabulary that stands already: nothing is counted, and no video needs a label."""

from collections import defaultdict

import pyarrow as pa
import pyarrow.compute as pc

from yt8m_pipeline.accounting.outcome import Drop, Outcome, duplicates, mask, split
from yt8m_pipeline.accounting.reasons import DropReason, Stage
from yt8m_pipeline.selection.labels import Labelled


def label_by_vocabulary(
    videos: pa.Table, annotations: pa.Table, *, entity_ids: pa.Array, min_score: float | None
) -> Labelled:
    """Joins annotations to videos. The column `entity_ids` replaces `labels`; a video without a label keeps [].

    All rows of one video must be in the same call.

    Args:
        videos: Columns `video_id`, `labels`, provenance.
        annotations: Columns `video_id`, `entity_id` string, `score` float64, provenance.
        entity_ids: The ids of the entities of the vocabulary: string.
        min_score: An annotation with a lower score is no label; None: each is.
    """
    known = split(
        annotations, _drops(annotations, videos["video_id"], entity_ids, min_score), Stage.LABELS, "annotations"
    )
    outcome = known.then(
        lambda rows: split(rows, [duplicates(rows, ["video_id", "entity_id"])], Stage.LABELS, "annotations")
    )
    found: defaultdict[str, list[str]] = defaultdict(list)
    for row in outcome.kept.select(["video_id", "entity_id"]).to_pylist():
        found[row["video_id"]].append(row["entity_id"])
    labels = [sorted(found[video_id]) for video_id in videos["video_id"].to_pylist()]
    column = pa.array(labels, pa.list_(pa.string()))
    labelled = videos.drop_columns("labels").append_column("entity_ids", column)
    return Labelled(Outcome(Stage.LABELS, "videos", labelled), outcome)


def _drops(annotations: pa.Table, video_ids: pa.Array, entity_ids: pa.Array, min_score: float | None) -> list[Drop]:
    low = pc.less(annotations["score"], pa.scalar(min_score, pa.float64()))
    return [
        Drop(
            DropReason.UNKNOWN_VIDEO,
            ~mask(pc.is_in(annotations["video_id"], value_set=video_ids)),
            "{video_id} is in no valid row of the videos table",
        ),
        Drop(
            DropReason.UNKNOWN_ENTITY,
            ~mask(pc.is_in(annotations["entity_id"], value_set=entity_ids)),
            "{entity_id} is not in the vocabulary of the dataset",
        ),
        Drop(DropReason.LOW_SCORE, mask(low), f"score {{score}} is below min_score {min_score}"),
    ]
