"""The losses of the paper: summed over classes, one number for each vector of scores, and finite whatever the scores.

Scores z are log-odds: the probability of a class is σ(z). Where `hinge` trained the scores, σ(z) is no probability, but
it is in [0, 1] and rises with z, which is all that the metrics ask.
"""

from typing import Any, TypeAlias

from yt8m_pipeline.baselines.layers import fused, tf

Tensor: TypeAlias = Any


@fused
def log_loss(labels: Tensor, scores: Tensor) -> Tensor:
    """Equation 5, -g log p - (1 - g) log(1 - p), summed over classes; of equation 3, the term of each video.

    Args:
        labels: uint8, (…, classes), 1 for each label and 0 for the others.
        scores: float32, (…, classes).
    """
    return tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(labels, tf.float32), scores), axis=-1)


@fused
def hinge_loss(labels: Tensor, scores: Tensor, margin: float) -> Tensor:
    """Equation 4, max(0, b - (2y - 1)ŷ), summed over classes; b is the margin."""
    return tf.reduce_sum(tf.nn.relu(margin - (2 * tf.cast(labels, tf.float32) - 1) * scores), axis=-1)


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """The mean over the second axis. Padding weighs nothing.

    Args:
        values: (videos, frames), or (videos, frames, classes).
        weights: (videos, frames).
    """
    whole = tf.reduce_sum(weights, axis=1, keepdims=True)
    return tf.einsum("vf,vf...->v...", weights / whole, values)


def equal_weights(counts: Tensor, longest: Tensor) -> Tensor:
    """1 for each real frame: float32, (videos, frames)."""
    return tf.sequence_mask(counts, longest, tf.float32)


def rising_weights(counts: Tensor, longest: Tensor) -> Tensor:
    """1/N, 2/N, … 1 for the N real frames of each video (paper §4.1.3), and 0 for padding."""
    place = tf.cast(tf.range(1, longest + 1), tf.float32)
    return equal_weights(counts, longest) * place / tf.cast(counts, tf.float32)[:, tf.newaxis]
