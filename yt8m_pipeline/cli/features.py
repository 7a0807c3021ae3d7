"""`yt8m features`: one vector for each video of a dataset (paper §4.2)."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yt8m_pipeline.cli.console import AsJson, Dataset, progress_bars, quieten, require_posix, show
from yt8m_pipeline.video_level.names import Blocks, Space

if TYPE_CHECKING:
    from yt8m_pipeline.video_level.feature_list import FeatureList

AUTO = "auto"
"""The value of --components that leaves the number to the number of train videos."""


def _components(text: str) -> int | None:
    """Parses --components."""
    if text == AUTO:
        return None
    if not text.isdecimal():
        raise typer.BadParameter(f"{text!r} is neither {AUTO} nor a number")
    return int(text)


def features(  # noqa: PLR0913  each is an option of the command line
    context: typer.Context,
    dataset: Dataset,
    output: Annotated[str, typer.Option(help="Folder of the features.")],
    *,
    store: Annotated[
        str | None,
        typer.Option(
            help="The feature store that the dataset was built from: exact features. Without it they are reconstructed "
            "from the codes, as the paper does (5.2)."
        ),
    ] = None,
    space: Annotated[
        Space | None,
        typer.Option(help="relu: of the network's own features (default). pca: of the coefficients of the PCA."),
    ] = None,
    blocks: Annotated[
        Blocks | None,
        typer.Option(help="The mean, the standard deviation, the five largest values of each feature (default: all)."),
    ] = None,
    top: Annotated[int | None, typer.Option(help="How many largest values of each feature (4.2.1: 5).")] = None,
    components: Annotated[
        int | None,
        typer.Option(
            parser=_components,
            metavar="auto|N",
            help="Values of a vector. auto: the largest power of two with ten train videos for each, at most 1,024.",
        ),
    ] = None,
    like: Annotated[
        str | None, typer.Option(metavar="FEATURES", help="Take the PCA of these features; none is fitted (5.3).")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--from", metavar="MODEL_DIR", help="Take the last states of this trained LSTM instead (4.1.3)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write one vector for each video: mean, deviation and largest values of its features, normalised (paper 4.2).

    The PCA of the vectors is fitted to the train videos alone. Beam's own options go after `--`.
    """
    require_posix("features")
    quieten()
    from yt8m_pipeline.config import absolute_path
    from yt8m_pipeline.jobs.features import features as run_features

    here = Path.cwd()
    others = [None if text is None else absolute_path(text, here) for text in (store, like, model)]
    with progress_bars():
        result = run_features(
            absolute_path(dataset, here),
            absolute_path(output, here),
            others[0],
            context.args,
            space=space,
            blocks=blocks,
            top=top,
            components=components,
            like=others[1],
            model=others[2],
        )
    title = "Nothing to do: the features are complete, and the dataset is the same"
    if result.is_new:
        title = f"{result.plan.number_of_videos} videos described in {result.elapsed_seconds:.0f} s"
    show({**_facts(result.features.told), "where": result.plan.layout.root}, as_json, title)


def _facts(told: "FeatureList") -> dict[str, Any]:
    from yt8m_pipeline.report.summaries import rounded

    kind = {"space": told.space.value, "blocks": told.blocks.value} if told.space and told.blocks else {}
    explained = told.pca and rounded(told.pca.more.get("explained_variance_ratio"))
    return {
        "source": told.source.value,
        **kind,
        "described_by": f"{told.described} values",
        "dimensions": told.dimensions,
        **({"pca": told.pca.source, "explained_variance": explained} if told.pca else {}),
        "files": [
            {"file": file.path, "videos": file.videos, "bytes": file.bytes} for file in told.files if file.partition
        ],
        "warnings": [{"warning": text} for text in told.warnings],
    }
