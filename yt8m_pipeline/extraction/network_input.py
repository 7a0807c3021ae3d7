"""The input that each network wants: the order of the colours, the range of the values, and who resizes.

This module only tells; it resizes nothing. Frames are resized by the decoder (`inception.resize: decoder`), by
`networks.prepared`, or by a network itself. TensorFlow is not imported here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from yt8m_pipeline.config import Architecture, GraphModel, HubModel, KerasModel, Model, RandomModel, SavedModel

Colours: TypeAlias = tuple[float, float, float]
"""One number for each colour, in the order in which the network wants the colours."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How RGB bytes x become the input of a network: (x - mean) / deviation, for each colour.

    Attributes:
        mean: The mean of each colour, on the scale of 0 to 255.
        deviation: The standard deviation of each colour, on the same scale.
        order: The order in which the network wants the colours.
        resizes_itself: Whether the network takes images of any size and resizes them. For other networks,
            `tf.image.resize` does it: bilinear, with half-pixel centers, without antialiasing, the whole image whatever
            its proportions.

    >>> import numpy as np
    >>> SIGNED(np.array([[0.0, 127.5, 255.0]]))
    array([[-1.,  0.,  1.]])
    """

    mean: Colours
    deviation: Colours
    order: Literal["RGB", "BGR"] = "RGB"
    resizes_itself: bool = False

    def __call__(self, images: Any) -> Any:
        """Computes the input from float32 RGB values, 0 to 255, of shape (..., 3), in an array or a tensor."""
        ordered = images if self.order == "RGB" else images[..., ::-1]
        return (ordered - self.mean) / self.deviation

    def __str__(self) -> str:
        return f"({self.order} - {self.mean}) / {self.deviation}"

    @property
    def resize(self) -> str:
        """How images get the size that the network wants, in the words of the feature space's description."""
        return "bilinear, by the network itself" if self.resizes_itself else "bilinear, half-pixel centers"


def _alike(mean: float, deviation: float) -> Preprocessing:
    return Preprocessing((mean,) * 3, (deviation,) * 3)


BYTES = _alike(0, 1)
"""The bytes as they are, for networks that normalise them in their own layers."""

UNIT = _alike(0, 255)
"""Values in [0, 1], the common image input of TensorFlow Hub."""

SIGNED = _alike(127.5, 127.5)
"""Values in [-1, 1], the mode `tf` of Keras' imagenet_utils."""

CENTRED = Preprocessing((103.939, 116.779, 123.68), (1.0, 1.0, 1.0), "BGR")
"""BGR less the mean colour of ImageNet, the mode `caffe` of Keras' imagenet_utils."""

STANDARDISED = Preprocessing((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
"""RGB less the mean colour of ImageNet, by its standard deviation: the mode `torch` of Keras' imagenet_utils."""

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
"""The preprocessing of each architecture of tf.keras.applications.

It computes what the `preprocess_input` function of the architecture's family in Keras computes.
"""

SOURCES: Mapping[type[Any], Preprocessing] = {
    GraphModel: replace(BYTES, resizes_itself=True),
    HubModel: UNIT,
    RandomModel: SIGNED,
    SavedModel: UNIT,
}
"""The preprocessing of networks of every source but Keras.

The graph of 2015 takes bytes of any size. It resizes them to 299 × 299 itself (bilinear, without half-pixel centers, as
TensorFlow did in 2015) and computes (x - 128) / 128. TensorFlow Hub's convention of [0, 1] serves SavedModels too. The
network of `random` is Keras' Inception-V3 and therefore wants what that wants.
"""


def preprocessing_of(model: Model) -> Preprocessing:
    """Looks up the preprocessing of a model."""
    return ARCHITECTURES[model.architecture] if isinstance(model, KerasModel) else SOURCES[type(model)]
