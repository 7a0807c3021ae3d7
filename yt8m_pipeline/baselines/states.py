"""What a trained LSTM remembers of a video at its end, as a fixed vector for other classifiers (paper §4.1.3, §5.4)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from yt8m_pipeline.baselines.saved import ModelCard
from yt8m_pipeline.baselines.settings import LstmSettings
from yt8m_pipeline.baselines.sources import Identity
from yt8m_pipeline.data_model import Float32Array
from yt8m_pipeline.errors import UsageError

if TYPE_CHECKING:
    from yt8m_pipeline.baselines.models import Network


@dataclass(frozen=True, eq=False)
class States:
    """The outputs of all layers of an LSTM at the last frame, one after another.

    Attributes:
        dimensions: How many they are: layers times units.
        frame_dimensions: The number of values of a frame.
        identity: What the numbers of a frame mean; `sources.require_same` compares it.
    """

    dimensions: int
    frame_dimensions: int
    identity: Identity
    _run: Callable[[Any], Any]

    def __call__(self, frames: Float32Array) -> Float32Array:
        """The vector of one video: float32, (dimensions,), from its de-quantized frames (frames, frame_dimensions).

        Raises:
            ValueError: if the frames have another shape, or there are none.
        """
        if frames.ndim != 2 or frames.shape[1] != self.frame_dimensions or not len(frames):
            raise ValueError(f"frames are (frames, {self.frame_dimensions}), at least one, got {frames.shape}")
        states: Float32Array = self._run(frames[np.newaxis]).numpy()[0]
        return states


def open_states(model_dir: str) -> States:
    """Loads the best weights of an LSTM as a function from frames to its state at the last of them.

    Raises:
        UsageError: there is no model, or it is no LSTM.
        DataError: its training has not ended, or a file is damaged.
    """
    card = ModelCard.of(model_dir)
    settings = card.parsed_settings
    if not isinstance(settings, LstmSettings):
        raise UsageError(
            what="The model has no states",
            where=model_dir,
            why=f"it is {card.model}, which remembers nothing from frame to frame",
            fix="give the folder of an lstm",
        )
    from yt8m_pipeline.baselines.networks import load_network  # TensorFlow takes seconds to import

    run = _last_outputs(load_network(model_dir), settings.layers, card.dimensions)
    return States(settings.layers * settings.units, card.dimensions, card.identity, run)


def _last_outputs(network: "Network", layers: int, dimensions: int) -> Callable[[Any], Any]:
    from yt8m_pipeline.baselines.layers import keras, tf

    outputs = [network.get_layer(f"lstm_{layer}").output for layer in range(layers)]
    every = keras.Model(network.inputs, outputs)

    @tf.function(input_signature=[tf.TensorSpec((1, None, dimensions), tf.float32)])  # type: ignore[untyped-decorator]
    def run(frames: Any) -> Any:
        counts = tf.shape(frames)[1:2]
        found = every({"features": frames, "counts": counts})
        return tf.concat([output[:, -1] for output in (found if layers > 1 else [found])], axis=1)

    states: Callable[[Any], Any] = run
    return states
