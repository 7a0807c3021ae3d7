"""What an extraction will do, found out before it starts: the dataset that it is like, its videos and its output."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yt8m_pipeline import __version__, files
from yt8m_pipeline.accounting.reasons import Retry
from yt8m_pipeline.config import IMAGENET, Config, RandomModel, absolute_path, recipe, resolve
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.arrays import Form
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import LIKE, PUBLISHED, Manifest, label_policy
from yt8m_pipeline.dataset.reader import FinishedDataset, open_dataset, open_pca
from yt8m_pipeline.dataset.steps import FileEntry, step_key
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.jobs.build_folder import require_apart
from yt8m_pipeline.jobs.build_plan import (
    describe_space,
    model_warnings,
    require_own_folder,
    sandbox_warnings,
)
from yt8m_pipeline.jobs.imports import describe_file, require_same_space
from yt8m_pipeline.jobs.videos_plan import VideosPlan
from yt8m_pipeline.places import has_table_ending, has_video_ending
from yt8m_pipeline.store.feature_store import FeatureStore, feature_space
from yt8m_pipeline.tables.formats import format_of
from yt8m_pipeline.tables.headers import check_source
from yt8m_pipeline.tables.reading import TableFiles, as_configured, find_files
from yt8m_pipeline.tables.video_files import GivenVideo, find_given_videos

SHARED = ("decoding", "inception", "pca", "quantizer", "video_sampling", "max_failure_fraction")
"""The parts of the config of a dataset that hold for new videos too."""

OF_TABLES = ("allow_outside_root", "encoding", "keep_columns", "uri_schemes")
"""The fields of the section `tables` that the output depends on. Where the tables are is not in the config here."""

TAKEN = ("duplicates", "labels", "like", "partitioning", "pca", "quantizer", "rater_scores", "vocabulary")
"""The parts of the config that say what is taken from the dataset, or how a dataset is selected. No setting changes
them."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a user wants of new videos.

    Attributes:
        form: What their features are written as, beside the records.
        raw: Whether these are the network's own features.
        shards: How many files the records are divided among.
    """

    form: Form = Form.RECORDS
    raw: bool = False
    shards: int = 1

    def __post_init__(self) -> None:
        if self.raw and self.form is Form.RECORDS:
            raise UsageError(
                what="Raw features are not written as records",
                where="--raw",
                why="records hold codes, one byte for each coefficient of the PCA",
                fix="add --format npy or --format parquet",
            )


@dataclass(frozen=True, slots=True)
class ExtractPlan(VideosPlan):
    """Everything that an extraction needs to know.

    Attributes:
        like: The dataset whose feature space, PCA, codebook and vocabulary hold.
        manifest: Its manifest.
        config: The config: the dataset's own, as far as it is `SHARED`, with the places of this extraction.
        videos: The files of the videos table, or the videos.
        annotations: The files of the annotations table; None: labels are nested in the videos table, or there are none.
        partition: The partition that all videos are in: validate if they may have labels, else test.
        wanted: What the user wants of them.
        layout: Where it goes.
        store: The feature store, at the folder of the feature space.
        space: What the feature space is, in words.
        dimensions: How many features per frame the PCA takes.
        inputs: What the videos and labels were read from, for the manifest.
        key: SHA-256 over all that the output depends on, but for the videos themselves.
        previous: The manifest that the folder has already.
        retry: Which of the failures that the store remembers are tried again.
        refresh: Whether stored videos are extracted again whose files have changed.
        verify: Whether every stored file is read, also those that the store's indices know.
        table_warnings: What there is to say of the headers of the tables.
    """

    like: FinishedDataset
    manifest: Manifest
    config: Config
    videos: TableFiles | Sequence[GivenVideo]
    annotations: TableFiles | None
    partition: Partition
    wanted: Wanted
    layout: Layout
    store: FeatureStore
    space: Mapping[str, Any]
    dimensions: range
    inputs: Mapping[str, Any]
    key: str
    previous: Manifest | None
    retry: Retry = Retry.TRANSIENT
    refresh: bool = False
    verify: bool = False
    table_warnings: tuple[str, ...] = ()

    @property
    def keep_columns(self) -> tuple[str, ...]:
        """The columns of the videos table that videos.parquet gets; video files have none."""
        return self.videos.keep_columns if isinstance(self.videos, TableFiles) else ()

    @property
    def entity_ids(self) -> list[str]:
        """The entities of the vocabulary, in the order of their label indices."""
        return [entity.entity_id for entity in self.like.vocabulary]

    @property
    def vocabulary(self) -> FileEntry:
        """The file of the vocabulary."""
        return next(file for file in self.manifest.tables if file.path == Layout.VOCABULARY)

    @property
    def for_manifest(self) -> dict[str, Any]:
        """What the manifest says of the plan."""
        return {
            **self.told,
            "config": recipe_of(self.config),
            "labels": label_policy(PUBLISHED),
            LIKE: {"build_key": self.manifest.build_key, **identity_of_dataset(self.manifest)},
            "warnings": self._warnings,
        }

    @property
    def _warnings(self) -> list[str]:
        """What a user of the features must know. The fingerprint of the dataset's features pins the network."""
        model = self.config.inception.model
        meaningless = model_warnings(model, self.space) if isinstance(model, RandomModel) else []
        return [*self.table_warnings, *meaningless, *sandbox_warnings(self.config.decoding)]


def plan_extraction(
    sources: Sequence[str],
    like: str,
    output: str,
    wanted: Wanted,
    *,
    model: str | None = None,
    store: str | None = None,
    annotations: str | None = None,
    settings: Sequence[str] = (),
) -> ExtractPlan:
    """Looks at the dataset, the videos, the network and the output folder.

    Args:
        sources: Videos and folders of videos; or one videos table.
        like: The folder of a finished dataset.
        output: The folder of the extraction.
        wanted: What is written.
        model: The file or folder of the dataset's network; None: it has none, or it is in Keras' own cache.
        store: The folder of the feature store; None: one in the output.
        annotations: An annotations table; None: labels are nested in the videos table, or there are none.
        settings: Further fields of the config, as `key=value`.

    Raises:
        UsageError: if there is no such dataset or it has no PCA, there are no videos, the model is missing
            or is not the dataset's, or the output folder is not ours.
        DataError: if the dataset is not finished or damaged.
    """
    dataset, pca = open_dataset(like), open_pca(like)
    manifest, layout = Manifest.of(dataset.layout), Layout(files.require_known(output))
    require_apart(like, output, "An extraction")
    previous = _previous(layout)
    videos = _find_videos(sources)
    labels = _find_table(annotations, "annotations") if annotations else None
    tables = {"annotations": annotations, **_root(videos)}
    places = {"output": layout.root, "store": store or layout.path(Layout.FEATURES), "tables": tables}
    config = _config(manifest, wanted, places, model, settings)
    videos = as_configured(videos, config.tables) if isinstance(videos, TableFiles) else videos
    labels = as_configured(labels, config.tables) if labels else None
    said = [text for table in (videos, labels) if isinstance(table, TableFiles) for text in check_source(table)]
    space = describe_space(config)
    opened = FeatureStore(files.require_known(config.store), feature_space(space))
    told = {"fingerprint": opened.space, **space}
    require_same_space("The network or the decoding of the new videos", like, manifest.feature_space, told)
    partition = Partition.VALIDATE if labels or _has_labels(videos) else Partition.TEST
    inputs = {"videos": _described(videos), **({"annotations": _described(labels)} if labels else {})}
    key = step_key(
        "extract", __version__, identity_of_dataset(manifest), recipe_of(config), inputs, opened.space, partition,
        wanted.form, wanted.raw, [] if isinstance(videos, TableFiles) else [video.uri for video in videos]
    )  # fmt: skip
    return ExtractPlan(
        dataset, manifest, config, videos, labels, partition, wanted, layout, opened, space,
        range(len(pca.mean), len(pca.mean) + 1), inputs, key, previous, table_warnings=tuple(said)
    )  # fmt: skip


def identity_of_dataset(manifest: Manifest) -> dict[str, Any]:
    """What two datasets share whose codes and labels mean the same: the space, PCA, codebook and vocabulary."""
    vocabulary = next(file.sha256 for file in manifest.tables if file.path == Layout.VOCABULARY)
    return {
        "feature_space": manifest.feature_space.fingerprint,
        "pca": manifest.pca.facts.fingerprint,
        "quantizer": manifest.quantizer.facts.fingerprint,
        "vocabulary": vocabulary,
    }


def recipe_of(config: Config) -> dict[str, Any]:
    """The values of the config that the output depends on."""
    values = recipe(config)
    tables = {name: values["tables"][name] for name in OF_TABLES}
    return {**{name: values[name] for name in (*SHARED, "shards")}, "tables": tables}


def _previous(layout: Layout) -> Manifest | None:
    """The manifest of an earlier extraction into the same folder."""
    require_own_folder(layout)
    previous = Manifest.find(layout)
    if previous and not previous.is_extraction:
        raise UsageError(
            what="The output folder holds a dataset",
            where=layout.root,
            why=f"its {Layout.MANIFEST} is not that of an extraction",
            fix="give an empty or new folder with --output",
        )
    return previous


def _find_videos(sources: Sequence[str]) -> TableFiles | Sequence[GivenVideo]:
    if not sources:
        raise UsageError(
            what="There is no video",
            where="SOURCE",
            why="no source is given",
            fix="give a video, a folder of videos, or a videos table",
        )
    tables = [source for source in sources if _is_table(source)]
    if tables and len(sources) > 1:
        raise UsageError(
            what="A videos table is given beside other sources",
            where=tables[0],
            why=f"{len(sources)} sources are given",
            fix="add rows for the others to the table, or extract it by itself",
        )
    return _find_table(tables[0], "videos") if tables else tuple(find_given_videos(sources))


def _is_table(source: str) -> bool:
    """Whether a source is a table, or a folder of the parts of one: tables, and no video beside them.

    Only the folder itself is looked at: a bucket of films may be large, and is listed once already.
    """
    if has_table_ending(source.rstrip("/")):
        return True
    place = absolute_path(source, Path.cwd())
    names = () if files.exists(place) else files.list_states(place)
    return any(map(has_table_ending, names)) and not any(map(has_video_ending, names))


def _find_table(uri: str, table: str) -> TableFiles:
    return find_files(".", absolute_path(uri, Path.cwd()), table)


def _has_labels(videos: TableFiles | Sequence[GivenVideo]) -> bool:
    """Whether a file of a videos table has the column `labels`."""
    return isinstance(videos, TableFiles) and any("labels" in _columns(videos, name) for name in videos.files)


def _columns(source: TableFiles, name: str) -> list[str]:
    path = source.path(name)
    with files.open_read(path) as stream:
        return [column for column, _ in format_of(path, source.table).header(stream).columns]


def _described(source: TableFiles | Sequence[GivenVideo]) -> list[dict[str, Any]]:
    """The files of a table with their digests; of videos given by themselves, their ids."""
    if isinstance(source, TableFiles):
        return [describe_file(name, source.path(name)) for name in source.files]
    return [{"video_id": video.video_id} for video in source]


def _root(videos: TableFiles | Sequence[GivenVideo]) -> dict[str, str]:
    """The folder that the uris of a videos table are relative to, as the section `tables` of the config has it."""
    return {"root": videos.root} if isinstance(videos, TableFiles) else {}


def _config(
    manifest: Manifest,
    wanted: Wanted,
    places: Mapping[str, Any],
    model: str | None,
    settings: Sequence[str],
) -> Config:
    _refuse_own_values(settings)
    values: dict[str, Any] = {name: manifest.config[name] for name in SHARED if name in manifest.config}
    given = any(setting.startswith("inception.model") for setting in settings)
    named = {} if given else {"model": _model(manifest, model)}
    values["inception"] = {**values.get("inception", {}), **named}
    values["shards"] = {"train": 1, "validate": wanted.shards, "test": wanted.shards}
    return resolve({**values, **places}, Path.cwd() / "extract", settings)


def _refuse_own_values(settings: Sequence[str]) -> None:
    """Raises a UsageError for settings of what the dataset has already, which would be told and not done."""
    wrong = [setting for setting in settings if setting.replace("=", ".").partition(".")[0] in TAKEN]
    if wrong:
        raise UsageError(
            what="A setting has no meaning for new videos",
            where=f"--set {wrong[0]}",
            why="they get the PCA, the codebook and the labels of the dataset as they are, and are not selected",
            fix="leave it out; `yt8m build` with `like` in its config builds another dataset",
        )


def _model(manifest: Manifest, model: str | None) -> dict[str, Any]:
    """The config of the network that a dataset was made with, whose file is given or not needed.

    Raises:
        UsageError: if its file is needed, and not given.
    """
    known: Mapping[str, Any] = manifest.feature_space.more.get("model", {})
    source = known.get("source")
    if source == "random":
        return {"random": known["seed"]}
    own = {"architecture": known["architecture"]} if "architecture" in known else {}
    if model and source:
        return {source: absolute_path(model, Path.cwd()), **own}
    if own.get("architecture") == "InceptionV3":
        return {"keras": IMAGENET}
    raise UsageError(
        what="The network of the dataset is not given",
        where="--model",
        why=f"the dataset knows it by its {source} with SHA-256 {known.get('sha256')}, and not where it is",
        fix="give its file or folder with --model, or `--set inception.model={…}`",
    )
