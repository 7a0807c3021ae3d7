"""The config: one pydantic model per act, composed. The defaults are the paper's values, cited."""

import difflib
import os
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator
from pydantic_core import ErrorDetails

from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.errors import UsageError

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """Immutable, and a misspelt field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Tables(Section):
    """The input tables: Parquet, CSV or JSONL by file ending; local or gs://; globs allowed."""

    root: str = Field(".", description="Folder that the tables and relative video URIs are relative to.")
    entities: str = "entities.csv"
    ratings: str = "ratings.csv"
    videos: str = "videos.parquet"
    annotations: str | None = Field(
        "annotations.csv", description="null: the labels are nested in the videos table, column `labels`."
    )


class Vocabulary(Section):
    """Stage 1. Keep entities with a whitelisted type and no blacklisted one (paper §3.1)."""

    type_whitelist: tuple[str, ...] = Field(min_length=1, description="§3.1: 25 types that are visual.")
    type_blacklist: tuple[str, ...] = Field(description="§3.1: types that are not visual.")

    @model_validator(mode="after")
    def _lists_are_disjoint(self) -> "Vocabulary":
        both = sorted(set(self.type_whitelist) & set(self.type_blacklist))
        if both:
            raise ValueError(f"types both whitelisted and blacklisted: {', '.join(both)}")
        return self


class RaterScores(Section):
    """Stage 2. Keep entities that raters find visual (paper §3.1, Figure 4)."""

    min_raters: Positive = Field(3, description="§3.1: each entity was rated by 3 raters.")
    min_score: float = Field(1.0, description="Figure 4: scores run from 1, the most visual …")
    max_score: float = Field(5.0, description="… to 5.")
    max_mean_score: float = Field(2.5, description="Figure 4: a maximum average score of 2.5.")

    @model_validator(mode="after")
    def _scores_are_ordered(self) -> "RaterScores":
        if not self.min_score < self.max_mean_score <= self.max_score:
            raise ValueError("min_score < max_mean_score <= max_score must hold")
        return self


class VideoSampling(Section):
    """Stage 3. Which videos, and which entities have enough of them (paper §3.1, §3.2)."""

    min_views: Count = Field(1000, description="§3.2: at least 1,000 views.")
    min_duration_seconds: float = Field(120.0, ge=0, description="§3.2: too short is < 120 s.")
    max_duration_seconds: float = Field(500.0, gt=0, description="§3.2: too long is > 500 s.")
    popular_videos_above: Count = Field(200, description="§3.1: entities with more than 200 popular videos.")
    sample_size: Positive = Field(10_000_000, description="§3.2: randomly sampled 10 million videos.")
    min_videos_per_entity: Count = Field(200, description="§3.2: entities with less than 200 videos go.")
    salt: str = Field("yt8m-sample", description="Changes which videos are drawn.")

    @model_validator(mode="after")
    def _durations_are_ordered(self) -> "VideoSampling":
        if self.min_duration_seconds > self.max_duration_seconds:
            raise ValueError("min_duration_seconds must not be above max_duration_seconds")
        return self


class Partitioning(Section):
    """Stage 3. Train : Validate : Test = 70 : 20 : 10 (paper §3.2)."""

    train: Share = 0.7
    validate_: Share = Field(0.2, alias="validate")
    test: Share = 0.1
    salt: str = Field("yt8m-partition", description="Changes which videos land in which partition.")

    @model_validator(mode="after")
    def _shares_sum_to_one(self) -> "Partitioning":
        if abs(self.train + self.validate_ + self.test - 1.0) > 1e-9:
            raise ValueError(f"the shares sum to {self.train + self.validate_ + self.test:g}, not 1")
        return self


class Decoding(Section):
    """Stage 4. One frame per second of the first six minutes (paper §3.3), in a sandbox."""

    frames_per_second: float = Field(1.0, gt=0, le=120, description="§3.3: 1 frame per second.")
    max_seconds: float = Field(360.0, gt=0, description="§3.3: up to the first 360 seconds.")
    sampling: Literal["exact", "keyframes"] = Field(
        "exact",
        description="exact: the frame on screen; keyframes: the keyframe nearest to each grid time, cheaper but off.",
    )
    damage: Literal["strict", "salvage"] = Field(
        "strict", description="strict: a damaged film is rejected; salvage: its sound frames are used."
    )
    min_decoded_fraction: Share = Field(
        0.9, description="Under salvage, a film is rejected if a smaller share of its frames is sound."
    )
    demuxers: tuple[str, ...] = Field(
        ("mov", "matroska", "flv", "avi", "mpegts", "mpeg", "ogg", "asf"),
        min_length=1,
        description="FFmpeg's demuxers of self-contained files: no playlist, image sequence or session description.",
    )
    protocols: tuple[str, ...] = Field((), description="FFmpeg's protocols that a demuxer may open by itself: none.")
    timeout_seconds: float = Field(120.0, gt=0, description="Wall-clock limit for opening a film …")
    timeout_seconds_per_frame: float = Field(20.0, ge=0, description="… and as much more for each frame of the grid.")
    memory_limit_mib: int = Field(4096, ge=256, description="Address space of a decoding child process.")

    @property
    def rate(self) -> Fraction:
        """Frames per second as the exact rational number that was written."""
        return Fraction(str(self.frames_per_second))


class RandomModel(Section):
    """Seeded random weights in the real Inception-V3: for the demo and tests. The features mean nothing."""

    random: Count


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
    Field(
        pattern="^[0-9a-f]{64}$",
        description="What the model must be: the SHA-256 of its file; of a folder, also of one in an archive, that of "
        "the list which sha256sum prints for its files, sorted by name. null: whatever it is.",
    ),
]

IMAGENET = "imagenet"


class KerasModel(Section):
    """A network of Keras: a whole one (.keras), weights (.h5), or `imagenet` from Keras' own cache."""

    keras: str
    architecture: Architecture = Field(
        "InceptionV3", description="Whose layers the weights are for, and whose preprocessing the network wants."
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

    saved_model: str
    sha256: Sha256 = None


class HubModel(Section):
    """A TensorFlow Hub feature vector: a handle (resolved through the hub's cache), a folder, or a .tar.gz of it."""

    tfhub: str
    sha256: Sha256 = None


class GraphModel(Section):
    """The frozen Inception graph of 2015, classify_image_graph_def.pb, of the paper and the public extractor."""

    graph: str
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
    """Stage 5. The activation before the classifier, pool_3 (paper §3.3)."""

    model: Model
    image_size: int = Field(299, ge=16, description="Height and width of the network's input, pixels.")
    resize: Literal["decoder", "model"] = Field(
        "decoder",
        description="Who makes frames that large. decoder: area averaging, while decoding; model: bilinear, as the "
        "network was trained (paper §3.3), from frames in their own size, which costs more memory and time.",
    )
    batch_size: Positive = Field(8, description="Frames per call of the network, at most.")
    device: Literal["auto", "cpu", "gpu"] = Field("auto", description="Where it runs. auto: on a GPU if there is one.")
    precision: Literal["float32", "mixed"] = Field(
        "float32", description="Of the network's arithmetic. mixed: float16 where that is safe, on a GPU only."
    )
    dtype: Literal["float16", "float32"] = Field(
        "float16",
        description="How the feature store keeps features. Rounding to float16 costs 1/270 of what codes cost.",
    )

    @property
    def decoded_size(self) -> int | None:
        """Height and width that frames are decoded to, pixels; None: each has its own."""
        return self.image_size if self.resize == "decoder" else None


FIT = "fit"


class RelativeEpsilon(Section):
    """An epsilon that whitens features of every scale alike."""

    relative: float = Field(
        0.01, ge=0, description="The share of the smallest eigenvalue kept: whitened variances are ≥ 1 / (1 + share)."
    )


class PcaConfig(Section):
    """Stage 6. PCA with whitening (paper §3.3)."""

    source: str = Field(
        FIT,
        description="fit: on the train frames; or a folder with a PCA learnt elsewhere (§5.4): mean.npy, eigenvals.npy "
        "and eigenvecs.npy as published, or MediaPipe's *_mean_matrix_data.pb and *_projection_matrix_data.pb.",
    )
    components: Positive = Field(1024, description="§3.3: reduce feature dimensions to 1024.")
    epsilon: Annotated[float, Field(ge=0)] | RelativeEpsilon = Field(
        RelativeEpsilon(),
        description="Added to the eigenvalues before the square root: a number (the public extractor's is 1e-4), or "
        "{relative: …}, a share of the smallest one kept. An imported PCA keeps its own unless this is a number.",
    )

    @property
    def absolute_epsilon(self) -> float | None:
        """The epsilon as a number; None where it is relative."""
        return None if isinstance(self.epsilon, RelativeEpsilon) else self.epsilon

    @property
    def relative_epsilon(self) -> float:
        """The epsilon as a share of the smallest eigenvalue kept; 0 where it is a number."""
        return self.epsilon.relative if isinstance(self.epsilon, RelativeEpsilon) else 0.0


class QuantizerConfig(Section):
    """Stage 7. One byte per coefficient (paper §3.3)."""

    method: Literal["optimal", "uniform"] = Field(
        "optimal", description="§3.3: optimally computed, non-uniform bins; uniform: what public readers assume."
    )
    levels: int = Field(256, ge=2, le=256, description="§3.3: 256 distinct values.")
    scope: Literal["shared", "per_dimension"] = Field(
        "shared", description="One codebook for all dimensions, or one for each: 256 numbers, or 1 MiB."
    )

    @model_validator(mode="after")
    def _uniform_has_256_shared_levels(self) -> "QuantizerConfig":
        if self.method == "uniform" and (self.levels, self.scope) != (256, "shared"):
            raise ValueError("the public uniform quantizer has exactly 256 levels, shared by all dimensions")
        return self


class Shards(Section):
    """Stage 8. Files per partition (the published dataset has 3,844 of each)."""

    train: Positive = 3844
    validate_: Positive = Field(3844, alias="validate")
    test: Positive = 3844
    salt: str = Field("yt8m-shard", description="Changes which shard a video is in.")

    def of(self, partition: Partition) -> int:
        return {Partition.TRAIN: self.train, Partition.VALIDATE: self.validate_, Partition.TEST: self.test}[partition]


class Config(Section):
    """A whole dataset."""

    tables: Tables = Tables()
    store: str = Field("features", description="Folder of the feature store; datasets may share one.")
    output: str = Field("dataset", description="Folder of the dataset.")
    vocabulary: Vocabulary
    rater_scores: RaterScores = RaterScores()
    video_sampling: VideoSampling = VideoSampling()
    partitioning: Partitioning = Partitioning()
    decoding: Decoding = Decoding()
    inception: Inception
    pca: PcaConfig = PcaConfig()
    quantizer: QuantizerConfig = QuantizerConfig()
    shards: Shards = Shards()
    max_failure_fraction: Share = Field(
        0.05, description="Above this share of videos that fail to decode or extract, the build fails."
    )
    table_buckets: Positive = Field(64, description="Hash buckets that tables are joined in; no effect on the result.")


PLACES: Mapping[tuple[str, ...], str] = {("tables", "root"): ".", ("store",): "features", ("output",): "dataset"}
"""The folders that a build reads and writes, and their defaults."""

PATHS = (
    *PLACES,
    *(("inception", "model", source) for source in ("graph", "keras", "saved_model", "tfhub")),
    ("pca", "source"),
)
"""The fields that are paths: relative to the config file there, to the current folder on the command line."""


FIELDS = sorted({name for section in Section.__subclasses__() for name in section.model_fields})
"""The names of all fields, for what a misspelt one may have meant."""


def load(path: Path, settings: Sequence[str] = ()) -> Config:
    """Reads a YAML config and applies `key=value` settings.

    Raises:
        UsageError: with every problem at once, each with its field path.
    """
    values = _read_yaml(path)
    for field in PATHS:
        _make_absolute(values, field, path.resolve().parent)
    for setting in settings:
        _apply(values, setting)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise _all_problems(error, path) from None


class _Loader(yaml.SafeLoader):
    """YAML in which a key stands once; PyYAML lets the last one win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for (key, _), earlier in zip(node.value, range(len(keys)), strict=True):
            if key.value in keys[:earlier]:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", key.start_mark)
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506  a SafeLoader
    except FileNotFoundError:
        raise UsageError(
            "The config file does not exist", str(path), "no such file", "give the path of a YAML config"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UsageError("The config cannot be read as YAML", str(path), reason, "correct the file") from None
    if not isinstance(values, dict):
        raise UsageError(
            "The config is not a mapping", str(path), f"its top level is {type(values).__name__}", "see configs/"
        )
    return values


def _make_absolute(values: dict[str, Any], field: tuple[str, ...], base: Path) -> None:
    *parents, leaf = field
    section: Any = values
    for parent in parents:
        if not isinstance(section, dict):
            return
        section = section.setdefault(parent, {}) if field in PLACES else section.get(parent)
    if not isinstance(section, dict):
        return
    value = section.get(leaf, PLACES.get(field))
    if isinstance(value, str):
        section[leaf] = absolute_path(value, base)


NO_PATHS = (IMAGENET, FIT)
"""What stands in a path's place and is none: weights that Keras knows by name, and the PCA that is fitted here."""


def absolute_path(value: str, base: Path) -> str:
    """A path from a folder; a URI, and a name that is no path, stay as they are."""
    return value if "://" in value or value in NO_PATHS else os.path.normpath(base / Path(value).expanduser())


def _apply(values: dict[str, Any], setting: str) -> None:
    key, equals, text = setting.partition("=")
    if not equals or not key:
        raise UsageError("A setting is not key=value", f"--set {setting}", "no '=' in it", "write --set a.b=value")
    *parents, leaf = key.split(".")
    section: Any = values
    for parent in parents:
        section = section.setdefault(parent, {}) if isinstance(section, dict) else None
    if not isinstance(section, dict):
        raise UsageError("A setting names no section", f"--set {setting}", f"{key} is not a field", "see config schema")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise UsageError("A setting cannot be read as YAML", f"--set {setting}", reason, "quote the value") from None
    is_path = tuple(key.split(".")) in PATHS and isinstance(value, str)
    section[leaf] = absolute_path(value, Path.cwd()) if is_path else value


def _all_problems(error: ValidationError, path: Path) -> UsageError:
    problems = [_problem(item) for item in error.errors()]
    return UsageError(
        f"The config has {len(problems)} problem{'s' * (len(problems) != 1)}",
        str(path),
        "\n         ".join(problems),
        "correct these fields; `yt8m config schema` lists every field",
    )


def _problem(item: ErrorDetails) -> str:
    field = ".".join(map(str, item["loc"])) or "config"
    if item["type"] != "extra_forbidden":
        return f"{field}: {item['msg']}"
    near = difflib.get_close_matches(str(item["loc"][-1]), FIELDS, n=1)
    return f"{field}: there is no such field" + (f"; is {near[0]} meant?" if near else "")


def as_yaml(config: Config) -> str:
    return yaml.safe_dump(as_dict(config), sort_keys=False, allow_unicode=True)


def as_dict(config: Config) -> Mapping[str, Any]:
    return config.model_dump(mode="json", by_alias=True)
