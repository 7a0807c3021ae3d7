"""Hostile films among good ones: the good ones' features are those of an undisturbed run, each bad one has a reason."""

import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Mapping
from fractions import Fraction
from itertools import islice
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.decoding.damage import Video, variants
from tests.hostile_uris import listening
from torture.bench import Bench, require_orderly, yt8m
from torture.rounds import NotHeld
from yt8m_pipeline.accounting.reasons import DropReason

Row = dict[str, Any]


def _zip(path: Path, _: int) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.mp4", bytes(10_000_000))


def _bomb(path: Path, _: int) -> None:
    """A film of 144 KiB whose frames have 400 million pixels, and whose container says 64 × 64."""
    packet = av.Packet(_picture(20_000))
    with av.open(str(path), "w", format="mov") as container:
        packet.stream = stream = container.add_stream("png", 1)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "rgb24"
        packet.pts, packet.dts, packet.time_base, packet.is_keyframe = 0, 0, Fraction(1), True
        container.mux(packet)


def _picture(side: int) -> bytes:
    """A black PNG of one bit a pixel."""
    header = side.to_bytes(4, "big") * 2 + bytes((1, 0, 0, 0, 0))
    pixels = zlib.compress(bytes(side * (side // 8 + 1)))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def _text(text: str) -> Callable[[Path, int], object]:
    return lambda path, port: path.write_text(text.replace("PORT", str(port)))


STRANGE: Mapping[str, Callable[[Path, int], object]] = MappingProxyType(
    {
        "fifo": lambda path, _: os.mkfifo(path),
        "device": lambda path, _: path.symlink_to("/dev/zero"),
        "folder": lambda path, _: path.mkdir(),
        "loop": lambda path, _: path.symlink_to(path.name),
        "zip": _zip,
        "bomb": _bomb,
        "empty": _text(""),
        "m3u8": _text("#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nhttp://127.0.0.1:PORT/x.ts\n#EXT-X-ENDLIST\n"),
        "ffconcat": _text("ffconcat version 1.0\nfile /etc/passwd\nfile http://127.0.0.1:PORT/x.ts\n"),
        "sdp": _text("v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video PORT RTP/AVP 96\n"),
        "mpd": _text('<?xml version="1.0"?><MPD><BaseURL>http://127.0.0.1:PORT/</BaseURL></MPD>'),
        "svg": _text('<svg xmlns="http://www.w3.org/2000/svg"><image href="http://127.0.0.1:PORT/x.png"/></svg>'),
        "noise": lambda path, port: path.write_bytes(Random(port).randbytes(100_000)),
    }
)
"""Files that are no videos, whatever their names say."""


def films(bench: Bench, folder: Path, random: Random) -> str:
    """A build on an empty store of the corpus and of hostile films."""
    corpus = folder / "corpus"
    shutil.copytree(bench.workshop.corpus, corpus)
    with listening() as heard:
        names = _write_films(corpus / "videos", random, heard.port)
        _enter(corpus, names)
        number = len(names) + bench.workshop.summary.sample_size
        config = bench.workshop.config(
            folder, tables__root=str(corpus), video_sampling__sample_size=number, max_failure_fraction=1.0
        )
        ended = yt8m(("build", str(config)), folder)
    require_orderly(ended)
    if heard.visits:
        raise NotHeld(f"{heard.visits} connections to a host that only films name")
    if ended.code:
        raise NotHeld(f"exit code {ended.code}: {ended.last}")
    _require_good_features(bench, folder)
    return _ends(folder / "dataset", names)


def _write_films(folder: Path, random: Random, port: int) -> dict[str, str]:
    """Writes hostile films: file name → what it is."""
    originals = [_read(path) for path in sorted(folder.iterdir())]
    whole = [video for video in originals if video is not None]
    names: dict[str, str] = {}
    for variant in islice(variants(whole, random.randrange(10**6)), random.randint(5, 12)):
        name = f"damaged{len(names):03}{Path(variant.video.name).suffix}"
        (folder / name).write_bytes(variant.data)
        names[name] = variant.name
    for kind in random.sample(list(STRANGE), 4):
        STRANGE[kind](folder / f"strange-{kind}.mp4", port)
        names[f"strange-{kind}.mp4"] = kind
    return names


def _read(path: Path) -> Video | None:
    """A video that can be damaged; the corpus has files that are none."""
    data = path.read_bytes()
    if b"ftyp" not in data[:12] and data[:4] != b"\x1a\x45\xdf\xa3":
        return None
    video = Video.of(path.name, data)
    return video if video.packets else None


def _enter(corpus: Path, names: Mapping[str, str]) -> None:
    """Enters the films into the tables, with the labels of a good video."""
    table = pq.read_table(corpus / "videos.parquet")
    example: Row = table.slice(0, 1).to_pylist()[0]
    more = [{**example, "video_id": _id(name), "uri": f"videos/{name}", "group_id": _id(name)} for name in names]
    pq.write_table(pa.concat_tables([table, pa.Table.from_pylist(more, table.schema)]), corpus / "videos.parquet")
    annotations = corpus / "annotations.csv"
    entity = annotations.read_text().splitlines()[1].split(",")[1]
    with annotations.open("a") as stream:
        stream.writelines(f"{_id(name)},{entity},0.9\n" for name in names)


def _id(name: str) -> str:
    return name.replace(".", "")


def _require_good_features(bench: Bench, folder: Path) -> None:
    """The store has the features that it has of the same corpus without hostile films."""
    for path in (bench.built / "features").rglob("*.npz"):
        ours = folder / "features" / path.relative_to(bench.built / "features")
        if not ours.exists() or _features(ours) != _features(path):
            raise NotHeld(f"a good film's features are other than alone: {path.name}")


def _features(path: Path) -> bytes:
    with np.load(path) as arrays:
        return bytes(arrays["features"].tobytes())


def _ends(dataset: Path, names: Mapping[str, str]) -> str:
    """What became of the hostile films: each is kept or has a reason, and no reason is a fault of ours."""
    kept = set(pq.read_table(dataset / "videos.parquet")["video_id"].to_pylist())
    rejects = [row for path in dataset.glob("rejects/*.parquet") for row in pq.read_table(path).to_pylist()]
    reasons = {row["id"]: row["reason"] for row in rejects}
    for name, what in names.items():
        reason = reasons.get(_id(name))
        if _id(name) not in kept and reason is None:
            raise NotHeld(f"{what} is neither kept nor rejected")
        if reason == DropReason.INTERNAL_ERROR:
            raise NotHeld(f"{what} is an internal error")
        if name.startswith("strange") and reason is None:
            raise NotHeld(f"{what} is taken for a video")
    return f"{len(names)} films, {len(kept & set(map(_id, names)))} kept"
