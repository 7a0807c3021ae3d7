"""The worked examples of the format's description are the bytes that are written."""

import io
import re
from pathlib import Path

import numpy as np
import pytest

from yt8m_pipeline import dataset
from yt8m_pipeline.dataset.records import frame_record, video_record
from yt8m_pipeline.dataset.tfrecord import write_record

README = Path(dataset.__path__[0], "README.md").read_text()
RECORDS = {
    "frame": frame_record("v1", (0, 2), np.array([[1, 2, 3], [4, 5, 255]], np.uint8), "rgb_codes"),
    "video": video_record("v1", (0, 2), np.array([0.5, -1], np.float32)),
}


def documented(level: str) -> bytes:
    """The bytes at the start of each line of the block behind the level's mark."""
    block = README.split(f"<!-- {level} record -->\n```\n")[1].split("```")[0]
    hexadecimal = re.compile(r" *((?:[0-9a-f]{2} )*[0-9a-f]{2})(?=  )")
    found = [hexadecimal.match(line) for line in block.splitlines()]
    return b"".join(bytes.fromhex(match[1]) for match in found if match)


@pytest.mark.parametrize("level", RECORDS)
def test_a_record_is_the_documented_bytes(level: str) -> None:
    stream = io.BytesIO()
    write_record(stream, RECORDS[level])
    assert documented(level) == stream.getvalue()
