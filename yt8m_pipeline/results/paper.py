"""The figures of the paper's tables 3, 4 and 5, as shares in [0, 1].

The text of table 5b that is in circulation has lost its columns in places: "NO" stands before the three figures of the
mixture of experts on [μ; σ; Top5], which are read here as 74.2, 72.3 and 89.6.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeAlias

Figures: TypeAlias = Mapping[str, float]
"""Figures by the name of the metric."""

UNKNOWN: Figures = MappingProxyType({})


def _per_cent(**figures: float) -> Figures:
    names = {"map_": "map", "hit1": "hit@1", "hit5": "hit@5", "perr": "perr"}
    return MappingProxyType({names[name]: round(value / 100, 4) for name, value in figures.items()})


def _table_3(mean_average_precision: float, hit1: float, perr: float) -> Figures:
    return _per_cent(map_=mean_average_precision, hit1=hit1, perr=perr)


def _table_4(hit1: float, perr: float, hit5: float) -> Figures:
    return _per_cent(hit1=hit1, perr=perr, hit5=hit5)


def _table_5(mean_average_precision: float, hit1: float, hit5: float) -> Figures:
    return _per_cent(map_=mean_average_precision, hit1=hit1, hit5=hit5)


TABLE_3: Mapping[str, Figures] = {
    "frame_logistic": _table_3(11.0, 50.8, 42.2),
    "dbof": _table_3(26.9, 62.7, 55.1),
    "lstm": _table_3(26.6, 64.5, 57.3),
    "hinge-mu": _table_3(17.0, 56.3, 47.9),
    "logistic-mu": _table_3(28.1, 60.5, 53.0),
    "moe-mu": _table_3(29.6, 62.3, 54.9),
    "moe-mu+sigma+top5": _table_3(30.0, 63.3, 55.8),
}
"""Table 3: the validate partition of YouTube-8M."""

TABLE_4: Mapping[str, Figures] = {
    "dbof": _table_4(68.6, 29.0, 83.5),
    "lstm": _table_4(69.1, 30.5, 84.7),
    "moe-mu+sigma+top5": _table_4(70.1, 29.1, 84.8),
}
"""Table 4: the test set of YouTube-8M that people rated."""

SPORTS_1M: Mapping[str, Figures] = {
    "logistic-mu": _table_5(58.0, 60.1, 79.6),
    "moe-mu": _table_5(59.1, 61.5, 80.4),
    "moe-mu+sigma+top5": _table_5(61.3, 63.2, 82.6),
    "lstm": _table_5(66.7, 64.9, 85.6),
    "lstm-fine-tuned": _table_5(67.6, 65.7, 86.2),
}
"""Table 5a. Its rows of pixels and motion are of other people's networks, and have none of ours beside them."""

ACTIVITY_NET: Mapping[str, Figures] = {
    "moe-mu": _table_5(69.1, 68.7, 85.4),
    "moe-mu-transferred": _table_5(74.1, 72.5, 89.3),
    "moe-mu+sigma+top5": _table_5(74.2, 72.3, 89.6),
    "moe-mu+sigma+top5-transferred": _table_5(77.6, 74.9, 91.6),
    "lstm": _table_5(57.9, 63.4, 81.0),
    "lstm-states": _table_5(75.6, 74.2, 92.4),
}
"""Table 5b. The pretrained LSTM of this table is not fine-tuned: its states at the last frame are features of a
fully-connected model (§4.1.3)."""
