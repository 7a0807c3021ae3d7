"""The commands `yt8m store stats`, `check` and `gc`, which look after a feature store."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yt8m_pipeline.cli.console import KNOWN_PLACE, AsJson, CommandGroup, progress_bars, show

if TYPE_CHECKING:
    from yt8m_pipeline.store.feature_store import FeatureStore
    from yt8m_pipeline.store.garbage import Needs, Removal

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
    from yt8m_pipeline.store.upkeep import find_spaces, survey

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
    from yt8m_pipeline.store.upkeep import find_spaces

    spaces = find_spaces(store, space or ())
    with _progress("check", spaces) as progress:
        faults = [fault._asdict() for found in spaces for fault in check_space(found, progress)]
    if not faults:
        show({"faults": []}, as_json, f"{store}: sound")
        return
    facts = {"faults": faults, "fix": "the next build extracts the videos of damaged files again"}
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
    from yt8m_pipeline.jobs.store_needs import find_needs
    from yt8m_pipeline.store.garbage import remove, remove_empty_spaces

    needs = find_needs(keep) if keep else None
    removals = _removals(store, needs, drop_space or ())
    removed = {name: list(found) for name, found in removals.items()}
    if delete:
        with _counting("delete", sum(map(len, removals.values()))) as progress:
            removed = {name: list(remove(found, progress)) for name, found in removals.items()}
        remove_empty_spaces(store)
    rows = [row for name, found in removed.items() for row in _summaries(name, found)]
    title = "removed" if delete else "can go; --delete removes it"
    total = sum(map(len, removed.values()))
    show({"files": rows}, as_json, f"{store}: {total} file{'s' * (total != 1)} {title}")


def _removals(store: str, needs: "Needs | None", dropped: Sequence[str]) -> "Mapping[str, list[Removal]]":
    """What can be removed, by feature space."""
    from yt8m_pipeline.store.garbage import find_removals, whole_space
    from yt8m_pipeline.store.upkeep import find_spaces

    spaces = find_spaces(store)
    going = {space.space: whole_space(space, needs) for space in (find_spaces(store, dropped) if dropped else ())}
    staying = [space for space in spaces if space.space not in going]
    with _progress("look", staying) as progress:
        return going | {space.space: find_removals(space, needs, progress) for space in staying}


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
def _counting(name: str, total: int) -> Iterator[Callable[[int], None]]:
    from threading import Lock

    lock = Lock()
    with progress_bars() as bars:

        def advance(done: int) -> None:
            with lock:
                bars.update(name, done=done)

        bars.update(name, total=total)
        yield advance
