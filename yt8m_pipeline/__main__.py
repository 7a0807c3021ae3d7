"""`python -m yt8m_pipeline` is `yt8m`. What stops it while its modules are loaded is told in words, too."""

import os
import signal

STDERR = 2


def run() -> None:
    """Loads the command line and runs a command."""
    signal.signal(signal.SIGTERM, _leave)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as in the background of a shell
        signal.signal(signal.SIGINT, _leave)
    from yt8m_pipeline.cli import main  # noqa: PLC0415  which takes a third of a second

    main()


def _leave(number: int, _: object) -> None:
    """Ends the process, which has begun nothing, with the code that shells give to what the signal ends."""
    os.write(STDERR, b"stopped\n")
    os._exit(128 + number)


if __name__ == "__main__":
    run()
