"""Stage 1: the choice of entities whose types are visual (paper §3.1)."""

from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from yt8m_pipeline.accounting.outcome import BoolArray, Drop, Outcome, mask, split
from yt8m_pipeline.accounting.reasons import DropReason, Stage
from yt8m_pipeline.config import Vocabulary


def filter_by_type(entities: pa.Table, config: Vocabulary) -> Outcome:
    """Keeps the entities with at least one whitelisted type and no blacklisted one (paper §3.1).

    An entity with a type of each list is dropped. Where both rules drop an entity, the reason is its blacklisted type.

    Args:
        entities: Columns `entity_id` string, `types` list<string>, provenance.
        config: The two lists.
    """
    blacklisted, whitelisted = (_has_any(entities, types) for types in (config.type_blacklist, config.type_whitelist))
    drops = [
        Drop(DropReason.BLACKLISTED_TYPE, blacklisted, "a blacklisted type in: {types}"),
        Drop(DropReason.NO_WHITELISTED_TYPE, ~whitelisted, "no whitelisted type in: {types}"),
    ]
    return split(entities, drops, Stage.VOCABULARY, "entities")


def used_types(entities: pa.Table, config: Vocabulary) -> frozenset[str]:
    """The whitelisted types that some entity of the table has. The union over tables is that of all entities."""
    types = pc.list_flatten(entities["types"])
    return frozenset(config.type_whitelist).intersection(pc.unique(types).to_pylist())


def unused_types(used: Collection[str], config: Vocabulary) -> tuple[str, ...]:
    """The whitelisted types that no entity has, in the config's order. They are probably misspelt."""
    return tuple(name for name in config.type_whitelist if name not in used)


def _has_any(entities: pa.Table, types: Collection[str]) -> BoolArray:
    """Whether each entity has at least one of the types: bool, (entities,)."""
    lists = entities["types"].combine_chunks()
    wanted = mask(pc.is_in(pc.list_flatten(lists), value_set=pa.array(types, pa.string())))
    has_any = np.zeros(entities.num_rows, np.bool_)
    has_any[np.asarray(pc.list_parent_indices(lists))[wanted]] = True
    return has_any
