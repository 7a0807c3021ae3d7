"""One video, one call: its frames at 1 fps go through the network and become features (paper §3.3). No Beam here."""

import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.config import Inception
from yt8m_pipeline.data_model import UInt8Array, Video
from yt8m_pipeline.decoding.facts import Decoded, SampledFrame
from yt8m_pipeline.decoding.sandbox.parent import Sandbox
from yt8m_pipeline.decoding.thumbnails import Strip
from yt8m_pipeline.extraction.inception import FeatureExtractor
from yt8m_pipeline.store.features import VideoFeatures

MAX_BATCH_BYTES = 128 * 2**20
"""The network gets at most this many bytes of decoded frames at once: five frames of 4K UHD in their own size."""


@dataclass(frozen=True, slots=True)
class ExtractedVideo:
    """What is known of a video when it has been decoded and gone through the network.

    Attributes:
        features: Its features and presentation times.
        decoded: The share of its grid times whose frame is sound, and what its file is.
        transfer: The transfer function of its frames: "PQ", "HLG" or ''.
        strip: Its thumbnails.
    """

    features: VideoFeatures
    decoded: Decoded
    transfer: str
    strip: Strip


class Watch:
    """Divides the time of a video between waiting for its frames and the network.

    Attributes:
        decode_seconds: How long the network waited for frames.
        network_seconds: How long the network took.
    """

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self.decode_seconds = self.network_seconds = 0.0

    def decoded(self) -> None:
        """Says that frames have come, or that there are none any more."""
        self.decode_seconds += self._lap()

    def computed(self) -> None:
        """Says that the network is through."""
        self.network_seconds += self._lap()

    def _lap(self) -> float:
        before, self._last = self._last, time.perf_counter()
        return self._last - before


def extract_video(
    video: Video, sandbox: Sandbox, extractor: FeatureExtractor, inception: Inception, watch: Watch, thumbnails: int = 0
) -> ExtractedVideo:
    """Decodes a video and runs the network on its frames, while the sandbox decodes ahead.

    Memory is that of one batch of frames, of the frames that wait in the sandbox, and of the video's features.

    Args:
        video: Which video.
        sandbox: Decodes it.
        extractor: The loaded network.
        inception: The size of a batch, and how the store keeps features.
        watch: Is told what takes time, also where the video is rejected.
        thumbnails: How many pictures its strip has.

    Raises:
        VideoRejected: if the video cannot be decoded, or NON_FINITE_FEATURES.
        DataError: if no decoding process can be started, or the memory does not do for a single frame.
    """
    features: list[npt.NDArray[np.floating]] = []
    pts_seconds: list[float] = []
    transfer, strip = "", Strip(thumbnails)
    with closing(sandbox.decode(video.uri)) as decoding:
        frames = DecodedFrames(decoding)
        for batch in frame_batches(strip.watching(frames), inception.batch_size):
            watch.decoded()
            features.append(extractor(batch.frames).astype(inception.dtype))
            pts_seconds += batch.pts_seconds
            transfer = transfer or batch.transfer
            watch.computed()
    found = np.concatenate(features)
    _require_finite(found, frames.decoded.decoded_fraction)
    stored = VideoFeatures(video.video_id, found, np.array(pts_seconds))
    return ExtractedVideo(stored, frames.decoded, transfer, strip)


def _require_finite(features: npt.NDArray[np.floating], decoded_fraction: float) -> None:
    """Refuses NaN and infinities, also those that float16 has made of large numbers."""
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        detail = f"frame {bad[0]} has NaN or Inf features"
        raise VideoRejected(DropReason.NON_FINITE_FEATURES, detail, decoded_fraction)


@dataclass(frozen=True, slots=True)
class FrameBatch:
    """Successive frames of one size.

    Attributes:
        frames: uint8, (frames, height, width, 3).
        pts_seconds: The presentation time of each.
        transfer: The transfer function of the first: "PQ", "HLG" or ''.
    """

    frames: UInt8Array
    pts_seconds: list[float]
    transfer: str = ""


class DecodedFrames:
    """The frames of one video and, when they are at an end, what is known of it then."""

    def __init__(self, frames: Generator[SampledFrame, None, Decoded]) -> None:
        self._frames = frames

    def __iter__(self) -> Iterator[SampledFrame]:
        self.decoded = yield from self._frames


def frame_batches(frames: Iterable[SampledFrame], max_frames: int) -> Iterator[FrameBatch]:
    """Yields successive frames of one size, at most `max_frames` at once, or as many as MAX_BATCH_BYTES allow."""
    waiting: list[SampledFrame] = []
    for frame in frames:
        if waiting and frame.rgb.shape != waiting[0].rgb.shape:
            yield _taken(waiting)
        waiting.append(frame)
        if len(waiting) == min(max_frames, max(1, MAX_BATCH_BYTES // frame.rgb.nbytes)):
            yield _taken(waiting)
    if waiting:
        yield _taken(waiting)


def _taken(waiting: list[SampledFrame]) -> FrameBatch:
    """A batch of the frames that wait; then none does."""
    rgb, pts_seconds = np.stack([frame.rgb for frame in waiting]), [frame.pts_seconds for frame in waiting]
    batch = FrameBatch(rgb, pts_seconds, waiting[0].transfer)
    waiting.clear()
    return batch
