"""The life of a folder that is made of a dataset and has a list of its files: whose it is, how it begins and ends."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from yt8m_pipeline import files
from yt8m_pipeline.dataset.file_list import ListedFile
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.jobs.build_folder import begin, close, require_news


def is_whole(layout: Layout, listed: Sequence[ListedFile]) -> bool:
    """Whether a folder is complete, and no listed file is gone or of another size."""
    if not files.exists(layout.path(Layout.COMPLETE)):
        return False
    return all(files.file_size(layout.path(file.path)) == file.bytes for file in listed)


def require_own_list(layout: Layout, name: str, whose: str, *, is_other: bool) -> None:
    """Refuses a folder that has anything in it but what a command writes, finished or not.

    Args:
        layout: The folder.
        name: The name of its list.
        whose: What the command writes, as the error says it: "this export".
        is_other: Whether the list in the folder, if there is one, is of another command.

    Raises:
        UsageError: if the folder is a file, holds other files, or is another command's.
    """
    names = [found for found in files.list_files(layout.root) if not layout.is_beginning(found)]
    is_foreign = bool(names) and not {name, Layout.UNFINISHED} & set(names)
    if files.exists(layout.root):
        why = "it is a file"
    elif is_foreign:
        why = f"it holds {names[0]} and {len(names) - 1} other files"
    elif is_other:
        why = f"its {name} is of another dataset, or of other options"
    else:
        return
    raise UsageError(
        what=f"The output is not the folder of {whose}",
        where=layout.root,
        why=why,
        fix="give a new or empty folder with --output",
    )


@contextmanager
def written_list(layout: Layout, name: str) -> Iterator[None]:
    """Opens a folder that this process holds, lets the block write everything, the list last, and closes it.

    Raises:
        DataError: if the folder cannot be written, or the block has written no list.
    """
    begin(layout, None)
    before = files.state(layout.path(name))
    yield
    require_news(layout, name, before)
    layout.require_owned()
    close(layout, name)
