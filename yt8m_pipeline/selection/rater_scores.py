"""Stage 2: the choice of entities that human raters find visual (paper §3.1, Figure 4)."""

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from yt8m_pipeline.accounting.outcome import Drop, Outcome, duplicates, mask, split
from yt8m_pipeline.accounting.reasons import DropReason, Stage
from yt8m_pipeline.config import RaterScores
from yt8m_pipeline.data_model import Float64Array, Int64Array, Specificity


class Pruned(NamedTuple):
    """The entities that are kept, with `mean_score` float64 and `specificity` string, and the ratings that counted."""

    entities: Outcome
    ratings: Outcome


def prune_by_rater_score(
    entities: pa.Table, ratings: pa.Table, config: RaterScores, *, all_entity_ids: pa.Array
) -> Pruned:
    """Keeps the entities with enough ratings and a mean score of at most `max_mean_score` (paper §3.1, Figure 4).

    All rows of one entity must be in the same call. The mean does not depend on the order of the ratings.

    Args:
        entities: The entities of stage 1: columns `entity_id`, provenance.
        ratings: Columns `entity_id`, `rater_id` string, `score` float64, provenance.
        config: The thresholds.
        all_entity_ids: Every id of the entities table, also those that stage 1 dropped: string.
    """
    counted = _counted_ratings(entities, ratings, config, all_entity_ids)
    raters, means = _means(entities, counted.kept)
    scored = entities.append_column("mean_score", pa.array(means)).append_column(
        "specificity", specificities(means, config)
    )
    drops = [
        Drop(
            DropReason.TOO_FEW_RATERS,
            raters < config.min_raters,
            f"valid ratings: {{raters}}, below min_raters {config.min_raters}",
            {"raters": pa.array(raters)},
        ),
        Drop(
            DropReason.NOT_VISUAL,
            means > config.max_mean_score,
            f"mean score {{mean_score}} is above max_mean_score {config.max_mean_score}",
        ),
    ]
    return Pruned(split(scored, drops, Stage.RATER_SCORES, "entities"), counted)


def unrated(entities: pa.Table) -> pa.Table:
    """Adds the columns of `Pruned.entities`, all null, to entities that nobody rated: nothing is invented."""
    rows = entities.num_rows
    scored = entities.append_column("mean_score", pa.nulls(rows, pa.float64()))
    return scored.append_column("specificity", pa.nulls(rows, pa.string()))


def specificities(means: Float64Array, config: RaterScores) -> pa.Array:
    """Finds the specificity of each mean score: string, (entities,).

    [min_score, max_mean_score] is divided into three equal ranges, "equally sized score range buckets" (paper Figure
    4). Each is without its upper end, but for the last. A low score means an entity that anybody recognizes: coarse.
    """
    low, high = Fraction(config.min_score), Fraction(config.max_mean_score)
    edges = [float(low + (high - low) * third / 3) for third in (1, 2)]
    names = pa.array([Specificity.COARSE.value, Specificity.MEDIUM.value, Specificity.FINE.value])
    return names.take(pa.array(np.digitize(means, edges)))


def _counted_ratings(entities: pa.Table, ratings: pa.Table, config: RaterScores, all_entity_ids: pa.Array) -> Outcome:
    """Keeps the first valid rating of each rater of each kept entity."""
    return _in_range(ratings, config).then(lambda rows: _of_kept_entities(rows, entities, all_entity_ids))


def _in_range(ratings: pa.Table, config: RaterScores) -> Outcome:
    scores = np.asarray(ratings["score"])
    out_of_range = Drop(
        DropReason.OUT_OF_RANGE,
        ~((scores >= config.min_score) & (scores <= config.max_score)),
        f"score {{score}} is not in {config.min_score} … {config.max_score}",
    )
    return split(ratings, [out_of_range], Stage.RATER_SCORES, "ratings")


def _of_kept_entities(ratings: pa.Table, entities: pa.Table, all_entity_ids: pa.Array) -> Outcome:
    ids = ratings["entity_id"]
    drops = [
        duplicates(ratings, ["entity_id", "rater_id"]),
        Drop(
            DropReason.UNKNOWN_ENTITY,
            ~mask(pc.is_in(ids, value_set=all_entity_ids)),
            "{entity_id} is in no valid row of the entities table",
        ),
        Drop(
            DropReason.ENTITY_NOT_KEPT,
            ~mask(pc.is_in(ids, value_set=entities["entity_id"])),
            "{entity_id} was dropped by an earlier stage",
        ),
    ]
    return split(ratings, drops, Stage.RATER_SCORES, "ratings")


def _means(entities: pa.Table, ratings: pa.Table) -> tuple[Int64Array, Float64Array]:
    """Counts and averages the ratings of each entity: int64 and float64, (entities,). The mean of none is NaN."""
    rated = np.asarray(pc.index_in(ratings["entity_id"], value_set=entities["entity_id"]), dtype=np.int64)
    counts = np.bincount(rated, minlength=entities.num_rows)
    scores = np.asarray(ratings["score"])[np.argsort(rated, kind="stable")]
    groups = np.split(scores, np.cumsum(counts)[:-1]) if entities.num_rows else []
    sums = np.array([math.fsum(group) for group in groups], np.float64)
    return counts, np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
