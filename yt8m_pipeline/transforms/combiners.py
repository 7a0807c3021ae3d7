"""CombineFns that delegate: the values know how to add themselves."""

import hashlib
from collections.abc import Iterable
from typing import Any

import apache_beam as beam
from apache_beam.coders import PickleCoder

from yt8m_pipeline.accounting.counts import StageCount, total_counts


class Sum(beam.CombineFn):
    """The sum of monoid values: Counter, Histogram, Magnitudes, Moments, PartitionSummary or an array.

    Args:
        zero: The sum of nothing; None where the values do not say how large it is.
    """

    def __init__(self, zero: Any = None) -> None:
        self._zero = zero

    def create_accumulator(self) -> Any:
        return self._zero

    def add_input(self, accumulator: Any, element: Any) -> Any:
        return element if accumulator is None else accumulator + element

    def merge_accumulators(self, accumulators: Iterable[Any]) -> Any:
        total = self._zero
        for accumulator in accumulators:
            if accumulator is not None:
                total = self.add_input(total, accumulator)
        return total

    def extract_output(self, accumulator: Any) -> Any:
        return accumulator

    def get_accumulator_coder(self) -> PickleCoder:
        return PickleCoder()


class SumByStage(beam.CombineFn):
    """StageCounts → their totals, one per stage and table, sorted."""

    def create_accumulator(self) -> list[StageCount]:
        return []

    def add_input(self, accumulator: list[StageCount], element: StageCount) -> list[StageCount]:
        return total_counts([*accumulator, element])

    def merge_accumulators(self, accumulators: Iterable[list[StageCount]]) -> list[StageCount]:
        return total_counts(count for accumulator in accumulators for count in accumulator)

    def extract_output(self, accumulator: list[StageCount]) -> list[StageCount]:
        return accumulator


class DigestOfSet(beam.CombineFn):
    """Strings → a digest of the set of them: the sum of their SHA-256 modulo 2**256, so that no order changes it."""

    def create_accumulator(self) -> int:
        return 0

    def add_input(self, accumulator: int, element: str) -> int:
        return (accumulator + int.from_bytes(hashlib.sha256(element.encode()).digest(), "big")) % (1 << 256)

    def merge_accumulators(self, accumulators: Iterable[int]) -> int:
        return sum(accumulators) % (1 << 256)

    def extract_output(self, accumulator: int) -> str:
        return f"{accumulator:064x}"
