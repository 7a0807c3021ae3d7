"""The demo corpus: the same arguments make the same bytes, every file is what its row says, nothing is left out."""

import csv
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from yt8m_pipeline.accounting.reasons import DropReason
from yt8m_pipeline.chance import salted_hash
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.demo.corpus import CorpusSummary, write_corpus
from yt8m_pipeline.demo.encoding import encode, timeline
from yt8m_pipeline.demo.entities import DEPICTED, ENTITIES
from yt8m_pipeline.demo.scenes import frames
from yt8m_pipeline.demo.videos import BROKEN, Defect, DemoVideo, plan_videos, with_wrong_labels
from yt8m_pipeline.errors import UsageError

VIDEOS, SECONDS = 24, 2.0
SIZES = [(videos, seed) for videos in (24, 40, 100) for seed in (0, 1, 7)]


@dataclass(frozen=True)
class Corpus:
    """A corpus on disk, and what its writer said of it."""

    root: Path
    summary: CorpusSummary
    planned: Mapping[str, DemoVideo]

    def path(self, video: DemoVideo) -> Path:
        return self.root / video.uri

    @property
    def whole(self) -> list[DemoVideo]:
        return [video for video in self.planned.values() if video.defect not in BROKEN]

    def of(self, defect: Defect) -> DemoVideo:
        return next(video for video in self.planned.values() if video.defect == defect)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    root = tmp_path_factory.mktemp("demo") / "corpus"
    summary = write_corpus(root, videos=VIDEOS, seconds=SECONDS)
    return Corpus(root, summary, {video.video_id: video for video in plan_videos(VIDEOS, SECONDS, 0)})


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Videos without pictures, for what is not about videos."""
    monkeypatch.setattr("yt8m_pipeline.demo.corpus.write_file", lambda path, *_: path.write_text("a video"))


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def frame_times_seconds(path: Path) -> list[float]:
    """The presentation times of all frames, decoded one by one, after the first's."""
    with av.open(str(path)) as container:
        times = [frame.time for frame in container.decode(video=0) if frame.time is not None]
    return [time - times[0] for time in times]


def partition_of(video: DemoVideo) -> Partition:
    place = salted_hash("yt8m-partition", video.group_id or video.video_id) / 2**64
    return Partition.TRAIN if place < 0.7 else Partition.VALIDATE if place < 0.9 else Partition.TEST


class TestFiles:
    def test_the_same_arguments_make_the_same_bytes(self, corpus: Corpus, tmp_path: Path) -> None:
        summary = write_corpus(tmp_path / "again", videos=VIDEOS, seconds=SECONDS)
        assert contents(tmp_path / "again") == contents(corpus.root)
        assert summary == corpus.summary

    def test_the_pictures_depend_on_the_seed(self, corpus: Corpus, tmp_path: Path) -> None:
        video = next(iter(corpus.planned.values()))
        depicted = [entity.name for entity in DEPICTED if entity.entity_id in video.labels]
        times = timeline(video.seconds, video.rate)
        for seed in (0, 1):
            encode(tmp_path / "video", frames(depicted, times.times_seconds, [seed, 0]), times, video.format)
            same = (tmp_path / "video").read_bytes() == corpus.path(video).read_bytes()
            assert same == (seed == 0)

    def test_every_video_but_the_missing_one_is_there_and_no_other(self, corpus: Corpus) -> None:
        expected = {video.uri for video in corpus.planned.values() if video.defect != Defect.MISSING}
        assert {f"videos/{path.name}" for path in (corpus.root / "videos").iterdir()} == expected

    def test_every_video_has_its_container_and_codec_its_size_and_its_length(self, corpus: Corpus) -> None:
        for video in corpus.whole:
            with av.open(str(corpus.path(video))) as container:
                stream = container.streams.video[0]
                codec = {"libx264": "h264", "libvpx-vp9": "vp9"}.get(video.format.value.codec, video.format.value.codec)
                assert video.format.value.container in container.format.name.split(",")
                assert (stream.codec_context.name.removeprefix("lib"), stream.width, stream.height) == (codec, 320, 180)
            times = frame_times_seconds(corpus.path(video))
            shortest = float(1 / video.rate) if video.rate else 1 / 30
            longest = float(1 / video.rate) if video.rate else 1 / 10
            assert video.seconds - longest - 1e-3 <= times[-1] <= video.seconds + shortest
            assert times == sorted(set(times))

    def test_all_formats_occur_and_are_counted(self, corpus: Corpus) -> None:
        found = Counter(f"{video.format.value.container}/{video.format.value.codec}" for video in corpus.whole)
        assert found == corpus.summary.formats
        assert found.keys() == {"mp4/libx264", "webm/libvpx-vp9", "matroska/mpeg4"}
        assert found["mp4/libx264"] > VIDEOS / 2

    def test_one_video_has_a_variable_rate_and_the_others_do_not(self, corpus: Corpus) -> None:
        variable = [video for video in corpus.whole if video.rate is None]
        assert len(variable) == 1
        for video in corpus.whole:
            steps = {round(step, 3) for step in np.diff(frame_times_seconds(corpus.path(video)))}
            assert (max(steps) - min(steps) > 0.01) == (video.rate is None)
        ticks = {round(600 * float(step)) for step in np.diff(frame_times_seconds(corpus.path(variable[0])))}
        assert ticks == {20, 30, 40, 60}

    def test_the_ntsc_rate_is_exact(self, corpus: Corpus) -> None:
        video = next(video for video in corpus.whole if video.rate == Fraction(30000, 1001))
        times = frame_times_seconds(corpus.path(video))
        np.testing.assert_allclose(times, np.arange(len(times)) * 1001 / 30000, atol=1e-4)

    def test_the_truncated_video_promises_more_frames_than_it_has(self, corpus: Corpus) -> None:
        with av.open(str(corpus.path(corpus.of(Defect.TRUNCATED)))) as container:
            promised = container.streams.video[0].frames
            packets = [packet for packet in container.demux(video=0) if packet.size]
        assert 0 < len(packets) < promised

    def test_the_text_is_text_and_the_tone_has_no_picture(self, corpus: Corpus) -> None:
        assert "This is no video" in corpus.path(corpus.of(Defect.TEXT)).read_text()
        with pytest.raises(av.error.InvalidDataError):
            av.open(str(corpus.path(corpus.of(Defect.TEXT))))
        with av.open(str(corpus.path(corpus.of(Defect.AUDIO_ONLY)))) as container:
            assert [stream.type for stream in container.streams] == ["audio"]
        assert not corpus.path(corpus.of(Defect.MISSING)).exists()


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


class TestTables:
    def test_the_three_formats_hold_every_entity_and_video(self, corpus: Corpus) -> None:
        entities = read_csv(corpus.root / "entities.csv")
        ratings = [json.loads(line) for line in (corpus.root / "ratings.jsonl").read_text().splitlines()]
        videos = pq.read_table(corpus.root / "videos.parquet").to_pylist()
        assert [row["entity_id"] for row in entities] == [entity.entity_id for entity in ENTITIES]
        assert len(entities) == corpus.summary.entities
        assert {row["entity_id"] for row in ratings} == {entity.entity_id for entity in ENTITIES} | {"/m/0unknown"}
        assert {row["video_id"] for row in videos} == corpus.planned.keys() | {"nandurationx", "withoutauri"}
        assert {row["uri"] for row in videos} == {video.uri for video in corpus.planned.values()} | {None}

    def test_entities_are_a_csv_with_lists_joined_by_semicolons(self, corpus: Corpus) -> None:
        rows = read_csv(corpus.root / "entities.csv")
        assert list(rows[0]) == ["entity_id", "name", "types", "description", "wiki_url", "verticals"]
        assert [tuple(filter(None, row["types"].split(";"))) for row in rows] == [entity.types for entity in ENTITIES]
        assert all(len(entity.verticals) <= 3 for entity in ENTITIES)
        assert len({entity.entity_id for entity in ENTITIES}) == len(ENTITIES)

    def test_ratings_have_scores_that_are_out_of_range_and_one_that_is_none(self, corpus: Corpus) -> None:
        rows = [json.loads(line) for line in (corpus.root / "ratings.jsonl").read_text().splitlines()]
        assert {row["score"] for row in rows} == {0, 1, 2, 3, 4, 5, 6, "n/a"}

    def test_videos_have_a_duplicate_a_broken_duration_and_a_missing_uri(self, corpus: Corpus) -> None:
        table = pq.read_table(corpus.root / "videos.parquet")
        ids, durations = (table[name].to_pylist() for name in ("video_id", "duration_seconds"))
        assert table.schema.field("duration_seconds").type == pa.float64()
        assert len(ids) == VIDEOS + len(BROKEN) + 3 == len(set(ids)) + 1
        assert table["uri"].null_count == sum(map(math.isnan, durations)) == 1

    def test_the_annotations_are_the_labels_and_three_planted_rows(self, corpus: Corpus) -> None:
        rows = [(row["video_id"], row["entity_id"]) for row in read_csv(corpus.root / "annotations.csv")]
        labels = [(video.video_id, label) for video in corpus.planned.values() for label in video.labels]
        assert rows[:-3] == labels
        unknown_video, unknown_entity, twice = rows[-3:]
        assert unknown_video[0] not in corpus.planned
        assert unknown_entity[1] not in {entity.entity_id for entity in ENTITIES}
        assert twice in labels

    @pytest.mark.usefixtures("without_pictures")
    def test_nested_labels_are_the_same_labels(self, corpus: Corpus, tmp_path: Path) -> None:
        write_corpus(tmp_path / "nested", videos=VIDEOS, seconds=SECONDS, nested_labels=True)
        nested = pq.read_table(tmp_path / "nested" / "videos.parquet")
        flat = pq.read_table(corpus.root / "videos.parquet")
        assert not (tmp_path / "nested" / "annotations.csv").exists()
        assert "labels" not in flat.column_names
        assert nested.schema.field("labels").type.value_type.names == ["entity_id", "score"]
        assert rows_of(nested.drop_columns("labels")) == rows_of(flat)
        for row in nested.to_pylist():
            if row["video_id"] in corpus.planned:
                assert [label["entity_id"] for label in row["labels"]] == list(corpus.planned[row["video_id"]].labels)


def rows_of(videos: Any) -> list[str]:
    """As text, in which NaN equals itself."""
    return [repr(row) for row in videos.to_pylist()]


class TestSummary:
    def test_every_reason_that_the_tables_and_videos_can_have_is_planted(self, corpus: Corpus) -> None:
        """The reasons that only annotations have, and those of malice or a broken machine or network, are not."""
        reasons = {item.reason for item in corpus.summary.expected_rejects}
        assert reasons == set(DropReason) - {
            DropReason.URI_NOT_ACCEPTED,
            DropReason.UNKNOWN_VIDEO,
            DropReason.LOW_SCORE,
            DropReason.OTHER_SEGMENT,
            DropReason.NO_PARTITION,
            DropReason.DUPLICATE_FILM,
            DropReason.ENTITY_NOT_KEPT,
            DropReason.VIDEO_NOT_KEPT,
            DropReason.IO_ERROR,
            DropReason.EMPTY_FILE,
            DropReason.UNSUPPORTED_CODEC,
            DropReason.NO_FRAMES,
            DropReason.FRAME_TOO_LARGE,
            DropReason.DAMAGED,
            DropReason.TOO_DAMAGED,
            DropReason.DECODE_TIMEOUT,
            DropReason.DECODER_CRASHED,
            DropReason.INTERNAL_ERROR,
            DropReason.CONTAINER_NOT_ACCEPTED,
            DropReason.TOO_MANY_STREAMS,
            DropReason.ENCRYPTED,
            DropReason.NON_FINITE_FEATURES,
            DropReason.WRONG_SHAPE,
            DropReason.UNORDERED_TIMESTAMPS,
        }

    def test_it_counts_what_was_written(self, corpus: Corpus) -> None:
        assert corpus.summary.videos == VIDEOS == len(corpus.whole)
        values = corpus.summary.to_json()
        assert sum(row["videos"] for row in values["formats"]) == VIDEOS
        assert sum(row["rows"] for row in values["to be rejected"]) == len(corpus.summary.expected_rejects)
        assert {"planted": "videos: truncated", "rows": 1} in values["to be rejected"]

    @pytest.mark.usefixtures("without_pictures")
    def test_it_names_every_video_that_has_a_defect(self, tmp_path: Path) -> None:
        summary = write_corpus(tmp_path, videos=40)
        defects = {video.video_id: video.defect.value for video in plan_videos(40, 10.0, 0) if video.defect}
        named = {item.identifier: item.reason for item in summary.expected_rejects if item.table == "videos"}
        assert defects.items() <= named.items()
        assert named.keys() - defects.keys() == {"nandurationx", "withoutauri", plan_videos(40, 10.0, 0)[0].video_id}
        assert summary.sample_size == 32

    def test_the_sample_leaves_out_just_the_surplus(self, corpus: Corpus) -> None:
        eligible = [
            video for video in corpus.planned.values() if video.defect in (None, Defect.SCARCE, Defect.SURPLUS, *BROKEN)
        ]
        drawn = sorted(eligible, key=lambda video: salted_hash("yt8m-sample", video.video_id))[
            : corpus.summary.sample_size
        ]
        assert {video.defect for video in eligible} - {video.defect for video in drawn} == {Defect.SURPLUS}
        assert len(drawn) == len([video for video in eligible if video.defect != Defect.SURPLUS])


class TestPlan:
    """At the level of plans, for several sizes and seeds; nothing is encoded."""

    @pytest.fixture(params=SIZES, ids=lambda pair: f"{pair[0]} videos, seed {pair[1]}")
    def planned(self, request: pytest.FixtureRequest) -> Iterator[list[DemoVideo]]:
        yield plan_videos(request.param[0], SECONDS, request.param[1])

    def test_every_partition_has_videos_that_stay(self, planned: list[DemoVideo]) -> None:
        staying = Counter(partition_of(video) for video in planned if video.defect is None)
        assert min(staying[partition] for partition in Partition) >= 2
        assert staying[Partition.TRAIN] > len(planned) / 3

    def test_every_depicted_entity_has_train_videos_and_is_frequent_enough(self, planned: list[DemoVideo]) -> None:
        """configs/smoke.yaml asks for 3 sampled videos of each entity."""
        staying = [video for video in planned if video.defect is None]
        train = Counter(label for video in staying if partition_of(video) == Partition.TRAIN for label in video.labels)
        sampled = Counter(label for video in staying for label in video.labels)
        for entity in DEPICTED:
            assert train[entity.entity_id] >= 1, entity.name
            assert sampled[entity.entity_id] >= 3, entity.name

    def test_every_defect_occurs_and_each_broken_video_once(self, planned: list[DemoVideo]) -> None:
        defects = Counter(video.defect for video in planned)
        assert set(Defect) < defects.keys()
        assert {defects[defect] for defect in BROKEN} == {1}

    def test_ids_are_unique_and_groups_have_two_videos(self, planned: list[DemoVideo]) -> None:
        assert len({video.video_id for video in planned}) == len(planned)
        assert {len(video.video_id) for video in planned} == {11}
        groups = Counter(video.group_id for video in planned if video.group_id)
        assert set(groups.values()) == {2}

    def test_a_video_lasts_half_to_one_and_a_half_times_as_long_as_asked(self, planned: list[DemoVideo]) -> None:
        assert all(2.0 <= video.seconds <= 1.5 * SECONDS for video in planned if video.defect != Defect.SHORT)

    def test_another_seed_gives_other_ids(self) -> None:
        first, second = ({video.video_id for video in plan_videos(24, SECONDS, seed)} for seed in (0, 1))
        assert not first & second


@pytest.mark.usefixtures("without_pictures")
class TestFolder:
    def test_a_second_run_leaves_the_corpus_alone(self, tmp_path: Path) -> None:
        first = write_corpus(tmp_path / "new", videos=VIDEOS, seconds=SECONDS)
        (tmp_path / "new" / "videos" / "mine.mp4").touch()
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        assert write_corpus(tmp_path / "new", videos=VIDEOS, seconds=SECONDS) == first
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before

    @pytest.mark.parametrize("changes", [{"videos": 25}, {"seconds": 3.0}, {"seed": 1}, {"nested_labels": True}])
    def test_another_corpus_is_replaced_as_if_it_had_not_been(self, tmp_path: Path, changes: dict[str, Any]) -> None:
        write_corpus(tmp_path / "new", videos=VIDEOS, seconds=SECONDS)
        before = contents(tmp_path / "new")
        for name in ("new", "direct"):
            write_corpus(tmp_path / name, **{"videos": VIDEOS, "seconds": SECONDS, **changes})
        assert contents(tmp_path / "new") == contents(tmp_path / "direct") != before

    def test_a_run_that_was_stopped_starts_again(self, tmp_path: Path) -> None:
        def stop(done: int, _: int) -> None:
            if done == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            write_corpus(tmp_path / "stopped", videos=VIDEOS, seconds=SECONDS, progress=stop)
        write_corpus(tmp_path / "stopped", videos=VIDEOS, seconds=SECONDS)
        write_corpus(tmp_path / "whole", videos=VIDEOS, seconds=SECONDS)
        assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")

    def test_progress_counts_every_video(self, tmp_path: Path) -> None:
        calls: list[tuple[int, int]] = []
        write_corpus(tmp_path / "new", videos=VIDEOS, seconds=SECONDS, progress=lambda *call: calls.append(call))
        assert calls == [(number + 1, VIDEOS + len(BROKEN)) for number in range(VIDEOS + len(BROKEN))]

    @pytest.mark.parametrize("name", ["notes.txt", "videos/holiday.mp4", "videos.parquet"])
    def test_a_folder_of_someone_else_is_refused_and_left_alone(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
        with pytest.raises(UsageError, match=f"something else[^$]*it has {Path(name).parts[0]}"):
            write_corpus(tmp_path, videos=VIDEOS, seconds=SECONDS)
        assert contents(tmp_path) == {name: b"mine"}

    def test_a_file_of_someone_else_in_a_corpus_is_not_removed(self, tmp_path: Path) -> None:
        write_corpus(tmp_path / "new", videos=VIDEOS, seconds=SECONDS)
        (tmp_path / "new" / "notes.txt").write_text("mine")
        with pytest.raises(UsageError, match=r"it has notes\.txt, which is no part of a demo corpus"):
            write_corpus(tmp_path / "new", videos=VIDEOS, seconds=SECONDS, seed=1)
        assert (tmp_path / "new" / "notes.txt").read_text() == "mine"

    def test_too_few_videos_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"too small[^$]*23 is below 24"):
            write_corpus(tmp_path / "new", videos=23)
        assert not list(tmp_path.iterdir())


def test_wrong_labels_are_as_many_as_asked_for_and_replace_those_of_what_is_seen() -> None:
    depicted = {entity.entity_id for entity in DEPICTED}
    planned = plan_videos(400, SECONDS, 0)
    labels = [len(depicted & {*video.labels}) for video in planned]
    for share in (0.0, 0.2, 1.0):
        wrong = [with_wrong_labels(video, share) for video in planned]
        lost = [
            len(depicted & ({*video.labels} - {*other.labels})) for video, other in zip(planned, wrong, strict=True)
        ]
        assert sum(lost) / sum(labels) == pytest.approx(share, abs=0.04)
        assert all({*video.labels} - depicted <= {*other.labels} for video, other in zip(planned, wrong, strict=True))
    assert wrong == [with_wrong_labels(video, 1.0) for video in planned]


def test_wrong_labels_stand_in_the_tables_and_change_no_picture(corpus: Corpus, tmp_path: Path) -> None:
    write_corpus(tmp_path / "wrong", videos=VIDEOS, seconds=SECONDS, label_noise=0.5)
    before, after = (root / "annotations.csv" for root in (corpus.root, tmp_path / "wrong"))
    assert before.read_text() != after.read_text()
    for video in corpus.whole:
        assert corpus.path(video).read_bytes() == (tmp_path / "wrong" / video.uri).read_bytes()
