"""The formulas of the paper: equations 3 to 7, and the optimum that scikit-learn finds."""

from functools import partial

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from yt8m_pipeline.baselines import losses
from yt8m_pipeline.baselines.layers import MixtureOfExperts, log_odds_of_mixture, tf
from yt8m_pipeline.baselines.models import FAMILIES, optimizer_of, shrinkage
from yt8m_pipeline.baselines.settings import settings_of
from yt8m_pipeline.data_model import Float64Array

RANDOM = np.random.default_rng(0)
VIDEOS, EXPERTS, CLASSES, DIMENSIONS = 5, 3, 4, 6


def mixture(gates: Float64Array, sigmoids: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
    """p(h|x), p(y|h,x) and p(y|x) as §4.3.3 writes them, in float64: axes (videos, experts, classes)."""
    weights = np.exp(gates)
    chosen = weights / (1 + weights.sum(axis=1, keepdims=True))
    exists = 1 / (1 + np.exp(-sigmoids))
    return chosen, exists, (chosen * exists).sum(axis=1)


def draw(*shape: int) -> Float64Array:
    return RANDOM.standard_normal(shape).astype(np.float32).astype(np.float64)


def test_the_log_odds_are_those_of_the_mixture_with_its_dummy_state() -> None:
    gates, sigmoids = draw(VIDEOS, EXPERTS, CLASSES), draw(VIDEOS, EXPERTS, CLASSES)
    _, _, exists = mixture(gates, sigmoids)
    found = tf.sigmoid(log_odds_of_mixture(tf.constant(gates, tf.float32), tf.constant(sigmoids, tf.float32)))
    np.testing.assert_allclose(found.numpy(), exists, rtol=2e-6)


def test_a_class_does_not_exist_where_the_dummy_state_is_chosen() -> None:
    """With gates that choose no expert, no expert's word counts."""
    found = log_odds_of_mixture(tf.fill((1, 2, 1), -50.0), tf.fill((1, 2, 1), 50.0)).numpy()
    np.testing.assert_allclose(found, -50 + np.log(2), rtol=1e-6)


def test_the_gradients_are_those_of_equations_6_and_7() -> None:
    features = tf.constant(draw(VIDEOS, DIMENSIONS), tf.float32)
    truth = (RANDOM.random((VIDEOS, CLASSES)) < 0.4).astype(np.float64)
    layer = MixtureOfExperts(CLASSES, EXPERTS)
    layer.build(features.shape)
    for variable in layer.trainable_variables:
        variable.assign(draw(*variable.shape))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(losses.log_loss(tf.constant(truth, tf.float32), layer(features)))
    found = {variable.name: value.numpy() for variable, value in zip(
        layer.trainable_variables, tape.gradient(loss, layer.trainable_variables), strict=True)}  # fmt: skip
    expected = gradients(features.numpy().astype(np.float64), truth, layer)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5)


def gradients(features: Float64Array, truth: Float64Array, layer: MixtureOfExperts) -> dict[str, Float64Array]:
    """Equations 6 (the gates) and 7 (the sigmoids), summed over the videos. The biases belong to x_{D+1} = 1."""
    logits = {}
    for name in ("gates", "sigmoids"):
        kernel, bias = (variable.numpy().astype(np.float64) for variable in getattr(layer, name))
        logits[name] = (features @ kernel + bias).reshape(VIDEOS, EXPERTS, CLASSES)
    chosen, exists_if, exists = mixture(logits["gates"], logits["sigmoids"])
    each, truth = exists[:, None], truth[:, None]
    common = (each - truth) / (each * (1 - each))
    errors = {
        "gates": chosen * (exists_if - each) * common,
        "sigmoids": chosen * exists_if * (1 - exists_if) * common,
    }
    flat = {name: error.reshape(VIDEOS, -1) for name, error in errors.items()}
    kernels = {f"{name}_kernel": features.T @ error for name, error in flat.items()}
    return kernels | {f"{name}_bias": error.sum(axis=0) for name, error in flat.items()}


@pytest.mark.parametrize("size", [80.0, 1e4, 1e30])
def test_saturated_mixtures_have_finite_losses_and_gradients(size: float) -> None:
    """Equation 6 divides by p (1 - p), which is 0 here in float32."""
    signs = tf.constant(np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1], [-1, 1])).reshape(4, -1).T, tf.float32)
    gates, sigmoids = (tf.reshape(size * half, (-1, 2, 1)) for half in (signs[:, :2], signs[:, 2:]))
    for label in (0.0, 1.0):
        with tf.GradientTape() as tape:
            tape.watch([gates, sigmoids])
            loss = losses.log_loss(tf.fill((16, 1), label), log_odds_of_mixture(gates, sigmoids))
        assert np.isfinite(loss.numpy()).all()
        assert all(np.isfinite(value.numpy()).all() for value in tape.gradient(loss, [gates, sigmoids]))


def test_the_losses_are_equations_4_and_5_summed_over_classes() -> None:
    scores, truth = draw(VIDEOS, CLASSES), (RANDOM.random((VIDEOS, CLASSES)) < 0.4).astype(np.float64)
    chance = 1 / (1 + np.exp(-scores))
    log_loss = -truth * np.log(chance) - (1 - truth) * np.log(1 - chance)
    hinge = np.maximum(0, 0.7 - (2 * truth - 1) * scores)
    given = tf.constant(truth, tf.float32), tf.constant(scores, tf.float32)
    np.testing.assert_allclose(losses.log_loss(*given).numpy(), log_loss.sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(losses.hinge_loss(*given, margin=0.7).numpy(), hinge.sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize("score", [-1e30, -200.0, 200.0, 1e30])
def test_no_loss_is_nan_where_scores_saturate(score: float) -> None:
    labels, scores = tf.constant([[0.0, 1.0]]), tf.Variable([[score, score]])
    for loss in (losses.log_loss, partial(losses.hinge_loss, margin=1.0)):
        with tf.GradientTape() as tape:
            value = loss(labels, scores)
        assert np.isfinite(value.numpy()).all()
        assert np.isfinite(tape.gradient(value, scores).numpy()).all()


def test_weights_rise_to_1_and_padding_weighs_nothing() -> None:
    weights = losses.rising_weights(tf.constant([4, 1]), 5).numpy()
    np.testing.assert_allclose(weights, [[0.25, 0.5, 0.75, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0, 0.0]])
    values = tf.constant([[4.0, 0, 0, 8.0, 1e30], [3.0, 7, 7, 7, 7]])
    np.testing.assert_allclose(losses.weighted_mean(values, tf.constant(weights)).numpy(), [9 / 2.5, 3.0], rtol=1e-6)


def test_logistic_regression_finds_the_optimum_that_scikit_learn_finds() -> None:
    """Equation 3: λ‖w‖² + Σ L, with the bias in w. scikit-learn minimises ‖w‖²/2 + C Σ L, so C = 1 / (2λ)."""
    videos, penalty = 60, 0.5
    settings = settings_of("logistic", [f"penalty={penalty}"])
    features = draw(videos, 3)
    truth = (features @ draw(3, 2) + draw(videos, 2) > 0).astype(np.uint8)
    network = FAMILIES["logistic"].build(settings, 3, 2)
    optimizer = optimizer_of(settings)
    batch = {"features": tf.constant(features, tf.float32), "labels": tf.constant(truth)}

    @tf.function  # type: ignore[untyped-decorator]
    def step() -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(FAMILIES["logistic"].loss(settings, network({"features": batch["features"]}), batch))
        pairs = zip(tape.gradient(loss, network.trainable_variables), network.trainable_variables, strict=True)
        shrunk = [gradient + shrinkage(settings, variable, videos) * variable for gradient, variable in pairs]
        optimizer.apply(shrunk, network.trainable_variables)

    for _ in range(800):
        step()
    kernel, bias = (variable.numpy() for variable in network.trainable_variables)
    extended = np.hstack([features, np.ones((videos, 1))])
    for label in range(2):
        optimum = LogisticRegression(C=1 / (2 * penalty), fit_intercept=False, tol=1e-8).fit(extended, truth[:, label])
        np.testing.assert_allclose(np.append(kernel[:, label], bias[label]), optimum.coef_[0], atol=2e-4)


def test_weight_decay_is_of_matrices_and_the_penalty_of_all() -> None:
    """The gradient of 10/100 times w² is 2 · 10/100 · w."""
    matrix, bias = np.zeros((3, 2)), np.zeros(2)
    assert [shrinkage(settings_of("logistic", ["penalty=10"]), weights, 100) for weights in (matrix, bias)] == [
        0.2,
        0.2,
    ]
    assert [shrinkage(settings_of("dbof"), weights, 100) for weights in (matrix, bias)] == [0.0005, 0]
    assert shrinkage(settings_of("lstm"), matrix, 100) == 0
