"""How far the way of resizing and half precision move the features.

    python scripts/compare_features.py CLIPS [--model inception.keras]

For each video and frame: the cosine between the features of the frame resized by the model (bilinear, from its own
size: the paper's way) and resized while decoding (area averaging); and, of frames resized while decoding, between those
of a network that computes in float32 and in float16, on the CPU. Beside them, for scale, the cosine between the
features of frames that are one second apart; and what decoding costs with and without resizing, in CPU milliseconds per
frame. The network is a trained Inception-V3 or, without one, a random one calibrated to the videos
(`calibrated_inception`).
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from calibrated_inception import calibrated_inception, in_half_precision

from yt8m_pipeline.accounting.reasons import VideoRejected
from yt8m_pipeline.config import Decoding, Inception, KerasModel
from yt8m_pipeline.data_model import Float32Array, Float64Array
from yt8m_pipeline.decoding.facts import SampledFrame
from yt8m_pipeline.decoding.frames import decode_frames
from yt8m_pipeline.extraction.inception import load
from yt8m_pipeline.extraction.networks import tensorflow

SIZE = 299
VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".flv", ".webm", ".avi")


@dataclass(frozen=True, eq=False, slots=True)
class DecodedVideo:
    """The frames of one video in their own size and resized while decoding, and CPU milliseconds per frame of each."""

    name: str
    native: Sequence[SampledFrame]
    resized: Sequence[SampledFrame]
    milliseconds: tuple[float, float]


@dataclass(frozen=True, eq=False, slots=True)
class Features:
    """The features (frames, dimensions) of a video: resized by the model, by the decoder, and that in float16."""

    by_model: Float32Array
    by_decoder: Float32Array
    in_half: Float32Array


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--model", help="a .keras file of a trained Inception-V3")
    parser.add_argument("--seconds", type=float, default=360.0, help="of each video")
    options = parser.parse_args()
    decoding = Decoding(max_seconds=options.seconds)
    videos = list(decoded_videos(options.clips, decoding))
    with TemporaryDirectory() as folder:
        extract = extractor(options.model or calibrated(videos, f"{folder}/calibrated.keras"))
    print(
        "| video | size | frames | resizing, mean | least | float16, least | a second apart | native ms | resized ms |"
    )
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for video in videos:
        features = extract(video)
        near, apart = (
            cosines(features.by_model, features.by_decoder),
            cosines(features.by_model[1:], features.by_model[:-1]),
        )
        half = cosines(features.by_decoder, features.in_half)
        height, width, _ = video.native[0].rgb.shape
        cells = [f"{near.mean():.4f}", f"{near.min():.4f}", f"{half.min():.7f}", f"{apart.mean():.3f}"]
        cells += [f"{milliseconds:.1f}" for milliseconds in video.milliseconds]
        print(f"| {video.name} | {width}×{height} | {len(near)} | {' | '.join(cells)} |", flush=True)


def decoded_videos(clips: Path, decoding: Decoding) -> Iterator[DecodedVideo]:
    """Decodes the videos of a folder, and skips those that cannot be decoded whole or have only one frame."""
    for path in sorted(path for path in clips.iterdir() if path.suffix in VIDEO_SUFFIXES):
        try:
            (native, slow), (resized, fast) = (timed_frames(path, decoding, size) for size in (None, SIZE))
        except VideoRejected as rejection:
            print(f"{path.name}: {rejection.reason}")
            continue
        if len(native) > 1:
            yield DecodedVideo(path.name, native, resized, (slow, fast))


def calibrated(videos: Sequence[DecodedVideo], path: str) -> str:
    """Saves a random network whose batch norms are fitted to at most 64 frames of the videos; returns its path."""
    frames = [frame.rgb for video in videos for frame in video.resized]
    calibrated_inception(np.stack(frames[:: -(-len(frames) // 64)])).save(path)
    return path


def extractor(model: str) -> Callable[[DecodedVideo], Features]:
    """A function that computes a video's features with a network in the three ways of `Features`."""
    ways = [Inception(model=KerasModel(keras=model), resize=resize) for resize in ("model", "decoder")]
    by_model, by_decoder = map(load, ways)
    in_half = in_half_precision(tensorflow().keras.models.load_model(model, compile=False))

    def extract(video: DecodedVideo) -> Features:
        native = np.stack([by_model(frame.rgb[np.newaxis])[0] for frame in video.native])
        resized = np.stack([frame.rgb for frame in video.resized])
        halves = [in_half(frame[np.newaxis] / np.float32(127.5) - 1, training=False)[0] for frame in resized]
        return Features(native, by_decoder(resized), np.stack(halves))

    return extract


def timed_frames(path: Path, decoding: Decoding, size: int | None) -> tuple[list[SampledFrame], float]:
    """Decodes a video three times; returns its frames and the median of the CPU milliseconds per frame."""
    seconds = []
    for _ in range(3):
        start = time.process_time()
        with path.open("rb") as stream:
            frames = list(decode_frames(stream, decoding, size))
        seconds.append(time.process_time() - start)
    return frames, 1000 * statistics.median(seconds) / len(frames)


def cosines(one: Float32Array, other: Float32Array) -> Float64Array:
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    products: Float64Array = (one.astype(np.float64) * other).sum(axis=1) / norms
    return products


if __name__ == "__main__":
    main()
