"""Stage 5: the activation of the last hidden layer of Inception-V3, `pool_3` (paper §3.3), in fixed micro-batches."""

import textwrap
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np

from yt8m_pipeline.config import Inception, Model
from yt8m_pipeline.data_model import Float32Array, UInt8Array
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.extraction.model_files import identity, locate, named
from yt8m_pipeline.extraction.networks import VALUE_RANGES, Network, network_of, tensorflow

UNUSABLE = (KeyError, OSError, TypeError, ValueError, UserWarning, zipfile.BadZipFile)
"""What Keras and TensorFlow raise, beside `tf.errors.OpError`, for models that are damaged or do not fit."""


@dataclass(frozen=True, slots=True)
class FeatureExtractor:
    """A loaded network, ready for frames. `load` makes it.

    Attributes:
        network: uint8 (batch_size, image_size, image_size, 3) → float32 (batch_size, dimensions), compiled once.
        batch_size: Frames per call of the network.
        image_size: Height and width of a frame, pixels.
        dimensions: Features per frame, as the network gives them (2048 for Inception-V3).
    """

    network: Network
    batch_size: int
    image_size: int
    dimensions: int

    def __call__(self, frames: UInt8Array) -> Float32Array:
        """The features of RGB frames, whatever stands beside them in a batch.

        Args:
            frames: uint8, (frames, image_size, image_size, 3); zero frames are fine.

        Returns:
            float32, (frames, dimensions).
        """
        expected = (self.image_size, self.image_size, 3)
        if frames.dtype != np.uint8 or frames.shape[1:] != expected:
            raise ValueError(f"frames are uint8 (frames, {expected}), got {frames.dtype} {frames.shape}")
        features = np.empty((len(frames), self.dimensions), np.float32)
        for start in range(0, len(frames), self.batch_size):
            batch = frames[start : start + self.batch_size]
            features[start : start + len(batch)] = self.network(_padded(batch, self.batch_size))[: len(batch)]
        return features


def describe(inception: Inception) -> dict[str, Any]:
    """Everything about the network that changes the features, for the feature-space fingerprint. No TensorFlow.

    A model is known by its bytes, not by its path. `imagenet` and hub handles are downloaded here when not yet cached.

    Raises:
        UsageError: if a model's file or folder is missing, or cannot be downloaded.
    """
    low, high = VALUE_RANGES[type(inception.model)]
    return {
        "model": identity(inception.model),
        "image_size": inception.image_size,
        "preprocessing": f"RGB in [{low:g}, {high:g}]",
        "dtype": inception.dtype,
    }


def load(inception: Inception) -> FeatureExtractor:
    """Loads the network, compiles it for one batch shape, and runs it once on black frames.

    Raises:
        UsageError: if the model is missing, cannot be downloaded, read or run, or does not give one vector per image.
    """
    where = f"inception.model: {named(inception.model)}"
    path = locate(inception.model)
    images = (inception.batch_size, inception.image_size, inception.image_size, 3)
    tf = tensorflow()
    try:
        network = _compiled(network_of(inception, path), inception.model, images)
        shape = tuple(network(np.zeros(images, np.uint8)).shape)
    except (*UNUSABLE, tf.errors.OpError) as error:
        raise UsageError(
            "The model cannot be loaded and run",
            where,
            textwrap.shorten(f"{type(error).__name__}: {error}", 400),
            f"give a network that takes float32 images {images}",
        ) from error
    if len(shape) != 2 or shape[0] != inception.batch_size:
        raise UsageError(
            "The model does not give one vector per image",
            where,
            f"for {inception.batch_size} images its output has shape {shape}, not ({inception.batch_size}, dimensions)",
            "export it with its pooling layer, without spatial axes",
        )
    return FeatureExtractor(network, inception.batch_size, inception.image_size, shape[1])


def _padded(batch: UInt8Array, batch_size: int) -> UInt8Array:
    missing = batch_size - len(batch)
    return np.pad(batch, ((0, missing), (0, 0), (0, 0), (0, 0))) if missing else batch


def _compiled(network: Network, model: Model, images: tuple[int, ...]) -> Network:
    tf = tensorflow()
    low, high = VALUE_RANGES[type(model)]

    def features(frames: Any) -> Any:
        return tf.cast(network(tf.cast(frames, tf.float32) * ((high - low) / 255) + low), tf.float32)

    compiled: Network = tf.function(features, input_signature=[tf.TensorSpec(images, tf.uint8)])
    return compiled
