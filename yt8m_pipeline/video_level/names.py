"""The names of the kinds of video-level features, which the command line needs before it loads a library."""

from enum import StrEnum


class Space(StrEnum):
    """The features of frames that a video is described by.

    `relu` are the network's own features, before the PCA, as the paper takes them (§5.2); `pca` are the coefficients of
    the dataset's PCA.
    """

    RELU = "relu"
    PCA = "pca"


class Blocks(StrEnum):
    """The parts of φ = [μ; σ; Top5] (paper §4.2.1, equation 2): the mean, the standard deviation, the five largest."""

    MU = "mu"
    MU_SIGMA = "mu+sigma"
    MU_SIGMA_TOP5 = "mu+sigma+top5"


class Source(StrEnum):
    """What the vectors are computed from.

    `store` are the features of the feature store, exactly; `codes` are those of the dataset, de-quantized; `states` are
    the states of a trained LSTM at the last frame (paper §4.1.3).
    """

    STORE = "store"
    CODES = "codes"
    STATES = "states"
