"""The partitions that sources give to their videos, by the names that people use for them."""

from yt8m_pipeline.data_model import Partition

NAMES = {
    name: partition.value
    for partition, names in {
        Partition.TRAIN: ("train", "training", "trainset", "trn"),
        Partition.VALIDATE: ("validate", "validation", "val", "valid", "dev"),
        Partition.TEST: ("test", "testing", "testset", "tst"),
    }.items()
    for name in names
}
"""The partition that each name stands for."""


def partition_of(name: str) -> str:
    """The partition that a name stands for; "" for none.

    >>> partition_of("Training"), partition_of("val"), partition_of("fold 3")
    ('train', 'validate', '')
    """
    return NAMES.get(name.strip().lower(), "")
