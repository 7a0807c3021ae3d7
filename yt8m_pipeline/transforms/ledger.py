"""The ledger: every row that a stage drops, the counts that show that no row vanished, and warnings."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.typehints.decorators import IOTypeHints

from yt8m_pipeline.accounting.counts import StageCount, total_counts
from yt8m_pipeline.accounting.outcome import Outcome
from yt8m_pipeline.transforms.combiners import AddCounts, SumByStage
from yt8m_pipeline.transforms.rejects import Packed, PackRejects
from yt8m_pipeline.transforms.steps import NotingDoFn

KEPT = "kept"
REJECTS = "rejects"
COUNTS = "counts"

Tagged: TypeAlias = TaggedOutput[str, Any]
"""An element of one of the other outputs of a step; `typed_step` says of which type each of these is. Beam reads the
hints of `process` itself and wants a Literal for each tag there, so that `process` says Any."""

T = TypeVar("T")
InputT = TypeVar("InputT")
OutputT = TypeVar("OutputT")


class Outputs(NamedTuple, Generic[T]):
    """What a stage hands on, and what it books.

    Attributes:
        kept: The rows or videos that go on.
        rejects: The rows that do not, in tables of schema `REJECTS`.
        counts: How many of each.
    """

    kept: PCollection[T]
    rejects: PCollection[pa.Table]
    counts: PCollection[StageCount]


class SeveralOutputs(beam.PTransform[InputT, OutputT]):
    """A PTransform with several outputs, of which Beam knows no type hints: those of the steps inside it hold."""

    def default_type_hints(self) -> IOTypeHints:
        return IOTypeHints.empty()


class SeveralInputs(beam.PTransform[InputT, OutputT]):
    """A PTransform with several inputs, of which Beam knows no type hints: those of the steps inside it hold."""

    def default_type_hints(self) -> IOTypeHints:
        return IOTypeHints.empty()


def settle(main: Outcome, *others: Outcome) -> Iterator[pa.Table | Tagged]:
    """A stage's outputs: the first outcome's kept rows, and each table's rejected rows and counts."""
    if main.kept.num_rows:
        yield main.kept
    for outcome in (main, *others):
        yield TaggedOutput(COUNTS, outcome.count)
        if outcome.rejects.num_rows:
            yield TaggedOutput(REJECTS, outcome.rejects)


class Settle(NotingDoFn):
    """Applies a function that answers the outcome of a stage for each of its tables, the kept one first."""

    def __init__(self, function: Callable[..., Iterable[Outcome]]) -> None:
        self._function = function

    def process(self, element: Any, *sides: Any) -> Iterator[Any]:
        yield from settle(*self._function(element, *sides))


def typed_step(function: beam.DoFn, kept: type, *sides: Any, **tagged: type) -> beam.ParDo:
    """A ParDo of a stage that says what it yields: what is kept, rejects, counts, and what has other tags."""
    step = beam.ParDo(function, *sides)
    return step.with_output_types(kept, rejects=pa.Table, counts=StageCount, **tagged)


def outputs_of(elements: PCollection[Any], function: beam.DoFn, *sides: Any, kept: type[T]) -> Outputs[T]:
    """Applies a DoFn that yields what is kept, and tagged rejects and counts."""
    found = elements | typed_step(function, kept, *sides).with_outputs(REJECTS, COUNTS, main=KEPT)
    return Outputs(found[KEPT], found[REJECTS], found[COUNTS])


def settled_by(tables: PCollection[Any], function: Callable[..., Iterable[Outcome]], *sides: Any) -> Outputs[pa.Table]:
    """Applies a function that answers the outcome of a stage for each of its tables, the kept one first."""
    return outputs_of(tables, Settle(function), *sides, kept=pa.Table)


def counted_together(outputs: Iterable[T | Tagged]) -> Iterator[T | Tagged]:
    """The outputs of a stage, their counts added up: one element for an engine to carry instead of many."""
    counts: list[StageCount] = []
    for output in outputs:
        if isinstance(output, TaggedOutput) and output.tag == COUNTS:
            counts.append(output.value)
        else:
            yield output
    yield from (TaggedOutput(COUNTS, count) for count in total_counts(counts))


class Ledger:
    """Gathers the rejects, counts and warnings of all stages, so that the pipeline reads as its acts."""

    def __init__(self) -> None:
        self._rejects: list[PCollection[pa.Table]] = []
        self._counts: list[PCollection[StageCount]] = []
        self._warnings: list[PCollection[str]] = []

    def keep(self, outputs: Outputs[T]) -> PCollection[T]:
        """Books the rejects and counts of a stage and gives back what it kept."""
        self._rejects.append(outputs.rejects)
        self._counts.append(outputs.counts)
        return outputs.kept

    def warn(self, warnings: PCollection[str]) -> None:
        """Books what a stage says to the user."""
        self._warnings.append(warnings)

    def take_rejects(self, whose: str) -> PCollection[Packed]:
        """The rejected rows that have been booked since the last call, packed where they are made.

        Args:
            whose: The acts that they are of, for the names of the steps.
        """
        taken, self._rejects = self._rejects, []
        packed = [rows | f"pack {whose} {number}" >> beam.ParDo(PackRejects()) for number, rows in enumerate(taken)]
        return tuple(packed) | f"rejects of {whose}" >> beam.Flatten()

    def warnings(self) -> PCollection[str]:
        """Every warning."""
        return tuple(self._warnings) | "all warnings" >> beam.Flatten()

    def counts(self) -> PCollection[list[StageCount]]:
        """The totals for each stage and table, in one element."""
        added = [
            counts | f"add counts {number}" >> beam.ParDo(AddCounts()) for number, counts in enumerate(self._counts)
        ]
        return tuple(added) | "all counts" >> beam.Flatten() | beam.CombineGlobally(SumByStage())
