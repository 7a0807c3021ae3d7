"""Reading of official split lists: text files that name the videos of a partition, one a line."""

from collections.abc import Iterator, Mapping

import pyarrow as pa

from yt8m_pipeline import files
from yt8m_pipeline.errors import UsageError


def read_lists(lists: Mapping[str, str]) -> dict[str, str]:
    """Reads which videos stand in which list.

    Args:
        lists: The list file of each partition, local or gs://, in UTF-8. The first field of a line is the id or the
            uri of a video, as in the lists of UCF-101: "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1". A field ends
            at a tab, or in a line without tabs at any white space.

    Returns:
        The partition of each id or uri.

    Raises:
        UsageError: a list cannot be read or is empty, or a video stands in two.
    """
    listed: dict[str, str] = {}
    for partition, uri in sorted(lists.items()):
        names = list(_names(uri))
        if not names:
            raise UsageError(
                what="A list of videos is empty",
                where=uri,
                why=f"it gives no video to the {partition} partition",
                fix=f"give one with videos, or leave partitioning.lists.{partition} out",
            )
        for number, name in names:
            other = listed.setdefault(name, partition)
            if other != partition:
                raise UsageError(
                    what=f"The video {name} stands in the lists of two partitions",
                    where=f"{uri}, line {number}",
                    why=f"it is in partitioning.lists.{other} too",
                    fix="remove it from one of the lists",
                )
    return listed


def _names(uri: str) -> Iterator[tuple[int, str]]:
    try:
        text = files.read_bytes(uri).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise UsageError(
            what="A list of videos cannot be read",
            where=uri,
            why=" ".join(str(error).split()),
            fix="correct partitioning.lists in the config, and give the list in UTF-8",
        ) from None
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, line.split("\t" if "\t" in line else None)[0].strip()
