"""What the engine's own workers send arrives whole."""

import time
from collections.abc import Iterable
from pathlib import Path
from unittest import mock

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions, TypeOptions

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


def test_what_one_view_of_the_options_sets_all_views_have() -> None:
    options = beam_pipeline(["--job_name=ours", "--experiments=one"]).options
    assert options.view_as(TypeOptions) is options.view_as(TypeOptions)
    options.view_as(StandardOptions).streaming = True
    assert options.get_all_options(drop_default=True)["streaming"]
    assert options.view_as(PipelineOptions).view_as(StandardOptions).streaming
