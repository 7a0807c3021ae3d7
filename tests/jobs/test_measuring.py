"""Durations of real, tiny videos: measured once and kept, measured again after a change, and resumed after a kill."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest

from tests.decoding.clips import encode, encode_audio
from tests.selection.rows import table
from tests.transforms.harness import run
from yt8m_pipeline import files
from yt8m_pipeline.accounting.reasons import Measured, Retry, VideoRejected
from yt8m_pipeline.config import Decoding, VideoSampling
from yt8m_pipeline.decoding.sandbox.threads import Probed, ProbeVideos, prober
from yt8m_pipeline.jobs.measuring import Measuring, measure
from yt8m_pipeline.places import Places
from yt8m_pipeline.store.durations import duration_files, shelf_of
from yt8m_pipeline.tables.reading import schema
from yt8m_pipeline.transforms.durations import MeasureDurations, MeasuredVideos


def clip(seconds: float) -> bytes:
    return encode(range(0, round(1000 * seconds), 40), container="matroska")


TWO, THREE = clip(2.0), clip(3.0)
FILMS = {"two.mkv": TWO, "three.mkv": THREE, "text.mkv": b"no video", "audio.mp4": encode_audio(), "empty.mkv": b""}
EXPECTED = {
    "two.mkv": 2.0,
    "three.mkv": 3.0,
    "text.mkv": "not_a_video",
    "audio.mp4": "no_video_stream",
    "empty.mkv": "empty_file",
    "none.mkv": "missing_file",
}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for name, data in FILMS.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


@dataclass
class Counting:
    """Probes, and notes what is asked for."""

    probe: ProbeVideos
    asked: list[str] = field(default_factory=list)

    def __call__(self, uris: Any) -> Iterator[Probed]:
        self.asked += uris
        return self.probe(uris)


def measured(measuring: Measuring, uris: list[str]) -> tuple[dict[str, float | str], list[str]]:
    """The duration or reason of each file by its name, and the names of those that were probed."""
    with prober(measuring.probing(2)) as probe:
        counting = Counting(probe)
        found = dict(measure(uris, measuring, counting))
    assert sorted(found) == list(range(len(uris)))
    names = [uri.rpartition("/")[2] for uri in uris]
    return {name: plain(found[row]) for row, name in enumerate(names)}, sorted(
        uri.rpartition("/")[2] for uri in counting.asked
    )


def plain(found: Measured) -> float | str:
    return found.reason.value if isinstance(found, VideoRejected) else found


def measuring_in(root: Path | str, store: str | None = None, **others: Any) -> Measuring:
    return Measuring(Decoding(), Places(str(root)), store or f"{root}/features", **others)


class TestMeasuring:
    def test_each_file_is_measured_by_its_content_and_once(self, corpus: Path) -> None:
        uris = [str(corpus / name) for name in (*EXPECTED, "two.mkv")]
        first, probed = measured(measuring_in(corpus), uris)
        assert first == EXPECTED
        assert probed == sorted(EXPECTED)
        again, probed = measured(measuring_in(corpus), uris)
        assert again == EXPECTED
        assert probed == ["none.mkv"]

    def test_without_a_store_nothing_is_kept(self, corpus: Path) -> None:
        measuring = Measuring(Decoding(), Places(str(corpus)))
        for _ in range(2):
            found, probed = measured(measuring, [str(corpus / "two.mkv")])
            assert (found, probed) == ({"two.mkv": 2.0}, ["two.mkv"])
        assert not (corpus / "features").exists()

    @pytest.mark.parametrize("data", [THREE, TWO], ids=["other bytes", "another time"])
    def test_a_file_that_has_changed_is_measured_again(self, corpus: Path, data: bytes) -> None:
        uris = [str(corpus / name) for name in ("two.mkv", "three.mkv")]
        measured(measuring_in(corpus), uris)
        (corpus / "two.mkv").write_bytes(data)
        os.utime(corpus / "two.mkv", (1, 1))
        found, probed = measured(measuring_in(corpus), uris)
        assert found == {"two.mkv": 3.0 if data is THREE else 2.0, "three.mkv": 3.0}
        assert probed == ["two.mkv"]

    def test_a_file_that_was_missing_is_found_when_it_is_there(self, corpus: Path) -> None:
        uris = [str(corpus / "none.mkv")]
        assert measured(measuring_in(corpus), uris)[0] == {"none.mkv": "missing_file"}
        (corpus / "none.mkv").write_bytes(TWO)
        for retry in Retry:
            assert measured(measuring_in(corpus, retry=retry), uris)[0] == {"none.mkv": 2.0}

    def test_only_all_tries_a_verdict_again(self, corpus: Path) -> None:
        uris = [str(corpus / "text.mkv")]
        measured(measuring_in(corpus), uris)
        asked = {retry: measured(measuring_in(corpus, retry=retry), uris)[1] for retry in Retry}
        assert asked == {Retry.NONE: [], Retry.TRANSIENT: [], Retry.ALL: ["text.mkv"]}

    def test_a_policy_that_changes_durations_does_not_use_those_of_another(self, corpus: Path) -> None:
        (corpus / "cut.mkv").write_bytes(THREE[:-900])
        uris = [str(corpus / "cut.mkv")]
        assert measured(measuring_in(corpus), uris)[0] == {"cut.mkv": "truncated"}
        salvage = Measuring(Decoding(damage="salvage"), Places(str(corpus)), f"{corpus}/features")
        found = measured(salvage, uris)[0]["cut.mkv"]
        assert isinstance(found, float)
        assert 0 < found < 3
        slower = Measuring(Decoding(timeout_seconds=99.0, memory_limit_mib=1000), Places(str(corpus)), salvage.store)
        assert measured(slower, uris) == ({"cut.mkv": "truncated"}, [])

    def test_what_no_row_may_name_is_refused_and_not_kept(self, corpus: Path) -> None:
        inside = corpus / "root"
        inside.mkdir()
        (inside / "link.mkv").symlink_to(corpus / "two.mkv")
        uris = [str(inside / "link.mkv")]
        anywhere = measuring_in(inside, f"{corpus}/features")
        assert measured(anywhere, uris)[0] == {"link.mkv": 2.0}
        within = Measuring(Decoding(), Places(str(inside), outside_root=False), anywhere.store)
        for _ in range(2):
            found, probed = measured(within, uris)
            assert (found, probed) == ({"link.mkv": "uri_not_accepted"}, ["link.mkv"])

    def test_an_iterator_that_is_left_half_way_has_kept_what_it_gave(self, corpus: Path) -> None:
        uris = [str(corpus / name) for name in ("two.mkv", "three.mkv", "text.mkv")]
        with (
            prober(measuring_in(corpus).probing(1)) as probe,
            closing(
                measure(uris, measuring_in(corpus), probe)  # type: ignore[type-var]
            ) as found,
        ):
            row, _ = next(found)
        assert measured(measuring_in(corpus), uris)[1] == sorted(Path(uri).name for uri in uris if uri != uris[row])

    @pytest.mark.usefixtures("bucket")
    def test_films_in_a_bucket_are_measured_and_a_changed_one_again(self) -> None:
        root = "gs://bucket/corpus"
        for name, data in FILMS.items():
            files.write_bytes(f"{root}/{name}", data)
        uris = [f"{root}/{name}" for name in EXPECTED]
        assert measured(measuring_in(root), uris) == (EXPECTED, sorted(EXPECTED))
        assert measured(measuring_in(root), uris) == (EXPECTED, ["none.mkv"])
        files.write_bytes(f"{root}/two.mkv", THREE)
        assert measured(measuring_in(root), uris) == (EXPECTED | {"two.mkv": 3.0}, ["none.mkv", "two.mkv"])
        names = {file.uri.rpartition("/")[2] for file in duration_files(f"{root}/features")}
        assert names == {f"{shelf_of(uri)}.jsonl" for uri in uris}


KILLED = """
import sys
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.decoding.sandbox.threads import prober
from yt8m_pipeline.places import Places
from yt8m_pipeline.jobs.measuring import Measuring, measure
root, *uris = sys.argv[1:]
measuring = Measuring(Decoding(), Places(root), f"{root}/features")
with prober(measuring.probing(1)) as probe:
    for _ in measure(uris, measuring, probe):
        print("one", flush=True)
"""


def test_after_a_kill_only_the_rest_is_measured(tmp_path: Path) -> None:
    uris = [str(tmp_path / f"{number}.mkv") for number in range(24)]
    for uri in uris:
        Path(uri).write_bytes(TWO)
    command = [sys.executable, "-c", KILLED, str(tmp_path), *uris]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        for _ in range(6):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait()
    kept = [uri for file in duration_files(f"{tmp_path}/features") if not file.is_temporary for uri in file.open()]
    found, probed = measured(measuring_in(tmp_path), uris)
    assert len(kept) >= 5
    assert probed == sorted(Path(uri).name for uri in set(uris) - set(kept))
    assert found == {f"{number}.mkv": 2.0 for number in range(24)}


# The Beam shell


class Flat(NamedTuple):
    """All outputs of the step, each by its name."""

    kept: Any
    rejects: Any
    counts: Any
    warnings: Any


def labelled(rows: list[tuple[str, str, float | None]]) -> pa.Table:
    types = {item.name: item.type for item in schema("videos") if not item.name.startswith("_")}
    types["entity_ids"] = pa.list_(pa.string())
    values = [
        {"video_id": name, "uri": uri, "duration_seconds": seconds, "view_count": 1, "entity_ids": ["e"]}
        for name, uri, seconds in rows
    ]
    return table(values, types)


ROWS: list[tuple[str, str, float | None]] = [
    ("given", "none.mkv", 2.5),
    ("measured", "two.mkv", None),
    ("again", "two.mkv", None),
    ("long", "three.mkv", None),
    ("wrong", "three.mkv", 1.5),
    ("broken", "text.mkv", None),
    ("gone", "none.mkv", None),
]


def flat(measured_videos: MeasuredVideos) -> Flat:
    return Flat(*measured_videos.outputs, measured_videos.warnings)


@pytest.mark.parametrize(
    ("durations", "kept", "rejected", "warned"),
    [
        (
            "table",
            {"given": 2.5, "measured": 2.0, "again": 2.0, "wrong": 1.5},
            {"long": "too_long", "broken": "not_a_video", "gone": "missing_file"},
            [],
        ),
        (
            "measured",
            {"measured": 2.0, "again": 2.0, "wrong": 3.0, "long": 3.0},
            {"given": "missing_file", "broken": "not_a_video", "gone": "missing_file"},
            [
                "durations of the videos table that the videos contradict by more than 1 s: 1 of 1 rows; "
                "first wrong: 1.5 s, not 3 s"
            ],
        ),
    ],
)
def test_what_is_kept_carries_the_duration_that_counts(
    corpus: Path, durations: Any, kept: dict[str, float], rejected: dict[str, str], warned: list[str]
) -> None:
    longest = 2.5 if durations == "table" else 3.0
    config = VideoSampling(min_duration_seconds=1, max_duration_seconds=longest, durations=durations)
    steps = MeasureDurations(config, measuring_in(corpus))
    tables = [labelled(ROWS[:3]), labelled(ROWS[3:])]
    found = run(lambda videos: flat(videos | steps), videos=tables)
    assert {row["video_id"]: row["duration_seconds"] for rows in found.kept for row in rows.to_pylist()} == kept
    assert {row["id"]: row["reason"] for rows in found.rejects for row in rows.to_pylist()} == rejected
    assert sum(count.rows_in for count in found.counts) == len(ROWS)
    assert found.warnings == warned
