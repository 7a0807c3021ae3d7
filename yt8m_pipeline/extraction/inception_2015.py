"""The frozen Inception graph of 2015, `classify_image_graph_def.pb`, made to take batches instead of one image.

The published graph decodes one JPEG, expands it to a batch of 1, resizes it to 299 × 299 and computes (x - 128) / 128.
The activation of its last hidden layer is `pool_3`, of shape (1, 1, 1, 2048) (paper §3.3). Only the two ends of the
graph are made for one image. A batch can therefore go in at the output of `ExpandDims`, and every node between there
and `pool_3` works for any number of images.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from google.protobuf.message import DecodeError

from yt8m_pipeline.errors import UsageError

IMAGES, POOL_3 = "ExpandDims", "pool_3"
"""The nodes whose outputs are the batch of images (float32 RGB, 0 to 255, any size) and the vectors."""

STATIC_SHAPES = "_output_shapes"
"""The attribute in which the graph records the shapes of outputs, for a batch of 1. It is removed."""

ARCHIVE_HINT = "give the file classify_image_graph_def.pb, unpacked from inception-2015-12-05.tgz"

REMOVED_NORM = "BatchNormWithGlobalNormalization"
"""The operation for batch normalization that the graph uses and that TensorFlow has removed since."""


def lifted(tf: Any, path: str, data: bytes) -> Callable[[Any], Any]:
    """Makes a function of batches from the graph of one image.

    Args:
        tf: TensorFlow.
        path: The file that the graph was read from, which errors name.
        data: The bytes of a GraphDef.

    Returns:
        A function of float32 images (batch, height, width, 3), 0 to 255, that gives float32 vectors (batch, 2048).

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
        raise UsageError(
            what="The file is not a TensorFlow graph", where=path, why=str(error), fix=ARCHIVE_HINT
        ) from error


def _between(graph: Any, path: str) -> Iterator[Any]:
    """The nodes that `pool_3` depends on, except the one that gives the images, in the order of the graph."""
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
            fix=ARCHIVE_HINT,
        )


def _tensors(node: Any) -> list[str]:
    """A node's inputs, without its control inputs, which only have to run before it.

    In this graph they check for NaN, which `execution` does for the weights and the feature store for the features.
    """
    return [name for name in node.input if not name.startswith("^")]


def _node_of(tensor: str) -> str:
    return tensor.partition(":")[0]


def _today(tf: Any, old: Any) -> list[Any]:
    """Translates a node into what TensorFlow takes today; the removed batch normalization becomes two nodes."""
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
