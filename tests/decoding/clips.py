"""Videos made on the spot whose every frame shows its own number in black and white blocks, and the real clips."""

import io
import os
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from av.video.stream import VideoStream

from yt8m_pipeline.data_model import UInt8Array

ROWS, COLUMNS, BLOCK = 3, 4, 16
BITS = 1 << np.arange(ROWS * COLUMNS)
MILLISECOND = Fraction(1, 1000)
REAL_CLIPS = Path(__file__).parents[3] / "shared" / "videos"


def picture_of(number: int) -> UInt8Array:
    """uint8, (48, 64, 3): the bits of a number below 4096 as blocks of 16 × 16 pixels."""
    bits = ((number & BITS) > 0).reshape(ROWS, COLUMNS).astype(np.uint8) * 255
    return np.kron(bits[:, :, None], np.ones((BLOCK, BLOCK, 3), np.uint8))


def number_of(rgb: UInt8Array) -> int:
    """The number that a picture of any size shows."""
    rows = (np.arange(ROWS) + 0.5) / ROWS * rgb.shape[0]
    columns = (np.arange(COLUMNS) + 0.5) / COLUMNS * rgb.shape[1]
    return int((rgb[rows.astype(int)][:, columns.astype(int)].mean(axis=2) > 127).ravel() @ BITS)


def run_as_an_ordinary_thread() -> None:
    """SVT-AV1, once opened by root, has given its caller's thread the highest real-time priority, in which that waits
    for the encoder's own threads and keeps them from running."""
    if hasattr(os, "sched_setscheduler"):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def encode(
    ticks: Iterable[int],
    *,
    container: str = "mp4",
    codec: str = "libx264",
    time_base: Fraction = MILLISECOND,
    options: dict[str, str] | None = None,
    muxer: dict[str, str] | None = None,
    prepare: Callable[[VideoStream], None] = lambda _: None,
    kind: Callable[[int], PictureType] = lambda _: PictureType.NONE,
    path: Path | None = None,
    scale: int = 1,
    noise: int = 0,
) -> bytes:
    """A video whose frame i shows number i at the i-th time, and is of a kind that the encoder chooses or is told."""
    target, random = path or io.BytesIO(), np.random.default_rng(0)
    with av.open(target, "w", format=container, options=muxer) as output:
        stream = output.add_stream(codec, rate=25, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = COLUMNS * BLOCK * scale, ROWS * BLOCK * scale
        stream.pix_fmt = {"mjpeg": "yuvj420p", "prores": "yuv422p10le"}.get(codec, "yuv420p")
        stream.codec_context.time_base = time_base
        prepare(stream)
        stream.codec_context.open()
        run_as_an_ordinary_thread()
        for number, pts in enumerate(ticks):
            picture = np.kron(picture_of(number), np.ones((scale, scale, 1), np.uint8)) // (2 if noise else 1)
            picture += random.integers(0, noise + 1, picture.shape, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base, frame.pict_type = pts, time_base, kind(number)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return target.getvalue() if isinstance(target, io.BytesIO) else target.read_bytes()


def encode_audio() -> bytes:
    """One second of silence in an MP4."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as output:
        stream = output.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return buffer.getvalue()


def encode_streams(count: int) -> bytes:
    """One second of video in Matroska, in so many equal streams."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as output:
        streams = [output.add_stream("mjpeg", rate=1) for _ in range(count)]
        for stream in streams:
            assert isinstance(stream, VideoStream)
            stream.width, stream.height, stream.pix_fmt = 16, 16, "yuvj420p"
        for stream in streams:
            output.mux(stream.encode(av.VideoFrame(16, 16, "yuvj420p")))
    return buffer.getvalue()


def encode_huge(side: int) -> bytes:
    """One black picture of side × side pixels: a small file that decodes to 3/2 · side² bytes."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as output:
        stream = output.add_stream("mjpeg", rate=1)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = side, side, "yuvj420p"
        output.mux(stream.encode(av.VideoFrame(side, side, "yuvj420p")))
        output.mux(stream.encode())
    return buffer.getvalue()


def encode_two_sizes() -> bytes:
    """Two seconds of 64 × 48 pixels, then two of 128 × 96, in one stream; each part's frames show 0 to 49."""
    buffer, tick = io.BytesIO(), Fraction(1, 25)
    with av.open(buffer, "w", format="mpegts") as output:
        stream = output.add_stream("mpeg2video", rate=25)
        for scale in (1, 2):
            encoder = VideoCodecContext.create("mpeg2video", "w")
            assert isinstance(encoder, VideoCodecContext)
            encoder.width, encoder.height, encoder.pix_fmt = 64 * scale, 48 * scale, "yuv420p"
            encoder.framerate, encoder.time_base = 1 / tick, tick
            packets = []
            for number in range(50):
                picture = np.kron(picture_of(number), np.ones((scale, scale, 1), np.uint8))
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = 50 * (scale - 1) + number, tick
                packets += encoder.encode(frame)
            for packet in packets + encoder.encode():
                packet.stream, packet.time_base = stream, tick
                output.mux(packet)
    return buffer.getvalue()


def encode_new_parameters() -> bytes:
    """Two parts of 50 frames in one H.264 stream, whose parameter sets come once, with the first frame of each."""
    buffer, tick = io.BytesIO(), Fraction(1, 25)
    with av.open(buffer, "w", format="mpegts") as output:
        stream = output.add_stream("libx264", rate=25)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = COLUMNS * BLOCK, ROWS * BLOCK, "yuv420p"
        for part, quantizer in enumerate((10, 45)):
            raw = encode(
                range(50), container="h264", options={"qp": str(quantizer), "bf": "0", "g": "10"}, time_base=tick
            )
            units = [unit.rstrip(b"\0") for unit in raw.split(b"\0\0\1")[1:]]
            seen: set[int] = set()
            access_unit, number = b"", 50 * part
            for unit in units:
                kind = unit[0] & 31
                if kind in (7, 8) and kind in seen:
                    continue
                seen.add(kind)
                access_unit += b"\0\0\0\1" + unit
                if kind in (1, 5):
                    packet = av.Packet(access_unit)
                    packet.stream, packet.time_base = stream, tick
                    packet.pts = packet.dts = number
                    packet.is_keyframe = kind == 5
                    output.mux(packet)
                    access_unit, number = b"", number + 1
    return buffer.getvalue()


def joined_flv(first: bytes, second: bytes, milliseconds: int) -> bytes:
    """Two videos in FLV as one, the second from a time on: its parameters come with its first tag, as of a live
    recording whose encoder was started again (Adobe FLV 10.1 §E.3, §E.4)."""
    joined = first[:FLV_HEADER]
    for offset, video in ((0, first), (milliseconds, second)):
        for tag in _flv_tags(video):
            is_metadata, is_end = tag[0] == 18, tag[0] == 9 and tag[12] == 2
            if is_end or (is_metadata and offset):
                continue
            time = offset + int.from_bytes(tag[7:8] + tag[4:7], "big")
            moved = tag[:4] + (time & 0xFFFFFF).to_bytes(3, "big") + bytes([time >> 24]) + tag[8:]
            joined += moved + len(moved).to_bytes(4, "big")
    return joined


FLV_HEADER = 13


def _flv_tags(video: bytes) -> Iterator[bytes]:
    place = FLV_HEADER
    while place < len(video):
        size = 11 + int.from_bytes(video[place + 1 : place + 4], "big")
        yield video[place : place + size]
        place += size + 4


def with_pts(file: bytes, container: str, pts_of: Callable[[int, int], int]) -> bytes:
    """The same packets, in their order, at other times: what `pts_of` makes of pts and dts, in ticks of 1/25 s."""
    buffer = io.BytesIO()
    with av.open(io.BytesIO(file), "r") as source, av.open(buffer, "w", format=container) as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.pts is not None and packet.dts is not None:
                ticks = [int(value * packet.time_base * 25) for value in (packet.pts, packet.dts)]
                packet.time_base, packet.stream = Fraction(1, 25), stream
                packet.dts = ticks[1] + 10
                packet.pts = pts_of(ticks[0], ticks[1]) + 10
                output.mux(packet)
    return buffer.getvalue()


def with_times(file: bytes, change: Callable[[list[int]], list[int]]) -> bytes:
    """The same packets in Matroska, at other times: what `change` makes of the frames' times in presentation order."""
    buffer, tick = io.BytesIO(), Fraction(1, 25)
    with av.open(io.BytesIO(file), "r") as source, av.open(buffer, "w", format="matroska") as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        times = [int((packet.pts or 0) * packet.time_base / tick) for packet in packets]
        order = sorted(range(len(packets)), key=times.__getitem__)
        changed = dict(zip(order, change([times[place] for place in order]), strict=True))
        for place, packet in enumerate(packets):
            packet.stream, packet.time_base = stream, tick
            packet.pts, packet.dts = changed[place] + len(packets), place
            output.mux(packet)
    return buffer.getvalue()


def with_last_duration(file: bytes, container: str, seconds: int) -> bytes:
    """The same packets, the last of which lasts so long."""
    buffer = io.BytesIO()
    with av.open(io.BytesIO(file), "r") as source, av.open(buffer, "w", format=container) as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        packets[-1].duration = int(seconds / packets[-1].time_base)
        for packet in packets:
            packet.stream = stream
            output.mux(packet)
    return buffer.getvalue()


def with_packets(file: bytes, container: str, edit: Callable[[int, bytes], bytes]) -> bytes:
    """The same packets at the same times, with other bytes: what `edit` makes of their number and bytes."""
    buffer = io.BytesIO()
    with av.open(io.BytesIO(file), "r") as source, av.open(buffer, "w", format=container) as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(packet for packet in source.demux(video=0) if packet.size):
            edited = av.Packet(edit(number, bytes(packet)))
            edited.stream, edited.time_base, edited.is_keyframe = stream, packet.time_base, packet.is_keyframe
            edited.pts, edited.dts = packet.pts, packet.dts
            output.mux(edited)
    return buffer.getvalue()


def real_clip(name: str) -> Path:
    """A clip of the shared folder; the test is skipped where there is none."""
    if not (REAL_CLIPS / name).exists():
        pytest.skip(f"no {REAL_CLIPS / name}")
    return REAL_CLIPS / name
