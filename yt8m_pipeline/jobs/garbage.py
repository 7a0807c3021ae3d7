"""What can go from a feature store: found, and removed where that is asked for."""

from collections.abc import Mapping, Sequence

from yt8m_pipeline.jobs.progress import OnProgress, Progress
from yt8m_pipeline.jobs.store_needs import find_needs
from yt8m_pipeline.store.durations import FOLDER as DURATIONS
from yt8m_pipeline.store.garbage import (
    Removal,
    find_duration_removals,
    find_removals,
    find_thumbnail_removals,
    remove,
    remove_empty_spaces,
    whole_space,
)
from yt8m_pipeline.store.thumbnails import FOLDER as THUMBNAILS
from yt8m_pipeline.store.upkeep import Progress as Count
from yt8m_pipeline.store.upkeep import count_files, find_spaces


def collect_garbage(
    store: str,
    keep: Sequence[str] = (),
    *,
    drop_spaces: Sequence[str] = (),
    delete: bool = False,
    on_progress: OnProgress | None = None,
) -> Mapping[str, Sequence[Removal]]:
    """Finds what can go from a feature store: abandoned and damaged files, superseded failures, and unused videos.

    Args:
        store: The folder of the store.
        keep: Finished datasets and videos tables, what they need stays; without any, every sound video stays.
        drop_spaces: The feature spaces of which everything goes.
        delete: Whether what can go is removed.
        on_progress: Is told how many files have been looked at ("look"), and removed ("delete").

    Returns:
        What can go, or has gone, by feature space; of measured durations, under `durations`; of pictures, under
        `thumbnails`.

    Raises:
        UsageError: if there is no such store or space, or something to keep is neither a dataset nor a table.
        DataError: if something to keep is damaged.
    """
    needs = find_needs(keep) if keep else None
    going = {
        space.space: whole_space(space, needs) for space in (find_spaces(store, drop_spaces) if drop_spaces else ())
    }
    staying = [space for space in find_spaces(store) if space.space not in going]
    look = _counter("look", count_files(staying), on_progress)
    found = going | {space.space: find_removals(space, needs, look) for space in staying}
    found[DURATIONS] = find_duration_removals(store)
    found[THUMBNAILS] = find_thumbnail_removals(store, needs)
    if not delete:
        return found
    count = _counter("delete", sum(map(len, found.values())), on_progress)
    removed = {name: list(remove(removals, count)) for name, removals in found.items()}
    remove_empty_spaces(store)
    return removed


def _counter(stage: str, total: int, on_progress: OnProgress | None) -> Count:
    tell = on_progress or (lambda _: None)
    tell(Progress(stage, total, 0, 0, f"{stage}: {total} to do"))
    return lambda done: tell(Progress(stage, 0, done, 0, f"{stage}: {done} done"))
