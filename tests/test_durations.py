"""Builds of tables that lack durations, or say wrong ones: the videos' own count, whatever was measured before."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.command_line import run
from tests.conftest import Workshop, published_bytes, rejects_of, yt8m
from tests.decoding.clips import encode
from yt8m_pipeline import files
from yt8m_pipeline.accounting.reasons import VideoRejected
from yt8m_pipeline.decoding.facts import VideoFacts
from yt8m_pipeline.jobs.preflight import probe
from yt8m_pipeline.store.durations import duration_files

WRONG = 60.0
"""Seconds that no video of the corpus has, and that the limits allow."""

Durations = Callable[[str, float | None], float | None]


@pytest.fixture(scope="module")
def corpus(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus in a place where all tests measure its films: what one has measured is known to others."""
    corpus = tmp_path_factory.mktemp("durations") / "corpus"
    corpus.mkdir()
    for path in workshop.corpus.iterdir():
        (corpus / path.name).symlink_to(path)
    return corpus


def with_durations(workshop: Workshop, corpus: Path, folder: Path, durations: Durations, **changes: Any) -> Path:
    """A config whose videos table has other durations: those that a function gives to id and duration."""
    table = corpus / f"{folder.name}.parquet"
    videos = pq.read_table(corpus / "videos.parquet")
    rows = zip(*(videos[name].to_pylist() for name in ("video_id", "duration_seconds")), strict=True)
    column = pa.array([durations(*row) for row in rows], pa.float64())
    pq.write_table(videos.set_column(2, "duration_seconds", column), table)
    changes = {"tables__videos": table.name, "video_sampling__max_duration_seconds": 100, **changes}
    return workshop.config(folder, tables__root=str(corpus), **changes)


def unknown(_: str, __: float | None) -> None:
    return None


def wrong(video_id: str, _: float | None) -> float | None:
    """Every other id has a wrong duration, the others have none."""
    return WRONG if sum(video_id.encode()) % 2 else None


def videos_of(folder: Path) -> list[dict[str, Any]]:
    return list(pq.read_table(folder / "dataset" / "videos.parquet").to_pylist())


def uris_of(workshop: Workshop) -> dict[str, str]:
    """The uri of each video of the corpus that has one."""
    rows = pq.read_table(workshop.corpus / "videos.parquet").to_pylist()
    return {row["video_id"]: row["uri"] for row in rows if row["uri"]}


def manifest_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "dataset" / "manifest.json").read_text()))


def measured_times(folder: Path) -> Mapping[str, int]:
    """When each file of durations was written."""
    return {file.uri: file.state.modified_ns for file in duration_files(str(folder / "features"))}


@pytest.fixture(scope="module")
def without(workshop: Workshop, built: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the finished build of a table without durations, measured on one worker."""
    folder = tmp_path_factory.mktemp("without")
    config = with_durations(workshop, corpus, folder, unknown, stored=built)
    finished = run("build", str(config))
    assert finished.returncode == 0, finished.stderr
    assert "durations are measured by probing the videos" in finished.stderr
    assert "probe: " in finished.stderr
    return folder


def except_inputs(name: str) -> bool:
    """The manifest has the digest of the videos table, COMPLETE that of the manifest, and the card names the build."""
    return name not in ("manifest.json", "COMPLETE", "README.md", "croissant.json")


def test_the_videos_own_durations_decide(workshop: Workshop, without: Path) -> None:
    rejects = [row for row in rejects_of(without / "dataset") if row["stage"] == "duration"]
    uris = uris_of(workshop)
    by_probe = dict(zip(uris, probe([str(workshop.corpus / uri) for uri in uris.values()]), strict=True))
    sampling = yaml.safe_load((without / "config.yaml").read_text())["video_sampling"]
    assert {row["reason"] for row in rejects} >= {"too_short", "missing_file", "not_a_video", "truncated"}
    for row in rejects:
        found = by_probe[row["id"]]
        if isinstance(found, VideoRejected):
            assert row["reason"] == found.reason
        else:
            assert row["reason"] == "too_short"
            assert found.duration_seconds_from_content < sampling["min_duration_seconds"]
    for video in videos_of(without):
        facts = by_probe[video["video_id"]]
        assert isinstance(facts, VideoFacts)
        assert sampling["min_duration_seconds"] <= facts.duration_seconds_from_content <= 100


def test_a_video_without_a_label_is_never_opened(workshop: Workshop, corpus: Path, without: Path) -> None:
    rejects = [row for row in rejects_of(without / "dataset") if row["table"] == "videos"]
    earlier = {row["id"] for row in rejects if row["stage"] in ("eligibility", "labels")} - {"nandurationx"}
    uris = uris_of(workshop)
    measured = {uri for file in duration_files(str(without / "features")) for uri in file.open()}
    assert measured
    assert earlier
    assert measured.isdisjoint({f"{corpus}/{uris[video_id]}" for video_id in earlier})


def test_a_table_with_the_measured_durations_makes_the_same_dataset(
    workshop: Workshop, built: Path, corpus: Path, without: Path, tmp_path: Path
) -> None:
    known = {
        uri: found for file in duration_files(str(without / "features")) for uri, (_, found) in file.open().items()
    }
    uris = uris_of(workshop)

    def measured(video_id: str, _: float | None) -> float | None:
        found = known.get(f"{corpus}/{uris.get(video_id)}", WRONG)
        return found if isinstance(found, float) else 1e6

    config = with_durations(workshop, corpus, tmp_path, measured, stored=built)
    finished = run("build", str(config))
    assert finished.returncode == 0, finished.stderr
    assert "probe" not in finished.stderr
    assert not measured_times(tmp_path)

    def without_rejects(name: str) -> bool:
        return except_inputs(name) and not name.startswith("rejects/")

    assert published_bytes(tmp_path / "dataset", without_rejects) == published_bytes(
        without / "dataset", without_rejects
    )


@contextmanager
def rebuilt(without: Path) -> Iterator[Path]:
    """The same build in the same folder once more, without the dataset."""
    before = published_bytes(without / "dataset")
    shutil.rmtree(without / "dataset")
    yield without / "config.yaml"
    assert published_bytes(without / "dataset") == before


ANOTHER_ENGINE = ("--", "--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK")


@pytest.mark.parametrize(("is_warm", "options"), [(True, ()), (False, ANOTHER_ENGINE)])
def test_neither_kept_durations_nor_workers_nor_the_engine_change_a_byte(
    without: Path, is_warm: bool, options: tuple[str, ...]
) -> None:
    if not is_warm:
        shutil.rmtree(without / "features" / "durations")
    before = measured_times(without)
    with rebuilt(without) as config:
        finished = (run if is_warm else yt8m)("build", str(config), *options)
        assert finished.returncode == 0, finished.stderr
    after = measured_times(without)
    transient = 1  # the shelf of the film that is missing is written again: another run may find it
    assert len(after.items() ^ before.items()) == (2 * transient if is_warm else len(after))


def test_under_measured_a_wrong_duration_is_told_and_the_films_own_counts(
    workshop: Workshop, corpus: Path, without: Path, tmp_path: Path
) -> None:
    """The films are those that are measured already."""
    config = with_durations(workshop, corpus, tmp_path, wrong, stored=without, video_sampling__durations="measured")
    finished = run("build", str(config), "--json")
    assert finished.returncode == 0, finished.stderr
    (warning,) = [text for text in manifest_of(tmp_path)["warnings"] if "contradict" in text]
    assert f"{WRONG:g} s, not " in warning
    assert warning in json.dumps(json.loads(finished.stdout)["warnings"])
    ids = [[row["video_id"] for row in videos_of(folder)] for folder in (tmp_path, without)]
    assert ids[0] == ids[1]


def test_too_many_films_that_cannot_be_measured_fail_the_build(without: Path, tmp_path: Path) -> None:
    changes = (f"--output={tmp_path}/dataset", "--set", "max_failure_fraction=0.05")
    finished = run("build", str(without / "config.yaml"), *changes)
    assert finished.returncode == 1
    assert "4 of 26 videos failed" in finished.stderr
    assert "max_failure_fraction 0.05 allows" in finished.stderr


def test_probe_shares_the_durations_of_a_store_with_builds_and_what_was_missing_is_tried_again(
    workshop: Workshop, built: Path, tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus"
    shutil.copytree(workshop.corpus, corpus)
    config = with_durations(workshop, corpus, tmp_path, unknown, stored=built)
    table, output = str(corpus / f"{tmp_path.name}.parquet"), str(tmp_path / "problems.parquet")
    arguments = ("probe", "--table", table, "--config", str(config), "--output", output, "--json")
    first = run(*arguments)
    facts = json.loads(first.stdout)
    assert first.returncode == 1
    assert facts["without_duration"] == facts["videos"] > 20
    assert facts["hours"] > 0
    assert {"reason": "duplicate", "rows": 1} in facts["problems"]
    kept = measured_times(tmp_path)
    assert kept
    assert json.loads(run(*arguments).stdout) == facts
    assert run("build", str(config)).returncode == 0
    assert measured_times(tmp_path).keys() == kept.keys()
    assert len(measured_times(tmp_path).items() ^ kept.items()) <= 2

    (missing,) = [row for row in rejects_of(tmp_path / "dataset") if row["reason"] == "missing_file"]
    Path(missing["file"]).write_bytes(encode(range(0, 3000, 40)))
    assert "Nothing to do" in run("build", str(config)).stdout
    again = run("build", str(config), "--retry", "transient")
    assert again.returncode == 0, again.stderr
    assert missing["id"] in {row["video_id"] for row in videos_of(tmp_path)}


def test_probe_of_a_folder_counts_films_hours_and_what_is_none(tmp_path: Path) -> None:
    film = encode(range(0, 2000, 40))
    names = ("a/one.mp4", "b/c/TWO.MP4", "bad.mkv", ".hidden.mp4", ".git/x.mp4", "labels.csv", "readme")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"no video" if name == "bad.mkv" else film)
    probed = run("probe", str(tmp_path), "--json")
    assert probed.returncode == 1
    assert "probe: 3/3 videos" in probed.stderr
    facts = json.loads(probed.stdout)
    assert [video["file"] for video in facts["videos"]] == [f"{tmp_path}/{name}" for name in sorted(names[:3])]
    assert (facts["hidden_files"], facts["other_files"]) == (2, 2)
    assert facts["hours"] == round(4 / 3600, 3)
    shown = run("probe", str(tmp_path))
    assert shown.stdout.startswith("3 videos, 1 of them unusable\nhours: 0.001\nhidden_files: 2\nother_files: 2\n")
    empty = run("probe", str(tmp_path / ".git" / ".."), str(tmp_path / "a"), "--json")
    assert len(json.loads(empty.stdout)["videos"]) == 4


def test_probe_of_a_folder_without_films_says_so(tmp_path: Path) -> None:
    (tmp_path / "readme").write_text("no film")
    refused = run("probe", str(tmp_path))
    assert refused.returncode == 2
    assert "of its 1 files, 0 are hidden, and no other has a name like .mp4" in refused.stderr


@pytest.mark.usefixtures("bucket")
def test_probe_finds_the_films_of_a_folder_in_a_bucket() -> None:
    from yt8m_pipeline.jobs.preflight import find_videos

    for name in ("a/one.mp4", ".x.mp4", "labels.csv"):
        files.write_bytes(f"gs://bucket/films/{name}", b"x")
    assert find_videos(["gs://bucket/films"]) == (["gs://bucket/films/a/one.mp4"], 1, 1)


def test_a_killed_build_measures_only_the_rest(
    workshop: Workshop, built: Path, corpus: Path, without: Path, tmp_path: Path
) -> None:
    from tests.test_resume import kill_when

    config = with_durations(workshop, corpus, tmp_path, unknown, stored=built)
    kill_when(config, lambda folder: len(list((folder / "features").glob("durations/*/*.jsonl"))) >= 4)
    before = measured_times(tmp_path)
    finished = run("build", str(config))
    assert finished.returncode == 0, finished.stderr
    again = {uri for uri, time in measured_times(tmp_path).items() if before.get(uri, time) != time}
    missing = [uri for uri in again if any(found[0].size == 0 for found in _known(uri))]
    assert again == set(missing)
    assert not list(tmp_path.rglob("*.tmp-*"))
    assert [row["video_id"] for row in videos_of(tmp_path)] == [row["video_id"] for row in videos_of(without)]


def _known(uri: str) -> Iterator[Any]:
    fingerprint = os.path.basename(os.path.dirname(uri))
    root = os.path.dirname(os.path.dirname(os.path.dirname(uri)))
    for file in duration_files(root):
        if (file.uri, file.fingerprint) == (uri, fingerprint):
            yield from file.open().values()
