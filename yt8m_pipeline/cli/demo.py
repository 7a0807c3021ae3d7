"""`yt8m demo`: writes a tiny corpus."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from yt8m_pipeline.cli.console import AsJson, local_path, progress_bars, require_posix, show

SMOKE_ROOT = Path("yt8m_demo/corpus")
"""Where `configs/smoke.yaml` expects the corpus."""


def demo(
    folder: Annotated[Path, typer.Argument(parser=local_path, metavar="DIR", help="Where to write the corpus.")],
    videos: Annotated[int, typer.Option(min=24, help="How many videos to encode.")] = 40,
    seconds: Annotated[float, typer.Option(min=2, max=40, help="Their typical length.")] = 10.0,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives another corpus.")] = 0,
    nested_labels: Annotated[bool, typer.Option(help="Labels inside the videos table, no annotations table.")] = False,
    *,
    label_noise: Annotated[
        float, typer.Option(min=0, max=1, help="The share of wrong labels, which no model can learn to tell.")
    ] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Write a tiny corpus: the four tables and real, encoded, learnable videos."""
    require_posix("demo")
    from yt8m_pipeline.demo.corpus import write_corpus

    with progress_bars() as bars:
        summary = write_corpus(
            folder,
            videos=videos,
            seconds=seconds,
            seed=seed,
            nested_labels=nested_labels,
            label_noise=label_noise,
            progress=lambda _, total: bars.update("encode", total=total, done=1),
        )
    settings = [] if folder.absolute() == SMOKE_ROOT.absolute() else [f"tables.root={folder.absolute()}"]
    settings += ["tables.annotations=null"] if nested_labels else []
    build = shlex.join(["yt8m", "build", "smoke.yaml", *(word for setting in settings for word in ("--set", setting))])
    title = f"The demo corpus is in {folder}; `yt8m config init smoke`, then `{build}` builds a dataset of it"
    show(summary.to_json(), as_json, title)
