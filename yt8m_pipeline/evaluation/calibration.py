"""How far scores are probabilities: the reliability diagram, and the expected calibration error.

>>> from yt8m_pipeline.evaluation.batch import Batch
>>> scores = np.array([[0.9, 0.8], [0.9, 0.0], [0.2, 0.1]])
>>> labels = np.array([[True, True], [False, False], [False, False]])
>>> metric = AveragePrecision.zero(2)
>>> metric.include(Batch.of(scores, labels))
>>> found = Calibration.of(metric, bins=2)
>>> found.predictions, found.frequencies.round(2), round(found.expected_error, 2)
(array([2, 3]), array([0.  , 0.67]), 0.18)
"""

from dataclasses import dataclass

import numpy as np

from yt8m_pipeline.data_model import Float64Array, Int64Array
from yt8m_pipeline.evaluation.metrics import BUCKETS, AveragePrecision

BINS = 10
"""The number of bins of equal width, as in the reliability diagrams of Guo et al. (2017) and Niculescu-Mizil and
Caruana (2005)."""


@dataclass(frozen=True, eq=False, repr=False)
class Calibration:
    """The scores of all videos and classes, in bins of equal width, beside how often they are right.

    Each class is a binary classifier of its own (paper §4.3), so that each score above 0 of a video and a class is one
    prediction. Scores are rounded to 1/10,000, as they are for the mAP, whose counts are all that this needs: so it
    adds up over shards as the mAP does, and takes no memory of its own.

    Attributes:
        predictions: int64, (bins,): the number of predictions. A bin reaches from above its lower end to its upper end.
        scores: float64, (bins,): their mean score; NaN in an empty bin.
        frequencies: float64, (bins,): the share of them that are labels; NaN in an empty bin.
    """

    predictions: Int64Array
    scores: Float64Array
    frequencies: Float64Array

    @classmethod
    def of(cls, metric: AveragePrecision, bins: int = BINS) -> "Calibration":
        """Reads the calibration out of the counts of a metric."""
        bucket = np.arange(1, BUCKETS + 1)
        places = (bucket * bins - 1) // BUCKETS
        predicted = metric.predicted[:, 1:].sum(axis=0, dtype=np.int64)
        found = metric.positives[:, 1:].sum(axis=0, dtype=np.int64)
        predictions, scores, labels = (np.zeros(bins, np.int64) for _ in range(3))
        for sums, values in ((predictions, predicted), (scores, predicted * bucket), (labels, found)):
            np.add.at(sums, places, values)
        whole = np.where(predictions > 0, predictions, np.nan)
        return cls(predictions, scores / BUCKETS / whole, labels / whole)

    @property
    def expected_error(self) -> float:
        """The expected calibration error: the mean of |frequency − score| over the bins, by their predictions.

        The definition is that of Naeini et al. (2015). NaN where nothing is predicted.
        """
        total = int(self.predictions.sum())
        gaps = np.nan_to_num(np.abs(self.frequencies - self.scores))
        return float(gaps @ self.predictions) / total if total else float("nan")
