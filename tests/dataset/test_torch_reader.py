"""The PyTorch reader through real loaders: workers, ranks, epochs, padding. Without torch they are skipped."""

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.dataset.example import write_example
from yt8m_pipeline import dataset as package
from yt8m_pipeline.dataset.reader import open_dataset

torch = pytest.importorskip("torch", reason="torch is not installed: scripts/test_torch runs these tests")
from torch.utils.data import DataLoader  # noqa: E402

from yt8m_pipeline.dataset.torch_reader import (  # noqa: E402
    Codebook,
    RankSampler,
    VideoDataset,
    VideoStream,
    pad,
)

README = Path(package.__path__[0], "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_example(tmp_path_factory.mktemp("torch"))


def ids(loader: Any) -> list[str]:
    return [video_id for batch in loader for video_id in batch["video_id"]]


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_each_video_is_read_once_by_the_workers_of_all_ranks(
    folder: str, workers: int, world: int, method: str
) -> None:
    if method == "spawn" and (workers, world) != (2, 2):
        pytest.skip("each process imports torch for seconds: once is enough")
    found = []
    for rank in range(world):
        stream = VideoStream(folder, "train", seed=3, rank=rank, world=world)
        options = {"multiprocessing_context": method} if workers else {}
        found += ids(DataLoader(stream, batch_size=2, collate_fn=pad, num_workers=workers, **options))
    assert sorted(found) == ["a", "b", "c"]


def test_a_new_epoch_reaches_workers_that_persist(folder: str) -> None:
    stream = VideoStream(folder, "train", seed=0)
    loader = DataLoader(stream, batch_size=3, collate_fn=pad, num_workers=1, persistent_workers=True)
    orders = []
    for epoch in range(8):
        stream.set_epoch(epoch)
        orders.append(tuple(ids(loader)))
        assert sorted(orders[-1]) == ["a", "b", "c"]
    assert len(set(orders)) > 1
    stream.set_epoch(0)
    assert tuple(ids(loader)) == orders[0]


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_a_sampler_divides_a_map_style_dataset(folder: str, world: int) -> None:
    videos = VideoDataset(folder, "train")
    samplers = [RankSampler(len(videos), rank=rank, world=world) for rank in range(world)]
    assert sorted(number for sampler in samplers for number in sampler) == [0, 1, 2]
    assert [len(list(sampler)) for sampler in samplers] == [len(sampler) for sampler in samplers]


def test_a_batch_is_padded_and_decoded_to_the_features_of_the_reader(folder: str) -> None:
    opened = open_dataset(folder)
    (batch,) = DataLoader(VideoDataset(folder, "train"), batch_size=3, collate_fn=pad)
    assert (batch["codes"].dtype, tuple(batch["codes"].shape)) == (torch.uint8, (3, 3, 4))
    features = Codebook(folder)(batch["codes"], batch["mask"]).numpy()
    for own, mask, labels, example in zip(
        features, batch["mask"].numpy(), batch["labels"].numpy(), opened.frames("train"), strict=True
    ):
        np.testing.assert_array_equal(own[mask], example.features, strict=True)
        assert not own[~mask].any()
        np.testing.assert_array_equal(labels, opened.multi_hot(example.labels), strict=True)


def test_levels_of_their_own_for_each_dimension(tmp_path: Path) -> None:
    from tests.dataset.test_reader import Dataset, quantizer_by_dimension

    written = Dataset(tmp_path, quantizer_by_dimension())
    codebook = Codebook(str(written.root))
    for example in written.frames():
        decoded = codebook(torch.from_numpy(example.codes.copy())).numpy()
        np.testing.assert_array_equal(decoded, example.features, strict=True)


def test_they_are_pickled_and_cut(folder: str) -> None:
    again = pickle.loads(pickle.dumps(VideoDataset(folder, "train", max_frames=2)))
    assert [tuple(again[number]["codes"].shape) for number in range(3)] == [(2, 4)] * 3
    stream = pickle.loads(pickle.dumps(VideoStream(folder, "train")))
    assert [item["video_id"] for item in stream] == ["a", "b", "c"]


def test_the_training_loop_of_the_readme_runs(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = re.search(r"### PyTorch\n.*?```python\n(.*?)```", README, re.DOTALL)
    assert found
    exec(found[1].replace('"DATASET"', repr(folder)), {})
    losses = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()]
    assert len(losses) == 5
    assert losses[-1] < losses[0]
