"""The uris of the videos table: rows that name a place which no row may name are rejected before anything is opened."""

import numpy as np
import pyarrow as pa

from yt8m_pipeline.accounting.outcome import Drop, Outcome, split
from yt8m_pipeline.accounting.reasons import DropReason, Stage
from yt8m_pipeline.places import Places


def accept_uris(videos: pa.Table, places: Places, table: str = "videos") -> Outcome:
    """Keeps the rows whose uri the config accepts. No file, bucket or server is looked at.

    Args:
        videos: Rows of the videos table, with provenance.
        places: What rows may name.
        table: The name of the table.
    """
    refusals = [places.refusal(uri) for uri in videos["uri"].to_pylist()]
    refused = np.array([why is not None for why in refusals], np.bool_)
    drop = Drop(DropReason.URI_NOT_ACCEPTED, refused, "uri {uri}: {_why}", {"_why": pa.array(refusals, pa.string())})
    return split(videos, [drop], Stage.READ, table)
