"""Stage 3: the choice of entities that have enough videos (paper §3.1, §3.2).

The paper counts videos in two sentences. §3.1 keeps "entities that have more than 200 popular videos, as explained in
the next section"; that section (§3.2) samples 10 million videos of all visual entities, takes all their labels, and
then filters out "entities with less than 200 videos, and videos with no remaining entities" (the latter is
`labels.keep_labels`). There are two readings:

1. Both sentences mean one filter, after the draw. This is the default, `popular_videos_above: null`. It fits the
   paper's numbers: 10 million sampled videos became 8,264,650, so that 17 % of them lost all their labels.
2. §3.1 is a filter of its own, before the draw. `popular_videos_above: 200` is this reading. Hardly a sampled video
   loses its labels then.

selection/README.md has the shares of videos that each reading keeps of a million synthetic candidates.
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from yt8m_pipeline.accounting.outcome import Drop, Outcome, split
from yt8m_pipeline.accounting.reasons import DropReason, Stage
from yt8m_pipeline.config import VideoSampling
from yt8m_pipeline.data_model import Int64Array

COUNTED = {Stage.FREQUENCY: "sampled", Stage.RECOUNT: "extracted"}
"""The videos that `keep_frequent` counts at each stage."""


def count_videos(videos: pa.Table) -> Counter[str]:
    """Counts the videos of each entity. `+` adds the counts of two tables."""
    counts = pc.value_counts(pc.list_flatten(videos["entity_ids"]))
    return Counter({pair["values"]: pair["counts"] for pair in counts.to_pylist()})


def keep_popular(entities: pa.Table, counts: Mapping[str, int], config: VideoSampling) -> Outcome:
    """Keeps the entities with "more than 200 popular videos" (paper §3.1), or all where the config has no threshold.

    Args:
        entities: Columns `entity_id`, provenance.
        counts: How many eligible videos each entity has.
        config: The threshold.
    """
    if config.popular_videos_above is None:
        return Outcome(Stage.POPULARITY, "entities", entities)
    videos = _counts_of(entities, counts)
    drop = Drop(
        DropReason.TOO_FEW_POPULAR_VIDEOS,
        videos <= config.popular_videos_above,
        f"eligible videos: {{videos}}, not above popular_videos_above {config.popular_videos_above}",
        {"videos": pa.array(videos)},
    )
    return split(entities, [drop], Stage.POPULARITY, "entities")


def keep_frequent(entities: pa.Table, counts: Mapping[str, int], config: VideoSampling, stage: Stage) -> Outcome:
    """Drops the "entities with less than 200 videos" (paper §3.2).

    It is done on the sampled videos, and again on those of them that could be extracted, since each entity has "at
    least 200 videos in the dataset" (paper §3.1). One pass is enough: a video that loses its last label had only labels
    of entities that are dropped, so that no count of a kept entity becomes smaller.

    Args:
        entities: Columns `entity_id`, provenance.
        counts: How many videos each entity has.
        config: The threshold.
        stage: `FREQUENCY` or `RECOUNT`.
    """
    videos = _counts_of(entities, counts)
    drop = Drop(
        DropReason.TOO_FEW_VIDEOS,
        videos < config.min_videos_per_entity,
        f"{COUNTED[stage]} videos: {{videos}}, below min_videos_per_entity {config.min_videos_per_entity}",
        {"videos": pa.array(videos)},
    )
    return split(entities, [drop], stage, "entities")


def _counts_of(entities: pa.Table, counts: Mapping[str, int]) -> Int64Array:
    return np.array([counts.get(entity_id, 0) for entity_id in entities["entity_id"].to_pylist()], np.int64)
