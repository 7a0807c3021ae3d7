"""What the compression of paper §3.3 costs: full-size float features against PCA'd, whitened and quantized ones.

    python scripts/prove_compression.py --clips CLIP... --features CACHE.npz [--model FILE.keras]

Prints Markdown tables. The features are those of windows of real videos (any that `yt8m probe` accepts; those of
`yt8m demo` will do), and are kept in the cache. They come from a trained network, any that `inception.model: {keras:
FILE}` takes, or without one from a dictionary of 2,048 patches learnt from the videos (`patch_dictionary`): like
pool_3 they are means over the picture of rectified answers: non-negative, sparse, heavy-tailed and correlated. A random
Inception-V3 will not do: its features are nearly of rank 1.

A class is one of 3 × 3 cells of one clip, a video is one class in one of 10 time slices of its clip, a frame is a
square window with its centre in the cell, of 0.3 to 0.7 of its shorter side, of a random frame of the slice and
mirrored or not. The slices are dealt to five splits: each in turn is held out for the test, the next one chooses the
strength of the classifier's regularisation, and on the other three PCA, codebooks and classifier are fitted.

Half the dimensions and one byte for each make a frame 8 times smaller. What the PCA costs (float coefficients against
full-size features) and what the codes cost on top of it are told apart:

- variance lost: |x − x'|² / |x − mean of train|² of the features x' that are put together again from the codes;
- coefficient error: |y − y'|² / |y|² of the whitened coefficients;
- k-NN agreement: the share of a held-out frame's 10 nearest train frames of other classes, hence of other clips or
  places, that stay among the 10. Nearest by cosine, as retrieval does. Features: against full-size ones, after putting
  together; coefficients: against float ones, as stored (whitening changes all distances, on purpose);
- frame accuracy, and Hit@1 and mAP of videos whose scores are the means of their frames' (§4.1.1, §5.1; the average
  precision without its binning of scores), by multinomial logistic regression on standardised input.

It shows what the codes lose where classes are hard to tell, not what 4,800 classes and millions of videos lose: the
clips are few, and held-out videos show the same scenes at other times. It is unfair to whitening, whose last dimensions
are noisier on held-out frames the fewer the train frames are, and to codebooks per dimension, which need far more train
frames than levels. A loss within the spread of the splits is none.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from itertools import islice, product
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from patch_dictionary import PatchDictionary
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, log_loss
from sklearn.preprocessing import StandardScaler, normalize
from threadpoolctl import threadpool_limits

from yt8m_pipeline.compression.histogram import Histogram
from yt8m_pipeline.compression.moments import Moments, grid_exponent
from yt8m_pipeline.compression.pca import PUBLISHED_EPSILON, Pca
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.compression.whiteness import Whitening
from yt8m_pipeline.config import Decoding, Inception, KerasModel, RelativeEpsilon
from yt8m_pipeline.data_model import Float32Array, Float64Array, Int64Array, UInt8Array
from yt8m_pipeline.decoding.frames import decode_frames
from yt8m_pipeline.extraction.inception import load
from yt8m_pipeline.report.figures import plot_codebook

Transform: TypeAlias = Callable[[Float32Array], Float32Array]
Extractor: TypeAlias = Callable[[UInt8Array], Float32Array]
Measures: TypeAlias = dict[str, float]

GRID, SLICES, SPLITS = 3, 10, 5
WINDOW_SIDES = 0.3, 0.7
NEIGHBOURS = 10
PATCHES_WINDOW = 64
"""Height and width of the windows that a dictionary of patches sees, pixels."""
STRENGTHS = 1e-3, 1e-2, 1e-1, 1.0
TRUE_WHITENING, PUBLISHED = "true whitening to 1 %", "epsilon 1e-4"
"""What is added to the eigenvalues: our default, and the public extractor's."""
FULL_SIZE, FLOAT_PCA, FLOAT16 = "full size, float32", "PCA + whitening, float32", "the same of float16 features"
FIDELITY = "variance lost", "coefficient error", "k-NN agreement, features", "k-NN agreement, coefficients"
SCORES = "frame accuracy", "video Hit@1", "video mAP"


@dataclass(frozen=True, eq=False, slots=True)
class Frames:
    """Features and what they show.

    Attributes:
        features: float32, (frames, dimensions).
        classes: int64, (frames,).
        slices: int64, (frames,), of time, 0 to SLICES − 1. Class and slice make the video.
    """

    features: Float32Array
    classes: Int64Array
    slices: Int64Array

    def __getitem__(self, chosen: npt.NDArray[np.bool_]) -> "Frames":
        return Frames(self.features[chosen], self.classes[chosen], self.slices[chosen])

    def replaced(self, features: Float32Array) -> "Frames":
        """The same frames with other features."""
        return Frames(features, self.classes, self.slices)


@dataclass(frozen=True, eq=False, slots=True)
class Split:
    """Three sets of frames, of different videos."""

    train: Frames
    validate: Frames
    test: Frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, nargs="+", default=[], help="videos of different content")
    parser.add_argument("--model", help="a Keras file of an Inception-V3 with trained weights, if you have one")
    parser.add_argument("--image-size", type=int, default=299)
    parser.add_argument("--frames", type=int, default=8, help="of a video")
    parser.add_argument("--features", type=Path, required=True, help="the cache; read instead of clips where it exists")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--splits", type=int, default=SPLITS, help="how many of the splits to measure")
    parser.add_argument(
        "--whitening", action="store_true", help="compare true whitening with the public epsilon, and end"
    )
    parser.add_argument("--plot", type=Path, help="draw the shared codebook of the first split, as PNG, and end")
    options = parser.parse_args()
    if not options.features.exists():
        if not options.clips:
            parser.error(f"{options.features} does not exist: give the --clips to make it of")
        if options.model:
            extractor: Extractor = load(Inception(model=KerasModel(keras=options.model), image_size=options.image_size))
        else:
            options.image_size = PATCHES_WINDOW
            extractor = learnt_dictionary(options.clips, options.seed)
        frames = extracted(options.clips, extractor, options.image_size, options.frames, options.seed)
        with options.features.open("xb") as stream:
            np.savez(stream, **asdict(frames))
    with np.load(options.features, allow_pickle=False) as arrays:
        frames = Frames(**arrays)
    with threadpool_limits(limits=1):
        if options.plot:
            options.plot.write_bytes(drawn(next(splits(frames, options.seed))))
            return
        describe(frames)
        chosen = islice(splits(frames, options.seed), options.splits)
        if options.whitening:
            compare_whitening([whitenings(split) for split in chosen])
            return
        report([measured(split) for split in chosen], frames.features.shape[1])


def learnt_dictionary(clips: Sequence[Path], seed: int) -> PatchDictionary:
    """Of two windows of each video."""
    random = np.random.default_rng(seed)
    places = np.repeat(np.arange(GRID**2 * SLICES), 2)
    pictures = [window for clip in clips for window in windows(clip, places, PATCHES_WINDOW, random)]
    return PatchDictionary.learnt(np.stack(pictures), random)


def extracted(clips: Sequence[Path], extractor: Extractor, size: int, frames: int, seed: int) -> Frames:
    """So many frames of each video of each clip."""
    random = np.random.default_rng(seed)
    places = np.repeat(np.arange(GRID**2 * SLICES), frames)
    features = [extractor(np.stack(list(windows(clip, places, size, random)))) for clip in clips]
    classes = [index * GRID**2 + places // SLICES for index in range(len(clips))]
    return Frames(np.concatenate(features), np.concatenate(classes), np.tile(places % SLICES, len(clips)))


def windows(clip: Path, places: Int64Array, size: int, random: np.random.Generator) -> Iterator[UInt8Array]:
    """uint8, (size, size, 3): a random window for each place, which is cell · SLICES + slice."""
    with clip.open("rb") as stream:
        pictures = [frame.rgb for frame in decode_frames(stream, Decoding(frames_per_second=10, max_seconds=12))]
    for cell, time_slice in zip(*divmod(places, SLICES), strict=True):
        picture = Image.fromarray(pictures[int((time_slice + random.random()) / SLICES * len(pictures))])
        side = min(picture.size) * random.uniform(*WINDOW_SIDES)
        centre = (np.array([cell % GRID, cell // GRID]) + random.random(2)) / GRID * picture.size
        left, top = np.clip(centre - side / 2, 0, np.array(picture.size) - side)
        box = left, top, left + side, top + side
        window = np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR, box))
        yield window[:, :: random.choice([-1, 1])]


def splits(frames: Frames, seed: int) -> Iterator[Split]:
    """Each slice of time is held out once."""
    split_of_slice = np.random.default_rng(seed).permutation(np.arange(SLICES) % SPLITS)
    turns = split_of_slice[frames.slices]
    for held_out in range(SPLITS):
        distance = (turns - held_out) % SPLITS
        yield Split(frames[distance > 1], frames[distance == 1], frames[distance == 0])


def quantizers(coefficients: Float32Array) -> dict[str, Quantizer]:
    """Fitted to float32 (frames, components)."""
    return {
        "`optimal`, shared": Quantizer.fit(Histogram.from_values(coefficients)),
        "`optimal`, per dimension": Quantizer.fit(Histogram.from_values(coefficients, coefficients.shape[1])),
        "`uniform`": Quantizer.uniform(),
    }


def fitted(features: Float32Array) -> Pca:
    """A PCA of features to half their dimensions, whitening to 1 %."""
    moments = Moments.from_frames(features, grid_exponent(float(np.abs(features).max())))
    return Pca.fit(moments, components=moments.dimensions // 2, relative_epsilon=RelativeEpsilon().relative)


def whitenings(split: Split) -> dict[str, Measures]:
    """What each epsilon costs: how white it makes the coefficients, and what they and their codes keep."""
    white = fitted(split.train.features)
    return {
        TRUE_WHITENING: whitening(split, white),
        PUBLISHED: whitening(split, replace(white, epsilon=PUBLISHED_EPSILON)),
    }


def whitening(split: Split, pca: Pca) -> Measures:
    whitened = transformed(split, pca.transform)
    decoded = coded(whitened, Quantizer.fit(Histogram.from_values(whitened.train.features)))
    found = Whitening.of(pca)
    return {
        "components below epsilon": found.components_below_epsilon,
        "least whitened variance": found.minimum,
        "mean whitened variance": found.mean,
        "k-NN agreement with full size": agreement(neighbours(split), neighbours(whitened)),
        "variance on test frames": squared(whitened.test.features) / whitened.test.features.size,
        **coefficients_kept(whitened, decoded),
        **features_kept(split, reassembled(decoded, pca)),
        **scores(decoded),
    }


def compare_whitening(results: Sequence[Mapping[str, Measures]]) -> None:
    print(f"mean (least to most) of {len(results)} splits, codes of the shared codebook\n")
    ways = TRUE_WHITENING, PUBLISHED
    rows = [(measure, *(cell(results, name, measure) for name in ways)) for measure in results[0][PUBLISHED]]
    table(("measure", *ways), rows)


def measured(split: Split) -> dict[str, Measures]:
    """What each way to store a frame costs, all fitted on train and measured on test."""
    pca = fitted(split.train.features)
    whitened = transformed(split, pca.transform)
    found = quantizers(whitened.train.features)
    halved = transformed(split, lambda values: pca.transform(values.astype(np.float16)))
    ways = {FLOAT_PCA: whitened, FLOAT16: halved} | {
        name: coded(whitened, quantizer) for name, quantizer in found.items()
    }
    return {FULL_SIZE: features_kept(split, split) | scores(split)} | {
        name: features_kept(split, reassembled(way, pca)) | coefficients_kept(whitened, way) | scores(way)
        for name, way in ways.items()
    }


def drawn(split: Split) -> bytes:
    """The shared codebook, against the density of the coefficients that it was fitted to."""
    pca = fitted(split.train.features)
    histogram = Histogram.from_values(pca.transform(split.train.features))
    title = f"256 optimal levels for {histogram.count:,} whitened coefficients"
    return plot_codebook(histogram.bucket_counts[0], Quantizer.fit(histogram).levels, title, "png")


def transformed(split: Split, transform: Transform) -> Split:
    """The split with each set's features transformed: float32 (frames, …) → float32 (frames, …)."""
    return Split(*(part.replaced(transform(part.features)) for part in (split.train, split.validate, split.test)))


def coded(whitened: Split, quantizer: Quantizer) -> Split:
    """The coefficients that a reader gets back."""
    return transformed(whitened, lambda values: quantizer.decode(quantizer.encode(values)))


def reassembled(whitened: Split, pca: Pca) -> Split:
    """The features of coefficients: the inverse of `Pca.transform`, as far as there is one."""
    scale = np.sqrt(pca.eigenvalues + pca.epsilon)
    return transformed(whitened, lambda values: (values * scale @ pca.eigenvectors + pca.mean).astype(np.float32))


def features_kept(full: Split, rebuilt: Split) -> Measures:
    """Of full-size features in those that were put together again."""
    centre = full.train.features.mean(axis=0, dtype=np.float64)
    lost = squared(full.test.features - rebuilt.test.features) / squared(full.test.features - centre)
    return {"variance lost": lost, "k-NN agreement, features": agreement(neighbours(full), neighbours(rebuilt))}


def coefficients_kept(whitened: Split, decoded: Split) -> Measures:
    """Of whitened coefficients in decoded ones."""
    error = squared(decoded.test.features - whitened.test.features) / squared(whitened.test.features)
    kept = agreement(neighbours(whitened), neighbours(decoded))
    return {"coefficient error": error, "k-NN agreement, coefficients": kept}


def squared(values: npt.NDArray[np.floating]) -> float:
    """The sum of the squares."""
    return float(np.square(values, dtype=np.float64).sum())


def neighbours(split: Split) -> Int64Array:
    """int64, (test frames, NEIGHBOURS): the nearest train frames of other classes by cosine, the first of a tie."""
    similarities = normalize(split.test.features) @ normalize(split.train.features).T
    similarities[split.test.classes[:, np.newaxis] == split.train.classes] = -np.inf
    nearest: Int64Array = np.argsort(-similarities, axis=1, kind="stable")[:, :NEIGHBOURS]
    return nearest


def agreement(first: Int64Array, second: Int64Array) -> float:
    """The mean share of a row of the first that is in the same row of the second."""
    return float((first[:, :, np.newaxis] == second[:, np.newaxis, :]).any(axis=2).mean())


def scores(split: Split) -> Measures:
    """Of a linear classifier of the frames, its regularisation chosen on validate."""
    scaler = StandardScaler().fit(split.train.features)
    scaled = transformed(split, scaler.transform)
    classifier = LogisticRegression(warm_start=True, max_iter=1000, tol=1e-3)
    best, least = classifier, np.inf
    for strength in STRENGTHS:
        classifier.set_params(C=strength).fit(scaled.train.features, scaled.train.classes)
        loss = log_loss(scaled.validate.classes, classifier.predict_proba(scaled.validate.features))
        if loss > least:
            break
        best, least = deepcopy(classifier), loss
    return metrics(best.predict_proba(scaled.test.features), split.test)


def metrics(probabilities: Float64Array, frames: Frames) -> Measures:
    """Of the probabilities of the classes of frames, (frames, classes), and of their means over videos (§5.1)."""
    videos = frames.classes * SLICES + frames.slices
    _, first, video_of_frame = np.unique(videos, return_index=True, return_inverse=True)
    means = np.stack([probabilities[video_of_frame == video].mean(axis=0) for video in range(len(first))])
    labels = frames.classes[first]
    relevant = labels[:, np.newaxis] == np.arange(probabilities.shape[1])
    return {
        "frame accuracy": float((probabilities.argmax(axis=1) == frames.classes).mean()),
        "video Hit@1": float((means.argmax(axis=1) == labels).mean()),
        "video mAP": float(average_precision_score(relevant, means, average="macro")),
    }


def describe(frames: Frames) -> None:
    """Prints what makes these features like pool_3, or not."""
    features = frames.features.astype(np.float64)
    deviations = features - features.mean(axis=0)
    spectrum = np.linalg.eigvalsh(deviations.T @ deviations)[::-1].cumsum()
    one, ten, half = spectrum[[0, 9, len(spectrum) // 2 - 1]] / spectrum[-1]
    varying = deviations[:, deviations.any(axis=0)]
    kurtosis = ((varying / varying.std(axis=0)) ** 4).mean()
    print(
        f"{len(features)} frames, {frames.classes.max() + 1} classes, {features.shape[1]} features >= {features.min()};"
    )
    print(f"zero: {(features == 0).mean():.1%}; kurtosis: {kurtosis:.0f}; variance in the first component: {one:.1%},")
    print(f"in the first 10: {ten:.1%}, in the first half: {half:.2%}")


def report(results: Sequence[Mapping[str, Measures]], dimensions: int) -> None:
    print(f"mean (least to most) of {len(results)} splits\n")
    size = dict.fromkeys(results[0], dimensions // 2) | {
        FULL_SIZE: 4 * dimensions,
        FLOAT_PCA: 2 * dimensions,
        FLOAT16: 2 * dimensions,
    }
    for head, measures in (("kept", FIDELITY), ("scores", SCORES)):
        cells = [(name, f"{size[name]:,}", *(cell(results, name, measure) for measure in measures)) for name in size]
        table((head, "bytes", *measures), cells)
    pairs = [(FLOAT_PCA, FULL_SIZE), *product(list(size)[2:], (FLOAT_PCA, FULL_SIZE))]
    rows = [(*pair, *(loss(results, *pair, measure) for measure in SCORES)) for pair in pairs]
    table(("loss in % (paper: < 1)", "against", *SCORES), rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for row in (head, ["---", *["---:"] * (len(head) - 1)], *rows):
        print("| " + " | ".join(row) + " |")
    print()


def cell(results: Sequence[Mapping[str, Measures]], name: str, measure: str) -> str:
    values = [split[name][measure] for split in results if measure in split[name]]
    return f"{np.mean(values):.3g} ({min(values):.3g} to {max(values):.3g})" if values else "–"


def loss(results: Sequence[Mapping[str, Measures]], name: str, base: str, measure: str) -> str:
    """By how much a way is worse than another on the same split, relative to that."""
    values = [100 * (1 - split[name][measure] / split[base][measure]) for split in results]
    return f"{np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
