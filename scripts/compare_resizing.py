"""How far the two ways of resizing frames, and each other choice that is not the paper's, move the features.

    python scripts/compare_resizing.py CLIPS --model inception.keras

For each film and frame: the cosine between the features of the frame resized by the model (bilinear, from its own size:
the paper's way) and resized while decoding (area averaging). Beside it, for scale, the cosine between the features of
frames that are one second apart. And what each way costs, in CPU milliseconds per frame, decoding and resizing alone.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

from yt8m_pipeline.config import Decoding, Inception, KerasModel, RandomModel
from yt8m_pipeline.data_model import Float32Array, Float64Array, SampledFrame
from yt8m_pipeline.errors import VideoRejected
from yt8m_pipeline.extraction.decoding import decode_frames
from yt8m_pipeline.extraction.inception import load

FILMS = (".mp4", ".mkv", ".mov", ".flv", ".webm", ".avi")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--model", help="a .keras file of Inception-V3; without it, random weights")
    parser.add_argument("--seconds", type=float, default=360.0, help="of each film")
    options = parser.parse_args()
    model = KerasModel(keras=options.model) if options.model else RandomModel(random=0)
    ways = {name: Inception(model=model, resize=name) for name in ("model", "decoder")}
    extractors = {name: load(inception) for name, inception in ways.items()}
    decoding = Decoding(max_seconds=options.seconds)
    print("| film | size | frames | cosine, mean | least | one second apart | model, ms | decoder, ms |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for path in sorted(path for path in options.clips.iterdir() if path.suffix in FILMS):
        try:
            decoded = {name: timed_frames(path, decoding, way.decoded_size) for name, way in ways.items()}
        except VideoRejected as rejection:
            print(f"| {path.name} | {rejection.reason} |")
            continue
        features = {name: features_of(extractors[name], frames) for name, (frames, _) in decoded.items()}
        near = cosines(features["model"], features["decoder"])
        apart = cosines(features["model"][1:], features["model"][:-1])
        height, width, _ = decoded["model"][0][0].rgb.shape
        cells = [f"{near.mean():.4f}", f"{near.min():.4f}", f"{apart.mean():.3f}" if len(apart) else "–"]
        cells += [f"{milliseconds:.1f}" for _, milliseconds in decoded.values()]
        print(f"| {path.name} | {width}×{height} | {len(near)} | {' | '.join(cells)} |", flush=True)


def timed_frames(path: Path, decoding: Decoding, size: int | None) -> tuple[list[SampledFrame], float]:
    """The frames of the grid, and the median of three decodings' CPU milliseconds per frame."""
    seconds = []
    for _ in range(3):
        start = time.process_time()
        with path.open("rb") as stream:
            frames = list(decode_frames(stream, decoding, size))
        seconds.append(time.process_time() - start)
    return frames, 1000 * statistics.median(seconds) / len(frames)


def features_of(extractor: object, frames: list[SampledFrame]) -> Float32Array:
    """Frame by frame: a film's frames may have several sizes."""
    assert callable(extractor)
    return np.concatenate([extractor(frame.rgb[np.newaxis]) for frame in frames])


def cosines(one: Float32Array, other: Float32Array) -> Float64Array:
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    products: Float64Array = (one.astype(np.float64) * other).sum(axis=1) / norms
    return products


if __name__ == "__main__":
    main()
