"""Every number of the paper is a config field, and none is dead: changing it changes the result."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from itertools import count
from operator import getitem
from pathlib import Path
from typing import Any, TypeAlias

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.combiners import Count

from tests.conftest import Workshop
from tests.decoding.clips import encode_streams
from yt8m_pipeline.accounting.counts import StageCount
from yt8m_pipeline.accounting.outcome import Outcome, drop_duplicates
from yt8m_pipeline.accounting.reasons import DropReason, Stage, VideoRejected
from yt8m_pipeline.compression.pca import Pca
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.config import Changes, Config, knobs, load
from yt8m_pipeline.data_model import Float32Array, Partition, StoredEntry, StoredVideo, UInt8Array, Video
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.records import FrameRecord, parse_frame_record
from yt8m_pipeline.dataset.shards import shard_of
from yt8m_pipeline.dataset.tfrecord import read_records
from yt8m_pipeline.decoding.damage import check_damage
from yt8m_pipeline.decoding.facts import SampledFrame
from yt8m_pipeline.decoding.sandbox.parent import Sandbox
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.extraction.inception import describe
from yt8m_pipeline.extraction.inception import load as load_network
from yt8m_pipeline.extraction.networks import tensorflow
from yt8m_pipeline.jobs.build_folder import begin, exclusive, finish
from yt8m_pipeline.jobs.build_plan import plan_build
from yt8m_pipeline.jobs.engine import beam_pipeline
from yt8m_pipeline.jobs.sufficiency import check_failures
from yt8m_pipeline.pipeline import build_dataset, extract_features
from yt8m_pipeline.selection.frequency import count_videos, keep_frequent, keep_popular
from yt8m_pipeline.selection.labels import attach_labels, keep_labels
from yt8m_pipeline.selection.partitioning import assign_partitions
from yt8m_pipeline.selection.rater_scores import prune_by_rater_score
from yt8m_pipeline.selection.video_sampling import filter_eligible, sample_videos
from yt8m_pipeline.selection.vocabulary import filter_by_type
from yt8m_pipeline.store.feature_store import FeatureStore, open_store
from yt8m_pipeline.store.stored_file import open_stored
from yt8m_pipeline.tables.reading import TableFiles, read_batches, schema
from yt8m_pipeline.tables.uris import accept_uris
from yt8m_pipeline.transforms.combiners import AddUp, PickForBundle
from yt8m_pipeline.transforms.compression import IntoUnits
from yt8m_pipeline.transforms.ledger import Ledger
from yt8m_pipeline.transforms.selection import JoinByHash

Features: TypeAlias = npt.NDArray[np.floating]

SELECTION: Mapping[str, Any] = {
    "tables.entities": "shorter_entities.csv",
    "tables.ratings": "shorter_ratings.jsonl",
    "tables.videos": "shorter_videos.parquet",
    "tables.annotations": "shorter_annotations.csv",
    "vocabulary.type_whitelist": ["sport", "animal", "food", "vehicle", "musical_instrument", "tourist_attraction"],
    "vocabulary.type_blacklist": ["music_artist", "music_composition", "album"],
    "rater_scores.min_raters": 2,
    "rater_scores.min_score": 0,
    "rater_scores.max_score": 6,
    "rater_scores.max_mean_score": 2.7,
    "video_sampling.min_views": 100_000,
    "video_sampling.min_duration_seconds": 2.05,
    "video_sampling.max_duration_seconds": 80,
    "video_sampling.min_score": 0.6,
    "video_sampling.popular_videos_above": 1,
    "video_sampling.sample_size": 14,
    "video_sampling.min_videos_per_entity": 1,
    "video_sampling.salt": "another",
    "partitioning.train": 0.4,
    "partitioning.validate": 0.4,
    "partitioning.test": 0.4,
    "partitioning.salt": "other",
}
COMPANIONS: Mapping[str, Mapping[str, Any]] = {
    "partitioning.by": {"partitioning.lists": {"train": "train.txt"}},
    "partitioning.lists": {"partitioning.by": "lists"},
    "partitioning.train": {"partitioning.validate": 0.5},
    "partitioning.validate": {"partitioning.train": 0.5},
    "partitioning.test": {"partitioning.train": 0.4},
}
"""What changes along with a share, since the three sum to one, and with the use of lists."""
SHARES = {"partitioning.train": 0.4, "partitioning.validate": 0.3, "partitioning.test": 0.3}

DECODING: Mapping[str, Any] = {
    "decoding.frames_per_second": 2,
    "decoding.max_seconds": 2,
    "decoding.sampling": "keyframes",
    "decoding.damage": "salvage",
    "decoding.min_decoded_fraction": 0.1,
    "decoding.demuxers": ["mov"],
    "decoding.protocols": ["file"],
    "decoding.max_streams": 1,
    "decoding.timeout_seconds": 1e-6,
    "decoding.timeout_seconds_per_frame": 0,
    "decoding.memory_limit_mib": 256,
}
EXTRACTION: Mapping[str, Any] = {
    "inception.image_size": 48,
    "inception.resize": "model",
    "inception.dtype": "float32",
    "inception.model.saved_model": "other_model",
}
OTHER_MODELS: Mapping[str, tuple[Any, Any]] = {
    "inception.model.random": (1, 2),
    "inception.model.keras": ("weights.h5", "other_weights.h5"),
    "inception.model.tfhub": ("model", "other_model"),
    "inception.model.graph": ("weights.h5", "other_weights.h5"),
    "inception.model.architecture": (
        {"keras": "weights.h5", "architecture": "ResNet50"},
        {"keras": "weights.h5", "architecture": "VGG16"},
    ),
}
COMPRESSION: Mapping[str, Any] = {
    "pca.components": 8,
    "pca.epsilon.relative": 0.5,
    "quantizer.levels": 16,
    "quantizer.scope": "per_dimension",
    "shards.train": 5,
    "shards.validate": 3,
    "shards.test": 1,
    "shards.salt": "another",
}
CARD: Mapping[str, Any] = {
    "card.title": "A title",
    "card.description": "What it is.",
    "card.licence": "CC-BY-4.0",
    "card.contact": "somebody@example.org",
    "card.citation": "@misc{a}",
    "card.take_down": "take-down@example.org",
    "card.homepage": "https://example.org/dataset",
}
"""The knobs of the card; dataset/test_card.py has their tests."""
ALONE: Mapping[str, Any] = {
    "labels.test": "published",
    "partitioning.by": "lists",
    "partitioning.column": "split",
    "partitioning.divided_groups": "warn",
    "partitioning.lists": {"train": "train.txt"},
    "partitioning.values": {"train": ["0"], "validate": ["1"], "test": ["2"]},
    "partitioning.without": "reject",
    "tables.root": "other_corpus",
    "tables.encoding": "cp1252",
    "tables.keep_columns": ["group_id"],
    "tables.uri_schemes": ["gs", "s3"],
    "tables.allow_outside_root": False,
    "store": "other_features",
    "output": "other_dataset",
    "video_sampling.durations": "measured",
    "inception.batch_size": 3,
    "inception.device": "gpu",
    "inception.precision": "mixed",
    "pca.source": "other_pca",
    "pca.epsilon": 1e-5,
    "quantizer.method": "uniform",
    "max_failure_fraction": 0.1,
    "duplicates": "keep",
    "parallelism.join_buckets": 3,
    "parallelism.fitting_units": 3,
    "parallelism.accumulators": 3,
}
"""The knobs that have a test of their own."""
CHECKS = {"inception.model.sha256", "decoding.sandbox", "decoding.thumbnails", "tables.max_malformed_fraction"}
"""The fields that change no byte of a dataset. Those that refuse what is not as they say, and that of the pictures."""

IMPORTED = ("like", "quantizer.source")
"""The fields that need a finished dataset; jobs/test_imports.py has their tests."""

CHANGES = {**SELECTION, **DECODING, **EXTRACTION, **COMPRESSION, **ALONE, **CARD}
CHANGES |= {field: pair[1] for field, pair in OTHER_MODELS.items()}

KNOBS = {".".join(knob.path): knob.changes for knob in knobs()}
"""Every field that has no fields of its own, and what its annotation says that it changes."""


@dataclass(frozen=True)
class Bench:
    """A folder with the workshop's corpus and network, and with others of each."""

    folder: Path
    workshop: Workshop

    def config(self, changes: Mapping[str, Any]) -> Config:
        fields: dict[str, Any] = {"tables__root": "corpus", "store": "features", "output": "dataset"}
        fields |= {"inception__model": {"saved_model": "model"}}
        for field, value in changes.items():
            *parents, source = field.split(".")
            if parents == ["inception", "model"]:
                fields["inception__model"] = value if isinstance(value, dict) else {source: value}
            else:
                fields[field.replace(".", "__")] = value
        return load(self.workshop.config(self.folder, **fields))


@pytest.fixture(scope="module")
def bench(workshop: Workshop, built: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("knobs")
    for corpus in ("corpus", "other_corpus"):
        (folder / corpus).mkdir()
        for path in workshop.corpus.iterdir():
            (folder / corpus / path.name).symlink_to(path)
    _lower_scores(folder / "corpus" / "annotations.csv")
    (folder / "corpus" / "train.txt").write_text("v0000\n")
    for name in ("entities.csv", "ratings.jsonl", "annotations.csv"):
        lines = (folder / "corpus" / name).read_text().splitlines(keepends=True)
        (folder / "corpus" / f"shorter_{name}").write_text("".join(lines[:-1]))
    videos = pq.read_table(workshop.corpus / "videos.parquet")
    pq.write_table(videos.slice(0, videos.num_rows - 1), folder / "corpus" / "shorter_videos.parquet")
    (folder / "other_corpus" / "videos.parquet").unlink()
    pq.write_table(videos.slice(1), folder / "other_corpus" / "videos.parquet")
    (folder / "model").symlink_to(workshop.model)
    _save_mean_colours(folder / "other_model")
    for name in ("weights.h5", "other_weights.h5"):
        (folder / name).write_text(name)
    _copy_store(built / "features", folder / "features")
    fitted = Pca.load(str(built / "dataset" / "pca"))
    replace(fitted, eigenvectors=-fitted.eigenvectors).save(str(folder / "other_pca"))
    return Bench(folder, workshop)


def _lower_scores(annotations: Path) -> None:
    """Gives every fifth annotation a score of 0.5; the demo's have 0.9."""
    lines = annotations.read_text().splitlines(keepends=True)
    annotations.unlink()
    lowered = (line.replace(",0.9", ",0.5") if row % 5 == 0 else line for row, line in enumerate(lines))
    annotations.write_text("".join(lowered))


def _save_mean_colours(folder: Path) -> None:
    """Another network: the mean of each colour."""
    import tensorflow as tf

    class MeanColours(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)])  # type: ignore[untyped-decorator]
        def __call__(self, images: Any) -> Any:
            return tf.reduce_mean(images, axis=[1, 2])

    tf.saved_model.save(MeanColours(), str(folder))


def _copy_store(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        if path.is_file():
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())


def build(config: Config) -> Path:
    """Builds a dataset in this process."""
    plan = plan_build(config)
    with exclusive(plan.layout):
        begin(plan.layout, None)
        open_store(config.store, plan.space)
        with beam_pipeline([]) as root:
            build_dataset(root, plan)
        finish(plan.layout)
    return Path(config.output)


def test_every_field_has_exactly_one_test() -> None:
    tables = (SELECTION, DECODING, EXTRACTION, OTHER_MODELS, COMPRESSION, ALONE, CARD)
    assert sorted(KNOBS) == sorted([*CHECKS, *IMPORTED, *(field for table in tables for field in table)])


@pytest.mark.parametrize("field", sorted(CHANGES))
def test_a_change_asks_for_a_new_build_and_for_new_features_only_if_it_changes_them(bench: Bench, field: str) -> None:
    before = plan_build(bench.config({}))
    after = plan_build(bench.config({field: CHANGES[field], **COMPANIONS.get(field, {})}))
    assert (after.store.space != before.store.space) == (KNOBS[field] == Changes.FEATURES)
    if field != "tables.root":
        assert (after.key == before.key) == (KNOBS[field] == Changes.NOTHING)


@dataclass(frozen=True)
class Selected:
    """Video id → (partition, entity ids), and how often each (table, id, reason) was rejected."""

    videos: Mapping[str, tuple[str, tuple[str, ...]]]
    rejects: Counter[tuple[str, str, str]]


def select(config: Config) -> Selected:
    """Stages 1 to 3 by the acts' own functions, without Beam."""
    sources, sampling = plan_build(config).sources, config.video_sampling
    books: list[pa.Table] = []

    def keep(outcome: Outcome) -> pa.Table:
        books.append(outcome.rejects)
        return outcome.kept

    def read(table: str) -> pa.Table:
        return pa.concat_tables([schema(table).empty_table(), *(keep(item) for item in batches(sources[table]))])

    def unique(table: str, key: str) -> pa.Table:
        return keep(drop_duplicates(read(table), [key], Stage.UNIQUE, table))

    entities, videos = unique("entities", "entity_id"), unique("videos", "video_id")
    entity_ids, video_ids = entities["entity_id"].combine_chunks(), videos["video_id"].combine_chunks()
    assert config.vocabulary
    typed = keep(filter_by_type(entities, config.vocabulary))
    pruned = prune_by_rater_score(typed, read("ratings"), config.rater_scores, all_entity_ids=entity_ids)
    visual, _ = keep(pruned.entities), keep(pruned.ratings)
    labelled = attach_labels(
        keep(filter_eligible(videos, sampling)),
        read("annotations"),
        sampling,
        all_video_ids=video_ids,
        vocabulary_ids=visual["entity_id"].combine_chunks(),
        all_entity_ids=entity_ids,
    )
    keep(labelled.annotations)
    with_labels = keep(labelled.videos)
    popular = keep(keep_popular(visual, count_videos(with_labels), sampling))
    candidates = keep(keep_labels(with_labels, ids(popular), Stage.POPULARITY))
    sampled = keep(sample_videos(candidates, sampling))
    frequent = keep(keep_frequent(popular, count_videos(sampled), sampling, Stage.FREQUENCY))
    chosen = assign_partitions(keep(keep_labels(sampled, ids(frequent), Stage.FREQUENCY)), config.partitioning)
    rows = {row["video_id"]: (row["partition"], tuple(row["entity_ids"])) for row in chosen.to_pylist()}
    return Selected(rows, rejected(pa.concat_tables(books)))


def batches(source: TableFiles) -> Iterator[Outcome]:
    for file in source.files:
        yield from read_batches(source, file)


def ids(entities: pa.Table) -> list[str]:
    return list(entities["entity_id"].to_pylist())


def rejected(rows: pa.Table) -> Counter[tuple[str, str, str]]:
    return Counter((row["table"], row["id"], row["reason"]) for row in rows.to_pylist())


class TestSelection:
    @pytest.mark.parametrize("field", sorted(SELECTION))
    def test_each_knob_changes_what_is_selected_or_why_not(self, bench: Bench, field: str) -> None:
        changed = bench.config({field: SELECTION[field], **COMPANIONS.get(field, {})})
        assert select(changed) != select(bench.config({}))

    def test_the_pipeline_takes_all_of_them(self, bench: Bench, changed: Path) -> None:
        expected = select(bench.config({**SELECTION, **SHARES}))
        rows = pa.concat_tables([pq.read_table(path) for path in (changed / "rejects").glob("*.parquet")])
        later = [stage in ("decode", "extract", "recount") for stage in rows["stage"].to_pylist()]
        failed = {row["id"] for row in rows.filter(pa.array(later)).to_pylist() if row["table"] == "videos"}
        earlier = rows.filter(pc.invert(pa.array(later)))
        kept = pq.read_table(changed / "videos.parquet").to_pylist()
        assert rejected(earlier) == expected.rejects
        assert {row["video_id"]: row["partition"] for row in kept} == {
            name: partition for name, (partition, _) in expected.videos.items() if name not in failed
        }

    @pytest.mark.parametrize("field", sorted(SELECTION))
    def test_the_pipeline_would_differ_without_any_one_of_them(self, bench: Bench, field: str) -> None:
        """So the test above fails if the pipeline takes one knob's value from elsewhere."""
        changes = {**SELECTION, **SHARES}
        left_out = SHARES.keys() if field in SHARES else {field}
        without = {name: value for name, value in changes.items() if name not in left_out}
        assert select(bench.config(without)) != select(bench.config(changes))


@pytest.fixture(scope="module")
def changed(bench: Bench) -> Path:
    """A dataset with every knob of selection, compression and shards changed at once."""
    changes = {**SELECTION, **SHARES, **COMPRESSION, "output": "changed", "max_failure_fraction": 1}
    return build(bench.config(changes))


@pytest.fixture(scope="module")
def clip(workshop: Workshop) -> str:
    """The longest WebM video."""
    return str(max((workshop.corpus / "videos").glob("*.webm"), key=lambda path: path.stat().st_size))


@pytest.fixture
def cut_clip(clip: str, tmp_path: Path) -> str:
    """Two thirds of it."""
    data = Path(clip).read_bytes()
    (tmp_path / "cut.webm").write_bytes(data[: len(data) * 2 // 3])
    return str(tmp_path / "cut.webm")


class TestDecoding:
    def decode(self, bench: Bench, clip: str, *fields: str, size: int = 64, **others: Any) -> list[SampledFrame]:
        changes = {field: DECODING[field] for field in fields}
        changes |= {f"decoding.{name}": value for name, value in others.items()}
        with Sandbox(bench.config(changes).decoding, size) as sandbox:
            return list(sandbox.decode(clip))

    def rejection(self, bench: Bench, clip: str, *fields: str, size: int = 64, **others: Any) -> VideoRejected:
        with pytest.raises(VideoRejected) as caught:
            self.decode(bench, clip, *fields, size=size, **others)
        return caught.value

    def test_the_rate_doubles_the_frames(self, bench: Bench, clip: str) -> None:
        usual = len(self.decode(bench, clip))
        assert usual > DECODING["decoding.max_seconds"]
        assert len(self.decode(bench, clip, "decoding.frames_per_second")) in (2 * usual, 2 * usual - 1)

    def test_the_length_cuts_the_video(self, bench: Bench, clip: str) -> None:
        assert len(self.decode(bench, clip, "decoding.max_seconds")) == DECODING["decoding.max_seconds"]

    def test_the_sampling_changes_which_frames_are_taken(self, bench: Bench, clip: str) -> None:
        exact, keyframes = self.decode(bench, clip), self.decode(bench, clip, "decoding.sampling")
        assert len({frame.pts_seconds for frame in keyframes}) < len({frame.pts_seconds for frame in exact})

    def test_salvage_keeps_the_sound_frames_of_a_damaged_video(self, bench: Bench, clip: str, cut_clip: str) -> None:
        assert self.rejection(bench, cut_clip).reason == DropReason.TRUNCATED
        salvaged = self.decode(bench, cut_clip, "decoding.damage")
        whole = self.decode(bench, clip)
        assert 0 < len(salvaged) < len(whole)
        assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(salvaged, whole, strict=False))

    def test_the_decoded_fraction_decides_whether_a_salvaged_video_is_used(self, bench: Bench) -> None:
        field = "decoding.min_decoded_fraction"
        check_damage(0.5, bench.config({field: DECODING[field]}).decoding)
        with pytest.raises(VideoRejected, match=r"min_decoded_fraction asks for 0\.9") as caught:
            check_damage(0.5, bench.config({}).decoding)
        assert caught.value.reason == DropReason.TOO_DAMAGED

    def test_another_demuxer_than_those_listed_is_refused(self, bench: Bench, clip: str) -> None:
        refused = self.rejection(bench, clip, "decoding.demuxers")
        assert refused.reason == DropReason.CONTAINER_NOT_ACCEPTED
        assert "is not among decoding.demuxers: mov" in refused.detail

    def test_a_file_of_more_streams_than_the_limit_is_refused(self, bench: Bench, tmp_path: Path) -> None:
        path = tmp_path / "streams.mkv"
        path.write_bytes(encode_streams(2))
        assert self.decode(bench, str(path))
        assert self.rejection(bench, str(path), "decoding.max_streams").reason == DropReason.TOO_MANY_STREAMS

    def test_another_protocol_than_those_listed_is_refused_and_a_listed_one_finds_no_descriptor(
        self, bench: Bench, tmp_path: Path
    ) -> None:
        """No protocol that is listed makes frames: the sandbox has a second wall behind the list."""
        (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile video.mp4\n")
        listed = str(tmp_path / "list.mp4")
        assert "Invalid argument" in self.rejection(bench, listed, demuxers=["concat"]).detail
        opened = self.rejection(bench, listed, "decoding.protocols", demuxers=["concat"])
        assert "Operation not permitted" in opened.detail or "Too many open files" in opened.detail

    def test_the_time_limit_ends_the_decoder(self, bench: Bench, clip: str) -> None:
        assert self.rejection(bench, clip, "decoding.timeout_seconds").reason == DropReason.DECODE_TIMEOUT

    def test_the_time_for_each_frame_keeps_the_decoder_going(
        self, bench: Bench, clip: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """On a clock on which every look at it takes a second, and so a frame some five."""
        monkeypatch.setattr("yt8m_pipeline.decoding.sandbox.parent.monotonic", count().__next__)
        assert self.decode(bench, clip, timeout_seconds=11)
        slow = self.rejection(bench, clip, "decoding.timeout_seconds_per_frame", timeout_seconds=11)
        assert slow.reason == DropReason.DECODE_TIMEOUT

    def test_the_memory_limit_ends_the_decoder(self, bench: Bench, clip: str) -> None:
        """One frame of 6000² pixels is 103 MiB."""
        limits = ("decoding.max_seconds", "decoding.memory_limit_mib")
        assert len(self.decode(bench, clip, limits[0], size=6000)) == 2
        assert self.rejection(bench, clip, *limits, size=6000).reason == DropReason.DECODER_CRASHED


def extract(bench: Bench, clip: str, changes: Mapping[str, Any]) -> Features:
    """What stages 4 and 5 of the pipeline store of one video."""
    plan = plan_build(bench.config({"store": "extracted", "output": "none", **changes}))
    video = Video("a video", clip, Partition.TRAIN, ("/m/0k4j",))
    with beam_pipeline([]) as root:
        extract_features(root | beam.Create([video]), plan, Ledger())
    return plan.store.read("a video").features


@pytest.fixture(scope="module")
def usual(bench: Bench, clip: str) -> Features:
    return extract(bench, clip, {})


def run_network(config: Config, frames: UInt8Array) -> tuple[Float32Array, list[int]]:
    """The features, and how many frames each call of the network got."""
    extractor = load_network(config.inception)
    calls: list[int] = []

    def network(batch: Any) -> Any:
        calls.append(len(batch))
        return extractor.network(batch)

    return replace(extractor, network=network)(frames), calls


class TestExtraction:
    def test_the_image_size_changes_the_features(self, bench: Bench, clip: str, usual: Features) -> None:
        small = extract(bench, clip, {"inception.image_size": EXTRACTION["inception.image_size"]})
        assert small.shape == usual.shape
        assert not np.allclose(small, usual, rtol=1e-2)

    def test_who_resizes_changes_the_features_a_little(self, bench: Bench, clip: str, usual: Features) -> None:
        resized = extract(bench, clip, {"inception.resize": EXTRACTION["inception.resize"]})
        assert resized.shape == usual.shape
        assert not np.array_equal(resized, usual)
        cosines = (resized * usual).sum(axis=1) / np.linalg.norm(resized, axis=1) / np.linalg.norm(usual, axis=1)
        assert cosines.min() > 0.98

    def test_the_type_is_the_one_stored(self, bench: Bench, clip: str, usual: Features) -> None:
        single = extract(bench, clip, {"inception.dtype": EXTRACTION["inception.dtype"]})
        assert (usual.dtype.name, single.dtype.name) == ("float16", "float32")
        np.testing.assert_array_equal(usual, single.astype(np.float16))

    def test_another_network_gives_other_features(self, bench: Bench, clip: str, usual: Features) -> None:
        other = {"inception.model.saved_model": EXTRACTION["inception.model.saved_model"], "pca.components": 3}
        colours = extract(bench, clip, other)
        assert (usual.shape[1], colours.shape[1]) == (40, 3)

    @pytest.mark.parametrize("field", sorted(OTHER_MODELS))
    def test_another_model_of_each_source_is_another_network(self, bench: Bench, field: str) -> None:
        """tests/extraction/test_inception.py loads each source."""
        first, second = (describe(bench.config({field: value}).inception)["model"] for value in OTHER_MODELS[field])
        assert first != second

    def test_the_digest_of_a_model_changes_nothing_and_a_wrong_one_is_refused(self, bench: Bench) -> None:
        plan = plan_build(bench.config({}))
        named = {"saved_model": "model", "sha256": plan.space["model"]["sha256"]}
        same = plan_build(bench.config({"inception.model.sha256": named}))
        assert (same.key, same.store.space) == (plan.key, plan.store.space)
        with pytest.raises(UsageError, match="not the one that the config names"):
            plan_build(bench.config({"inception.model.sha256": {**named, "sha256": "0" * 64}}))

    def test_the_batch_size_reaches_the_network_and_changes_no_feature(self, bench: Bench) -> None:
        frames = np.random.default_rng(0).integers(0, 256, (10, 64, 64, 3), np.uint8)
        by_eight, eights = run_network(bench.config({}), frames)
        by_three, threes = run_network(bench.config({"inception.batch_size": ALONE["inception.batch_size"]}), frames)
        assert (eights, threes) == ([8, 2], [3, 3, 3, 1])
        np.testing.assert_allclose(by_eight, by_three, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("field", ["inception.device", "inception.precision"])
    def test_what_only_a_gpu_can_do_is_refused_without_one(self, bench: Bench, field: str) -> None:
        if tensorflow().config.list_physical_devices("GPU"):
            pytest.skip("TensorFlow sees a GPU")
        with pytest.raises(UsageError, match="TensorFlow sees none"):
            load_network(bench.config({field: ALONE[field]}).inception)

    def test_another_precision_is_another_feature_space_and_another_device_is_not(self, bench: Bench) -> None:
        usual, mixed, on_gpu = (
            plan_build(bench.config({field: ALONE[field]} if field else {})).store.space
            for field in (None, "inception.precision", "inception.device")
        )
        assert on_gpu == usual != mixed


class TestCompressionAndShards:
    @pytest.mark.parametrize("field", sorted(COMPRESSION))
    def test_each_knob_is_what_stands_on_disk(self, bench: Bench, built: Path, changed: Path, field: str) -> None:
        usual = reduce(getitem, field.split("."), bench.config({}).model_dump(by_alias=True))
        assert usual != COMPRESSION[field]
        assert ON_DISK[field](built / "dataset", usual, bench.folder / "features")
        assert not ON_DISK[field](changed, usual, bench.folder / "features")
        assert ON_DISK[field](changed, COMPRESSION[field], bench.folder / "features")

    def test_kept_columns_are_those_of_the_videos_table(self, bench: Bench, built: Path) -> None:
        kept = build(bench.config({"tables.keep_columns": ALONE["tables.keep_columns"], "output": "kept"}))
        rows, usual = (pq.read_table(folder / "videos.parquet") for folder in (kept, built / "dataset"))
        given = {row["video_id"]: row for row in pq.read_table(bench.folder / "corpus/videos.parquet").to_pylist()}
        assert [*usual.column_names, "group_id"] == rows.column_names
        assert any(row["group_id"] for row in given.values())
        for row in rows.to_pylist():
            told = given[row["video_id"]]
            assert row["group_id"] == (told["group_id"] or "")
            for name in ("uri", "duration_seconds", "view_count"):
                assert row[name] == told[name]

    def test_the_source_is_where_the_pca_is_from(self, bench: Bench, built: Path) -> None:
        imported = build(bench.config({"pca.source": ALONE["pca.source"], "output": "imported"}))
        fitted = np.load(built / "dataset" / "pca" / "eigenvecs.npy")
        np.testing.assert_array_equal(np.load(imported / "pca" / "eigenvecs.npy"), -fitted)
        assert has_epsilon(imported, Pca.load(str(built / "dataset" / "pca")).epsilon, bench.folder / "features")

    def test_an_epsilon_that_is_a_number_is_the_one_of_the_pca(self, bench: Bench) -> None:
        absolute = build(bench.config({"pca.epsilon": ALONE["pca.epsilon"], "output": "absolute"}))
        assert has_epsilon(absolute, ALONE["pca.epsilon"], bench.folder / "features")

    def test_the_method_names_the_codes(self, bench: Bench, built: Path) -> None:
        uniform = build(bench.config({"quantizer.method": ALONE["quantizer.method"], "output": "uniform"}))
        usual = frame_records(built / "dataset")
        assert {record.feature_name for record in usual} == {"rgb_codes"}
        assert {record.feature_name for record in frame_records(uniform)} == {"rgb"}
        assert len(frame_records(uniform)) == len(usual)


def frame_records(dataset: Path) -> list[FrameRecord]:
    return [
        parse_frame_record(data, str(path))
        for path in sorted(dataset.glob("frame/*/*.tfrecord"))
        for data in read_records(path.open("rb"), str(path))
    ]


def has_components(dataset: Path, number: int, _: Path) -> bool:
    components = len(np.load(dataset / "pca" / "eigenvals.npy"))
    return [components, frame_records(dataset)[0].codes.shape[1]] == [number, number]


def has_relative_epsilon(dataset: Path, share: float, store: Path) -> bool:
    """Whether the codes are those of features whitened with this share of the last eigenvalue."""
    return has_epsilon(dataset, share * float(np.load(dataset / "pca" / "eigenvals.npy")[-1, 0]), store)


def has_epsilon(dataset: Path, epsilon: float, store: Path) -> bool:
    """Whether the codes are those of features whitened with this epsilon."""
    record = frame_records(dataset)[0]
    pca, quantizer = Pca.load(str(dataset / "pca")), Quantizer.load(str(dataset / "quantizer.npz"))
    stored = {file.video.video_id: file.video for file in map(open_stored, map(str, store.rglob("*.npz")))}
    codes = quantizer.encode(pca.transform(stored[record.video_id].features))
    return pca.epsilon == epsilon and np.array_equal(codes, record.codes)


def has_levels(dataset: Path, number: int, _: Path) -> bool:
    highest = max(int(record.codes.max()) for record in frame_records(dataset))
    return Quantizer.load(str(dataset / "quantizer.npz")).length == number == highest + 1


def has_scope(dataset: Path, scope: str, _: Path) -> bool:
    quantizer = Quantizer.load(str(dataset / "quantizer.npz"))
    stated = json.loads((dataset / "manifest.json").read_text())["quantizer"]["scope"]
    dimensions = frame_records(dataset)[0].codes.shape[1]
    shape = (dimensions, quantizer.length) if scope == "per_dimension" else (quantizer.length,)
    return (quantizer.scope, stated, quantizer.levels.shape) == (scope, scope, shape)


def has_shards(partition: Partition) -> Callable[[Path, int, Path], bool]:
    def has_files(dataset: Path, number: int, _: Path) -> bool:
        names = {path.name for path in (dataset / "frame" / partition).iterdir()}
        return names == {f"{partition}-{index:05d}-of-{number:05d}.tfrecord" for index in range(number)}

    return has_files


def is_salted(dataset: Path, salt: str, _: Path) -> bool:
    shards = json.loads((dataset / "manifest.json").read_text())["config"]["shards"]
    rows = pq.read_table(dataset / "videos.parquet").to_pylist()
    return all(
        row["shard"] == shard_of(row["video_id"], Partition(row["partition"]), shards[row["partition"]], salt).name
        for row in rows
    )


ON_DISK: Mapping[str, Callable[[Path, Any, Path], bool]] = {
    "pca.components": has_components,
    "pca.epsilon.relative": has_relative_epsilon,
    "quantizer.levels": has_levels,
    "quantizer.scope": has_scope,
    "shards.train": has_shards(Partition.TRAIN),
    "shards.validate": has_shards(Partition.VALIDATE),
    "shards.test": has_shards(Partition.TEST),
    "shards.salt": is_salted,
}


def test_the_root_is_where_the_tables_are(bench: Bench) -> None:
    assert select(bench.config({"tables.root": ALONE["tables.root"]})) != select(bench.config({}))


def test_the_encoding_is_that_of_the_texts(bench: Bench) -> None:
    (bench.folder / "corpus" / "words.csv").write_text("entity_id,name,types\n/m/a,Café,animal\n", encoding="utf-8")
    usual, named = (
        plan_build(bench.config({"tables.entities": "words.csv", "tables.encoding": encoding})).sources["entities"]
        for encoding in ("auto", ALONE["tables.encoding"])
    )
    names = [[row["name"] for item in batches(source) for row in item.kept.to_pylist()] for source in (usual, named)]
    assert names == [["Café"], ["CafÃ©"]]


def test_the_malformed_fraction_decides_whether_a_table_is_taken(bench: Bench) -> None:
    """One of the ratings of the corpus is malformed."""
    changes = {"tables.max_malformed_fraction": 0}
    assert rows_read(bench.config({})) == rows_read(bench.config({"tables.max_malformed_fraction": 1}))
    with pytest.raises(DataError, match=r"^1 of \d+ rows of the ratings table are malformed"):
        rows_read(bench.config(changes))


def rows_read(config: Config) -> int:
    return sum(item.kept.num_rows for item in batches(plan_build(config).sources["ratings"]))


def test_the_schemes_decide_which_uris_rows_may_name(bench: Bench) -> None:
    usual, changed = bench.config({}), bench.config({"tables.uri_schemes": ALONE["tables.uri_schemes"]})
    rows = pa.table({"video_id": ["a"], "uri": ["s3://bucket/a.mp4"], "_file": ["videos.csv"], "_row": [1]})
    assert accept_uris(rows, usual.tables.places).rejects["reason"].to_pylist() == ["uri_not_accepted"]
    assert accept_uris(rows, changed.tables.places).kept == rows


@pytest.mark.parametrize("allowed", [True, False])
def test_a_video_outside_of_the_root_is_extracted_only_where_the_config_allows_it(
    bench: Bench, clip: str, allowed: bool
) -> None:
    changes = {"store": f"outside_{allowed}", "output": "none", "tables.allow_outside_root": allowed}
    plan = plan_build(bench.config(changes))
    with beam_pipeline([]) as root:
        video = Video("a video", clip, Partition.TRAIN, ("/m/0k4j",))
        extract_features(root | beam.Create([video]), plan, Ledger())
    assert (plan.store.find("a video") is not None) == allowed


def test_the_store_and_the_dataset_are_where_the_config_says(bench: Bench) -> None:
    plan = plan_build(bench.config({"store": ALONE["store"], "output": ALONE["output"]}))
    assert plan.store == FeatureStore(str(bench.folder / "other_features"), plan.store.space)
    assert plan.layout == Layout(str(bench.folder / "other_dataset"))


def test_the_failure_fraction_decides_whether_a_build_stands(bench: Bench) -> None:
    counts = [StageCount(Stage.DECODE, "videos", 4, (("truncated", 1),))]
    check_failures(counts, bench.config({}), Layout("dataset"))
    with pytest.raises(DataError, match=r"max_failure_fraction 0\.1 allows 0\.5"):
        check_failures(counts, bench.config({"max_failure_fraction": 0.1}), Layout("dataset"))


@pytest.mark.parametrize("field", [None, "parallelism.join_buckets"])
def test_the_buckets_change_how_many_joins_there_are_and_no_row_of_them(bench: Bench, field: str | None) -> None:
    """tests/test_resume.py compares the bytes of whole datasets."""
    config = bench.config({field: ALONE[field]} if field else {})
    rows = pa.concat_tables([item.kept for item in batches(plan_build(config).sources["videos"])])
    with beam_pipeline([]) as root:
        join_by = JoinByHash({"videos": ("video_id", schema("videos"))}, config.parallelism.join_buckets)
        joined = {"videos": root | beam.Create([rows])} | join_by | beam.Map(lambda tables: tables["videos"])
        numbers = joined | beam.FlatMap(lambda table: table["_row"].to_pylist())
        assert_that(joined | Count.Globally(), equal_to([3 if field else 2]), label="buckets")
        assert_that(numbers, equal_to(rows["_row"].to_pylist()), label="rows")


@pytest.mark.parametrize("field", [None, "parallelism.fitting_units"])
def test_the_units_change_in_how_many_groups_videos_are_fitted(bench: Bench, field: str | None) -> None:
    """tests/test_resume.py compares the bytes of whole datasets."""
    config = bench.config({field: ALONE[field]} if field else {})
    entry = StoredEntry(1, 1.0, "0" * 64, 1.0, 0.0)
    stored = [StoredVideo(Video(str(index), "a", Partition.TRAIN, ("b",)), entry) for index in range(30)]
    with beam_pipeline([]) as root:
        units = root | beam.Create(stored) | IntoUnits(config.parallelism.fitting_units)
        assert_that(units | Count.Globally(), equal_to([3 if field else 2]), label="units")
        assert_that(units | beam.FlatMap(lambda unit: unit), equal_to(stored), label="videos")


@pytest.mark.parametrize("accumulators", [1, ALONE["parallelism.accumulators"]])
def test_the_accumulators_bound_the_partial_sums_and_change_no_sum(bench: Bench, accumulators: int) -> None:
    """tests/test_resume.py compares the bytes of whole datasets."""
    config = bench.config({"parallelism.accumulators": accumulators})
    picks = PickForBundle(config.parallelism.accumulators)
    keys = set()
    for _ in range(100):
        picks.start_bundle()
        keys |= {key for value in range(3) for key, _ in picks.process(value)}
    assert keys == set(range(accumulators))
    with beam_pipeline([]) as root:
        total = root | beam.Create(range(100)) | beam.Reshuffle() | AddUp(config.parallelism.accumulators)
        assert_that(total, equal_to([4950]))
