"""The life of a build: plan it, and carry the plan out.

What plans and what runs is imported where a build needs it: this module is a front door, and needs NumPy alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from yt8m_pipeline.accounting.reasons import Retry
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.reader import FinishedDataset, open_dataset
from yt8m_pipeline.jobs.progress import OnProgress, observed

if TYPE_CHECKING:
    from yt8m_pipeline.config import Config
    from yt8m_pipeline.jobs.build_plan import BuildPlan


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What a build did.

    Attributes:
        plan: What was planned.
        is_new: Whether anything was done; False: the dataset was complete already.
        elapsed_seconds: By the clock on the wall.
        stage_seconds: What workers spent in each stage, summed over the workers.
    """

    plan: "BuildPlan"
    is_new: bool
    elapsed_seconds: float = 0.0
    stage_seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def dataset(self) -> FinishedDataset:
        """The dataset, open for reading."""
        return open_dataset(self.plan.layout.root)


def build(
    config: "Config",
    beam_arguments: Sequence[str] = (),
    *,
    retry: Retry | None = None,
    refresh: bool = False,
    on_progress: OnProgress | None = None,
) -> BuildResult:
    """Builds the dataset of a config, or goes on where a stopped build left it.

    Args:
        config: What to build.
        beam_arguments: Beam's own options, such as `--runner`.
        retry: Which failed videos are tried again, also if the dataset is complete; None: the transient failures, if
            there is anything else to do.
        refresh: Whether videos are extracted again whose files have changed since they were stored.
        on_progress: Is told of the progress.

    Raises:
        UsageError: if the config, its tables, its model, the output folder or Beam's options are wrong, or if another
            build holds the folder.
        DataError: if the data fell short, or the engine stopped.
    """
    from yt8m_pipeline.jobs.build_plan import plan_build  # with PyAV, SciPy and all readers of tables

    plan = replace(plan_build(config, None, retry or Retry.TRANSIENT), refresh=refresh)
    if plan.is_done and not refresh and not (retry and plan.has_failures_to_retry):
        return BuildResult(plan, is_new=False)
    with observed(on_progress):
        return _carried_out(plan, beam_arguments)


def rebuild_split(
    config: "Config",
    partition: Partition | str,
    beam_arguments: Sequence[str] = (),
    *,
    on_progress: OnProgress | None = None,
) -> BuildResult:
    """Writes one partition's shards again with the existing PCA, codebook and vocabulary; the others stay untouched.

    Args:
        config: The config of the finished dataset.
        partition: The partition, or its name.
        beam_arguments: Beam's own options.
        on_progress: Is told of the progress.

    Raises:
        UsageError: as `build` does, and if there is no finished dataset.
        DataError: as `build` does, and if another partition, the PCA or the codebook would change.
    """
    from yt8m_pipeline.jobs.build_plan import plan_build

    plan = plan_build(config, Partition(partition))
    with observed(on_progress):
        return _carried_out(plan, beam_arguments)


def _carried_out(plan: "BuildPlan", beam_arguments: Sequence[str]) -> BuildResult:
    from yt8m_pipeline.jobs.carrying_out import carry_out, warn_of_tables

    warn_of_tables(plan)
    from yt8m_pipeline.jobs.engine import beam_pipeline  # Beam takes seconds to import: only where there is work

    beam_pipeline(beam_arguments)
    from yt8m_pipeline.pipeline import build_dataset

    elapsed, seconds = carry_out(plan, beam_arguments, build_dataset, plan.anew)
    return BuildResult(plan, is_new=True, elapsed_seconds=elapsed, stage_seconds=seconds)
