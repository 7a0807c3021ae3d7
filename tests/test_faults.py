"""Bad input: each fault gets an error of four parts and an exit code, or a row of the rejects."""

import csv
import json
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.command_line import four_parts, run
from tests.conftest import Workshop, published_bytes
from yt8m_pipeline.config import load
from yt8m_pipeline.dataset.verify import verify
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.jobs.build_plan import plan_build

Row = dict[str, Any]
CAT, SONG = "/m/01yrx", "/m/074ft"
KNOWN = "the first video"


@dataclass
class Corpus:
    """Four tables written by hand. Their videos are those that the store of the finished build has: none is decoded."""

    videos: list[Row]
    annotations: list[Row]
    entities: list[Row] = field(
        default_factory=lambda: [
            {"entity_id": CAT, "name": "Cat", "types": "animal"},
            {"entity_id": SONG, "name": "Song", "types": "music_composition"},
        ]
    )
    ratings: list[Row] = field(
        default_factory=lambda: [
            {"entity_id": name, "rater_id": rater, "score": 1}
            for name in (CAT, SONG)
            for rater in ("ana", "ben", "chi")
        ]
    )

    @classmethod
    def of(cls, dataset: Path) -> "Corpus":
        names = pq.read_table(dataset / "videos.parquet")["video_id"].to_pylist()
        labels = [{"video_id": name, "entity_id": CAT, "score": 0.9} for name in names]
        return cls([video_row(name, "stored.mp4") for name in names], labels)

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True)
        for name in ("entities", "annotations"):
            write_csv(folder / f"{name}.csv", getattr(self, name))
        for name in ("ratings", "videos"):
            (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in getattr(self, name)))
        return folder


def video_row(video_id: str, uri: str) -> Row:
    return {"video_id": video_id, "uri": uri, "duration_seconds": 3.0, "view_count": 5000}


def write_csv(path: Path, rows: list[Row]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@dataclass(frozen=True)
class Bench:
    """Writes configs for corpora of one's own whose stores begin with what the finished build has."""

    workshop: Workshop
    built: Path

    def corpus(self) -> Corpus:
        return Corpus.of(self.built / "dataset")

    def config(self, corpus: Path, **changes: object) -> Path:
        ours = {
            "tables__root": str(corpus),
            "tables__videos": "videos.jsonl",
            "duplicates": "keep",  # most of these videos are one film
            "shards": {"train": 1, "validate": 1, "test": 1},
            "video_sampling__popular_videos_above": 0,
            "video_sampling__min_videos_per_entity": 1,
            "video_sampling__sample_size": 1000,
        }
        return self.workshop.config(corpus.parent, stored=self.built, **(ours | changes))


@pytest.fixture(scope="session")
def bench(workshop: Workshop, built: Path) -> Bench:
    return Bench(workshop, built)


def rejects_of(dataset: Path) -> list[Row]:
    return [row for path in sorted(dataset.glob("rejects/*.parquet")) for row in read_rows(path)]


def read_rows(table: Path) -> list[Row]:
    rows: list[Row] = pq.read_table(table).to_pylist()
    return rows


# Tables that nothing can be done with: found before anything starts


def rewrite(path: Path, change: Callable[[Row], Row]) -> None:
    with path.open() as stream:
        rows = list(csv.DictReader(stream))
    write_csv(path, [change(row) for row in rows])


def without_a_table(corpus: Path) -> None:
    (corpus / "entities.csv").unlink()


def without_a_column(corpus: Path) -> None:
    rewrite(corpus / "annotations.csv", lambda row: {"video_id": row["video_id"], "score": row["score"]})


def with_a_misspelt_column(corpus: Path) -> None:
    path = corpus / "videos.jsonl"
    path.write_text(path.read_text().replace("duration_seconds", "duraton_seconds"))


def with_a_hopeless_type(corpus: Path) -> None:
    rows = [{**video_row("a", "a.mp4"), "view_count": True}]
    (corpus / "videos.jsonl").unlink()
    pq.write_table(pa.Table.from_pylist(rows), corpus / "videos.parquet")


def with_an_empty_csv(corpus: Path) -> None:
    (corpus / "entities.csv").write_text("entity_id,name,types\n")


def with_an_empty_jsonl(corpus: Path) -> None:
    (corpus / "ratings.jsonl").write_text("")


HOPELESS = [
    (
        without_a_table,
        "entities.csv",
        ("The entities table is missing", "no file matches", "correct tables.entities or tables.root in the config"),
    ),
    (
        without_a_column,
        "annotations.csv",
        ("The annotations table lacks column entity_id", "its columns are video_id, score", "add entity_id"),
    ),
    (
        with_a_misspelt_column,
        "videos.jsonl",
        (
            "The videos table lacks column duration_seconds",
            "its columns are video_id, uri, duraton_seconds, view_count",
            "rename duraton_seconds to duration_seconds",
        ),
    ),
    (
        with_a_hopeless_type,
        "videos.parquet",
        (
            "The videos table has the wrong type in column view_count",
            "view_count is bool, not a whole number ≥ 0",
            "convert the column",
        ),
    ),
    (
        with_an_empty_csv,
        "entities.csv",
        ("The entities table is empty", "it has no data rows", "give a file with rows"),
    ),
    (
        with_an_empty_jsonl,
        "ratings.jsonl",
        ("The ratings table is empty", "it has no data rows", "give a file with rows"),
    ),
]


@pytest.mark.parametrize(("spoil", "file", "parts"), HOPELESS, ids=[case[0].__name__ for case in HOPELESS])
def test_a_hopeless_table_is_refused_before_anything_starts(
    bench: Bench, tmp_path: Path, spoil: Callable[[Path], None], file: str, parts: tuple[str, str, str]
) -> None:
    corpus = bench.corpus().write(tmp_path / "corpus")
    spoil(corpus)
    videos = "videos.parquet" if file == "videos.parquet" else "videos.jsonl"
    with pytest.raises(UsageError) as caught:
        plan_build(load(bench.config(corpus, tables__videos=videos)))
    error = caught.value
    assert (error.what, error.why, error.fix) == parts
    assert (error.where, error.exit_code) == (f"{corpus}/{file}", 2)
    assert not (tmp_path / "dataset").exists()


@pytest.mark.parametrize("command", [("build",), ("config", "check")])
def test_the_command_line_refuses_a_hopeless_table_with_exit_code_2(
    bench: Bench, tmp_path: Path, command: tuple[str, ...]
) -> None:
    corpus = bench.corpus().write(tmp_path / "corpus")
    with_a_misspelt_column(corpus)
    refused = run(*command, str(bench.config(corpus)))
    assert refused.returncode == 2
    assert all(" can be " in line for line in refused.stdout.splitlines())  # the places, by `config check`
    assert four_parts(refused)[3] == "rename duraton_seconds to duration_seconds"


# Rows that cost themselves only


@pytest.fixture(scope="module")
def spoiled(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The dataset of a corpus with one bad row of every kind, and what the build printed."""
    corpus = bench.corpus()
    known = corpus.videos[0]["video_id"]
    corpus.entities += [{"entity_id": CAT, "name": "Cat again", "types": "animal"}]
    corpus.ratings += [{"entity_id": CAT, "rater_id": f"rater {score}", "score": score} for score in (0, 6, "n/a")]
    corpus.videos += [
        {**corpus.videos[0], "view_count": 9},
        {**corpus.videos[0], "video_id": "nan", "duration_seconds": float("nan")},
        {**corpus.videos[0], "video_id": "views", "view_count": "many"},
    ]
    corpus.annotations += [
        {"video_id": "nosuchvideo", "entity_id": CAT, "score": 1},
        {"video_id": known, "entity_id": "/m/nosuch", "score": 1},
        {"video_id": known, "entity_id": SONG, "score": "high"},
    ]
    folder = tmp_path_factory.mktemp("spoiled")
    config = bench.config(corpus.write(folder / "corpus"), vocabulary__type_whitelist=["animal", "unicorn"])
    finished = run("build", str(config))
    assert finished.returncode == 0, finished.stderr
    assert "Traceback" not in finished.stderr
    return folder / "dataset", finished.stdout


@pytest.mark.parametrize(
    ("expected", "detail"),
    [
        (
            ("unique", "entities", CAT, "duplicate", 3),
            "the first row with the same entity_id is kept: entities.csv, row 1",
        ),
        (("rater_scores", "ratings", CAT, "out_of_range", 7), "score 0 is not in 1.0 … 5.0"),
        (("rater_scores", "ratings", CAT, "out_of_range", 8), "score 6 is not in 1.0 … 5.0"),
        (
            ("read", "ratings", CAT, "wrong_type", 9),
            "ratings.jsonl, row 9, column score; why: 'n/a' is not a finite number",
        ),
        (
            ("unique", "videos", KNOWN, "duplicate", -3),
            "the first row with the same video_id is kept: videos.jsonl, row 1",
        ),
        (("read", "videos", "nan", "out_of_range", -2), "column duration_seconds; why: nan is not a finite number"),
        (("read", "videos", "views", "wrong_type", -1), "column view_count; why: 'many' is not a whole number ≥ 0"),
        (("labels", "annotations", "nosuchvideo", "unknown_video", -3), "nosuchvideo"),
        (("labels", "annotations", KNOWN, "unknown_entity", -2), "/m/nosuch"),
        (("read", "annotations", KNOWN, "wrong_type", -1), "column score; why: 'high' is not a finite number"),
    ],
)
def test_a_bad_row_is_rejected_with_its_reason_and_row_number(
    bench: Bench, spoiled: tuple[Path, str], expected: tuple[str, str, str, str, int], detail: str
) -> None:
    """A negative row counts from the end of the table."""
    known = bench.corpus().videos
    stage, table, identifier, reason, row = expected
    key = (stage, table, identifier.replace(KNOWN, known[0]["video_id"]), reason, row + (row < 0) * (len(known) + 4))
    names = ("stage", "table", "id", "reason", "row")
    found = {tuple(reject[name] for name in names): reject for reject in rejects_of(spoiled[0])}
    assert key in found
    assert detail in found[key]["detail"]


def test_bad_rows_cost_no_good_one(bench: Bench, spoiled: tuple[Path, str]) -> None:
    kept = pq.read_table(spoiled[0] / "videos.parquet")["video_id"].to_pylist()
    assert kept == sorted(row["video_id"] for row in bench.corpus().videos)
    assert verify(str(spoiled[0])) == []


def test_a_whitelisted_type_that_no_entity_has_is_warned_of(spoiled: tuple[Path, str]) -> None:
    warning = "vocabulary.type_whitelist: no entity has the type 'unicorn'; is it misspelt?"
    of_licence, of_films, of_model, of_types = json.loads((spoiled[0] / "manifest.json").read_text())["warnings"]
    assert of_licence.startswith("card.licence is null")
    assert of_films.startswith("films given several times")
    assert (of_model.startswith("the network is a program"), of_types) == (True, warning)
    assert warning in spoiled[1]


# Too little is left


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        (
            "vocabulary.type_whitelist=[nothing]",
            "vocabulary kept 0 of 2 entities (blacklisted_type 1, no_whitelisted_type 1)",
        ),
        ("rater_scores.min_raters=4", "rater_scores kept 0 of 1 entities (too_few_raters 1)"),
        ("video_sampling.min_views=9999", "eligibility kept 0 of {n} videos (too_few_views {n})"),
        ("video_sampling.popular_videos_above=99", "popularity kept 0 of 1 entities (too_few_popular_videos 1)"),
        ("video_sampling.min_videos_per_entity=99", "frequency kept 0 of 1 entities (too_few_videos 1)"),
    ],
)
def test_where_no_video_is_left_the_error_says_which_filter_took_how_many(
    bench: Bench, tmp_path: Path, setting: str, why: str
) -> None:
    corpus = bench.corpus()
    stopped = run("build", str(bench.config(corpus.write(tmp_path / "corpus"))), "--set", setting)
    dataset = tmp_path / "dataset"
    assert stopped.returncode == 1
    assert four_parts(stopped) == (
        "No video is left",
        f"{dataset}/rejects",
        f"stage {why.format(n=len(corpus.videos))}",
        "relax that filter in the config, or correct the table; "
        f"`yt8m inspect {dataset} --rejects` shows the rows and their reasons",
    )
    assert rejects_of(dataset)
    assert not (dataset / "COMPLETE").exists()


def test_where_every_row_of_a_table_is_bad_the_error_says_so(bench: Bench, tmp_path: Path) -> None:
    corpus = bench.corpus()
    corpus.videos = [{**row, "duration_seconds": -1} for row in corpus.videos]
    number = len(corpus.videos)
    stopped = run("build", str(bench.config(corpus.write(tmp_path / "corpus"))))
    assert stopped.returncode == 1
    assert four_parts(stopped)[2] == f"stage read kept 0 of {number} videos (out_of_range {number})"


@pytest.mark.parametrize("setting", ["pca.components=40", "partitioning={train: 0, validate: 0.5, test: 0.5}"])
def test_a_train_split_too_small_for_the_components_stops_the_build(bench: Bench, tmp_path: Path, setting: str) -> None:
    corpus = bench.corpus()
    corpus.videos = corpus.videos[:9]
    config = bench.config(corpus.write(tmp_path / "corpus"))
    stopped = run("build", str(config), "--set", setting)
    components = 40 if "components" in setting else 16
    what, where, why, fix = four_parts(stopped)
    assert (stopped.returncode, what) == (1, "The train partition is too small for the PCA")
    assert where == str(tmp_path / "dataset")
    assert f"cannot fit {components} components, at least {components + 1} are needed" in why
    assert fix.startswith("give more videos")
    assert not (tmp_path / "dataset" / "frame").exists()


# Places that cannot be written


def test_a_folder_that_is_not_ours_is_left_alone(bench: Bench, tmp_path: Path) -> None:
    theirs = tmp_path / "dataset" / "thesis.txt"
    theirs.parent.mkdir()
    theirs.write_text("all I have")
    refused = run("build", str(bench.config(bench.corpus().write(tmp_path / "corpus"))))
    assert refused.returncode == 2
    assert four_parts(refused) == (
        "The output folder is not empty and not a dataset",
        str(theirs.parent),
        "it holds thesis.txt and 0 other files, but no manifest.json",
        "give an empty or new folder with --output",
    )
    assert [path.name for path in theirs.parent.iterdir()] == ["thesis.txt"]


def test_the_folder_of_a_build_that_was_killed_at_once_is_ours(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    for name in (".lock", ".unfinished.tmp-elsewhere-00ff"):
        (tmp_path / "dataset" / name).touch()
    assert run("build", str(bench.config(bench.corpus().write(tmp_path / "corpus")))).returncode == 0
    assert verify(str(tmp_path / "dataset")) == []


def test_an_output_that_is_a_file_is_refused(bench: Bench, tmp_path: Path) -> None:
    config = bench.config(bench.corpus().write(tmp_path / "corpus"))
    refused = run("build", str(config), "--output", str(config))
    assert refused.returncode == 2
    assert four_parts(refused) == (
        "The output is no folder",
        str(config),
        "it is a file",
        "give a new folder with --output",
    )


def test_an_output_that_cannot_be_made_is_an_error_of_four_parts(bench: Bench, tmp_path: Path) -> None:
    config = bench.config(bench.corpus().write(tmp_path / "corpus"))
    what, where, why, fix = four_parts(stopped := run("build", str(config), "--output", f"{config}/dataset"))
    assert (stopped.returncode, what, where) == (1, "The output folder cannot be written", f"{config}/dataset/.lock")
    assert "Not a directory" in why
    assert fix == "check its permissions, or give another --output"


def test_a_store_that_cannot_be_made_is_an_error_of_four_parts(bench: Bench, tmp_path: Path) -> None:
    config = bench.config(bench.corpus().write(tmp_path / "corpus"))
    what, where, why, fix = four_parts(stopped := run("build", str(config), "--set", f"store={config}/features"))
    assert (stopped.returncode, what) == (1, "A file cannot be written")
    assert where.startswith(f"{config}/features/")
    assert "Cannot create directory" in why
    assert fix == "free space, or check the permissions of the folder"


@contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[Callable[[str], None]]:
    """A filesystem of its own; gives a function that changes its mount options. Skips where mounting is not allowed."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no right to mount")

    def remount(options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)

    try:
        yield remount
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_read_only_disk_is_an_error_of_four_parts(bench: Bench, tmp_path: Path) -> None:
    config = bench.config(bench.corpus().write(tmp_path / "corpus"))
    with small_disk(tmp_path / "disk", 64) as remount:
        remount("ro")
        what, _, why, _ = four_parts(stopped := run("build", str(config), "--output", str(tmp_path / "disk/dataset")))
    assert (stopped.returncode, what) == (1, "The output folder cannot be written")
    assert "Read-only file system" in why


@pytest.mark.parametrize("kib", [4, 16])
def test_a_build_that_filled_the_disk_goes_on_when_there_is_space(bench: Bench, tmp_path: Path, kib: int) -> None:
    config = bench.config(bench.corpus().write(tmp_path / "corpus"))
    dataset = tmp_path / "disk" / "dataset"
    with small_disk(tmp_path / "disk", kib) as remount:
        if kib == 4:
            (tmp_path / "disk" / "ballast").write_bytes(bytes(4096))
        stopped = run("build", str(config), "--output", str(dataset))
        what, where, why, _ = four_parts(stopped)
        assert stopped.returncode == 1
        assert what == ("The output folder cannot be written" if kib == 4 else "A file cannot be written")
        assert where.startswith(f"{dataset}/")
        assert "No space left on device" in why
        assert not list(dataset.rglob("*.tmp-*"))
        remount("size=8m")
        assert run("build", str(config), "--output", str(dataset)).returncode == 0
        assert verify(str(dataset)) == []


def test_a_file_that_may_not_grow_is_an_error_of_four_parts(bench: Bench, tmp_path: Path) -> None:
    config = bench.config(bench.corpus().write(tmp_path / "corpus"))
    stopped = subprocess.run(
        [sys.executable, "-m", "yt8m_pipeline", "build", str(config)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048)),
        capture_output=True,
        text=True,
        check=False,
    )
    what, where, why, _ = four_parts(stopped)
    assert (stopped.returncode, what) == (1, "A file cannot be written")
    assert where.startswith(f"{tmp_path}/dataset/")
    assert "File too large" in why


# Configs


def test_five_mistakes_in_a_config_are_told_at_once(bench: Bench, tmp_path: Path) -> None:
    config = bench.config(bench.corpus().write(tmp_path / "corpus"))
    values = yaml.safe_load(config.read_text())
    values["rater_scores"] = {"max_mean_score": 7}
    values["video_sampling"] |= {"min_views": -1, "sampel_size": 3}
    values["partitioning"] = {"train": 0.9}
    values["pca"] = {"components": "many"}
    config.write_text(yaml.safe_dump(values))
    refused = run("build", str(config))
    what, where, why, fix = four_parts(refused)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert (what, where) == ("The config has 5 problems", str(config))
    fields = [line.split(":")[0].strip() for line in why.splitlines()]
    assert sorted(fields) == sorted(
        ["rater_scores", "video_sampling.min_views", "video_sampling.sampel_size", "partitioning", "pca.components"]
    )
    assert fix == "correct these fields; `yt8m config schema` lists every field"
    assert not (tmp_path / "dataset").exists()


# Videos


def write_frameless(path: Path) -> None:
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream("mpeg4", 25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        container.start_encoding()


BROKEN = {
    "absent": ("missing_file", "no such file"),
    "empty": ("empty_file", "0 bytes"),
    "text": ("not_a_video", "container"),
    "sound": ("no_video_stream", "holds audio"),
    "cut": ("truncated", ""),
    "frameless": ("no_frames", "has no frame to show"),
}


def write_broken(bench: Bench, folder: Path) -> Path:
    """The tables of a corpus with a video of every kind that cannot be used, and those videos."""
    planted = {item.reason.value: item.identifier for item in bench.workshop.summary.expected_rejects}
    videos = {row["video_id"]: row for row in read_rows(bench.workshop.corpus / "videos.parquet")}

    def uri_of(reason: str) -> str:
        return str(bench.workshop.corpus / videos[planted[reason]]["uri"])

    corpus = bench.corpus()
    uris = {"sound": uri_of("no_video_stream"), "cut": uri_of("truncated"), "text": uri_of("not_a_video")}
    corpus.videos += [video_row(name, uris.get(name, f"{name}.avi")) for name in BROKEN]
    corpus.annotations += [{"video_id": name, "entity_id": CAT, "score": 1} for name in BROKEN]
    corpus.write(folder)
    (folder / "empty.avi").touch()
    write_frameless(folder / "frameless.avi")
    return folder


@pytest.fixture(scope="module")
def broken(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a build, in dataset/, of a corpus with a video of every kind that cannot be used, each tried."""
    folder = tmp_path_factory.mktemp("broken")
    config = bench.config(write_broken(bench, folder / "corpus"), max_failure_fraction=1.0)
    finished = run("build", str(config), "--retry", "all")
    assert finished.returncode == 0, finished.stderr
    assert f"extract: {len(BROKEN)}/{len(BROKEN)} videos" in finished.stderr
    return folder


def test_a_broken_video_costs_itself_only(bench: Bench, broken: Path) -> None:
    rejects = {row["id"]: row for row in rejects_of(broken / "dataset") if row["stage"] == "decode"}
    assert {name: row["reason"] for name, row in rejects.items()} == {name: BROKEN[name][0] for name in BROKEN}
    assert all(BROKEN[name][1] in row["detail"] for name, row in rejects.items())
    videos = {row["video_id"]: row["uri"] for row in map(json.loads, (broken / "corpus" / "videos.jsonl").open())}
    corpus = broken / "corpus"
    assert {name: row["file"] for name, row in rejects.items()} == {name: str(corpus / videos[name]) for name in BROKEN}
    kept = pq.read_table(broken / "dataset" / "videos.parquet")["video_id"].to_pylist()
    assert kept == sorted(row["video_id"] for row in bench.corpus().videos)
    assert verify(str(broken / "dataset")) == []


@pytest.mark.parametrize(("retry", "tried"), [(("--retry", "none"), 0), ((), 1)])
def test_a_build_with_remembered_failures_equals_a_fresh_one(
    broken: Path, tmp_path: Path, retry: tuple[str, ...], tried: int
) -> None:
    """Only the missing file may be there now."""
    output = tmp_path / "dataset"
    again = run("build", str(broken / "config.yaml"), "--output", str(output), *retry)
    assert again.returncode == 0, again.stderr
    assert re.findall(r"extract: \d+/(\d+) videos", again.stderr)[-1:] == [str(tried)] * tried
    assert published_bytes(output) == published_bytes(broken / "dataset")


def test_a_salvaged_video_is_decoded_once_and_kept_or_not_by_the_config_of_the_day(
    bench: Bench, tmp_path: Path
) -> None:
    planted = {item.reason.value: item.identifier for item in bench.workshop.summary.expected_rejects}
    videos = {row["video_id"]: row["uri"] for row in read_rows(bench.workshop.corpus / "videos.parquet")}
    corpus = bench.corpus()
    names = [*(row["video_id"] for row in corpus.videos[:9]), planted["truncated"]]
    corpus.videos = [video_row(name, str(bench.workshop.corpus / videos[name])) for name in names]
    corpus.annotations = [{"video_id": name, "entity_id": CAT, "score": 1} for name in names]
    config = bench.config(corpus.write(tmp_path / "corpus"), decoding__damage="salvage", pca__components=4)
    dataset = tmp_path / "dataset"

    kept = run("build", str(config), "--set", "decoding.min_decoded_fraction=0.1")
    assert kept.returncode == 0, kept.stderr
    fractions = {row["video_id"]: row["decoded_fraction"] for row in read_rows(dataset / "videos.parquet")}
    assert [name for name, fraction in fractions.items() if fraction < 1] == [planted["truncated"]]
    partitions = json.loads((dataset / "manifest.json").read_text())["partitions"]
    assert sum(partition["salvaged"] for partition in partitions.values()) == 1

    rejected = run("build", str(config))
    assert rejected.returncode == 0, rejected.stderr
    assert "extract:" not in rejected.stderr
    (reject,) = (row for row in rejects_of(dataset) if row["stage"] == "decode")
    assert (reject["id"], reject["reason"]) == (planted["truncated"], "too_damaged")
    assert reject["decoded_fraction"] == fractions[planted["truncated"]]
    assert verify(str(dataset)) == []


def test_too_many_broken_videos_fail_the_build_after_the_rejects_are_written(bench: Bench, tmp_path: Path) -> None:
    config = bench.config(write_broken(bench, tmp_path / "corpus"), max_failure_fraction=0.2)
    stopped = run("build", str(config))
    total = len(bench.corpus().videos) + len(BROKEN)
    what, where, why, fix = four_parts(stopped)
    assert (stopped.returncode, what) == (1, f"{len(BROKEN)} of {total} videos failed")
    assert where == str(tmp_path / "dataset" / "rejects")
    assert why.startswith(f"max_failure_fraction 0.2 allows {0.2 * total:g}; reasons: ")
    assert all(f"{reason} 1" in why for reason, _ in BROKEN.values())
    assert "mend the videos (`yt8m inspect" in fix
    assert {row["id"] for row in rejects_of(tmp_path / "dataset") if row["stage"] == "decode"} == set(BROKEN)
    assert not (tmp_path / "dataset" / "COMPLETE").exists()
    assert not list((tmp_path / "dataset").glob("frame/*/*"))


def test_where_no_video_can_be_decoded_the_error_counts_them(bench: Bench, tmp_path: Path) -> None:
    corpus = bench.corpus()
    for row in (*corpus.videos, *corpus.annotations):
        row["video_id"] += "-absent"
    config = bench.config(corpus.write(tmp_path / "corpus"), max_failure_fraction=1.0)
    stopped = run("build", str(config))
    number = len(corpus.videos)
    assert stopped.returncode == 1
    assert four_parts(stopped)[2] == f"stage decode kept 0 of {number} videos (missing_file {number})"
