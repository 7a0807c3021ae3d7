"""CPU time per sampled frame of our decoder and of others, one thread each, at one frame per second.

Every contestant delivers what the network takes: 299 x 299 pixels, RGB. We and the ffmpeg command resize and convert in
one go; the frames of libraries that give them in native size are resized by OpenCV, by area.

    python scripts/bench_decode.py FOLDER --clips a.mp4 b.mp4 --peers-python /path/to/venv/bin/python
    python scripts/bench_decode.py FOLDER --parallel      # two decoding processes against one
    python scripts/bench_decode.py FOLDER --memory        # peak memory per video, and a video of two hours in 4K

The videos are encoded into FOLDER (see bench_videos.py); a second run only measures. Each measurement is a process of
its own; the contestants take turns, in an order that changes from round to round, so that a ratio compares neighbours.
Import and start-up are measured apart and not counted. An untimed first round compares every frame with a decode of
everything: a frame is right if none within half a second of its time looks clearly more like it.
"""

import argparse
import hashlib
import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from benching import ContestantFailed, output_of, ratio_text, spread, turns

Float32Array: TypeAlias = npt.NDArray[np.float32]
Frames: TypeAlias = Iterator[npt.NDArray[np.uint8]]

SIZE = 299
FRAMES_PER_SECOND = 30
ROWS, COLUMNS = 45, 80
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
TOLERANCE = 1.1
"""A sampled frame is wrong if another frame looks more like it than the right one does, by this factor."""
EXACT_SHARE = 0.99


@dataclass(frozen=True)
class Video:
    """One video of bench_videos.py: so many seconds, and thus sampled frames, of (height, 16/9 height) pixels."""

    path: str
    seconds: int
    height: int

    @property
    def width(self) -> int:
        return self.height * 16 // 9


@dataclass(frozen=True)
class Contestant:
    """A way to get one RGB frame per second: uint8, (299, 299, 3).

    Attributes:
        module: What it imports, and passes to `decode`.
        decode: Yields the video's frames.
        null_command: A command that does nothing; its time is the start-up of the commands that `decode` runs.
    """

    module: str
    decode: Callable[[Any, Video], Frames]
    null_command: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measurement:
    """What one process took. All times but `startup_cpu_seconds` leave the start-up out; memory includes it."""

    frames: int
    cpu_seconds: float
    wall_seconds: float
    startup_cpu_seconds: float
    startup_mib: float
    peak_mib: float
    version: str


def ours(decoding: Any, video: Video, size: int | None = SIZE, **settings: Any) -> Frames:
    config = import_module("yt8m_pipeline.config").Decoding(**settings)
    with open(video.path, "rb") as stream:
        for frame in decoding.decode_frames(stream, config, size):
            yield frame.rgb


def pyav_all(av: Any, video: Video, step: int = FRAMES_PER_SECOND) -> Frames:
    """Decodes everything and converts every `step`-th frame, as the decoder under test documents it."""
    flags = av.video.reformatter.Interpolation
    interpolation = flags.AREA | flags.FULL_CHR_H_INT | flags.ACCURATE_RND | flags.BITEXACT
    with av.open(video.path) as container:
        container.streams.video[0].codec_context.thread_count = 1
        reformatter = av.video.reformatter.VideoReformatter()
        for index, frame in enumerate(container.decode(video=0)):
            if index % step == 0:
                yield reformatter.reformat(
                    frame, SIZE, SIZE, "rgb24", interpolation=interpolation, threads=1
                ).to_ndarray()


def opencv_read(cv2: Any, video: Video) -> Frames:
    """The loop of the YouTube-8M feature extractor: reads on until a second has passed since the last frame."""
    capture = _opencv(cv2, video)
    last_ms = -99999.0
    while True:
        while capture.get(cv2.CAP_PROP_POS_MSEC) < 1000 + last_ms:
            if not capture.read()[0]:
                return
        last_ms = capture.get(cv2.CAP_PROP_POS_MSEC)
        found, bgr = capture.read()
        if not found:
            return
        yield resized(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))


def opencv_grab(cv2: Any, video: Video) -> Frames:
    """Grabs every frame up to the last chosen one and retrieves the chosen ones."""
    capture = _opencv(cv2, video)
    for index in range((video.seconds - 1) * FRAMES_PER_SECOND + 1):
        capture.grab()
        if index % FRAMES_PER_SECOND == 0:
            yield resized(cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB))


def _opencv(cv2: Any, video: Video) -> Any:
    cv2.setNumThreads(1)
    return cv2.VideoCapture(video.path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])


def resized(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    cv2 = import_module("cv2")
    cv2.setNumThreads(1)
    square: npt.NDArray[np.uint8] = cv2.resize(rgb, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return square


def ffmpeg(process: Any, video: Video) -> Frames:
    shape = (SIZE, SIZE, 3)
    decode = ["ffmpeg", "-nostdin", "-v", "error", "-threads", "1", "-filter_threads", "1", "-i", video.path]
    sample = [
        "-map",
        "0:v:0",
        "-vf",
        f"fps=1:round=up,scale={SIZE}:{SIZE}:flags=area",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-",
    ]
    with process.Popen([*decode, *sample], stdout=process.PIPE) as running:
        while pixels := running.stdout.read(int(np.prod(shape))):
            yield np.frombuffer(pixels, np.uint8).reshape(shape)


def decord(library: Any, video: Video) -> Frames:
    reader = library.VideoReader(video.path, num_threads=1)
    chosen = range(0, video.seconds * FRAMES_PER_SECOND, FRAMES_PER_SECOND)
    yield from map(resized, reader.get_batch(chosen).asnumpy())


def torchcodec(decoders: Any, video: Video, seek_mode: str) -> Frames:
    import_module("torch").set_num_threads(1)
    reader = decoders.VideoDecoder(video.path, num_ffmpeg_threads=1, seek_mode=seek_mode, dimension_order="NHWC")
    yield from map(resized, reader.get_frames_played_at(seconds=list(range(video.seconds))).data.numpy())


OUR_MODULE = "yt8m_pipeline.decoding.frames"
CONTESTANTS = {
    "ours": Contestant(OUR_MODULE, ours),
    "ours, native size": Contestant(OUR_MODULE, partial(ours, size=None)),
    "ours keyframes": Contestant(OUR_MODULE, partial(ours, sampling="keyframes")),
    "opencv read": Contestant("cv2", opencv_read),
    "opencv grab": Contestant("cv2", opencv_grab),
    "ffmpeg fps=1": Contestant("subprocess", ffmpeg, ("ffmpeg", "-version")),
    "decord": Contestant("decord", decord),
    "torchcodec approximate": Contestant("torchcodec.decoders", partial(torchcodec, seek_mode="approximate")),
    "torchcodec exact": Contestant("torchcodec.decoders", partial(torchcodec, seek_mode="exact")),
    "pyav all": Contestant("av", pyav_all),
}
HIDDEN = {
    "ours 20 s": Contestant(OUR_MODULE, partial(ours, max_seconds=20.0)),
    "every frame": Contestant("av", partial(pyav_all, step=1)),
}
"""These run only in the memory part and in the check."""


def main() -> None:
    options = _options()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.contestant:
        name, path, seconds, height = options.contestant
        contestant, video = (CONTESTANTS | HIDDEN)[name], Video(path, int(seconds), int(height))
        check(contestant, video, options.check) if options.check else measure(contestant, video)
    elif options.parallel:
        report_parallel(options)
    elif options.memory:
        report_memory(options)
    else:
        report_race(options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the videos are kept")
    parser.add_argument(
        "--clips", type=Path, nargs="+", default=[], help="footage of the videos; default: drawn scenes"
    )
    parser.add_argument("--videos", nargs="+", default=[""], help="parts of the names of the videos to run")
    parser.add_argument("--seconds", type=int, default=60, help="length of the videos")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers-python", default=sys.executable, help="the interpreter that has the other libraries")
    parser.add_argument("--json", action="store_true", help="one JSON object per line instead of tables")
    parts = parser.add_mutually_exclusive_group()
    parts.add_argument("--parallel", action="store_true", help="two processes at once, on the first two videos")
    parts.add_argument("--memory", action="store_true", help="our peak memory, on the videos and on two hours of 4K")
    parser.add_argument("--contestant", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--check", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(contestant: Contestant, video: Video) -> None:
    """Prints a Measurement of this process."""
    module, version = _start_up(contestant)
    startup_cpu, null_cpu = _cpu_seconds(), _cpu_seconds_of(resource.RUSAGE_CHILDREN)
    startup_mib, began = _peak_mib(), perf_counter()
    frames = sum(1 for _ in contestant.decode(module, video))
    wall, cpu = perf_counter() - began, _cpu_seconds() - startup_cpu - null_cpu
    print(json.dumps(asdict(Measurement(frames, cpu, wall, startup_cpu, startup_mib, _peak_mib(), version))))


def check(contestant: Contestant, video: Video, target: Path) -> None:
    """Saves what the contestant's frames look like, and the SHA-256 of their bytes."""
    frames = contestant.decode(_start_up(contestant)[0], video)
    seen = [(signature(rgb), hashlib.sha256(rgb.tobytes()).hexdigest()) for rgb in frames]
    if not seen:
        raise SystemExit("no frame comes")
    np.savez(target, signatures=[look for look, _ in seen], digests=[digest for _, digest in seen])


def signature(rgb: npt.NDArray[np.uint8]) -> Float32Array:
    """Returns float32, (45, 80): the mean luma of grid cells, standardized against other matrices and ranges."""
    height, width, _ = rgb.shape
    cells = _cells(ROWS, height) @ (rgb.astype(np.float32) @ LUMA) @ _cells(COLUMNS, width).T
    standardized: Float32Array = (cells - cells.mean()) / max(cells.std(), np.float32(1e-6))
    return standardized


def _cells(count: int, pixels: int) -> Float32Array:
    """Returns float32, (count, pixels): the weight of each pixel in the mean of each of so many equal cells."""
    edges = np.arange(count + 1)[:, None] * pixels / count
    covered = np.clip(edges - np.arange(pixels), 0, 1)
    weights: Float32Array = (np.diff(covered, axis=0) * count / pixels).astype(np.float32)
    return weights


def _start_up(contestant: Contestant) -> tuple[Any, str]:
    module = import_module(contestant.module)
    if contestant.null_command:
        said = subprocess.run(contestant.null_command, check=True, capture_output=True, text=True).stdout
        return module, said.partition(" Copyright")[0]
    return module, getattr(sys.modules[contestant.module.partition(".")[0]], "__version__", "")


def _cpu_seconds() -> float:
    return _cpu_seconds_of(resource.RUSAGE_SELF) + _cpu_seconds_of(resource.RUSAGE_CHILDREN)


def _cpu_seconds_of(whose: int) -> float:
    usage = resource.getrusage(whose)
    return usage.ru_utime + usage.ru_stime


def _peak_mib() -> float:
    """Reads the peak from /proc, because what getrusage says may be the parent's."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def in_own_process(options: argparse.Namespace, name: str, video: Video, *more: str) -> str:
    """Returns what a contestant prints.

    Raises:
        ContestantFailed: with the last line of its error.
    """
    python = options.peers_python if name in CONTESTANTS and not name.startswith("ours") else sys.executable
    task = [
        python,
        __file__,
        str(options.folder),
        "--contestant",
        name,
        video.path,
        str(video.seconds),
        str(video.height),
    ]
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return output_of([*task, *more], threads)


def measured(options: argparse.Namespace, name: str, video: Video) -> Measurement:
    return Measurement(**json.loads(in_own_process(options, name, video).splitlines()[-1]))


def videos(options: argparse.Namespace) -> Iterator[tuple[str, Video]]:
    for recipe in bench_videos().RECIPES:
        if any(part in recipe.name for part in options.videos):
            path = bench_videos().make(recipe, options.folder, options.clips, options.seconds)
            yield recipe.name, Video(str(path), min(options.seconds, recipe.max_seconds), recipe.height)


def bench_videos() -> Any:
    """The module beside this one. It loads PyAV, which a contestant's process must not have beside other FFmpegs."""
    return import_module("bench_videos")


def report_race(options: argparse.Namespace) -> None:
    for name, video in videos(options):
        rows, failures = race(options, video)
        floor = bench_videos().floor_fraction(Path(video.path))
        if options.json:
            facts = {"video": name, **asdict(video), "floor_fraction": floor, "failures": failures}
            print(json.dumps(facts | {"contestants": [asdict(row) for row in rows]}), flush=True)
        else:
            print_table(name, video, floor, rows, failures)


@dataclass(frozen=True)
class Row:
    """One contestant on one video; the lists have one number per round. `ratios` are its CPU time by ours."""

    name: str
    version: str
    right_frames: int
    identical_frames: int
    cpu_ms_per_frame: list[float]
    wall_ms_per_frame: list[float]
    startup_cpu_seconds: float
    ratios: list[float]

    @property
    def spread(self) -> float:
        """Interquartile range by median of the CPU time."""
        return spread(self.cpu_ms_per_frame)

    def is_exact_peer(self, seconds: int) -> bool:
        return not self.name.startswith("ours") and self.right_frames >= EXACT_SHARE * seconds


def race(options: argparse.Namespace, video: Video) -> tuple[list[Row], dict[str, str]]:
    """Returns the contestants that finish, and why the others do not."""
    right, failures = checked(options, video)
    rounds = [
        {name: measured(options, name, video) for name in turns(list(right), number)}
        for number in range(options.rounds)
    ]
    return [_row(name, frames, rounds) for name, frames in right.items()], failures


def checked(options: argparse.Namespace, video: Video) -> tuple[dict[str, tuple[int, int]], dict[str, str]]:
    """Returns each contestant's numbers of right and identical frames, or the last line of its error."""
    reference = Path(video.path).with_suffix(".npz")
    if not reference.exists():
        in_own_process(options, "every frame", video, "--check", str(reference))
    right, failures = {}, {}
    for name in CONTESTANTS:
        target = options.folder / "check.npz"
        try:
            in_own_process(options, name, video, "--check", str(target))
        except ContestantFailed as failure:
            if name.startswith("ours"):
                raise
            failures[name] = str(failure)
        else:
            right[name] = right_and_identical(np.load(target), np.load(reference))
    return right, failures


def right_and_identical(seen: Any, reference: Any) -> tuple[int, int]:
    """Counts the frames k that look like frame 30 k of the video, and those that have its bytes."""
    all_signatures, right = reference["signatures"], 0
    expected = range(0, len(all_signatures), FRAMES_PER_SECOND)
    for index, look in zip(expected, seen["signatures"], strict=False):
        first = max(0, index - FRAMES_PER_SECOND // 2)
        distances = np.abs(all_signatures[first : index + FRAMES_PER_SECOND // 2] - look).mean(axis=(1, 2))
        right += bool(distances[index - first] <= TOLERANCE * distances.min())
    same = zip(reference["digests"][::FRAMES_PER_SECOND], seen["digests"], strict=False)
    return right, sum(bool(one == other) for one, other in same)


def _row(name: str, frames: tuple[int, int], rounds: Sequence[dict[str, Measurement]]) -> Row:
    mine = [taken[name] for taken in rounds]
    cpu = [1000 * one.cpu_seconds / one.frames for one in mine]
    wall = [1000 * one.wall_seconds / one.frames for one in mine]
    our_cpu = [1000 * taken["ours"].cpu_seconds / taken["ours"].frames for taken in rounds]
    startup = float(np.median([one.startup_cpu_seconds for one in mine]))
    ratios = [theirs / ours for theirs, ours in zip(cpu, our_cpu, strict=True)]
    return Row(name, mine[0].version, *frames, cpu, wall, startup, ratios)


def print_table(name: str, video: Video, floor: float, rows: Sequence[Row], failures: dict[str, str]) -> None:
    print(
        f"\n{name}: {video.seconds} frames of {video.width}x{video.height}; they depend on {floor:.0%} of the packets"
    )
    print(f"{'':24}{'CPU ms/frame':>13}{'spread':>8}{'wall ms':>9}{'start-up CPU s':>16}", end="")
    print(f"{'CPU by ours (min-max)':>24}{'right':>7}{'identical':>11}  version")
    for row in rows:
        cpu, wall = np.median(row.cpu_ms_per_frame), np.median(row.wall_ms_per_frame)
        print(f"{row.name:24}{cpu:13.1f}{row.spread:8.1%}{wall:9.1f}{row.startup_cpu_seconds:16.2f}", end="")
        print(f"{ratio_text(row.ratios):>24}{row.right_frames:7}{row.identical_frames:11}  {row.version}")
    for loser, reason in failures.items():
        print(f"{loser:24}{reason}")
    peers = [row for row in rows if row.is_exact_peer(video.seconds)]
    best = min(peers, key=lambda row: float(np.median(row.cpu_ms_per_frame)), default=None)
    print(f"best exact peer: {best.name}, {ratio_text(best.ratios)}" if best else "no exact peer", flush=True)


def report_parallel(options: argparse.Namespace) -> None:
    """Each process decodes both videos, in opposite order, so that both are busy to the end."""
    (_, one), (_, other), *_ = videos(options)
    alone, together = [], []
    for _ in range(options.rounds):
        alone.append(_wall_seconds(options, [(one, other)]))
        together.append(_wall_seconds(options, [(one, other), (other, one)]))
    ratios = [2 * before / after for before, after in zip(alone, together, strict=True)]
    facts = {"alone_wall_seconds": alone, "together_wall_seconds": together, "throughput_ratios": ratios}
    print(json.dumps(facts) if options.json else f"two processes: throughput {ratio_text(ratios)} that of one")


def _wall_seconds(options: argparse.Namespace, queues: Sequence[tuple[Video, Video]]) -> float:
    began = perf_counter()
    with ThreadPoolExecutor(len(queues)) as pool:
        list(pool.map(lambda queue: [measured(options, "ours", video) for video in queue], queues))
    return perf_counter() - began


def report_memory(options: argparse.Namespace) -> None:
    if not options.json:
        print(f"{'':32}{'frames':>7}{'CPU ms/frame':>14}{'start-up MiB':>14}{'peak MiB':>10}")
    for name, contestant, video in _memory_tasks(options):
        taken = [measured(options, contestant, video) for _ in range(options.rounds)]
        cpu = float(np.median([1000 * one.cpu_seconds / one.frames for one in taken]))
        frames, startup, peak = taken[0].frames, taken[0].startup_mib, max(one.peak_mib for one in taken)
        if options.json:
            print(json.dumps({"video": name, "frames": frames, "cpu_ms_per_frame": cpu, "peak_mib": peak}), flush=True)
        else:
            print(f"{name:32}{frames:7}{cpu:14.1f}{startup:14.0f}{peak:10.0f}", flush=True)


def _memory_tasks(options: argparse.Namespace) -> Iterator[tuple[str, str, Video]]:
    """Yields a label, a contestant and a video: the chosen videos, and 4K of three lengths by two limits."""
    yield from ((name, "ours", video) for name, video in videos(options))
    uhd = bench_videos().UHD
    for seconds, contestant in ((20, "ours"), (7200, "ours 20 s"), (360, "ours"), (7200, "ours")):
        path = bench_videos().make_long(uhd, options.folder, seconds)
        yield f"{uhd.name}, {seconds} s, by {contestant}", contestant, Video(str(path), seconds, uhd.height)


if __name__ == "__main__":
    main()
