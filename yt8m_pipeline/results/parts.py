"""The parts of a results folder: feature sets, models, predictions and evaluations, each made once.

```
DIR/
  features/mu/            a feature set (`yt8m features`)
  models/moe-mu/          a trained model (`yt8m train`)
  predictions/moe-mu-validate.parquet     its predictions (`yt8m predict`)
  evaluations/moe-mu-validate.json        what the page shows of them (`yt8m evaluate`)
  parts.json              which parts are finished, and how long they took
  index.html results.md results.csv results.json      the page
```
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from yt8m_pipeline import __version__, files
from yt8m_pipeline.baselines.predicting import predict
from yt8m_pipeline.baselines.saved import CARD, ModelCard
from yt8m_pipeline.baselines.training import train
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import Manifest
from yt8m_pipeline.dataset.reader import FinishedDataset, open_dataset
from yt8m_pipeline.dataset.steps import step_key
from yt8m_pipeline.dataset.typed_json import WrongJson, from_json, to_json
from yt8m_pipeline.errors import PipelineError, UsageError
from yt8m_pipeline.jobs.features import features
from yt8m_pipeline.jobs.progress import PROGRESS
from yt8m_pipeline.parsing import parse_json
from yt8m_pipeline.results.plan import FeatureSet, TrainedModel
from yt8m_pipeline.results.record import Question, Record
from yt8m_pipeline.video_level.feature_set import open_features

LEDGER = "parts.json"

Showing: TypeAlias = Callable[[], AbstractContextManager[object]]
"""Makes a context that shows progress while its block runs."""


@dataclass(frozen=True)
class Identity:
    """What all parts of a folder depend on.

    Attributes:
        build_key: The key of the dataset's build.
        other_build_key: That of the dataset that is transferred to; None without one.
        has_store: Whether φ is computed from the feature store.
        small: Whether models have their small settings.
    """

    build_key: str
    other_build_key: str | None
    has_store: bool
    small: bool


@dataclass(frozen=True)
class Finished:
    """A part that is finished.

    Attributes:
        seconds: How long the run took that finished it.
        inputs: A digest of the parts that it was made from. When one of those is made anew, so is this one.
    """

    seconds: float
    inputs: str


@dataclass(frozen=True)
class Ledger:
    """What parts.json says.

    Attributes:
        version: The version of this package that made the parts. Another version asks each part anew whether it is
            finished, which only the part knows.
        identity: What the parts depend on.
        finished: The finished parts by name.
    """

    version: str
    identity: Identity
    finished: Mapping[str, Finished] = field(default_factory=dict)


class Parts:
    """Makes the parts that are asked for, and those that they need, unless they are finished.

    A part that fails is not tried again by this object: all that need it fail for the same reason.

    Args:
        dataset: The dataset.
        other: The dataset that is transferred to.
        output: The results folder.
        store: The feature store of the dataset; None where there is none.
        small: Whether models have their small settings.
        showing: Shows the progress of one part while its block runs. Each part has one of its own, since the stages of
            two models have the same names.

    Raises:
        UsageError: the folder has the results of other things.
    """

    def __init__(
        self, dataset: str, other: str | None, output: str, store: str | None, *, small: bool, showing: Showing
    ) -> None:
        self._dataset = open_dataset(dataset)
        self._other = open_dataset(other) if other else None
        self._output, self._store, self._small, self._showing = output, store, small, showing
        other_key = build_key(self._other) if self._other else None
        self._ledger = self._found(Identity(build_key(self._dataset), other_key, bool(store), small))
        self._failures = dict[str, PipelineError]()
        self._feature_folders, self._model_folders = set[str](), set[str]()

    @property
    def warnings(self) -> Iterator[str]:
        """What the feature sets and models that were asked for warn of."""
        told = [(folder, open_features(folder).told.warnings) for folder in sorted(self._feature_folders)]
        told += [(folder, ModelCard.of(folder).warnings) for folder in sorted(self._model_folders)]
        for folder, found in told:
            yield from (f"{folder.rpartition('/')[2]}: {warning}" for warning in found)

    @property
    def seconds(self) -> Mapping[str, float]:
        """How long each finished part took."""
        return {part: finished.seconds for part, finished in self._ledger.finished.items()}

    def features(self, wanted: FeatureSet) -> str:
        """The folder of a feature set.

        Raises:
            PipelineError: it cannot be made.
        """
        folder = files.join(self._output, "features", wanted.name)
        like = self.features(wanted.like) if wanted.like else None
        model = self.model(wanted.states_of) if wanted.states_of else None
        store = self._store if wanted.is_exact else None
        root = self._of(is_other=wanted.of_other).layout.root
        chosen = (wanted.space, wanted.blocks) if wanted.states_of is None else (None, None)
        self._once(
            f"features {wanted.name}",
            files.join(folder, Layout.COMPLETE),
            (*_marks_of_features(like), *_marks_of_model(model)),
            lambda: features(root, folder, store, space=chosen[0], blocks=chosen[1], like=like, model=model),
        )
        self._feature_folders.add(folder)
        return folder

    def model(self, wanted: TrainedModel) -> str:
        """The folder of a trained model.

        Raises:
            PipelineError: it cannot be trained.
        """
        folder = files.join(self._output, "models", wanted.name)
        vectors = self.features(wanted.features) if wanted.features else None
        start = self.model(wanted.init_from) if wanted.init_from else None
        root = self._of(is_other=wanted.of_other).layout.root
        self._once(
            f"train {wanted.name}",
            files.join(folder, CARD),
            (*_marks_of_features(vectors), *_marks_of_model(start)),
            lambda: train(wanted.model, root, folder, features=vectors, small=self._small, init_from=start),
        )
        self._model_folders.add(folder)
        return folder

    def predictions(self, wanted: TrainedModel, partition: Partition) -> str:
        """The table of a model's predictions.

        Raises:
            PipelineError: it cannot be made.
        """
        path = files.join(self._output, "predictions", f"{wanted.name}-{partition.value}.parquet")
        model = self.model(wanted)
        vectors = self.features(wanted.features) if wanted.features else None
        root = self._of(is_other=wanted.of_other).layout.root
        self._once(
            f"predict {wanted.name}" + ("" if partition is Partition.VALIDATE else f" {partition.value}"),
            path,
            (*_marks_of_features(vectors), *_marks_of_model(model)),
            lambda: predict(model, root, path, features=vectors, partition=partition.value),
        )
        return path

    def record(self, wanted: TrainedModel, partition: Partition, bootstrap: int, rated: str | None = None) -> Record:
        """The evaluation of a model's predictions.

        Raises:
            PipelineError: there is none.
        """
        table = self.predictions(wanted, partition)
        dataset, name = self._of(is_other=wanted.of_other), partition.value
        digest = files.sha256(rated) if rated else None
        key, sha256 = build_key(dataset), files.sha256(table)
        question = Question(dataset, key, table, sha256, name, rated, digest, bootstrap)
        stem = f"{wanted.name}-{'rated' if rated else name}"
        path = files.join(self._output, "evaluations", f"{stem}.json")
        found = _read_record(path)
        if found is None or found.key != question.key:
            part = f"evaluate {wanted.name}" + (" rated" if rated else "")
            self._do(part, question.key, lambda: _write_json(path, question.answer()))
            found = _read_record(path)
        assert found  # noqa: S101  it has just been written
        return found

    def _of(self, *, is_other: bool) -> FinishedDataset:
        chosen = self._other if is_other else self._dataset
        assert chosen  # noqa: S101  rows of the other dataset are planned only where there is one
        return chosen

    def _once(self, part: str, mark: str, inputs: Sequence[str], make: Callable[[], object]) -> None:
        """Makes a part, unless it is finished.

        Args:
            part: Its name.
            mark: The file that is there when it is finished.
            inputs: The marks of the parts that it is made from.
            make: Makes it.
        """
        if part in self._failures:
            raise self._failures[part]
        digest = step_key(*map(files.sha256, inputs))
        found = self._ledger.finished.get(part)
        if found is None or found.inputs != digest or not files.exists(mark):
            self._do(part, digest, make)

    def _do(self, part: str, inputs: str, make: Callable[[], object]) -> None:
        start = time.monotonic()
        try:
            with self._showing():
                PROGRESS.info("%s", part)
                make()
        except PipelineError as error:
            self._failures[part] = error
            raise
        finished = {**self._ledger.finished, part: Finished(round(time.monotonic() - start, 3), inputs)}
        self._ledger = replace(self._ledger, finished=finished)
        _write_json(self._ledger_path, self._ledger)

    @property
    def _ledger_path(self) -> str:
        return files.join(self._output, LEDGER)

    def _found(self, identity: Identity) -> Ledger:
        """The ledger of the folder, or a new one."""
        path = self._ledger_path
        if not files.exists(path):
            return Ledger(__version__, identity)
        try:
            found = from_json(Ledger, parse_json(files.read_bytes(path)))
        except (WrongJson, ValueError):
            return Ledger(__version__, identity)
        before = found.identity
        if None in (before.other_build_key, identity.other_build_key):  # only the parts of the other dataset need it
            other_key = before.other_build_key or identity.other_build_key
            before, identity = (replace(one, other_build_key=other_key) for one in (before, identity))
        differing = [name for name, value in vars(identity).items() if getattr(before, name) != value]
        if differing:
            raise UsageError(
                what="The folder has the results of something else",
                where=path,
                why=f"{', '.join(differing)} differ from those of this command",
                fix="give another --output, or the options that the folder was made with",
            )
        return Ledger(__version__, identity, found.finished if found.version == __version__ else {})


def build_key(dataset: FinishedDataset) -> str:
    """The key of the build of a dataset."""
    return Manifest.of(dataset.layout).build_key


def _marks_of_features(folder: str | None) -> list[str]:
    return [files.join(folder, Layout.COMPLETE)] if folder else []


def _marks_of_model(folder: str | None) -> list[str]:
    return [files.join(folder, CARD)] if folder else []


def _read_record(path: str) -> Record | None:
    """The record at a path; None where there is none that can be read, since it is made again."""
    try:
        return from_json(Record, parse_json(files.read_bytes(path)))
    except (FileNotFoundError, ValueError):
        return None


def _write_json(path: str, value: object) -> None:
    files.write_bytes(path, (json.dumps(to_json(value), ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode())
