"""What the plans of a build and of an extraction have in common: both extract videos into a dataset of their own."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from yt8m_pipeline import __version__
from yt8m_pipeline.accounting.reasons import BY_DURATION, DropReason, Retry, Stage
from yt8m_pipeline.config import Config
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import Manifest
from yt8m_pipeline.dataset.rejects import failed_videos
from yt8m_pipeline.extraction.identity import identity_of
from yt8m_pipeline.jobs.build_folder import is_complete
from yt8m_pipeline.jobs.journal import Journal
from yt8m_pipeline.store.feature_store import FeatureStore

LIBRARIES = ("apache-beam", "av", "numpy", "pyarrow", "tensorflow")


class VideosPlan:
    """The attributes are those of the plan that it is a base of, which says what they are."""

    __slots__ = ()

    config: Config
    layout: Layout
    store: FeatureStore
    space: Mapping[str, Any]
    inputs: Mapping[str, Any]
    key: str
    previous: Manifest | None
    retry: Retry

    @property
    def identity(self) -> dict[str, Any]:
        """What a worker's features depend on beside the config, as it is in the process that plans."""
        return identity_of(self.config.inception, self.space["pixels"])

    @property
    def journal(self) -> Journal:
        return Journal(self.layout)

    @property
    def told(self) -> dict[str, Any]:
        """What the manifest says of every plan."""
        return {
            "build_key": self.key,
            "versions": library_versions(),
            "inputs": self.inputs,
            "feature_space": {"fingerprint": self.store.space, **self.space},
            "sampling": {"policy": self.config.decoding.sampling},
        }

    @property
    def is_done(self) -> bool:
        """Whether the folder holds what this very plan writes, finished, with no file gone."""
        if self.previous is None or self.previous.build_key != self.key:
            return False
        return is_complete(self.layout, self.previous)

    @property
    def has_failures_to_retry(self) -> bool:
        """Whether what is finished lacks a video that is to be tried again."""
        stages = (Stage.DURATION, Stage.DECODE, Stage.EXTRACT)
        failed = failed_videos(self.layout, self.previous.rejects, stages) if self.previous else ()
        reasons = {DropReason(row["reason"]) for row in failed} - BY_DURATION
        return any(map(self.retry.covers, reasons))


def library_versions() -> dict[str, str]:
    return {"yt8m_pipeline": __version__, **{name: version(name) for name in LIBRARIES}}
