"""The config of a build: one pydantic model for each act. Defaults are the paper's values, with its section."""

import difflib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum, StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, get_args

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from yt8m_pipeline.data_model import VIDEO_COLUMNS, Partition
from yt8m_pipeline.errors import CONTINUED, UsageError
from yt8m_pipeline.places import Places

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]

AUTO = "auto"
"""The value of a number that the build decides, from how many videos and frames there are."""


NUMBER = "a number"
"""What else such a field may hold. Errors in it are those of the field."""


def _auto_or_number(value: Any) -> str:
    return AUTO if value == AUTO else NUMBER


PositiveOrAuto: TypeAlias = Annotated[
    Annotated[Positive, Tag(NUMBER)] | Annotated[Literal["auto"], Tag(AUTO)], Discriminator(_auto_or_number)
]


Text = Annotated[str, BeforeValidator(lambda value: str(value) if isinstance(value, int | float) else value)]
"""A text that YAML may take for a number or a truth value."""


class Changes(StrEnum):
    """What a change of a field changes. It is an annotation of the field; a field without one changes bytes."""

    NOTHING = "nothing"
    """The field says where or how a dataset is built, and no byte of the dataset depends on it."""
    FEATURES = "features"
    """The features in the store depend on it, and so do all the bytes that are made of them."""
    BYTES = "bytes"
    """The dataset depends on it, and the features do not."""

    @classmethod
    def of(cls, field: FieldInfo) -> "Changes":
        return next((item for item in field.metadata if isinstance(item, cls)), cls.BYTES)


class Mark(Enum):
    """Further annotations of a field."""

    PATH = "path"
    """The field is a path: relative to the config file there, and to the current folder on the command line."""
    DESCRIBED = "described"
    """What the field names is described elsewhere in the key of a build (by the digests of its files, or in the
    description of the feature space), so that the key does not hold the value."""


def _show_changes(schema: dict[str, Any], section: type[BaseModel]) -> None:
    """Adds what each field changes to the JSON schema of a section."""
    for name, field in section.model_fields.items():
        if not _sections(field.annotation):
            schema["properties"][field.alias or name]["changes"] = Changes.of(field).value


class Section(BaseModel):
    """A part of the config. It is immutable, and a misspelt field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, json_schema_extra=_show_changes)


Folder: TypeAlias = Annotated[str, Changes.NOTHING, Mark.PATH]
ModelPath: TypeAlias = Annotated[str, Changes.FEATURES, Mark.PATH, Mark.DESCRIBED]


class Tables(Section):
    """The input tables. Each is CSV, TSV, JSONL or Parquet, by its file ending, local or on gs://: a file, a folder of
    parts, or a glob."""

    root: Folder = Field(".", description="The folder that the tables and relative video URIs are relative to.")
    entities: str | None = Field(
        "entities.csv", description="null means that each label of an annotation is an entity, with itself as its name."
    )
    ratings: str | None = Field(
        "ratings.csv", description="null means that nobody rated the entities: stage 2 keeps all that stage 1 keeps."
    )
    videos: str = "videos.parquet"
    annotations: str | None = Field(
        "annotations.csv",
        description="null means that the labels are nested in the videos table, in the column `labels`.",
    )
    keep_columns: tuple[str, ...] = Field(
        (), description="Further columns of the videos table that videos.parquet gets, as texts, by their names."
    )
    encoding: str = Field(
        "auto",
        description="The encoding of CSV, TSV and JSONL, by a name that Python knows (utf-8, cp1252, shift_jis, …). "
        "auto takes UTF-8, UTF-16 with its byte order mark, and Windows-1252 for bytes that are not UTF-8.",
    )
    max_malformed_fraction: Annotated[Share, Changes.NOTHING] = Field(
        0.01,
        description="The build is refused if a larger share of the rows of a file (one row at least) has the wrong "
        "type: people mistype fewer, and a file of another encoding or with an open quote loses more.",
    )
    uri_schemes: tuple[Literal["gs", "s3"], ...] = Field(
        ("gs",),
        description="The object stores whose URIs rows of the videos table may name, beside local paths. [] allows "
        "local paths only. A row of any other scheme is rejected, and no row gives a filesystem an option.",
    )
    allow_outside_root: bool = Field(
        True,
        description="Whether rows may name videos outside of root: by absolute paths, symbolic links, .. or URIs. A "
        "service that builds from the tables of others sets it to false.",
    )

    @field_validator("encoding")
    @classmethod
    def _is_an_encoding_of_text(cls, encoding: str) -> str:
        if encoding != "auto":
            try:
                "".encode(encoding)
            except (LookupError, UnicodeError) as error:
                raise ValueError(str(error)) from None
        return encoding

    @model_validator(mode="after")
    def _kept_columns_have_names_of_their_own(self) -> "Tables":
        names = Counter(self.keep_columns)
        wrong = sorted(name for name in names if names[name] > 1 or name in VIDEO_COLUMNS)
        if wrong:
            raise ValueError(
                f"keep_columns: videos.parquet has one column of each name, and own ones called "
                f"{', '.join(VIDEO_COLUMNS)}; leave {', '.join(wrong)} out, or give it another name in your table"
            )
        return self

    @property
    def places(self) -> Places:
        """What the rows of the videos table may name."""
        return Places(self.root, self.uri_schemes, self.allow_outside_root)


class Vocabulary(Section):
    """Stage 1 keeps the entities with a whitelisted type and no blacklisted one (paper §3.1)."""

    type_whitelist: tuple[str, ...] = Field(
        min_length=1, description="The entity types that are visual; the paper has 25 (§3.1)."
    )
    type_blacklist: tuple[str, ...] = Field(description="The entity types that are not visual (§3.1).")

    @model_validator(mode="after")
    def _lists_are_disjoint(self) -> "Vocabulary":
        both = sorted(set(self.type_whitelist) & set(self.type_blacklist))
        if both:
            raise ValueError(f"types both whitelisted and blacklisted: {', '.join(both)}")
        return self


class RaterScores(Section):
    """Stage 2 keeps the entities that raters find visual (paper §3.1, Figure 4)."""

    min_raters: Positive = Field(3, description="An entity needs this many valid ratings; the paper has 3 (§3.1).")
    min_score: float = Field(1.0, description="The score of the most visual entities (Figure 4).")
    max_score: float = Field(5.0, description="The score of the least visual entities (Figure 4).")
    max_mean_score: float = Field(2.5, description="The largest mean score of an entity that is kept (Figure 4).")

    @model_validator(mode="after")
    def _scores_are_ordered(self) -> "RaterScores":
        if not self.min_score < self.max_mean_score <= self.max_score:
            raise ValueError("min_score < max_mean_score <= max_score must hold")
        return self


class VideoSampling(Section):
    """Stage 3 chooses the videos, and the entities that have enough of them (paper §3.1, §3.2)."""

    min_views: Count = Field(1000, description="A video needs this many views (§3.2).")
    min_duration_seconds: float = Field(120.0, ge=0, description="A shorter video is too short (§3.2).")
    max_duration_seconds: float = Field(500.0, gt=0, description="A longer video is too long (§3.2).")
    durations: Literal["table", "measured"] = Field(
        "table",
        description="table believes the durations of the videos table, and measures those that it lacks. measured "
        "measures the duration of every video with a label, and warns where the table says another one.",
    )
    min_score: float | None = Field(
        None, description="An annotation with a lower score is not a label; null takes annotations of any score."
    )
    popular_videos_above: Count | None = Field(
        None,
        description="Before the draw, an entity needs more eligible videos than this. null is the paper's order: §3.1 "
        "names 200 and refers to §3.2, which filters after the draw.",
    )
    sample_size: Positive = Field(10_000_000, description="How many videos are drawn (§3.2).")
    min_videos_per_entity: Count = Field(
        200, description="An entity needs this many videos, in the sample and in the dataset."
    )
    salt: str = Field("yt8m-sample", description="Another salt draws other videos.")

    @model_validator(mode="after")
    def _durations_are_ordered(self) -> "VideoSampling":
        if self.min_duration_seconds > self.max_duration_seconds:
            raise ValueError("min_duration_seconds must not be above max_duration_seconds")
        return self


class Partitioning(Section):
    """Stage 3 divides the videos into Train, Validate and Test as 70 : 20 : 10 (paper §3.2)."""

    train: Share = 0.7
    validate_: Share = Field(0.2, alias="validate")
    test: Share = 0.1
    salt: str = Field("yt8m-partition", description="Another salt puts other videos into each partition.")
    by: Literal["hash", "column", "lists"] = Field(
        "hash",
        description="hash divides videos by chance, as the shares say. column honours the partition that the videos "
        "table gives to each, lists the partition whose list names it.",
    )
    column: str = Field("partition", description="The column of the videos table that gives partitions.")
    lists: Mapping[Partition, str] = Field(
        {},
        description="The text file of each partition, relative to tables.root, that names its videos by id or uri, one "
        "a line; what follows the first field is ignored.",
    )
    values: Mapping[Partition, tuple[Text, ...]] = Field(
        {
            Partition.TRAIN: ("train", "training"),
            Partition.VALIDATE: ("validate", "validation", "val", "valid", "dev"),
            Partition.TEST: ("test", "testing"),
        },
        description="The texts that stand for each partition in that column; capitals make no difference.",
    )
    without: Literal["hash", "reject"] = Field(
        "hash", description="What happens to a video to which the table gives no partition: it is hashed, or rejected."
    )
    divided_groups: Literal["error", "warn"] = Field(
        "error",
        description="What a group of videos, or one film given several times, in two given partitions is: the end of "
        "the build, or a warning.",
    )

    @model_validator(mode="after")
    def _shares_sum_to_one(self) -> "Partitioning":
        if abs(self.train + self.validate_ + self.test - 1.0) > 1e-9:
            raise ValueError(f"the shares sum to {self.train + self.validate_ + self.test:g}, not 1")
        return self

    @model_validator(mode="after")
    def _given_partitions_are_clear(self) -> "Partitioning":
        texts = [text for own in self.values.values() for text in {text.strip().casefold() for text in own}]
        twice = sorted({text for text in texts if texts.count(text) > 1})
        if twice:
            raise ValueError(f"values of two partitions: {', '.join(twice)}")
        if bool(self.lists) != (self.by == "lists"):
            raise ValueError("lists and `by: lists` go together: give both or neither")
        return self


class Decoding(Section):
    """Stage 4 decodes one frame per second of the first six minutes (paper §3.3), in a sandbox."""

    frames_per_second: Annotated[float, Changes.FEATURES] = Field(
        1.0, gt=0, le=120, description="How many frames of each second are taken; the paper takes 1 (§3.3)."
    )
    max_seconds: Annotated[float, Changes.FEATURES] = Field(
        360.0, gt=0, description="Frames are taken from the first 360 seconds at most (§3.3)."
    )
    sampling: Annotated[Literal["exact", "keyframes"], Changes.FEATURES] = Field(
        "exact",
        description="exact takes the frame on screen at each grid time; keyframes takes the nearest keyframe, which is "
        "cheaper but not exact.",
    )
    damage: Annotated[Literal["strict", "salvage"], Changes.FEATURES] = Field(
        "strict",
        description="strict rejects a video whose chosen frames depend on damage; salvage uses its sound frames.",
    )
    min_decoded_fraction: Share = Field(
        0.9, description="Under salvage, a video is rejected if a smaller share of its frames is sound."
    )
    demuxers: tuple[str, ...] = Field(
        ("mov", "matroska", "flv", "avi", "mpegts", "mpeg", "ogg", "asf"),
        min_length=1,
        description="The FFmpeg demuxers that may be used. The default lists those of self-contained files: no "
        "playlist, image sequence or session description is among them.",
    )
    protocols: tuple[str, ...] = Field(
        (), description="The FFmpeg protocols that a demuxer may open by itself; the default is none."
    )
    max_streams: int = Field(
        64, ge=1, description="A file with more streams is rejected: FFmpeg's time and memory grow with their number."
    )
    timeout_seconds: float = Field(120.0, gt=0, description="The wall-clock limit for opening a video.")
    timeout_seconds_per_frame: float = Field(
        20.0, ge=0, description="How much is added to that limit for each frame of the grid."
    )
    memory_limit_mib: int = Field(4096, ge=256, description="The address space of a decoding child process, MiB.")
    sandbox: Annotated[Literal["best_effort", "strict"], Changes.NOTHING] = Field(
        "best_effort",
        description="best_effort decodes with the protections that the system offers, and names those that it lacks; "
        "strict decodes nothing where one of them is lacking.",
    )
    thumbnails: Annotated[int, Changes.NOTHING] = Field(
        4,
        ge=0,
        le=64,
        description="How many small pictures of each video are kept in the store, made of frames that are decoded "
        "anyway; 0 for none. `yt8m thumbnails` makes those that are lacking, or in another number.",
    )

    @property
    def rate(self) -> Fraction:
        """Frames per second as the exact rational number that was written."""
        return Fraction(str(self.frames_per_second))


class Labels(Section):
    """What users of the dataset see of the labels (paper §3.2: those of the test partition are withheld)."""

    test: Literal["withheld", "published"] = Field(
        "withheld", description="Whether the labels of test videos are in the published files."
    )

    @property
    def published(self) -> frozenset[Partition]:
        """The partitions whose labels stand in the published files."""
        return frozenset(part for part in Partition if part is not Partition.TEST or self.test == "published")


class RandomModel(Section):
    """Seeded random weights in the real Inception-V3, for the demo and tests. Its features mean nothing."""

    random: Annotated[Count, Changes.FEATURES, Mark.DESCRIBED]


Architecture: TypeAlias = Literal[
    "InceptionV3",
    "InceptionResNetV2",
    "Xception",
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3Small",
    "MobileNetV3Large",
    "NASNetMobile",
    "NASNetLarge",
    "ResNet50",
    "ResNet101",
    "ResNet152",
    "ResNet50V2",
    "ResNet101V2",
    "ResNet152V2",
    "VGG16",
    "VGG19",
    "DenseNet121",
    "DenseNet169",
    "DenseNet201",
    "EfficientNetB0",
    "EfficientNetB4",
    "EfficientNetB7",
    "EfficientNetV2S",
    "EfficientNetV2M",
    "EfficientNetV2L",
    "ConvNeXtTiny",
    "ConvNeXtBase",
    "ConvNeXtLarge",
]
"""Networks of tf.keras.applications, by their names there."""

Sha256: TypeAlias = Annotated[
    str | None,
    Changes.NOTHING,
    Field(
        pattern="^[0-9a-f]{64}$",
        description="The SHA-256 that the model's file must have. For a folder, also for one in an archive, it is that "
        "of the list which sha256sum prints for its files, sorted by name. null accepts any model.",
    ),
]

IMAGENET = "imagenet"
"""The value of `keras` that stands for the weights in Keras' own cache."""


class KerasModel(Section):
    """A network of Keras: a whole one (.keras), weights (.h5), or `imagenet` from Keras' own cache."""

    keras: ModelPath
    architecture: Annotated[Architecture, Changes.FEATURES, Mark.DESCRIBED] = Field(
        "InceptionV3", description="The network that the weights are for, and whose preprocessing its input needs."
    )
    sha256: Sha256 = None

    @model_validator(mode="after")
    def _imagenet_is_known(self) -> "KerasModel":
        if self.keras == IMAGENET and self.architecture != "InceptionV3":
            raise ValueError(
                f"imagenet means the weights of InceptionV3; for {self.architecture}, download those that Keras offers "
                "without its top layer and give their file"
            )
        return self


class SavedModel(Section):
    """A SavedModel: a folder, or a .tar.gz of it. float32 images (batch, height, width, 3) in [0, 1] → vectors."""

    saved_model: ModelPath
    sha256: Sha256 = None


class HubModel(Section):
    """A TensorFlow Hub feature vector: a handle (resolved through the hub's cache), a folder, or a .tar.gz of it."""

    tfhub: ModelPath
    sha256: Sha256 = None


class GraphModel(Section):
    """The frozen Inception graph of 2015, classify_image_graph_def.pb, which the paper and the public extractor use."""

    graph: ModelPath
    sha256: Sha256 = None


def _source(model: Any) -> str | None:
    """The one field that says where a network comes from."""
    fields = model if isinstance(model, Mapping) else getattr(type(model), "model_fields", {})
    named = [source for source in MODEL_SOURCES if source in fields]
    return named[0] if len(named) == 1 else None


MODEL_SOURCES = ("graph", "keras", "random", "saved_model", "tfhub")

Model: TypeAlias = Annotated[
    Annotated[GraphModel, Tag("graph")]
    | Annotated[KerasModel, Tag("keras")]
    | Annotated[RandomModel, Tag("random")]
    | Annotated[SavedModel, Tag("saved_model")]
    | Annotated[HubModel, Tag("tfhub")],
    Discriminator(
        _source,
        custom_error_type="model_source",
        custom_error_message=f"give exactly one of {', '.join(MODEL_SOURCES)}",
    ),
]


class Inception(Section):
    """Stage 5 takes the activation before the classifier, pool_3, as features (paper §3.3)."""

    model: Model
    image_size: Annotated[int, Changes.FEATURES] = Field(
        299, ge=16, description="The height and width of the network's input, in pixels."
    )
    resize: Annotated[Literal["decoder", "model"], Changes.FEATURES] = Field(
        "decoder",
        description="What resizes frames to that size. decoder averages areas while it decodes. model interpolates "
        "bilinearly, as the network was trained (paper §3.3); it needs frames in their own size, and so more memory "
        "and time.",
    )
    batch_size: Positive = Field(8, description="The largest number of frames in one call of the network.")
    device: Literal["auto", "cpu", "gpu"] = Field(
        "auto", description="The device that the network runs on; auto takes a GPU if there is one."
    )
    precision: Annotated[Literal["float32", "mixed"], Changes.FEATURES] = Field(
        "float32", description="The network's arithmetic; mixed is float16 where that is safe, on a GPU only."
    )
    dtype: Annotated[Literal["float16", "float32"], Changes.FEATURES] = Field(
        "float16",
        description="The type of features in the store. Rounding to float16 adds 1/270 of the error of the codes.",
    )

    @property
    def decoded_size(self) -> int | None:
        """The height and width that frames are decoded to, in pixels; None where each keeps its own."""
        return self.image_size if self.resize == "decoder" else None


FIT = "fit"
"""The value of `pca.source` that stands for a PCA which this build fits."""


class RelativeEpsilon(Section):
    """An epsilon that whitens features of every scale alike."""

    relative: float = Field(
        0.01, ge=0, description="The share of the smallest eigenvalue kept: whitened variances are ≥ 1 / (1 + share)."
    )


class PcaConfig(Section):
    """Stage 6 reduces the dimensions by PCA with whitening (paper §3.3)."""

    source: Annotated[str, Mark.PATH, Mark.DESCRIBED] = Field(
        FIT,
        description="fit fits it on the train frames. Any other value is a folder with a PCA learnt elsewhere (§5.4): "
        "mean.npy, eigenvals.npy and eigenvecs.npy as published, or MediaPipe's *_mean_matrix_data.pb and "
        "*_projection_matrix_data.pb.",
    )
    components: PositiveOrAuto = Field(
        1024,
        description="The number of dimensions after the PCA (§3.3). auto takes the largest power of two of which there "
        "are ten times as many train frames, at most 1,024 and the dimensions of the features; of an imported PCA, all "
        "that it has.",
    )
    epsilon: Annotated[float, Field(ge=0)] | RelativeEpsilon = Field(
        RelativeEpsilon(),
        description="What is added to the eigenvalues before the square root: a number (the public extractor's is "
        "1e-4), or {relative: …}, a share of the smallest one kept. An imported PCA keeps its own unless this is a "
        "number.",
    )

    @property
    def number(self) -> int | None:
        """The number of components; None where the build decides it."""
        return self.components if isinstance(self.components, int) else None

    @property
    def is_fitted(self) -> bool:
        """Whether it is fitted here, and not imported."""
        return self.source == FIT

    @property
    def absolute_epsilon(self) -> float | None:
        """The epsilon as a number; None where it is relative."""
        return None if isinstance(self.epsilon, RelativeEpsilon) else self.epsilon

    @property
    def relative_epsilon(self) -> float:
        """The epsilon as a share of the smallest eigenvalue kept; 0 where it is a number."""
        return self.epsilon.relative if isinstance(self.epsilon, RelativeEpsilon) else 0.0


class QuantizerConfig(Section):
    """Stage 7 quantizes each coefficient to one byte (paper §3.3)."""

    source: Annotated[str, Mark.PATH, Mark.DESCRIBED] = Field(
        FIT,
        description="fit fits the codebook on the train frames. Any other value is a finished dataset, or a "
        "quantizer.npz, whose codebook is taken as it is; of the fields below, those that are left out are the "
        "codebook's own. It needs the PCA whose coefficients it was learnt on: give pca.source too, or `like`.",
    )
    method: Literal["optimal", "uniform"] = Field(
        "optimal",
        description="optimal has the paper's optimally computed, non-uniform bins (§3.3); uniform has the bins that "
        "public readers assume.",
    )
    levels: int = Field(256, ge=2, le=256, description="The number of distinct values (§3.3).")
    scope: Literal["shared", "per_dimension"] = Field(
        "shared",
        description="shared has one codebook for all dimensions (256 numbers), per_dimension one for each (1 MiB).",
    )

    @property
    def is_fitted(self) -> bool:
        """Whether it is fitted here, and not imported."""
        return self.source == FIT

    @model_validator(mode="after")
    def _uniform_has_256_shared_levels(self) -> "QuantizerConfig":
        if self.method == "uniform" and (self.levels, self.scope) != (256, "shared"):
            raise ValueError("the public uniform quantizer has exactly 256 levels, shared by all dimensions")
        return self


class Shards(Section):
    """Stage 8 writes this many files per partition; the published dataset has 3,844 of each.

    auto takes as many as keep each below 200 MB, and no more than there are videos.
    """

    train: PositiveOrAuto = 3844
    validate_: PositiveOrAuto = Field(3844, alias="validate")
    test: PositiveOrAuto = 3844
    salt: str = Field("yt8m-shard", description="Another salt puts other videos into each shard.")

    def of(self, partition: Partition) -> int | None:
        """The number of shards of a partition; None where the build decides it."""
        number = {Partition.TRAIN: self.train, Partition.VALIDATE: self.validate_, Partition.TEST: self.test}[partition]
        return number if isinstance(number, int) else None


class Parallelism(Section):
    """How a build is divided among workers. No field of this section changes a byte."""

    join_buckets: Annotated[Positive, Changes.NOTHING] = Field(
        64, description="The number of hash buckets that tables are joined in."
    )
    fitting_units: Annotated[Positive, Changes.NOTHING] = Field(
        64, description="The number of groups of train videos that the PCA and the codebook are fitted on side by side."
    )
    accumulators: Annotated[Positive, Changes.NOTHING] = Field(
        8,
        description="The number of partial sums that the last addition of a fit meets; each is 50 MB for the PCA, and "
        "128 MB for a codebook of each dimension.",
    )


class Card(Section):
    """What only people know of a dataset, for its card (README.md and croissant.json). Nothing else depends on it."""

    title: str | None = None
    description: str | None = Field(None, description="What the dataset is and what it is for; Markdown.")
    licence: str | None = Field(
        None, description="An identifier of SPDX, such as CC-BY-4.0, or the URL of a licence. A build without it warns."
    )
    contact: str | None = Field(None, description="Whom to ask.")
    citation: str | None = Field(None, description="How to cite the dataset, as BibTeX.")
    take_down: str | None = Field(None, description="Where to ask for the removal of a video.")
    homepage: str | None = Field(None, description="The URL of the dataset.")


class Config(Section):
    """The whole config: everything that a dataset depends on, but for the contents of its files."""

    like: Annotated[str | None, Mark.PATH, Mark.DESCRIBED] = Field(
        None,
        description="A finished dataset whose PCA and codebook this one takes, so that codes of both mean the same: "
        "pca.source and quantizer.source at once. The sections pca and quantizer are left out then.",
    )
    tables: Tables = Tables()
    store: Folder = Field("features", description="The folder of the feature store; datasets may share one.")
    output: Folder = Field("dataset", description="The folder of the dataset.")
    vocabulary: Vocabulary | None = Field(
        None, description="null means that entities of every type are kept, also those without a type."
    )
    rater_scores: RaterScores = RaterScores()
    video_sampling: VideoSampling = VideoSampling()
    partitioning: Partitioning = Partitioning()
    labels: Labels = Labels()
    duplicates: Literal["group", "reject", "keep"] = Field(
        "group",
        description="What happens to a film that is given several times, by its uri or its features: all are in one "
        "partition; all but the first are rejected; nothing, so that it may be in several partitions.",
    )
    decoding: Decoding = Decoding()
    inception: Inception
    pca: PcaConfig = PcaConfig()
    quantizer: QuantizerConfig = QuantizerConfig()
    shards: Shards = Shards()
    parallelism: Parallelism = Parallelism()
    card: Card = Card()
    max_failure_fraction: Share = Field(
        0.05,
        description="The build fails if a larger share of the videos with a label cannot be measured, or of those that "
        "are drawn cannot be decoded or extracted.",
    )

    @model_validator(mode="after")
    def _filters_have_their_tables(self) -> "Config":
        if self.tables.entities is None and self.vocabulary is not None:
            raise ValueError("tables.entities is null, and labels have no types: make vocabulary null too")
        if self.tables.ratings is None and self.rater_scores != RaterScores():
            raise ValueError("tables.ratings is null, and rater_scores counts for nothing: leave rater_scores out")
        return self

    @model_validator(mode="after")
    def _like_stands_alone(self) -> "Config":
        given = [
            name for name, of in (("pca", PcaConfig()), ("quantizer", QuantizerConfig())) if vars(self)[name] != of
        ]
        if self.like is not None and given:
            raise ValueError(f"like takes the PCA and the codebook of {self.like}: leave out {' and '.join(given)}")
        return self


class Knob(NamedTuple):
    """A field of the config that has no fields of its own.

    Attributes:
        path: The names that lead to it, as they stand in YAML.
        changes: What depends on it.
        marks: Its further annotations.
    """

    path: tuple[str, ...]
    changes: Changes
    marks: frozenset[Mark]


def knobs(section: type[Section] = Config, above: tuple[str, ...] = ()) -> Iterator[Knob]:
    """Every field of the config that holds a value; one that may hold a section too stands beside its fields."""
    for name, field in section.model_fields.items():
        path, below = (*above, field.alias or name), _sections(field.annotation)
        for part in below:
            yield from knobs(part, path)
        if not below or _takes_values(field.annotation):
            yield Knob(path, Changes.of(field), frozenset(item for item in field.metadata if isinstance(item, Mark)))


def _sections(annotation: Any) -> list[type[Section]]:
    """The sections that a field may hold; none for a field of any other type."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for argument in get_args(annotation) for section in _sections(argument)]


def _takes_values(annotation: Any) -> bool:
    """Whether a field may hold a text or a number."""
    return annotation in (float, int, str) or any(map(_takes_values, get_args(annotation)))


PATHS = frozenset(knob.path for knob in knobs() if Mark.PATH in knob.marks)

FIELDS = sorted({name for section in Section.__subclasses__() for name in section.model_fields})
"""The names of all fields, to guess what a misspelt one may have meant."""


def load(path: Path | str, settings: Sequence[str] = ()) -> Config:
    """Reads a YAML config and applies `key=value` settings.

    Args:
        path: The file. Paths in it are relative to its folder.
        settings: Each is a dotted field, `=` and a YAML value. Paths in them are relative to the current folder.

    Raises:
        UsageError: with every problem at once, each with its field path.
    """
    return resolve(_read_yaml(Path(path)), Path(path), settings)


def resolve(values: dict[str, Any], path: Path, settings: Sequence[str] = ()) -> Config:
    """The config of the values of a file, with settings applied; the arguments and errors are those of `load`."""
    for setting in settings:
        _apply(values, setting)
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise _all_problems(error, path) from None
    return Config.model_validate(_with_absolute_paths(as_dict(config), path.resolve().parent))


def recipe(section: Section) -> dict[str, Any]:
    """The values that the bytes of a dataset depend on, for the key of a build and the manifest.

    Fields that change nothing are left out, and so are those that name what the key describes elsewhere.
    """
    values = section.model_dump(mode="json", by_alias=True)
    for name, field in type(section).model_fields.items():
        key, value = field.alias or name, getattr(section, name)
        if isinstance(value, Section):
            values[key] = recipe(value)
        if values[key] == {} or Changes.of(field) == Changes.NOTHING or Mark.DESCRIBED in field.metadata:
            del values[key]
    return values


def features_recipe(section: Section) -> dict[str, Any]:
    """The values of a section that features depend on, by name, for the description of the feature space."""
    fields = type(section).model_fields.items()
    return {name: getattr(section, name) for name, field in fields if Changes.of(field) == Changes.FEATURES}


MAX_CONFIG_BYTES = 1 << 20
"""A config may have this many bytes. The longest that the package brings has 4 kB; entity types add more."""

MAX_BITS = 63
"""A whole number in a config may have this many bits beside its sign: it goes into columns and counters of 64 bits."""

MAX_MERGED_KEYS = 1_000
"""The mappings that a mapping merges (`<<`) may have this many keys together; a config has some hundred fields."""

UNREADABLE = (OSError, OverflowError, RecursionError, ValueError, yaml.YAMLError)
"""The exceptions of PyYAML, also for deep nesting, an integer of more than 4,300 digits and an impossible date."""


class _Loader(yaml.SafeLoader):
    """Reads YAML in which a key may stand only once; PyYAML takes the last of several without a word."""

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        value = int(super().construct_yaml_int(node))
        if value.bit_length() > MAX_BITS:
            raise yaml.constructor.ConstructorError(None, None, "a whole number is too large", node.start_mark)
        return value

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Refuses the same key twice, before the keys of other mappings are merged into this one (`<<`)."""
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", key.start_mark)
            seen.add(key.value)
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Refuses merges of merges (`<<`) that grow without bound: 500 bytes of them are millions of keys."""
        merged = [value for key, value in node.value if key.tag == "tag:yaml.org,2002:merge"]
        lists = [value.value if isinstance(value, yaml.SequenceNode) else [value] for value in merged]
        mappings = [part for parts in lists for part in parts if isinstance(part, yaml.MappingNode)]
        for part in mappings:
            self.flatten_mapping(part)
        if sum(len(part.value) for part in mappings) > MAX_MERGED_KEYS:
            reason = f"more than {MAX_MERGED_KEYS:,} keys are merged"
            raise yaml.constructor.ConstructorError(None, None, reason, node.start_mark)
        super().flatten_mapping(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def _parse_yaml(text: str) -> Any:
    return yaml.load(text, _Loader)  # noqa: S506  a SafeLoader


def _read_text(path: Path) -> str:
    with path.open("rb") as stream:
        data = stream.read(MAX_CONFIG_BYTES + 1)
    if len(data) > MAX_CONFIG_BYTES:
        raise ValueError(f"it has more than {MAX_CONFIG_BYTES:,} bytes")
    return data.decode()


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = _parse_yaml(_read_text(path))
    except FileNotFoundError:
        raise UsageError(
            what="The config file does not exist",
            where=str(path),
            why="no such file",
            fix="give the path of a YAML config",
        ) from None
    except PermissionError as error:
        raise UsageError(
            what="The config file cannot be read",
            where=str(path),
            why=error.strerror or str(error),
            fix="let the user of this command read it",
        ) from None
    except UNREADABLE as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            what="The config cannot be read as YAML", where=str(path), why=reason, fix="correct the file"
        ) from None
    if not isinstance(values, dict):
        raise UsageError(
            what="The config is not a mapping",
            where=str(path),
            why=f"its top level is {type(values).__name__}",
            fix="see configs/",
        )
    return values


def _with_absolute_paths(value: Any, base: Path, field: tuple[str, ...] = ()) -> Any:
    """The value of a field, in which every path is absolute."""
    if isinstance(value, dict) and len(field) < DEEPEST:
        return {name: _with_absolute_paths(item, base, (*field, name)) for name, item in value.items()}
    return absolute_path(value, base) if field in PATHS and isinstance(value, str) else value


DEEPEST = max(map(len, PATHS))
"""Nothing below this level is a path. A section of a setting may hold itself (`&a {b: *a}`), and so have no end."""

NO_PATHS = (IMAGENET, FIT)
"""The values of path fields that are no paths."""


def absolute_path(value: str, base: Path) -> str:
    """Makes a path absolute from a folder. URIs, and values that are no paths, stay as they are.

    Raises:
        UsageError: if no system can have such a path, or there is no user of its `~user`.
    """
    if "\0" in value:
        raise _no_path(value, "it has a null character")
    if "://" in value or value in NO_PATHS:
        return value
    try:
        return os.path.normpath(base / Path(value).expanduser())
    except RuntimeError as error:
        raise _no_path(value, str(error)) from None


def _no_path(value: str, why: str) -> UsageError:
    return UsageError(what="This is no path", where=value, why=why, fix="give a path, or gs://BUCKET/PATH")


def _apply(values: dict[str, Any], setting: str) -> None:
    key, equals, text = setting.partition("=")
    if not equals or not key:
        raise UsageError(
            what="A setting is not key=value", where=f"--set {setting}", why="no '=' in it", fix="write --set a.b=value"
        )
    *parents, leaf = key.split(".")
    section: Any = values
    for parent in parents:
        section = section.setdefault(parent, {}) if isinstance(section, dict) else None
    if not isinstance(section, dict):
        raise UsageError(
            what="A setting names no section",
            where=f"--set {setting}",
            why=f"{key} is not a field",
            fix="see config schema",
        )
    try:
        value = _parse_yaml(text)
    except UNREADABLE as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            what="A setting cannot be read as YAML", where=f"--set {setting}", why=reason, fix="quote the value"
        ) from None
    section[leaf] = _with_absolute_paths(value, Path.cwd(), (*parents, leaf))


DIVIDED = {
    "table_buckets": "parallelism.join_buckets, parallelism.fitting_units or parallelism.accumulators",
}
"""The fields of earlier versions, and those that took their place."""


def _all_problems(error: ValidationError, path: Path) -> UsageError:
    problems = [_problem(item) for item in error.errors()]
    return UsageError(
        what=f"The config has {len(problems)} problem{'s' * (len(problems) != 1)}",
        where=str(path),
        why=CONTINUED.join(problems),
        fix="correct these fields; `yt8m config schema` lists every field",
    )


def _problem(item: Mapping[str, Any]) -> str:
    field = ".".join(str(part) for part in item["loc"] if part != NUMBER) or "config"
    if item["type"] != "extra_forbidden":
        return f"{field}: {item['msg']}" + f", or {AUTO}" * (NUMBER in item["loc"])
    if field in DIVIDED:
        return f"{field}: this field is divided now; give {DIVIDED[field]}"
    near = difflib.get_close_matches(str(item["loc"][-1]), FIELDS, n=1)
    return f"{field}: there is no such field" + (f"; is {_in_its_section(near[0], field)} meant?" if near else "")


def _in_its_section(name: str, field: str) -> str:
    """The name of a field that may be meant, with the sections that have it where that of `field` has not."""
    section = field.rpartition(".")[0]
    paths = [".".join(knob.path) for knob in knobs() if knob.path[-1] == name]
    own = f"{section}.{name}".removeprefix(".")
    return name if own in paths else " or ".join(paths) or name


def as_yaml(config: Config) -> str:
    return yaml.safe_dump(as_dict(config), sort_keys=False, allow_unicode=True)


def as_dict(config: Config) -> Mapping[str, Any]:
    return config.model_dump(mode="json", by_alias=True)
