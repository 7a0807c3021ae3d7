"""The Beam shell of compression: stored train videos in, a fitted PCA and codebook on disk out.

Ids cross the shuffle; each unit of ids reads its features from the store and folds them into a monoid value. The
sums are exact, so that neither the units nor the order of merging change a bit of the fit.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias

import apache_beam as beam
import numpy as np
import numpy.typing as npt
from apache_beam.pvalue import AsSingleton

from yt8m_pipeline.chance import salted_hash
from yt8m_pipeline.compression.histogram import Histogram, Scope
from yt8m_pipeline.compression.moments import Magnitudes, Moments
from yt8m_pipeline.compression.pca import Pca
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.compression.whitening import Suitability, Whitening
from yt8m_pipeline.config import PcaConfig, QuantizerConfig
from yt8m_pipeline.data_model import StoredVideo
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.steps import Step, file_entry, step_key
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.interop.pca_formats import import_pca, require_dimensions
from yt8m_pipeline.jobs.build_plan import PcaImport
from yt8m_pipeline.jobs.journal import Journal
from yt8m_pipeline.store.feature_store import FeatureStore
from yt8m_pipeline.transforms.combiners import DigestOfSet, Sum
from yt8m_pipeline.transforms.monitoring import advance, timed

PCA = "pca"
QUANTIZER = "quantizer"

SAMPLE = 100
"""The number of train videos on which an imported PCA is tried: some 20,000 frames, 170 MB as float32."""

Features: TypeAlias = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Fitting:
    """What fitting needs: where the features are, where the results go, and whether they may change."""

    store: FeatureStore
    journal: Journal
    frozen: bool
    units: int

    def find(self, name: str, key: str) -> Step | None:
        """The finished step, or None if it must be fitted.

        Raises:
            DataError: if it must be fitted but is frozen (`rebuild-split`).
        """
        step = self.journal.find(name, key)
        if step is None and self.frozen:
            raise DataError(
                f"The {name} would change",
                self.journal.layout.root,
                "the train features or the config that it was fitted with are not those of the dataset",
                "run `yt8m build` to fit again and write every split",
            )
        return step


class FitPca(beam.PTransform):
    """PCollection[StoredVideo] of the train partition → PCollection[Step] of one: the saved PCA (paper §3.3)."""

    def __init__(self, fitting: Fitting, config: PcaConfig) -> None:
        super().__init__()
        self._fitting, self._config = fitting, config

    def expand(self, train: Any) -> Any:
        key = (
            train
            | "identities" >> beam.Map(lambda stored: f"{stored.video.video_id}\0{stored.entry.sha256}")
            | "digest" >> beam.CombineGlobally(DigestOfSet())
            | "key" >> beam.Map(self._key)
        )
        exponent = (
            train
            | "magnitudes" >> beam.Map(lambda stored: Magnitudes.of(stored.entry.magnitude, stored.video.video_id))
            | "all magnitudes" >> beam.CombineGlobally(Sum()).without_defaults()
            | "grid" >> beam.Map(Magnitudes.grid_exponent)
        )
        moments = (
            train
            | "units" >> IntoUnits(self._fitting.units)
            | "unless fitted" >> beam.FlatMap(_unless_fitted, self._fitting, PCA, AsSingleton(key))
            | "moments" >> beam.FlatMap(unit_moments, self._fitting.store, AsSingleton(exponent))
            | "sum" >> beam.CombineGlobally(Sum()).without_defaults()
        )
        return key | "fit" >> beam.Map(self._fit, AsSingleton(moments, default_value=None))

    def _key(self, features_digest: str) -> str:
        return step_key(PCA, features_digest, self._fitting.store.space, self._config.model_dump(exclude={"source"}))

    def _fit(self, key: str, moments: Moments | None) -> Step:
        step = self._fitting.find(PCA, key)
        if step or moments is None:
            return step or _no_train_frames(self._fitting)
        with timed(PCA):
            epsilon, share = self._config.absolute_epsilon or 0.0, self._config.relative_epsilon
            pca = Pca.fit(moments, components=self._config.components, epsilon=epsilon, relative_epsilon=share)
            Whitening.of(pca).require_most()
        return _save_pca(self._fitting, key, pca, {"source": "fitted", "frames": moments.count})


class ImportPca(beam.PTransform):
    """PCollection[StoredVideo] of the train partition → PCollection[Step] of one: a PCA learnt elsewhere (paper §5.4).

    Some train videos are read, to know whether the PCA suits their features.
    """

    def __init__(self, fitting: Fitting, config: PcaConfig, source: PcaImport) -> None:
        super().__init__()
        self._fitting, self._config, self._source = fitting, config, source

    def expand(self, train: Any) -> Any:
        hashed = train | beam.Map(lambda stored: (salted_hash(PCA, stored.video.video_id), stored.video.video_id))
        sample = hashed | beam.CombineGlobally(beam.combiners.TopCombineFn(SAMPLE, reverse=True)).without_defaults()
        return sample | "import" >> beam.Map(self._import)

    def _import(self, sample: Sequence[tuple[int, str]]) -> Step:
        store, config, source = self._fitting.store, self._config, self._source
        key = step_key(PCA, source.files, store.space, source.feature_space, config.model_dump(exclude={"source"}))
        step = self._fitting.find(PCA, key)
        if step:
            return step
        with timed(PCA):
            pca = import_pca(source.folder, config.components, config.absolute_epsilon)
            features = [store.read(video_id).features for _, video_id in sample]
            require_dimensions(pca, features[0].shape[1], source.folder)
            suits = Suitability.of(map(pca.transform, features)).facts()
        origin = {"source": "imported", "feature_space": source.feature_space, "on_train": suits}
        return _save_pca(self._fitting, key, pca, origin)


class FitQuantizer(beam.PTransform):
    """PCollection[StoredVideo] of train, and the PCA's step → PCollection[Step] of one: the codebook (paper §3.3)."""

    def __init__(self, fitting: Fitting, config: QuantizerConfig, pca: Any) -> None:
        super().__init__()
        self._fitting, self._config, self._pca = fitting, config, pca

    def expand(self, train: Any) -> Any:
        key = self._pca | "key" >> beam.Map(quantizer_key, self._config)
        fitted = train if self._config.method == "optimal" else train | "none" >> beam.Filter(lambda _: False)
        histogram = (
            fitted
            | "units" >> IntoUnits(self._fitting.units)
            | "unless fitted" >> beam.FlatMap(_unless_fitted, self._fitting, QUANTIZER, AsSingleton(key))
            | "histogram" >> beam.FlatMap(unit_histogram, self._fitting, self._config.scope, AsSingleton(self._pca))
            | "sum" >> beam.CombineGlobally(Sum()).without_defaults()
        )
        return key | "fit" >> beam.Map(self._fit, AsSingleton(histogram, default_value=None))

    def _fit(self, key: str, histogram: Histogram | None) -> Step:
        step = self._fitting.find(QUANTIZER, key)
        if step:
            return step
        with timed(QUANTIZER):
            quantizer = Quantizer.fit(histogram, self._config.levels) if histogram else Quantizer.uniform()
        return save_quantizer(self._fitting.journal, key, quantizer)


def quantizer_key(pca: Step, config: QuantizerConfig) -> str:
    return step_key(QUANTIZER, pca.key, config.model_dump())


def save_quantizer(journal: Journal, key: str, quantizer: Quantizer) -> Step:
    quantizer.save(journal.layout.path(Layout.QUANTIZER))
    facts = {
        "method": quantizer.name,
        "scope": quantizer.scope,
        "levels": quantizer.length,
        "feature_name": quantizer.feature_name,
        "fingerprint": quantizer.fingerprint,
    }
    return _record(journal, QUANTIZER, key, [Layout.QUANTIZER], facts)


class IntoUnits(beam.PTransform):
    """PCollection[StoredVideo] → PCollection[list[StoredVideo]]: units by hash of the id, each sorted by id."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self._units = units

    def expand(self, stored: Any) -> Any:
        return (
            stored
            | beam.Map(lambda item: (salted_hash("unit", item.video.video_id) % self._units, item))
            | beam.GroupByKey()
            | beam.MapTuple(lambda _, items: sorted(items, key=lambda item: item.video.video_id))
        )


def unit_moments(unit: Sequence[StoredVideo], store: FeatureStore, exponent: int) -> Iterator[Moments]:
    """The moments of all frames of a unit."""
    with timed(PCA):
        videos = _features(unit, store, PCA)
        first = next(videos)
        yield Moments.from_blocks(chain([first], videos), first.shape[1], exponent)


def unit_histogram(unit: Sequence[StoredVideo], fitting: Fitting, scope: Scope, pca_step: Step) -> Iterator[Histogram]:
    """The histogram of all whitened coefficients of a unit, of each dimension or of all as one.

    Each video is projected by itself, as when its codes are written: a matrix product's last bits depend on its rows.
    """
    with timed(QUANTIZER):
        pca = Pca.load(fitting.journal.layout.path(Layout.PCA), epsilon=pca_step.facts["epsilon"])
        blocks = map(pca.transform, _features(unit, fitting.store, QUANTIZER))
        exponents = pca.scale_exponents(scope)
        yield Histogram.from_blocks(blocks, len(exponents), exponents)


def _features(unit: Sequence[StoredVideo], store: FeatureStore, stage: str) -> Iterator[Features]:
    for stored in unit:
        yield store.read(stored.video.video_id).features
        advance(stage, frames=stored.entry.frames)


def _unless_fitted(
    unit: Sequence[StoredVideo], fitting: Fitting, name: str, key: str
) -> Iterator[Sequence[StoredVideo]]:
    if fitting.find(name, key) is None:
        yield unit
    else:
        advance(name, videos=len(unit))


def _save_pca(fitting: Fitting, key: str, pca: Pca, origin: dict[str, Any]) -> Step:
    pca.save(fitting.journal.layout.path(Layout.PCA))
    explained = float(pca.explained_variance_ratio.sum())
    facts = {
        "components": pca.components,
        "dimensions": len(pca.mean),
        "epsilon": pca.epsilon,
        "explained_variance_ratio": None if np.isnan(explained) else explained,
        "fingerprint": pca.fingerprint,
        "whitening": Whitening.of(pca).facts(),
        **origin,
    }
    return _record(fitting.journal, PCA, key, [f"{Layout.PCA}/{name}" for name in Pca.FILES], facts)


def _record(journal: Journal, name: str, key: str, paths: Iterable[str], facts: dict[str, Any]) -> Step:
    return journal.record(Step(name, key, tuple(file_entry(journal.layout, path) for path in paths), facts))


def _no_train_frames(fitting: Fitting) -> Step:
    raise DataError(
        "There is nothing to fit the PCA on",
        fitting.journal.layout.root,
        "the train partition has no frames",
        "see rejects.parquet for what was dropped and why; give more videos, or relax the thresholds in the config",
    )
