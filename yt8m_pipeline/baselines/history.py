"""How a training went: one row for each epoch, the best of them, and whether it is over."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan

from yt8m_pipeline.baselines.settings import Settings

METRICS = ("map", "hit@1", "hit@5", "perr", "gap")
"""The metrics of the validate videos, as `Evaluation.values` names them."""


@dataclass(frozen=True)
class Epoch:
    """One time through the train videos.

    Attributes:
        number: Its number, from 1.
        loss: The mean loss of its train videos, each at its step, without penalties.
        metrics: The metrics of the validate videos at its end, by `METRICS`; NaN where nothing is known.
        seconds: What it took by the clock on the wall, since the training was last started.
    """

    number: int
    loss: float
    metrics: Mapping[str, float | None]
    seconds: float

    def value(self, monitor: str) -> float:
        """A metric as a number that compares: one that is not known is the worst."""
        value = self.metrics[monitor]
        return -1.0 if value is None or isnan(value) else value


def best_epoch(history: Sequence[Epoch], monitor: str) -> Epoch | None:
    """The epoch with the highest metric, and of several the first."""
    return max(history, key=lambda epoch: epoch.value(monitor), default=None)


def is_over(history: Sequence[Epoch], settings: Settings) -> bool:
    """Whether a training ends: all epochs are done, or the metric has not risen for `patience` of them."""
    best = best_epoch(history, settings.monitor)
    return best is not None and (len(history) >= settings.epochs or len(history) - best.number >= settings.patience)


def as_csv(history: Sequence[Epoch]) -> bytes:
    """The learning curves as a table: a line for each epoch."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["epoch", "loss", *METRICS])
    writer.writerows([epoch.number, epoch.loss, *(epoch.metrics[name] for name in METRICS)] for epoch in history)
    return text.getvalue().encode()
