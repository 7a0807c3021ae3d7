"""The figures of YouTube-8M that a dataset stands beside, from the paper (arXiv 1609.08675)."""

from collections.abc import Mapping

from yt8m_pipeline.accounting.reasons import Stage
from yt8m_pipeline.data_model import Partition

VIDEOS: Mapping[Partition, int] = {
    Partition.TRAIN: 5_786_881,
    Partition.VALIDATE: 1_652_167,
    Partition.TEST: 825_602,
}
"""The videos of each partition (Table 2)."""

LABELS_PER_VIDEO = 1.8
"""The mean number of labels of a video (§3.4)."""

SECONDS_PER_VIDEO = 229.6
"""The mean length of a video in seconds (§3.4)."""

FRAMES = 1_900_000_000
"""About so many frames are in all videos (§3.4)."""

KEPT: Mapping[tuple[Stage, str], str] = {
    (Stage.VOCABULARY, "entities"): "≈ 50,000 (§3.1)",
    (Stage.RATER_SCORES, "entities"): "≈ 10,000 (§3.1)",
    (Stage.FREQUENCY, "entities"): "4,800 (§3.4)",
    (Stage.SAMPLING, "videos"): "10,000,000 (§3.2)",
    (Stage.FREQUENCY, "videos"): "8,264,650 (§3.2)",
}
"""How many entities and videos were left after a stage."""
