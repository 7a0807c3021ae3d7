"""What a build will do, found out before it starts: its tables, feature space, output and key."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

from yt8m_pipeline import __version__, files
from yt8m_pipeline.accounting.reasons import Retry
from yt8m_pipeline.config import Config, Decoding, Model, RandomModel, features_recipe, recipe
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import Manifest, PartitionSummary, label_policy
from yt8m_pipeline.dataset.steps import step_key
from yt8m_pipeline.decoding.frames import library_version
from yt8m_pipeline.decoding.sandbox.parent import missing_protections
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.extraction.inception import describe
from yt8m_pipeline.extraction.model_files import is_program
from yt8m_pipeline.extraction.network_input import preprocessing_of
from yt8m_pipeline.jobs.build_folder import is_rebuildable
from yt8m_pipeline.jobs.imports import (
    CodebookImport,
    PcaImport,
    as_imported,
    describe_file,
    plan_codebook,
    plan_pca,
    resolve_like,
)
from yt8m_pipeline.jobs.measuring import Measuring
from yt8m_pipeline.jobs.videos_plan import VideosPlan
from yt8m_pipeline.store.feature_store import FeatureStore, feature_space
from yt8m_pipeline.tables.headers import check_source
from yt8m_pipeline.tables.partition_lists import read_lists
from yt8m_pipeline.tables.reading import TableFiles, as_configured, find_files

MEANINGLESS = (
    "the network has random weights: these features mean nothing outside this dataset; they are for demos and tests"
)

UNRATED = (
    "tables.ratings is null: nobody rated whether the entities are visual; stage 2 is skipped, and MeanRaterScore and "
    "Specificity are empty in vocabulary.csv"
)

UNLICENSED = (
    "card.licence is null: nobody who finds this dataset may know what it may be used for; a licence in the config, "
    "such as CC-BY-4.0, stands in README.md and croissant.json"
)

OWN_LABELS = (
    "PCA and codebook are another dataset's, and the vocabulary is this one's own: a label index means what "
    "vocabulary.csv here says; `yt8m extract --like` keeps the indices of the other"
)

ANY_PROGRAM = (
    "the network is a program, which runs with the rights of whoever builds, and the config does not say which one; "
    "inception.model.sha256 pins it: "
)


@dataclass(frozen=True, slots=True)
class BuildPlan(VideosPlan):
    """Everything that the pipeline needs to know.

    Attributes:
        config: The config.
        layout: Where the dataset goes.
        store: The feature store, at the folder of this build's feature space.
        space: What the feature space is, in words.
        sources: The files of each input table.
        inputs: Their sizes and digests, for the manifest.
        key: SHA-256 over all that the dataset depends on, but for the videos themselves.
        anew: The one partition that `rebuild-split` writes; None for a whole build.
        previous: The manifest that the folder has already.
        retry: Which of the failures that the store remembers are tried again.
        pca: The PCA to import; None: it is fitted.
        codebook: The codebook to import; None: it is fitted.
        refresh: Whether stored videos are extracted again whose files have changed.
        verify: Whether every stored file is read, also those that the store's indices know.
        table_warnings: What there is to say of the headers of the tables.
    """

    config: Config
    layout: Layout
    store: FeatureStore
    space: Mapping[str, Any]
    sources: Mapping[str, TableFiles]
    inputs: Mapping[str, Any]
    key: str
    anew: Partition | None
    previous: Manifest | None
    retry: Retry = Retry.TRANSIENT
    pca: PcaImport | None = None
    codebook: CodebookImport | None = None
    refresh: bool = False
    verify: bool = False
    table_warnings: tuple[str, ...] = ()

    @property
    def lists(self) -> dict[str, str]:
        """The list file of each partition that has one."""
        return _find_lists(self.config)

    @property
    def dimensions(self) -> range:
        """How many features per frame the PCA can take."""
        if self.pca:
            return range(self.pca.dimensions, self.pca.dimensions + 1)
        return range(self.config.pca.number or 1, sys.maxsize)

    @property
    def warnings(self) -> list[str]:
        """What a user of the dataset must know of the plan."""
        imported = [text for found in (self.pca, self.codebook) if found for text in found.warnings]
        model = model_warnings(self.config.inception.model, self.space)
        unrated = [] if "ratings" in self.sources else [UNRATED]
        imported += [OWN_LABELS] if self.codebook and self.codebook.pca else []
        unlicensed = [] if self.config.card.licence else [UNLICENSED]
        return [*self.table_warnings, *unrated, *unlicensed, *model, *imported, *sandbox_warnings(self.config.decoding)]

    @property
    def for_manifest(self) -> dict[str, Any]:
        """What the manifest says of the plan."""
        labels = label_policy(self.config.labels.published)
        return {**self.told, "config": recipe(self.config), "labels": labels, "warnings": self.warnings}

    @property
    def previous_partitions(self) -> dict[Partition, PartitionSummary]:
        """What the dataset that the folder has already holds."""
        return {part: self.previous.partition(part) for part in Partition} if self.previous else {}

    @property
    def measuring(self) -> Measuring:
        """How durations are measured."""
        return Measuring(self.config.decoding, self.config.tables.places, self.store.root, self.retry)


def plan_build(config: Config, anew: Partition | None = None, retry: Retry = Retry.TRANSIENT) -> BuildPlan:
    """Looks at the tables' headers, the model's files, a PCA and a codebook to import and the output folder.

    Raises:
        UsageError: if a table, a column, the model, the PCA or the codebook is missing or wrong, or the output folder
            is not ours.
        DataError: if the dataset that they are of is not finished.
    """
    config, layout = resolve_like(config), Layout(files.require_known(config.output))
    require_own_folder(layout)
    sources = _find_sources(config)
    needed = _needed_columns(config)
    said = tuple(text for table in sources.values() for text in check_source(table, needed.get(table.table, ())))
    space = describe_space(config)
    inputs = {
        table: [describe_file(name, source.path(name)) for name in source.files] for table, source in sources.items()
    }
    listed = config.partitioning.lists
    inputs |= {
        f"{part} list": [describe_file(listed[Partition(part)], uri)] for part, uri in _find_lists(config).items()
    }
    store = FeatureStore(files.require_known(config.store), feature_space(space))
    told = {"fingerprint": store.space, **space}
    pca = plan_pca(config, told)
    if pca:
        inputs["pca"] = pca.files
    codebook = _plan_codebook(config, told, pca)
    if codebook:
        inputs["quantizer"] = [describe_file(Layout.QUANTIZER, codebook.file)]
        config = config.model_copy(update={"quantizer": as_imported(config.quantizer, codebook.load())})
    previous = _previous(layout, anew)
    key = build_key(__version__, recipe(config), inputs, store.space)
    return BuildPlan(
        config, layout, store, space, sources, inputs, key, anew, previous, retry, pca, codebook, table_warnings=said
    )


def _previous(layout: Layout, anew: Partition | None) -> Manifest | None:
    """The manifest of an earlier build into the same folder; `rebuild-split` needs one that has ended."""
    previous = Manifest.find(layout)
    if previous and previous.is_extraction:
        raise UsageError(
            what="The output folder holds an extraction",
            where=layout.root,
            why=f"its {Layout.MANIFEST} is that of `yt8m extract`",
            fix="give an empty or new folder with --output",
        )
    if anew and (previous is None or not is_rebuildable(layout)):
        raise UsageError(
            what=f"There is no finished dataset whose {anew.value} partition could be rebuilt",
            where=layout.root,
            why=f"the folder has no {Layout.COMPLETE}",
            fix="run `yt8m build` first",
        )
    return previous


def build_key(version: str, recipe: Mapping[str, Any], inputs: Mapping[str, Any], space: str) -> str:
    """SHA-256 over all that a dataset depends on, but for the videos themselves."""
    return step_key(version, recipe, inputs, space)


def describe_space(config: Config) -> dict[str, Any]:
    """What the feature space of a config is, in words: the network, and how frames are chosen and resized."""
    return {**describe(config.inception), **_sampling(config)}


def model_warnings(model: Model, space: Mapping[str, Any]) -> list[str]:
    """What a user of the features must know of the network."""
    if isinstance(model, RandomModel):
        return [MEANINGLESS]
    is_pinned = model.sha256 is not None or not is_program(model)
    return [] if is_pinned else [ANY_PROGRAM + space["model"]["sha256"]]


def sandbox_warnings(decoding: Decoding) -> list[str]:
    """What the sandbox of this machine lacks. `strict` lets no machine decode that lacks anything."""
    missing = missing_protections(decoding) if decoding.sandbox == "best_effort" else ()
    text = "where the build was planned, the sandbox that decodes videos lacked"
    return [f"{text} {', '.join(missing)}"] if missing else []


def _sampling(config: Config) -> dict[str, Any]:
    size = config.inception.decoded_size
    return {
        **features_recipe(config.decoding),
        "decoder": f"av {version('av').split('.')[0]}",
        "pixels": library_version(),
        "resize": f"decoder, area, {size}x{size}"
        if size
        else f"model, {preprocessing_of(config.inception.model).resize}",
    }


def _find_sources(config: Config) -> dict[str, TableFiles]:
    tables = config.tables
    patterns = {
        "entities": tables.entities,
        "ratings": tables.ratings,
        "videos": tables.videos,
        "annotations": tables.annotations,
    }
    sources = {
        table: as_configured(find_files(tables.root, pattern, table), tables)
        for table, pattern in patterns.items()
        if pattern
    }
    if config.partitioning.by == "column":
        sources["videos"] = replace(sources["videos"], partition_column=config.partitioning.column)
    read_lists(_find_lists(config))
    return sources


def _find_lists(config: Config) -> dict[str, str]:
    """The list file of each partition that has one."""
    root, names = config.tables.root, config.partitioning.lists
    return {
        part.value: name if "://" in name or name.startswith("/") else files.join(root, name)
        for part, name in sorted(names.items())
    }


def _needed_columns(config: Config) -> dict[str, list[str]]:
    """The optional columns of each table that this config cannot do without."""
    videos = {
        "labels": config.tables.annotations is None,
        "view_count": config.video_sampling.min_views > 0,
    }
    return {
        "videos": [column for column, is_needed in videos.items() if is_needed],
        "entities": ["types"] if config.vocabulary else [],
    }


def _plan_codebook(config: Config, space: Mapping[str, Any], pca: PcaImport | None) -> CodebookImport | None:
    if config.quantizer.is_fitted:
        return None
    fingerprint, components = (pca.fingerprint, pca.components) if pca else (None, config.pca.number)
    return plan_codebook(config.quantizer, space, fingerprint, components)


def require_own_folder(layout: Layout) -> None:
    """Raises a UsageError if a file, or a folder with anything but a dataset in it, is where the dataset goes."""
    if files.exists(layout.root):
        raise UsageError(
            what="The output is no folder", where=layout.root, why="it is a file", fix="give a new folder with --output"
        )
    names = [name for name in files.list_files(layout.root) if not layout.is_beginning(name)]
    if names and not {Layout.MANIFEST, Layout.UNFINISHED} & set(names):
        raise UsageError(
            what="The output folder is not empty and not a dataset",
            where=layout.root,
            why=f"it holds {names[0]} and {len(names) - 1} other files, but no {Layout.MANIFEST}",
            fix="give an empty or new folder with --output",
        )
