"""The networks, from any of four sources, as functions of tensors.

The only module that imports TensorFlow for extraction; it takes seconds, so only `tensorflow` does.
"""

import contextlib
import functools
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from yt8m_pipeline.config import HubModel, Inception, KerasModel, Model, RandomModel, SavedModel
from yt8m_pipeline.errors import UsageError

VALUE_RANGES: Mapping[type[Model], tuple[float, float]] = {
    RandomModel: (-1.0, 1.0),
    KerasModel: (-1.0, 1.0),
    SavedModel: (0.0, 1.0),
    HubModel: (0.0, 1.0),
}
"""What bytes 0 and 255 become, linearly, before a network of each source sees them; colours are always in RGB order.

[-1, 1] is what `tf.keras.applications.inception_v3.preprocess_input` makes, [0, 1] the common image input of TensorFlow
Hub. The frames arrive at `image_size`: resizing belongs to decoding.
"""

Network: TypeAlias = Callable[[Any], Any]
"""A tensor in, a tensor out."""


@functools.cache
def tensorflow() -> Any:
    """TensorFlow, quiet, deterministic, and taking GPU memory as it needs it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _silent_stderr():
        import tensorflow as tf  # noqa: PLC0415

    tf.config.experimental.enable_op_determinism()
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    return tf


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """TensorFlow 2.21 logs on import that there is no GPU, before its own log settings apply."""
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def network_of(inception: Inception, path: str) -> Network:
    match inception.model:
        case RandomModel(random=seed):
            return _random_inception(inception.image_size, seed)
        case KerasModel():
            return _keras_network(inception.image_size, path)
        case SavedModel() | HubModel():
            return _saved_network(path)


def _random_inception(image_size: int, seed: int) -> Network:
    """He et al. 2015: normal kernels, variance 2 / fan-in, keep ReLU activations at one scale through the layers.

    They are drawn by NumPy in the order of the layers; the batch norms stay as they are made, the identity.
    """
    rng = np.random.default_rng(seed)
    network = _keras_inception(image_size)
    for layer in network.layers:
        if isinstance(layer, tensorflow().keras.layers.Conv2D):
            shape = layer.kernel.shape
            deviation = np.sqrt(2 / np.prod(shape[:-1]), dtype=np.float32)
            layer.set_weights([deviation * rng.standard_normal(shape, dtype=np.float32)])
    return functools.partial(network, training=False)


def _keras_network(image_size: int, path: str) -> Network:
    if path.endswith(".keras"):
        network = tensorflow().keras.models.load_model(path, compile=False)
    else:
        network = _keras_inception(image_size)
        with warnings.catch_warnings(action="error", category=UserWarning):  # of layers that the file lacks
            network.load_weights(path)
    return functools.partial(network, training=False)


def _keras_inception(image_size: int) -> Any:
    """The network without its classifier: (batch, image_size, image_size, 3) → (batch, 2048), weights not yet set."""
    shape = (image_size, image_size, 3)
    return tensorflow().keras.applications.InceptionV3(
        include_top=False, weights=None, pooling="avg", input_shape=shape
    )


def _saved_network(folder: str) -> Network:
    """A SavedModel's serving signature (`default` in the first TF-Hub format), else the object itself."""
    tensorflow()
    with warnings.catch_warnings(action="ignore"):  # it imports pkg_resources, which is deprecated
        import tensorflow_hub  # noqa: PLC0415

    loaded = tensorflow_hub.load(folder)
    signatures = getattr(loaded, "signatures", {})
    for name in ("serving_default", "default"):
        if name in signatures:
            return _signature(loaded, name, folder)
    if callable(loaded):
        network: Network = loaded
        return network
    raise UsageError(
        "The SavedModel has nothing to call",
        folder,
        f"it is not callable, and its signatures are {sorted(signatures)}",
        "export it with a signature `serving_default`",
    )


def _signature(loaded: Any, name: str, folder: str) -> Network:
    """A signature as a function, which holds on to the variables of its model: the signature alone does not."""
    signature = loaded.signatures[name]
    inputs, outputs = sorted(signature.structured_input_signature[1]), sorted(signature.structured_outputs)
    if len(inputs) != 1 or len(outputs) != 1:
        raise UsageError(
            "The SavedModel's signature is not one batch of images → one batch of vectors",
            folder,
            f"{name} takes {inputs} and returns {outputs}",
            "export it with one input and one output",
        )
    return lambda images: loaded.signatures[name](**{inputs[0]: images})[outputs[0]]
