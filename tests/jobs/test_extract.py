"""New videos in the space of a dataset; a video of the dataset itself gets the very codes that it has there."""

import gzip
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.command_line import four_parts, run
from tests.conftest import Workshop, published_bytes, rejects_of
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.reader import open_dataset, read_frames
from yt8m_pipeline.dataset.records import parse_frame_record
from yt8m_pipeline.dataset.tfrecord import read_records
from yt8m_pipeline.dataset.verify import verify
from yt8m_pipeline.intake.understanding import understand
from yt8m_pipeline.jobs.extract_plan import Wanted, plan_extraction
from yt8m_pipeline.store.stored_file import open_stored
from yt8m_pipeline.tables.reading import TableFiles
from yt8m_pipeline.tables.video_files import find_given_videos


def codes(dataset: Path) -> dict[str, Any]:
    """The codes of each video of a dataset, as its records have them."""
    found = {}
    for path in sorted(dataset.glob("frame/*/*.tfrecord")):
        with path.open("rb") as stream:
            for data in read_records(stream, str(path)):
                record = parse_frame_record(data, str(path))
                found[record.video_id] = (record.feature_name, record.codes)
    return found


@pytest.fixture(scope="module")
def films(workshop: Workshop, built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the films of three videos of the finished dataset, by their ids, and a broken one."""
    folder = tmp_path_factory.mktemp("films")
    uris = dict(
        zip(
            *(pq.read_table(workshop.corpus / "videos.parquet")[name].to_pylist() for name in ("video_id", "uri")),
            strict=True,
        )
    )
    for video_id in sorted(codes(built / "dataset"))[:3]:
        source = workshop.corpus / uris[video_id]
        shutil.copy(source, folder / f"{video_id}{source.suffix}")
    return folder


def extract(source: Path, like: Path, output: Path, model: Path, *options: str) -> Any:
    return run("extract", str(source), "--like", str(like), "--output", str(output), "--model", str(model), *options)


@pytest.fixture(scope="module")
def extracted(films: Path, workshop: Workshop, built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("extracted") / "new"
    done = extract(films, built / "dataset", output, workshop.model, "--format", "npy")
    assert done.returncode == 0, done.stderr
    assert "write: 3/3 videos" in done.stderr
    return output


class TestExtracted:
    def test_a_video_of_the_dataset_has_the_codes_that_it_has_there(self, extracted: Path, built: Path) -> None:
        there, found = codes(built / "dataset"), codes(extracted)
        assert len(found) == 3
        for video_id, (name, values) in found.items():
            assert name == there[video_id][0]
            assert values.tobytes() == there[video_id][1].tobytes()

    def test_it_is_a_sound_dataset_of_one_partition(self, extracted: Path) -> None:
        assert verify(str(extracted)) == []
        dataset = open_dataset(str(extracted))
        assert len(dataset) == len(list(dataset.frames("test"))) == 3
        assert not list(dataset.frames("train"))

    def test_arrays_are_the_decoded_codes_with_the_time_of_each_frame(self, extracted: Path) -> None:
        for example in read_frames(str(extracted), Partition.TEST):
            np.testing.assert_array_equal(
                np.load(extracted / f"arrays/features/{example.video_id}.npy"), example.features
            )
            times = np.load(extracted / f"arrays/pts_seconds/{example.video_id}.npy")
            assert len(times) == len(example.features)
        rows = pq.read_table(next(extracted.glob("arrays/test-*.parquet"))).to_pylist()
        assert sorted(row["video_id"] for row in rows) == sorted(codes(extracted))

    def test_a_second_run_does_nothing_and_another_folder_gets_the_same_bytes(
        self, extracted: Path, films: Path, workshop: Workshop, built: Path, tmp_path: Path
    ) -> None:
        again = extract(films, built / "dataset", extracted, workshop.model, "--format", "npy")
        assert again.stdout.startswith("Nothing to do")
        other = extract(films, built / "dataset", tmp_path / "new", workshop.model, "--format", "npy")
        assert other.returncode == 0, other.stderr

        def is_published(name: str) -> bool:
            return not name.startswith("features/")

        assert published_bytes(tmp_path / "new", is_published) == published_bytes(extracted, is_published)

    def test_raw_features_are_those_of_the_store(
        self, films: Path, workshop: Workshop, built: Path, tmp_path: Path
    ) -> None:
        options = ("--format", "parquet", "--raw", "--store", str(tmp_path / "store"))
        done = extract(films, built / "dataset", tmp_path / "new", workshop.model, *options)
        assert done.returncode == 0, done.stderr
        rows = {
            row["video_id"]: row for row in pq.read_table(next((tmp_path / "new/arrays").glob("test-*"))).to_pylist()
        }
        for path in (tmp_path / "store").rglob("*.npz"):
            video = open_stored(str(path)).video
            assert np.array(rows[video.video_id]["features"], np.float16).tobytes() == video.features.tobytes()
            assert rows[video.video_id]["pts_seconds"] == video.pts_seconds.tolist()


class TestVerified:
    def test_deep_verification_is_refused_since_nothing_was_fitted(self, extracted: Path) -> None:
        refused = run("verify", str(extracted), "--deep", "--store", str(extracted / "features"))
        assert (refused.returncode, four_parts(refused)[0]) == (
            2,
            "An extraction of new videos fitted nothing that could be computed again",
        )

    def test_a_damaged_file_is_mended_by_the_command_that_made_it(
        self, extracted: Path, films: Path, workshop: Workshop, built: Path, tmp_path: Path
    ) -> None:
        damaged = shutil.copytree(extracted, tmp_path / "new")
        (record,) = damaged.glob("frame/test/*")
        record.write_bytes(record.read_bytes()[:-1])
        repair = json.loads(run("verify", str(damaged), "--json").stdout)["repair"]
        removal, command = repair.split(" && ")
        assert command == f"yt8m extract SOURCE --like DATASET --output {damaged}"
        subprocess.run(removal, shell=True, check=True)
        assert extract(films, built / "dataset", damaged, workshop.model, "--format", "npy").returncode == 0
        assert verify(str(damaged)) == []


def test_a_folder_gives_the_ids_that_init_gives(tmp_path: Path) -> None:
    for name in ("dog/a b.mp4", "dog/c.mp4", "dog/c.mkv", ".hidden/d.mp4", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    expected = [(video.video_id, video.uri) for video in understand([str(tmp_path)]).videos]
    assert find_given_videos([str(tmp_path)]) == expected
    assert [video_id for video_id, _ in expected] == ["dog_a_b", "dog_c.mkv", "dog_c.mp4"]


class TestTable:
    @pytest.mark.parametrize(
        "name", ["videos.tsv", "videos.TXT", "videos.csv.gz", "videos.ndjson", "videos.json", "parts/part-0.csv"]
    )
    def test_it_has_any_ending_that_tables_have_or_is_a_folder_of_parts(
        self, films: Path, built: Path, workshop: Workshop, tmp_path: Path, name: str
    ) -> None:
        path, row = tmp_path / name, {"video_id": "one", "uri": str(next(films.iterdir()))}
        text = json.dumps(row) if "json" in name else "\n".join(",".join(line) for line in (row, row.values()))
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
        source = path.parent if "/" in name else path
        plan = plan_extraction(
            [str(source)], str(built / "dataset"), str(tmp_path / "new"), Wanted(), model=str(workshop.model)
        )
        assert isinstance(plan.videos, TableFiles)
        assert [file.rpartition("/")[2] for file in plan.videos.files] == [path.name]

    def test_labels_are_those_of_the_vocabulary(
        self, films: Path, workshop: Workshop, built: Path, tmp_path: Path
    ) -> None:
        entities = [entity.entity_id for entity in open_dataset(str(built / "dataset")).vocabulary]
        names = sorted(path.name for path in films.iterdir())
        (tmp_path / "videos.csv").write_text(
            "video_id,uri\n" + "".join(f"v{n},{films}/{x}\n" for n, x in enumerate(names))
        )
        rows = f"video_id,entity_id\nv0,{entities[1]}\nv0,/m/none\nv1,{entities[0]}\nnone,{entities[0]}\n"
        (tmp_path / "annotations.csv").write_text(rows)
        options = ("--annotations", str(tmp_path / "annotations.csv"))
        done = extract(tmp_path / "videos.csv", built / "dataset", tmp_path / "new", workshop.model, *options)
        assert done.returncode == 0, done.stderr
        found = {item.video_id: item.labels.tolist() for item in read_frames(str(tmp_path / "new"), "validate")}
        assert found == {"v0": [1], "v1": [0], "v2": []}
        rejected = {(row["reason"], row["id"]) for row in rejects_of(tmp_path / "new")}
        assert {reason for reason, _ in rejected} == {"unknown_entity", "unknown_video"}
        assert verify(str(tmp_path / "new")) == []

    def test_the_fields_of_the_tables_hold_as_in_a_build(
        self, films: Path, workshop: Workshop, built: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The name of a packed table ends in .tsv.gz; a kept column stays; other columns are another extraction."""
        film = min(films.iterdir())
        text = f"video_id\turi\ttitle\tsplit\nv0\t{film}\tCafé\ttrain\n"
        (tmp_path / "videos.tsv.gz").write_bytes(gzip.compress(text.encode("cp1252")))
        arguments = (tmp_path / "videos.tsv.gz", built / "dataset", tmp_path / "new", workshop.model)
        kept = ("--set", "tables.keep_columns=[title]")
        done = extract(*arguments, *kept)
        assert done.returncode == 0, done.stderr
        assert pq.read_table(tmp_path / "new/videos.parquet")["title"].to_pylist() == ["Café"]
        warnings = json.loads((tmp_path / "new/manifest.json").read_text())["warnings"]
        for text in ("a column 'split' that nothing uses: a build draws", "read as Windows-1252"):
            assert text in caplog.text
            assert any(text in warning for warning in warnings)
        assert extract(*arguments, *kept).stdout.startswith("Nothing to do")
        assert extract(*arguments).stdout.startswith("Extracted")
        assert "title" not in pq.read_table(tmp_path / "new/videos.parquet").column_names


class TestRefused:
    @pytest.mark.parametrize(
        ("source", "more", "what"),
        [
            ("/nowhere.mp4", (), "There is no video"),
            (
                "films",
                ("--set", "decoding.frames_per_second=2"),
                "The network or the decoding of the new videos is of another feature space",
            ),
            ("films", ("--set", "pca.components=2"), "A setting has no meaning for new videos"),
            ("films", ("--set", "duplicates=reject"), "A setting has no meaning for new videos"),
            ("films", ("--raw",), "Raw features are not written as records"),
            ("films", ("--model", "/nowhere"), "The model does not exist"),
        ],
    )
    def test_bad_input_is_refused_before_a_video_is_opened(  # noqa: PLR0917
        self,
        films: Path,
        workshop: Workshop,
        built: Path,
        tmp_path: Path,
        source: str,
        more: tuple[str, ...],
        what: str,
    ) -> None:
        given = films if source == "films" else Path(source)
        refused = extract(given, built / "dataset", tmp_path / "new", workshop.model, *more)
        assert four_parts(refused)[0] == what
        assert not (tmp_path / "new").exists()

    def test_options_of_beam_are_no_videos(self, workshop: Workshop, built: Path, tmp_path: Path) -> None:
        places = ("--like", str(built / "dataset"), "--output", str(tmp_path / "new"), "--model", str(workshop.model))
        refused = run("extract", *places, "--", "--direct_num_workers=1")
        assert four_parts(refused)[0] == "There is no video"

    def test_a_dataset_is_no_output(self, films: Path, workshop: Workshop, built: Path, copied: Path) -> None:
        refused = extract(films, built / "dataset", copied / "dataset", workshop.model)
        assert four_parts(refused)[0] == "The output folder holds a dataset"

    def test_an_extraction_is_no_output_of_a_build(self, extracted: Path, built: Path) -> None:
        refused = run("build", str(built / "config.yaml"), "--output", str(extracted))
        assert four_parts(refused)[0] == "The output folder holds an extraction"
        assert verify(str(extracted)) == []

    def test_too_many_failures_are_refused_and_their_reasons_written(
        self, workshop: Workshop, built: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "films").mkdir()
        (tmp_path / "films" / "broken.mp4").write_bytes(b"no film")
        refused = extract(tmp_path / "films", built / "dataset", tmp_path / "new", workshop.model)
        assert refused.returncode == 1
        assert four_parts(refused)[0] == "1 of 1 videos failed"
        assert [row["id"] for row in rejects_of(tmp_path / "new")] == ["broken"]
        assert not (tmp_path / "new" / "COMPLETE").exists()

    def test_the_manifest_names_the_dataset_by_its_digests(self, extracted: Path, built: Path) -> None:
        manifest, there = (json.loads((path / "manifest.json").read_text()) for path in (extracted, built / "dataset"))
        assert manifest["like"]["build_key"] == there["build_key"]
        assert manifest["like"]["pca"] == there["pca"]["fingerprint"] == manifest["pca"]["fingerprint"]
        assert str(built) not in json.dumps(manifest)
