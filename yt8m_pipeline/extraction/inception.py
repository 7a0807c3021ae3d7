"""Stage 5: the features of frames, which are the activations of the last hidden layer of Inception-V3 (paper §3.3).

That layer is called `pool_3` in the graph of 2015: 2,048 ReLU activations, averaged over the picture. `networks` and
`inception_2015` choose it. Frames go through the network in micro-batches of a fixed size.
"""

import logging
import sys
import textwrap
import zipfile
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from yt8m_pipeline.config import Inception
from yt8m_pipeline.data_model import Float32Array, UInt8Array
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.extraction.execution import compiled, use_device
from yt8m_pipeline.extraction.model_files import identity, locate, named
from yt8m_pipeline.extraction.network_input import preprocessing_of
from yt8m_pipeline.extraction.networks import Network, tensorflow

LOGGER = logging.getLogger(__name__)

UNUSABLE = (AttributeError, KeyError, OSError, TypeError, ValueError, UserWarning, zipfile.BadZipFile)
"""The exceptions that Keras and TensorFlow raise for a model that is damaged or has the wrong shape.

`tf.errors.OpError` is one more, which is known only once TensorFlow is imported.
"""


@dataclass(slots=True, weakref_slot=True)
class FeatureExtractor:
    """A loaded network that turns frames into features. `load` makes it, and threads may share it.

    Attributes:
        network: The compiled network: uint8 (batch, height, width, 3) → float32 (batch, dimensions), for any batch.
        batch_size: The largest number of frames in one call of the network. It is halved when so many frames do not
            fit into the memory.
        image_size: The height and width of a frame in pixels; None where the network resizes frames of any size.
        dimensions: The number of features per frame that the network gives (2048 for Inception-V3).
    """

    network: Network
    batch_size: int
    image_size: int | None
    dimensions: int

    def __call__(self, frames: UInt8Array) -> Float32Array:
        """Computes the features of RGB frames. They do not depend on which frames share a batch.

        Args:
            frames: uint8, (frames, image_size, image_size, 3), or (frames, height, width, 3) where `image_size` is
                None; zero frames are allowed. Where `image_size` is given, the last batch is padded with black frames
                to a power of two or to `batch_size`.

        Returns:
            float32, (frames, dimensions).

        Raises:
            DataError: if not even a single frame fits into the memory.
            ValueError: if the frames have another shape or type.
        """
        expected = (self.image_size, self.image_size, 3) if self.image_size else (*frames.shape[1:3], 3)
        if frames.dtype != np.uint8 or frames.shape[1:] != expected:
            raise ValueError(f"frames are uint8 (frames, {expected}), got {frames.dtype} {frames.shape}")
        features = np.empty((len(frames), self.dimensions), np.float32)
        done = 0
        while done < len(frames):
            found = self.run_batch(frames[done:])[: len(frames) - done]
            features[done : done + len(found)] = found
            done += len(found)
        return features

    def run_batch(self, frames: UInt8Array) -> Float32Array:
        """Calls the network once, with as many of the first frames as it takes, and returns padding's features too."""
        while True:
            size = self.batch_size
            batch = _padded(frames[:size], size) if self.image_size else frames[:size]
            try:
                return np.asarray(self.network(batch))
            except tensorflow().errors.ResourceExhaustedError as error:
                self.batch_size = min(self.batch_size, _halved(len(batch), error))


def _halved(batch_size: int, error: Exception) -> int:
    if batch_size == 1:
        raise DataError(
            what="The network does not fit into the memory",
            where="inception.batch_size: 1 at last",
            why=textwrap.shorten(str(error), 400),
            fix="end other programs on this machine or GPU, set inception.resize to decoder, "
            "or take one with more memory",
        ) from error
    LOGGER.warning("batches of %d frames are too large for the memory; they become %d", batch_size, batch_size // 2)
    return batch_size // 2


def describe(inception: Inception) -> dict[str, Any]:
    """Describes everything about the network that changes the features, for the fingerprint of the feature space.

    A model is described by its bytes and not by its path. The weights `imagenet` and hub handles are downloaded here
    where they are not cached yet. TensorFlow is not imported.

    Raises:
        UsageError: if a model's file or folder is missing, or cannot be downloaded.
    """
    return {
        "model": identity(inception.model),
        "image_size": inception.image_size,
        "preprocessing": str(preprocessing_of(inception.model)),
        "precision": inception.precision,
        "dtype": inception.dtype,
    }


ANY_DIMENSIONS = range(1, sys.maxsize)
"""The numbers of features per frame that are accepted where no PCA limits them: all."""


def load(inception: Inception, dimensions: range = ANY_DIMENSIONS) -> FeatureExtractor:
    """Loads the network, compiles it, and runs it once on a batch of black frames and once on a single one.

    The two runs show before any video is decoded that the memory suffices and that the output has the right shape.

    Args:
        inception: The config.
        dimensions: The numbers of features per frame that the PCA after it accepts.

    Raises:
        UsageError: if the model is missing, cannot be downloaded, read or run, does not give one vector per image, or
            gives another number of features.
    """
    where = f"inception.model: {named(inception.model)}"
    path = locate(inception.model)
    image = (inception.image_size, inception.image_size, 3)
    tf = tensorflow()
    use_device(inception)
    try:
        extractor = FeatureExtractor(compiled(inception, path), inception.batch_size, inception.decoded_size, 0)
        shape = extractor.run_batch(np.zeros((inception.batch_size, *image), np.uint8)).shape
        shape_of_one = extractor.run_batch(np.zeros((1, *image), np.uint8)).shape
    except (*UNUSABLE, tf.errors.OpError) as error:
        raise UsageError(
            what="The model cannot be loaded and run",
            where=where,
            why=textwrap.shorten(f"{type(error).__name__}: {_said(error)}", 400),
            fix=f"give a network that takes float32 images {(inception.batch_size, *image)}",
        ) from error
    for images, found in ((extractor.batch_size, shape), (1, shape_of_one)):
        if len(found) != 2 or found[0] != images:
            raise UsageError(
                what="The model does not give one vector per image",
                where=where,
                why=f"for a batch of {images} its output has shape {found}, not ({images}, dimensions)",
                fix="export it with its pooling layer, without spatial axes, for batches of any length",
            )
    if shape[1] not in dimensions:
        wanted = f"{dimensions[0]}" if len(dimensions) == 1 else f"{dimensions[0]} or more"
        raise UsageError(
            what="The model's features are not what the PCA takes",
            where=where,
            why=f"it gives {shape[1]} per frame; the PCA takes {wanted}",
            fix="lower pca.components, import another PCA, or take another model",
        )
    return replace(extractor, dimensions=shape[1])


NOISE = ("Graph execution error", "Detected at node", 'File "', "[[")
"""The beginnings of those lines of TensorFlow's messages that tell a place in its code, and not what is wrong."""


def _said(error: Exception) -> str:
    """What TensorFlow says is wrong, in one line."""
    lines = (line.strip() for line in str(error).splitlines())
    return " ".join(line for line in lines if not line.startswith(NOISE))


def _padded(batch: UInt8Array, batch_size: int) -> UInt8Array:
    """Pads a batch with black frames to a power of two, or to the whole batch size.

    TensorFlow chooses and lays out kernels anew for each length that it meets, so few lengths are best; padding costs
    as much as frames do, so always padding to the whole batch size is not.
    """
    missing = min(batch_size, 1 << (len(batch) - 1).bit_length()) - len(batch)
    return np.pad(batch, ((0, missing), (0, 0), (0, 0), (0, 0))) if missing else batch
