"""The layers that Keras lacks. They are registered, so that a saved model is loaded without code of its own."""

from collections.abc import Callable
from typing import Any, TypeAlias

from yt8m_pipeline.extraction.networks import tensorflow

tf = tensorflow()
"""TensorFlow is set up before Keras is imported, since Keras imports it."""

import keras as keras  # noqa: E402, PLC0414  for the modules that import it from here

Tensor: TypeAlias = Any

keras.config.set_floatx("float32")  # whatever the user's keras.json says
registered = keras.saving.register_keras_serializable("yt8m_pipeline")


def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles arithmetic on each number of tensors to one loop over them, by XLA, and likewise its gradient.

    TensorFlow makes a pass over memory for each operation. Matrix products are not in such functions: XLA's take
    longer than TensorFlow's. On a GPU, which needs parts of CUDA for it that are often not installed, none is used.
    """
    compiled: Callable[..., Any] = tf.function(function, jit_compile=not tf.config.list_physical_devices("GPU"))
    return compiled


@registered
class RealFrames(keras.layers.Layer):  # type: ignore[misc]
    """Tells frames from padding: bool, (videos, frames), from features (videos, frames, dimensions) and counts."""

    def call(self, features: Tensor, counts: Tensor) -> Tensor:
        return tf.sequence_mask(counts, tf.shape(features)[1])


@registered
class MaxOfFrames(keras.layers.Layer):  # type: ignore[misc]
    """The largest activation of each unit over the real frames (paper §4.1.2): (videos, units)."""

    supports_masking = True
    """Layers before it may have marked padding in their own way."""

    def compute_mask(self, *_: Any, **__: Any) -> None:
        """Nothing is padding after pooling."""

    def call(self, activations: Tensor, real: Tensor) -> Tensor:
        lowest = tf.constant(activations.dtype.min, activations.dtype)
        return tf.reduce_max(tf.where(real[..., tf.newaxis], activations, lowest), axis=1)


@registered
class MixtureOfExperts(keras.layers.Layer):  # type: ignore[misc]
    """One mixture of experts for each class (paper §4.3.3): the log-odds of its existence, (videos, classes).

    p(e|x) is the sum over the experts h of p(h|x) σ(u_h·x), where p(h|x) is a softmax over the experts and a dummy
    state, whose logit is 0 and in which the class does not exist. x has a last coordinate that is always 1, as in
    §4.3.1; its weights are the biases.
    """

    def __init__(self, classes: int, experts: int, **options: Any) -> None:
        super().__init__(**options)
        self.classes, self.experts = classes, experts

    def build(self, shape: tuple[int, ...]) -> None:
        size = self.experts * self.classes
        for name in ("gates", "sigmoids"):
            kernel = self.add_weight(name=f"{name}_kernel", shape=(shape[-1], size), initializer="glorot_uniform")
            bias = self.add_weight(name=f"{name}_bias", shape=(size,), initializer="zeros")
            setattr(self, name, (kernel, bias))

    def call(self, features: Tensor) -> Tensor:
        return log_odds_of_mixture(*(self._logits(features, *weights) for weights in (self.gates, self.sigmoids)))

    def _logits(self, features: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
        return tf.reshape(tf.matmul(features, kernel) + bias, (-1, self.experts, self.classes))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "classes": self.classes, "experts": self.experts}


@fused
@tf.custom_gradient  # type: ignore[untyped-decorator]
def log_odds_of_mixture(gates: Tensor, sigmoids: Tensor) -> Any:
    """log p(e|x) - log(1 - p(e|x)), and its gradient: equations 6 and 7 of the paper, without their division.

    With E_h = exp(w_h·x), p is the sum of E_h σ(u_h·x), and 1 - p that of E_h σ(-u_h·x) and the dummy's 1, both over
    the same number, which cancels. Both sums are taken as logarithms, so nothing over- or underflows, however large the
    logits are. Equation 6 divides by p (1 - p), which is 0 where a score saturates; here the shares of the experts in
    either sum stand instead.

    Args:
        gates: w_h·x, (videos, experts, classes).
        sigmoids: u_h·x, of the same shape.

    Returns:
        (videos, classes).
    """
    against = gates - tf.nn.softplus(sigmoids)
    in_favour = against + sigmoids
    highest = tf.reduce_max(in_favour, axis=1, keepdims=True)
    highest_against = tf.maximum(tf.reduce_max(against, axis=1, keepdims=True), 0.0)
    terms, terms_against = tf.exp(in_favour - highest), tf.exp(against - highest_against)
    total = tf.reduce_sum(terms, axis=1, keepdims=True)
    total_against = tf.reduce_sum(terms_against, axis=1, keepdims=True) + tf.exp(-highest_against)
    log_odds = highest + tf.math.log(total) - highest_against - tf.math.log(total_against)

    def gradient(upstream: Tensor) -> tuple[Tensor, Tensor]:
        share, difference = terms / total, terms / total - terms_against / total_against
        each = upstream[:, tf.newaxis]
        return each * difference, each * (share - tf.sigmoid(sigmoids) * difference)

    return tf.squeeze(log_odds, axis=1), gradient
