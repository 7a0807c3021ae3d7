"""Reading fitted artefacts back: damage is named, and a newer format is no damage."""

import tokenize
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

from yt8m_pipeline import files
from yt8m_pipeline.errors import DataError

DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    RuntimeError,
    SyntaxError,
    MemoryError,
    tokenize.TokenError,
    zipfile.BadZipFile,
)
"""The exceptions that NumPy and zipfile raise on a file that is missing, cut off or altered. The list was found by
altering bytes of sound files at random."""


MAX_ARTEFACT_BYTES = 1 << 30
"""An artefact may have this many bytes: the eigenvectors of 11,500 dimensions. Those of Inception-V3 have 16 MiB, and a
codebook of each of 1,024 dimensions 1 MiB."""


def read_artefact(uri: str) -> bytes:
    """Reads a file of at most MAX_ARTEFACT_BYTES.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is larger.
    """
    size = files.file_size(uri) or 0
    if size > MAX_ARTEFACT_BYTES:
        raise ValueError(f"it has {size:,} bytes, and {MAX_ARTEFACT_BYTES:,} are the most")
    return files.read_bytes(uri)


@contextmanager
def damage_named(uri: str) -> Iterator[None]:
    """Turns any failure to read or accept an artefact into a DataError that names its file."""
    try:
        yield
    except DAMAGE as error:
        raise DataError(
            what="A fitted artefact cannot be read",
            where=uri,
            why=" ".join(str(error).split()) or type(error).__name__,
            fix="restore the file, or delete the artefact's files and build again to fit it anew",
        ) from error


def require_readable(uri: str, found: int, newest: int) -> None:
    """Refuses an artefact of a format that this version does not know yet.

    Args:
        uri: The file that tells its format.
        found: The number of its format.
        newest: The newest format that this version reads; it reads all older ones.

    Raises:
        DataError: if the format is newer.
        ValueError: if the number is none of a format.
    """
    if found < 1:
        raise ValueError(f"there is no format {found}")
    if found > newest:
        raise DataError(
            what="A fitted artefact was written by a newer version of yt8m_pipeline",
            where=uri,
            why=f"its format is {found}, and this version reads formats up to {newest}",
            fix="upgrade yt8m_pipeline; the file is not damaged",
        )
