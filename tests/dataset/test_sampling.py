"""Every video of an epoch is read by exactly one worker of one process, in an order that the seed and epoch decide."""

import json
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dataset.example import write_example
from yt8m_pipeline.dataset.reader import open_dataset
from yt8m_pipeline.dataset.sampling import epoch_order, share

counts = st.integers(0, 60)
sizes = st.integers(1, 7)


@given(counts, st.none() | st.integers(0, 2**32), st.integers(0, 99), sizes, sizes)
def test_ranks_and_their_workers_share_the_videos_without_doubling_or_losing_one(
    videos: int, seed: int | None, epoch: int, world: int, workers: int
) -> None:
    orders = [share(epoch_order(videos, seed=seed, epoch=epoch), rank, world) for rank in range(world)]
    read = [number for order in orders for worker in range(workers) for number in share(order, worker, workers)]
    assert sorted(read) == list(range(videos))
    assert max(map(len, orders)) - min(map(len, orders)) <= 1


def test_an_epoch_has_an_order_of_its_own_and_a_seed_repeats_it() -> None:
    orders = {tuple(epoch_order(50, seed=seed, epoch=epoch)) for seed in (0, 1) for epoch in (0, 1)}
    assert len(orders) == 4
    np.testing.assert_array_equal(epoch_order(50, seed=1, epoch=3), epoch_order(50, seed=1, epoch=3))


def test_there_is_no_part_beyond_the_last() -> None:
    with pytest.raises(ValueError, match="there is no part 3 of 3"):
        share(epoch_order(5, seed=None), 3, 3)


def read_share(dataset: object, part: int, of: int) -> list[str]:
    """What one process reads; the dataset comes to it pickled."""
    frames = dataset.frames("train")  # type: ignore[attr-defined]
    return [frames[int(number)].video_id for number in share(epoch_order(len(frames), seed=1), part, of)]


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_processes_read_each_video_once(tmp_path: Path, method: str) -> None:
    """They are the children of a process of their own: a fork of this one, with the threads of others, may hang.

    So may `multiprocessing.Pool`, when it ends its workers while one of them waits for the next task.
    """
    folder = write_example(tmp_path)
    command = [sys.executable, "-m", "tests.dataset.test_sampling", method, folder]
    paths = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=paths).stdout
    assert sorted(json.loads(printed)) == open_dataset(folder).ids("train") == ["a", "b", "c"]


if __name__ == "__main__":
    with ProcessPoolExecutor(2, multiprocessing.get_context(sys.argv[1])) as pool:
        shares = [pool.submit(read_share, open_dataset(sys.argv[2]), part, 2) for part in range(2)]
    sys.stdout.write(json.dumps([video_id for own in shares for video_id in own.result()]))
