"""The Beam shell of measuring: labelled videos in, those of a fitting duration out."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any, NamedTuple, TypeAlias

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import PCollection, TaggedOutput

from yt8m_pipeline.accounting.outcome import Outcome
from yt8m_pipeline.accounting.reasons import Measured, Stage
from yt8m_pipeline.config import VideoSampling
from yt8m_pipeline.decoding.sandbox.threads import prober
from yt8m_pipeline.jobs.measuring import Measuring, measure
from yt8m_pipeline.places import Places
from yt8m_pipeline.selection.durations import ComparedDurations, settle_durations, to_measure
from yt8m_pipeline.store.durations import shelf_of
from yt8m_pipeline.transforms.combiners import Sum
from yt8m_pipeline.transforms.ledger import COUNTS, KEPT, REJECTS, Outputs, SeveralOutputs, settle, typed_step
from yt8m_pipeline.transforms.monitoring import advance, announce, say, timed
from yt8m_pipeline.transforms.steps import FlatMap, NotingDoFn

PROBE = "probe"
"""What measuring is called where progress is shown."""

LACKING = "lacking"
COMPARED = "compared"

BATCH_ROWS = 1_000
"""The number of videos that are measured together, or those of one shelf where it has more. They keep every core busy
for seconds to minutes."""

AT_WORK = Lock()
"""One batch is measured at a time in a process: it keeps every core busy, and its sandboxes are all that there are."""

Tables: TypeAlias = PCollection[pa.Table]
Shelf: TypeAlias = tuple[str, Iterable[pa.Table]]
"""The name of a shelf of durations, and the videos whose durations it has or lacks."""


class MeasuredVideos(NamedTuple):
    """What measuring hands on.

    Attributes:
        outputs: The videos with their durations, the rejects and the counts.
        warnings: What the user should know.
    """

    outputs: Outputs[pa.Table]
    warnings: PCollection[str]


@dataclass
class MeasureDurations(SeveralOutputs[Tables, MeasuredVideos]):
    """PCollection[pa.Table] of labelled videos → those of a fitting duration, which is in `duration_seconds`.

    Attributes:
        config: Which durations are believed, and which are fitting (paper §3.2).
        measuring: How the others are measured.
    """

    config: VideoSampling
    measuring: Measuring

    def expand(self, videos: Tables) -> MeasuredVideos:
        divide = typed_step(_Divide(self.config, self.measuring), pa.Table, lacking=tuple[str, pa.Table])
        believed = videos | "divide" >> divide.with_outputs(LACKING, REJECTS, COUNTS, main=KEPT)
        batches = believed[LACKING] | beam.GroupByKey() | "batch" >> _batches()
        step = typed_step(_Measure(self.config, self.measuring), pa.Table, compared=ComparedDurations)
        measured = batches | "measure" >> step.with_outputs(COMPARED, REJECTS, COUNTS, main=KEPT)
        compared = measured[COMPARED] | beam.CombineGlobally(Sum(ComparedDurations()))
        outputs = [(believed[tag], measured[tag]) | f"all {tag}" >> beam.Flatten() for tag in (KEPT, REJECTS, COUNTS)]
        return MeasuredVideos(Outputs(*outputs), compared | "contradicted" >> FlatMap(ComparedDurations.warnings))


def _batches() -> beam.BatchElements:
    return beam.BatchElements(min_batch_size=BATCH_ROWS, max_batch_size=BATCH_ROWS, element_size_fn=_rows_of)


def _rows_of(shelf: Shelf) -> int:
    return sum(piece.num_rows for piece in shelf[1])


class _Divide(NotingDoFn):
    """Keeps the videos whose durations are believed, and puts the others on the shelves of their durations."""

    def __init__(self, config: VideoSampling, measuring: Measuring) -> None:
        self._config, self._places = config, measuring.places

    def process(self, videos: pa.Table) -> Iterator[Any]:
        lacking = to_measure(videos, self._config)
        yield from settle(Outcome(Stage.DURATION, "videos", videos.filter(pa.array(~lacking))))
        rows = videos.filter(pa.array(lacking))
        if rows.num_rows:
            announce(PROBE, rows.num_rows)
        names = np.array([shelf_of(uri) for uri in _absolute(rows, self._places)], np.str_)
        for name in np.unique(names):
            yield TaggedOutput(LACKING, (str(name), rows.filter(pa.array(names == name))))


class _Measure(NotingDoFn):
    """Measures the videos of some shelves, and keeps those of a fitting duration."""

    def __init__(self, config: VideoSampling, measuring: Measuring) -> None:
        self._config, self._measuring = config, measuring
        self._has_said = False

    def process(self, shelves: list[Shelf]) -> Iterator[Any]:
        videos = pa.concat_tables([piece for _, pieces in shelves for piece in pieces])
        uris = _absolute(videos, self._measuring.places)
        self._say_once()
        with timed(PROBE):
            found = self._found(uris)
        measured = [found[row] for row in range(len(uris))]
        yield from settle(settle_durations(videos, uris, measured, self._config))
        columns = (videos[name].to_pylist() for name in ("video_id", "duration_seconds"))
        yield TaggedOutput(COMPARED, ComparedDurations.of(zip(*columns, measured, strict=True)))

    def _say_once(self) -> None:
        if not self._has_said:
            say("durations are measured by probing the videos, and kept in the feature store")
        self._has_said = True

    def _found(self, uris: list[str]) -> Mapping[int, Measured]:
        found: dict[int, Measured] = {}
        with AT_WORK, prober(self._measuring.probing(os.cpu_count() or 1)) as probe:
            for row, duration in measure(uris, self._measuring, probe):
                found[row] = duration
                advance(PROBE)
        return found


def _absolute(videos: pa.Table, places: Places) -> list[str]:
    return [places.absolute(uri) for uri in videos["uri"].to_pylist()]
