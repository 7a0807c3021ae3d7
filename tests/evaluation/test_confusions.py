"""Confusions, examples and calibration: equal to loops over single videos, and the same in any order and division."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evaluation.test_metrics import batches, ranking, repeated
from yt8m_pipeline.evaluation.batch import Batch
from yt8m_pipeline.evaluation.calibration import Calibration
from yt8m_pipeline.evaluation.confusions import Confusion, Confusions
from yt8m_pipeline.evaluation.examples import Example, Examples
from yt8m_pipeline.evaluation.metrics import BUCKETS, Evaluation


def ids_of(batch: Batch) -> list[str]:
    return [f"v{row}" for row in range(len(batch.scores))]


def part(batch: Batch, rows: slice) -> Batch:
    return Batch(batch.scores[rows], batch.labels[rows], batch.weights[rows])


@given(batches(), st.integers(0, 5))
def test_confusions_are_those_of_single_videos(batch: Batch, number: int) -> None:
    pairs = Counter[tuple[int, int]]()
    for scores, labels in repeated(batch):
        best = ranking(scores)[:1]
        pairs.update((label, best[0]) for label in labels if best and best[0] not in labels)
    most = sorted((Confusion(*pair, videos) for pair, videos in pairs.items()), key=lambda row: (-row.videos, row[:2]))
    assert Confusions.from_batch(batch).most(number) == most[:number]


@given(batches(), st.integers(0, 7))
def test_confusions_add_up(batch: Batch, cut: int) -> None:
    whole = Confusions.from_batch(batch)
    halves = [Confusions.from_batch(part(batch, rows)) for rows in (slice(cut), slice(cut, None))]
    for added in (halves[0] + halves[1], halves[1] + halves[0], whole + Confusions.zero(batch.classes)):
        assert np.array_equal(added.counts, whole.counts)


def example(video_id: str, scores: list[float], labels: np.ndarray) -> Example:
    best = tuple((index, scores[index]) for index in ranking(scores)[:5])
    return Example(video_id, tuple(np.flatnonzero(labels).tolist()), best)


@given(batches(), st.integers(0, 3))
def test_examples_are_the_surest_of_all(batch: Batch, number: int) -> None:
    rows = zip(ids_of(batch), batch.scores.tolist(), batch.labels, strict=True)
    every = [example(*row) for row in rows if any(row[1])]
    ranked = sorted(every, key=lambda found: (-found.predictions[0][1], found.video_id))
    found = Examples.from_batch(ids_of(batch), batch, number)
    assert found.right == tuple(one for one in ranked if one.is_right)[:number]
    assert found.wrong == tuple(one for one in ranked if not one.is_right)[:number]


@given(batches(), st.integers(0, 3), st.integers(0, 7))
def test_examples_add_up(batch: Batch, number: int, cut: int) -> None:
    ids, whole = ids_of(batch), Examples.from_batch(ids_of(batch), batch, number)
    first, second = (
        Examples.from_batch(ids[rows], part(batch, rows), number) for rows in (slice(cut), slice(cut, None))
    )
    assert first + second == second + first == whole == whole + Examples(number)


@given(batches(), st.integers(1, 12))
def test_calibration_is_that_of_single_predictions(batch: Batch, bins: int) -> None:
    found = Calibration.of(Evaluation.from_batch(batch).average_precision, bins)
    rounded = [
        (round(score * BUCKETS), index in labels)
        for scores, labels in repeated(batch)
        for index, score in enumerate(scores)
        if round(score * BUCKETS)
    ]
    gaps = 0.0
    for place in range(bins):
        inside = [row for row in rounded if place * BUCKETS < row[0] * bins <= (place + 1) * BUCKETS]
        assert found.predictions[place] == len(inside)
        if inside:
            score, frequency = np.mean(inside, axis=0)
            assert found.scores[place] == pytest.approx(score / BUCKETS)
            assert found.frequencies[place] == pytest.approx(frequency)
            gaps += len(inside) * abs(score / BUCKETS - frequency)
        else:
            assert np.isnan(found.scores[place])
            assert np.isnan(found.frequencies[place])
    assert found.expected_error == pytest.approx(gaps / len(rounded) if rounded else np.nan, nan_ok=True)
