"""Whatever is in an annotation file, it is understood, counted or refused in four parts; nothing else is raised."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.intake.samples import ACTIVITYNET, CHARADES, KINETICS, MOMENTS, MSR_VTT, read, tables, video_files
from yt8m_pipeline.errors import UsageError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
KEYS = ("database", "subset", "duration", "annotations", "segment", "label", "videos", "video_id", "category", "url",
        "split", "sentences")  # fmt: skip


def survives(name: str, data: bytes) -> None:
    """The tables can be made of what is understood, or the file is refused."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        video_files(
            Path(folder) / "videos", "a.mp4", "v_QOlSCBRmfWY.mp4", "video0.mp4", "46GP8.mp4", "x/v_x_g01_c01.avi"
        )
        with suppress(UsageError):
            tables(read(path, Path(folder) / "videos"), Path(folder) / "out")


def _replaced(value: Any, key: str, other: Any) -> Any:
    """A JSON value in which the values of one key are another value."""
    if isinstance(value, Mapping):
        return {name: other if name == key else _replaced(item, key, other) for name, item in value.items()}
    return [_replaced(item, key, other) for item in value] if isinstance(value, list) else value


@settings(max_examples=150)
@given(st.sampled_from([ACTIVITYNET, MSR_VTT]), st.sampled_from(KEYS), VALUES)
def test_json_with_other_values(text: str, key: str, value: Any) -> None:
    survives("x.json", json.dumps(_replaced(json.loads(text), key, value)).encode())


@given(st.text(max_size=4) | st.sampled_from(["\ud800", "\0", "\n", ".."]))
def test_json_with_other_ids(identifier: str) -> None:
    survives("x.json", json.dumps({"database": {identifier: {"annotations": [{"label": "x"}]}}}).encode())


@settings(max_examples=150)
@given(
    st.sampled_from([("x.csv", KINETICS), ("x.csv", CHARADES), ("x.csv", MOMENTS), ("x.csv", "path,label\na.mp4,b\n"),
                     ("x.csv", "a.mp4,1;2\n"), ("x.txt", "http://y.com/watch?v=12345678901 1,2\n"),
                     ("trainlist01.txt", "x/v_x_g01_c01.avi 1\n"), ("x_test_split1.txt", "a.avi 1\n")]),
    st.data(),
)  # fmt: skip
def test_texts_with_other_bytes(source: tuple[str, str], data: st.DataObject) -> None:
    name, text = source
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 9)))
    other = data.draw(st.binary(max_size=9) | st.sampled_from([b",", b'"', b"\n", b"\r", b"\0", b"nan", b"1e999"]))
    survives(name, text.encode()[:start] + other + text.encode()[end:])


@pytest.mark.parametrize("name", ["x.csv", "x.json", "x.jsonl", "x.txt", "x.parquet", "x.tsv", "x.csv.gz"])
@given(data=st.binary(max_size=40))
def test_any_bytes(name: str, data: bytes) -> None:
    survives(name, data)


GROWTH = """
import resource, sys
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.intake.understanding import understand
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    understand(sys.argv[1:])
except UsageError as error:
    print(error.why)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def growth(path: Path) -> tuple[str, int]:
    """Why a source is refused, and how many MiB of memory its reading took."""
    command = [sys.executable, "-c", GROWTH, str(path)]
    why, mebibytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return why, int(mebibytes)


@pytest.mark.parametrize(
    ("name", "begin", "repeated", "items"),
    [
        ("x.json.gz", b'{"database":{"a":{"annotations":[', b"[],", "objects and arrays"),
        ("trainlist01.txt", b"dog/v_dog_g01_c01.avi 1\n", b"ab\n", "lines"),
    ],
)
def test_items_are_refused_that_take_many_times_their_bytes(
    name: str, begin: bytes, repeated: bytes, items: str, tmp_path: Path
) -> None:
    """Twenty million of them, in 0.3 MB where they are compressed, would take more than a gigabyte."""
    with gzip.open(tmp_path / name, "wb", 1) if name.endswith(".gz") else open(tmp_path / name, "wb") as stream:
        stream.write(begin)
        for _ in range(20):
            stream.write(repeated * (1 << 20))
    why, mebibytes = growth(tmp_path / name)
    assert why == f"it has more than 5,000,000 {items}"
    assert mebibytes < 200


def test_a_table_without_a_header_is_not_held_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "trainingSet.csv"
    path.write_text("dog/a.mp4,dog,3,1\n")
    os.truncate(path, 1 << 30)  # a hole, which reads as zeros
    why, mebibytes = growth(path)
    assert why == "1 are named, such as training/dog/a.mp4, and there is no video"
    assert mebibytes < 64
