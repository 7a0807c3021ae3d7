"""The life of an export for other trainers: plan it, take its folder, run the pipeline, and close the folder."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from yt8m_pipeline.interop.export_list import LIST, ExportList
from yt8m_pipeline.interop.trainer_names import TrainerFormat, Values
from yt8m_pipeline.jobs.build_folder import exclusive
from yt8m_pipeline.jobs.listed_folder import written_list
from yt8m_pipeline.jobs.progress import OnProgress, observed
from yt8m_pipeline.jobs.trainer_export_plan import TrainerExportPlan, plan_trainer_export


@dataclass(frozen=True, slots=True)
class TrainerExportResult:
    """What an export did.

    Attributes:
        plan: What was planned.
        is_new: Whether anything was done; False: the export was complete already.
        elapsed_seconds: By the clock on the wall.
    """

    plan: TrainerExportPlan
    is_new: bool
    elapsed_seconds: float = 0.0

    @property
    def list(self) -> ExportList:
        """What is in the export."""
        found = ExportList.find(self.plan.layout.root)
        assert found  # noqa: S101  the export has written it
        return found


def export_for_trainers(
    dataset: str,
    output: str,
    form: TrainerFormat | str,
    values: Values | str = Values.FLOAT32,
    beam_arguments: Sequence[str] = (),
    *,
    on_progress: OnProgress | None = None,
) -> TrainerExportResult:
    """Writes a finished dataset in the format of another trainer.

    The same dataset gives the same bytes on every engine, whatever was killed in between: a second call goes on, and
    does nothing where the export is complete.

    Args:
        dataset: The folder of the finished dataset.
        output: The folder of the export.
        form: The format, or its name: "webdataset", "parquet", "npy" or "hf".
        values: What stands for a frame, or its name: "float32", "float16" or "codes".
        beam_arguments: Beam's own options.
        on_progress: Is told of the progress.

    Raises:
        DataError: if the dataset is not finished or damaged.
        UsageError: if a folder or an option of Beam is wrong.
        ValueError: if there is no such format or value.
    """
    plan = plan_trainer_export(dataset, output, form, values)
    if plan.is_done:
        return TrainerExportResult(plan, is_new=False)
    from yt8m_pipeline.jobs.engine import beam_pipeline, run  # Beam takes seconds to import: only where there is work
    from yt8m_pipeline.pipeline import export_for_trainers as add_steps

    start = time.monotonic()
    beam_pipeline(beam_arguments)
    with observed(on_progress), exclusive(plan.layout) as layout, written_list(layout, LIST):
        run(beam_arguments, layout, partial(add_steps, plan=replace(plan, layout=layout)))
    return TrainerExportResult(plan, is_new=True, elapsed_seconds=time.monotonic() - start)
