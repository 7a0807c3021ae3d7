"""One video, one call: batches of frames through the network, and what becomes of them."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yt8m_pipeline.data_model import MediaFile
from yt8m_pipeline.decoding.facts import Decoded, SampledFrame
from yt8m_pipeline.transforms import video_features
from yt8m_pipeline.transforms.video_features import DecodedFrames, frame_batches


def test_the_result_of_decoding_is_known_when_its_frames_are_at_an_end() -> None:
    picture, decoded = np.zeros((1, 1, 3), np.uint8), Decoded(0.75, MediaFile("avi", "mjpeg", 7, 4, 1, 25.0, 9, 9))

    def decode() -> Any:
        yield from (SampledFrame(k, float(k), picture) for k in range(3))
        return decoded

    result = DecodedFrames(decode())
    frames: Iterator[SampledFrame] = iter(result)
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert result.decoded is decoded


@given(
    st.lists(st.sampled_from([(1, 2), (2, 1), (3, 3), (40, 1)]), max_size=40),
    st.integers(1, 5),
    st.integers(1, 120),
)
def test_a_batch_has_frames_of_one_size_in_their_order_and_as_many_as_the_limits_allow(
    sizes: list[tuple[int, int]], max_frames: int, max_bytes: int
) -> None:
    frames = [SampledFrame(k, k / 2, np.full((*size, 3), k, np.uint8)) for k, size in enumerate(sizes)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(video_features, "MAX_BATCH_BYTES", max_bytes)
        batches = list(frame_batches(frames, max_frames))
    found = [batch.frames for batch in batches]
    rows = [row for batch in found for row in batch]
    assert [row.shape for row in rows] == [(*size, 3) for size in sizes]
    assert [int(row[0, 0, 0]) for row in rows] == list(range(len(sizes)))
    assert np.concatenate([[], *(batch.pts_seconds for batch in batches)]).tolist() == [
        k / 2 for k in range(len(sizes))
    ]
    assert all(len(batch) <= max_frames and (batch.nbytes <= max_bytes or len(batch) == 1) for batch in found)
    for batch, following in pairwise(found):
        one_more = batch.nbytes + following[0].nbytes
        assert len(batch) == max_frames or batch.shape[1:] != following.shape[1:] or one_more > max_bytes


def test_five_frames_of_4k_fit_into_a_batch() -> None:
    """So much memory is counted with; fewer would cost the network speed."""
    picture = np.broadcast_to(np.uint8(0), (2160, 3840, 3))
    frames = [SampledFrame(k, float(k), picture) for k in range(6)]
    assert [len(batch.frames) for batch in frame_batches(frames, 64)] == [5, 1]
