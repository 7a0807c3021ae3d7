"""An Inception-V3 of random kernels whose features vary as a trained one's do, without labels or downloads.

Random weights alone make features of nearly rank 1: the deeper, the more every picture looks like the mean picture.
Batch norms that are fitted to real frames undo that, layer by layer (data-dependent initialisation: Mishkin and Matas
2016, All you need is a good init). The features mean nothing, but feel every texture that 94 convolutions feel.
"""

from typing import Any

import numpy as np

from yt8m_pipeline.data_model import UInt8Array
from yt8m_pipeline.extraction.networks import random_inception, tensorflow


def calibrated_inception(frames: UInt8Array, seed: int = 0) -> Any:
    """A Keras network: float32 (batch, height, width, 3) in [−1, 1] → (batch, 2048).

    Args:
        frames: uint8, (frames, height, width, 3). Each batch norm takes the mean and variance of its input on them.
        seed: The seed of the kernels.
    """
    network = random_inception(frames.shape[1], seed).func  # type: ignore[attr-defined]
    norms = [layer for layer in network.layers if isinstance(layer, tensorflow().keras.layers.BatchNormalization)]
    for norm in norms:
        norm.momentum = 0.0
    network(frames / np.float32(127.5) - 1, training=True)
    return network


def in_half_precision(network: Any) -> Any:
    """The same network computing as `precision: mixed` does on a GPU: all but the last mean in float16."""
    pooling = tensorflow().keras.layers.GlobalAveragePooling2D

    def halved(layer: Any) -> Any:
        dtype = "float32" if isinstance(layer, pooling) else "mixed_float16"
        return type(layer).from_config(layer.get_config() | {"dtype": dtype})

    clone = tensorflow().keras.models.clone_model(network, clone_function=halved)
    clone.set_weights(network.get_weights())
    return clone
