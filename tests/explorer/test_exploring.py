"""The data of the explorer, compared with plain loops over what was put in; and what it refuses."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import published_bytes, yt8m
from tests.explorer.synthetic import Film, entity_rows, read_chunk, read_chunks, write_dataset
from tests.report.resealing import reseal
from yt8m_pipeline import files
from yt8m_pipeline.accounting.counts import StageCount
from yt8m_pipeline.accounting.outcome import REJECTS
from yt8m_pipeline.accounting.reasons import Stage
from yt8m_pipeline.chance import salted_hash
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import Manifest, mark_complete, write_manifest
from yt8m_pipeline.dataset.reader import read_videos
from yt8m_pipeline.dataset.steps import file_entry
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.explorer import drawing, videos
from yt8m_pipeline.explorer.drawing import SALT
from yt8m_pipeline.explorer.exploring import Explored, explore, thumbnail_path
from yt8m_pipeline.explorer.media import Media
from yt8m_pipeline.jobs.build_folder import exclusive
from yt8m_pipeline.report.statistics import measure_dataset
from yt8m_pipeline.store.failures import Source
from yt8m_pipeline.store.thumbnails import Thumbnails

ENTITIES = 7
PARTS = ("train", "validate", "test")
JPEG = b"\xff\xd8\xff\xd9"


def films_of(count: int) -> list[Film]:
    """Films with labels, partitions and damage of all kinds."""
    random = np.random.default_rng(count)
    return [
        Film(
            f"film-{number}",
            PARTS[random.choice(3, p=[0.6, 0.2, 0.2])],
            tuple(sorted(random.choice(ENTITIES - 1, random.integers(0, 4), replace=False).tolist())),
            seconds=None if number % 11 == 0 else float(random.integers(3, 5000)),
            sound=0.75 if number % 7 == 0 else 1.0,
            seed=number // 2 if number < 6 else number,
        )
        for number in range(count)
    ]


def rejects_of(count: int) -> pa.Table:
    rows: list[dict[str, str | None]] = [
        {
            "stage": "decode",
            "table": "videos",
            "id": f"gone-{number}",
            "reason": "truncated",
            "detail": f"byte {number}",
        }
        for number in range(count)
    ]
    rows += [
        {
            "stage": "labels",
            "table": "annotations",
            "id": "film-1",
            "reason": "duplicate",
            "detail": "secret of a label",
        },
        {"stage": "read", "table": "videos", "id": None, "reason": "missing_value", "detail": "no id"},
    ]
    return pa.Table.from_pylist(rows, schema=REJECTS)


@pytest.fixture
def films() -> list[Film]:
    return films_of(120)


@pytest.fixture
def dataset(tmp_path: Path, films: Sequence[Film]) -> str:
    accounting = [StageCount(Stage.DECODE, "videos", 120, (("truncated", 450),))]
    return write_dataset(
        tmp_path / "dataset", films, entity_rows(ENTITIES), rejects=rejects_of(450), accounting=accounting
    )


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every loop over batches turns more than once."""
    monkeypatch.setattr(videos, "BATCH", 37)
    monkeypatch.setattr(drawing, "PENDING", 50)


def shown(film: Film, with_withheld: bool) -> tuple[int, ...]:
    """The labels that the site may show of a film."""
    return film.labels if with_withheld or film.partition != "test" else ()


def drawn(films: Sequence[Film], most: int) -> list[str]:
    return sorted(sorted((film.video_id for film in films), key=lambda name: salted_hash(SALT, name))[:most])


def site_of(dataset: str, tmp_path: Path, **options: Any) -> tuple[Path, Explored]:
    return tmp_path / "site", explore(dataset, str(tmp_path / "site"), **options)


@pytest.mark.parametrize("with_withheld", [False, True])
@pytest.mark.parametrize("most", [5, 200])
def test_entities_are_those_that_plain_loops_find(
    dataset: str, films: Sequence[Film], tmp_path: Path, most: int, with_withheld: bool
) -> None:
    site, _ = site_of(dataset, tmp_path, videos_per_entity=most, with_withheld=with_withheld)
    rows = {row[0]: row for row in read_chunks(site, "entities")}
    assert sorted(rows) == list(range(ENTITIES))
    together: Counter[tuple[int, int]] = Counter()
    for film in films:
        together.update(permutations(shown(film, with_withheld), 2))
    for index in range(ENTITIES):
        having = [film for film in films if index in shown(film, with_withheld)]
        assert rows[index][4] == [sum(film.partition == part for film in having) for part in PARTS]
        page = read_chunk(site, f"entity/{index}")
        assert [card[0] for card in page["videos"]] == drawn(having, most)
        pairs = [(other, count) for (one, other), count in together.items() if one == index]
        assert page["together"] == [list(pair) for pair in sorted(pairs, key=lambda pair: (-pair[1], pair[0]))]
    totals = [sum(row[4]) for row in read_chunks(site, "entities")]
    assert totals == sorted(totals, reverse=True)
    for part in PARTS:
        of_part = [film for film in films if film.partition == part]
        assert [card[0] for card in read_chunk(site, f"partition/{part}")] == drawn(of_part, most)


def test_verticals_count_each_video_once(dataset: str, films: Sequence[Film], tmp_path: Path) -> None:
    site, _ = site_of(dataset, tmp_path)
    kinds = [{row.get(f"Vertical{place}") for place in (1, 2, 3)} for row in entity_rows(ENTITIES)]
    for name, entities, found in read_chunk(site, "site")["verticals"]:
        assert entities == sum(name in kind for kind in kinds)
        assert found == sum(any(name in kinds[label] for label in shown(film, False)) for film in films)


def test_every_video_has_a_page(dataset: str, films: Sequence[Film], tmp_path: Path) -> None:
    site, found = site_of(dataset, tmp_path, videos_per_entity=3)
    pages = {page["card"][0]: page for page in read_chunks(site, "videos")}
    assert sorted(pages) == sorted(film.video_id for film in films)
    assert (found.videos, found.shown, found.compared) == (120, 120, 120)
    for film in films:
        page = pages[film.video_id]
        assert page["labels"] == (None if film.partition == "test" else list(film.labels))
        assert page["card"][3:] == [PARTS.index(film.partition), film.seconds, film.sound]
        assert page["source"] == {"text": film.uri}


def test_similar_videos_are_the_nearest(dataset: str, tmp_path: Path) -> None:
    site, _ = site_of(dataset, tmp_path)
    means = {
        example.video_id: example.mean_rgb.astype(float) / np.linalg.norm(example.mean_rgb)
        for part in PARTS
        for example in read_videos(dataset, part)
    }
    pages = {page["card"][0]: page for page in read_chunks(site, "videos")}
    for name, mean in means.items():
        cosines = sorted((float(mean @ other) for id_, other in means.items() if id_ != name), reverse=True)
        similar = pages[name]["similar"]
        assert [card[6] for card in similar] == pytest.approx(cosines[: len(similar)], abs=2e-3)
        assert all(card[6] == pytest.approx(float(mean @ means[card[0]]), abs=2e-3) for card in similar)
    assert pages["film-0"]["similar"][0][0] == "film-1"  # both have the features of seed 0
    assert pages["film-0"]["similar"][0][6] == 1


def test_the_map_keeps_the_distances_that_two_dimensions_can(
    dataset: str, films: Sequence[Film], tmp_path: Path
) -> None:
    site, _ = site_of(dataset, tmp_path)
    points = {row[0]: row for row in read_chunks(site, "map")}
    assert sorted(points) == sorted(film.video_id for film in films)
    means = {example.video_id: example.mean_rgb for part in PARTS for example in read_videos(dataset, part)}
    centred = np.array([means[name] for name in sorted(points)], float)
    centred -= centred.mean(axis=0)
    variances = np.linalg.svd(centred, compute_uv=False)[:2] ** 2
    places = np.array([points[name][5:] for name in sorted(points)])
    assert np.abs(places).max() == 1
    places -= places.mean(axis=0)
    ratio = (places**2).sum(axis=0) / variances
    assert ratio[0] == pytest.approx(ratio[1], rel=1e-3)


def test_rejects_are_found_by_their_ids(dataset: str, tmp_path: Path) -> None:
    site, _ = site_of(dataset, tmp_path)
    rows = read_chunks(site, "rejected")
    assert sorted(row[0] for row in rows) == sorted(f"gone-{number}" for number in range(450))
    assert read_chunk(site, "site")["buckets"]["rejected"] == len(list((site / "data/rejected").iterdir())) == 3
    assert ["gone-7", "decode", "videos", "truncated", "byte 7"] in rows


def test_rejects_of_unknown_reasons_are_shown_too(dataset: str, tmp_path: Path) -> None:
    path = next((Path(dataset) / Layout.REJECTS).glob("decode-*.parquet"))
    rows = [{"table": "videos", "id": "gone", "reason": reason} for reason in (None, "why")]
    pq.write_table(pa.Table.from_pylist(rows, REJECTS), path)
    site, _ = site_of(dataset, tmp_path)
    found = [row for row in read_chunks(site, "rejected") if row[0] == "gone"]
    assert found == [["gone", "", "videos", "", ""], ["gone", "", "videos", "why", ""]]


def test_a_false_number_of_rejects_makes_no_more_chunks(tmp_path: Path) -> None:
    accounting = [StageCount(Stage.DECODE, "videos", 1 << 50, (("truncated", 1 << 50),))]
    dataset = write_dataset(tmp_path / "dataset", [], [], rejects=rejects_of(450), accounting=accounting)
    site, _ = site_of(dataset, tmp_path)
    assert read_chunk(site, "site")["buckets"]["rejected"] == 3


def test_a_huge_dataset_shows_some_videos_and_says_so(
    dataset: str, films: Sequence[Film], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "WHOLE", 10)
    site, found = site_of(dataset, tmp_path, videos_per_entity=4)
    pages = {page["card"][0]: page for page in read_chunks(site, "videos")}
    groups = [[film for film in films if index in shown(film, False)] for index in range(ENTITIES)]
    groups += [[film for film in films if film.partition == part] for part in PARTS]
    assert set(pages) == {name for group in groups for name in drawn(group, 4)}
    assert (found.videos, found.shown, found.compared) == (120, len(pages), 10)
    compared = sorted(pages, key=lambda name: salted_hash(SALT, name))[:10]
    assert {name for name, page in pages.items() if page["similar"] is not None} == set(compared)
    assert {row[0] for row in read_chunks(site, "map")} == set(compared)
    notes = read_chunk(site, "site")["notes"]
    assert f"{len(pages)} of the 120 videos have a page" in " ".join(notes)
    assert f"the other {len(pages) - 10} that have a page have no similar videos" in " ".join(notes)


def test_withheld_labels_enter_no_file(tmp_path: Path) -> None:
    films = [Film("open", labels=(0,)), Film("hidden", "test", (1,), seed=1)]
    entities = [{"Name": "Seen"}, {"Name": "Unseen"}]
    dataset = write_dataset(tmp_path / "dataset", films, entities)
    explore(dataset, str(tmp_path / "without"))
    explore(dataset, str(tmp_path / "with"), with_withheld=True)
    sites = [tmp_path / "without", tmp_path / "with"]
    hidden = [next(page for page in read_chunks(site, "videos") if page["card"][0] == "hidden") for site in sites]
    assert [page["labels"] for page in hidden] == [None, [1]]
    assert [[row[4] for row in sorted(read_chunks(site, "entities"))][1] for site in sites] == [[0, 0, 0], [0, 0, 1]]
    assert [len(read_chunk(site, "entity/1")["videos"]) for site in sites] == [0, 1]
    assert [read_chunk(site, "site")["withheld_shown"] for site in sites] == [False, True]
    shutil.rmtree(tmp_path / "dataset" / "withheld")
    explore(dataset, str(tmp_path / "again"))
    assert published_bytes(tmp_path / "again") == published_bytes(tmp_path / "without")
    with pytest.raises(UsageError, match="The withheld labels are not there"):
        explore(dataset, str(tmp_path / "with"), with_withheld=True)


def test_a_second_run_writes_the_same_bytes_and_no_more(dataset: str, tmp_path: Path) -> None:
    site, _ = site_of(dataset, tmp_path)
    first = published_bytes(site)
    explore(dataset, str(tmp_path / "other"))
    assert published_bytes(tmp_path / "other") == first
    (site / "data" / "entity" / "99.js").write_text("of an earlier dataset")
    (site / "index.html").write_text("of an earlier version")
    explore(dataset, str(site))
    assert published_bytes(site) == first


def list_again(layout: Layout, name: str) -> None:
    """Has the manifest list a table as it is now."""
    values = json.loads(files.read_bytes(layout.path(Layout.MANIFEST)))
    values["files"] = [asdict(file_entry(layout, name)) if row["path"] == name else row for row in values["files"]]
    write_manifest(layout, values)
    mark_complete(layout)


def test_datasets_without_offsets_are_compared_too(dataset: str, tmp_path: Path) -> None:
    site, _ = site_of(dataset, tmp_path)
    path = Path(dataset) / Layout.VIDEOS
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["frame_offset", "frame_bytes", "video_offset", "video_bytes"]), path)
    list_again(Layout(dataset), Layout.VIDEOS)
    explore(dataset, str(tmp_path / "old"))
    assert published_bytes(tmp_path / "old") == published_bytes(site)


@pytest.mark.parametrize(
    ("films", "entities"),
    [
        ([], []),
        ([Film("only")], []),
        ([Film("only", labels=(0,))], [{"Name": "One"}]),
        ([Film("a", labels=(0,)), Film("b", "validate", (0,), seed=1)], [{"Name": "One"}]),
        ([Film("same", labels=(0,)), Film("twin", labels=(0,))], [{}]),
    ],
)
def test_the_smallest_datasets_have_a_site(
    tmp_path: Path, films: Sequence[Film], entities: Sequence[dict[str, Any]]
) -> None:
    dataset = write_dataset(tmp_path / "dataset", films, entities)
    site, found = site_of(dataset, tmp_path)
    assert (found.videos, found.entities) == (len(films), len(entities))
    assert read_chunk(site, "site")["verticals"] == []
    assert len(read_chunks(site, "map")) == len(films)


def test_thumbnails_come_from_the_store(dataset: str, films: Sequence[Film], tmp_path: Path) -> None:
    store = tmp_path / "features"
    for film in films[:5]:
        Thumbnails(str(store)).write(film.video_id, Source("film.mp4", 1, ""), 3, JPEG)
    site, found = site_of(dataset, tmp_path)
    assert found.pictures == 5
    assert found.notes == ("115 of the videos have no thumbnails in the feature store.",)
    for page in read_chunks(site, "videos"):
        name, row, count, *_ = page["card"]
        has = int(name.removeprefix("film-")) < 5
        assert count == (3 if has else 0)
        assert (site / thumbnail_path(row)).exists() == has


def test_without_a_store_the_site_says_so(dataset: str, tmp_path: Path) -> None:
    _, found = site_of(dataset, tmp_path)
    assert found.notes == ("There are no pictures: the feature store is not at hand, or has no thumbnails.",)
    with pytest.raises(UsageError, match="There is no feature store"):
        site_of(dataset, tmp_path, store=str(tmp_path / "nowhere"))


def test_media_none_leaves_all_uris_out(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "dataset", [Film("a", uri="secret/place.mp4")], [])
    site, _ = site_of(dataset, tmp_path, media=Media.NONE)
    assert not any(b"secret" in data for data in published_bytes(site).values())


def test_media_none_leaves_the_places_of_rejected_videos_out(tmp_path: Path) -> None:
    row = {
        "stage": "decode",
        "table": "videos",
        "id": "b",
        "reason": "missing_file",
        "detail": "secret/b.mp4: no such file",
    }
    rejects = pa.Table.from_pylist([row], schema=REJECTS)
    count = StageCount(Stage.DECODE, "videos", 1, (("missing_file", 1),))
    dataset = write_dataset(tmp_path / "dataset", [Film("a")], [], rejects=rejects, accounting=[count])
    site, _ = site_of(dataset, tmp_path, media=Media.NONE)
    assert read_chunks(site, "rejected") == [["b", "decode", "videos", "missing_file", ""]]
    assert not any(b"secret" in data for data in published_bytes(site).values())


def test_local_videos_are_linked_from_the_site(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "dataset", [Film("a", uri="videos/a b.mp4")], [])
    site, _ = site_of(dataset, tmp_path, media_root=str(tmp_path / "corpus"))
    page = read_chunks(site, "videos")[0]
    assert page["source"] == {"text": "videos/a b.mp4", "href": "../corpus/videos/a%20b.mp4"}


def test_a_folder_that_is_not_a_site_is_refused(dataset: str, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "letter.txt").write_text("mine")
    with pytest.raises(UsageError, match="The output is not a folder of this command"):
        site_of(dataset, tmp_path)
    assert published_bytes(tmp_path / "site") == {"letter.txt": b"mine"}
    with pytest.raises(UsageError, match="it is a file"):
        explore(dataset, str(tmp_path / "site" / "letter.txt"))
    with pytest.raises(UsageError, match="The site would stand in the dataset"):
        explore(dataset, f"{dataset}/site")


@pytest.mark.parametrize("mark", [b'{"made_by": "me"}', b"[]", b"no JSON", b"\xff"])
def test_a_file_of_the_name_of_the_mark_makes_no_site(dataset: str, tmp_path: Path, mark: bytes) -> None:
    (tmp_path / "site" / "data").mkdir(parents=True)
    (tmp_path / "site" / "data" / "letter.txt").write_bytes(b"mine")
    (tmp_path / "site" / "explorer.json").write_bytes(mark)
    with pytest.raises(UsageError, match="The output is not a folder of this command"):
        site_of(dataset, tmp_path)
    assert published_bytes(tmp_path / "site") == {"data/letter.txt": b"mine", "explorer.json": mark}


def test_a_dataset_that_is_none_is_refused(dataset: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no dataset"):
        explore(str(tmp_path / "nothing"), str(tmp_path / "site"))
    os.remove(Path(dataset) / Layout.COMPLETE)
    with pytest.raises(DataError, match="This is not a finished dataset"):
        site_of(dataset, tmp_path)
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize("name", ["videos.parquet", "vocabulary.csv", "video/train/train-00000-of-00001.tfrecord"])
def test_damage_is_told(dataset: str, tmp_path: Path, name: str) -> None:
    path = Path(dataset) / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] + b"\xff")
    with pytest.raises(DataError, match=path.name) as raised:
        site_of(dataset, tmp_path)
    assert raised.value.fix
    assert not (tmp_path / "site" / "index.html").exists()


@pytest.mark.parametrize("name", ["videos.parquet", "vocabulary.csv"])
def test_a_missing_table_is_told(dataset: str, tmp_path: Path, name: str) -> None:
    os.remove(Path(dataset) / name)
    with pytest.raises(DataError, match=name):
        site_of(dataset, tmp_path)


def test_a_changed_vocabulary_is_told(dataset: str, tmp_path: Path) -> None:
    path = Path(dataset) / "vocabulary.csv"
    path.write_text(path.read_text().replace("Thing 1", "Thing 2"))
    with pytest.raises(DataError, match="its bytes are not those that the manifest lists"):
        site_of(dataset, tmp_path)
    assert not (tmp_path / "site").exists()


def changed(folder: Path, name: str, values: pa.Array) -> str:
    """A dataset of one film, whose videos.parquet has other values in a column, and which is sealed as it is."""
    dataset = write_dataset(folder / "dataset", [Film("a", "test", labels=(0,))], [{"Name": "One"}])
    table = pq.read_table(Path(dataset) / Layout.VIDEOS)
    pq.write_table(table.set_column(table.schema.get_field_index(name), name, values), Path(dataset) / Layout.VIDEOS)
    reseal(Path(dataset))
    return dataset


NO_TEXT = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff"]).buffers())


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("codec", NO_TEXT),
        ("codec", pa.array([b"\xff"])),
        ("view_count", pa.array([float("nan")])),
        ("frame_rate", pa.array(["fast"])),
        ("labels", pa.array(["dog"])),
    ],
)
def test_values_that_no_column_of_the_format_has_are_told(tmp_path: Path, name: str, values: pa.Array) -> None:
    dataset = changed(tmp_path, name, values)
    with pytest.raises(DataError, match=Layout.VIDEOS):
        site_of(dataset, tmp_path)
    with pytest.raises(DataError, match=Layout.VIDEOS):
        measure_dataset(dataset)


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("video_id", pa.array([None], pa.string()), "a video without id or shard"),
        ("shard", pa.array(["../train"]), "a shard that there is not: ../train"),
        ("video_offset", pa.array([1 << 62]), "no record of"),
        ("video_offset", pa.array([-1]), "no record of"),
        ("video_bytes", pa.array([-1]), "no record of -1 bytes"),
    ],
)
def test_places_that_there_are_not_are_told(tmp_path: Path, name: str, values: pa.Array, why: str) -> None:
    with pytest.raises(DataError, match=why):
        site_of(changed(tmp_path, name, values), tmp_path)


def test_what_is_no_amount_is_not_shown(tmp_path: Path) -> None:
    for name in ("view_count", "width", "frames"):
        site, _ = site_of(changed(tmp_path, name, pa.array([-3])), tmp_path)
        [page] = read_chunks(site, "videos")
        assert (page | page["file"])[{"view_count": "views"}.get(name, name)] is None


def test_labels_that_should_be_withheld_are_not_shown(tmp_path: Path) -> None:
    """The manifest says that they are, and a damaged table has them."""
    site, _ = site_of(changed(tmp_path, "labels", pa.array([[0]])), tmp_path)
    assert [page["labels"] for page in read_chunks(site, "videos")] == [None]
    assert read_chunk(site, "entities/0")[0][4] == [0, 0, 0]


def test_labels_beyond_the_vocabulary_are_told(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "dataset", [Film("a", labels=(1,))], [{"Name": "One"}])
    with pytest.raises(DataError, match="none of the 1 entities"):
        site_of(dataset, tmp_path)


def test_the_command_tells_what_it_wrote_and_warns_loudly(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "dataset", [Film("a", "test", (0,)), Film("b", seed=1)], [{"Name": "One"}])
    done = yt8m("explore", dataset, "--output", str(tmp_path / "site"), "--with-withheld", "--json")
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert (told["videos"], told["shown"], told["entities"], told["pictures"]) == (2, 2, 1, 0)
    files = published_bytes(tmp_path / "site")
    assert Layout.LOCK not in files
    assert (told["files"], told["bytes"]) == (len(files), sum(map(len, files.values())))
    assert "warning: the site shows the withheld labels of test: do not publish it" in done.stderr
    refused = yt8m("explore", dataset, "--output", dataset)
    assert refused.returncode == 2
    assert "The site would stand in the dataset" in refused.stderr
    with exclusive(Layout(str(tmp_path / "site"))):
        refused = yt8m("explore", dataset, "--output", str(tmp_path / "site"))
    assert refused.returncode == 2
    assert "Another build is at work in this folder" in refused.stderr
    assert published_bytes(tmp_path / "site") == files


def test_a_dataset_that_was_built_has_pictures_of_its_films(built: Path, tmp_path: Path) -> None:
    site, found = site_of(str(built / "dataset"), tmp_path)
    manifest = Manifest.of(Layout(str(built / "dataset")))
    assert found.videos == sum(row.videos for row in manifest.partitions.values()) == found.shown
    assert found.entities == len(read_chunks(site, "entities"))
    assert sum(row[4][0] for row in read_chunks(site, "entities")) == manifest.partitions[Partition.TRAIN].labels
    assert len(read_chunk(site, "site")["funnel"]) == len(manifest.accounting)
    pages = read_chunks(site, "videos")
    assert all((site / thumbnail_path(page["card"][1])).exists() == (page["card"][2] > 0) for page in pages)


@pytest.mark.usefixtures("bucket")
def test_a_site_may_stand_in_a_bucket(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "dataset", [Film("a", labels=(0,))], [{"Name": "One"}])
    explore(dataset, str(tmp_path / "site"))
    for _ in range(2):
        explore(dataset, "gs://bucket/site")
    found = {name: files.read_bytes(f"gs://bucket/site/{name}") for name in files.list_files("gs://bucket/site")}
    assert found == published_bytes(tmp_path / "site")
    files.write_bytes("gs://bucket/other/letter.txt", b"mine")
    with pytest.raises(UsageError, match="The output is not a folder of this command"):
        explore(dataset, "gs://bucket/other")
