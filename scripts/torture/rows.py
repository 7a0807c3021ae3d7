"""Hostile rows: each is in the rejects or in the dataset, and none of them makes a connection."""

import csv
import json
import os
import shutil
import socket
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.parquet as pq

from tests.hostile_uris import SCHEMES, hostile_uris, listening
from torture.bench import Bench, Ended, require_orderly, yt8m
from torture.rounds import NotHeld

Row = dict[str, Any]

PLACES = (
    *("/dev/zero", "/dev/stdin", "/proc/self/environ", "/proc/self/mem", "/etc/passwd", "/", "", ".", "..", "~/x.mp4"),
    *("videos/../../../../etc/passwd", "fifo.mp4", "socket.mp4", "videos/*", "-", "a\0b.mp4", "\x1b]0;owned\x07.mp4"),
    *("ｈｔｔｐ://127.0.0.1/x.mp4", "h\u0442\u0442\u0440://127.0.0.1/x.mp4", "%68ttp://127.0.0.1/x.mp4", "\ud800.mp4"),
    *("x" * 100_000, "a/" * 5000 + "x.mp4", "\n", "=cmd|'/c calc'!A1", "C:\\x.mp4", "\\\\127.0.0.1\\share\\x.mp4"),
    *(f"{scheme}:127.0.0.1:80" for scheme in SCHEMES),
)
"""Uris that name no video: devices, secrets, other folders, look-alikes, what no file system takes."""

VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 10**400, 1e400, -0.0, [], {}, [[[[]]]], {"a": {"b": None}}),
    *("", "n/a", "NaN", "1e5", "\u0663", "=1+1", "\x1b[2J", "a\0b", "\u202eexe.mp4", "x" * 1_000_000, "\ud800"),
    *("../../x", "a\r\nb", '"', ",,,", "<script>"),
)
"""What may stand in any field."""

NO_ROWS = ("{", "[1]", "null", '{"video_id": "x"', "[" * 20_000, '{"a": ' + "9" * 10_000 + "}")
"""Lines that are no rows of a table."""


def rows(bench: Bench, folder: Path, random: Random) -> str:
    """A build whose tables have hostile rows among the good ones."""
    with listening() as heard:
        job, hostile = _spoiled(bench, folder, random, heard.port)
        ended = yt8m((*job, "--set", "max_failure_fraction=1"), folder)
        probed = yt8m(("probe", "--table", str(folder / "corpus" / "videos.jsonl")), folder)
    if heard.visits:
        raise NotHeld(f"{heard.visits} connections to a host that only rows name")
    for what in (ended, probed):
        require_orderly(what)
        _require_plain_text(what)
    if not ended.code:
        _require_accounted(folder / "dataset", hostile)
    return f"{len(hostile)} rows, exit code {ended.code}"


def _spoiled(bench: Bench, folder: Path, random: Random, port: int) -> tuple[tuple[str, ...], dict[int, Any]]:
    """Writes tables with hostile rows: what builds them, and the hostile videos: row → id."""
    corpus = folder / "corpus"
    shutil.copytree(bench.workshop.corpus, corpus)
    os.mkfifo(corpus / "fifo.mp4")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(os.path.relpath(corpus / "socket.mp4"))
    videos: list[Row] = pq.read_table(corpus / "videos.parquet").to_pylist()
    hostile = [_video(random, number, videos[0], port) for number in range(random.randint(20, 60))]
    _write_videos(corpus / "videos.jsonl", [_plain(row) for row in videos] + hostile, random)
    _label(corpus / "annotations.csv", [str(row["video_id"]) for row in hostile], random)
    _append_csv(corpus / "entities.csv", random)
    with (corpus / "ratings.jsonl").open("a") as stream:
        stream.writelines(f"{json.dumps(_row(random, ('entity_id', 'rater_id', 'score')))}\n" for _ in range(5))
    changes = {"tables__root": str(corpus), "tables__videos": "videos.jsonl", "video_sampling__sample_size": 1000}
    config = bench.workshop.config(folder, stored=bench.built, **changes)
    return ("build", str(config)), {len(videos) + 1 + place: row["video_id"] for place, row in enumerate(hostile)}


def _plain(row: Row) -> Row:
    """A row of the corpus as JSON can hold it."""
    return {name: value if value == value else None for name, value in row.items()}  # noqa: PLR0124  NaN


def _video(random: Random, number: int, example: Row, port: int) -> Row:
    """A row with a hostile uri, and in one of three cases another hostile field."""
    uri = random.choice(hostile_uris(port) if random.random() < 0.7 else PLACES)
    row = {
        **_plain(example),
        "video_id": f"hostile{number:05}",
        "uri": uri,
        "view_count": 5000,
        "duration_seconds": 3.0,
    }
    if random.random() < 0.33:
        row[random.choice([name for name in row if name != "uri"])] = random.choice(VALUES)
    return row


def _row(random: Random, names: tuple[str, ...]) -> Row:
    return {name: random.choice(VALUES) for name in names}


def _write_videos(path: Path, videos: list[Row], random: Random) -> None:
    """JSON lines, in one of four cases with a line that is none."""
    lines = [json.dumps(row) for row in videos]
    if random.random() < 0.25:
        lines.append(
            random.choice(("{", "[1]", "null", '{"video_id": "x"', "[" * 20_000, '{"a": ' + "9" * 10_000 + "}"))
        )
    path.write_text("".join(f"{line}\n" for line in lines))


def _label(path: Path, ids: list[str], random: Random) -> None:
    """Gives the hostile videos the labels of a good one, so that they come as far as decoding."""
    with path.open(newline="", encoding="utf-8") as stream:
        entity = list(csv.reader(stream))[1][1]
    with path.open("a", newline="", encoding="utf-8", errors="replace") as stream:
        writer = csv.writer(stream)
        writer.writerows((video_id, entity, "0.9") for video_id in ids)
        writer.writerows([random.choice(VALUES) for _ in range(3)] for _ in range(5))


def _append_csv(path: Path, random: Random) -> None:
    with path.open("a", newline="", encoding="utf-8", errors="replace") as stream:
        csv.writer(stream).writerows([random.choice(VALUES) for _ in range(random.choice((6, 6, 2)))] for _ in range(5))


def _require_plain_text(ended: Ended) -> None:
    if any(code in ended.out + ended.err for code in ("\x1b]", "\x1b[2J", "\x07", "\0", "\u202e")):
        raise NotHeld("an escape sequence of a row is printed as it is")


def _require_accounted(dataset: Path, hostile: dict[int, Any]) -> None:
    """Each hostile video is in the rejects or in the dataset."""
    kept = set(pq.read_table(dataset / "videos.parquet")["video_id"].to_pylist())
    rejects = [row for path in dataset.glob("rejects/*.parquet") for row in pq.read_table(path).to_pylist()]
    rejected = {row["row"] for row in rejects if row["table"] == "videos"} | {row["id"] for row in rejects}
    lost = [repr(name) for row, name in hostile.items() if row not in rejected and str(name) not in kept | rejected]
    if lost:
        raise NotHeld(f"rows neither rejected nor kept: {', '.join(lost)[:500]}")
