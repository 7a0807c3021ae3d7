"""What a build decides by itself: the components and the shards that the data bear, and whether there are enough."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.command_line import run
from tests.conftest import Workshop, published_bytes
from yt8m_pipeline.accounting.reasons import Stage
from yt8m_pipeline.compression.pca import components_for
from yt8m_pipeline.config import Config, Decoding, load
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset import shards
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import Manifest, PartitionSummary
from yt8m_pipeline.dataset.shards import SHARD_BYTES, shards_for
from yt8m_pipeline.dataset.verify import verify
from yt8m_pipeline.errors import DataError, UsageError
from yt8m_pipeline.jobs.build import build, rebuild_split
from yt8m_pipeline.jobs.sufficiency import check_selected_frames, most_frames

AUTO: dict[str, Any] = {
    "pca__components": "auto",
    "shards": {"train": "auto", "validate": "auto", "test": "auto"},
}
Builds: TypeAlias = Callable[..., Manifest]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the builds are, each in a folder of its name."""
    return tmp_path_factory.mktemp("auto")


@pytest.fixture(scope="module")
def builds(workshop: Workshop, built: Path, folder: Path) -> Builds:
    """Builds a dataset with some fields changed, in a folder of this name, from features that are stored already."""

    def build_one(name: str, **changes: object) -> Manifest:
        build(load(workshop.config(folder / name, stored=built, **changes)))
        return Manifest.of(Layout(str(folder / name / "dataset")))

    return build_one


@pytest.fixture(scope="module")
def decided(builds: Builds) -> Manifest:
    """The dataset `decided`, of the components and shards that the build chose."""
    return builds("decided", **AUTO)


class TestComponents:
    @given(st.integers(10, 10**9))
    def test_train_frames_bear_them_ten_fold_and_not_twice_as_many(self, frames: int) -> None:
        number = components_for(frames)
        assert number.bit_count() == 1
        assert 10 * number <= frames
        assert number == 1024 or 20 * number > frames

    def test_the_dataset_is_that_of_the_same_numbers_written_out(
        self, builds: Builds, decided: Manifest, folder: Path
    ) -> None:
        number = components_for(decided.partition(Partition.TRAIN).frames)
        assert decided.pca.facts.components == number < 16
        written: dict[str, Any] = {"pca__components": number, "shards": {"train": 1, "validate": 1, "test": 1}}
        assert builds("numbers", **written).pca == decided.pca
        files = [published_bytes(folder / name / "dataset") for name in ("decided", "numbers")]
        differing = {path for path in files[0] | files[1] if files[0].get(path) != files[1].get(path)}
        assert differing == {"manifest.json", "COMPLETE", "README.md", "croissant.json"}

    def test_an_imported_pca_keeps_all_that_it_has(self, builds: Builds, built: Path) -> None:
        assert builds("imported", **AUTO, pca__source=str(built / "dataset" / "pca")).pca.facts.components == 16

    @pytest.mark.usefixtures("decided")
    def test_a_rebuilt_split_keeps_the_number(self, folder: Path) -> None:
        before = published_bytes(folder / "decided" / "dataset")
        rebuild_split(load(folder / "decided" / "config.yaml"), Partition.TRAIN)
        assert published_bytes(folder / "decided" / "dataset") == before


class TestShards:
    @given(st.integers(0, 10**6), st.integers(1, 360), st.sampled_from([1, 64, 1024]))
    def test_they_have_half_to_all_of_the_size_and_are_no_more_than_videos(
        self, videos: int, frames: int, components: int
    ) -> None:
        number = shards_for(PartitionSummary(videos=videos, frames=videos * frames), components)
        assert 1 <= number <= max(videos, 1)
        size = videos * (frames + 4) * components / number
        assert size <= SHARD_BYTES
        assert number == 1 or size > SHARD_BYTES / 2

    def test_no_partition_has_more_shards_than_videos(self) -> None:
        assert shards_for(PartitionSummary(videos=2, frames=10**7), 1024) == 2

    def test_a_build_divides_its_partitions_by_their_size(
        self, builds: Builds, monkeypatch: pytest.MonkeyPatch, folder: Path
    ) -> None:
        monkeypatch.setattr(shards, "SHARD_BYTES", 100)
        manifest = builds("divided", **AUTO)
        numbers = {part: shards_for(manifest.partition(part), manifest.pca.facts.components) for part in Partition}
        steps = manifest.shard_steps()
        assert {part: sum(step.facts.partition == part for step in steps) for part in Partition} == numbers
        assert numbers[Partition.TRAIN] > 1
        assert verify(str(folder / "divided" / "dataset")) == []


def config(**fields: object) -> Config:
    return Config.model_validate({"inception": {"model": {"random": 0}}, **fields})


class TestBeforeAnyVideoIsOpened:
    LAYOUT = Layout("dataset")

    @given(st.floats(0.01, 500), st.sampled_from([0.5, 1.0, 29.97]), st.sampled_from([2.5, 360.0]))
    def test_no_video_has_more_frames_than_its_duration_allows(
        self, seconds: float, rate: float, longest: float
    ) -> None:
        decoding = Decoding(frames_per_second=rate, max_seconds=longest)
        grid = np.arange(20_000) / rate
        frames = int((grid < min(seconds, longest) - 1e-9).sum())
        most = most_frames(seconds, decoding)
        assert frames <= most <= min(frames + 2, most_frames(None, decoding))

    def test_as_many_frames_as_are_needed_pass_and_one_less_is_refused(self) -> None:
        check_selected_frames({"train": 257}, config(pca={"components": 256}), self.LAYOUT)
        with pytest.raises(DataError, match="The train partition is too small for the PCA") as caught:
            check_selected_frames({"train": 256, "test": 999}, config(pca={"components": 256}), self.LAYOUT)
        assert caught.value.where == "dataset"
        assert caught.value.why == (
            "by their durations the selected train videos have 256 frames at most, which cannot fit 256 components, "
            "at least 257 are needed"
        )
        assert "pca.components to auto" in caught.value.fix

    def test_decided_and_imported_components_need_hardly_any(self) -> None:
        check_selected_frames({"train": 2}, config(pca={"components": "auto"}), self.LAYOUT)
        check_selected_frames({"train": 1}, config(pca={"source": "elsewhere"}), self.LAYOUT)

    def test_where_nothing_is_selected_another_check_says_why(self) -> None:
        check_selected_frames({}, config(), self.LAYOUT)

    def test_a_build_is_refused_and_has_extracted_nothing(self, workshop: Workshop, tmp_path: Path) -> None:
        path = workshop.config(tmp_path, pca__components=256)
        with pytest.raises(DataError, match="by their durations the selected train videos have"):
            build(load(path))
        assert not list((tmp_path / "features").rglob("*.npz"))
        stages = {file.name.rpartition("-part")[0] or file.name for file in (tmp_path / "dataset/rejects").iterdir()}
        assert stages
        assert not any(name.startswith((Stage.DECODE, Stage.RECOUNT)) for name in stages)


@pytest.mark.parametrize("value", ["0", "many", "-1", "Auto"])
@pytest.mark.parametrize("field", ["pca.components", "shards.train", "shards.validate", "shards.test"])
def test_anything_but_auto_or_a_positive_number_is_one_problem_of_the_field(
    workshop: Workshop, tmp_path: Path, field: str, value: str
) -> None:
    with pytest.raises(UsageError, match="The config has 1 problem\n") as caught:
        load(workshop.config(tmp_path), [f"{field}={value}"])
    assert re.fullmatch(
        rf"{field}: Input should be (a valid integer|greater than|of type int).*, or auto", caught.value.why
    )


def test_the_closing_table_states_what_was_decided(built: Path) -> None:
    done = run("build", str(built / "config.yaml"), "--json")
    facts = json.loads(done.stdout)
    assert facts["pca_components"] == 16
    assert {row["partition"]: row["shards"] for row in facts["partitions"]} == {"train": 4, "validate": 2, "test": 2}
