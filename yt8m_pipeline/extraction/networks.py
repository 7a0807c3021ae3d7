"""The networks of the five sources, as functions of tensors.

TensorFlow is imported by the function `tensorflow` alone, when it is first called, because that takes seconds.
"""

import contextlib
import functools
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from yt8m_pipeline.config import Architecture, GraphModel, HubModel, Inception, KerasModel, RandomModel, SavedModel
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.extraction.inception_2015 import lifted
from yt8m_pipeline.extraction.network_input import preprocessing_of

Network: TypeAlias = Callable[[Any], Any]
"""A function of one tensor that returns one tensor."""


@functools.cache
def tensorflow() -> Any:
    """Imports TensorFlow, silences its log, makes it deterministic, and lets it take GPU memory as it needs it.

    On the CPU it uses oneDNN's convolutions on every processor, where its default is to use them on some, and runs one
    operation at a time on all cores, so that there are no more threads than cores.
    """
    for name, value in {"CPP_MIN_LOG_LEVEL": "3", "ENABLE_ONEDNN_OPTS": "1", "NUM_INTEROP_THREADS": "1"}.items():
        os.environ.setdefault(f"TF_{name}", value)
    os.environ["KERAS_BACKEND"] = "tensorflow"
    with _silent_stderr():
        import tensorflow as tf  # noqa: PLC0415

    tf.get_logger().setLevel(logging.ERROR)
    tf.config.experimental.enable_op_determinism()
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    return tf


def _keras() -> Any:
    """Keras, with float32 and channels last, which all networks here assume, whatever the user's keras.json says."""
    keras = tensorflow().keras
    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")
    return keras


def device() -> str:
    """The name of the processor that networks run on: the first GPU, else the CPU."""
    tf = tensorflow()
    gpus = tf.config.get_visible_devices("GPU")
    return str(tf.config.experimental.get_device_details(gpus[0])["device_name"]) if gpus else "the CPU"


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Discards what is written to stderr: TensorFlow 2.21 says there that it found no GPU, whatever its log level."""
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def network_of(inception: Inception, path: str) -> Network:
    """Loads the network of a config. It takes what `prepared` makes of frames and gives a float32 vector for each.

    Args:
        inception: The config.
        path: The model's local file or folder, as `locate` returns it.

    Raises:
        UsageError: if the model lacks a node or a signature, or does not take images of `image_size`.
    """
    size = inception.image_size
    match inception.model:
        case RandomModel(random=seed):
            return random_inception(size, seed)
        case KerasModel(architecture=architecture):
            return _keras_network(architecture, size, path)
        case SavedModel() | HubModel():
            return _saved_network(size, path)
        case GraphModel():
            return lifted(tensorflow(), path, Path(path).read_bytes())


def prepared(inception: Inception, frames: Any) -> Any:
    """Makes the network's input from uint8 RGB frames (batch, height, width, 3) of any size."""
    tf = tensorflow()
    preprocessing = preprocessing_of(inception.model)
    if not preprocessing.resizes_itself:
        frames = tf.image.resize(frames, (inception.image_size, inception.image_size))
    return preprocessing(tf.cast(frames, tf.float32))


def random_inception(image_size: int, seed: int) -> Network:
    """Builds an Inception-V3 of random kernels: normal, with variance 2 / fan-in.

    That variance keeps the activations of ReLU at one scale from layer to layer (He et al. 2015, Delving Deep into
    Rectifiers, §2.2). NumPy draws the kernels in the order of the layers, so that a seed means the same network on
    every machine. The batch norms keep the weights with which they are made, which compute the identity.
    """
    rng = np.random.default_rng(seed)
    network = keras_application("InceptionV3", image_size)
    for layer in network.layers:
        if isinstance(layer, _keras().layers.Conv2D):
            shape = layer.kernel.shape
            deviation = np.sqrt(2 / np.prod(shape[:-1]), dtype=np.float32)
            layer.set_weights([deviation * rng.standard_normal(shape, dtype=np.float32)])
    return functools.partial(network, training=False)


def _keras_network(architecture: Architecture, image_size: int, path: str) -> Network:
    if path.endswith(".keras"):
        network = _keras().models.load_model(path, compile=False, safe_mode=True)
        _require_input(network.inputs[0].shape, image_size, path)
        _require_floats(network.inputs[0].dtype, path)
    else:
        network = keras_application(architecture, image_size)
        with warnings.catch_warnings(action="error", category=UserWarning):  # Keras warns of layers that have none
            network.load_weights(path)
    return functools.partial(network, training=False)


def keras_application(architecture: Architecture, image_size: int) -> Any:
    """Builds a network without its classifier and without weights: (batch, image_size, image_size, 3) → vectors."""
    build = getattr(_keras().applications, architecture)
    return build(include_top=False, weights=None, pooling="avg", input_shape=(image_size, image_size, 3))


def _require_input(shape: Sequence[int | None], image_size: int, path: str) -> None:
    """Refuses an input shape (batch, height, width, channels), None for any, that does not take the config's images."""
    images = (None, image_size, image_size, 3)
    if len(shape) != 4 or any(length not in (None, given) for length, given in zip(shape, images, strict=True)):
        raise UsageError(
            what="The model does not take batches of such images",
            where=path,
            why=f"its input is {tuple(shape)}, not {images}",
            fix="set inception.image_size to the height and width that it takes, "
            "or export it for any batch of RGB images",
        )


def _require_floats(dtype: str, path: str) -> None:
    """Refuses an integer input, to which Keras would round the preprocessed values without a word."""
    if not tensorflow().as_dtype(dtype).is_floating:
        raise UsageError(
            what="The model does not take floating-point images",
            where=path,
            why=f"its input is {dtype}, and what it is given is what its architecture's preprocessing makes of bytes",
            fix="export it with a float32 input, without a preprocessing of its own",
        )


def _saved_network(image_size: int, folder: str) -> Network:
    """Loads a SavedModel: its serving signature (`default` in the first TF-Hub format), or else the object itself."""
    tensorflow()
    with warnings.catch_warnings(action="ignore"):  # tensorflow_hub imports pkg_resources, which is deprecated
        import tensorflow_hub  # noqa: PLC0415

    loaded = tensorflow_hub.load(folder)
    signatures = getattr(loaded, "signatures", {})
    for name in ("serving_default", "default"):
        if name in signatures:
            return _signature(loaded, name, image_size, folder)
    if callable(loaded):
        network: Network = loaded
        return network
    raise UsageError(
        what="The SavedModel has nothing to call",
        where=folder,
        why=f"it is not callable, and its signatures are {sorted(signatures)}",
        fix="export it with a signature `serving_default`",
    )


def _signature(loaded: Any, name: str, image_size: int, folder: str) -> Network:
    """Makes a function of a signature. It keeps the model alive, because a signature alone does not keep its variables.

    Where there are several outputs, the one named `default` is the vector, as the first TF-Hub format has it.
    """
    signature = loaded.signatures[name]
    inputs, outputs = signature.structured_input_signature[1], sorted(signature.structured_outputs)
    output = "default" if "default" in outputs else outputs[0]
    if len(inputs) != 1 or (len(outputs) != 1 and output != "default"):
        raise UsageError(
            what="The SavedModel's signature is not one batch of images → one batch of vectors",
            where=folder,
            why=f"{name} takes {sorted(inputs)} and returns {outputs}",
            fix="export it with one input and one output",
        )
    ((argument, spec),) = inputs.items()
    if spec.shape.rank is not None:
        _require_input(spec.shape, image_size, folder)
    return lambda images: loaded.signatures[name](**{argument: images})[output]
