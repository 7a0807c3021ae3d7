"""Reading fitted artefacts back, with damage named."""

import tokenize
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

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
"""What NumPy and zipfile raise on a file that is missing, cut off or altered (found by altering bytes)."""


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
