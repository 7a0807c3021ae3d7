"""What released versions wrote is read and verified by every later version; damage in a manifest is told."""

import json
import random
import re
import shutil
from collections.abc import Iterator
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import TESTS
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.card import card
from yt8m_pipeline.dataset.index import VIDEOS as VIDEOS_TABLE
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import Manifest, write_manifest
from yt8m_pipeline.dataset.reader import open_dataset, open_pca, read_frames, read_videos, read_vocabulary
from yt8m_pipeline.dataset.verify import verify
from yt8m_pipeline.errors import DataError, PipelineError
from yt8m_pipeline.interop.export_list import verify_export
from yt8m_pipeline.video_level.feature_list import verify_features
from yt8m_pipeline.video_level.feature_set import open_features

GOLDEN = TESTS / "golden_formats"
VERSIONS = sorted(path.name for path in GOLDEN.iterdir() if path.is_dir())
DATASET = GOLDEN / "0.1.0" / "dataset"
VIDEOS = {Partition.TRAIN: (11, 37), Partition.VALIDATE: (2, 8), Partition.TEST: (2, 7)}
"""How many videos and frames the dataset of version 0.1.0 has."""


@pytest.mark.parametrize("version", VERSIONS)
def test_a_dataset_of_every_version_is_sound(version: str) -> None:
    assert verify(str(GOLDEN / version / "dataset")) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_a_card_is_made_of_every_manifest(version: str) -> None:
    layout = Layout(str(GOLDEN / version / "dataset"))
    train_videos = [entity.train_videos for entity in read_vocabulary(layout)]
    text = card(Manifest.of(layout), train_videos, VIDEOS_TABLE.names).decode()
    assert "Features of 15 videos with labels of 8 classes: 52 frames" in text
    assert "from read_dataset import classes, read_frames" in text


@pytest.mark.parametrize("partition", Partition)
def test_its_records_are_read(partition: Partition) -> None:
    frames, videos = list(read_frames(str(DATASET), partition)), list(read_videos(str(DATASET), partition))
    assert (len(frames), sum(len(example.features) for example in frames)) == VIDEOS[partition]
    for example, video in zip(frames, videos, strict=True):
        assert (example.video_id, example.labels.tolist()) == (video.video_id, video.labels.tolist())
        np.testing.assert_allclose(example.features.mean(axis=0), video.mean_rgb, atol=1e-5)


def test_the_values_are_those_that_were_written() -> None:
    first = next(read_frames(str(DATASET), Partition.TRAIN))
    assert (first.video_id, first.labels.tolist(), first.features.shape) == ("YeI-K7pm4Er", [5, 7], (3, 16))
    assert first.features[0, :3].tolist() == [1.199862003326416, -1.1402902603149414, -1.7713642120361328]
    assert (open_pca(str(DATASET)).components, open_dataset(str(DATASET)).dimensions) == (16, 16)


def test_what_version_0_2_0_has_besides_is_read() -> None:
    """Offsets, by which one video is read alone; rejects in parts; a PCA with its epsilon; a feature set; an export."""
    folder = GOLDEN / "0.2.0"
    dataset = open_dataset(str(folder / "dataset"))
    assert {part: (len(dataset.frames(part)), len(dataset.ids(part))) for part in Partition} == {
        part: (videos, videos) for part, (videos, _) in VIDEOS.items()
    }
    example = dataset["YeI-K7pm4Er"]
    assert example.features[0, :3].tolist() == [1.2010204792022705, -1.1403112411499023, -1.7715167999267578]
    assert (dataset.pca.components, sum(table.num_rows for table in dataset.rejects())) == (16, 82)
    features = open_features(str(folder / "features"))
    first = next(iter(features.videos("train")))
    assert (first.video_id, first.labels.tolist()) == ("YeI-K7pm4Er", [5, 7])
    assert first.features[:2].tolist() == [0.5497854351997375, -0.4297512173652649]
    assert features.pca.fingerprint == "1b34a11a9bc583e3354c98a425aca136b2f8007db62a39da38c22fb63a91415a"
    assert verify_features(str(folder / "features")) == verify_export(str(folder / "export")) == []


def test_its_manifest_is_written_as_it_was(tmp_path: Path) -> None:
    """But for the number of the format, and what is counted since: overload, which it has nothing of."""
    write_manifest(Layout(str(tmp_path)), Manifest.of(Layout(str(DATASET))).to_json())
    written = (tmp_path / "manifest.json").read_text()
    written = written.replace('"format": 4', '"format": 3')
    assert re.sub(r'\n *"overload(ed|_error)": 0(\.0)?,', "", written) == (DATASET / "manifest.json").read_text()


def test_its_vocabulary_is_read() -> None:
    lines = (DATASET / "vocabulary.csv").read_text().splitlines()[1:]
    vocabulary = open_dataset(str(DATASET)).vocabulary
    assert [f"{entity.index},{entity.entity_id},{entity.name}" for entity in vocabulary] == [
        re.sub(r"^(\d+),\d+,([^,]*,[^,]*),.*", r"\1,\2", line) for line in lines
    ]


# Damage ---------------------------------------------------------------------------------------------------------------


def places(values: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in parsed JSON, but for the whole."""
    items = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for step, item in items:
        yield (*path, step)
        yield from places(item, (*path, step))


@pytest.mark.parametrize("name", ["", ".", "..", "../../x", "/x", "x/../../y"])
def test_no_name_in_a_manifest_leads_elsewhere(name: str, tmp_path: Path) -> None:
    values = json.loads((DATASET / "manifest.json").read_bytes())
    named = [place for place in places(values) if place[-1] == "path" or place == ("feature_space", "fingerprint")]
    assert len(named) > 10
    for *parents, last in named:
        damaged = json.loads(json.dumps(values))
        reduce(getitem, parents, damaged)[last] = name
        (tmp_path / "manifest.json").write_text(json.dumps(damaged))
        with pytest.raises(DataError):
            Manifest.of(Layout(str(tmp_path)))


NUMBERS = [-1, 2**70, 0.5, float("nan"), float("inf")]
TEXTS = ["", "..", "../../x", "/x", "\0", "é" * 300]
ODDITIES: list[Any] = [None, True, [], {}, [[]], *NUMBERS, *TEXTS]
"""What a value is replaced by."""


def mutated(values: Any, chance: random.Random) -> bytes:
    """The manifest with one to three of its values removed, replaced or doubled, and sometimes its text cut."""
    values = json.loads(json.dumps(values))
    for _ in range(chance.randint(1, 3)):
        *parents, last = chance.choice(list(places(values)))
        holder = values
        for step in parents:
            holder = holder[step]
        act = chance.choice(["remove", "replace", "double"])
        if act == "remove":
            del holder[last]
        elif act == "replace" or isinstance(holder, dict):
            holder[last] = chance.choice(ODDITIES)
        else:
            holder.append(holder[last])
    text = json.dumps(values).encode()
    return text if chance.random() < 0.9 else text[: chance.randrange(len(text))]


def use(folder: str) -> None:
    """Everything that is done with a manifest."""
    manifest = Manifest.of(Layout(folder))
    assert manifest.files
    assert all(step.to_json() for step in manifest.steps())
    assert json.dumps(manifest.to_json())
    open_dataset(folder).shards("frame", Partition.TRAIN)
    open_pca(folder)


@pytest.mark.parametrize("seed", range(20))
def test_damage_in_a_manifest_is_told_in_four_parts(seed: int, tmp_path: Path) -> None:
    """2,000 mutations: each is harmless or told, and none ends otherwise."""
    folder = tmp_path / "dataset"
    shutil.copytree(DATASET, folder)
    chance, values, told = random.Random(seed), json.loads((DATASET / "manifest.json").read_bytes()), 0
    for number in range(100):
        (folder / "manifest.json").write_bytes(mutated(values, chance))
        try:
            use(str(folder))
            verify(str(folder)) if number % 10 == 0 else None
        except PipelineError as error:
            assert all((error.what, error.where, error.why, error.fix))
            told += 1
    assert told > 20
