"""The commands `yt8m store stats`, `check` and `gc`, which look after a feature store."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yt8m_pipeline.cli.console import KNOWN_PLACE, AsJson, CommandGroup, progress_bars, show

if TYPE_CHECKING:
    from yt8m_pipeline.jobs.progress import OnProgress, Progress
    from yt8m_pipeline.store.feature_store import FeatureStore
    from yt8m_pipeline.store.garbage import Removal

app = typer.Typer(cls=CommandGroup, help="Look after a feature store.", no_args_is_help=True)

Store = Annotated[
    str, typer.Argument(metavar="STORE", help="The folder that `store` in the config names.", **KNOWN_PLACE)
]
Keep = Annotated[
    list[str] | None,
    typer.Argument(metavar="DATASET|TABLE", help="Finished datasets, videos tables: what must stay."),
]


@app.command()
def stats(store: Store, as_json: AsJson = False) -> None:
    """Say what a store has: its feature spaces, videos, frames, bytes and failures."""
    from yt8m_pipeline.store.feature_store import describe
    from yt8m_pipeline.store.upkeep import find_spaces, survey, survey_durations, survey_thumbnails

    spaces = find_spaces(store)
    with _progress("survey", spaces) as progress:
        found = {space: survey(space, progress) for space in spaces}
    facts = {
        "spaces": [
            {"space": space.space, **{name: value for name, value in stats._asdict().items() if name != "failures"}}
            for space, stats in found.items()
        ],
        "failures": [
            {"space": space.space, "reason": reason, "videos": count}
            for space, stats in found.items()
            for reason, count in stats.failures.most_common()
        ],
        "durations": [durations._asdict() for durations in survey_durations(store)],
        "thumbnails": [survey_thumbnails(store)._asdict()],
        "descriptions": [
            {"space": space.space, "what": name, "value": value}
            for space in spaces
            for name, value in (describe(space) or {"space.json": "missing or damaged"}).items()
        ],
    }
    show(facts, as_json, f"{store}: {len(spaces)} feature space{'s' * (len(spaces) != 1)}")


@app.command()
def check(
    store: Store,
    space: Annotated[list[str] | None, typer.Option(help="Check this feature space only; may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """Read every stored file; exit 1 and a table of what is damaged or misplaced."""
    from yt8m_pipeline.store.upkeep import check as check_space
    from yt8m_pipeline.store.upkeep import check_durations, check_thumbnails, find_spaces

    spaces = find_spaces(store, space or ())
    with _progress("check", spaces) as progress:
        faults = [fault._asdict() for found in spaces for fault in check_space(found, progress)]
    beside = () if space else [*check_durations(store), *check_thumbnails(store)]
    faults += [fault._asdict() for fault in beside]
    if not faults:
        show({"faults": []}, as_json, f"{store}: sound")
        return
    facts = {
        "faults": faults,
        "fix": "the next build extracts the videos of damaged files again, or measures them; `yt8m thumbnails` makes "
        "pictures",
    }
    show(facts, as_json, f"{store}: {len(faults)} fault{'s' * (len(faults) != 1)}")
    raise typer.Exit(1)


@app.command()
def gc(
    store: Store,
    keep: Keep = None,
    *,
    drop_space: Annotated[
        list[str] | None, typer.Option(help="Remove all of this feature space; may be repeated.")
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Remove it; without this, only say what can go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what can go: abandoned and damaged files, failures of stored videos, and what nothing given uses.

    Videos go only where DATASETs or TABLEs are given, only from spaces that hold some of theirs, and not within a day
    of being stored. A whole space goes only by --drop-space.
    """
    from yt8m_pipeline.jobs.garbage import collect_garbage

    with _progress_of_job() as on_progress:
        removed = collect_garbage(
            store, keep or (), drop_spaces=drop_space or (), delete=delete, on_progress=on_progress
        )
    rows = [row for name, found in removed.items() for row in _summaries(name, found)]
    total = sum(map(len, removed.values()))
    offer = f"; --delete removes {'it' if total == 1 else 'them'}" if total else ""
    title = "removed" if delete else f"can go{offer}"
    show({"files": rows}, as_json, f"{store}: {total} file{'s' * (total != 1)} {title}")


def _summaries(space: str, removals: "Sequence[Removal]") -> Iterator[dict[str, Any]]:
    """One row for each reason why files of a feature space can be removed."""
    for why in sorted({removal.why for removal in removals}):
        found = [removal for removal in removals if removal.why == why]
        size = sum(removal.state.size for removal in found)
        yield {"space": space, "why": why, "files": len(found), "bytes": size, "for example": min(found).uri}


@contextmanager
def _progress(name: str, spaces: "Sequence[FeatureStore]") -> Iterator[Callable[[int], None]]:
    """Shows a progress bar of the files of features that have been looked at."""
    from yt8m_pipeline.store.upkeep import count_files

    with _counting(name, count_files(spaces)) as progress:
        yield progress


@contextmanager
def _progress_of_job() -> Iterator["OnProgress"]:
    """Shows the progress of a job, which several threads tell."""
    from threading import Lock

    lock = Lock()
    with progress_bars() as bars:

        def tell(progress: "Progress") -> None:
            with lock:
                bars.update(progress.stage, total=progress.announced or None, done=progress.done)

        yield tell


@contextmanager
def _counting(name: str, total: int) -> Iterator[Callable[[int], None]]:
    from yt8m_pipeline.jobs.progress import Progress

    with _progress_of_job() as tell:
        tell(Progress(name, total, 0, 0, ""))
        yield lambda done: tell(Progress(name, 0, done, 0, ""))
