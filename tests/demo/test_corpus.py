"""The corpus on disk: its tables in three formats, its films, and the folders that it leaves alone."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import av
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from yt8m_pipeline.data_model import DropReason
from yt8m_pipeline.demo import corpus
from yt8m_pipeline.demo.corpus import MARK, CorpusSummary, ExpectedReject, write_corpus
from yt8m_pipeline.demo.entities import ENTITIES
from yt8m_pipeline.demo.films import BROKEN, Defect, plan_films
from yt8m_pipeline.errors import UsageError


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CorpusSummary]:
    root = tmp_path_factory.mktemp("demo") / "corpus"
    return root, write_corpus(root, videos=24, seconds=2.0)


@pytest.fixture
def unfilmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves each film an empty file: for what is not about films."""
    monkeypatch.setattr(corpus, "_write_film", lambda path, *_: path.touch())


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def everything(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def pictures(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_whole_films_decode_and_the_broken_ones_are_broken_as_planned(encoded: tuple[Path, CorpusSummary]) -> None:
    root, summary = encoded
    films = {film.defect: film for film in plan_films(24, 2.0, 0)}
    whole = [film for film in plan_films(24, 2.0, 0) if film.defect not in BROKEN]
    assert summary.videos == len(whole) == 24
    assert all(pictures(root / film.uri) >= film.seconds * 15 for film in whole)
    assert not (root / films[Defect.MISSING].uri).exists()
    assert (root / films[Defect.TEXT].uri).read_text().startswith("This is no video")
    with av.open(str(root / films[Defect.AUDIO_ONLY].uri)) as container:
        assert not container.streams.video


def test_the_same_arguments_give_the_same_bytes(encoded: tuple[Path, CorpusSummary], tmp_path: Path) -> None:
    root, _ = encoded
    write_corpus(tmp_path / "again", videos=24, seconds=2.0)
    assert everything(tmp_path / "again") == everything(root)


def test_a_second_run_writes_nothing(encoded: tuple[Path, CorpusSummary]) -> None:
    root, summary = encoded
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert write_corpus(root, videos=24, seconds=2.0) == summary
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


@pytest.mark.usefixtures("unfilmed")
def test_entities_are_a_csv_with_lists_joined_by_semicolons(tmp_path: Path) -> None:
    write_corpus(tmp_path, videos=24)
    rows = read_csv(tmp_path / "entities.csv")
    assert list(rows[0]) == ["entity_id", "name", "types", "description", "wiki_url", "verticals"]
    assert [tuple(filter(None, row["types"].split(";"))) for row in rows] == [entity.types for entity in ENTITIES]
    assert all(len(entity.verticals) <= 3 for entity in ENTITIES)
    assert len({entity.entity_id for entity in ENTITIES}) == len(ENTITIES)


@pytest.mark.usefixtures("unfilmed")
def test_ratings_are_json_lines_with_the_planted_faults(tmp_path: Path) -> None:
    write_corpus(tmp_path, videos=24)
    rows = [json.loads(line) for line in (tmp_path / "ratings.jsonl").read_text().splitlines()]
    assert {row["score"] for row in rows} == {0, 1, 2, 3, 4, 5, 6, "n/a"}
    assert {row["entity_id"] for row in rows} - {entity.entity_id for entity in ENTITIES} == {corpus.UNKNOWN_ENTITY}


@pytest.mark.usefixtures("unfilmed")
def test_videos_are_parquet_with_a_duplicate_and_two_broken_durations(tmp_path: Path) -> None:
    write_corpus(tmp_path, videos=24)
    table = pq.read_table(tmp_path / "videos.parquet")
    assert table.schema.field("duration_seconds").type == pa.float64()
    rows: list[dict[str, Any]] = table.to_pylist()
    assert len(rows) == 24 + 4 + 3
    assert len({row["video_id"] for row in rows}) == len(rows) - 1
    durations = [row["duration_seconds"] for row in rows]
    assert durations.count(None) == 1
    assert sum(map(math.isnan, filter(None, durations))) == 1


@pytest.mark.usefixtures("unfilmed")
def test_nested_labels_say_what_the_annotations_say(tmp_path: Path) -> None:
    write_corpus(tmp_path / "flat", videos=24)
    write_corpus(tmp_path / "nested", videos=24, nested_labels=True)
    table = pq.read_table(tmp_path / "nested" / "videos.parquet")
    assert table.schema.field("labels").type.value_type.names == ["entity_id", "score"]
    nested = {(row["video_id"], item["entity_id"]) for row in table.to_pylist() for item in row["labels"]}
    flat = {(row["video_id"], row["entity_id"]) for row in read_csv(tmp_path / "flat" / "annotations.csv")}
    known = {row["video_id"] for row in table.to_pylist() if row["duration_seconds"] and row["duration_seconds"] > 0}
    assert not (tmp_path / "nested" / "annotations.csv").exists()
    assert {pair for pair in nested if pair[0] in known} == {
        pair for pair in flat if corpus.UNKNOWN_VIDEO not in pair and corpus.UNKNOWN_ENTITY not in pair
    }


@pytest.mark.usefixtures("unfilmed")
def test_annotations_have_an_unknown_video_an_unknown_entity_and_a_duplicate(tmp_path: Path) -> None:
    write_corpus(tmp_path, videos=24)
    pairs = [(row["video_id"], row["entity_id"]) for row in read_csv(tmp_path / "annotations.csv")]
    assert len(pairs) - len(set(pairs)) == 1
    assert sum(video_id == corpus.UNKNOWN_VIDEO for video_id, _ in pairs) == 1
    assert sum(entity_id == corpus.UNKNOWN_ENTITY for _, entity_id in pairs) == 1


@pytest.mark.usefixtures("unfilmed")
def test_the_summary_names_every_film_that_has_a_defect(tmp_path: Path) -> None:
    summary = write_corpus(tmp_path, videos=40)
    defects = {film.video_id: film.defect.value for film in plan_films(40, 10.0, 0) if film.defect}
    named = {item.identifier: item.reason for item in summary.expected_rejects if item.table == "videos"}
    assert defects.items() <= named.items()
    assert ExpectedReject("videos", "nulldurationx", DropReason.MISSING_VALUE) in summary.expected_rejects
    assert summary.sample_size == 32


@pytest.mark.usefixtures("unfilmed")
def test_progress_counts_every_film_once(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    write_corpus(tmp_path, videos=24, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 28) for done in range(1, 29)]


@pytest.mark.usefixtures("unfilmed")
def test_another_corpus_is_replaced_and_an_unfinished_one_is_finished(tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus", videos=24)
    write_corpus(tmp_path / "corpus", videos=24, seed=1, nested_labels=True)
    write_corpus(tmp_path / "direct", videos=24, seed=1, nested_labels=True)
    assert everything(tmp_path / "corpus") == everything(tmp_path / "direct")
    (tmp_path / "corpus" / MARK).write_text("")
    (tmp_path / "corpus" / "entities.csv").unlink()
    write_corpus(tmp_path / "corpus", videos=24, seed=1, nested_labels=True)
    assert everything(tmp_path / "corpus") == everything(tmp_path / "direct")


def test_an_interrupted_corpus_is_marked_so_that_it_can_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(corpus, "_write_film", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_corpus(tmp_path / "corpus", videos=24)
    monkeypatch.setattr(corpus, "_write_film", lambda path, *_: path.touch())
    write_corpus(tmp_path / "corpus", videos=24)
    assert len(list((tmp_path / "corpus" / "videos").iterdir())) == 28


@pytest.mark.usefixtures("unfilmed")
@pytest.mark.parametrize("name", ["videos/holiday.mp4", "videos.parquet", "notes.txt"])
def test_a_folder_of_someone_else_is_refused_and_left_alone(tmp_path: Path, name: str) -> None:
    top = Path(name).parts[0]
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("precious")
    with pytest.raises(UsageError, match=rf"(?s)holds something else.*it has {top}, which is no part"):
        write_corpus(tmp_path, videos=24)
    assert everything(tmp_path) == {name: b"precious"}


@pytest.mark.usefixtures("unfilmed")
def test_a_corpus_with_a_foreign_file_beside_it_is_not_replaced(tmp_path: Path) -> None:
    write_corpus(tmp_path, videos=24)
    (tmp_path / "notes.txt").write_text("precious")
    with pytest.raises(UsageError, match=r"it has notes\.txt"):
        write_corpus(tmp_path, videos=24, seed=1)
    assert (tmp_path / "notes.txt").read_text() == "precious"


def test_too_few_videos_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"(?s)too small.*23 is below 24"):
        write_corpus(tmp_path, videos=23)
    assert not list(tmp_path.iterdir())
