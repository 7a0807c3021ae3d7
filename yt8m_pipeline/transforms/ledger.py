"""The ledger: every row that a stage drops, the counts that show that no row vanished, and warnings."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput

from yt8m_pipeline.accounting.counts import StageCount
from yt8m_pipeline.accounting.outcome import Outcome
from yt8m_pipeline.transforms.combiners import SumByStage

KEPT = "kept"
REJECTS = "rejects"
COUNTS = "counts"


def settle(main: Outcome, *others: Outcome) -> Iterator[Any]:
    """A stage's outputs: the first outcome's kept rows, and each table's rejected rows and counts."""
    if main.kept.num_rows:
        yield main.kept
    for outcome in (main, *others):
        yield TaggedOutput(COUNTS, outcome.count)
        if outcome.rejects.num_rows:
            yield TaggedOutput(REJECTS, outcome.rejects)


class Settle(beam.DoFn):
    """Applies a function that answers the outcome of a stage for each of its tables, the kept one first."""

    def __init__(self, function: Callable[..., Iterable[Outcome]]) -> None:
        self._function = function

    def process(self, element: Any, *sides: Any) -> Iterator[Any]:
        yield from settle(*self._function(element, *sides))


def outputs_of(function: beam.DoFn, *sides: Any) -> Any:
    """ParDo with the three outputs of a stage: kept, rejects and counts."""
    return beam.ParDo(function, *sides).with_outputs(REJECTS, COUNTS, main=KEPT)


def settling(function: Callable[..., Iterable[Outcome]], *sides: Any) -> Any:
    """ParDo of a function that answers outcomes, with the three outputs of a stage."""
    return outputs_of(Settle(function), *sides)


class Ledger:
    """Gathers the rejects, counts and warnings of all stages, so that the pipeline reads as its acts."""

    def __init__(self) -> None:
        self._rejects: list[beam.PCollection[pa.Table]] = []
        self._counts: list[beam.PCollection[StageCount]] = []
        self._warnings: list[beam.PCollection[str]] = []

    def keep(self, outputs: Any) -> Any:
        """Books the rejects and counts of a stage's outputs and gives back what it kept."""
        self._rejects.append(outputs[REJECTS])
        self._counts.append(outputs[COUNTS])
        return outputs[KEPT]

    def warn(self, warnings: Any) -> None:
        """Books what a stage says to the user: PCollection[str]."""
        self._warnings.append(warnings)

    def rejects(self) -> Any:
        """Every rejected row: PCollection[pa.Table]."""
        return self._rejects | "all rejects" >> beam.Flatten()

    def warnings(self) -> Any:
        """Every warning: PCollection[str]."""
        return self._warnings | "all warnings" >> beam.Flatten()

    def counts(self) -> Any:
        """The totals per stage and table: PCollection[list[StageCount]] of one element."""
        return self._counts | "all counts" >> beam.Flatten() | beam.CombineGlobally(SumByStage())
