"""Whoever changes a byte that is fitted or written must raise the revision that stands beside the algorithm.

The steps of a build are known by a key that holds the revisions. If one of these digests changes and its revision does
not, a finished step would be taken for what the new code would make, and one dataset would hold two algorithms' bytes.
"""

import hashlib

import numpy as np

from yt8m_pipeline.compression import pca as pca_module
from yt8m_pipeline.compression import quantization
from yt8m_pipeline.compression.histogram import Histogram
from yt8m_pipeline.compression.moments import Moments, grid_exponent
from yt8m_pipeline.compression.pca import Pca
from yt8m_pipeline.compression.quantization import Quantizer

FRAMES = ((np.arange(640).reshape(64, 10) ** 2 % 97) / 7).astype(np.float32)
CODEBOOKS = [
    Quantizer(np.linspace(-3, 3, 16, dtype=np.float32), "optimal"),
    Quantizer((np.linspace(-1, 1, 16) * np.arange(1, 7)[:, np.newaxis]).astype(np.float32), "optimal"),
    Quantizer.uniform(),
]


def digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def test_a_changed_pca_has_another_revision() -> None:
    pca = Pca.fit(Moments.from_frames(FRAMES, grid_exponent(float(FRAMES.max()))), components=6, epsilon=1e-4)
    assert (pca_module.REVISION, pca.fingerprint[:16]) == (2, "a6433d02c9914134")


def test_a_changed_pca_of_few_vectors_has_another_revision() -> None:
    pca = Pca.fit_by_gram(FRAMES[:6], components=4, relative_epsilon=0.01)
    assert (pca_module.REVISION, pca.fingerprint[:16]) == (2, "4ec8ab43e6c4adf6")


def test_a_changed_codebook_has_another_revision() -> None:
    fitted = [Quantizer.fit(Histogram.from_values(FRAMES - 7, dimensions), 16) for dimensions in (1, 10)]
    fingerprints = [codebook.fingerprint.encode() for codebook in fitted]
    assert (quantization.FIT_REVISION, digest(*fingerprints)) == (2, "03d9036faf3b5fb7")


def test_changed_codes_have_another_revision() -> None:
    rows = np.sin(np.arange(60)).round(6).reshape(6, 10)
    pca = Pca(FRAMES.astype(np.float64)[0], np.arange(6.0)[::-1], rows, np.nan, 0.5)
    coefficients = pca.transform(FRAMES)
    codes = [codebook.encode(coefficients).tobytes() for codebook in CODEBOOKS]
    assert (quantization.ENCODE_REVISION, digest(coefficients.tobytes(), *codes)) == (2, "d642803040d77af8")
