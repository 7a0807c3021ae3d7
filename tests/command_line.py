"""The command line in the process of the tests: a build then costs no imports."""

import io
import logging
import re
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from unittest import mock

import pytest

from yt8m_pipeline.cli import main

FOUR_PARTS = re.compile(r"^error: (.+)\n  where: (.+)\n  why:   ((?:.|\n {9})+)\n  fix:   (.+)\n\Z", re.MULTILINE)


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Like `yt8m` of conftest, without a process; an exception that no user should see fails the test."""
    levels = {logger: logger.level for logger in (logging.getLogger(), logging.getLogger("apache_beam"))}
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), mock.patch.object(sys, "argv", ["yt8m", *arguments]):
        try:
            with pytest.raises(SystemExit) as ended:
                main()
        finally:
            for logger, level in levels.items():
                logger.setLevel(level)
    return subprocess.CompletedProcess(arguments, int(ended.value.code or 0), out.getvalue(), err.getvalue())


def four_parts(finished: "subprocess.CompletedProcess[str]") -> tuple[str, str, str, str]:
    """What, where, why and fix of the error that a command ended with."""
    assert "Traceback" not in finished.stderr
    found = FOUR_PARTS.search(finished.stderr)
    assert found, finished.stderr
    what, where, why, fix = found.groups()
    return what, where, why, fix


def listen_to_interrupts() -> None:
    """For a new process: a shell starts what runs in its background with SIGINT ignored, and that is inherited."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
