"""What bench_extract.py measures by another interpreter: ONNX Runtime on our network, and OpenCV's frames.

python bench_extract_peers.py onnxruntime FOLDER BATCH       # numpy, onnx, onnxruntime
python bench_extract_peers.py opencv VIDEO                   # numpy, opencv-python-headless
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

COLOUR_CHANNELS = 3


def serve(folder: Path, name: str, version: str, network: Callable[[Any], Any], batch: int) -> None:
    """Runs a network on FOLDER/frames.npy as often as each line of the standard input says, and prints the times.

    The features of the first batch are kept as FOLDER/NAME.npy.
    """
    frames = np.resize(
        np.load(folder / "frames.npy"), (batch, *np.load(folder / "frames.npy", mmap_mode="r").shape[1:])
    )
    np.save(folder / f"{name}.npy", np.asarray(network(frames)))
    print(json.dumps({"version": version}), flush=True)
    for line in sys.stdin:
        wall, cpu = perf_counter(), sum(os.times()[:2])
        for _ in range(int(line)):
            np.asarray(network(frames))
        print(json.dumps({"cpu": sum(os.times()[:2]) - cpu, "wall": perf_counter() - wall}), flush=True)


def onnxruntime(folder: Path, batch: int) -> None:
    ort = import_module("onnxruntime")

    options = ort.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    model = onnx_model(np.load(folder / "network.npz"), batch, np.load(folder / "frames.npy").shape[1])
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    serve(folder, "onnxruntime", ort.__version__, lambda frames: session.run(None, {"frames": frames})[0], batch)


def onnx_model(network: Any, batch: int, size: int) -> bytes:
    """The ONNX file of a network that `bench_extract.describe_network` wrote; batch norms are left to ONNX Runtime."""
    onnx, helper, numpy_helper = map(import_module, ("onnx", "onnx.helper", "onnx.numpy_helper"))

    constants = {"scale": np.float32(127.5), "shift": np.float32(1)}
    nodes = [
        helper.make_node("Cast", ["frames"], ["float"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Div", ["float", "scale"], ["scaled"]),
        helper.make_node("Sub", ["scaled", "shift"], ["shifted"]),
        helper.make_node("Transpose", ["shifted"], ["input"], perm=[0, 3, 1, 2]),
    ]
    for layer in json.loads(str(network["layers"])):
        weights = _weights(layer, network)
        constants |= weights
        operation, attributes = _operation(layer)
        nodes.append(helper.make_node(operation, [*layer["inputs"], *weights], [layer["name"]], **attributes))
    nodes.append(helper.make_node("Flatten", [nodes[-1].output[0]], ["features"]))
    frames = helper.make_tensor_value_info("frames", onnx.TensorProto.UINT8, [batch, size, size, COLOUR_CHANNELS])
    features = helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, [batch, None])
    tensors = [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "network", [frames], [features], tensors)
    opsets = [helper.make_opsetid("", 17)]
    model: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    return model


def _weights(layer: Mapping[str, Any], network: Any) -> dict[str, Any]:
    """ONNX wants kernels as (out, in, height, width), and a scale of batch norms, which Inception-V3 has not."""
    name = layer["name"]
    arrays = [network[f"{name}/{index}"] for index in range(layer["weights"])]
    if layer["kind"] == "Conv2D":
        return {f"{name}/kernel": arrays[0].transpose(3, 2, 0, 1)}
    if layer["kind"] == "BatchNormalization":
        roles = ("gamma", "beta", "mean", "variance")
        return {f"{name}/{role}": array for role, array in zip(roles, [np.ones_like(arrays[0]), *arrays], strict=True)}
    return {}


def _operation(layer: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The ONNX operation of a Keras layer, and its attributes."""
    config = layer["config"]
    padding = {"auto_pad": "SAME_UPPER" if config.get("padding") == "same" else "VALID"}
    window = {"kernel_shape": config.get("pool_size"), "strides": config.get("strides"), **padding}
    operations: dict[str, tuple[str, dict[str, Any]]] = {
        "Conv2D": ("Conv", {"strides": config.get("strides"), **padding}),
        "BatchNormalization": ("BatchNormalization", {"epsilon": config.get("epsilon")}),
        "Activation": ("Relu", {}),
        "Concatenate": ("Concat", {"axis": 1}),
        "MaxPooling2D": ("MaxPool", window),
        "AveragePooling2D": ("AveragePool", {"count_include_pad": 0, **window}),
        "GlobalAveragePooling2D": ("GlobalAveragePool", {}),
    }
    return operations[layer["kind"]]


def opencv(path: str) -> None:
    """For each byte of the standard input, one frame by the loop of the public extractor: its shape, and its pixels."""
    frames = public_frames(path)
    while sys.stdin.buffer.read(1):
        frame = next(frames, np.empty((0, 0, COLOUR_CHANNELS), np.uint8))
        sys.stdout.buffer.write(np.array(frame.shape, np.int64).tobytes() + frame.tobytes())
        sys.stdout.buffer.flush()


def public_frames(path: str) -> Iterator[Any]:
    """Reads on until a second has passed since the last frame, and gives the next one, in its own size."""
    cv2 = import_module("cv2")

    capture, last_ms = cv2.VideoCapture(path), -99999.0
    while True:
        while capture.get(cv2.CAP_PROP_POS_MSEC) < 1000 + last_ms:
            if not capture.read()[0]:
                return
        last_ms = capture.get(cv2.CAP_PROP_POS_MSEC)
        found, bgr = capture.read()
        if not found:
            return
        yield bgr[:, :, ::-1]


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    onnxruntime(Path(arguments[0]), int(arguments[1])) if command == "onnxruntime" else opencv(arguments[0])
