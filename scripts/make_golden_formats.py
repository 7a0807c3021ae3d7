"""Writes a file of each format that a release has, which every later version must read.

    PYTHONPATH=. python scripts/make_golden_formats.py tests/golden_formats/VERSION

Run it once, with the code of the release. The store has the features, thumbnails and duration of the video `guitar` and
the failure of `broken`; the PCA and the codebooks are fitted to the same frames; the dataset is that of the tests, with
the feature set, the export and the model that are made of it.
"""

import shutil
import sys
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tests.conftest import Workshop, make_workshop
from yt8m_pipeline import build, features, load_config, train
from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.baselines.saved import BEST, CARD
from yt8m_pipeline.compression.histogram import Histogram
from yt8m_pipeline.compression.moments import Moments, grid_exponent
from yt8m_pipeline.compression.pca import Pca
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.config import Decoding, Inception, RandomModel
from yt8m_pipeline.data_model import MediaFile
from yt8m_pipeline.decoding.damage import conditions
from yt8m_pipeline.decoding.facts import SampledFrame
from yt8m_pipeline.decoding.thumbnails import Strip
from yt8m_pipeline.extraction.inception import describe
from yt8m_pipeline.jobs.trainer_export import export_for_trainers
from yt8m_pipeline.store.durations import DurationCache, shelf_of
from yt8m_pipeline.store.failures import Source
from yt8m_pipeline.store.feature_store import open_store, place
from yt8m_pipeline.store.features import VideoFeatures
from yt8m_pipeline.store.thumbnails import Thumbnails
from yt8m_pipeline.transforms.extraction import remember

WHEN = "2016-09-28T00:00:00+00:00"

DESCRIPTION = {
    **describe(Inception(model=RandomModel(random=1))),
    "frames_per_second": 1.0,
    "max_seconds": 360.0,
    "sampling": "exact",
    "damage": "strict",
    "decoder": "av 18",
    "resize": "decoder, area, 299x299",
}
"""The feature space of the paper's grid under a random network, as version 0.1.0 described it."""


FRAMES = (np.arange(96).reshape(16, 6) ** 2 % 37).astype(np.float32)
"""What the PCA and the codebooks are fitted to."""

CONDITIONS = {"decoder": "av 18", "revision": 1}
"""What the duration was measured under."""


def write_golden_formats(root: Path) -> None:
    write_store(root / "store")
    write_artefacts(root)
    dataset, model = str(root / "dataset"), root / "model"
    with TemporaryDirectory() as scratch:
        shutil.copytree(build_dataset(Path(scratch)), dataset, ignore=shutil.ignore_patterns(".*"))
        train("logistic", dataset, f"{scratch}/trained", settings=["epochs=1"], small=True)
        model.mkdir()
        for name in (CARD, BEST):
            shutil.copy(f"{scratch}/trained/{name}", model)
    features(dataset, str(root / "features"), components=4)
    export_for_trainers(dataset, str(root / "export"), "npy", "codes")


def write_store(root: Path) -> None:
    store = open_store(str(root), DESCRIPTION)
    guitar, broken = (
        Source(f"gs://corpus/{name}.mp4", size, WHEN) for name, size in (("guitar", 123456), ("broken", 99))
    )
    values = (np.arange(12) / 8 - 1).reshape(3, 4).astype(np.float16)
    media = MediaFile("mov,mp4,m4a,3gp,3g2,mj2", "h264", guitar.size, 64, 48, 25.0, 60, 41)
    kept = VideoFeatures("guitar", values, np.array([0.0, 0.96, 2.0]))
    written = store.write(kept, guitar, 0.75, Fraction(1), "HLG", media)
    remember((place("guitar")[0], [("guitar", written)]), store)
    rejection = VideoRejected(DropReason.TRUNCATED, "it ends at 3 s", 0.25)
    store.write_failure("broken", broken, conditions(Decoding()), rejection)
    strip = Strip(2)
    greys = [SampledFrame(k, float(k), np.full((48, 64, 3), 50 + 100 * k, np.uint8), aspect=4 / 3) for k in range(2)]
    assert len([*strip.watching(greys)]) == strip.count
    Thumbnails(store.root).write("guitar", guitar, strip.count, strip.to_jpeg())
    durations = DurationCache(store.root, CONDITIONS).shelf(shelf_of(guitar.uri))
    durations.remember(guitar, 212.5)
    durations.save()


def write_artefacts(root: Path) -> None:
    pca = Pca.fit(Moments.from_frames(FRAMES, grid_exponent(float(FRAMES.max()))), components=4, epsilon=1e-4)
    pca.save(str(root / "pca"))
    coefficients = pca.transform(FRAMES)
    for name, dimensions in (("quantizer", 1), ("quantizer_per_dimension", 4)):
        Quantizer.fit(Histogram.from_values(coefficients, dimensions), 5).save(str(root / f"{name}.npz"))


def build_dataset(folder: Path) -> str:
    make_workshop(folder)
    workshop = Workshop.of(folder)
    return build(load_config(str(workshop.config(folder)))).plan.layout.root


if __name__ == "__main__":
    write_golden_formats(Path(sys.argv[1]))
