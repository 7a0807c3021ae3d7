"""Faults of the machine, rather than of a config or of data, in the words of an error with four parts."""

import sys
from errno import EACCES, EAGAIN, EMFILE, ENFILE, ENOMEM, EPERM

from yt8m_pipeline.errors import DataError

MANY_FILES, NO_MEMORY = {EMFILE, ENFILE}, {EAGAIN, ENOMEM}
"""The error numbers of a process or system with too many open files, and of one that gets no memory or thread more."""

BEAM_HAS_NO_MEMORY = "OutputStream realloc failed."
"""What Beam asserts where it gets no memory for the elements that it passes on (`coders/stream.pyx`)."""

NO_THREAD = "can't start new thread"
"""What Python says where a thread gets no memory for its stack."""


def fault_of_machine(error: Exception) -> DataError | None:
    """What an exception says of the machine; None if it may as well be an error of this program."""
    where, number = " ".join(["yt8m", *sys.argv[1:]]), getattr(error, "errno", None)
    if number in MANY_FILES:
        fix = "raise the limit, with `ulimit -n 1024`; what is finished stands"
        return DataError(what="Too many files are open", where=where, why=str(error), fix=fix)
    if isinstance(error, MemoryError) or number in NO_MEMORY or str(error) in (BEAM_HAS_NO_MEMORY, NO_THREAD):
        fix = "raise the limit (`ulimit -v`), or use a machine with more memory; what is finished stands"
        return DataError(what="There is not enough memory", where=where, why=_words(error), fix=fix)
    if number in (EACCES, EPERM):
        fix = "let the user of this command read there, and write where it writes; or give another place"
        return DataError(what="Permission was denied", where=where, why=_words(error), fix=fix)
    if isinstance(error, ImportError) and not isinstance(error, ModuleNotFoundError):
        fix = "raise the limit of memory (`ulimit -v`) if there is one; else install the package that it is of again"
        return DataError(what="A library cannot be loaded", where=where, why=_words(error), fix=fix)
    return None


def not_printed(error: OSError) -> DataError:
    """The error of a command that did its work, but could not print what it found."""
    return DataError(
        what="The output could not be printed",
        where="stdout",
        why=error.strerror or str(error),
        fix="print it where there is space; what the command wrote to files stands",
    )


def _words(error: Exception) -> str:
    """The text of an exception in one line."""
    return " ".join(str(error).split()) or "the system gave no more"
