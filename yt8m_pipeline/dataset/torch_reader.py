"""Reading a finished dataset with PyTorch: codes as they are stored, padded to batches, and decoded on the device.

    videos = VideoStream(DATASET, "train", seed=0)
    loader = DataLoader(videos, batch_size=32, collate_fn=pad, num_workers=4, persistent_workers=True)
    codebook = Codebook(DATASET).to(device)
    for epoch in range(10):
        videos.set_epoch(epoch)
        for batch in loader:
            features = codebook(batch["codes"].to(device), batch["mask"].to(device))   # float32 (batch, frames, dims)

Torch is imported by this module alone. Codes are a quarter of the size of features, between processes and on the way to
the device. Datasets without offsets (version 0.2.0 and older) are read slowly: build or export them again.
"""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import torch
from torch.utils.data import Dataset, IterableDataset, Sampler, get_worker_info

from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.reader import FinishedDataset, open_dataset
from yt8m_pipeline.dataset.sampling import epoch_order, share

Item: TypeAlias = dict[str, Any]


class VideoDataset(Dataset):  # type: ignore[misc]
    """A map-style dataset: `len`, and any video by its number, in the order of the shards.

    An item has `video_id` (str), `codes` (uint8, (frames, dimensions)) and `labels` (float32, (classes,), 1 for each
    label of the video). It is pickled as the path of the folder, which each worker opens for itself.

    Attributes:
        opened: The dataset that is read.
    """

    def __init__(self, dataset: str, partition: Partition | str, *, max_frames: int | None = None) -> None:
        """Opens the dataset; the errors are those of `FinishedDataset.frames`.

        Args:
            dataset: The folder of a finished dataset.
            partition: A partition, or its name: "train", "validate" or "test".
            max_frames: The number of frames of a video after which the rest is left out; None for all.
        """
        self._arguments = (dataset, partition, max_frames)
        self.opened: FinishedDataset = open_dataset(dataset)
        self._frames = self.opened.frames(partition, max_frames=max_frames)

    def __reduce__(self) -> tuple[Any, ...]:
        return _open_videos, self._arguments

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, number: int) -> Item:
        example = self._frames[number]
        return {
            "video_id": example.video_id,
            "codes": torch.from_numpy(example.codes.copy()),
            "labels": torch.from_numpy(self.opened.multi_hot(example.labels)),
        }


def _open_videos(dataset: str, partition: Partition | str, max_frames: int | None) -> VideoDataset:
    return VideoDataset(dataset, partition, max_frames=max_frames)


class RankSampler(Sampler):  # type: ignore[misc]
    """The numbers of the videos that this process reads of a map-style dataset, each in exactly one process.

    Processes may get one video more than others: in DistributedDataParallel, train within `Join`.
    """

    def __init__(self, videos: int, *, seed: int | None = 0, rank: int | None = None, world: int | None = None) -> None:
        """The share of a process.

        Args:
            videos: How many there are.
            seed: The seed of the shuffle; None for the order of the shards.
            rank: Which process this is; None asks torch.distributed.
            world: How many there are; None asks torch.distributed.
        """
        self._videos, self._seed, self._epoch = videos, seed, 0
        self._rank, self._world = _place(rank, world)

    def set_epoch(self, epoch: int) -> None:
        """Says which epoch begins: each has another order."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(range(self._rank, self._videos, self._world))

    def __iter__(self) -> Iterator[int]:
        order = epoch_order(self._videos, seed=self._seed, epoch=self._epoch)
        return iter(share(order, self._rank, self._world).tolist())


class VideoStream(IterableDataset):  # type: ignore[misc]
    """An iterable dataset that divides the videos among all ranks and their workers: each is read exactly once.

    Its items are those of `VideoDataset`. `set_epoch` reaches workers that persist, too.
    """

    def __init__(
        self,
        dataset: str,
        partition: Partition | str,
        *,
        max_frames: int | None = None,
        seed: int | None = None,
        rank: int | None = None,
        world: int | None = None,
    ) -> None:
        """Opens the dataset; the arguments are those of `VideoDataset` and `RankSampler`."""
        self.videos = VideoDataset(dataset, partition, max_frames=max_frames)
        self._seed = seed
        self._rank, self._world = _place(rank, world)
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Says which epoch begins: each has another order."""
        self._epoch.fill_(epoch)

    def __iter__(self) -> Iterator[Item]:
        worker = get_worker_info()
        order = epoch_order(len(self.videos), seed=self._seed, epoch=int(self._epoch))
        own = share(order, self._rank, self._world)
        return (self.videos[number] for number in (share(own, worker.id, worker.num_workers) if worker else own))


def _place(rank: int | None, world: int | None) -> tuple[int, int]:
    """Which of how many processes this is, as far as it was not said: 0 of 1 without torch.distributed."""
    distributed = torch.distributed
    together = distributed.is_available() and distributed.is_initialized()
    known = (distributed.get_rank(), distributed.get_world_size()) if together else (0, 1)
    return known[0] if rank is None else rank, known[1] if world is None else world


def pad(items: Sequence[Item]) -> Item:
    """Joins items to a batch: the `collate_fn` of a `DataLoader`.

    Returns:
        `video_id` (list of str), `codes` (uint8, (batch, longest, dimensions), padded with 0), `mask` (bool, (batch,
        longest), true where a frame is real) and `labels` (float32, (batch, classes)).
    """
    frames = torch.tensor([len(item["codes"]) for item in items])
    return {
        "video_id": [item["video_id"] for item in items],
        "codes": torch.nn.utils.rnn.pad_sequence([item["codes"] for item in items], batch_first=True),
        "mask": torch.arange(int(frames.max())) < frames[:, None],
        "labels": torch.stack([item["labels"] for item in items]),
    }


class Codebook(torch.nn.Module):  # type: ignore[misc]
    """Decodes codes where they are: a module whose levels move with the model, and are not trained."""

    levels: Any

    def __init__(self, dataset: str) -> None:
        """Loads the codebook of a dataset."""
        super().__init__()
        quantizer = open_dataset(dataset).quantizer
        self._length = quantizer.length if quantizer.scope == "per_dimension" else 0
        self.register_buffer("levels", torch.from_numpy(quantizer.levels.reshape(-1).copy()), persistent=False)

    def forward(self, codes: Any, mask: Any = None) -> Any:
        """The level of each code.

        Args:
            codes: uint8, (…, frames, dimensions).
            mask: bool, (…, frames): the frames that are real; the others become 0. None: all are.

        Returns:
            float32, (…, frames, dimensions).
        """
        starts = self._length * torch.arange(codes.shape[-1], device=codes.device)
        features = self.levels[codes.long() + starts]
        return features if mask is None else features * mask[..., None]
