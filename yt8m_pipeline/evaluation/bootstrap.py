"""Confidence intervals by bootstrap over videos (Efron and Tibshirani 1993), of values and of their differences.

>>> better, worse = Sampled(0.75, (0.72, 0.75, 0.78)), Sampled(0.5, (0.48, 0.5, 0.52))
>>> better.interval, (better - worse).value
((0.7215, 0.7785), 0.25)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from yt8m_pipeline.chance import salted_hashes
from yt8m_pipeline.data_model import Int64Array

INTERVAL = 0.95
"""The confidence of the intervals: 2.5 % of the samples are below, and 2.5 % above."""


@dataclass(frozen=True)
class Sampled:
    """A metric of all videos, and of bootstrap samples of them.

    The difference of two models is taken sample by sample: a video counts equally often for both (`poisson_weights`).
    So what makes the videos of a sample hard for both is not in the difference, and its interval is narrower than those
    of the two models would suggest (a paired bootstrap, Efron and Tibshirani 1993, chapter 8).

    Attributes:
        value: The metric of all videos; NaN where it is not known.
        samples: That of each sample, in the order of their numbers; empty without a bootstrap.
    """

    value: float
    samples: tuple[float, ...] = ()

    def __sub__(self, other: "Sampled") -> "Sampled":
        """The difference.

        Raises:
            ValueError: the two have not as many samples.
        """
        pairs = zip(self.samples, other.samples, strict=True)
        return Sampled(self.value - other.value, tuple(one - another for one, another in pairs))

    @property
    def interval(self) -> tuple[float, float]:
        """The percentile interval; samples in which the metric is not known are left out. NaN where none is left."""
        known = [value for value in self.samples if not np.isnan(value)]
        if not known:
            return float("nan"), float("nan")
        low, high = np.quantile(known, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2])
        return float(low), float(high)


def poisson_weights(video_ids: Sequence[str], sample: int) -> Int64Array:
    """How often each video is in a bootstrap sample: int64, (videos,), Poisson of mean 1.

    The id and the number of the sample decide, so that no order or division of the videos changes a sample.
    """
    uniform = salted_hashes(f"bootstrap-{sample}", video_ids).astype(np.float64) / 2.0**64
    return np.searchsorted(_POISSON, uniform, side="right").astype(np.int64)


_POISSON = np.cumsum(np.exp(-1.0) / np.cumprod(np.append(1.0, np.arange(1.0, 18.0))))
"""The probabilities that a Poisson variable of mean 1 is at most 0, 1, …, 17."""
