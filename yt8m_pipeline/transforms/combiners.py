"""CombineFns that delegate: the values know how to add themselves."""

import hashlib
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.coders import PickleCoder
from apache_beam.pvalue import PCollection
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

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


@dataclass
class AddUp(beam.PTransform[PCollection[Any], PCollection[Any]]):
    """PCollection of monoid values → PCollection of one: their sum; empty if there are none.

    Each bundle adds up its own values, and picks one of `accumulators` partial sums for the result. So the last
    addition meets `accumulators` values, not one per bundle: they have 50 MB (Moments) to 128 MB (a Histogram of each
    dimension). The sums are exact, so that the choice changes no bit. Beam's own `with_fanout` does the same, but
    pickles the partial sums with its slow default coder.
    """

    accumulators: int

    def expand(self, values: PCollection[Any]) -> PCollection[Any]:
        return (
            values
            | "spread" >> beam.ParDo(PickForBundle(self.accumulators))
            | "partial sums" >> beam.CombinePerKey(Sum())
            | beam.Values()
            | "sum" >> beam.CombineGlobally(Sum()).without_defaults()
        )


class PickForBundle(beam.DoFn):
    """Gives all values of a bundle the same key, one of `keys`."""

    def __init__(self, keys: int) -> None:
        self._keys = keys

    def start_bundle(self) -> None:
        self._key = random.randrange(self._keys)  # noqa: S311  no secret

    def process(self, value: Any) -> Iterator[tuple[int, Any]]:
        yield self._key, value


class AddCounts(beam.DoFn):
    """StageCounts → their totals in each bundle, since a stage may count every video by itself."""

    def __init__(self) -> None:
        self.start_bundle()

    def start_bundle(self) -> None:
        self._totals: dict[tuple[str, str], StageCount] = {}

    def process(self, count: StageCount) -> None:
        key = count.stage, count.table
        known = [self._totals[key]] if key in self._totals else []
        (self._totals[key],) = total_counts([*known, count])

    def finish_bundle(self) -> Iterator[WindowedValue]:
        yield from map(GlobalWindows.windowed_value, self._totals.values())


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
