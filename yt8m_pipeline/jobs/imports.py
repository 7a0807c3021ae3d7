"""What a build takes from a finished dataset instead of fitting it: its PCA, its codebook, or both (`like`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from yt8m_pipeline import files
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.config import FIT, Config, KerasModel, Model, PcaConfig, QuantizerConfig, RandomModel
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import FeatureSpace, Manifest
from yt8m_pipeline.dataset.reader import open_dataset, open_pca
from yt8m_pipeline.dataset.typed_json import to_json
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.interop.pca_formats import import_pca, imported_files, require_dimensions

SETTLED = ("method", "levels", "scope")
"""The fields of a codebook's config that say what an imported codebook is already."""


POOL_3_DIMENSIONS = 2048
"""Features per frame of Inception-V3 (paper §3.3); those of other networks are known when they run."""


@dataclass(frozen=True, slots=True)
class PcaImport:
    """A PCA learnt elsewhere (paper §5.4), checked.

    Attributes:
        folder: Where its files are.
        files: Their names, sizes and digests.
        feature_space: The fingerprint of the features that it was fitted on, which are this build's; None: not known.
        dimensions: Of those features.
        fingerprint: Its own fingerprint.
        components: The number of its components that are used.
    """

    folder: str
    files: list[dict[str, Any]]
    feature_space: str | None
    dimensions: int
    fingerprint: str
    components: int

    @property
    def warnings(self) -> list[str]:
        unknown = "the imported PCA does not say what features it was fitted on; nothing shows that they are like these"
        return [] if self.feature_space else [unknown]


@dataclass(frozen=True, slots=True)
class CodebookImport:
    """A codebook learnt elsewhere, checked.

    Attributes:
        file: Where it is.
        fingerprint: Its fingerprint.
        feature_space: The fingerprint of the features that it was learnt on, which are this build's; None: not known.
        pca: The fingerprint of the PCA whose coefficients it was learnt on, which is this build's; None: not known.
    """

    file: str
    fingerprint: str
    feature_space: str | None
    pca: str | None

    @property
    def origin(self) -> dict[str, str | None]:
        """What the manifest says of where it was learnt."""
        return {"feature_space": self.feature_space, "pca": self.pca}

    @property
    def warnings(self) -> list[str]:
        unknown = "the imported codebook does not say what it was learnt on; nothing shows that it suits this PCA"
        return [] if self.feature_space else [unknown]

    def load(self) -> Quantizer:
        """Reads the codebook.

        Raises:
            UsageError: if it is damaged, or no longer the one that was planned with.
        """
        quantizer = _load(self.file)
        if quantizer.fingerprint != self.fingerprint:
            why = f"its fingerprint is {quantizer.fingerprint}, it was {self.fingerprint} when the build was planned"
            raise _unusable(self.file, why, "put it back, or run the same command again")
        return quantizer


def resolve_like(config: Config) -> Config:
    """The config in which the PCA and the codebook of the dataset that `like` names are written out.

    Raises:
        UsageError: if there is no such dataset, or it was converted and has no PCA.
        DataError: if it is not finished, or damaged.
    """
    if config.like is None:
        return config
    dataset, pca = open_dataset(config.like), open_pca(config.like)
    folder, file = dataset.layout.path(Layout.PCA), dataset.layout.path(Layout.QUANTIZER)
    sources = {
        "pca": PcaConfig(source=folder, components=pca.components, epsilon=pca.epsilon),
        "quantizer": QuantizerConfig(source=file),
    }
    return config.model_copy(update={"like": None, **sources})


def plan_pca(config: Config, space: Mapping[str, Any]) -> PcaImport | None:
    """Looks at the PCA to import; None where it is fitted.

    Args:
        config: The config.
        space: The feature space of this build, with its fingerprint.

    Raises:
        UsageError: if it is missing, damaged, of other dimensions, or learnt on other features.
    """
    folder = config.pca.source
    if folder == FIT:
        return None
    pca = import_pca(folder, config.pca.number, config.pca.absolute_epsilon)
    if _is_inception_v3(config.inception.model):
        require_dimensions(pca, POOL_3_DIMENSIONS, folder)
    found = [describe_file(name, files.join(folder, name)) for name in imported_files(folder)]
    return PcaImport(folder, found, _space_of_pca(folder, space), len(pca.mean), pca.fingerprint, pca.components)


def _is_inception_v3(model: Model) -> bool:
    """Whether the config alone says so: a .keras file may hold any network."""
    if isinstance(model, KerasModel):
        return model.architecture == "InceptionV3" and not model.keras.endswith(".keras")
    return isinstance(model, RandomModel)


def _space_of_pca(folder: str, space: Mapping[str, Any]) -> str | None:
    """The fingerprint of the features that a dataset's PCA was fitted on; None of a PCA of no dataset."""
    parent, _, name = folder.rstrip("/").rpartition("/")
    manifest = Manifest.find(Layout(parent)) if name == Layout.PCA else None
    if manifest is None:
        return None
    require_same_space("The PCA to import", folder, manifest.feature_space, space)
    return str(space["fingerprint"])


def plan_codebook(
    config: QuantizerConfig, space: Mapping[str, Any], pca: str | None, dimensions: int | None
) -> CodebookImport:
    """Looks at a codebook to import.

    Args:
        config: The config, whose source is not `fit`.
        space: The feature space of this build, with its fingerprint.
        pca: The fingerprint of the PCA that this build imports; None: it fits its own.
        dimensions: The number of coefficients of a frame; None where the build decides it.

    Raises:
        UsageError: if it is missing, damaged, not what the config says, of another number of dimensions, or if its
            dataset's manifest says that it was learnt on other features or on the coefficients of another PCA.
        DataError: if its dataset is not finished.
    """
    file = codebook_file(config.source)
    quantizer = _load(file)
    _require_as_stated(config, quantizer, file)
    if quantizer.scope == "per_dimension" and len(quantizer.levels) != dimensions:
        why = f"it has levels for {len(quantizer.levels)} dimensions, the PCA gives {dimensions}"
        raise _unusable(file, why, "import the PCA of the same dataset, with all its components")
    manifest = _manifest_beside(file)
    if quantizer.name == "uniform":  # it was learnt on nothing, and suits all features alike
        return CodebookImport(file, quantizer.fingerprint, str(space["fingerprint"]), None)
    if manifest is None:
        return CodebookImport(file, quantizer.fingerprint, None, None)
    require_same_space("The codebook to import", file, manifest.feature_space, space)
    _require_same_pca(file, manifest, pca)
    return CodebookImport(file, quantizer.fingerprint, str(space["fingerprint"]), pca)


def describe_file(name: str, uri: str) -> dict[str, Any]:
    """What the manifest says of a file that was read."""
    return {"file": name, "bytes": files.describe(uri)[0], "sha256": files.sha256(uri)}


def codebook_file(source: str) -> str:
    """The file of a codebook, given that file or the folder of its dataset.

    >>> codebook_file("gs://bucket/dataset"), codebook_file("dataset/quantizer.npz")
    ('gs://bucket/dataset/quantizer.npz', 'dataset/quantizer.npz')
    """
    return source if source.endswith(".npz") else files.join(source, Layout.QUANTIZER)


def as_imported(config: QuantizerConfig, quantizer: Quantizer) -> QuantizerConfig:
    """The config in which an imported codebook's own method, levels and scope are written out."""
    own = {"method": quantizer.name, "levels": quantizer.length, "scope": quantizer.scope}
    return config.model_copy(update=own)


def require_same_space(what: str, where: str, theirs: FeatureSpace, ours: Mapping[str, Any]) -> None:
    """Refuses what was made of other features.

    Args:
        what: What was made of them, as the error names it.
        where: Where that is.
        theirs: The feature space that its manifest tells.
        ours: The feature space of this run, with its fingerprint.

    Raises:
        UsageError: if the fingerprints differ, with every difference.
    """
    found: Mapping[str, Any] = to_json(theirs)
    if found["fingerprint"] != ours["fingerprint"]:
        differing = sorted(field for field in found.keys() | ours.keys() if found.get(field) != ours.get(field))
        raise UsageError(
            what=f"{what} is of another feature space",
            where=where,
            why="; ".join(f"{field}: {found.get(field)} there, {ours.get(field)} here" for field in differing),
            fix="take one of such features, or make the model and sampling here the same",
        )


def _load(file: str) -> Quantizer:
    try:
        return Quantizer.load(file)
    except DataError as error:
        raise _unusable(file, error.why, "give quantizer.source a finished dataset or its quantizer.npz") from error


def _manifest_beside(file: str) -> Manifest | None:
    """The manifest of the finished dataset that a codebook belongs to; None where it stands by itself."""
    folder, _, name = file.rpartition("/")
    if name != Layout.QUANTIZER or Manifest.find(Layout(folder)) is None:
        return None
    return Manifest.of(open_dataset(folder).layout)


def _require_as_stated(config: QuantizerConfig, quantizer: Quantizer, file: str) -> None:
    usual, own = QuantizerConfig(), as_imported(config, quantizer)
    stated = {name: getattr(config, name) for name in SETTLED if getattr(config, name) != getattr(usual, name)}
    wrong = [f"{name} is {getattr(own, name)}, the config says {value}" for name, value in stated.items()
             if value != getattr(own, name)]  # fmt: skip
    if wrong:
        raise _unusable(file, "; ".join(wrong), f"leave quantizer.{' and quantizer.'.join(SETTLED)} out")


def _require_same_pca(file: str, manifest: Manifest, pca: str | None) -> None:
    learnt_on = manifest.pca.facts.fingerprint
    if pca != learnt_on:
        here = f"here it is {pca}" if pca else "here one is fitted"
        why = f"it was learnt on the coefficients of the PCA with fingerprint {learnt_on}; {here}"
        folder = file.rpartition("/")[0]
        raise _unusable(
            file, why, f"give pca.source the PCA of the same dataset, or write `like: {folder}`, which is both"
        )


def _unusable(where: str, why: str, fix: str) -> UsageError:
    return UsageError(what="The codebook to import cannot be used", where=where, why=why, fix=fix)
