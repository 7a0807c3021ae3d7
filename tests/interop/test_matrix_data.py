import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from yt8m_pipeline.data_model import Float32Array
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.interop.matrix_data import load_projection, matrix_from_bytes, matrix_to_bytes, save_projection
from yt8m_pipeline.report.inspection import inspect_path

NUMBERS = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
BY_COLUMNS = b"\x08\x02\x10\x03\x1a\x18" + struct.pack("<6f", 1, 4, 2, 5, 3, 6)
"""By the encoding's specification: rows (field 1) 2, cols (field 2) 3, packed_data (field 3) of 24 bytes."""


def test_the_bytes_are_those_of_the_specification() -> None:
    assert matrix_to_bytes(NUMBERS) == BY_COLUMNS
    assert matrix_to_bytes(NUMBERS.astype(np.float64)) == BY_COLUMNS


def test_columns_rows_and_unpacked_values_are_read() -> None:
    by_rows = b"\x08\x02\x10\x03\x1a\x18" + struct.pack("<6f", *range(1, 7)) + b"\x20\x01"
    unpacked = b"\x08\x02\x10\x03" + b"".join(b"\x1d" + struct.pack("<f", value) for value in (1, 4, 2, 5, 3, 6))
    for data in (BY_COLUMNS, BY_COLUMNS + b"\x20\x00", by_rows, unpacked):
        np.testing.assert_array_equal(matrix_from_bytes(data), NUMBERS)


@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=7), elements=st.floats(width=32)))
def test_every_matrix_is_read_back_bit_for_bit(matrix: Float32Array) -> None:
    np.testing.assert_array_equal(matrix_from_bytes(matrix_to_bytes(matrix)), matrix)


def test_protobuf_reads_the_message_as_mediapipe_does() -> None:
    """`MatrixFromMatrixDataProto` maps packed_data to an Eigen matrix, which is column-major."""
    file = descriptor_pb2.FileDescriptorProto(name="matrix.proto", package="mediapipe", syntax="proto2")
    message = file.message_type.add(name="MatrixData")
    field = descriptor_pb2.FieldDescriptorProto
    message.field.add(name="rows", number=1, type=field.TYPE_INT32, label=field.LABEL_OPTIONAL)
    message.field.add(name="cols", number=2, type=field.TYPE_INT32, label=field.LABEL_OPTIONAL)
    message.field.add(name="packed_data", number=3, type=field.TYPE_FLOAT, label=field.LABEL_REPEATED)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    read: Any = message_factory.GetMessageClass(pool.FindMessageTypeByName("mediapipe.MatrixData"))
    matrix = np.random.default_rng(0).normal(size=(5, 9)).astype(np.float32)
    found = read.FromString(matrix_to_bytes(matrix))
    assert (found.rows, found.cols) == (5, 9)
    assert [found.packed_data[row + 5 * column] for row in range(5) for column in range(9)] == matrix.ravel().tolist()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "0 values for 0 rows and 0 columns"),
        (b"not a message", "no MatrixData"),
        (BY_COLUMNS[:-1], "no MatrixData"),
        (b"\x08\x03" + BY_COLUMNS[2:], "6 values for 3 rows and 3 columns"),
        (matrix_to_bytes(NUMBERS)[2:], "6 values for 0 rows and 3 columns"),
    ],
)
def test_other_bytes_are_refused(data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        matrix_from_bytes(data)


def test_inspect_shows_such_a_file(tmp_path: Path) -> None:
    (tmp_path / "matrix.pb").write_bytes(BY_COLUMNS)
    facts = inspect_path(str(tmp_path / "matrix.pb"), 3)
    assert facts == {"kind": "MediaPipe's MatrixData", "dtype": "float32", "shape": "2×3", "min": 1, "max": 6}


class TestProjection:
    mean, projection = np.arange(4.0), np.arange(1.0, 9.0).reshape(2, 4)

    def test_it_is_written_under_mediapipes_names_and_read_under_any(self, tmp_path: Path) -> None:
        save_projection(str(tmp_path), self.mean, self.projection)
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "inception3_mean_matrix_data.pb", "inception3_projection_matrix_data.pb"
        ]  # fmt: skip
        for path in list(tmp_path.iterdir()):
            path.rename(tmp_path / path.name.replace("inception3", "vggish"))
        mean, projection = load_projection(str(tmp_path))
        np.testing.assert_array_equal(mean, self.mean)
        np.testing.assert_array_equal(projection, self.projection)

    @pytest.mark.parametrize(
        ("name", "matrix", "why"),
        [
            ("inception3_mean_matrix_data.pb", np.zeros((1, 4)), r"\(2, 4\), but the mean \(1, 4\)"),
            ("inception3_mean_matrix_data.pb", np.full((4, 1), np.inf), "not finite"),
            ("inception3_projection_matrix_data.pb", np.ones((4, 2)), r"\(4, 2\), but the mean \(4, 1\)"),
            ("inception3_projection_matrix_data.pb", np.outer([1, 0], np.ones(4)), "row 1 of the projection is zero"),
            ("vggish_mean_matrix_data.pb", np.ones((4, 1)), r"2 files \*_mean_matrix_data.pb, not one: incep"),
        ],
    )
    def test_files_that_do_not_fit_are_refused(self, tmp_path: Path, name: str, matrix: np.ndarray, why: str) -> None:
        save_projection(str(tmp_path), self.mean, self.projection)
        (tmp_path / name).write_bytes(matrix_to_bytes(matrix))
        with pytest.raises(DataError, match=rf"cannot be read\n.*{tmp_path}.*\n  why:.*{why}"):
            load_projection(str(tmp_path))
