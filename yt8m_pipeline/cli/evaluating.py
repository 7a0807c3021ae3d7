"""`yt8m evaluate`: how good predictions are, by the metrics of the paper."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from yt8m_pipeline.cli.console import KNOWN_PLACE, AsJson, Dataset, show
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.errors import UsageError

if TYPE_CHECKING:
    from yt8m_pipeline.evaluation.evaluating import Report

SHOWN_CLASSES = 5
"""The number of classes that a table of the best and of the worst has."""


def evaluate(
    dataset: Dataset,
    predictions: Annotated[
        str, typer.Argument(metavar="PREDICTIONS", help="A table of them, .parquet or .csv.", **KNOWN_PLACE)
    ],
    *,
    partition: Annotated[
        Partition | None, typer.Option(help="Whose labels they are compared with. [default: validate]")
    ] = None,
    rated: Annotated[
        str | None,
        typer.Option(
            metavar="TABLE",
            help="Compare them with labels that people gave: a .parquet or .csv with the columns video_id and labels, "
            "which are entity ids or label indices.",
        ),
    ] = None,
    threshold: Annotated[
        float, typer.Option(min=0.0001, max=1, help="The score from which a class counts as predicted, in `classes`.")
    ] = 0.5,
    bootstrap: Annotated[
        int,
        typer.Option(
            min=0, help="The number of samples for 95 % intervals; the predictions are read once more for each."
        ),
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Compare anybody's predictions with the labels of a partition: mAP, Hit@k, PERR (paper 5.1) and GAP@20."""
    from yt8m_pipeline.evaluation.evaluating import evaluate as compare

    if partition and rated:
        raise UsageError(
            what="There are two truths to compare with",
            where="--partition and --rated",
            why="the human ratings take the place of the labels of a partition",
            fix="leave one of the two out",
        )
    report = compare(dataset, predictions, partition or Partition.VALIDATE, rated=rated, bootstrap=bootstrap)
    classes = _classes(report, threshold)
    facts = {**_values(report), **_ids(report)}
    if as_json:
        show({**facts, "classes": classes}, as_json, predictions)
    else:
        known = sorted((row for row in classes if row["positives"]), key=lambda row: -row["average_precision"])
        tables = {"best classes": known[:SHOWN_CLASSES], "worst classes": known[-SHOWN_CLASSES:][::-1]}
        truth = rated or (partition or Partition.VALIDATE).value
        show({**facts, **tables}, as_json, f"{predictions}, {truth}: {report.videos} videos")


def _values(report: "Report") -> dict[str, Any]:
    """The metrics, in [0, 1]; null where there is nothing to average."""
    from yt8m_pipeline.report.summaries import rounded

    values: dict[str, Any] = {name: rounded(value) for name, value in report.evaluation.values.items()}
    values["classes_averaged"] = report.evaluation.average_precision.classes
    if report.intervals:
        values["intervals"] = {name: [rounded(end) for end in ends] for name, ends in report.intervals.items()}
    return values


def _ids(report: "Report") -> dict[str, Any]:
    """What was not predicted, and what was that is not in the partition."""
    return {
        "missing_videos": report.missing,
        **({"first_missing": ", ".join(report.missing_ids)} if report.missing else {}),
        "unknown_videos": report.unknown,
        **({"first_unknown": ", ".join(report.unknown_ids)} if report.unknown else {}),
    }


def _classes(report: "Report", threshold: float) -> list[dict[str, Any]]:
    from yt8m_pipeline.report.summaries import rounded

    metric = report.evaluation.average_precision
    precisions, recalls = metric.precision_and_recall(threshold)
    columns = (report.names, metric.labels, metric.of_classes, precisions, recalls)
    return [
        {
            "index": index,
            "name": name,
            "positives": int(positives),
            "average_precision": rounded(float(value)),
            "precision": rounded(float(precision)),
            "recall": rounded(float(recall)),
        }
        for index, (name, positives, value, precision, recall) in enumerate(zip(*columns, strict=True))
    ]
