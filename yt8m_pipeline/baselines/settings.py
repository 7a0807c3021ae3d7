"""The settings of each model: the paper's values, with its section. Where the paper is silent, the field says so.

>>> settings_of("moe").experts, settings_of("moe", ["experts=4"]).experts, settings_of("dbof", small=True).projection
(2, 4, 256)
"""

import difflib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from yt8m_pipeline.errors import CONTINUED, UsageError

ModelName: TypeAlias = Literal["frame_logistic", "dbof", "lstm", "hinge", "logistic", "moe"]
MODELS: tuple[ModelName, ...] = get_args(ModelName)
"""The models of the paper's Table 3, by the names that commands know."""

Count = Annotated[int, Field(ge=1, lt=1 << 31)]
Rate = Annotated[float, Field(gt=0)]
Penalty = Annotated[float, Field(ge=0)]


class Settings(BaseModel):
    """What every model has."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    seed: int = Field(
        0, ge=0, lt=1 << 32, description="Decides the initial weights, the order of the videos and the frames drawn."
    )
    epochs: Count = Field(
        20, description="The most times that the train videos are gone through. The paper tells no number."
    )
    patience: Count = Field(
        3, description="Training stops after so many epochs in which `monitor` has not risen. The paper tells none."
    )
    monitor: Literal["map", "hit@1", "hit@5", "perr", "gap"] = Field(
        "map", description="The metric of the validate videos (§5.1) by which the best epoch is chosen."
    )
    batch_size: Count = Field(32, description="The number of videos of a step (§4.3.3: 32).")
    learning_rate: Rate = Field(1.0, description="§4.3.3: 1.0. For hinge and logistic the paper tells none.")
    shuffle_buffer: Count = Field(
        16_384,
        description="The number of records in memory that the next video is drawn from. Shards come in random order "
        "too.",
    )


class AdaGradSettings(Settings):
    """What models have that AdaGrad trains (§4.1.2, §4.3)."""

    initial_accumulator: Rate = Field(
        0.1,
        description="What AdaGrad's sums of squared gradients begin with. The paper tells none; TensorFlow's is 0.1.",
    )


class LogisticSettings(AdaGradSettings):
    """Logistic regression on video-level features (§4.3.1)."""

    penalty: Penalty = Field(
        0.03,
        description="λ of equation 3, whose loss is summed over the train videos. The paper tells no value; this is "
        "the starter code's (1e-8, halved, of the mean loss) at the paper's 5.8 million train videos.",
    )


class HingeSettings(LogisticSettings):
    """Linear classifiers with hinge loss on video-level features: an online support vector machine (§4.3.2)."""

    margin: Rate = Field(1.0, description="b of equation 4 (§4.3.2: it can be tuned or set to 1.0).")


class MoeSettings(LogisticSettings):
    """Mixtures of experts on video-level features (§4.3.3)."""

    experts: Count = Field(
        2, description="|H|: the number of experts of a class, beside the dummy state (§4.3.3: 1, 2, 4; 2 reported)."
    )


FRAME_BUFFER: Any = Field(
    1_024, description="The number of records in memory that the next video is drawn from; one has all its frames."
)


class FrameLogisticSettings(LogisticSettings):
    """Logistic regression on frames, whose scores are averaged over the video (§4.1.1)."""

    frames: Count = Field(20, description="The number of random frames of a video that an epoch trains on (§4.1.1).")
    shuffle_buffer: Count = FRAME_BUFFER


class DbofSettings(AdaGradSettings):
    """Deep bag of frames (§4.1.2)."""

    frames: Count = Field(
        30, description="k, the number of frames of a video. §4.1.2 tells none; the starter code has 30."
    )
    projection: Count = Field(8_192, description="The units of the projection that all frames share (§4.1.2: 8192).")
    hidden: Count = Field(1_024, description="The units between pooling and classification (§4.1.2: 1024).")
    weight_decay: Penalty = Field(
        0.0005,
        description="§4.1.2: 0.0005; that share of each matrix is added to the gradient of the mean loss.",
    )
    momentum: float = Field(
        0.99, ge=0, lt=1, description="How slowly batch normalisation forgets. The paper tells none; Keras' is 0.99."
    )
    learning_rate: Rate = Field(0.1, description="§4.1.2: 0.1.")
    batch_size: Count = Field(128, description="The number of videos of a step. §4.1.2 tells none.")
    shuffle_buffer: Count = FRAME_BUFFER


class LstmSettings(Settings):
    """Stacked LSTMs (§4.1.3), trained by Adam: the paper tells no optimizer, and the starter code has this one."""

    layers: Count = Field(2, description="The number of stacked LSTM layers (§4.1.3: 2).")
    units: Count = Field(1_024, description="The hidden units of each layer (§4.1.3: 1024).")
    window: Count = Field(60, description="The consecutive frames, randomly placed, that a step unrolls (§4.1.3: 60).")
    learning_rate: Rate = Field(0.001, description="The paper tells none; the starter code's for LSTMs is 0.001.")
    clip_norm: Rate = Field(1.0, description="The longest gradient. The paper tells none; the starter code's is 1.0.")
    batch_size: Count = Field(
        128, description="The number of videos of a step. The paper tells none; the starter code's."
    )
    shuffle_buffer: Count = FRAME_BUFFER


KINDS: Mapping[ModelName, type[Settings]] = {
    "frame_logistic": FrameLogisticSettings,
    "dbof": DbofSettings,
    "lstm": LstmSettings,
    "hinge": HingeSettings,
    "logistic": LogisticSettings,
    "moe": MoeSettings,
}

FRAME_MODELS = frozenset[ModelName]({"frame_logistic", "dbof", "lstm"})
"""The models that read frames (§4.1). The others read one vector of each video (§4.3)."""

SMALL: Mapping[ModelName, Mapping[str, Any]] = {
    "frame_logistic": {"batch_size": 16},
    "dbof": {"batch_size": 16, "projection": 256, "hidden": 64, "momentum": 0.9},
    "lstm": {"batch_size": 16, "units": 64, "learning_rate": 0.01},
    "hinge": {"batch_size": 16},
    "logistic": {"batch_size": 16},
    "moe": {"batch_size": 16},
}
"""Settings for demos of some hundred videos: few weights, and batches so small that an epoch has several."""


def settings_of(model: str, changes: Sequence[str] = (), *, small: bool = False) -> Settings:
    """The settings of a model.

    Args:
        model: One of `MODELS`.
        changes: Settings that differ from the defaults, as `name=value`.
        small: Whether the defaults are those of `SMALL`.

    Raises:
        UsageError: if there is no such model, or a setting is unknown or has a value that it cannot have; all such
            problems at once.
    """
    name = model_name(model)
    values = {**(SMALL[name] if small else {}), **dict(map(_parsed, changes))}
    try:
        return KINDS[name].model_validate(values)
    except ValidationError as error:
        problems = [_problem(name, item) for item in error.errors()]
        raise UsageError(
            what=f"The settings of {name} have {len(problems)} problem{'s' * (len(problems) != 1)}",
            where="--set",
            why=CONTINUED.join(problems),
            fix=f"its settings are {', '.join(KINDS[name].model_fields)}",
        ) from None


def model_name(model: str) -> ModelName:
    """The name, if there is such a model."""
    for name in MODELS:
        if name == model:
            return name
    raise UsageError(
        what="There is no such model",
        where=model,
        why=f"the models are {', '.join(MODELS)}",
        fix="give one of these names",
    )


def _parsed(change: str) -> tuple[str, Any]:
    name, equals, text = change.partition("=")
    if not equals:
        raise _unread(change, "no '=' in it")
    try:
        value = yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise _unread(change, " ".join(str(error).split())) from None
    if isinstance(value, bool):  # it would count as 0 or 1
        raise _unread(change, f"{text} is no number or word, but yes or no")
    return name, value


def _unread(change: str, why: str) -> UsageError:
    return UsageError(
        what="A setting is not name=value", where=f"--set {change}", why=why, fix="write --set name=value"
    )


def _problem(model: ModelName, item: Mapping[str, Any]) -> str:
    name = ".".join(map(str, item["loc"]))
    if item["type"] != "extra_forbidden":
        return f"{name}: {item['msg']}"
    near = difflib.get_close_matches(name, KINDS[model].model_fields, n=1)
    return f"{name}: there is no such setting" + (f"; is {near[0]} meant?" if near else "")
