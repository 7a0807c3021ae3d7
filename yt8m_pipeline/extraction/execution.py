"""Running a network: the processor, the precision, and one compilation that serves batches of any length."""

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
    """Sets TensorFlow's device and precision for this whole process, as the config asks.

    `precision: float32` switches TensorFloat-32 off. That format, TensorFlow's default on a GPU, keeps 10 bits of the
    mantissa of float32's 23. `precision: mixed` lets TensorFlow's graph optimiser compute in float16 where its list
    of operations calls that safe: convolutions, but not the mean over the picture. Both work on networks of every
    source.

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
    """Compiles the config's network with its weights as constants, so that TensorFlow folds and lays them out once.

    Args:
        inception: The config.
        path: The model's local file or folder.

    Returns:
        A function of uint8 RGB frames (batch, height, width, 3) that gives float32 features (batch, dimensions). It
        has one trace, which serves every length of a batch.

    Raises:
        UsageError: if the model lacks a node, a signature or an input that it must have, or if a weight is NaN or
            infinite. Such weights are refused here because fast kernels of ReLU turn NaN into 0, so that the features
            would look sound.
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
    """Refuses constants that are NaN or infinite, except a single -inf, with which a maximum may begin."""
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
    """Turns the variables of a tf.function with one signature into constants; returns its concrete function."""
    from tensorflow.python.framework import convert_to_constants  # noqa: PLC0415

    return convert_to_constants.convert_variables_to_constants_v2(function.get_concrete_function())
