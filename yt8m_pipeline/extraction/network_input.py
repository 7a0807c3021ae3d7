"""What each network sees of a frame: the order of the colours, the value range, and who resizes. No TensorFlow."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from yt8m_pipeline.config import Architecture, GraphModel, HubModel, KerasModel, Model, RandomModel, SavedModel

Colours: TypeAlias = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """From RGB bytes x to the input of a network: (x - mean) / deviation for each colour.

    Attributes:
        mean: In the order of the colours, 0 to 255.
        deviation: In the order of the colours, 0 to 255.
        order: The order in which the network wants the colours.
        resizes_itself: Whether the network takes images of any size and resizes them. For the others, `tf.image.resize`
            does it: bilinear, half-pixel centers, no antialiasing, the whole image, whatever its proportions.
    """

    mean: Colours
    deviation: Colours
    order: Literal["RGB", "BGR"] = "RGB"
    resizes_itself: bool = False

    def __call__(self, images: Any) -> Any:
        """The network's input from float32 RGB, 0 to 255, of shape (..., 3): an array or a tensor."""
        ordered = images if self.order == "RGB" else images[..., ::-1]
        return (ordered - self.mean) / self.deviation

    def __str__(self) -> str:
        return f"({self.order} - {self.mean}) / {self.deviation}"

    @property
    def resize(self) -> str:
        """How images of another size than the network's come to it."""
        return "bilinear, by the network itself" if self.resizes_itself else "bilinear, half-pixel centers"


def _alike(mean: float, deviation: float) -> Preprocessing:
    return Preprocessing((mean,) * 3, (deviation,) * 3)


BYTES = _alike(0, 1)
UNIT = _alike(0, 255)
SIGNED = _alike(127.5, 127.5)
CENTRED = Preprocessing((103.939, 116.779, 123.68), (1.0, 1.0, 1.0), "BGR")
STANDARDISED = Preprocessing((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))

ARCHITECTURES: Mapping[Architecture, Preprocessing] = {
    "InceptionV3": SIGNED,
    "InceptionResNetV2": SIGNED,
    "Xception": SIGNED,
    "MobileNet": SIGNED,
    "MobileNetV2": SIGNED,
    "NASNetMobile": SIGNED,
    "NASNetLarge": SIGNED,
    "ResNet50V2": SIGNED,
    "ResNet101V2": SIGNED,
    "ResNet152V2": SIGNED,
    "ResNet50": CENTRED,
    "ResNet101": CENTRED,
    "ResNet152": CENTRED,
    "VGG16": CENTRED,
    "VGG19": CENTRED,
    "DenseNet121": STANDARDISED,
    "DenseNet169": STANDARDISED,
    "DenseNet201": STANDARDISED,
    "EfficientNetB0": BYTES,
    "EfficientNetB4": BYTES,
    "EfficientNetB7": BYTES,
    "EfficientNetV2S": BYTES,
    "EfficientNetV2M": BYTES,
    "EfficientNetV2L": BYTES,
    "MobileNetV3Small": BYTES,
    "MobileNetV3Large": BYTES,
    "ConvNeXtTiny": BYTES,
    "ConvNeXtBase": BYTES,
    "ConvNeXtLarge": BYTES,
}
"""What each architecture of tf.keras.applications wants: the same as the `preprocess_input` of its family makes.

Those that want bytes normalise them themselves.
"""

SOURCES: Mapping[type[Any], Preprocessing] = {
    GraphModel: replace(BYTES, resizes_itself=True),
    HubModel: UNIT,
    RandomModel: SIGNED,
    SavedModel: UNIT,
}
"""What a network of each other source wants.

The 2015 graph takes bytes in any size: it resizes to 299 × 299 itself (bilinear, without half-pixel centers, as
TensorFlow did then) and makes (x - 128) / 128 of them. [0, 1] is the common image input of TensorFlow Hub, and ours for
SavedModels. `random` is an Inception-V3 of Keras.
"""


def preprocessing_of(model: Model) -> Preprocessing:
    """The row of the tables above for a model."""
    return ARCHITECTURES[model.architecture] if isinstance(model, KerasModel) else SOURCES[type(model)]
