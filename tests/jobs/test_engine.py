"""What the engine's own workers send arrives whole."""

import time
from collections.abc import Iterable, Iterator
from inspect import signature
from pathlib import Path
from typing import Any
from unittest import mock

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions, TypeOptions
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.userstate import CombiningValueStateSpec

from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.jobs.engine import beam_pipeline, run

TWO_THREADS = ("--direct_running_mode=multi_threading", "--direct_num_workers=2")


class SlowToPickle:
    """A value that takes longer to be pickled than Beam's second, after which it sends what a worker has written."""

    def __reduce__(self) -> tuple[type["SlowToPickle"], tuple[()]]:
        time.sleep(1.2)
        return SlowToPickle, ()


def test_a_large_value_is_not_sent_in_halves(tmp_path: Path) -> None:
    """Half of a value, read as a whole one, is a list of up to 2**31 windows: 17 GB that no limit of ours held."""

    def count(_: int, values: Iterable[SlowToPickle]) -> None:
        (tmp_path / "arrived").write_text(str(len(list(values))))

    def add_steps(pipeline: beam.Pipeline) -> None:
        keyed = pipeline | beam.Create([0]) | beam.Map(lambda key: (key, SlowToPickle()))
        _ = keyed | beam.GroupByKey() | beam.MapTuple(count)

    run(TWO_THREADS, Layout(str(tmp_path)), add_steps)
    assert (tmp_path / "arrived").read_text() == "1"


def test_the_experiment_that_cuts_what_workers_send_is_refused() -> None:
    with pytest.raises(UsageError, match="Beam loses elements"):
        beam_pipeline(["--runner=PortableRunner", "--experiments=beam_fn_api,data_buffer_time_limit_ms=1000"])


def test_beam_parses_its_options_no_more_often_for_more_steps() -> None:
    """It parses them for each view that it asks for, and asks several times for each step."""

    def times_parsed(steps: int) -> int:
        pipeline = beam_pipeline([])
        with mock.patch.object(
            PipelineOptions, "__init__", autospec=True, side_effect=PipelineOptions.__init__
        ) as init:
            values = pipeline | beam.Create([0])
            for step in range(steps):
                values |= str(step) >> beam.Map(abs)
            pipeline.run().wait_until_finish()
        return init.call_count

    assert times_parsed(1) == times_parsed(9)


class Counts(beam.DoFn):
    """A step with a state, which Beam finds among the defaults of a method."""

    STATE = CombiningValueStateSpec("count", combine_fn=sum)

    def process(self, element: tuple[int, int], count: Any = beam.DoFn.StateParam(STATE)) -> Iterator[int]:  # noqa: B008
        count.add(element[1])
        yield count.read()


def test_beam_reads_the_signature_of_each_method_once(tmp_path: Path) -> None:
    of_bound: list[Any] = []

    def remembering(function: Any) -> Any:
        if isinstance(getattr(function, "__self__", None), beam.DoFn):
            of_bound.append(function)
        return signature(function)

    def add_steps(pipeline: beam.Pipeline) -> None:
        values = pipeline | beam.Create([0])
        for step in range(9):
            values |= str(step) >> beam.Map(abs)

    with mock.patch("inspect.signature", remembering):
        run([], Layout(str(tmp_path)), add_steps)
    assert of_bound == []


def test_a_state_is_found_and_kept(tmp_path: Path) -> None:
    def add_steps(pipeline: beam.Pipeline) -> None:
        counted = pipeline | beam.Create([(0, 1), (0, 2)]) | beam.ParDo(Counts())  # type: ignore[no-untyped-call]
        assert_that(counted, equal_to([1, 3]))

    run([], Layout(str(tmp_path)), add_steps)


def test_what_one_view_of_the_options_sets_all_views_have() -> None:
    options = beam_pipeline(["--job_name=ours", "--experiments=one"]).options
    assert options.view_as(TypeOptions) is options.view_as(TypeOptions)
    options.view_as(StandardOptions).streaming = True
    assert options.get_all_options(drop_default=True)["streaming"]
    assert options.view_as(PipelineOptions).view_as(StandardOptions).streaming
