"""How a network is run: on which processor, at what precision, compiled once for batches of any length."""

import logging
import shutil
from typing import Any

import numpy as np

from yt8m_pipeline.config import Inception
from yt8m_pipeline.data_model import Float32Array, UInt8Array
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.extraction.networks import Network, network_of, prepared, tensorflow

LOGGER = logging.getLogger(__name__)


def use_device(inception: Inception) -> None:
    """Makes TensorFlow run the config's network where and as precisely as the config says, in all of this process.

    `float32` means it: TensorFlow's default on a GPU is TensorFloat-32, of 10 bits. `mixed` lets it compute in float16
    what that is safe for (convolutions, not the sums over a picture), in networks of every source alike.

    Raises:
        UsageError: if the config asks for a GPU and TensorFlow sees none.
    """
    tf = tensorflow()
    if inception.device == "gpu":
        _require_gpu("device: gpu")
    if inception.device == "cpu":
        tf.config.set_visible_devices([], "GPU")
    is_mixed = inception.precision == "mixed"
    if is_mixed:
        _require_gpu("precision: mixed")
    tf.config.experimental.enable_tensor_float_32_execution(is_mixed)
    tf.config.optimizer.set_experimental_options({"auto_mixed_precision": is_mixed})
    if inception.device == "auto" and not tf.config.get_visible_devices("GPU") and shutil.which("nvidia-smi"):
        LOGGER.warning("there is an NVIDIA driver, but TensorFlow sees no GPU; install tensorflow[and-cuda] to use it")


def _require_gpu(field: str) -> None:
    tf = tensorflow()
    if not tf.config.get_visible_devices("GPU"):
        seen = ", ".join(found.name for found in tf.config.list_physical_devices())
        built = "with" if tf.test.is_built_with_cuda() else "without"
        raise UsageError(
            what="The config asks for a GPU, and TensorFlow sees none",
            where=f"inception.{field}",
            why=f"TensorFlow {tf.__version__}, built {built} CUDA, sees {seen}",
            fix="install tensorflow[and-cuda] and NVIDIA's driver until `nvidia-smi` and TensorFlow list the GPU, or "
            "set inception.device to auto and inception.precision to float32",
        )


def compiled(inception: Inception, path: str) -> Network:
    """The config's network with its weights as constants, so that TensorFlow folds and lays them out once.

    Args:
        inception: The config.
        path: The model's local file or folder.

    Returns:
        uint8 RGB frames (batch, height, width, 3) → float32 (batch, dimensions). It never traces again.

    Raises:
        UsageError: if the model has not what it must have, or its weights are not all finite: fast kernels of ReLU make
            0 of NaN, so that its features would look sound.
    """
    tf, network, size = tensorflow(), network_of(inception, path), inception.decoded_size

    def features(frames: Any) -> Any:
        return tf.cast(network(prepared(inception, frames)), tf.float32)

    signature = [tf.TensorSpec((None, size, size, 3), tf.uint8)]
    frozen = freeze(tf.function(features, input_signature=signature))
    _require_finite_weights(frozen.graph.as_graph_def())

    def run(frames: UInt8Array) -> Float32Array:
        vectors: Float32Array = frozen(tf.constant(frames))[0].numpy()
        return vectors

    return run


def _require_finite_weights(graph: Any) -> None:
    tf = tensorflow()
    inner = (node for function in graph.library.function for node in function.node_def)
    for node in (*graph.node, *inner):
        if node.op == "Const" and tf.as_dtype(node.attr["dtype"].type).is_floating:
            weights = tf.make_ndarray(node.attr["value"].tensor).astype(np.float32)
            begins_a_maximum = weights.size == 1 and np.isneginf(weights).all()
            if not np.isfinite(weights).all() and not begins_a_maximum:
                bad = int((~np.isfinite(weights)).sum())
                raise UsageError(
                    what="The model's weights are not finite",
                    where=f"its node {node.name}",
                    why=f"{bad} of {weights.size} numbers are NaN or Inf",
                    fix="train or export it anew",
                )


def freeze(function: Any) -> Any:
    """The concrete function of a tf.function with one signature, its variables turned into constants."""
    from tensorflow.python.framework import convert_to_constants  # noqa: PLC0415

    return convert_to_constants.convert_variables_to_constants_v2(function.get_concrete_function())
