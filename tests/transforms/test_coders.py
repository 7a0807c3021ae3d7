"""What crosses a shuffle: every pipeline has these coders, and they give back what they take."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yt8m_pipeline.data_model import MediaFile, Partition, StoredEntry, StoredVideo, Video
from yt8m_pipeline.transforms.coders import StoredVideoCoder, VideoCoder

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SOME_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
VIDEOS = st.builds(
    Video, SOME_TEXT, TEXT, st.sampled_from(Partition), st.lists(TEXT, min_size=1, max_size=4).map(tuple)
)
AMOUNTS = st.floats(0, allow_infinity=False)
COUNTS = st.integers(0, 2**53 - 1)
RATES = st.none() | st.floats(0, exclude_min=True, allow_infinity=False)
NAMES = st.text("abc,0", max_size=9)
MEDIA = st.none() | st.builds(MediaFile, NAMES, NAMES, COUNTS, COUNTS, COUNTS, RATES, COUNTS, COUNTS)
ENTRIES = st.builds(StoredEntry, st.integers(1, 2**31 - 1), AMOUNTS, TEXT, st.floats(0, 1), AMOUNTS, TEXT, MEDIA)


@given(VIDEOS)
def test_a_video_comes_back(video: Video) -> None:
    assert VideoCoder().decode(VideoCoder().encode(video)) == video


@given(st.builds(StoredVideo, VIDEOS, ENTRIES))
def test_a_stored_video_comes_back(stored: StoredVideo) -> None:
    again = StoredVideoCoder().decode(StoredVideoCoder().encode(stored))
    assert again == stored
    assert isinstance(again.video.partition, Partition)


@pytest.mark.parametrize(
    "module", ["pipeline", "transforms.extraction", "transforms.dataset", "transforms.compression"]
)
def test_every_pipeline_has_them(module: str) -> None:
    code = f"""
import json, yt8m_pipeline.{module}
from apache_beam.coders.typecoders import registry
from yt8m_pipeline.data_model import StoredVideo, Video
print(json.dumps([type(registry.get_coder(kind)).__name__ for kind in (Video, StoredVideo)]))
"""
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert json.loads(said.splitlines()[-1]) == ["VideoCoder", "StoredVideoCoder"]
