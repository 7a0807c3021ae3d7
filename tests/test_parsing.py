"""Bytes of others: whatever they are, the answer is a value or a ValueError, in bounded memory."""

import io
import json
import resource
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import yt8m_pipeline
from yt8m_pipeline.parsing import MAX_DEPTH, MAX_PARQUET_ITEMS, parquet_file, parse_json, parse_npy, parse_npz

ARRAYS = {"levels": np.arange(6, dtype="<f4").reshape(2, 3), "name": np.array("optimal"), "none": np.zeros((0, 3))}


def npz(arrays: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def npy(header: str, data: bytes = b"") -> bytes:
    """An .npy file with any text as its header."""
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x02\x00" + len(text).to_bytes(4, "little") + text + data


def nested(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    return (opening * depth + "0" + closing * depth).encode()


class TestJson:
    def test_it_is_parsed_as_json_is(self) -> None:
        value = {"a": [1, 2.5, None, True, {"b": "é"}], "c": {}}
        assert parse_json(json.dumps(value).encode()) == value

    @pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
    def test_it_is_nested_as_deep_as_allowed_and_no_deeper(self, opening: str, closing: str) -> None:
        levels = opening.count("[") + opening.count("{")
        assert parse_json(nested(MAX_DEPTH // levels, opening, closing))
        for depth in (MAX_DEPTH // levels + 1, 900, 20_000):
            with pytest.raises(ValueError, match="nested more than 32 levels deep"):
                parse_json(nested(depth, opening, closing))

    def test_too_many_objects_are_refused_before_they_take_their_memory(self) -> None:
        with pytest.raises(ValueError, match="more than 5,000,000 objects and arrays"):
            parse_json(b"[" + b"[]," * 5_000_001 + b"0]")

    def test_an_integer_of_ten_thousand_digits_is_refused(self) -> None:
        with pytest.raises(ValueError, match="4300 digits"):
            parse_json(b"1" * 10_000)


def test_no_json_of_a_file_or_of_a_child_is_parsed_without_bounds() -> None:
    """What may is written by the same process, and `read_dataset.py`, which stands alone."""
    sources = Path(yt8m_pipeline.__file__).parent
    found = {str(path.relative_to(sources)) for path in sources.rglob("*.py") if "json.loads(" in path.read_text()}
    assert found == {"parsing.py", "dataset/description.py", "dataset/read_dataset.py", "explorer/chunks.py"}


def nested_parquet(levels: int) -> io.BytesIO:
    """A Parquet file without a row, of one column that is a number in so many groups, each in the one before.

    Its end is FileMetaData in Thrift's compact protocol: version, schema, number of rows, row groups. Each element of
    the schema has a name and its number of children.
    """
    schema = b"\x48\x01a\x15\x02\x00" * levels + b"\x15\x04\x25\x02\x18\x01a\x00"
    size = bytes([(levels + 1) & 0x7F | 0x80, (levels + 1) >> 7 & 0x7F | 0x80, (levels + 1) >> 14])
    end = b"\x15\x02\x19\xfc" + size + schema + b"\x16\x00\x19\x0c\x00"
    return io.BytesIO(b"PAR1" + end + len(end).to_bytes(4, "little") + b"PAR1")


class TestParquet:
    def test_columns_may_be_nested(self) -> None:
        assert parquet_file(nested_parquet(200)).metadata.num_columns == 1

    def test_columns_nested_deeper_than_the_stack_are_refused_before_they_end_the_process(self) -> None:
        with pytest.raises(OSError, match="more than 8,192 columns or row groups"):
            parquet_file(nested_parquet(MAX_PARQUET_ITEMS))
        with pytest.raises(OSError, match="more than 8,192 columns or row groups"):
            parquet_file(nested_parquet(100_000))


class TestArrays:
    def test_they_are_those_that_numpy_reads(self) -> None:
        found = parse_npz(npz(ARRAYS))
        assert found.keys() == ARRAYS.keys()
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(found[name], array, strict=True)

    def test_columns_first(self) -> None:
        stream = io.BytesIO()
        np.save(stream, np.asfortranarray(ARRAYS["levels"]))
        np.testing.assert_array_equal(parse_npy(stream.getvalue()), ARRAYS["levels"], strict=True)

    @pytest.mark.parametrize(
        "header",
        [
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 1000000000000)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (0, -1)}",
            f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({'9' * 4000},)}}",
            f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({'9' * 9000},)}}",
            "{'descr': '|O', 'fortran_order': False, 'shape': (0,)}",
            "{'descr': '|S0', 'fortran_order': False, 'shape': (1000000000000,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (0," + "1," * 100 + ")}",
            "(" * 9_000,
            "[" * 100_000,
            "__import__('os').system('true')",
            "",
        ],
    )
    def test_a_header_that_lies_is_refused(self, header: str) -> None:
        with pytest.raises(ValueError, match=r"."):
            parse_npy(npy(header))

    def test_another_version_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"no \.npy file"):
            parse_npy(b"\x93NUMPY\x09\x00" + bytes(100))

    @given(st.data())
    def test_altered_bytes_are_arrays_or_a_value_error(self, data: st.DataObject) -> None:
        whole = bytearray(npz(ARRAYS))
        for _ in range(data.draw(st.integers(1, 4))):
            whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
        with suppress(ValueError):
            parse_npz(bytes(whole))

    def test_an_archive_of_zeros_is_refused_before_it_is_unpacked(self, tmp_path: Path) -> None:
        """As 18 MB that unpack to 4.1 GiB do, in a process that has not the memory for what the archive holds."""
        path = tmp_path / "quantizer.npz"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("levels.npy", "w") as stream:
            for _ in range(256):
                stream.write(bytes(1 << 20))
        command = [sys.executable, "-c", LOAD, str(path)]
        loaded = subprocess.run(command, capture_output=True, text=True, check=True, preexec_fn=_little_memory)
        assert loaded.stdout.startswith("A fitted artefact cannot be read")
        assert "would unpack to 268,435,456" in loaded.stdout


LOAD = """
import sys
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.errors import DataError
try:
    Quantizer.load(sys.argv[1])
except DataError as error:
    print(error)
"""


def _little_memory() -> None:
    """Data segments of 200 MB: enough for Python, NumPy and pyarrow, and not for what the archive holds."""
    resource.setrlimit(resource.RLIMIT_DATA, (200 << 20, 200 << 20))
