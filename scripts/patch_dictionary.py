"""Features learnt from pictures without labels or downloads: one layer of filters (Coates, Lee and Ng 2011)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from yt8m_pipeline.data_model import Float32Array, UInt8Array

FILTERS, PATCH, STRIDE = 2048, 8, 4
ACTIVE = 0.01
"""The share of a filter's answers that are above its threshold."""


@dataclass(frozen=True, eq=False, slots=True)
class PatchDictionary:
    """The means over a picture of the rectified answers of filters: of how much more than most patches each is like it.

    Attributes:
        mean: float32, (3 · PATCH²,), of normalised patches.
        filters: float32, (3 · PATCH², FILTERS): whitened patches, whitening included.
        thresholds: float32, (FILTERS,): what an answer must exceed.
    """

    mean: Float32Array
    filters: Float32Array
    thresholds: Float32Array

    @classmethod
    def learnt(cls, pictures: UInt8Array, random: np.random.Generator) -> "PatchDictionary":
        """Of uint8 (pictures, height, width, 3), whose patches must be many more than FILTERS."""
        found = random.permutation(patches(pictures).reshape(-1, 3 * PATCH**2))[: 20 * FILTERS]
        mean = found.mean(axis=0)
        values, vectors = np.linalg.eigh(np.cov(found, rowvar=False))
        whitening = (vectors / np.sqrt(values + 0.1)) @ vectors.T
        chosen = (found[:FILTERS] - mean) @ whitening
        filters = (whitening @ (chosen / np.linalg.norm(chosen, axis=1, keepdims=True)).T).astype(np.float32)
        answers = (found[FILTERS : 4 * FILTERS] - mean) @ filters
        return cls(mean, filters, np.quantile(answers, 1 - ACTIVE, axis=0).astype(np.float32))

    def __call__(self, pictures: npt.NDArray[Any]) -> Float32Array:
        """float32, (pictures, FILTERS), of pictures in 0 … 255, (pictures, height, width, 3)."""
        return np.stack([self._features(patches(picture[np.newaxis])[0]) for picture in pictures])

    def _features(self, found: Float32Array) -> Float32Array:
        features: Float32Array = np.maximum((found - self.mean) @ self.filters - self.thresholds, 0).mean(axis=0)
        return features


def patches(pictures: npt.NDArray[Any]) -> Float32Array:
    """float32, (pictures, places, 3 · PATCH²): each patch less its mean, over its standard deviation."""
    every = np.lib.stride_tricks.sliding_window_view(pictures, (PATCH, PATCH), axis=(1, 2))[:, ::STRIDE, ::STRIDE]
    found = every.reshape(len(pictures), -1, 3 * PATCH**2).astype(np.float32)
    deviations = found - found.mean(axis=2, keepdims=True)
    normalised: Float32Array = deviations / np.sqrt(found.var(axis=2, keepdims=True) + 10)
    return normalised
