"""Build a YouTube-8M-style dataset from your own videos (Abu-El-Haija et al., 2016).

What stands in `__all__` is public and stays as it is; everything else may move. Names are imported when they are first
used, so that a program that only reads a dataset needs neither TensorFlow nor Beam:

    from yt8m_pipeline import build, load_config, open_dataset

    result = build(load_config("my.yaml"), on_progress=print)
    for video in open_dataset(result.plan.layout.root).frames("train"):
        print(video.video_id, video.labels, video.features.shape)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yt8m_pipeline.baselines.predicting import Predicted, predict
    from yt8m_pipeline.baselines.training import Trained, train
    from yt8m_pipeline.config import Config
    from yt8m_pipeline.config import load as load_config
    from yt8m_pipeline.data_model import Partition
    from yt8m_pipeline.dataset.reader import FinishedDataset, open_dataset, read_frames, read_videos
    from yt8m_pipeline.errors import DataError, PipelineError, UsageError
    from yt8m_pipeline.jobs.build import BuildResult, build, rebuild_split
    from yt8m_pipeline.jobs.export import ExportResult, export
    from yt8m_pipeline.jobs.extract import ExtractResult, extract
    from yt8m_pipeline.jobs.features import FeaturesResult, features
    from yt8m_pipeline.jobs.garbage import collect_garbage
    from yt8m_pipeline.jobs.preflight import probe
    from yt8m_pipeline.jobs.progress import Progress
    from yt8m_pipeline.video_level.feature_set import FeatureSet, open_features

__version__ = "0.2.0"

_HOMES = {
    "BuildResult": "jobs.build",
    "Config": "config",
    "DataError": "errors",
    "ExportResult": "jobs.export",
    "ExtractResult": "jobs.extract",
    "FeatureSet": "video_level.feature_set",
    "FeaturesResult": "jobs.features",
    "FinishedDataset": "dataset.reader",
    "Partition": "data_model",
    "PipelineError": "errors",
    "Predicted": "baselines.predicting",
    "Progress": "jobs.progress",
    "Trained": "baselines.training",
    "UsageError": "errors",
    "build": "jobs.build",
    "collect_garbage": "jobs.garbage",
    "export": "jobs.export",
    "extract": "jobs.extract",
    "features": "jobs.features",
    "load_config": "config",
    "open_dataset": "dataset.reader",
    "open_features": "video_level.feature_set",
    "predict": "baselines.predicting",
    "probe": "jobs.preflight",
    "read_frames": "dataset.reader",
    "read_videos": "dataset.reader",
    "rebuild_split": "jobs.build",
    "train": "baselines.training",
}

__all__ = [
    "BuildResult",
    "Config",
    "DataError",
    "ExportResult",
    "ExtractResult",
    "FeatureSet",
    "FeaturesResult",
    "FinishedDataset",
    "Partition",
    "PipelineError",
    "Predicted",
    "Progress",
    "Trained",
    "UsageError",
    "__version__",
    "build",
    "collect_garbage",
    "export",
    "extract",
    "features",
    "load_config",
    "open_dataset",
    "open_features",
    "predict",
    "probe",
    "read_frames",
    "read_videos",
    "rebuild_split",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = import_module(f"{__name__}.{_HOMES[name]}")
    return getattr(home, {"load_config": "load"}.get(name, name))


def __dir__() -> list[str]:
    return __all__
