"""The life of an export: plan it, take the folder, run the pipeline, and close the folder."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from yt8m_pipeline.jobs.build_folder import exclusive, written
from yt8m_pipeline.jobs.progress import OnProgress, observed

if TYPE_CHECKING:
    from yt8m_pipeline.jobs.export_plan import ExportPlan


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What an export did.

    Attributes:
        plan: What was planned.
        is_new: Whether anything was done; False: the export was complete already.
        elapsed_seconds: By the clock on the wall.
    """

    plan: "ExportPlan"
    is_new: bool
    elapsed_seconds: float = 0.0


def export(
    dataset: str,
    output: str,
    store: str | None = None,
    beam_arguments: Sequence[str] = (),
    *,
    on_progress: OnProgress | None = None,
) -> ExportResult:
    """Writes a finished dataset again with the uniform codebook; no video is decoded.

    Args:
        dataset: The folder of the finished dataset.
        output: The folder of the new one.
        store: The feature store that it was built from; None: its codes are encoded again.
        beam_arguments: Beam's own options.
        on_progress: Is told of the progress.

    Raises:
        DataError: if the dataset is not finished or damaged, or the store lacks videos of it.
        UsageError: if it is uniform already, or a folder or an option of Beam is wrong.
    """
    from yt8m_pipeline.jobs.export_plan import plan_export  # with PyAV and SciPy

    plan = plan_export(dataset, output, store)
    if plan.is_done:
        return ExportResult(plan, is_new=False)
    from yt8m_pipeline.jobs.engine import beam_pipeline, run  # Beam takes seconds to import: only where there is work
    from yt8m_pipeline.pipeline import export_dataset

    start = time.monotonic()
    beam_pipeline(beam_arguments)
    with observed(on_progress), exclusive(plan.layout) as layout, written(layout, None):
        run(beam_arguments, layout, partial(export_dataset, plan=replace(plan, layout=layout)))
    return ExportResult(plan, is_new=True, elapsed_seconds=time.monotonic() - start)
