"""Stage 5: the activation of the last hidden layer of Inception-V3, `pool_3` (paper §3.3), from any of four sources.

The only module that loads networks. TensorFlow takes seconds to import, so only `load` imports it.
"""

import contextlib
import functools
import hashlib
import http.client
import os
import tarfile
import tempfile
import textwrap
import urllib.request
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np

from yt8m_pipeline import files
from yt8m_pipeline.config import HubModel, Inception, KerasModel, Model, RandomModel, SavedModel
from yt8m_pipeline.data_model import Float32Array, UInt8Array
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

IMAGENET_FILE = "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"
IMAGENET_URL = f"https://storage.googleapis.com/tensorflow/keras-applications/inception_v3/{IMAGENET_FILE}"
IMAGENET_MD5 = "bcbd6486424b2319ff4ef7d526e38f63"
"""The weights behind `keras: imagenet`, as tf.keras.applications.InceptionV3 (include_top=False) names and checks
them."""

DOWNLOAD_TIMEOUT_SECONDS = 30.0

UNUSABLE = (KeyError, OSError, TypeError, ValueError, UserWarning, zipfile.BadZipFile)
"""What Keras and TensorFlow raise, beside `tf.errors.OpError`, for models that are damaged or do not fit."""

Network: TypeAlias = Callable[[Any], Any]
"""A tensor in, a tensor out."""


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
        "model": _identity(inception.model),
        "image_size": inception.image_size,
        "preprocessing": f"RGB in [{low:g}, {high:g}]",
        "dtype": inception.dtype,
    }


def load(inception: Inception) -> FeatureExtractor:
    """Loads the network, compiles it for one batch shape, and runs it once on black frames.

    Raises:
        UsageError: if the model is missing, cannot be downloaded, read or run, or does not give one vector per image.
    """
    where = f"inception.model: {_named(inception.model)}"
    path = _locate(inception.model)
    images = (inception.batch_size, inception.image_size, inception.image_size, 3)
    tf = _tensorflow()
    try:
        network = _compiled(_network(inception, path), inception.model, images)
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


@functools.cache
def _tensorflow() -> Any:
    """TensorFlow, quiet, deterministic, and taking GPU memory as it needs it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _silent_stderr():
        import tensorflow as tf  # noqa: PLC0415

    tf.config.experimental.enable_op_determinism()
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    return tf


def _compiled(network: Network, model: Model, images: tuple[int, ...]) -> Network:
    tf = _tensorflow()
    low, high = VALUE_RANGES[type(model)]

    def features(frames: Any) -> Any:
        return tf.cast(network(tf.cast(frames, tf.float32) * ((high - low) / 255) + low), tf.float32)

    compiled: Network = tf.function(features, input_signature=[tf.TensorSpec(images, tf.uint8)])
    return compiled


def _network(inception: Inception, path: str) -> Network:
    match inception.model:
        case RandomModel(random=seed):
            return _random_inception(inception.image_size, seed)
        case KerasModel():
            return _keras_network(inception.image_size, path)
        case SavedModel() | HubModel():
            return _saved_network(path)


def _keras_inception(image_size: int) -> Any:
    """The network without its classifier: (batch, image_size, image_size, 3) → (batch, 2048), weights not yet set."""
    shape = (image_size, image_size, 3)
    return _tensorflow().keras.applications.InceptionV3(
        include_top=False, weights=None, pooling="avg", input_shape=shape
    )


def _random_inception(image_size: int, seed: int) -> Network:
    """He et al. 2015: normal kernels, variance 2 / fan-in, keep ReLU activations at one scale through the layers.

    They are drawn by NumPy in the order of the layers; the batch norms stay as they are made, the identity.
    """
    rng = np.random.default_rng(seed)
    network = _keras_inception(image_size)
    for layer in network.layers:
        if isinstance(layer, _tensorflow().keras.layers.Conv2D):
            shape = layer.kernel.shape
            deviation = np.sqrt(2 / np.prod(shape[:-1]), dtype=np.float32)
            layer.set_weights([deviation * rng.standard_normal(shape, dtype=np.float32)])
    return functools.partial(network, training=False)


def _keras_network(image_size: int, path: str) -> Network:
    if path.endswith(".keras"):
        network = _tensorflow().keras.models.load_model(path, compile=False)
    else:
        network = _keras_inception(image_size)
        with warnings.catch_warnings(action="error", category=UserWarning):  # of layers that the file lacks
            network.load_weights(path)
    return functools.partial(network, training=False)


def _saved_network(folder: str) -> Network:
    """A SavedModel's serving signature (`default` in the first TF-Hub format), else the object itself."""
    _tensorflow()
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


def _named(model: Model) -> str:
    ((source, value),) = model
    return f"{source}: {value}"


def _identity(model: Model) -> dict[str, Any]:
    if isinstance(model, RandomModel):
        return {"source": "random", "network": "InceptionV3", "weights": "he_normal", "seed": model.random}
    ((source, _),) = model
    return {"source": source, "sha256": _sha256(_locate(model))}


def _sha256(path: str) -> str:
    """Of a file; of a folder, that of the list which `sha256sum` prints for its files, sorted by name."""
    if files.exists(path):
        return files.sha256(path)
    listing = "".join(f"{files.sha256(files.join(path, name))}  {name}\n" for name in files.list_files(path))
    return hashlib.sha256(listing.encode()).hexdigest()


def _locate(model: Model) -> str:
    """The file or folder of a model, downloaded if need be; empty for a model that has none."""
    match model:
        case RandomModel():
            return ""
        case KerasModel(keras="imagenet"):
            return _imagenet_weights()
        case KerasModel(keras=path):
            return _present(path, path, "give an .h5 file of InceptionV3 weights, a .keras file, or `imagenet`")
        case SavedModel(saved_model=folder):
            return _present_folder(folder)
        case HubModel(tfhub=handle):
            return _hub_folder(handle) if handle.startswith(("http://", "https://")) else _present_folder(handle)


def _present_folder(folder: str) -> str:
    return _present(folder, files.join(folder, "saved_model.pb"), "give the folder that holds saved_model.pb")


def _present(path: str, needed: str, fix: str) -> str:
    if not files.exists(needed):
        raise UsageError("The model does not exist", path, f"there is no file {needed}", fix)
    return path


def _imagenet_weights() -> str:
    """Keras' own cached file, where Keras keeps it."""
    home = os.environ.get("KERAS_HOME") or str(Path("~/.keras").expanduser())
    path = files.join(home, "models", IMAGENET_FILE)
    if not files.exists(path):
        with _download(IMAGENET_URL, f"fetch it elsewhere and put it at {path}, or set KERAS_HOME") as response:
            files.write_bytes(path, response.read())
    md5 = hashlib.md5(files.read_bytes(path), usedforsecurity=False).hexdigest()
    if md5 != IMAGENET_MD5:
        raise UsageError(
            "The ImageNet weights are not the published ones", path, f"MD5 {md5}, not {IMAGENET_MD5}", "delete the file"
        )
    return path


def _hub_folder(handle: str) -> str:
    """The folder where tensorflow_hub keeps a handle, filled from its published .tar.gz as tensorflow_hub does."""
    cache = os.environ.get("TFHUB_CACHE_DIR") or files.join(tempfile.gettempdir(), "tfhub_modules")
    folder = files.join(cache, hashlib.sha1(handle.encode(), usedforsecurity=False).hexdigest())
    fix = f"unpack the model into {folder} (TFHUB_CACHE_DIR and the handle's SHA-1), or write `tfhub: FOLDER`"
    if not files.exists(files.join(folder, "saved_model.pb")):
        with _download(f"{handle}?tf-hub-format=compressed", fix) as response:
            _unpack(response, folder)
    return _present(folder, files.join(folder, "saved_model.pb"), fix)


def _unpack(stream: IO[bytes], folder: str) -> None:
    """Fills a folder, all or nothing."""
    parent = Path(folder).parent
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent) as temporary:
        unpacked = Path(temporary, "model")
        with tarfile.open(fileobj=stream, mode="r|*") as archive:
            archive.extractall(unpacked, filter="data")
        with contextlib.suppress(OSError):  # another process was first
            unpacked.rename(folder)


@contextlib.contextmanager
def _download(url: str, fix: str) -> Iterator[IO[bytes]]:
    try:
        with urllib.request.urlopen(url, timeout=DOWNLOAD_TIMEOUT_SECONDS) as response:  # noqa: S310
            yield response
    except (OSError, EOFError, http.client.HTTPException, tarfile.TarError, zlib.error) as error:
        raise UsageError("The model cannot be downloaded", url, f"{type(error).__name__}: {error}", fix) from error
