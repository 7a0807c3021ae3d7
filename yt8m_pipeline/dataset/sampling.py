"""Who reads which videos in which order, in a training of many processes. It needs NumPy alone.

Every process computes the same order of an epoch from the seed and the epoch's number, and takes its own share of it.
Shares never overlap and leave none out, whatever the numbers of processes and of workers; their sizes differ by at most
one. (`torch.utils.data.DistributedSampler` repeats videos to make them equal.)
"""

import numpy as np

from yt8m_pipeline.data_model import Int64Array


def epoch_order(videos: int, *, seed: int | None, epoch: int = 0) -> Int64Array:
    """The order of the videos in an epoch.

    >>> epoch_order(4, seed=None).tolist(), sorted(epoch_order(4, seed=7, epoch=2).tolist())
    ([0, 1, 2, 3], [0, 1, 2, 3])

    Args:
        videos: The number of videos.
        seed: The seed of the shuffle; None for the order of the shards.
        epoch: The number of the epoch: each has another order.
    """
    order = np.arange(videos, dtype=np.int64)
    return order if seed is None else np.random.default_rng([seed, epoch]).permutation(order)


def share(order: Int64Array, part: int, of: int) -> Int64Array:
    """Every `of`-th video, from the `part`-th on: the share of one of `of` processes.

    >>> order = epoch_order(7, seed=None)
    >>> [share(order, part, 3).tolist() for part in range(3)]
    [[0, 3, 6], [1, 4], [2, 5]]

    Raises:
        ValueError: there is no such part.
    """
    if not 0 <= part < of:
        raise ValueError(f"there is no part {part} of {of}")
    return order[part::of]
