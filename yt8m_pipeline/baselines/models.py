"""The six models of the paper's Table 3: the Keras network, the loss of a batch, and the scores of its videos.

A batch has `features`, float32: (videos, dimensions), or of frames (videos, frames, dimensions) with `counts`, the
number of real frames of each video; and `labels`, uint8, (videos, classes).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from yt8m_pipeline.baselines import losses
from yt8m_pipeline.baselines.layers import MaxOfFrames, MixtureOfExperts, RealFrames, keras, tf
from yt8m_pipeline.baselines.settings import (
    AdaGradSettings,
    DbofSettings,
    HingeSettings,
    LogisticSettings,
    LstmSettings,
    ModelName,
    MoeSettings,
    Settings,
)

Tensor: TypeAlias = Any
Network: TypeAlias = Any
Batch: TypeAlias = Mapping[str, Tensor]

LAST = "scores"
"""The name of the layer that has a score for each class: the one that is new where the classes are."""


@dataclass(frozen=True)
class Family:
    """What tells one model from another.

    Attributes:
        build: Makes the network from the settings, the number of dimensions and that of classes. It gives scores: one
            vector for each video, or for each frame.
        weigh: Of a network that scores frames, the weight of each frame in its video; None of one that scores videos.
    """

    build: Callable[[Any, int, int], Network]
    weigh: Callable[[Tensor, Tensor], Tensor] | None = None

    def loss(self, settings: Settings, scores: Tensor, batch: Batch) -> Tensor:
        """The loss of each video: float32, (videos,)."""
        labels = batch["labels"]
        if self.weigh is None:
            return _loss(settings, labels, scores)
        each = _loss(settings, tf.broadcast_to(labels[:, tf.newaxis], tf.shape(scores)), scores)
        return losses.weighted_mean(each, self.weigh(batch["counts"], tf.shape(scores)[1]))

    def probabilities(self, scores: Tensor, batch: Batch) -> Tensor:
        """The score of each class for each video, in [0, 1]: float32, (videos, classes).

        Those of frames are averaged with the weights that they have in the loss (equation 1 has equal ones).
        """
        each = tf.sigmoid(scores)
        if self.weigh is None:
            return each
        return tf.minimum(losses.weighted_mean(each, self.weigh(batch["counts"], tf.shape(scores)[1])), 1.0)


def _loss(settings: Settings, labels: Tensor, scores: Tensor) -> Tensor:
    if isinstance(settings, HingeSettings):
        return losses.hinge_loss(labels, scores, settings.margin)
    return losses.log_loss(labels, scores)


def shrinkage(settings: Settings, variable: Any, videos: int) -> float:
    """How much of a weight is added to its gradient: the gradient of the penalty, divided by the weight.

    Of linear models the penalty is λ/N times the squared weights, beside the mean loss: equation 3 has λ times, beside
    the sum over the N train videos. It counts the biases, which there are the weights of a coordinate that is always 1.
    Weight decay is of the matrices alone.
    """
    if isinstance(settings, LogisticSettings):
        return 2 * settings.penalty / videos
    if isinstance(settings, DbofSettings) and len(variable.shape) > 1:
        return settings.weight_decay
    return 0.0


def optimizer_of(settings: Settings) -> Any:
    """AdaGrad (§4.1.2, §4.3); for LSTMs, of which the paper does not tell, Adam with clipped gradients."""
    if isinstance(settings, LstmSettings):
        return keras.optimizers.Adam(settings.learning_rate, global_clipnorm=settings.clip_norm)
    initial = cast(AdaGradSettings, settings).initial_accumulator
    return keras.optimizers.Adagrad(settings.learning_rate, initial_accumulator_value=initial)


def _linear(_: Settings, dimensions: int, classes: int) -> Network:
    features = keras.Input((dimensions,), name="features")
    return keras.Model({"features": features}, _scores(features, classes))


def _moe(settings: MoeSettings, dimensions: int, classes: int) -> Network:
    features = keras.Input((dimensions,), name="features")
    return keras.Model({"features": features}, MixtureOfExperts(classes, settings.experts, name=LAST)(features))


def _frame_logistic(_: Settings, dimensions: int, classes: int) -> Network:
    inputs = _frames(dimensions)
    return keras.Model(inputs, _scores(inputs["features"], classes))


def _dbof(settings: DbofSettings, dimensions: int, classes: int) -> Network:
    """Projection, batch normalisation, ReLU, max pooling, hidden layer, classes (paper §4.1.2, Figure 7).

    The paper has ReLU in the projection, and batch normalisation before pooling. Which of them comes first it does not
    say; here it is batch normalisation, as in the starter code, which normalises the hidden layer too: without that,
    the first steps of AdaGrad can silence it for ever. Padding counts for nothing.
    """
    inputs = _frames(dimensions)
    real = RealFrames(name="real_frames")(inputs["features"], inputs["counts"])
    codes = _activated(inputs["features"], settings.projection, "projection", settings.momentum, mask=real)
    pooled = MaxOfFrames(name="pooling")(codes, real)
    return keras.Model(inputs, _scores(_activated(pooled, settings.hidden, "hidden", settings.momentum), classes))


def _activated(inputs: Any, units: int, name: str, momentum: float, mask: Any = None) -> Any:
    """A fully connected layer, batch normalisation and ReLU."""
    products = keras.layers.Dense(units, use_bias=False, name=name)(inputs)
    normalised = keras.layers.BatchNormalization(momentum=momentum, name=f"{name}_normalisation")(products, mask=mask)
    return keras.layers.ReLU(name=f"{name}_relu")(normalised)


def _lstm(settings: LstmSettings, dimensions: int, classes: int) -> Network:
    """Stacked LSTMs, and the scores of each frame from the outputs of the last (paper §4.1.3)."""
    inputs = _frames(dimensions)
    real = RealFrames(name="real_frames")(inputs["features"], inputs["counts"])
    outputs = inputs["features"]
    for layer in range(settings.layers):
        outputs = keras.layers.LSTM(settings.units, return_sequences=True, name=f"lstm_{layer}")(outputs, mask=real)
    return keras.Model(inputs, _scores(outputs, classes))


def _frames(dimensions: int) -> dict[str, Any]:
    features = keras.Input((None, dimensions), name="features")
    return {"features": features, "counts": keras.Input((), dtype="int32", name="counts")}


def _scores(inputs: Any, classes: int) -> Any:
    return keras.layers.Dense(classes, name=LAST)(inputs)


FAMILIES: Mapping[ModelName, Family] = {
    "frame_logistic": Family(_frame_logistic, losses.equal_weights),
    "dbof": Family(_dbof),
    "lstm": Family(_lstm, losses.rising_weights),
    "hinge": Family(_linear),
    "logistic": Family(_linear),
    "moe": Family(_moe),
}
