"""Configs: the paper's numbers by default, every problem at once, paths where the user means them."""

import errno
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from yt8m_pipeline.config import Config, Partitioning, absolute_path, as_dict, as_yaml, features_recipe, load, recipe
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.extraction.inception import describe
from yt8m_pipeline.jobs.build_plan import build_key
from yt8m_pipeline.store.feature_store import feature_space

CONFIGS = Path(__file__).parent.parent / "configs"
MINIMAL = {
    "vocabulary": {"type_whitelist": ["sport"], "type_blacklist": ["album"]},
    "inception": {"model": {"random": 1}},
}


def written(folder: Path, values: Any) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.parametrize("name", ["paper", "small", "smoke", "starter_code", "dataflow"])
def test_the_shipped_configs_load(name: str) -> None:
    path = CONFIGS / f"{name}.yaml"
    given, loaded = yaml.safe_load(path.read_text()), as_dict(load(path))
    for section in given.keys() - {"tables", "store", "output"}:
        assert includes(loaded[section], given[section])
    assert loaded["output"] == absolute_path(given["output"], path.parent)


def includes(whole: Any, part: Any) -> bool:
    """Whether a tree has all the leaves of another."""
    if not isinstance(part, dict):
        return bool(whole == part)
    return isinstance(whole, dict) and all(name in whole and includes(whole[name], part[name]) for name in part)


def test_the_defaults_are_the_numbers_of_the_paper() -> None:
    config = Config.model_validate(MINIMAL)
    assert (config.rater_scores.min_raters, config.rater_scores.max_mean_score) == (3, 2.5)
    sampling = config.video_sampling
    assert (sampling.min_views, sampling.min_duration_seconds, sampling.max_duration_seconds) == (1000, 120, 500)
    assert (sampling.popular_videos_above, sampling.sample_size, sampling.min_videos_per_entity) == (None, 10**7, 200)
    assert (config.partitioning.train, config.partitioning.validate_, config.partitioning.test) == (0.7, 0.2, 0.1)
    assert (config.decoding.frames_per_second, config.decoding.max_seconds) == (1, 360)
    assert (config.pca.components, config.quantizer.levels, config.inception.image_size) == (1024, 256, 299)


def test_paper_yaml_writes_out_the_defaults() -> None:
    paper, default = as_dict(load(CONFIGS / "paper.yaml")), as_dict(Config.model_validate(MINIMAL))
    for section in ("rater_scores", "video_sampling", "partitioning", "decoding", "pca", "quantizer", "shards"):
        assert paper[section] == default[section]


def test_five_mistakes_are_reported_at_once_with_their_fields(tmp_path: Path) -> None:
    values = {
        **MINIMAL,
        "rater_scores": {"max_mean_score": 7},
        "video_sampling": {"min_views": -1, "sampel_size": 3},
        "partitioning": {"train": 0.9},
        "pca": {"components": "many"},
    }
    with pytest.raises(UsageError, match="The config has 5 problems") as caught:
        load(written(tmp_path, values))
    for field in ("rater_scores", "video_sampling.min_views", "video_sampling.sampel_size", "partitioning", "pca"):
        assert field in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("a: [1", "cannot be read as YAML"),
        ("pca: {components: 3}\ntables: {}\npca: {}", "cannot be read as YAML.*'pca' stands twice"),
        ("pca: {components: 3, components: 4}", "cannot be read as YAML.*'components' stands twice"),
        ("pcaa: {components: 3}", "pcaa: there is no such field; is pca meant[?]"),
        (
            "labels: {min_score: 3}",
            "labels.min_score: there is no such field; is rater_scores.min_score or video_sampling.min_score meant[?]",
        ),
        ("pca: {component: 3}", "pca.component: there is no such field; is components meant[?]"),
        ("xyzzy: 3", "xyzzy: there is no such field$"),
        ("table_buckets: 3", "table_buckets: this field is divided now; give parallelism.join_buckets, para.*accumul"),
        ("- 1", "not a mapping"),
        ("", "not a mapping"),
        ("vocabulary: {type_whitelist: [a], type_blacklist: [a]}", "both whitelisted and blacklisted: a"),
        ("tables: {keep_columns: [title, frames]}", "leave frames out, or give it another name in your table"),
        ("tables: {keep_columns: [title, title]}", "leave title out, or give it another name in your table"),
        ("video_sampling: {min_duration_seconds: .nan}", "video_sampling.min_duration_seconds"),
        ("video_sampling: {min_duration_seconds: 501}", "min_duration_seconds must not be above max_duration_seconds"),
        ("quantizer: {method: uniform, levels: 16}", "exactly 256 levels"),
        ("quantizer: {method: uniform, scope: per_dimension}", "shared by all dimensions"),
        ("inception: {model: {magic: 1}}", "inception.model: give exactly one of graph, keras, random, "),
        ("inception: {model: {keras: a, graph: b}}", "inception.model: give exactly one of graph, keras, random, "),
        ("inception: {model: 3}", "inception.model: give exactly one of graph, keras, random, "),
        ("inception: {model: {keras: a, architecture: AlexNet}}", "inception.model.keras.architecture"),
        ("inception: {model: {keras: imagenet, architecture: VGG16}}", "imagenet means the weights of InceptionV3"),
        ("inception: {model: {graph: a, sha256: 12}}", "inception.model.graph.sha256"),
        ("inception: {model: {random: 1, sha256: null}}", "inception.model.random.sha256"),
    ],
)
def test_a_wrong_config_says_what_is_wrong(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=f"(?sm){match}"):
        load(path)


def test_a_missing_config_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        load(tmp_path / "none.yaml")


def test_a_config_that_may_not_be_read_is_not_called_faulty(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path, *_: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(UsageError) as refused:
        load(Path("small.yaml"))
    assert (refused.value.what, refused.value.why) == ("The config file cannot be read", "Permission denied")


def test_paths_are_relative_to_the_file_and_settings_to_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, {**MINIMAL, "tables": {"root": "corpus"}, "store": "gs://bucket/features"})
    monkeypatch.chdir("/")
    config = load(path, ["output=here/dataset"])
    assert config.tables.root == str(tmp_path / "corpus")
    assert config.store == "gs://bucket/features"
    assert config.output == "/here/dataset"
    assert load(path).output == str(tmp_path / "dataset")


def test_a_path_inside_a_whole_section_is_relative_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    config = load(written(tmp_path, MINIMAL), ["inception.model={saved_model: here/model}"])
    assert as_dict(config)["inception"]["model"]["saved_model"] == "/here/model"


@pytest.mark.parametrize("value", ["fit", "gs://bucket/pca"])
def test_a_name_and_a_uri_in_the_place_of_a_path_stay(tmp_path: Path, value: str) -> None:
    assert load(written(tmp_path, {**MINIMAL, "pca": {"source": value}})).pca.source == value


def test_a_setting_overrides_one_field(tmp_path: Path) -> None:
    config = load(written(tmp_path, MINIMAL), ["pca.components=16", "inception.model={random: 9}"])
    assert config.pca.components == 16
    assert as_dict(config)["inception"]["model"] == {"random": 9}


@pytest.mark.parametrize(
    ("setting", "what"),
    [
        ("pca.components", "A setting is not key=value"),
        ("=3", "A setting is not key=value"),
        ("pca.components.deep=1", "A setting names no section"),
        ("pca.components=[1", "A setting cannot be read as YAML"),
    ],
)
def test_a_malformed_setting_is_a_usage_error(tmp_path: Path, setting: str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        load(written(tmp_path, {**MINIMAL, "pca": {"components": 4}}), [setting])


@pytest.mark.parametrize("path", ["~no_such_user/x", "/tmp/\0"], ids=["of nobody", "with a null character"])
def test_what_cannot_be_a_path_is_a_usage_error(tmp_path: Path, path: str) -> None:
    with pytest.raises(UsageError, match="This is no path"):
        load(written(tmp_path, {**MINIMAL, "store": path}))
    with pytest.raises(UsageError, match="This is no path"):
        load(written(tmp_path, MINIMAL), [f"output={json.dumps(path)}"])


def test_keys_that_are_merged_again_and_again_are_a_usage_error(tmp_path: Path) -> None:
    """Of 500 bytes these would be 40 million keys."""
    levels = [f"x{n}: &x{n} {{<<: [{', '.join([f'*x{n - 1}'] * 9)}]}}" for n in range(1, 9)]
    (tmp_path / "config.yaml").write_text("\n".join(["x0: &x0 {a: 1}", *levels]))
    with pytest.raises(UsageError, match="more than 1,000 keys are merged"):
        load(tmp_path / "config.yaml")


def test_a_merged_key_may_be_overridden(tmp_path: Path) -> None:
    text = yaml.safe_dump({name: value for name, value in MINIMAL.items() if name != "pca"})
    (tmp_path / "config.yaml").write_text(text + "shards: &s {train: 3}\npca: {components: 4}\n")
    assert load(tmp_path / "config.yaml", ["shards={<<: [{train: 9, test: 5}], train: 2}"]).shards.train == 2


HOSTILE = {
    "levels in brackets": "[" * 20_000 + "]" * 20_000,
    "levels in braces": "{a: " * 20_000 + "}" * 20_000,
    "levels by dashes": "- " * 20_000 + "a",
    "levels by indents": "\n".join(" " * level + "a:" for level in range(1000)),
    "digits": "1" * 10_000,
    "digits in base 16": "0x" + "f" * 10_000,
    "digits in base 60": "1" + ":59" * 5_000,
    "a number of 65 bits": str(2**64),
    "an impossible date": "2026-99-99",
    "digits of a fraction": "1" * 10_000 + ".5e99999",
    "a tag": "!!python/object/apply:os.system [true]",
    "a section that holds itself": "&a {x: *a}",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_yaml_is_a_usage_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    for written_text in (text, f"store:\n {text}".replace("\n", "\n "), f"max_failure_fraction: {text}"):
        path.write_text(written_text)
        with pytest.raises(UsageError) as refused:
            load(path)
        assert len(str(refused.value)) < 2_000
    with pytest.raises(UsageError):
        load(written(tmp_path, MINIMAL), [f"max_failure_fraction={text}"])


def test_a_config_without_end_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="it has more than 1,048,576 bytes"):
        load("/dev/zero")


def test_the_resolved_config_reads_back_the_same(tmp_path: Path) -> None:
    config = load(CONFIGS / "smoke.yaml")
    path = tmp_path / "again.yaml"
    path.write_text(as_yaml(config))
    assert load(path) == config


def test_the_schema_cites_the_paper() -> None:
    schema = json.dumps(Config.model_json_schema(), ensure_ascii=False)
    for text in ("§3.1", "§3.2", "§3.3", "popular_videos_above"):
        assert text in schema


RECIPES = {
    "paper": "bc0da77e655f412839f5d93b8ec447905eac9bcee57e8ace1daa1f3afdb8af35",
    "small": "c5d737b8777144326253f9980e9e6bf02852526ea8eb397d8c09963cb4c8726a",
    "smoke": "b3e0bccf61cc254b2e39c4f9575f3e003638f99886cfd6f937cc726ca770d091",
    "starter_code": "0bdd78d5e4271d2563910dffea917bdfd58681b6b032fb9aa930668394cc3c23",
    "dataflow": "c681faea100b4cbb528211c5d99edcdf3a8b0cad1969155bb66c9c2e0314163d",
}
"""The keys that builds of the shipped configs had in version 0.1.0, but for the fields whose defaults are new since.

That of `small` is newer: it asks for no ratings or types any more, keeps every label, and lets sizes be decided."""
OLD_THRESHOLDS = {"small": 4, "smoke": 2}


@pytest.mark.parametrize("name", RECIPES)
def test_the_keys_of_builds_and_of_feature_spaces_stay(name: str) -> None:
    """A key that changes by accident makes finished datasets and stored features useless."""
    old = f"video_sampling.popular_videos_above={OLD_THRESHOLDS.get(name, 200)}"
    config = load(CONFIGS / f"{name}.yaml", ["inception.model={random: 8}", old, "pca.epsilon=0.0001"])
    values = recipe(config)
    assert (values["video_sampling"].pop("min_score"), values["decoding"].pop("max_streams")) == (None, 64)
    assert (values["tables"].pop("uri_schemes"), values["tables"].pop("allow_outside_root")) == (["gs"], True)
    assert values["tables"].pop("encoding") == "auto"
    assert values["video_sampling"].pop("durations") == "table"
    assert (values["tables"].pop("keep_columns"), values.pop("duplicates")) == ([], "group")
    assert values.pop("labels") == {"test": "withheld"}
    assert set(values.pop("card").values()) == {None}
    for field in ("by", "column", "values", "without", "divided_groups"):
        assert values["partitioning"].pop(field) == Partitioning().model_dump(mode="json")[field]
    assert build_key("1", values, {}, "space") == RECIPES[name]
    space = {**describe(config.inception), **features_recipe(config.decoding)}
    space |= {"decoder": "av 18", "resize": "decoder, area, 299x299"}
    assert feature_space(space) == "9c91a1bd9f6e649b"


def test_a_recipe_holds_no_place_and_nothing_that_changes_no_byte() -> None:
    config = load(CONFIGS / "paper.yaml")
    values = recipe(config)
    assert values.keys() == as_dict(config).keys() - {"like", "store", "output", "parallelism"}
    assert "root" not in values["tables"]
    assert "source" not in values["pca"]
    assert "source" not in values["quantizer"]
    assert "model" not in values["inception"]


def test_the_schema_says_what_each_field_changes() -> None:
    definitions = Config.model_json_schema()["$defs"]
    found = {
        field: definitions[section]["properties"][field]["changes"]
        for section, field in (("Parallelism", "join_buckets"), ("Decoding", "sampling"), ("Partitioning", "validate"))
    }
    assert found == {"join_buckets": "nothing", "sampling": "features", "validate": "bytes"}
    assert definitions["KerasModel"]["properties"]["keras"]["changes"] == "features"
