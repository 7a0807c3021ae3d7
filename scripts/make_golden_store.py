"""Writes the golden feature store of a release, which every later version must read.

    python scripts/make_golden_store.py tests/golden_formats/VERSION/store

Run it once, with the code of the release. The store has the features of the video `guitar` and the failure of `broken`;
tests/store/test_formats.py says what must be read from it.
"""

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np

from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.config import Decoding, Inception, RandomModel
from yt8m_pipeline.decoding.damage import conditions
from yt8m_pipeline.extraction.inception import describe
from yt8m_pipeline.store.failures import Source
from yt8m_pipeline.store.feature_store import open_store, place
from yt8m_pipeline.store.features import VideoFeatures
from yt8m_pipeline.transforms.extraction import remember

WHEN = "2016-09-28T00:00:00+00:00"

DESCRIPTION = {
    **describe(Inception(model=RandomModel(random=1))),
    "frames_per_second": 1.0,
    "max_seconds": 360.0,
    "sampling": "exact",
    "damage": "strict",
    "decoder": "av 18",
    "resize": "decoder, area, 299x299",
}
"""The feature space of the paper's grid under a random network, as version 0.1.0 described it."""


def write_golden_store(root: Path) -> None:
    store = open_store(str(root), DESCRIPTION)
    guitar, broken = (
        Source(f"gs://corpus/{name}.mp4", size, WHEN) for name, size in (("guitar", 123456), ("broken", 99))
    )
    features = (np.arange(12) / 8 - 1).reshape(3, 4).astype(np.float16)
    written = store.write(VideoFeatures("guitar", features, np.array([0.0, 0.96, 2.0])), guitar, 0.75, Fraction(1))
    remember((place("guitar")[0], [("guitar", written)]), store)
    store.write_failure(
        "broken", broken, conditions(Decoding()), VideoRejected(DropReason.TRUNCATED, "it ends at 3 s", 0.25)
    )


if __name__ == "__main__":
    write_golden_store(Path(sys.argv[1]))
