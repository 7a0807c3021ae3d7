"""`yt8m thumbnails`: small pictures of the videos of a dataset, for whoever looks at it."""

from typing import Annotated

import typer

from yt8m_pipeline.cli.console import (
    AsJson,
    ConfigPath,
    Output,
    Settings,
    load_config,
    progress_bars,
    require_posix,
    show,
)


def thumbnails(
    config: ConfigPath,
    output: Output = None,
    settings: Settings = None,
    *,
    workers: Annotated[int | None, typer.Option(min=1, help="Videos at once; by default one per core.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make the thumbnails that the videos of a finished dataset lack in the feature store; a build makes them, too."""
    require_posix("thumbnails")
    from yt8m_pipeline.jobs.thumbnails import make_thumbnails

    loaded = load_config(config, settings, output)
    with progress_bars() as bars:
        found = make_thumbnails(
            loaded,
            workers=workers,
            on_progress=lambda said: bars.update(said.stage, total=said.announced or None, done=said.done),
        )
    facts = {
        "had": found.kept,
        "made": found.made,
        "without": [
            {"reason": reason, "videos": videos, "for example": found.examples[reason]}
            for reason, videos in found.failed.most_common()
        ],
    }
    show(facts, as_json, f"Thumbnails of the videos of {loaded.output}, in {loaded.store}/thumbnails")
    if found.failed:
        raise typer.Exit(1)
