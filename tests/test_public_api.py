"""What is public: its names and signatures, which only a deliberate change may move."""

import inspect
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import apache_beam.io.gcp.internal.clients.bigquery  # noqa: F401  it says once that optional clients are missing
import pytest

import yt8m_pipeline
from tests.conftest import Workshop
from yt8m_pipeline import Progress, build, export, features, load_config, open_dataset, rebuild_split
from yt8m_pipeline.jobs.trainer_export import export_for_trainers

SIGNATURES = {
    "build": "(config, beam_arguments=(), *, retry=None, refresh=False, on_progress=None)",
    "collect_garbage": "(store, keep=(), *, drop_spaces=(), delete=False, on_progress=None)",
    "export": "(dataset, output, store=None, beam_arguments=(), *, on_progress=None)",
    "extract": (
        "(sources, like, output, *, model=None, store=None, annotations=None, form='records', raw=False, shards=1, "
        "settings=(), beam_arguments=(), retry=None, refresh=False, on_progress=None)"
    ),
    "features": (
        "(dataset, output, store=None, beam_arguments=(), *, space=None, blocks=None, top=None, components=None, "
        "like=None, model=None, on_progress=None)"
    ),
    "load_config": "(path, settings=())",
    "open_dataset": "(dataset)",
    "open_features": "(folder)",
    "predict": "(model_dir, dataset, output, *, features=None, partition='validate', top=None, on_progress=None)",
    "probe": "(uris, decoding=None, *, frames=False, workers=None)",
    "read_frames": "(dataset, partition, *, max_frames=None)",
    "read_videos": "(dataset, partition)",
    "rebuild_split": "(config, partition, beam_arguments=(), *, on_progress=None)",
    "train": ("(model, dataset, output, *, features=None, settings=(), small=False, init_from=None, on_progress=None)"),
}
CLASSES = {
    "BuildResult": {"dataset", "elapsed_seconds", "is_new", "plan", "stage_seconds"},
    "ExportResult": {"elapsed_seconds", "is_new", "plan"},
    "ExtractResult": {"dataset", "elapsed_seconds", "is_new", "plan"},
    "FeatureSet": {"classes", "dimensions", "layout", "pca", "shards", "told", "videos", "vocabulary"},
    "FeaturesResult": {"elapsed_seconds", "features", "is_new", "plan"},
    "FinishedDataset": {
        "classes", "count_classes", "dimensions", "frames", "ids", "index", "layout", "multi_hot", "pca", "quantizer",
        "rejects", "rows", "shard", "shards", "videos", "vocabulary"
    },
    "PipelineError": {"add_note", "args", "exit_code", "parts", "told", "with_traceback"},
    "Predicted": {"elapsed_seconds", "videos"},
    "Progress": {"announced", "count", "done", "frames", "index", "stage", "text"},
    "Trained": {"card", "elapsed_seconds", "is_new", "plan"},
}  # fmt: skip
OTHERS = {"Config", "DataError", "Partition", "UsageError", "__version__"}


def test_these_names_are_public() -> None:
    assert set(yt8m_pipeline.__all__) == set(dir(yt8m_pipeline)) == SIGNATURES.keys() | CLASSES.keys() | OTHERS
    with pytest.raises(AttributeError, match="no attribute 'films'"):
        _ = yt8m_pipeline.films


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_function_takes_these_arguments(name: str) -> None:
    signature = inspect.signature(getattr(yt8m_pipeline, name))
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    assert str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty)) == SIGNATURES[name]


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_has_these_attributes(name: str) -> None:
    found = getattr(yt8m_pipeline, name)
    names = {*dir(found), *getattr(found, "__dataclass_fields__", {})}
    assert {item for item in names if not item.startswith("_")} == CLASSES[name]


def test_importing_the_package_imports_no_heavy_library() -> None:
    """It costs less than 0.2 s: nothing but the standard library is loaded."""
    code = "import sys, yt8m_pipeline; assert not {'numpy', 'pyarrow', 'pydantic', 'apache_beam'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_door_of_builds_and_datasets_needs_numpy_alone() -> None:
    """It costs less than 0.2 s, of which NumPy takes most: pyarrow and protobuf come with the first file and record."""
    code = (
        "import sys; from yt8m_pipeline import build, open_dataset\n"
        "assert not {'pyarrow', 'google.protobuf', 'pydantic', 'zstandard', 'yaml'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


IMPORTS = """
import sys, yt8m_pipeline
for name in yt8m_pipeline.__all__:
    getattr(yt8m_pipeline, name)
    found = {'apache_beam', 'av', 'scipy', 'sklearn', 'tensorflow', 'google.cloud.storage'} & set(sys.modules)
    assert not found, (name, found)
"""


def test_importing_a_name_imports_nothing_that_it_needs_only_when_it_is_called() -> None:
    """The heavy libraries come with the work."""
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)


def assert_all_done(said: list[Progress], videos: Mapping[str, int]) -> None:
    """Each stage finished with as many videos as it had announced, which were so many."""
    for stage, number in videos.items():
        ours = [progress for progress in said if progress.stage == stage]
        assert sum(progress.announced for progress in ours) == sum(progress.done for progress in ours) == number


@pytest.mark.parametrize(
    ("job", "stages"),
    [
        (export, ("write",)),
        (partial(export_for_trainers, form="npy"), ("write",)),
        (partial(features, components=2), ("describe", "write")),
    ],
)
def test_every_way_out_of_a_dataset_finishes_what_it_announces(
    built: Path, tmp_path: Path, job: Callable[..., object], stages: tuple[str, ...]
) -> None:
    said: list[Progress] = []
    job(str(built / "dataset"), str(tmp_path / "out"), on_progress=said.append)
    assert_all_done(said, dict.fromkeys(stages, len(open_dataset(str(built / "dataset")))))


def test_a_dataset_is_built_and_read_in_a_few_lines(
    workshop: Workshop, built: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said: list[Progress] = []
    config = load_config(str(workshop.config(tmp_path, stored=built)))
    result = build(config, on_progress=said.append)
    assert not [record.getMessage() for record in caplog.records if record.name == "root"], (
        "Beam complains of our types"
    )
    dataset = open_dataset(result.plan.layout.root)
    ids = [video.video_id for part in ("train", "validate", "test") for video in dataset.frames(part)]
    assert len(dataset) == len(ids) == len(set(ids)) > 0
    example = next(iter(dataset.frames("train")))
    assert (dataset[example.video_id].features == example.features).all()
    assert dataset.pca.components == dataset.dimensions == example.features.shape[1]
    assert [entity.index for entity in dataset.vocabulary] == list(range(dataset.count_classes()))
    train = len(list(dataset.frames("train")))
    assert_all_done(said, {"pca": train, "quantizer": train, "write": len(dataset)})
    assert not build(config).is_new
    assert rebuild_split(config, "validate").is_new
    with pytest.raises(KeyError):
        _ = dataset["a video that is not there"]
