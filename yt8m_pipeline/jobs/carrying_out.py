"""Carrying out a plan: take the folder, run the pipeline, and close the folder."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.manifest import Manifest
from yt8m_pipeline.errors import printable
from yt8m_pipeline.files import delete_temporaries, join
from yt8m_pipeline.jobs.build_folder import exclusive, written
from yt8m_pipeline.store.durations import FOLDER as DURATIONS
from yt8m_pipeline.store.feature_store import open_store
from yt8m_pipeline.store.stored_file import DamagedFile

if TYPE_CHECKING:
    from yt8m_pipeline.jobs.build_plan import BuildPlan
    from yt8m_pipeline.jobs.extract_plan import ExtractPlan

PlanT = TypeVar("PlanT", "BuildPlan", "ExtractPlan")


def warn_of_tables(plan: "BuildPlan | ExtractPlan") -> None:
    """Says what is odd in the tables before anything is done: a column that is not used may be days of work."""
    for text in plan.table_warnings:
        logging.getLogger(__name__).warning("warning: %s", printable(text))


def carry_out(
    plan: PlanT, beam_arguments: Sequence[str], recipe: Callable[[Any, PlanT], None], anew: Partition | None
) -> tuple[float, dict[str, float]]:
    """Runs the pipeline of a plan in its folder, and closes the folder.

    Returns:
        The seconds by the clock on the wall, and those that workers spent in each stage.
    """
    start = time.monotonic()
    with exclusive(plan.layout) as layout:
        plan = replace(plan, layout=layout, previous=Manifest.find(layout))
        with written(layout, anew):
            for folder in (open_store(plan.store.root, plan.space).folder, join(plan.store.root, DURATIONS)):
                delete_temporaries(folder)
            seconds = _run_through_damage(plan, beam_arguments, recipe)
    return time.monotonic() - start, seconds


def _run_through_damage(
    plan: PlanT, beam_arguments: Sequence[str], recipe: Callable[[Any, PlanT], None]
) -> dict[str, float]:
    """As `run`; where a stored file proves damaged when it is needed, once more, with all of them verified."""
    from yt8m_pipeline.jobs.engine import run

    try:
        return run(beam_arguments, plan.layout, lambda root: recipe(root, plan))
    except DamagedFile as damage:
        logging.getLogger(__name__).warning("%s\nreading every stored file, to extract the damaged ones again", damage)
        return run(beam_arguments, plan.layout, lambda root: recipe(root, replace(plan, verify=True)))
