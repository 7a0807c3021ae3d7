"""What is kept of an evaluation: enough for every row and picture of the page, so that it is done once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from yt8m_pipeline.dataset.reader import FinishedDataset
from yt8m_pipeline.dataset.steps import step_key
from yt8m_pipeline.evaluation.bootstrap import Sampled
from yt8m_pipeline.evaluation.calibration import Calibration
from yt8m_pipeline.evaluation.evaluating import Report, evaluate
from yt8m_pipeline.evaluation.examples import Example
from yt8m_pipeline.evaluation.studying import Study, study
from yt8m_pipeline.results.facts import Bin, Confused, Guess, Looked, known

REVISION = 1
"""The revision of what a record says. Whoever changes the meaning of a figure raises it."""

CONFUSIONS, EXAMPLES = 15, 8
"""The number of confusions, and of right and of wrong examples, that a page shows."""


@dataclass(frozen=True)
class Samples:
    """A metric and its bootstrap samples, in JSON; None for what is not known."""

    value: float | None
    samples: tuple[float | None, ...]

    @classmethod
    def of(cls, metric: Sampled) -> "Samples":
        return cls(known(metric.value), tuple(map(known, metric.samples)))

    @property
    def sampled(self) -> Sampled:
        return Sampled(_number(self.value), tuple(map(_number, self.samples)))


@dataclass(frozen=True)
class Record:
    """An evaluation of one model.

    Attributes:
        key: A SHA-256 of all that it depends on.
        metrics: The metrics by name.
        missing: How many videos of the partition have no prediction.
        positives: The number of videos that each class labels.
        average_precisions: That of each class; None for one without positives.
        calibration: The reliability diagram.
        calibration_error: The expected calibration error.
        confusions: The most frequent confusions.
        right: Videos of which the model is surest, and right.
        wrong: Videos of which it is surest, and wrong.
    """

    key: str
    metrics: Mapping[str, Samples]
    missing: int
    positives: tuple[int, ...]
    average_precisions: tuple[float | None, ...]
    calibration: tuple[Bin, ...]
    calibration_error: float | None
    confusions: tuple[Confused, ...]
    right: tuple[Looked, ...]
    wrong: tuple[Looked, ...]


@dataclass(frozen=True)
class Question:
    """What is evaluated.

    Attributes:
        dataset: The dataset.
        build_key: The key of its build.
        predictions: The table of predictions.
        predictions_sha256: The SHA-256 of the table.
        partition: The partition whose labels are the truth.
        rated: The table of human ratings that is the truth in place of the partition.
        rated_sha256: Its SHA-256.
        bootstrap: The number of samples.
    """

    dataset: FinishedDataset
    build_key: str
    predictions: str
    predictions_sha256: str
    partition: str
    rated: str | None
    rated_sha256: str | None
    bootstrap: int

    @property
    def key(self) -> str:
        """A digest of all that the answer depends on."""
        parts = (self.build_key, self.predictions_sha256, self.partition, self.rated_sha256, self.bootstrap)
        return step_key(REVISION, *parts)

    def answer(self) -> Record:
        """Evaluates; the errors are those of `evaluation.evaluating.evaluate`."""
        root = self.dataset.layout.root
        report = evaluate(root, self.predictions, self.partition, rated=self.rated, bootstrap=self.bootstrap)
        found = study(root, self.predictions, self.partition, rated=self.rated, examples=EXAMPLES)
        return _record(self.key, report, found)


def _record(key: str, report: Report, found: Study) -> Record:
    metric = report.evaluation.average_precision
    calibration = Calibration.of(metric)
    names = report.names
    confusions = found.confusions.most(CONFUSIONS)
    return Record(
        key=key,
        metrics={name: Samples.of(value) for name, value in report.metrics.items()},
        missing=report.missing,
        positives=tuple(metric.labels.tolist()),
        average_precisions=tuple(map(known, metric.of_classes)),
        calibration=tuple(_bins(calibration)),
        calibration_error=known(calibration.expected_error),
        confusions=tuple(Confused(names[pair.label], names[pair.predicted], pair.videos) for pair in confusions),
        right=tuple(_looked(example, names) for example in found.examples.right),
        wrong=tuple(_looked(example, names) for example in found.examples.wrong),
    )


def _bins(calibration: Calibration) -> Iterable[Bin]:
    columns = (calibration.predictions, calibration.scores, calibration.frequencies)
    for predictions, score, frequency in zip(*columns, strict=True):
        yield Bin(int(predictions), known(float(score)), known(float(frequency)))


def _looked(example: Example, names: tuple[str, ...]) -> Looked:
    labels = tuple(names[index] for index in example.labels)
    return Looked(example.video_id, labels, tuple(Guess(names[index], score) for index, score in example.predictions))


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
