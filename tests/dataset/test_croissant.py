"""MLCommons' own program reads croissant.json; scripts/test_croissant makes the environment in which it is."""

import csv
import json
import os
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from yt8m_pipeline.dataset.layout import Layout

PYTHON = os.environ.get("YT8M_CROISSANT_PYTHON", "")

READ = """
import json, sys
import mlcroissant
dataset = mlcroissant.Dataset(sys.argv[1])
names = ("splits", "videos", "vocabulary")
print(json.dumps({name: list(dataset.records(name)) for name in names}, default=bytes.decode))
"""


@pytest.mark.skipif(not PYTHON, reason="scripts/test_croissant makes the environment of mlcroissant")
def test_mlcommons_program_reads_every_row(built: Path) -> None:
    dataset = built / "dataset"
    command = [PYTHON, "-c", READ, str(dataset / Layout.CROISSANT)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert "error" not in finished.stderr.lower()
    found = json.loads(finished.stdout)
    assert [row["splits/name"] for row in found["splits"]] == ["train", "validate", "test"]
    videos = pq.read_table(dataset / Layout.VIDEOS).to_pylist()
    assert [row["videos/video_id"] for row in found["videos"]] == [row["video_id"] for row in videos]
    assert [row["videos/frames"] for row in found["videos"]] == [row["frames"] for row in videos]
    with (dataset / Layout.VOCABULARY).open(newline="") as stream:
        names = [row["Name"] for row in csv.DictReader(stream)]
    assert [row["vocabulary/Name"] for row in found["vocabulary"]] == names
