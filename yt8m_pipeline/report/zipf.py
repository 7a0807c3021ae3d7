"""The exponent of the Zipf distribution that the numbers of videos of the entities follow (paper Figure 5)."""

import numpy as np
from scipy.optimize import brentq

from yt8m_pipeline.data_model import Float64Array, Int64Array

LARGEST_EXPONENT = 100.0
"""The fit ends here: with this exponent, the second entity has 2**-100 of the videos of the first."""


def fit_zipf(counts: Int64Array) -> float | None:
    """The maximum-likelihood exponent s of a Zipf distribution over the ranks of the entities that have videos.

    By it the probability of rank r is r**-s divided by the sum of these over all ranks. The likelihood is greatest
    where the mean of log r under the distribution is that of the data; the former falls with s, so there is one root.
    Least squares on the log-log plot would give the thousands of rare entities all the weight.

    >>> fit_zipf(np.array([600, 300, 200, 150, 120]))
    1.0

    Args:
        counts: int64, (entities,), in any order; the ranks follow from the counts.

    Returns:
        The exponent, to six decimals; None for fewer than two entities with videos, whose exponent is not defined.
    """
    ranked = np.sort(counts[counts > 0])[::-1].astype(np.float64)
    if len(ranked) < 2:
        return None
    logs = np.log(np.arange(1, len(ranked) + 1))
    mean = float(ranked @ logs / ranked.sum())

    def excess(exponent: float) -> float:
        return float(zipf_shares(exponent, len(ranked)) @ logs) - mean

    if excess(0.0) <= 0 or excess(LARGEST_EXPONENT) >= 0:
        return 0.0 if excess(0.0) <= 0 else None
    return round(float(brentq(excess, 0.0, LARGEST_EXPONENT, xtol=1e-9)), 6)


def zipf_shares(exponent: float, ranks: int) -> Float64Array:
    """float64, (ranks,): the probability of each rank."""
    weights = np.exp(-exponent * np.log(np.arange(1, ranks + 1)))
    shares: Float64Array = weights / weights.sum()
    return shares
