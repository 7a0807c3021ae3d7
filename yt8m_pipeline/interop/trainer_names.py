"""The names of the formats of other trainers, which the command line needs before it loads a library."""

from enum import StrEnum


class TrainerFormat(StrEnum):
    """What other trainers read."""

    WEBDATASET = "webdataset"
    PARQUET = "parquet"
    NPY = "npy"
    HF = "hf"


class Values(StrEnum):
    """What stands for a frame: its de-quantized coefficients, or its codes, whose values quantizer.npz tells."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    CODES = "codes"
