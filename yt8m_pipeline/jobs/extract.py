"""The life of an extraction: plan it, take the folder, run the pipeline, and close the folder."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from yt8m_pipeline.accounting.reasons import Retry
from yt8m_pipeline.dataset.reader import FinishedDataset, open_dataset
from yt8m_pipeline.jobs.progress import OnProgress, observed

if TYPE_CHECKING:
    from yt8m_pipeline.jobs.extract_plan import ExtractPlan


@dataclass(frozen=True, slots=True)
class ExtractResult:
    """What an extraction did.

    Attributes:
        plan: What was planned.
        is_new: Whether anything was done; False: the extraction was complete already.
        elapsed_seconds: By the clock on the wall.
    """

    plan: "ExtractPlan"
    is_new: bool
    elapsed_seconds: float = 0.0

    @property
    def dataset(self) -> FinishedDataset:
        """The new videos, open for reading."""
        return open_dataset(self.plan.layout.root)


def extract(  # noqa: PLR0913  each is an option of the command line
    sources: str | Sequence[str],
    like: str,
    output: str,
    *,
    model: str | None = None,
    store: str | None = None,
    annotations: str | None = None,
    form: str = "records",
    raw: bool = False,
    shards: int = 1,
    settings: Sequence[str] = (),
    beam_arguments: Sequence[str] = (),
    retry: Retry | None = None,
    refresh: bool = False,
    on_progress: OnProgress | None = None,
) -> ExtractResult:
    """Extracts the features of new videos in the feature space, PCA, codebook and vocabulary of a finished dataset.

    A video of the dataset itself gets the very codes that it has there.

    Args:
        sources: A video, a folder of videos or several of these; or a videos table.
        like: The folder of the finished dataset.
        output: The folder of the new features: a dataset of one partition.
        model: The file or folder of the dataset's network, where it has one.
        store: The folder of the feature store; None: one in the output.
        annotations: An annotations table. Labels may also be nested in the videos table.
        form: What features are written as beside the records: "records" (nothing more), "npy" or "parquet".
        raw: Whether these are the network's own features, and not the values that the codes stand for.
        shards: How many files the records are divided among.
        settings: Further fields of the config, as `key=value`.
        beam_arguments: Beam's own options.
        retry: Which failed videos are tried again, also if the extraction is complete; None: the transient failures, if
            there is anything else to do.
        refresh: Whether videos are extracted again whose files have changed since they were stored.
        on_progress: Is told of the progress.

    Raises:
        UsageError: if there are no videos or no such dataset, the network or the decoding is not the dataset's, or a
            folder or an option of Beam is wrong.
        DataError: if the dataset is not finished or damaged, too many videos failed, or the engine stopped.
    """
    from yt8m_pipeline.dataset.arrays import Form
    from yt8m_pipeline.jobs.carrying_out import carry_out, warn_of_tables
    from yt8m_pipeline.jobs.extract_plan import Wanted, plan_extraction  # with PyAV and SciPy

    named, wanted = [sources] if isinstance(sources, str) else sources, Wanted(Form(form), raw, shards)
    found = plan_extraction(
        named, like, output, wanted, model=model, store=store, annotations=annotations, settings=settings
    )
    plan = replace(found, retry=retry or Retry.TRANSIENT, refresh=refresh)
    if plan.is_done and not refresh and not (retry and plan.has_failures_to_retry):
        return ExtractResult(plan, is_new=False)
    warn_of_tables(plan)
    from yt8m_pipeline.jobs.engine import beam_pipeline  # Beam takes seconds to import: only where there is work

    beam_pipeline(beam_arguments)
    from yt8m_pipeline.pipeline import extract_videos

    with observed(on_progress):
        elapsed, _ = carry_out(plan, beam_arguments, extract_videos, None)
    return ExtractResult(plan, is_new=True, elapsed_seconds=elapsed)
