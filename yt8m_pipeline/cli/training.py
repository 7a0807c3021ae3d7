"""`yt8m train` and `yt8m predict`: the paper's baseline models on a dataset, and their scores."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yt8m_pipeline.cli.console import AsJson, Dataset, progress_bars, quieten, require_posix, show
from yt8m_pipeline.data_model import Partition

if TYPE_CHECKING:
    from yt8m_pipeline.baselines.saved import ModelCard

Features = Annotated[
    str | None,
    typer.Option(
        metavar="FEATURES_DIR",
        help="What `yt8m features` wrote of the dataset, for hinge, logistic and moe. Without it these read mean_rgb.",
    ),
]


def train(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="frame_logistic, dbof or lstm, which read frames (paper 4.1); hinge, logistic or moe, which read one "
            "vector of each video (4.3).",
        ),
    ],
    dataset: Dataset,
    output: Annotated[str, typer.Option(help="Folder of the model: a new one, or that of the same training.")],
    *,
    features: Features = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Override one setting of the model.")
    ] = None,
    small: Annotated[
        bool, typer.Option("--small", help="Settings for a demo of some hundred videos, in place of the paper's.")
    ] = False,
    init_from: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL_DIR",
            help="Begin with the weights of this model (5.3); the last layer is new if the classes are others.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a baseline model of the paper (4) until its metrics on the validate videos rise no more."""
    require_posix("train")
    quieten()
    from yt8m_pipeline.baselines.training import train as run

    with progress_bars():
        result = run(
            model,
            _absolute(dataset),
            _absolute(output),
            features=_given(features),
            settings=settings or (),
            small=small,
            init_from=_given(init_from),
        )
    title = "Nothing to do: the model is trained, and the dataset and the settings are the same"
    if result.is_new:
        title = f"Trained {model} in {result.elapsed_seconds:.0f} s"
    show({**_facts(result.card), "where": result.plan.layout.root}, as_json, title)


def predict(
    model_dir: Annotated[str, typer.Argument(metavar="MODEL_DIR", help="What `yt8m train` wrote.")],
    dataset: Dataset,
    output: Annotated[str, typer.Option(metavar="TABLE", help="The table of predictions, a .parquet file.")],
    *,
    features: Features = None,
    partition: Annotated[Partition, typer.Option(help="Whose videos are scored.")] = Partition.VALIDATE,
    top: Annotated[
        int | None, typer.Option(min=1, help="Write the best so many classes of each video, rather than all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score the videos of a partition by a trained model; `yt8m evaluate` reads the table."""
    require_posix("predict")
    quieten()
    from yt8m_pipeline.baselines.predicting import predict as run

    table = _absolute(output)
    with progress_bars():
        result = run(
            _absolute(model_dir),
            _absolute(dataset),
            table,
            features=_given(features),
            partition=partition,
            top=top,
        )
    title = f"Scored {result.videos} {partition.value} videos in {result.elapsed_seconds:.0f} s"
    show({"videos": result.videos, "where": table}, as_json, title)


def _absolute(path: str) -> str:
    from yt8m_pipeline.config import absolute_path

    return absolute_path(path, Path.cwd())


def _given(path: str | None) -> str | None:
    return None if path is None else _absolute(path)


def _facts(card: "ModelCard") -> dict[str, Any]:
    from yt8m_pipeline.report.summaries import rounded

    rows = [
        {"epoch": epoch.number, "loss": rounded(epoch.loss)}
        | {name: rounded(value) for name, value in epoch.metrics.items()}
        for epoch in card.history
    ]
    return {
        "best_epoch": card.best,
        "epochs": rows,
        "settings": ", ".join(f"{name}={value}" for name, value in card.settings.items()),
        "warnings": [{"warning": text} for text in card.warnings],
    }
