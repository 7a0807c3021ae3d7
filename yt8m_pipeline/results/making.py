"""`results`: all models of the paper on a dataset, and the page of what they reach."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import TypeVar

import pyarrow.compute as pc

from yt8m_pipeline import __version__, files
from yt8m_pipeline.baselines.saved import ModelCard
from yt8m_pipeline.config import absolute_path
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.index import read_parquet
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.reader import FinishedDataset, open_dataset
from yt8m_pipeline.errors import PipelineError, UsageError
from yt8m_pipeline.evaluation.truth import read_rated
from yt8m_pipeline.jobs.build_folder import exclusive, require_apart
from yt8m_pipeline.results.assembling import Outcome, Shown, assemble
from yt8m_pipeline.results.facts import Facts
from yt8m_pipeline.results.page import as_html
from yt8m_pipeline.results.parts import Parts, Showing
from yt8m_pipeline.results.plain import as_csv, as_json, as_markdown
from yt8m_pipeline.results.plan import MODELS, PlannedTables, plan_tables

T = TypeVar("T")

WRITERS = {"index.html": as_html, "results.md": as_markdown, "results.csv": as_csv, "results.json": as_json}
"""The files of the page."""

BOOTSTRAP = 200
"""The default number of bootstrap samples: the ends of a 95 % interval are then about the 5th of them from each side.
Efron and Tibshirani (1993, chapter 13) advise 1,000 for intervals of a paper; each sample reads the predictions once
more."""

PROGRAMS = ("tensorflow", "keras", "numpy")
"""The libraries whose versions the page names, beside this package and Python."""


@dataclass(frozen=True)
class Wanted:
    """What a user wants.

    Attributes:
        dataset: The folder of a finished dataset.
        output: The folder of the results.
        store: The feature store that the dataset was built from; None: φ is computed from its codes.
        models: The models, out of `plan.MODELS`.
        small: Whether models have their small settings, for demos.
        compression: Whether models on full and on compressed features are compared; None: where there is a store.
        transfer: The folder of another dataset, to which what is learnt is transferred.
        rated: A table of human ratings (`evaluation.truth.read_rated`).
        bootstrap: The number of bootstrap samples.
    """

    dataset: str
    output: str
    store: str | None = None
    models: Sequence[str] = MODELS
    small: bool = False
    compression: bool | None = None
    transfer: str | None = None
    rated: str | None = None
    bootstrap: int = BOOTSTRAP

    @property
    def planned(self) -> PlannedTables:
        """The tables.

        Raises:
            UsageError: as `plan_tables` does.
        """
        has_store = self.store is not None
        compression = has_store if self.compression is None else self.compression
        return plan_tables(self.models, has_store=has_store, compression=compression, transfer=bool(self.transfer))

    @property
    def absolute(self) -> "Wanted":
        """The same with absolute paths, as workers of other folders need them."""
        here = Path.cwd()
        store, transfer, rated = (
            absolute_path(place, here) if place else None for place in (self.store, self.transfer, self.rated)
        )
        dataset, output = absolute_path(self.dataset, here), absolute_path(self.output, here)
        return replace(self, dataset=dataset, output=output, store=store, transfer=transfer, rated=rated)

    @property
    def command(self) -> str:
        """The command that wants this, with the paths as they were given."""
        options = {"--store": self.store, "--transfer": self.transfer, "--rated": self.rated}
        words = ["yt8m", "results", self.dataset, "--output", self.output]
        words += [word for option, value in options.items() if value for word in (option, value)]
        words += ["--models", ",".join(self.models)] if tuple(self.models) != MODELS else []
        words += ["--small"] if self.small else []
        words += [] if self.compression is None else ["--compression" if self.compression else "--no-compression"]
        return shlex.join([*words, "--bootstrap", str(self.bootstrap)])


@dataclass(frozen=True)
class Results:
    """What was made: the facts of the page, and why models failed, by their names."""

    facts: Facts
    failures: dict[str, str]


def make_results(wanted: Wanted, *, showing: Showing = nullcontext) -> Results:
    """Trains, predicts with and evaluates the models of the paper, and writes the page of their results.

    What is finished in the folder is not done again, so that a run that was stopped goes on where it stopped. A model
    that fails does not lose the others: its row says why.

    Args:
        wanted: What is wanted.
        showing: Makes a context that shows the progress of a part while its block runs. A program can look at it with
            `jobs.progress.observed`.

    Raises:
        UsageError: an option or a folder is wrong, or the folder has the results of something else.
        DataError: the dataset is not finished or damaged, or the page cannot be written.
    """
    shown_command, wanted = wanted.command, wanted.absolute
    planned, opened = wanted.planned, open_dataset(wanted.dataset)
    rated_partition = partition_of_rated(opened, wanted.rated) if wanted.rated else None
    for read in filter(None, (wanted.dataset, wanted.transfer)):
        require_apart(read, wanted.output, "A page of results")
    parts = Parts(wanted.dataset, wanted.transfer, wanted.output, wanted.store, small=wanted.small, showing=showing)
    with exclusive(Layout(wanted.output)):
        outcome = _outcome(wanted, planned, parts, rated_partition)
        other = open_dataset(wanted.transfer) if wanted.transfer else None
        facts = assemble(Shown(opened, other, wanted.bootstrap, shown_command, _versions()), planned, outcome)
        write_page(wanted.output, facts)
    return Results(facts, dict(outcome.failures))


def write_page(output: str, facts: Facts) -> None:
    """Writes the page in all its formats; a file that is the same already is left as it is."""
    for name, write in WRITERS.items():
        path, data = files.join(output, name), write(facts)
        if files.file_size(path) != len(data) or files.read_bytes(path) != data:
            files.write_bytes(path, data)


def partition_of_rated(dataset: FinishedDataset, rated: str) -> Partition:
    """The partition that all videos of a table of human ratings are in.

    Raises:
        UsageError: they are in several or none, so that no model could be evaluated on them.
        DataError: the table is damaged.
    """
    ids = read_rated(dataset, rated).video_ids
    rows = read_parquet(dataset.layout, Layout.VIDEOS, ["video_id", "partition"])
    found = pc.unique(rows.filter(pc.is_in(rows["video_id"], ids))["partition"]).to_pylist()
    if len(found) != 1:
        raise UsageError(
            what="The rated videos are not of one partition",
            where=rated,
            why=f"they are of {', '.join(sorted(found)) or 'none of the dataset'}",
            fix="give the ratings of one partition alone, such as test (paper §3.5)",
        )
    return Partition(found[0])


class _Tries:
    """Tries what is to be done for each model, and keeps why it failed."""

    def __init__(self) -> None:
        self.failures = dict[str, str]()

    def get(self, name: str, make: Callable[[], T]) -> T | None:
        """What `make` gives; None where it fails, or failed before for this model."""
        if name in self.failures:
            return None
        try:
            return make()
        except PipelineError as error:
            self.failures[name] = f"{error.what} ({error.where}): {error.why}"
            return None


def _outcome(wanted: Wanted, planned: PlannedTables, parts: Parts, rated_partition: Partition | None) -> Outcome:
    """Makes all parts, model by model."""
    tries, rated_tries = _Tries(), _Tries()
    models, samples = {model.name: model for model in planned.models}, wanted.bootstrap
    records = {
        name: tries.get(name, partial(parts.record, model, Partition.VALIDATE, samples))
        for name, model in models.items()
    }
    rated = {
        row.model.name: rated_tries.get(
            row.model.name, partial(parts.record, row.model, rated_partition, samples, wanted.rated)
        )
        for row in planned.rated
        if rated_partition
    }
    found = _known(records)
    return Outcome(
        records=found,
        rated=_known(rated),
        cards={name: ModelCard.of(parts.model(models[name])) for name in found},
        failures=tries.failures,
        rated_failures=rated_tries.failures,
        seconds=parts.seconds,
        warnings=[*parts.warnings],
    )


def _known(values: Mapping[str, T | None]) -> dict[str, T]:
    return {name: value for name, value in values.items() if value is not None}


def _versions() -> dict[str, str]:
    libraries = {name: version(name) for name in PROGRAMS}
    return {"yt8m_pipeline": __version__, "Python": python_version(), **libraries}
