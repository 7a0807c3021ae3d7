"""The standard streams of a command: what cannot be printed stops no work, and is told in the end."""

import io
import os
import sys
from typing import Any, TextIO

_STANDARD = {"stdout": 1, "stderr": 2}


class _Stream(io.FileIO):
    """The bytes of a standard stream. What cannot be written is dropped, and the reason is kept.

    Nobody reads the rest of a pipe that is closed (`| head -1`), so that on stdout this is raised: it ends the command,
    as it ends other programs. Progress and errors on stderr go on unread.
    """

    failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if isinstance(error, BrokenPipeError) and self.fileno() == _STANDARD["stdout"]:
                raise
            self.failure = error
            return len(data)


def prepare() -> None:
    """Makes the standard streams ones that drop what cannot be printed, also where the caller has closed them.

    Letters that a terminal does not know are shown escaped: é as \\xe9. The null device takes the place of a closed
    stream, or the next file that is opened would get its number, and what libraries print would go into that file.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= max(_STANDARD.values()):
        pass
    os.close(descriptor)
    for name, number in _STANDARD.items():
        setattr(sys, name, _prepared(getattr(sys, name), number))


def _prepared(stream: TextIO | None, descriptor: int) -> TextIO:
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    elif stream is not None:
        return stream  # a program that calls this one has put its own there
    if stream and type(getattr(stream.buffer, "raw", stream.buffer)) is not io.FileIO:
        return stream  # the console of Windows
    buffer = io.BufferedWriter(_Stream(descriptor, "w", closefd=False))
    encoding, at_once = (stream.encoding, stream.write_through) if stream else ("utf-8", False)
    lines = os.isatty(descriptor) or descriptor == _STANDARD["stderr"]
    return io.TextIOWrapper(buffer, encoding, "backslashreplace", line_buffering=lines, write_through=at_once)


def flushed() -> OSError | None:
    """Prints what waits to be printed on stdout. The reason, if it or anything before it could not be printed."""
    try:
        sys.stdout.flush()
    except BrokenPipeError as error:
        sys.stdout = io.StringIO()
        return error
    buffer = getattr(sys.stdout, "buffer", None)
    return getattr(getattr(buffer, "raw", None), "failure", None)
