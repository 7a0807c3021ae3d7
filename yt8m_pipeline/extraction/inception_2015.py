"""The frozen Inception graph of 2015, `classify_image_graph_def.pb`, lifted from one image to batches.

It decodes one JPEG, expands it to a batch of 1, resizes it to 299 × 299 and makes (x - 128) / 128 of it; the activation
of the last hidden layer is `pool_3`, of shape (1, 1, 1, 2048) (paper §3.3). Only its ends are of one image: the batch
goes in after `ExpandDims`, and what lies between does not know how many images there are.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from google.protobuf.message import DecodeError

from yt8m_pipeline.errors import UsageError

IMAGES, POOL_3 = "ExpandDims", "pool_3"
"""The nodes whose outputs are the batch of images, float32 RGB from 0 to 255 in any size, and the vectors."""

STATIC_SHAPES = "_output_shapes"
"""An attribute that says that there is one image."""

FIX = "give the file classify_image_graph_def.pb, unpacked from inception-2015-12-05.tgz"

REMOVED_NORM = "BatchNormWithGlobalNormalization"


def lifted(tf: Any, path: str, data: bytes) -> Callable[[Any], Any]:
    """The graph between its ends.

    Args:
        tf: TensorFlow.
        path: Where the graph is from, for errors.
        data: The bytes of a GraphDef.

    Returns:
        float32 (batch, height, width, 3), 0 to 255 → float32 (batch, 2048).

    Raises:
        UsageError: if the bytes are no GraphDef, or it lacks one of the two nodes or a node between them.
    """
    whole = _parsed(tf, path, data)
    graph = tf.compat.v1.GraphDef(versions=whole.versions)
    for node in _between(whole, path):
        graph.node.extend(_today(tf, node))

    def network(images: Any) -> Any:
        ends = {f"{IMAGES}:0": images}
        (pooled,) = tf.graph_util.import_graph_def(graph, ends, [f"{POOL_3}:0"], name="")
        return tf.squeeze(pooled, (1, 2))

    function: Callable[[Any], Any] = tf.compat.v1.wrap_function(
        network, [tf.TensorSpec((None, None, None, 3), tf.float32)]
    )
    return function


def _parsed(tf: Any, path: str, data: bytes) -> Any:
    try:
        return tf.compat.v1.GraphDef.FromString(data)
    except DecodeError as error:
        raise UsageError(what="The file is not a TensorFlow graph", where=path, why=str(error), fix=FIX) from error


def _between(graph: Any, path: str) -> Iterator[Any]:
    """The nodes that `pool_3` needs, without the images, in the order of the graph."""
    nodes = {node.name: node for node in graph.node}
    _require({IMAGES, POOL_3}, nodes, path)
    found, todo = {IMAGES}, [POOL_3]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            inputs = [_node_of(tensor) for tensor in _tensors(nodes[name])]
            _require(inputs, nodes, path)
            todo += inputs
    return (node for node in graph.node if node.name in found - {IMAGES})


def _require(names: Any, nodes: Mapping[str, Any], path: str) -> None:
    missing = sorted(set(names) - nodes.keys())
    if missing:
        raise UsageError(
            what="The graph is not the Inception graph of 2015",
            where=path,
            why=f"it has {len(nodes)} nodes, but none named {', '.join(missing)}",
            fix=FIX,
        )


def _tensors(node: Any) -> list[str]:
    """A node's inputs without the nodes that must merely run before it: they check for NaN, and we do that later."""
    return [name for name in node.input if not name.startswith("^")]


def _node_of(tensor: str) -> str:
    return tensor.partition(":")[0]


def _today(tf: Any, old: Any) -> list[Any]:
    """A node as TensorFlow takes it today: batch normalization had an operation of its own until 2015."""
    node = tf.compat.v1.NodeDef()
    node.CopyFrom(old)
    node.attr.pop(STATIC_SHAPES, None)
    node.input[:] = _tensors(old)
    if node.op != REMOVED_NORM:
        return [node]
    images, mean, variance, offset, scale = node.input
    of_float = {"T": node.attr["T"]}
    ones = tf.compat.v1.NodeDef(name=f"{node.name}/ones", op="OnesLike", input=[offset], attr=of_float)
    is_scaled = node.attr["scale_after_normalization"].b
    norm = tf.compat.v1.NodeDef(name=node.name, op="FusedBatchNormV3", attr={**of_float, "U": node.attr["T"]})
    norm.input[:] = [images, scale if is_scaled else ones.name, offset, mean, variance]
    norm.attr["epsilon"].f = node.attr["variance_epsilon"].f
    norm.attr["is_training"].b = False
    return [ones, norm]
