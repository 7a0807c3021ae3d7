"""How fast the network runs, and the whole act of extraction: ours and others, on the same weights and videos.

    python scripts/bench_extract.py FOLDER --peers-python /path/to/venv/bin/python
    python scripts/bench_extract.py FOLDER --batch-sizes 1 8 32 128 --precisions float32 mixed     # on a GPU
    python scripts/bench_extract.py FOLDER --clips a.mp4 b.mp4 --peers-python /path/to/venv/bin/python
    python scripts/bench_extract.py FOLDER --clips a.mp4 b.mp4 --memory 1 16 [--resize model]

The network: the contestants are processes that stay, on `--cores` cores each; they take turns, in an order that changes
from round to round, so that a ratio compares neighbours. Start-up and the first batch are not counted.

The act, with --clips, on all cores: decoding alone, the network alone on frames in memory, and both as the pipeline
runs them, into a feature store; then the way of the public YouTube-8M extractor, written out: OpenCV reads every frame,
a session of batch 1 takes frames in their own size, and Python quantizes value by value. It has the TensorFlow settings
that we have, and no PCA. Without peers' libraries, what needs them is left out, and named. With --memory: only the
peak memory of the act, without the decoding process, on so many times the clips, each in a process of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from bench_extract_peers import serve
from benching import ContestantFailed, Cost, cost_of, paired, peak_mib, ratio_text, spread

from yt8m_pipeline.config import Decoding, Inception, KerasModel, RandomModel
from yt8m_pipeline.data_model import Float32Array, Partition, UInt8Array, Video
from yt8m_pipeline.decoding.sandbox.parent import Sandbox
from yt8m_pipeline.extraction.execution import freeze
from yt8m_pipeline.extraction.inception import load
from yt8m_pipeline.extraction.model_files import locate
from yt8m_pipeline.extraction.networks import device, network_of, prepared, tensorflow
from yt8m_pipeline.store.feature_store import FeatureStore

PEERS = Path(__file__).with_name("bench_extract_peers.py")
FRAMES_PER_ROUND = 16
PUBLIC_RANGE, PUBLIC_DIMENSIONS = (-2.0, 2.0), 1024

RunNetwork: TypeAlias = Callable[[UInt8Array], Any]


def ours(inception: Inception) -> RunNetwork:
    return load(inception)


def plain(inception: Inception, *, jit_compile: bool | None = None) -> RunNetwork:
    """A tf.function over the variables, as the model comes."""
    network, size = network_of(inception, locate(inception.model)), inception.image_size
    spec = tensorflow().TensorSpec((inception.batch_size, size, size, 3), tensorflow().uint8)
    function = tensorflow().function(input_signature=[spec], jit_compile=jit_compile)
    run: RunNetwork = function(lambda frames: network(prepared(inception, frames)))
    return run


def predict(inception: Inception) -> RunNetwork:
    model = keras_model(inception)
    return lambda frames: model.predict(frames / np.float32(127.5) - 1, batch_size=len(frames), verbose=0)


CONTESTANTS: Mapping[str, Callable[[Inception], RunNetwork]] = {
    "ours": ours,
    "tf.function": plain,
    "XLA": partial(plain, jit_compile=True),
    "model.predict": predict,
}


def keras_model(inception: Inception) -> Any:
    return network_of(inception, locate(inception.model)).func  # type: ignore[attr-defined]


def main() -> None:
    options = _options()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.contestant:
        work(
            options.contestant[0],
            inception_of(options, int(options.contestant[1]), options.contestant[2]),
            options.folder,
        )
    elif options.memory:
        report_memory(options)
    elif options.clips:
        report_act(options)
    else:
        report_network(options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the network and the features are kept")
    parser.add_argument("--keras", help="Inception-V3's weights, an .h5 file; default: random ones")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[8])
    parser.add_argument("--precisions", nargs="+", default=["float32"], choices=["float32", "mixed"])
    parser.add_argument("--cores", type=int, default=1, help="CPU cores of a contestant")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clips", nargs="+", default=[], help="videos: measure the whole act on them")
    parser.add_argument("--memory", type=int, nargs="+", help="measure the peak memory on the clips so many times over")
    parser.add_argument("--resize", default="decoder", choices=["decoder", "model"])
    parser.add_argument("--peers-python", default=sys.executable, help="the interpreter that has the other libraries")
    parser.add_argument("--contestant", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


def inception_of(options: argparse.Namespace, batch_size: int, precision: Literal["float32", "mixed"]) -> Inception:
    model = KerasModel(keras=options.keras) if options.keras else RandomModel(random=1)
    return Inception(model=model, batch_size=batch_size, precision=precision, resize=options.resize)


def work(name: str, inception: Inception, folder: Path) -> None:
    """A contestant's process."""
    network = CONTESTANTS[name](inception)
    serve(folder, name, f"TensorFlow {tensorflow().__version__} on {device()}", network, inception.batch_size)


def describe_network(inception: Inception, target: Path) -> None:
    """Writes the layers and weights of a Keras network for peers that know no Keras."""
    layers: list[dict[str, Any]] = []
    weights: dict[str, Any] = {}
    for layer in keras_model(inception).layers[1:]:
        sources = [tensor._keras_history.operation.name for tensor in layer._inbound_nodes[0].input_tensors]
        own = {f"{layer.name}/{index}": array for index, array in enumerate(layer.get_weights())}
        config = {
            key: value for key, value in layer.get_config().items() if isinstance(value, int | float | str | tuple)
        }
        layers.append({"name": layer.name, "kind": type(layer).__name__, "inputs": sources, "weights": len(own)})
        layers[-1]["config"] = config
        weights |= own
    first = layers[0]["inputs"][0]
    text = json.dumps(layers).replace(json.dumps(first), '"input"')
    np.savez(target, layers=text, **weights)


# The network


class Worker:
    """A contestant's process.

    Raises:
        ContestantFailed: if it does not start, with the last line of its error.
    """

    def __init__(self, options: argparse.Namespace, name: str, batch: int, precision: str) -> None:
        self.name, self.batch, self.precision = name, batch, precision
        self._target = options.folder / f"{name}.npy"
        command = [sys.executable, __file__, str(options.folder), "--contestant", name, str(batch), precision]
        command += ["--keras", options.keras] if options.keras else []
        if name == "onnxruntime":
            command = [options.peers_python, str(PEERS), name, str(options.folder), str(batch)]
        self._errors = options.folder / f"{name}.log"
        self._process = subprocess.Popen(
            ["taskset", "-c", f"0-{options.cores - 1}", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors.open("w"),
            text=True,
        )
        self.version = self._answer()["version"]
        self.features = np.load(self._target)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def rates(self) -> tuple[float, float]:
        """Lets the contestant run once; returns frames per CPU-second and frames per second."""
        batches = -(-FRAMES_PER_ROUND // self.batch)
        print(batches, file=self._process.stdin, flush=True)
        taken = self._answer()
        return batches * self.batch / max(taken["cpu"], 0.01), batches * self.batch / taken["wall"]

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            said = self._errors.read_text().splitlines()
            raise ContestantFailed([f"exit status {self._process.returncode}", *said][-1])
        answer: dict[str, Any] = json.loads(line)
        return answer


def report_network(options: argparse.Namespace) -> None:
    inception = inception_of(options, 1, "float32")
    coarse = np.random.default_rng(0).integers(0, 256, (max(options.batch_sizes), 23, 23, 3), np.uint8)
    np.save(options.folder / "frames.npy", coarse.repeat(13, axis=1).repeat(13, axis=2))
    if not (options.folder / "network.npz").exists():
        describe_network(inception, options.folder / "network.npz")
    for batch in options.batch_sizes:
        with ExitStack() as stack:
            race(list(started(options, batch, stack)), options.rounds)


def started(options: argparse.Namespace, batch: int, stack: ExitStack) -> Iterator[Worker]:
    names = [("ours", precision) for precision in options.precisions]
    for name, precision in [*names, *((name, "float32") for name in (*CONTESTANTS, "onnxruntime") if name != "ours")]:
        try:
            yield stack.enter_context(Worker(options, name, batch, precision))
        except ContestantFailed as failure:
            print(f"{name}, {precision}: {failure}")


def race(workers: Sequence[Worker], rounds: int) -> None:
    """Prints the table of one batch size; each ratio is of frames per CPU-second, ours by theirs, of the same round."""
    taken = paired({f"{place}": worker.rates for place, worker in enumerate(workers)}, rounds)
    rates = np.array(list(taken.values())).transpose(1, 0, 2)
    print(f"\nbatches of {workers[0].batch}")
    print(f"{'':24}{'frames/CPU-s':>13}{'spread':>8}{'frames/s':>10}", end="")
    print(f"{'ours by it (min-max)':>24}{'differs by':>12}  version")
    for place, worker in enumerate(workers):
        cpu, ratios = rates[:, place, 0], rates[:, 0, 0] / rates[:, place, 0]
        error = np.abs(worker.features - workers[0].features).max() / np.abs(workers[0].features).max()
        print(f"{worker.name + ', ' + worker.precision:24}{np.median(cpu):13.2f}{spread(cpu):8.1%}", end="")
        ratio = ratio_text(ratios)
        print(f"{np.median(rates[:, place, 1]):10.1f}{ratio:>24}{error:12.1e}  {worker.version}", flush=True)


# The act


def report_act(options: argparse.Namespace) -> None:
    inception = inception_of(options, options.batch_sizes[0], options.precisions[0])
    extractor = load(inception)
    frames = np.stack(list(decoded(options.clips, inception)))
    tasks: dict[str, Callable[[], int]] = {
        "loading": lambda: 0 * len(load(inception)(frames[:1])),
        "decoding alone": lambda: sum(1 for _ in decoded(options.clips, inception)),
        "network alone": lambda: len(extractor(frames)),
        "the act": partial(act, options.clips, inception),
    }
    if peers_have_opencv(options):
        tasks["the public way"] = partial(public_way, options, public_session(inception))
    print_act(paired({name: partial(cost_of, task) for name, task in tasks.items()}, options.rounds))


def report_memory(options: argparse.Namespace) -> None:
    inception = inception_of(options, options.batch_sizes[0], options.precisions[0])
    for times in options.memory:
        if (pid := os.fork()) == 0:
            frames = act(options.clips * times, inception)
            print(f"{len(options.clips) * times} videos, {frames} frames: {peak_mib():.0f} MiB", flush=True)
            os._exit(0)
        os.waitpid(pid, 0)


def decoded(clips: Sequence[str], inception: Inception) -> Iterator[UInt8Array]:
    with Sandbox(Decoding(), inception.decoded_size) as sandbox:
        yield from (frame.rgb for clip in clips for frame in sandbox.decode(clip))


def act(clips: Sequence[str], inception: Inception) -> int:
    """Stages 4 and 5 of the pipeline, from videos to stored features."""
    import apache_beam as beam  # noqa: PLC0415
    from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner  # noqa: PLC0415

    from yt8m_pipeline.transforms.extraction import ExtractFeatures  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore(folder, "bench")
        videos = [Video(f"{number}", clip, Partition.TRAIN, ("/m/0",)) for number, clip in enumerate(clips)]
        with beam.Pipeline(runner=FnApiRunner()) as root:
            _ = root | beam.Create(videos) | ExtractFeatures(store, Decoding(), inception)
        return sum(len(store.read(video.video_id).features) for video in videos)


def peers_have_opencv(options: argparse.Namespace) -> bool:
    found = subprocess.run([options.peers_python, "-c", "import cv2"], check=False, capture_output=True).returncode == 0
    if not found:
        print(f"no public way: {options.peers_python} has no OpenCV")
    return found


def public_session(inception: Inception) -> RunNetwork:
    """A session of the frozen graph that resizes one frame in its own size."""
    tf, own_size = tensorflow(), inception.model_copy(update={"resize": "model"})
    network = network_of(own_size, locate(own_size.model))
    spec = tf.TensorSpec((1, None, None, 3), tf.uint8)
    frozen = freeze(tf.function(lambda frames: network(prepared(own_size, frames)), input_signature=[spec]))
    session = tf.compat.v1.Session(graph=frozen.graph)
    return lambda frame: session.run(frozen.outputs[0].name, {frozen.inputs[0].name: frame[None]})[0]


def public_way(options: argparse.Namespace, session: RunNetwork) -> int:
    """Decodes and infers in turns, as one process would: the decoding child waits while the network runs."""
    count = 0
    for clip in options.clips:
        for frame in opencv_frames(options.peers_python, clip):
            quantized(session(frame)[:PUBLIC_DIMENSIONS])
            count += 1
    return count


def opencv_frames(python: str, clip: str) -> Iterator[UInt8Array]:
    command = [python, str(PEERS), "opencv", clip]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        while True:
            process.stdin.write(b".")
            process.stdin.flush()
            shape = np.frombuffer(process.stdout.read(24), np.int64)
            if not shape.prod():
                return
            yield np.frombuffer(process.stdout.read(int(shape.prod())), np.uint8).reshape(shape)


def quantized(features: Float32Array) -> bytes:
    """Value by value, in Python, as the public extractor writes a frame."""
    low, high = PUBLIC_RANGE
    return bytes(round((min(max(float(value), low), high) - low) * 255 / (high - low)) for value in features)


def print_act(costs: Mapping[str, Sequence[Cost[int]]]) -> None:
    walls = {
        name: np.array([cost.wall_seconds / max(cost.answer, 1) for cost in taken]) for name, taken in costs.items()
    }
    print(f"{len(os.sched_getaffinity(0))} cores, {device()}, {costs['the act'][0].answer} frames")
    print(f"{'':24}{'frames':>7}{'frames/s':>10}{'spread':>8}{'CPU ms/frame':>14}")
    for name, taken in costs.items():
        cpu = np.median([1000 * cost.cpu_seconds / max(cost.answer, 1) for cost in taken])
        print(f"{name:24}{taken[0].answer:7}{1 / np.median(walls[name]):10.2f}{spread(walls[name]):8.1%}{cpu:14.1f}")
    act = np.median(walls["the act"] - walls["loading"] / costs["the act"][0].answer)
    alone = [np.median(walls[name]) for name in ("decoding alone", "network alone")]
    decoding_cpu = np.median([cost.cpu_seconds / cost.answer for cost in costs["decoding alone"]])
    print(f"the act without loading, by the longer of both alone: {act / max(alone):.2f}")
    print(f"                         by both one after the other: {act / sum(alone):.2f}")
    print(f"cores that decode as fast as the network runs: {decoding_cpu / alone[1]:.2f}")
    if "the public way" in walls:
        print(f"the public way by the act without loading: {np.median(walls['the public way']) / act:.2f}")


if __name__ == "__main__":
    main()
