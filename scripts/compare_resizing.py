"""How far the two ways of resizing frames move the features.

    python scripts/compare_resizing.py CLIPS [--model inception.keras]

For each film and frame: the cosine between the features of the frame resized by the model (bilinear, from its own size:
the paper's way) and resized while decoding (area averaging). Beside it, for scale, the cosine between the features of
frames that are one second apart. And what decoding costs with and without resizing, in CPU milliseconds per frame. The
features are those of a trained network or, without one, of a dictionary of patches of the films (`patch_dictionary`).
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from patch_dictionary import PatchDictionary

from yt8m_pipeline.config import Decoding, Inception, KerasModel, RandomModel
from yt8m_pipeline.data_model import Float32Array, Float64Array, SampledFrame
from yt8m_pipeline.errors import VideoRejected
from yt8m_pipeline.extraction.decoding import decode_frames
from yt8m_pipeline.extraction.inception import load
from yt8m_pipeline.extraction.networks import prepared

SIZE = 299
FILMS = (".mp4", ".mkv", ".mov", ".flv", ".webm", ".avi")


@dataclass(frozen=True, eq=False, slots=True)
class Film:
    """The frames of one film in their own size and resized while decoding, and CPU milliseconds per frame of each."""

    name: str
    native: Sequence[SampledFrame]
    resized: Sequence[SampledFrame]
    milliseconds: tuple[float, float]


Extract: TypeAlias = Callable[[Film], tuple[Float32Array, Float32Array]]
"""The features of a film's frames, resized by the model and by the decoder: each float32, (frames, dimensions)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--model", help="a .keras file of a trained Inception-V3")
    parser.add_argument("--seconds", type=float, default=360.0, help="of each film")
    options = parser.parse_args()
    decoding = Decoding(max_seconds=options.seconds)
    films = {film.name: film for film in decoded_films(options.clips, decoding)}
    extract = network(options.model) if options.model else dictionary(list(films.values()))
    print("| film | size | frames | cosine, mean | least | one second apart | native, ms | resized, ms |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for film in films.values():
        by_model, by_decoder = extract(film)
        near, apart = cosines(by_model, by_decoder), cosines(by_model[1:], by_model[:-1])
        height, width, _ = film.native[0].rgb.shape
        cells = [f"{near.mean():.4f}", f"{near.min():.4f}", f"{apart.mean():.3f}"]
        cells += [f"{milliseconds:.1f}" for milliseconds in film.milliseconds]
        print(f"| {film.name} | {width}×{height} | {len(near)} | {' | '.join(cells)} |", flush=True)


def decoded_films(clips: Path, decoding: Decoding) -> Iterator[Film]:
    """Those that can be decoded whole and have more than one frame."""
    for path in sorted(path for path in clips.iterdir() if path.suffix in FILMS):
        try:
            (native, slow), (resized, fast) = (timed_frames(path, decoding, size) for size in (None, SIZE))
        except VideoRejected as rejection:
            print(f"{path.name}: {rejection.reason}")
            continue
        if len(native) > 1:
            yield Film(path.name, native, resized, (slow, fast))


def network(model: str) -> Extract:
    """The features of a trained network, which resizes native frames itself."""
    ways = [Inception(model=KerasModel(keras=model), resize=resize) for resize in ("model", "decoder")]
    by_model, by_decoder = map(load, ways)

    def extract(film: Film) -> tuple[Float32Array, Float32Array]:
        native = [by_model(frame.rgb[np.newaxis])[0] for frame in film.native]
        return np.stack(native), by_decoder(np.stack([frame.rgb for frame in film.resized]))

    return extract


def dictionary(films: Sequence[Film]) -> Extract:
    """The features of patches of the films; native frames are resized as before a network."""
    pictures = [frame.rgb for film in films for frame in film.resized[::5]]
    learnt = PatchDictionary.learnt(np.stack(pictures), np.random.default_rng(0))
    bilinear = Inception(model=RandomModel(random=0), resize="model")

    def extract(film: Film) -> tuple[Float32Array, Float32Array]:
        native = [prepared(bilinear, frame.rgb[np.newaxis]).numpy()[0] for frame in film.native]
        return learnt((np.stack(native) + 1) * 127.5), learnt(np.stack([frame.rgb for frame in film.resized]))

    return extract


def timed_frames(path: Path, decoding: Decoding, size: int | None) -> tuple[list[SampledFrame], float]:
    """The frames of the grid, and the median of three decodings' CPU milliseconds per frame."""
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
