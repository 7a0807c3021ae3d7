"""How a process gives up, for good, what decoding does not need: files, the network, privileges, other processes.

The order matters. `renounce` holds for the thread that calls it and those that it starts; `filter_system_calls` holds
for every thread, and after it nothing more can be given up. Each returns what the system does not offer, and goes on.
"""

import ctypes
import os
import sys
from enum import StrEnum
from struct import pack

from yt8m_pipeline.decoding.sandbox.system_calls import AUDIT_ARCH, Architecture, filter_program


class Protection(StrEnum):
    """What holds a decoding process where the system offers it, as warnings and errors name it."""

    SYSTEM_CALLS = "a filter of system calls (seccomp)"
    """It allows the calls of `system_calls.allowed`: on Linux 3.17 or later, x86-64 or 64-bit ARM."""
    FILES = "a ban on files, networks and foreign processes (Landlock)"
    """A second wall behind the first: on Linux 5.13 or later, more with each version up to 6.12."""
    USER = "a user without privileges"
    """The process is not root's: not where a container allows root no change of user."""
    MEMORY = "a limit of memory"
    """Everywhere but on macOS."""


NOBODY = 65534
"""The user and group that own nothing (Linux' overflow uid; `nobody` on every distribution)."""

_PR_SET_DUMPABLE, _PR_CAPBSET_READ, _PR_SET_NO_NEW_PRIVS, _CAP_KILL = 4, 23, 38, 5  # linux/prctl.h, capability.h
_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC = 1, 1  # linux/seccomp.h
_SECCOMP: dict[Architecture, int] = {"x86_64": 317, "aarch64": 277}
_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446
_LANDLOCK_CREATE_RULESET_VERSION = 1

_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    """struct sock_fprog (linux/filter.h)."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def renounce() -> list[Protection]:
    """Gives up the environment, root's privileges, files and the network. Returns what the system does not offer."""
    os.environ.clear()
    given_up = {Protection.USER: _become_nobody()}
    if sys.platform == "linux":
        _prctl(_PR_SET_DUMPABLE, 0)  # only root may trace the process or read its memory, and no dump of it is kept
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)  # Landlock and seccomp ask for this
    given_up[Protection.FILES] = _ban_files()
    return [protection for protection, holds in given_up.items() if not holds]


def filter_system_calls() -> list[Protection]:
    """Allows all threads the system calls of `system_calls.allowed` alone. Returns SYSTEM_CALLS where it cannot."""
    architecture = _architecture()
    if architecture is None:
        return [Protection.SYSTEM_CALLS]
    instructions = filter_program(architecture, os.getpid())
    program = ctypes.byref(_Program(len(instructions) // 8, instructions))
    status = _call(_SECCOMP[architecture], _SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC, program)
    return [] if status == 0 else [Protection.SYSTEM_CALLS]


def _architecture() -> Architecture | None:
    """Returns by which table this process numbers its system calls; None: by one that is not listed."""
    if sys.platform != "linux" or sys.maxsize < 2**32:  # a 32-bit Python on a 64-bit kernel has the numbers of 32 bits
        return None
    machine = os.uname().machine
    return next((name for name in AUDIT_ARCH if name == machine), None)


def _become_nobody() -> bool:
    """Makes root nobody, unless the parent, which has the same rights, could not kill the process any more then.

    Returns:
        Whether the process is not root's.
    """
    if os.geteuid() != 0:
        return True
    if sys.platform == "linux" and _prctl(_PR_CAPBSET_READ, _CAP_KILL) != 1:
        return False
    try:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)  # who may set any sets the real, effective and saved id at once (POSIX setuid)
    except OSError:
        return False
    return True


def _ban_files() -> bool:
    """Forbids this thread whatever Landlock can forbid, with no exception (docs.kernel.org/userspace-api/landlock).

    Returns:
        Whether it is forbidden.
    """
    if sys.platform != "linux":
        return False
    version = _call(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_CREATE_RULESET_VERSION)
    if version < 1:
        return False
    rules = pack("=QQQ", *_landlock_rights(version))
    ruleset = _call(_LANDLOCK_CREATE_RULESET, rules, len(rules), 0)
    if ruleset < 0:
        return False
    try:
        return _call(_LANDLOCK_RESTRICT_SELF, ruleset, 0) == 0
    finally:
        os.close(ruleset)


def _landlock_rights(version: int) -> tuple[int, int, int]:
    """Returns the rights that a version of Landlock knows, each as bits: of files, of TCP, and across its border.

    >>> [[bin(rights).count("1") for rights in _landlock_rights(version)] for version in (1, 2, 3, 4, 5, 6, 7)]
    [[13, 0, 0], [14, 0, 0], [15, 0, 0], [15, 2, 0], [16, 2, 0], [16, 2, 2], [16, 2, 2]]
    """
    files = 13 + (version >= 2) + (version >= 3) + (version >= 5)  # to link elsewhere; to truncate; to ioctl a device
    bind_and_connect = 2 if version >= 4 else 0
    abstract_sockets_and_signals = 2 if version >= 6 else 0
    return (1 << files) - 1, (1 << bind_and_connect) - 1, (1 << abstract_sockets_and_signals) - 1


def _prctl(option: int, value: int) -> int:
    return int(_libc.prctl(option, *map(ctypes.c_ulong, (value, 0, 0, 0))))


def _call(number: int, *arguments: object) -> int:
    """Makes a system call that the C library has no function for. Returns -1 where it is refused."""
    words = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    return int(_libc.syscall(ctypes.c_long(number), *words))
