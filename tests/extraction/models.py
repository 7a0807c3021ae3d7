"""Configs of networks, images for them, and a graph like the one of 2015."""

from typing import Any

import numpy as np

from yt8m_pipeline.config import Inception, Model
from yt8m_pipeline.data_model import UInt8Array

SEED, SIZE, BATCH = 7, 75, 4
ORANGE = np.array([255, 102, 0], np.uint8)


def config(model: Model, size: int = 16, batch: int = BATCH) -> Inception:
    return Inception(model=model, image_size=size, batch_size=batch)


def images(count: int, size: int = SIZE) -> UInt8Array:
    """Coarse coloured patterns, each unlike the others."""
    coarse = np.random.default_rng(count).integers(0, 256, (count, 5, 5, 3), np.uint8)
    return coarse.repeat(size // 5, axis=1).repeat(size // 5, axis=2)


class Graph2015:
    """A GraphDef with the names, operations, version and shapes of the 2015 graph, and two small layers of its kind.

    Its version is of before September 2015, when batch normalization was an operation that is gone today.
    """

    CHANNELS = 12

    def __init__(self, tf: Any, *, scaled: bool = False) -> None:
        self.tf, self.graph = tf, tf.compat.v1.GraphDef()
        self.graph.versions.producer = 8
        self._random = np.random.default_rng(2015)
        self._add_ends()
        self._add_layer("conv", "Mul", (3, 5), stride=13, scaled=scaled)
        self._add_layer("conv_1", "conv", (5, self.CHANNELS), stride=3, scaled=scaled)
        pooled = {"ksize": [1, 8, 8, 1], "strides": [1, 1, 1, 1], "padding": b"VALID", "T": tf.float32}
        self.add("pool_3", "AvgPool", "conv_1", **pooled)
        self._one_image("pool_3", (1, 1, 1, self.CHANNELS))
        self.constant("pool_3/_reshape/shape", [1, self.CHANNELS], tf.int32)
        self.add("pool_3/_reshape", "Reshape", "pool_3", "pool_3/_reshape/shape", T=tf.float32)
        self.add("softmax", "Softmax", "pool_3/_reshape", T=tf.float32)

    def _add_ends(self) -> None:
        tf = self.tf
        self.constant("DecodeJpeg/contents", b"", tf.string)
        self.add("DecodeJpeg", "DecodeJpeg", "DecodeJpeg/contents", channels=3)
        self.add("Cast", "Cast", "DecodeJpeg", SrcT=tf.uint8, DstT=tf.float32)
        self.constant("ExpandDims/dim", 0, tf.int32)
        self.add("ExpandDims", "ExpandDims", "Cast", "ExpandDims/dim", T=tf.float32)
        self._one_image("ExpandDims", (1, -1, -1, 3))
        self.constant("ResizeBilinear/size", [299, 299], tf.int32)
        self.add("ResizeBilinear", "ResizeBilinear", "ExpandDims", "ResizeBilinear/size", T=tf.float32)
        self._one_image("ResizeBilinear", (1, 299, 299, 3))
        self.constant("Sub/y", 128.0, tf.float32)
        self.add("Sub", "Sub", "ResizeBilinear", "Sub/y", T=tf.float32)
        self.constant("Mul/y", 1 / 128, tf.float32)
        self.add("Mul", "Mul", "Sub", "Mul/y", T=tf.float32)

    def _add_layer(self, name: str, previous: str, channels: tuple[int, int], *, stride: int, scaled: bool) -> None:
        number = self.tf.float32
        self.constant(f"{name}/conv2d_params", self._random.standard_normal((3, 3, *channels)), number)
        convolved = {"strides": [1, stride, stride, 1], "padding": b"SAME", "T": number}
        self.add(f"{name}/Conv2D", "Conv2D", previous, f"{name}/conv2d_params", **convolved)
        norm = [f"{name}/batchnorm/{role}" for role in ("moving_mean", "moving_variance", "beta", "gamma")]
        for role in norm:
            self.constant(role, self._random.uniform(0.5, 1.5, channels[1]), number)
        self.add(f"{name}/batchnorm", "BatchNormWithGlobalNormalization", f"{name}/Conv2D", *norm, T=number)
        self.node(f"{name}/batchnorm").attr["variance_epsilon"].f = 0.001
        self.node(f"{name}/batchnorm").attr["scale_after_normalization"].b = scaled
        self.add(f"{name}/CheckNumerics", "CheckNumerics", f"{name}/batchnorm", T=number, message=b"NaN")
        checked = (f"{name}/batchnorm", f"^{name}/CheckNumerics")
        self.add(f"{name}/control_dependency", "Identity", *checked, T=number)
        self.add(name, "Relu", f"{name}/control_dependency", T=number)

    def node(self, name: str) -> Any:
        (found,) = [node for node in self.graph.node if node.name == name]
        return found

    def add(self, name: str, operation: str, *inputs: str, **attributes: Any) -> None:
        node = self.graph.node.add(name=name, op=operation, input=inputs)
        for key, value in attributes.items():
            if isinstance(value, self.tf.DType):
                node.attr[key].type = value.as_datatype_enum
            elif isinstance(value, bytes):
                node.attr[key].s = value
            elif isinstance(value, int):
                node.attr[key].i = value
            else:
                node.attr[key].list.i.extend(value)

    def constant(self, name: str, value: Any, dtype: Any) -> None:
        self.add(name, "Const", dtype=dtype)
        self.node(name).attr["value"].tensor.CopyFrom(self.tf.make_tensor_proto(value, dtype))

    def _one_image(self, name: str, shape: tuple[int, ...]) -> None:
        written = self.node(name).attr["_output_shapes"].list.shape.add()
        for length in shape:
            written.dim.add(size=length)

    def session(self, frames: list[UInt8Array]) -> Any:
        """What the public extractor gets: float32 (frames, CHANNELS), each frame fed alone to the untouched graph."""
        tf = self.tf
        with tf.Graph().as_default():
            tf.import_graph_def(self.graph, name="")
            with tf.compat.v1.Session() as session:
                return np.concatenate([session.run("pool_3/_reshape:0", {"DecodeJpeg:0": frame}) for frame in frames])
