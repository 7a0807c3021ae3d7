"""`yt8m explore`: a site of a finished dataset, to look at."""

import sys
from typing import Annotated

import typer

from yt8m_pipeline.cli.console import KNOWN_PLACE, AsJson, Dataset, progress_bars, require_posix, show
from yt8m_pipeline.explorer.media import Media


def explore(
    dataset: Dataset,
    *,
    output: Annotated[
        str, typer.Option(metavar="DIR", help="The folder of the site: new, empty, or a site.", **KNOWN_PLACE)
    ],
    store: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="The feature store with the thumbnails; by default `features` beside the dataset."
        ),
    ] = None,
    media: Annotated[
        Media, typer.Option(help="uris: link to the videos, and play them in the page; none: leave all uris out.")
    ] = Media.URIS,
    media_root: Annotated[
        str | None, typer.Option(metavar="DIR", help="What relative uris are relative to: `tables.root` of the config.")
    ] = None,
    videos_per_entity: Annotated[
        int, typer.Option(min=1, help="The most videos of the grid of an entity, and of a partition.")
    ] = 200,
    with_withheld: Annotated[
        bool, typer.Option("--with-withheld", help="Show the withheld labels of test. Do not publish such a site.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a site to look at a finished dataset: its entities, videos, a map of them, and what was rejected.

    Open index.html in a browser, or put the folder on any web host; it needs no server of its own.
    """
    require_posix("explore")
    from dataclasses import asdict

    from yt8m_pipeline.dataset.layout import Layout
    from yt8m_pipeline.explorer.exploring import explore as write_site
    from yt8m_pipeline.explorer.folder import SiteFolder
    from yt8m_pipeline.jobs.build_folder import exclusive

    SiteFolder(output).require_ours(dataset)
    with exclusive(Layout(output)), progress_bars() as bars:
        found = write_site(
            dataset,
            output,
            store=store,
            media=media,
            media_root=media_root,
            videos_per_entity=videos_per_entity,
            with_withheld=with_withheld,
            on_step=lambda stage, done, total: bars.update(stage, total=total, done=done),
        )
    if with_withheld:
        print("warning: the site shows the withheld labels of test: do not publish it", file=sys.stderr)
    facts = {**asdict(found), "notes": [{"note": note} for note in found.notes]}
    show(facts, as_json, f"{output}: open index.html")
