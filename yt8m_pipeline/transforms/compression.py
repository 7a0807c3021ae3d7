"""The Beam shell of compression: stored train videos in, a fitted PCA and codebook on disk out.

Ids cross the shuffle; each unit of ids reads its features from the store and folds them into a monoid value. The
sums are exact, so that neither the units nor the order of merging change a bit of the fit.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from typing import Any, TypeAlias

import apache_beam as beam
import numpy as np
import numpy.typing as npt
from apache_beam.pvalue import AsSingleton, PCollection
from apache_beam.transforms.combiners import TopCombineFn

from yt8m_pipeline.chance import salted_hash
from yt8m_pipeline.compression.histogram import Histogram, Scope
from yt8m_pipeline.compression.moments import Magnitudes, Moments
from yt8m_pipeline.compression.pca import REVISION as PCA_REVISION
from yt8m_pipeline.compression.pca import Pca, components_for
from yt8m_pipeline.compression.quantization import FIT_REVISION, Quantizer
from yt8m_pipeline.compression.whiteness import Suitability, Whitening
from yt8m_pipeline.config import Parallelism, PcaConfig, QuantizerConfig
from yt8m_pipeline.data_model import StoredVideo
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.steps import (
    PCA,
    QUANTIZER,
    CodebookFacts,
    CodebookStep,
    FileEntry,
    PcaFacts,
    PcaStep,
    Step,
    file_entry,
    require_intact,
    step_key,
)
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.interop.pca_formats import import_pca, require_dimensions
from yt8m_pipeline.jobs.imports import CodebookImport, PcaImport
from yt8m_pipeline.jobs.journal import Journal
from yt8m_pipeline.store.feature_store import FeatureStore
from yt8m_pipeline.transforms.combiners import AddUp, DigestOfSet, Sum
from yt8m_pipeline.transforms.monitoring import advance, say, timed
from yt8m_pipeline.transforms.steps import FlatMap, Map

SAMPLE = 100
"""The number of train videos on which an imported PCA is tried: some 20,000 frames, 170 MB as float32."""

NOTHING: Mapping[str, Any] = {}

Features: TypeAlias = npt.NDArray[np.floating]
Unit: TypeAlias = list[StoredVideo]
"""The train videos that one worker folds into one value, sorted by id."""


@dataclass(frozen=True, slots=True)
class Fitting:
    """What fitting needs: where the features are, where the results go, and whether they may change.

    Attributes:
        store: Where the features of the train videos are.
        journal: What is fitted already.
        frozen: Whether nothing may be fitted anew (`rebuild-split`).
        parallelism: Into how many units the train videos are divided, and how many partial sums there are.
    """

    store: FeatureStore
    journal: Journal
    frozen: bool
    parallelism: Parallelism

    @property
    def layout(self) -> Layout:
        return self.journal.layout

    def find(self, name: str, key: str) -> Step | None:
        """The finished step, or None if it must be fitted.

        Raises:
            DataError: if it must be fitted but is frozen.
        """
        step = self.journal.find(name, key, intact=True)
        if step is None and self.frozen:
            raise DataError(
                what=f"The {name} would change",
                where=self.layout.root,
                why="the train features or the config that it was fitted with are not those of the dataset",
                fix="run `yt8m build` to fit again and write every partition",
            )
        return step


@dataclass
class FitPca(beam.PTransform[PCollection[StoredVideo], PCollection[Step]]):
    """PCollection[StoredVideo] of the train partition → PCollection[Step] of one: the saved PCA (paper §3.3)."""

    fitting: Fitting
    config: PcaConfig

    def expand(self, train: PCollection[StoredVideo]) -> PCollection[Step]:
        fitting, config = self.fitting, self.config
        frames = train | "frames" >> Map(_frames) | "all frames" >> beam.CombineGlobally(sum)
        key = (
            train
            | "identities" >> Map(_identity)
            | "digest" >> beam.CombineGlobally(DigestOfSet()).without_defaults()
            | "key" >> Map(pca_key, fitting.store.space, config, AsSingleton(frames))
        )
        exponent = (
            train
            | "magnitudes" >> Map(_magnitude)
            | "all magnitudes" >> beam.CombineGlobally(Sum()).without_defaults()
            | "grid" >> Map(Magnitudes.grid_exponent)
        )
        moments = (
            train
            | "units" >> IntoUnits(fitting.parallelism.fitting_units)
            | "unless fitted" >> FlatMap(_unless_fitted, fitting, PCA, AsSingleton(key))
            | "moments" >> FlatMap(unit_moments, fitting.store, AsSingleton(exponent))
            | "sum" >> AddUp(fitting.parallelism.accumulators)
        )
        return key | "fit" >> Map(_fit_pca, AsSingleton(moments, default_value=None), fitting, config)


def pca_key(features_digest: str, space: str, config: PcaConfig, frames: int) -> str:
    """The key of a PCA that is fitted on features with this digest, and of so many frames."""
    values = config.model_dump(exclude={"source"}) | {"components": config.number or components_for(frames)}
    return step_key(PCA, PCA_REVISION, features_digest, space, values)


def _frames(stored: StoredVideo) -> int:
    return stored.entry.frames


def _identity(stored: StoredVideo) -> str:
    return f"{stored.video.video_id}\0{stored.entry.sha256}"


def _magnitude(stored: StoredVideo) -> Magnitudes:
    return Magnitudes.of(stored.entry.magnitude, stored.video.video_id)


def _fit_pca(key: str, moments: Moments | None, fitting: Fitting, config: PcaConfig) -> Step:
    step = fitting.find(PCA, key)
    if step:
        return step
    assert moments  # noqa: S101  `TrainIsEnough` lets no build pass whose train partition has no frames
    say(f"the PCA is fitted to {moments.count} frames, which takes up to a minute at 2,048 dimensions")
    with timed(PCA):
        epsilon, share = config.absolute_epsilon or 0.0, config.relative_epsilon
        components = config.number or min(components_for(moments.count), moments.dimensions)
        pca = Pca.fit(moments, components=components, epsilon=epsilon, relative_epsilon=share)
        Whitening.of(pca).require_most()
    return save_pca(fitting.journal, key, pca, "fitted", {"frames": moments.count})


@dataclass
class ImportPca(beam.PTransform[PCollection[StoredVideo], PCollection[Step]]):
    """PCollection[StoredVideo] of the train partition → PCollection[Step] of one: a PCA learnt elsewhere (paper §5.4).

    Some train videos are read, to know whether the PCA suits their features.
    """

    fitting: Fitting
    config: PcaConfig
    source: PcaImport

    def expand(self, train: PCollection[StoredVideo]) -> PCollection[Step]:
        hashed = train | "hash" >> Map(_hashed_id)
        sample = hashed | "sample" >> beam.CombineGlobally(TopCombineFn(SAMPLE, reverse=True)).without_defaults()
        return sample | "import" >> Map(_import_pca, self.fitting, self.config, self.source)


def _hashed_id(stored: StoredVideo) -> tuple[str, str]:
    return f"{salted_hash(PCA, stored.video.video_id):016x}", stored.video.video_id


def _video_id(stored: StoredVideo) -> str:
    return stored.video.video_id


def _import_pca(sample: Sequence[tuple[str, str]], fitting: Fitting, config: PcaConfig, source: PcaImport) -> Step:
    store = fitting.store
    key = step_key(
        PCA, PCA_REVISION, source.files, store.space, source.feature_space, config.model_dump(exclude={"source"})
    )
    step = fitting.find(PCA, key)
    if step:
        return step
    with timed(PCA):
        pca = import_pca(source.folder, config.number, config.absolute_epsilon)
        features = [store.read(video_id).features for _, video_id in sample]
        require_dimensions(pca, features[0].shape[1], source.folder)
        suits = Suitability.of(map(pca.transform, features)).facts()
    return save_pca(fitting.journal, key, pca, "imported", {"feature_space": source.feature_space, "on_train": suits})


@dataclass
class FitQuantizer(beam.PTransform[PCollection[StoredVideo], PCollection[Step]]):
    """PCollection[StoredVideo] of train, and the PCA's step → PCollection[Step] of one: the codebook (paper §3.3)."""

    fitting: Fitting
    config: QuantizerConfig
    pca: PCollection[Step]

    def expand(self, train: PCollection[StoredVideo]) -> PCollection[Step]:
        fitting, config = self.fitting, self.config
        key = self.pca | "key" >> Map(quantizer_key, config)
        if config.method == "uniform":
            return key | "save" >> Map(_fit_quantizer, None, fitting, config)
        histogram = (
            train
            | "units" >> IntoUnits(fitting.parallelism.fitting_units)
            | "unless fitted" >> FlatMap(_unless_fitted, fitting, QUANTIZER, AsSingleton(key))
            | "histogram" >> FlatMap(unit_histogram, fitting, config.scope, AsSingleton(self.pca))
            | "sum" >> AddUp(fitting.parallelism.accumulators)
        )
        return key | "fit" >> Map(_fit_quantizer, AsSingleton(histogram, default_value=None), fitting, config)


def quantizer_key(pca: Step, config: QuantizerConfig) -> str:
    """The key of a codebook for the coefficients of a PCA."""
    return step_key(QUANTIZER, FIT_REVISION, pca.key, pca.digest, config.model_dump(exclude={"source"}))


def _fit_quantizer(key: str, histogram: Histogram | None, fitting: Fitting, config: QuantizerConfig) -> Step:
    step = fitting.find(QUANTIZER, key)
    if step:
        return step
    with timed(QUANTIZER):
        quantizer = Quantizer.fit(histogram, config.levels) if histogram else Quantizer.uniform()
    return save_quantizer(fitting.journal, key, quantizer)


@dataclass
class ImportQuantizer(beam.PTransform[PCollection[Step], PCollection[Step]]):
    """PCollection[Step] of the PCA → PCollection[Step] of one: a codebook learnt elsewhere (paper §5.4)."""

    fitting: Fitting
    source: CodebookImport

    def expand(self, pca: PCollection[Step]) -> PCollection[Step]:
        return pca | "import" >> Map(_import_quantizer, self.fitting, self.source)


def _import_quantizer(pca: Step, fitting: Fitting, source: CodebookImport) -> Step:
    key = step_key(QUANTIZER, source.fingerprint, source.origin, pca.key, pca.digest)
    step = fitting.find(QUANTIZER, key)
    if step:
        return step
    return save_quantizer(fitting.journal, key, source.load(), {"source": "imported", **source.origin})


def save_quantizer(journal: Journal, key: str, quantizer: Quantizer, origin: Mapping[str, Any] = NOTHING) -> Step:
    """Writes the codebook of a dataset, and records it with what its manifest says of its origin."""
    more = {"levels": quantizer.length, "feature_name": quantizer.feature_name, **origin}
    facts = CodebookFacts(quantizer.name, quantizer.scope, quantizer.fingerprint, more)
    return _save(journal, CodebookStep(QUANTIZER, key, (), facts), {Layout.QUANTIZER: quantizer.to_bytes()})


@dataclass
class IntoUnits(beam.PTransform[PCollection[StoredVideo], PCollection[Unit]]):
    """PCollection[StoredVideo] → PCollection[Unit]: units by hash of the id, each sorted by id."""

    units: int

    def expand(self, stored: PCollection[StoredVideo]) -> PCollection[Unit]:
        keyed = stored | "unit" >> Map(_with_unit, self.units)
        return keyed | beam.GroupByKey() | "sort" >> beam.MapTuple(_sorted_unit)


def _with_unit(stored: StoredVideo, units: int) -> tuple[int, StoredVideo]:
    return salted_hash("unit", stored.video.video_id) % units, stored


def _sorted_unit(_: int, items: Iterable[StoredVideo]) -> Unit:
    return sorted(items, key=_video_id)


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
        pca = load_pca(fitting.layout, pca_step)
        blocks = map(pca.transform, _features(unit, fitting.store, QUANTIZER))
        exponents = pca.scale_exponents(scope)
        yield Histogram.from_blocks(blocks, len(exponents), exponents)


def load_pca(layout: Layout, step: Step) -> Pca:
    """The PCA of a dataset, of which each file is what the step wrote; a process reads and checks it once.

    Raises:
        DataError: if a file is damaged.
    """
    return _checked_pca(layout, step.files, step.facts.epsilon)


@lru_cache(maxsize=1)
def _checked_pca(layout: Layout, entries: tuple[FileEntry, ...], epsilon: float) -> Pca:
    for entry in entries:
        require_intact(layout, entry)
    return Pca.load(layout.path(Layout.PCA), epsilon=epsilon)


def load_quantizer(layout: Layout, step: Step) -> Quantizer:
    """The codebook of a dataset, whose file is what the step wrote; a process reads and checks it once.

    Raises:
        DataError: if the file is damaged.
    """
    return _checked_quantizer(layout, step.files)


@lru_cache(maxsize=1)
def _checked_quantizer(layout: Layout, entries: tuple[FileEntry, ...]) -> Quantizer:
    for entry in entries:
        require_intact(layout, entry)
    return Quantizer.load(layout.path(Layout.QUANTIZER))


def _features(unit: Sequence[StoredVideo], store: FeatureStore, stage: str) -> Iterator[Features]:
    for stored in unit:
        yield store.read(stored.video.video_id).features
        advance(stage, frames=stored.entry.frames)


def _unless_fitted(unit: Unit, fitting: Fitting, name: str, key: str) -> Iterator[Unit]:
    if fitting.find(name, key) is None:
        yield unit
    else:
        advance(name, videos=len(unit))


def save_pca(journal: Journal, key: str, pca: Pca, source: str, origin: dict[str, Any]) -> Step:
    """Writes the PCA of a folder, and records it with what its manifest or list says of its source and origin."""
    explained = float(pca.explained_variance_ratio.sum())
    more: dict[str, Any] = {
        "dimensions": len(pca.mean),
        "explained_variance_ratio": None if np.isnan(explained) else explained,
    }
    more["whitening"] = Whitening.of(pca).facts()
    facts = PcaFacts(source, pca.components, pca.epsilon, pca.fingerprint, {**more, **origin})
    contents = {f"{Layout.PCA}/{name}": data for name, data in pca.to_files().items()}
    return _save(journal, PcaStep(PCA, key, (), facts), contents)


def _save(journal: Journal, step: Step, contents: Mapping[str, bytes]) -> Step:
    """Writes the files of a step, given by their paths in the dataset, and records it with them."""
    journal.forget(step.name)
    for path, data in contents.items():
        journal.layout.write_bytes(path, data)
    files = tuple(file_entry(journal.layout, path) for path in contents)
    return journal.record(replace(step, files=files))
