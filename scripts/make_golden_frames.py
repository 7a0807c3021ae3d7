"""Makes the golden videos, and what the ffmpeg command line decodes from them: the frames of the 1-fps grid.

    python scripts/make_golden_frames.py [--ffmpeg FFMPEG] [--folder FOLDER]

It writes every video and `frames.json`: the commands that made a video, the command that decoded it, and for each k the
pts (seconds after the first frame), the size and the SHA-256 of the RGB24 pixels. The frames are found here by the
rule alone, from a decode of everything; nothing of the package is used. Needs FFmpeg 9 with x264, x265, vpx, aom,
SVT-AV1, Theora and Xvid.
"""

import argparse
import json
import re
import shlex
import subprocess
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from struct import pack
from typing import Any

GOLDEN = Path(__file__).parent.parent / "tests" / "extraction" / "golden"
MAX_SECONDS = 360
QUIET = "-nostdin -v error -y"
DIGEST = (
    "-nostdin -nostats -threads 1 -noautorotate -copyts -i {video} -fps_mode passthrough "
    "-enc_time_base demux -noautoscale "
    "-vf scale={scale}flags=area+accurate_rnd+full_chroma_int+bitexact,format=rgb24{turn},showinfo -f rawvideo -"
)
"""Decodes everything with one thread; no frame is dropped, repeated, scaled or shifted."""

TIME_BASE = re.compile(r"showinfo.*config in time_base: (\d+/\d+)")
SHOWN = re.compile(r"showinfo.* pts: *(-?\d+) .*duration: *(\d+) .* s:(\d+)x(\d+) ")

CHROMA_LEFT = "in_chroma_loc=left:"
"""Frames of these encoders say that chroma lies beside the left luma samples; ffmpeg's scale filter must be told."""
ENCODERS_WITH_CHROMA_LEFT = ("libx264 ", "libx265", "mpeg4", "libxvid", "mpeg2video")

BY_FIELD = "interl=-1:"
"""Chroma of an interlaced frame is interpolated within each field, as libswscale's own interface does."""


@dataclass(frozen=True)
class Video:
    """A video and how it is made.

    Attributes:
        name: Of the file.
        commands: Arguments of ffmpeg, run in order; the last makes the video.
        scale: Options of the conversion to RGB that the scale filter does not take from the frames.
        turn: The filter that the display matrix asks for.
        patch: A last change to the file's bytes.
    """

    name: str
    commands: tuple[str, ...]
    scale: str = ""
    turn: str = ""
    patch: Callable[[bytes], bytes] | None = None


@dataclass(frozen=True)
class Shown:
    """One decoded frame: when it appears and for how long, its size in pixels and the SHA-256 of its RGB24 bytes."""

    pts_seconds: Fraction
    duration_seconds: Fraction
    width: int
    height: int
    sha256: str


def made(
    name: str,
    encoder: str,
    *,
    size: str = "64x48",
    rate: str = "25",
    seconds: str = "3.4",
    then: str = "",
    scale: str = "",
) -> Video:
    """A video of a moving, textured, coloured scene, no two frames of which are alike."""
    source = f"testsrc2=size={size}:rate={rate}:duration={seconds},scroll=h=0.03:v=0.02"
    scene = shlex.quote(f"{source},noise=alls=8:all_seed=7:allf=t{then}")
    is_left = any(words in encoder for words in ENCODERS_WITH_CHROMA_LEFT)
    command = f"{QUIET} -f lavfi -i {scene} -threads 1 -bitexact {encoder} {name}"
    return Video(name, (command,), scale + CHROMA_LEFT * is_left)


def muxed(name: str, *sources: Video, inputs: str = "", output: str = "", turn: str = "") -> Video:
    """A video whose packets are copied from other videos, with ffmpeg's options before each input and the output."""
    made_first = tuple(command for source in sources for command in source.commands)
    opened = " ".join(f"{inputs} -i {source.name}" for source in sources)
    return Video(name, (*made_first, f"{QUIET} {opened} {output} -c copy -bitexact {name}"), sources[0].scale, turn)


def joined(name: str, first: Video, second: Video, script: str) -> Video:
    """A video of the packets of two others, one after the other; the script is the input that names both."""
    commands = (*first.commands, *second.commands, f"{QUIET} {script} -c copy -bitexact {name}")
    return Video(name, commands, first.scale)


def x264(parameters: str, options: str = "-pix_fmt yuv420p") -> str:
    """Encoder arguments."""
    return f"-c:v libx264 -crf 32 {options} -x264-params {parameters}"


def x265(parameters: str, pixels: str = "yuv420p") -> str:
    """Encoder arguments."""
    return f"-c:v libx265 -crf 32 -pix_fmt {pixels} -x265-params log-level=error:pools=none:ctu=16:{parameters}"


def overwritten(video: bytes, pattern: bytes, offset: int, value: bytes) -> bytes:
    """The video with a value written at an offset from every place where a pattern stands."""
    data = bytearray(video)
    places = [found.start() for found in re.finditer(re.escape(pattern), video)]
    if not places:
        raise ValueError(f"the video holds no {pattern!r}")
    for place in places:
        data[place + offset : place + offset + len(value)] = value
    return bytes(data)


def with_long_mp4_durations(video: bytes) -> bytes:
    """Writes hours into the movie's, the track's and the media's header (ISO/IEC 14496-12 §8.2.2, §8.3.2, §8.4.2)."""
    for box, offset in ((b"mvhd", 20), (b"tkhd", 24), (b"mdhd", 20)):
        video = overwritten(video, box, offset, pack(">I", 99_999_999))
    return video


def with_short_matroska_duration(video: bytes) -> bytes:
    """Writes 10 ms into the segment's Duration."""
    return overwritten(video, b"\x44\x89\x88", 3, pack(">d", 10.0))


def with_long_flv_duration(video: bytes) -> bytes:
    """Writes 9999 s into the metadata."""
    return overwritten(video, b"duration\0", 9, pack(">d", 9999.0))


def with_wrong_avi_frame_counts(video: bytes) -> bytes:
    """Writes seven frames into the main header, and a million into the stream's."""
    return overwritten(overwritten(video, b"avih", 24, pack("<I", 7)), b"strh", 40, pack("<I", 1_000_000))


LONG_GOP = x264("keyint=250:bframes=3:scenecut=0")
CLOSED_GOP = x264("keyint=50:min-keyint=50:bframes=2:scenecut=0")
OPEN_GOP = x264("open-gop=1:keyint=20:min-keyint=20:bframes=3:b-adapt=0:scenecut=0")
NO_B_FRAMES = x264("keyint=30:bframes=0:scenecut=0")
HEVC_OPEN_GOP = x265("open-gop=1:keyint=20:min-keyint=20:bframes=4:b-adapt=0:scenecut=0")
AV1 = "-c:v libaom-av1 -cpu-used 8 -crf 50 -pix_fmt yuv420p"
VP8 = "-c:v libvpx -b:v 60k -cpu-used 2 -g 40 -auto-alt-ref 1 -lag-in-frames 16"
VP9 = "-c:v libvpx-vp9 -b:v 60k -cpu-used 5 -g 40 -auto-alt-ref 1 -lag-in-frames 16"
MPEG4 = "-c:v mpeg4 -q:v 16 -g 25"
AT_GIVEN_TIMES = "-fps_mode passthrough -enc_time_base 1/1000"
HALF_TRANSPARENT = ",format=rgba,colorchannelmixer=aa=0.5"

PLAIN = made("plain.mp4", CLOSED_GOP)
PLAIN_MKV = made("plain.mkv", NO_B_FRAMES)
COVER = made("cover.png", "-c:v png", size="128x96", rate="1", seconds="1")
SMALL, WIDE = ({"size": size, "seconds": "1.8"} for size in ("64x48", "96x64"))

CODECS = (
    made("h264_baseline_cavlc.mp4", x264("keyint=50", "-profile:v baseline -pix_fmt yuv420p")),
    made("h264_long_gop.mp4", LONG_GOP, seconds="5.4"),
    made("h264_closed_gop.mp4", CLOSED_GOP, seconds="4"),
    made("h264_open_gop.mp4", OPEN_GOP),
    made("h264_all_intra.mov", x264("keyint=1"), rate="10"),
    made("h264_deep_b_pyramid.mkv", x264("keyint=60:bframes=8:b-adapt=0:b-pyramid=normal:ref=8")),
    made("h264_slices.mp4", x264("keyint=50:bframes=2:slices=3")),
    made("h264_intra_refresh.mp4", x264("keyint=20:intra-refresh=1:bframes=0")),
    made("h264_mbaff.mp4", x264("keyint=30:bframes=3:tff=1"), scale=BY_FIELD),
    muxed("h264_starts_at_recovery_point.ts", made("open.ts", OPEN_GOP, seconds="4.4"), inputs="-ss 1.3"),
    made("hevc_open_gop_rasl.mp4", HEVC_OPEN_GOP),
    made("hevc_closed_gop.mkv", x265("open-gop=0:keyint=25:bframes=3")),
    made("hevc_temporal_layers.mp4", x265("temporal-layers=3:b-pyramid=1:keyint=30:bframes=7:b-adapt=0")),
    muxed("hevc_starts_at_cra.ts", made("open.ts", HEVC_OPEN_GOP, seconds="4.4"), inputs="-ss 1.3"),
    made("vp8_alt_ref.webm", VP8),
    made("vp9_alt_ref.webm", VP9),
    made("av1_libaom.mkv", f"{AV1} -g 30"),
    made("av1_svt.mp4", "-c:v libsvtav1 -preset 10 -crf 45 -g 30 -pix_fmt yuv420p -svtav1-params lp=1"),
    made("mpeg4_b_frames.mp4", f"{MPEG4} -bf 2"),
    made("mpeg4_packed_b_frames.avi", "-c:v libxvid -q:v 16 -bf 2 -g 25"),
    made("mpeg2_interlaced.ts", "-c:v mpeg2video -q:v 24 -bf 2 -g 15 -flags +ildct+ilme", scale=BY_FIELD),
    made("mpeg2.mpg", "-c:v mpeg2video -q:v 24 -bf 2 -g 15"),
    made("mjpeg.avi", "-c:v mjpeg -q:v 20 -pix_fmt yuvj420p", rate="8"),
    made("prores_422.mov", "-c:v prores_ks -profile:v 0", rate="5"),
    made("h263.mov", "-c:v h263 -q:v 24 -g 25", size="128x96", rate="8"),
    made("theora_repeated_frames.ogv", "-c:v libtheora -q:v 1 -g 25", rate="10", then=",fps=25"),
    made("wmv2.asf", "-c:v wmv2 -q:v 16 -g 25"),
)

CONTAINERS = (
    made("fragmented.mp4", f"{CLOSED_GOP} -movflags frag_keyframe+empty_moov+default_base_moof"),
    muxed("edit_list.mp4", made("plain.mp4", CLOSED_GOP, seconds="5.4"), inputs="-ss 1.38"),
    made("missing_pts.avi", CLOSED_GOP),
    replace(made("long_duration.mp4", CLOSED_GOP), patch=with_long_mp4_durations),
    replace(made("short_duration.mkv", CLOSED_GOP), patch=with_short_matroska_duration),
    replace(made("long_duration.flv", CLOSED_GOP), patch=with_long_flv_duration),
    replace(made("wrong_frame_counts.avi", MPEG4), patch=with_wrong_avi_frame_counts),
    made("no_duration.mkv", f"{CLOSED_GOP} -live 1"),
    muxed("cover.mp4", PLAIN, COVER, output="-map 0 -map 1 -disposition:v:1 attached_pic"),
    muxed(
        "second_stream_is_default.mkv",
        made("plain.mkv", CLOSED_GOP),
        made("wide.mkv", CLOSED_GOP, size="96x64"),
        output="-map 0 -map 1 -disposition:v:0 0 -disposition:v:1 default",
    ),
)

TIMES = (
    made("rate_23_976.mp4", CLOSED_GOP, rate="24000/1001"),
    made("rate_29_97.mkv", CLOSED_GOP, rate="30000/1001"),
    made("rate_59_94.mp4", LONG_GOP, rate="60000/1001"),
    made("rate_120.mp4", LONG_GOP, rate="120"),
    made("rate_0_5.mp4", LONG_GOP, rate="1/2", seconds="9"),
    made("rate_1.mkv", LONG_GOP, rate="1", seconds="7"),
    made("variable_rate.mp4", f"{LONG_GOP} {AT_GIVEN_TIMES}", then=r",settb=1/1000,setpts=N*35+mod(N*N\,23)"),
    made("gap.mkv", f"{LONG_GOP} {AT_GIVEN_TIMES}", then=r",settb=1/1000,setpts=N*40+2700*gte(N\,40)"),
    made(
        "dropped_frames.avi", f"{MPEG4} -fps_mode passthrough", then=r",settb=1/25,setpts=N+15*gte(N\,20)+40*gte(N\,47)"
    ),
    made("large_start.mkv", f"{CLOSED_GOP} -output_ts_offset 86400"),
    made("negative_start.ts", f"{CLOSED_GOP} -output_ts_offset 95441.3"),
    muxed("repeated_pts.mkv", PLAIN_MKV, output="-bsf:v setts=ts=floor(TS/120)*120"),
    muxed("backward_pts.mkv", PLAIN_MKV, output=r"-bsf:v 'setts=pts=PTS+460*eq(mod(N\,20)\,14)'"),
)

PICTURES = (
    muxed("rotated_90.mp4", PLAIN, inputs="-display_rotation 270", turn=",transpose=clock"),
    muxed("rotated_180.mp4", PLAIN, inputs="-display_rotation 180", turn=",hflip,vflip"),
    muxed("rotated_270.mkv", PLAIN, inputs="-display_rotation 90", turn=",transpose=cclock"),
    muxed("mirrored.mp4", PLAIN, inputs="-display_hflip", turn=",hflip"),
    made("non_square_pixels.mp4", CLOSED_GOP, then=",setsar=16/11"),
    made("odd_size.webm", VP9, then=",scale=63:47"),
    made("h264_bt601.mp4", x264("keyint=50", "-pix_fmt yuv422p -colorspace smpte170m -color_range tv")),
    made("h264_bt709.mp4", x264("keyint=50", "-pix_fmt yuv420p -colorspace bt709 -color_range tv")),
    made("h264_444_full.mp4", x264("keyint=50", "-pix_fmt yuv444p -colorspace bt709 -color_range pc")),
    made("hevc_10_bit_bt2020.mp4", x265("keyint=30:colormatrix=bt2020nc:range=limited", "yuv420p10")),
    made("h264_rgb.mp4", "-c:v libx264rgb -crf 36 -pix_fmt rgb24"),
    made("ffv1_gray.mkv", "-c:v ffv1 -level 3 -pix_fmt gray", size="32x24", rate="8"),
    made("ffv1_bgr0.mkv", "-c:v ffv1 -level 3 -pix_fmt bgr0", size="32x24", rate="4"),
    made("prores_4444_alpha.mov", "-c:v prores_ks -profile:v 4 -q:v 30", size="32x32", rate="4", then=HALF_TRANSPARENT),
    made("vp9_alpha.webm", f"{VP9} -pix_fmt yuva420p", then=HALF_TRANSPARENT),
    joined(
        "changing_size.ts",
        made("small.ts", CLOSED_GOP, **SMALL),
        made("wide.ts", CLOSED_GOP, **WIDE),
        "-i 'concat:small.ts|wide.ts'",
    ),
    joined(
        "changing_size.webm",
        made("small.webm", VP9, **SMALL),
        made("wide.webm", VP9, **WIDE),
        "-f concat -safe 0 -protocol_whitelist data,file "
        "-i 'data:text/plain,ffconcat version 1.0\nfile file:small.webm\nfile file:wide.webm'",
    ),
    made("av1_scaled_references.mkv", f"{AV1} -g 200 -aom-params resize-mode=2", size="96x64"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ffmpeg", default="ffmpeg", help="the ffmpeg to run")
    parser.add_argument("--folder", type=Path, default=GOLDEN)
    options = parser.parse_args()
    entries = []
    for video in CODECS + CONTAINERS + TIMES + PICTURES:
        with tempfile.TemporaryDirectory() as work:
            entry = json.dumps(make(video, options.ffmpeg, Path(work), options.folder))
        entries.append(f"{json.dumps(video.name)}: " + entry.replace('{"k"', '\n {"k"'))
        print(video.name)
    version = run(options.ffmpeg, "-version", options.folder)[0].split()[2].decode()
    text = f'{{"ffmpeg": {json.dumps(version)}, "videos": {{\n' + ",\n".join(entries) + "}}\n"
    (options.folder / "frames.json").write_text(text)


def make(video: Video, ffmpeg: str, work: Path, folder: Path) -> dict[str, Any]:
    """Writes the video; returns its entry in `frames.json`."""
    for command in video.commands:
        run(ffmpeg, command, work)
    data = (work / video.name).read_bytes()
    (folder / video.name).write_bytes(video.patch(data) if video.patch else data)
    digest = DIGEST.format(video=video.name, scale=video.scale, turn=video.turn)
    frames = decoded(*run(ffmpeg, digest, folder))
    if len({frame.sha256 for frame in frames}) < len(frames):
        raise SystemExit(f"{video.name}: two frames look alike, which would prove nothing")
    patch = {"patch": video.patch.__name__} if video.patch else {}
    return {"commands": video.commands} | patch | {"digest_command": digest, "frames": list(on_grid(frames))}


def run(ffmpeg: str, arguments: str, folder: Path) -> tuple[bytes, str]:
    """Runs ffmpeg in a folder; returns what it wrote and what it logged."""
    done = subprocess.run([ffmpeg, *shlex.split(arguments)], cwd=folder, capture_output=True, check=False)
    log = done.stderr.decode()
    if done.returncode:
        raise SystemExit(f"ffmpeg {arguments}\n{log}")
    return done.stdout, log


def decoded(pixels: bytes, log: str) -> list[Shown]:
    """Returns every frame in presentation order, from RGB24 pixels and the times and sizes that `showinfo` logs."""
    tick = Fraction(TIME_BASE.findall(log)[0])
    frames, place = [], 0
    for logged in SHOWN.findall(log):
        pts, duration, width, height = map(int, logged)
        end = place + height * width * 3
        frames.append(Shown(pts * tick, duration * tick, width, height, sha256(pixels[place:end]).hexdigest()))
        place = end
    if place != len(pixels):
        raise SystemExit(f"{len(pixels)} bytes of pixels, {place} bytes in the frames of the log")
    return frames


def on_grid(frames: list[Shown]) -> Iterator[dict[str, Any]]:
    """Yields for k = 0, 1, … < min(duration, 360) the last frame, in presentation order, with pts ≤ start + k seconds.

    A frame that comes after one with a greater pts is late: it is shown at once.
    """
    appears = list(accumulate((frame.pts_seconds - frames[0].pts_seconds for frame in frames), max))
    duration = appears[-1] + frames[-1].duration_seconds
    for k in range(MAX_SECONDS):
        if k < duration:
            index = bisect_right(appears, k) - 1
            frame = frames[index]
            pts_seconds = round(float(appears[index]), 6)
            size = {"width": frame.width, "height": frame.height}
            yield {"k": k, "pts_seconds": pts_seconds} | size | {"sha256": frame.sha256}


if __name__ == "__main__":
    main()
