"""Where a training stands: all its variables and its place in the records, in one file that is whole or not there."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from yt8m_pipeline import files
from yt8m_pipeline.baselines.history import Epoch
from yt8m_pipeline.baselines.saved import CHECKPOINT
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.typed_json import from_json, to_json
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.parsing import parse_json, parse_npz

Variables = Sequence[npt.NDArray[np.generic]]


@dataclass(frozen=True)
class Place:
    """How far a training is.

    Attributes:
        key: The digest of everything that its weights depend on.
        epoch: The number of the epoch that is running, from 1.
        batch: How many of its batches are done.
        videos: How many videos these had.
        loss: The sum of their losses.
        seconds: What the epoch has taken so far.
        history: The epochs that have ended.
    """

    key: str
    epoch: int = 1
    batch: int = 0
    videos: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    history: tuple[Epoch, ...] = field(default=())


def save_checkpoint(layout: Layout, place: Place, variables: Variables) -> None:
    """Writes the checkpoint of a training in the place of the one before it."""
    text = np.frombuffer(json.dumps(to_json(place)).encode(), np.uint8)
    arrays: dict[str, Any] = {"place": text, **{f"{number:05d}": array for number, array in enumerate(variables)}}
    data = io.BytesIO()
    np.savez(data, **arrays)
    layout.write_bytes(CHECKPOINT, data.getvalue())


def find_checkpoint(layout: Layout) -> tuple[Place, Variables] | None:
    """What `save_checkpoint` has written; None where there is none.

    Raises:
        DataError: it is damaged.
    """
    path = layout.path(CHECKPOINT)
    if not files.exists(path):
        return None
    try:
        arrays = parse_npz(files.read_bytes(path))
        place = from_json(Place, parse_json(arrays.pop("place").tobytes()))
    except (ValueError, KeyError) as error:
        raise DataError(
            what="The checkpoint of a training cannot be read",
            where=path,
            why=" ".join(str(error).split()),
            fix="remove this file: the same command then trains from the beginning",
        ) from None
    return place, [arrays[name] for name in sorted(arrays)]
