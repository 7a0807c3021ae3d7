"""The PCA of MediaPipe's YouTube-8M graph: two MatrixData protocol buffers, float32.

`MatrixSubtractCalculator` and `MatrixMultiplyCalculator` compute y = projection · (x − mean) of a column x, and nothing
divides by the eigenvalues after them: `*_mean_matrix_data.pb` is (dimensions, 1), `*_projection_matrix_data.pb`
(components, dimensions), with the whitening folded in.
"""

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from yt8m_pipeline import files
from yt8m_pipeline.compression.artefacts import damage_named
from yt8m_pipeline.data_model import Float32Array, Float64Array
from yt8m_pipeline.dataset.records import message_classes, serialise

MEAN, PROJECTION = "_mean_matrix_data.pb", "_projection_matrix_data.pb"
"""What the names of the two files end in."""

PREFIX = "inception3"
"""What the names of our files begin with. MediaPipe's graph of the frames reads the files with this prefix, and its
graph of the sound those with `vggish`."""

_MATRIX_DATA_PROTO = """
  # mediapipe/framework/formats/matrix_data.proto
  name: "yt8m_pipeline/matrix_data.proto"  package: "mediapipe"  syntax: "proto2"
  message_type { name: "MatrixData"
    enum_type { name: "Layout" value { name: "COLUMN_MAJOR" number: 0 } value { name: "ROW_MAJOR" number: 1 } }
    field { name: "rows" number: 1 label: LABEL_OPTIONAL type: TYPE_INT32 }
    field { name: "cols" number: 2 label: LABEL_OPTIONAL type: TYPE_INT32 }
    field { name: "packed_data" number: 3 label: LABEL_REPEATED type: TYPE_FLOAT options { packed: true } }
    field { name: "layout" number: 4 label: LABEL_OPTIONAL type: TYPE_ENUM type_name: "Layout" } }
"""


_MATRIX_DATA = message_classes(_MATRIX_DATA_PROTO)["MatrixData"]


def matrix_to_bytes(matrix: npt.NDArray[np.floating]) -> bytes:
    """Serialises a matrix of any floating type, (rows, cols), as float32 in column-major order."""
    rows, cols = matrix.shape
    packed = matrix.astype(np.float32).ravel(order="F").tolist()
    return serialise(_MATRIX_DATA(rows=rows, cols=cols, packed_data=packed))


def matrix_from_bytes(data: bytes) -> Float32Array:
    """Parses a matrix of either layout: float32, (rows, cols).

    Raises:
        ValueError: if the bytes are not a MatrixData, or hold another number of values than rows times cols.
    """
    try:
        message = _MATRIX_DATA.FromString(data)
    except DecodeError:
        raise ValueError("holds no MatrixData message") from None
    values = np.array(message.packed_data, np.float32)
    if message.rows < 1 or message.cols < 1 or message.rows * message.cols != len(values):
        raise ValueError(f"holds {len(values)} values for {message.rows} rows and {message.cols} columns")
    return values.reshape(message.rows, message.cols, order="C" if message.layout else "F")


def save_projection(folder: str, mean: Float64Array, projection: Float64Array) -> None:
    """Writes MediaPipe's two files.

    Args:
        folder: Where they go.
        mean: float64, (dimensions,).
        projection: float64, (components, dimensions), with the whitening folded in.

    Raises:
        DataError: if a file cannot be written.
    """
    for ending, matrix in ((MEAN, mean[:, np.newaxis]), (PROJECTION, projection)):
        files.write_bytes(files.join(folder, PREFIX + ending), matrix_to_bytes(matrix))


def projection_files(folder: str) -> list[str]:
    """The names of the files in a folder that `load_projection` reads."""
    return [name for name in files.list_files(folder) if "/" not in name and name.endswith((MEAN, PROJECTION))]


def load_projection(folder: str) -> tuple[Float64Array, Float64Array]:
    """Reads MediaPipe's two files, whatever their prefix.

    Returns:
        The mean, float64 (dimensions,), and the projection, float64 (components, dimensions), without a zero row.

    Raises:
        DataError: if one is missing, damaged or of another shape, or if there are several.
    """
    mean, projection = (_load_matrix(_only_file(folder, ending)) for ending in (MEAN, PROJECTION))
    with damage_named(folder):
        if mean.shape != (projection.shape[1], 1):
            raise ValueError(f"the projection is {projection.shape}, but the mean {mean.shape}")
        if not projection.any(axis=1).all():
            raise ValueError(f"row {projection.any(axis=1).argmin()} of the projection is zero")
    return mean[:, 0], projection


def _only_file(folder: str, ending: str) -> str:
    names = [name for name in projection_files(folder) if name.endswith(ending)]
    with damage_named(folder):
        if len(names) != 1:
            raise ValueError(f"it has {len(names)} files *{ending}, not one{': ' * bool(names)}{', '.join(names)}")
    return files.join(folder, names[0])


def _load_matrix(uri: str) -> Float64Array:
    with damage_named(uri):
        matrix = matrix_from_bytes(files.read_bytes(uri)).astype(np.float64)
        if not np.isfinite(matrix).all():
            raise ValueError("holds values that are not finite")
    return matrix
