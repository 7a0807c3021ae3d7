"""Metrics: equal to sums over single videos written down from the paper, to scikit-learn, and in any order."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn.metrics import average_precision_score

from yt8m_pipeline.evaluation.batch import Batch
from yt8m_pipeline.evaluation.metrics import BUCKETS, AveragePrecision, Evaluation, Gap

SHAPES = st.tuples(st.integers(0, 7), st.integers(1, 6))
GRID = st.integers(0, BUCKETS).map(lambda number: number / BUCKETS)
FEW = st.sampled_from([0.0, 0.0001, 0.25, 0.5, 1.0])


@st.composite
def batches(draw: st.DrawFn, scores: st.SearchStrategy[float] = FEW | GRID) -> Batch:
    shape = draw(SHAPES)
    labels = draw(npst.arrays(np.bool_, shape))
    weights = draw(npst.arrays(np.int64, shape[0], elements=st.integers(0, 3)))
    return Batch.of(draw(npst.arrays(np.float64, shape, elements=scores)), labels, weights)


def repeated(batch: Batch) -> list[tuple[list[float], list[int]]]:
    """Each video as often as it counts: its scores, and the classes that are its labels."""
    rows = zip(batch.scores.tolist(), batch.labels, batch.weights, strict=True)
    return [(scores, np.flatnonzero(labels).tolist()) for scores, labels, weight in rows for _ in range(weight)]


def ranking(scores: list[float]) -> list[int]:
    """The predicted classes of a video, best first."""
    return [index for _, index in sorted((-score, index) for index, score in enumerate(scores) if score > 0)]


def share(values: list[Fraction], whole: int) -> float:
    return float(sum(values, Fraction(0)) / whole) if whole else math.nan


def same(one: float, other: float) -> bool:
    return one == pytest.approx(other, abs=1e-12, nan_ok=True)


@given(batches())
def test_hit_at_k_is_equation_11(batch: Batch) -> None:
    videos, hits = repeated(batch), Evaluation.from_batch(batch).hits
    for k in range(1, batch.classes + 3):
        hit = [Fraction(bool(set(ranking(scores)[:k]) & set(labels))) for scores, labels in videos]
        assert same(hits.at(k), share(hit, len(videos)))


@given(batches())
def test_perr_is_that_of_the_paper(batch: Batch) -> None:
    labelled = [(scores, labels) for scores, labels in repeated(batch) if labels]
    values = [
        Fraction(len(set(ranking(scores)[: len(labels)]) & set(labels)), len(labels)) for scores, labels in labelled
    ]
    assert same(Evaluation.from_batch(batch).perr.value, share(values, len(labelled)))


@given(batches())
def test_average_precision_is_equation_10(batch: Batch) -> None:
    videos, metric = repeated(batch), Evaluation.from_batch(batch).average_precision
    for index, value in enumerate(metric.of_classes):
        truth = [(round(scores[index] * BUCKETS), index in labels) for scores, labels in videos]
        positives, total = sum(is_label for _, is_label in truth), Fraction(0)
        for level in {score for score, _ in truth if score}:
            retrieved = [is_label for score, is_label in truth if score >= level]
            gain = sum(is_label for score, is_label in truth if score == level)
            total += Fraction(sum(retrieved), len(retrieved)) * gain
        assert same(value, share([total], positives))


@given(batches(FEW.filter(bool)))
def test_average_precision_is_that_of_scikit_learn(batch: Batch) -> None:
    metric = Evaluation.from_batch(batch).average_precision
    for index in np.flatnonzero(metric.labels):
        theirs = average_precision_score(batch.labels[:, index], batch.scores[:, index], sample_weight=batch.weights)
        assert metric.of_classes[index] == pytest.approx(theirs)


@given(batches())
def test_gap_is_the_average_precision_of_the_twenty_best_predictions(batch: Batch) -> None:
    videos = repeated(batch)
    pooled = [(scores[index], index in labels) for scores, labels in videos for index in ranking(scores)[:20]]
    total = Fraction(0)
    for level in {score for score, _ in pooled}:
        retrieved = [is_label for score, is_label in pooled if score >= level]
        total += Fraction(sum(retrieved), len(retrieved)) * sum(hit for score, hit in pooled if score == level)
    assert same(Evaluation.from_batch(batch).gap.value, share([total], sum(len(labels) for _, labels in videos)))


@pytest.mark.parametrize(("bits", "expected"), [(15, 1.0), (16, 0.5)])
def test_gap_tells_scores_apart_that_differ_by_one_part_in_32768(bits: int, expected: float) -> None:
    """Of equal scores, none comes first: half of the two best predictions is right."""
    scores = np.array([[0.5 + 0.5 / 2**bits, 0.5]])
    assert Evaluation.from_batch(Batch.of(scores, np.array([[True, False]]))).gap.value == expected


def test_gap_looks_at_twenty_predictions_of_a_video() -> None:
    scores = np.linspace(1, 0.5, 25)[None, :]
    labels = np.zeros((1, 25), np.bool_)
    labels[0, [0, 19, 20]] = True
    assert Evaluation.from_batch(Batch.of(scores, labels)).gap.value == pytest.approx((1 + 2 / 20) / 3)


@given(batches(), st.integers(0, 2**32))
def test_any_division_and_order_gives_the_same_bits(batch: Batch, seed: int) -> None:
    parts = [
        Evaluation.from_batch(
            Batch.of(batch.scores[row : row + 1], batch.labels[row : row + 1], batch.weights[row : row + 1])
        )
        for row in np.random.default_rng(seed).permutation(len(batch.scores))
    ]
    total = Evaluation.zero(batch.classes)
    for part in parts:
        total = total + part
    whole = Evaluation.from_batches([batch], batch.classes)
    for name in ("hits", "perr", "average_precision", "gap"):
        one, other = getattr(total, name), getattr(whole, name)
        for field in one.__dataclass_fields__:
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
    assert repr(total.values) == repr(whole.values)


def test_nothing_predicted_is_nothing_found() -> None:
    values = Evaluation.from_batch(Batch.of(np.zeros((3, 2)), np.ones((3, 2), np.bool_))).values
    assert values == {"map": 0.0, "hit@1": 0.0, "hit@5": 0.0, "perr": 0.0, "gap": 0.0}


def test_a_class_without_a_positive_does_not_count() -> None:
    scores, labels = np.array([[0.9, 0.8]]), np.array([[True, False]])
    metric = Evaluation.from_batch(Batch.of(scores, labels)).average_precision
    assert (metric.mean, metric.classes) == (1.0, 1)
    assert np.isnan(metric.of_classes[1])


def test_without_videos_nothing_is_known() -> None:
    assert all(math.isnan(value) for value in Evaluation.zero(3).values.values())


def test_precision_and_recall_at_a_threshold() -> None:
    scores, labels = np.array([[0.9], [0.6], [0.4], [0.0]]), np.array([[True], [False], [True], [True]])
    metric = Evaluation.from_batch(Batch.of(scores, labels)).average_precision
    assert [values.tolist() for values in metric.precision_and_recall(0.5)] == [[0.5], [1 / 3]]
    assert metric.precision_and_recall(1.0)[0].tolist() == pytest.approx([math.nan], nan_ok=True)


@pytest.mark.parametrize("score", [math.nan, -0.1, 1.1, math.inf])
def test_a_score_that_is_none_is_refused(score: float) -> None:
    with pytest.raises(ValueError, match="a score is in"):
        Batch.of(np.array([[score]]), np.array([[True]]))


def test_shapes_and_weights_are_checked() -> None:
    with pytest.raises(ValueError, match="videos, classes"):
        Batch.of(np.zeros((2, 3)), np.zeros((3, 2), np.bool_))
    with pytest.raises(ValueError, match="2 weights"):
        Batch.of(np.zeros((2, 3)), np.zeros((2, 3), np.bool_), np.array([1]))
    with pytest.raises(ValueError, match="at least 1"):
        Evaluation.zero(2).hits.at(0)


def test_the_memory_of_4800_classes_is_bounded() -> None:
    zero = AveragePrecision.zero(4_800)
    gap = Gap.zero()
    assert sum(part.nbytes for part in (zero.predicted, zero.positives, gap.predicted, gap.positives)) < 460e6
