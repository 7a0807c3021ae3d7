"""The errors that a user can meet. Each has four parts: what happened, where, why, and how to mend it.

>>> error = UsageError(what="A table is empty", where="videos.csv", why="it has no rows", fix="give one with rows")
>>> print(error)
A table is empty
  where: videos.csv
  why:   it has no rows
  fix:   give one with rows
"""

from collections.abc import Callable
from functools import partial

CONTINUED = "\n" + 9 * " "
"""What stands between the lines of a part that has several. It is as far in as the parts themselves."""


def printable(text: str) -> str:
    r"""A text as it may be shown on a terminal or in a log.

    Characters that Python does not call printable (control characters, and those that change the direction of writing
    or are invisible) become escapes, so that no name of a stranger clears a screen, adds a line to a log or hides what
    it is. (CWE-150, Improper Neutralization of Escape, Meta, or Control Sequences.)

    >>> print(printable("dog\x1b[2J\nerror: é"))
    dog\x1b[2J\nerror: é
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


class PipelineError(Exception):
    """An error with four parts. Subclasses choose the exit code of the command line.

    Args:
        what: What happened, as one sentence.
        where: The file, row, id or config field.
        why: The cause.
        fix: What the user can do about it.
    """

    exit_code = 1

    def __init__(self, *, what: str, where: str, why: str, fix: str) -> None:
        super().__init__(what, where, why, fix)
        self.what, self.where, self.why, self.fix = what, where, why, fix

    def __reduce__(self) -> tuple[Callable[[], "PipelineError"], tuple[()]]:
        """Engines pickle errors, and an exception is copied by its positional arguments, of which there are none."""
        return partial(type(self), **self.parts), ()

    @property
    def parts(self) -> dict[str, str]:
        """The four parts by name, as the constructor takes them."""
        return {"what": self.what, "where": self.where, "why": self.why, "fix": self.fix}

    def told(self) -> str:
        """The four parts as lines, as the command line tells them."""
        what, where, why, fix = (CONTINUED.join(map(printable, part.split(CONTINUED))) for part in self.parts.values())
        return f"{what}\n  where: {where}\n  why:   {why}\n  fix:   {fix}"

    def __str__(self) -> str:
        return self.told()


class UsageError(PipelineError):
    """The command, the config or a named file is wrong; nothing was started (exit code 2)."""

    exit_code = 2


class DataError(PipelineError):
    """The data fell short, or a file on disk is not what it must be (exit code 1)."""


class Terminated(KeyboardInterrupt):
    """SIGTERM has come, which stops a command as Ctrl-C does."""
