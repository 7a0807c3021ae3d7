"""The measures of scripts/prove_compression.py, against brute force on features with the shape of pool_3."""

import itertools
from collections.abc import Iterator
from dataclasses import astuple

import numpy as np
import prove_compression as proof
import pytest
from prove_compression import SLICES, Frames, Split
from sklearn.metrics import average_precision_score
from threadpoolctl import threadpool_limits

from yt8m_pipeline.data_model import Float32Array

CLASSES, FRAMES, DIMENSIONS = 5, 6, 32


def pool_3_like(seed: int = 0) -> Frames:
    """Non-negative, sparse, heavy-tailed and correlated: rectified mixtures of gamma-distributed causes."""
    random = np.random.default_rng(seed)
    classes, slices, _ = np.indices((CLASSES, SLICES, FRAMES)).reshape(3, -1)
    strengths = random.gamma(0.4, 1.0, (len(classes), 24)) + random.gamma(0.4, 0.7, (CLASSES, 24))[classes]
    mixed = strengths @ random.normal(size=(24, DIMENSIONS)) + random.normal(scale=0.3, size=(len(classes), DIMENSIONS))
    return Frames(np.maximum(mixed, 0).astype(np.float32), classes, slices)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    with threadpool_limits(limits=1):
        yield


@pytest.fixture(scope="module")
def split() -> Split:
    return next(proof.splits(pool_3_like(), seed=0))


@pytest.fixture(scope="module")
def measures(split: Split) -> dict[str, proof.Measures]:
    return proof.measured(split)


def test_each_video_is_held_out_once_and_never_trained_on_then() -> None:
    frames = pool_3_like()
    tested: list[tuple[int, int]] = []
    for split in proof.splits(frames, seed=3):
        parts = [set(videos(part)) for part in (split.train, split.validate, split.test)]
        assert all(a.isdisjoint(b) for a, b in itertools.combinations(parts, 2))
        assert [len(part) for part in parts] == [30, 10, 10]
        tested += parts[2]
    assert sorted(tested) == sorted(set(videos(frames)))


def videos(frames: Frames) -> list[tuple[int, int]]:
    """The class and slice of each frame."""
    return list(zip(frames.classes.tolist(), frames.slices.tolist(), strict=True))


def test_identical_features_lose_nothing(split: Split) -> None:
    assert proof.features_kept(split, split) == {"variance lost": 0, "k-NN agreement, features": 1}
    assert proof.coefficients_kept(split, split) == {"coefficient error": 0, "k-NN agreement, coefficients": 1}
    result = {name: proof.scores(split) for name in ("this", "that")}
    assert proof.loss([result], "this", "that", "video mAP") == "0.00 (0.00 to 0.00)"


def test_the_mean_of_train_loses_all_the_variance_but_what_the_mean_of_test_explains(split: Split) -> None:
    mean = split.train.features.mean(axis=0)
    constant = proof.transformed(split, lambda values: np.broadcast_to(mean, values.shape))
    assert proof.features_kept(split, constant)["variance lost"] == pytest.approx(1, abs=1e-6)


def test_neighbours_are_those_of_brute_force(split: Split) -> None:
    found = proof.neighbours(split)
    for query, row in list(enumerate(found))[::7]:
        candidates = np.flatnonzero(split.train.classes != split.test.classes[query])
        cosines = [cosine(split.test.features[query], split.train.features[index]) for index in candidates]
        ranked = [index for _, index in sorted(zip(cosines, candidates.tolist(), strict=True), reverse=True)]
        assert set(row.tolist()) == set(ranked[: proof.NEIGHBOURS])


def cosine(first: Float32Array, second: Float32Array) -> float:
    a, b = first.astype(np.float64), second.astype(np.float64)
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def test_agreement_is_the_share_of_common_neighbours_in_any_order() -> None:
    first, second = np.array([[1, 2, 3, 4], [5, 6, 7, 8]]), np.array([[4, 3, 9, 9], [8, 7, 6, 5]])
    assert proof.agreement(first, second) == (0.5 + 1) / 2


def test_metrics_are_those_of_brute_force(split: Split) -> None:
    random = np.random.default_rng(1)
    probabilities = random.dirichlet(np.ones(CLASSES), len(split.test.classes))
    of_frame = videos(split.test)
    rows = {video: [index for index, other in enumerate(of_frame) if other == video] for video in of_frame}
    scores = {video: np.mean([probabilities[index] for index in rows[video]], axis=0) for video in rows}
    hits = [np.argsort(-score)[0] == video[0] for video, score in scores.items()]
    frame_hits = [probabilities[i].argmax() == label for i, label in enumerate(split.test.classes)]
    precisions = [
        average_precision_score([video[0] == c for video in scores], [score[c] for score in scores.values()])
        for c in range(CLASSES)
    ]
    expected = {"frame accuracy": np.mean(frame_hits), "video Hit@1": np.mean(hits), "video mAP": np.mean(precisions)}
    assert proof.metrics(probabilities, split.test) == pytest.approx(expected)


def test_what_is_put_together_again_is_the_projection_onto_the_components(
    split: Split, measures: dict[str, proof.Measures]
) -> None:
    train, test = (part.features.astype(np.float64) for part in (split.train, split.test))
    centred = test - train.mean(axis=0)
    basis = np.linalg.svd(train - train.mean(axis=0), full_matrices=False)[2][: DIMENSIONS // 2]
    lost = np.square(centred - centred @ basis.T @ basis).sum() / np.square(centred).sum()
    assert measures[proof.FLOAT_PCA]["variance lost"] == pytest.approx(lost, rel=1e-3)
    assert measures[proof.FLOAT_PCA]["coefficient error"] == 0


def test_codes_cost_what_their_levels_cost_on_held_out_frames(measures: dict[str, proof.Measures]) -> None:
    """Levels per dimension lose to shared ones here: 256 of them for 180 train frames learn these by heart."""
    exact, half, shared, own, uniform = (measures[name]["coefficient error"] for name in list(measures)[1:])
    assert exact == 0 < half < shared < own < uniform


def test_test_frames_that_count_twice_change_no_measure_for_nothing_is_fitted_to_them(
    split: Split, measures: dict[str, proof.Measures]
) -> None:
    twice = Frames(*(np.concatenate([part, part]) for part in astuple(split.test)))
    again = proof.measured(Split(split.train, split.validate, twice))
    assert all(again[name] == pytest.approx(measures[name], abs=1e-6) for name in measures)


def test_the_report_is_markdown(measures: dict[str, proof.Measures], capsys: pytest.CaptureFixture[str]) -> None:
    proof.report([measures, measures], DIMENSIONS)
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len({row.count("|") for row in rows[:7]}) == 1
    assert rows[2].startswith("| full size, float32 | 128 | 0 (0 to 0) | – | 1 (1 to 1) | – |")
