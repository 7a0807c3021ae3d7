"""The CombineFns only delegate: however the input is cut into bundles, the result is the direct sum."""

import hashlib
from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

import apache_beam as beam
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from yt8m_pipeline.accounting.counts import StageCount
from yt8m_pipeline.accounting.reasons import Stage
from yt8m_pipeline.dataset.manifest import PartitionSummary
from yt8m_pipeline.jobs.engine import beam_pipeline
from yt8m_pipeline.transforms.combiners import DigestOfSet, Sum, SumByStage

numbers = st.integers(0, 1000)
summaries = st.builds(PartitionSummary, numbers, numbers, numbers, st.integers(0, 2**256 - 1))
counts = st.builds(
    StageCount,
    st.sampled_from(list(Stage)[:3]),
    st.sampled_from(["entities", "videos"]),
    numbers,
    st.dictionaries(st.sampled_from(["too_short", "duplicate"]), numbers).map(
        lambda items: tuple(sorted(items.items()))
    ),
)


def combine(function: beam.CombineFn, bundles: Sequence[Sequence[Any]]) -> Any:
    """As an engine does: one accumulator per bundle, through its coder, all merged; one alone need not be merged."""
    coder = function.get_accumulator_coder()
    accumulators = []
    for bundle in bundles:
        accumulator = reduce(function.add_input, bundle, function.create_accumulator())
        accumulators.append(coder.decode(coder.encode(accumulator)))
        alone = function.merge_accumulators([accumulators[-1]])
        assert function.extract_output(accumulators[-1]) == function.extract_output(alone)
    return function.extract_output(function.merge_accumulators(accumulators))


@given(st.lists(st.lists(summaries, max_size=4), max_size=4))
def test_the_sum_of_bundles_is_the_sum_of_all(bundles: list[list[PartitionSummary]]) -> None:
    everything = [summary for bundle in bundles for summary in bundle]
    expected = reduce(add, everything) if everything else None
    assert combine(Sum(), bundles) == expected
    assert combine(Sum(), bundles[::-1]) == expected


@given(st.lists(st.lists(counts, max_size=4), max_size=4))
def test_stage_counts_are_summed_by_stage_and_table(bundles: list[list[StageCount]]) -> None:
    totals = combine(SumByStage(), bundles)
    everything = [count for bundle in bundles for count in bundle]
    keys = [(total.stage, total.table) for total in totals]
    assert keys == sorted({(count.stage, count.table) for count in everything})
    for total in totals:
        mine = [count for count in everything if (count.stage, count.table) == (total.stage, total.table)]
        assert (total.kept, total.rows_in) == (sum(c.kept for c in mine), sum(c.rows_in for c in mine))
    assert combine(SumByStage(), [bundle[::-1] for bundle in bundles[::-1]]) == totals


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8")), max_size=4), max_size=4))
def test_the_digest_of_a_set_is_the_sum_of_the_digests(bundles: list[list[str]]) -> None:
    hashes = [hashlib.sha256(text.encode()).hexdigest() for bundle in bundles for text in bundle]
    assert int(combine(DigestOfSet(), bundles), 16) == sum(int(digest, 16) for digest in hashes) % 2**256


@given(st.sets(st.text(st.characters(codec="utf-8")), min_size=1), st.data())
def test_another_set_has_another_digest(texts: set[str], data: st.DataObject) -> None:
    less = texts - {data.draw(st.sampled_from(sorted(texts)))}
    whole, rest = (combine(DigestOfSet(), [sorted(items)]) for items in (texts, less))
    assert len(whole) == len(rest) == 64
    assert whole != rest


def test_beam_combines_with_them() -> None:
    summary, count = PartitionSummary(1, 2, 3, 2**255), StageCount(Stage.READ, "videos", 1, (("duplicate", 1),))
    with beam_pipeline([]) as root:
        total = root | "s" >> beam.Create([summary] * 5) | beam.CombineGlobally(Sum()).without_defaults()
        none = root | "n" >> beam.Create([]) | "none" >> beam.CombineGlobally(Sum())
        stages = root | "c" >> beam.Create([count] * 5) | "stages" >> beam.CombineGlobally(SumByStage())
        assert_that(total, equal_to([PartitionSummary(5, 10, 15, 2**255)]), label="total")
        assert_that(none, equal_to([None]), label="empty")
        assert_that(stages, equal_to([[StageCount(Stage.READ, "videos", 5, (("duplicate", 5),))]]), label="counts")
