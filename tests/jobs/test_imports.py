"""A build with the PCA and the codebook of another dataset: its codes mean what the other's mean."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.command_line import four_parts, run
from tests.conftest import Workshop, published_bytes
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.config import load
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.reader import read_frames
from yt8m_pipeline.dataset.verify import verify
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.jobs.build_plan import plan_build
from yt8m_pipeline.jobs.export_plan import plan_export

FEWER = {
    "video_sampling__sample_size": 9,
    "video_sampling__popular_videos_above": 0,
    "video_sampling__min_videos_per_entity": 1,
    "partitioning__salt": "third",
    "pca": {},
}
"""Fewer videos than the finished build has, with no partition empty and other train videos."""


def manifest_of(folder: Path) -> Any:
    return json.loads((folder / "dataset" / "manifest.json").read_text())


@pytest.fixture(scope="module")
def alike(workshop: Workshop, built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of few videos like the finished, larger one."""
    folder = tmp_path_factory.mktemp("alike")
    config = workshop.config(folder, stored=built, like=str(built / "dataset"), **FEWER)
    finished = run("build", str(config))
    assert finished.returncode == 0, finished.stderr
    return folder


class TestLike:
    def test_each_video_has_the_codes_that_it_has_in_the_other_dataset(self, alike: Path, built: Path) -> None:
        there = {item.video_id: item for part in Partition for item in read_frames(str(built / "dataset"), part)}
        found = [item for part in Partition for item in read_frames(str(alike / "dataset"), part)]
        common = [item for item in found if item.video_id in there]
        assert common
        for item in common:
            np.testing.assert_array_equal(item.features, there[item.video_id].features)

    def test_the_files_are_those_of_the_other_dataset(self, alike: Path, built: Path) -> None:
        def is_fitted(name: str) -> bool:
            return name.startswith("pca/") or name == "quantizer.npz"

        assert published_bytes(alike / "dataset", is_fitted) == published_bytes(built / "dataset", is_fitted)

    def test_the_manifest_says_where_they_come_from_and_names_no_path(self, alike: Path, built: Path) -> None:
        manifest, other = manifest_of(alike), manifest_of(built)
        assert manifest["pca"]["source"] == manifest["quantizer"]["source"] == "imported"
        assert manifest["quantizer"]["feature_space"] == other["feature_space"]["fingerprint"]
        assert manifest["quantizer"]["pca"] == manifest["pca"]["fingerprint"] == other["pca"]["fingerprint"]
        assert manifest["quantizer"]["fingerprint"] == other["quantizer"]["fingerprint"]
        assert [file["file"] for file in manifest["inputs"]["quantizer"]] == ["quantizer.npz"]
        assert str(built) not in json.dumps(manifest)
        assert not any("imported" in text for text in manifest["warnings"])
        assert any("a label index means what vocabulary.csv here says" in text for text in manifest["warnings"])

    def test_it_is_sound_and_done_and_each_split_is_rebuilt_to_the_same_bytes(
        self, alike: Path, tmp_path: Path
    ) -> None:
        assert verify(str(alike / "dataset")) == []
        assert run("verify", str(alike / "dataset"), "--deep", "--store", str(alike / "features")).returncode == 0
        assert run("build", str(alike / "config.yaml")).stdout.startswith("Nothing to do")
        shutil.copytree(alike / "dataset", tmp_path / "dataset")
        again = run("rebuild-split", "test", str(alike / "config.yaml"), "--output", str(tmp_path / "dataset"))
        assert again.returncode == 0, again.stderr
        assert published_bytes(tmp_path / "dataset") == published_bytes(alike / "dataset")

    def test_the_two_sources_are_the_same_dataset_wherever_it_lies(
        self, alike: Path, built: Path, tmp_path: Path
    ) -> None:
        shutil.copytree(built / "dataset", tmp_path / "moved")
        shutil.copytree(alike / "dataset", tmp_path / "dataset")
        settings = [f"output={tmp_path}/dataset", "like=null", f"pca.source={tmp_path}/moved/pca"]
        epsilon = manifest_of(built)["pca"]["epsilon"]
        settings += ["pca.components=16", f"pca.epsilon={epsilon!r}", f"quantizer.source={tmp_path}/moved"]
        done = run("build", str(alike / "config.yaml"), *[word for text in settings for word in ("--set", text)])
        assert done.stdout.startswith("Nothing to do"), done.stderr

    def test_its_uniform_export_is_that_of_a_build_with_the_same_pca(
        self, alike: Path, built: Path, tmp_path: Path
    ) -> None:
        epsilon = manifest_of(built)["pca"]["epsilon"]
        settings = ["like=null", f"pca.source={built}/dataset/pca", "pca.components=16", f"pca.epsilon={epsilon!r}"]
        config = load(alike / "config.yaml", [*settings, "quantizer.method=uniform", f"output={tmp_path}/build"])
        export = plan_export(str(alike / "dataset"), str(tmp_path / "export"), str(alike / "features"))
        assert export.key == plan_build(config).key
        assert "quantizer" not in export.for_manifest["inputs"]

    def test_its_path_is_relative_to_the_config(self, alike: Path, tmp_path: Path) -> None:
        values = yaml.safe_load((alike / "config.yaml").read_text())
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(values | {"like": "other"}))
        assert load(tmp_path / "config.yaml").like == str(tmp_path / "other")

    @pytest.mark.parametrize("section", ["pca: {components: 16}", "quantizer: {levels: 16}"])
    def test_what_it_takes_is_given_once(self, alike: Path, section: str) -> None:
        name = section.partition(":")[0]
        with pytest.raises(UsageError, match=rf"like takes the PCA and the codebook of .*: leave out {name}"):
            load(alike / "config.yaml", [section.replace(": {", "={", 1)])

    @pytest.mark.parametrize("damage", ["COMPLETE", "manifest.json"])
    def test_a_dataset_that_is_not_finished_is_refused(
        self, alike: Path, built: Path, tmp_path: Path, damage: str
    ) -> None:
        shutil.copytree(built / "dataset", tmp_path / "other")
        (tmp_path / "other" / damage).unlink()
        settings = ("--set", f"like={tmp_path}/other", "--output", str(tmp_path / "new"))
        assert four_parts(run("build", str(alike / "config.yaml"), *settings))[1] == f"{tmp_path}/other"
        assert not (tmp_path / "new").exists()


@pytest.fixture
def settings(alike: Path, built: Path, tmp_path: Path) -> list[str]:
    """The arguments of a build with the PCA of the finished dataset in another folder, and a codebook to come."""
    given = ["like=null", f"pca.source={built}/dataset/pca", "pca.components=16", f"output={tmp_path}/new"]
    return ["build", str(alike / "config.yaml"), *[word for text in given for word in ("--set", text)]]


class TestQuantizerSource:
    def test_a_codebook_alone_is_taken_with_a_warning(self, settings: list[str], built: Path, tmp_path: Path) -> None:
        shutil.copy(built / "dataset" / "quantizer.npz", tmp_path / "codebook.npz")
        done = run(*settings, "--set", f"quantizer.source={tmp_path}/codebook.npz")
        assert done.returncode == 0, done.stderr
        manifest = json.loads((tmp_path / "new" / "manifest.json").read_text())
        assert any("codebook does not say what it was learnt on" in text for text in manifest["warnings"])
        assert manifest["quantizer"]["pca"] is manifest["quantizer"]["feature_space"] is None

    def test_a_uniform_codebook_needs_no_pca_of_its_own(self, settings: list[str], tmp_path: Path) -> None:
        Quantizer.uniform().save(str(tmp_path / "codebook.npz"))
        done = run(*settings, "--set", f"quantizer.source={tmp_path}/codebook.npz")
        assert done.returncode == 0, done.stderr
        manifest = json.loads((tmp_path / "new" / "manifest.json").read_text())
        assert manifest["config"]["quantizer"] == {"method": "uniform", "levels": 256, "scope": "shared"}
        assert not any("codebook" in text for text in manifest["warnings"])

    @pytest.mark.parametrize(
        ("more", "why"),
        [
            ("pca.source=fit", r"learnt on the coefficients of the PCA with fingerprint \w+; here one is fitted"),
            ("pca.components=8", r"learnt on the coefficients of the PCA with fingerprint \w+; here it is \w+"),
            ("quantizer.levels=16", "levels is 256, the config says 16"),
            ("quantizer.method=uniform", "method is optimal, the config says uniform"),
            ("quantizer.source=/nowhere", "/nowhere/quantizer.npz"),
        ],
    )
    def test_one_that_does_not_fit_is_refused_before_a_video_is_opened(
        self, settings: list[str], built: Path, tmp_path: Path, more: str, why: str
    ) -> None:
        refused = run(*settings, "--set", f"quantizer.source={built}/dataset", "--set", more)
        what, _, found, _ = four_parts(refused)
        assert what == "The codebook to import cannot be used"
        assert re.search(why, found)
        assert not (tmp_path / "new").exists()

    def test_one_of_other_features_is_refused(self, settings: list[str], built: Path, tmp_path: Path) -> None:
        shutil.copytree(built / "dataset" / "pca", tmp_path / "pca")
        more = [f"quantizer.source={built}/dataset", f"pca.source={tmp_path}/pca", "inception.dtype=float32"]
        what, _, why, _ = four_parts(run(*settings, *[word for text in more for word in ("--set", text)]))
        assert what == "The codebook to import is of another feature space"
        assert "dtype: float16 there, float32 here" in why

    def test_one_for_each_dimension_has_as_many_as_the_pca(self, settings: list[str], tmp_path: Path) -> None:
        levels = np.arange(8, dtype=np.float32).reshape(2, 4)
        Quantizer(levels, "optimal").save(str(tmp_path / "codebook.npz"))
        refused = four_parts(run(*settings, "--set", f"quantizer.source={tmp_path}/codebook.npz"))
        assert refused[2] == "it has levels for 2 dimensions, the PCA gives 16"
