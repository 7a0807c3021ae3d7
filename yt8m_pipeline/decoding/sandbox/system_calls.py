"""The system calls that decoding needs, each with its reason, and the filter that refuses all others.

The filter is a program in classic BPF that the kernel runs before each system call (seccomp, Linux 3.5 and later;
Documentation/userspace-api/seccomp_filter.rst). It cannot follow pointers, so only calls whose danger shows in their
numbers are allowed. A refused call answers EPERM, so that a library which was misled by a video says so in its
rejection. A call by another architecture's numbers ends the process.

It is written here because PyPI has no well-kept package for it: `pyseccomp`, a binding of the system's libseccomp, was
last released in 2021, and what came later are first versions of single authors.
"""

from errno import EPERM
from struct import Struct
from typing import Literal, NamedTuple, TypeAlias

Architecture: TypeAlias = Literal["x86_64", "aarch64"]

AUDIT_ARCH: dict[Architecture, int] = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""What the kernel calls an architecture when it asks the filter (linux/audit.h)."""

X32 = 0x40000000
"""On x86-64, numbers from here on are calls of the x32 ABI: every call once more, by another number."""

ALL_BITS = 0xFFFFFFFF
PROT_EXEC = 4
F_DUPFD_CLOEXEC = 1030


class Argument(NamedTuple):
    """What an argument of a system call must be: its low 32 bits, masked, have this value.

    The kernel reads no more than these of the arguments that are checked here: an `int`, or flags that end below.
    """

    position: int
    mask: int
    value: int


class SystemCall(NamedTuple):
    """A system call that is allowed.

    Attributes:
        name: Its name.
        x86_64: Its number on x86-64 (asm/unistd_64.h).
        aarch64: Its number on 64-bit ARM (asm-generic/unistd.h); None: the architecture has no such call.
        reason: Why decoding needs it.
        argument: What one of its arguments must be; None: any will do.
    """

    name: str
    x86_64: int
    aarch64: int | None
    reason: str
    argument: Argument | None = None


NOT_EXECUTABLE = Argument(2, mask=PROT_EXEC, value=0)


def allowed(process: int) -> tuple[SystemCall, ...]:
    """Returns the system calls that a decoding process may make.

    Args:
        process: The id of the process, as it sees itself.
    """
    itself = Argument(0, mask=ALL_BITS, value=process)
    duplicates = Argument(1, mask=ALL_BITS, value=F_DUPFD_CLOEXEC)
    return (
        SystemCall("lseek", 8, 62, "A demuxer moves about in a local video."),
        SystemCall("read", 0, 63, "A demuxer reads a local video."),
        SystemCall("close", 3, 57, "A video is closed after its job."),
        SystemCall("fcntl", 72, 25, "The null device takes the place of a remote video's file.", duplicates),
        SystemCall("recvmsg", 47, 212, "A job comes from the parent, with the descriptor of a local video."),
        SystemCall("recvfrom", 45, 207, "A block of a remote video comes from the parent."),
        SystemCall("sendto", 44, 206, "Frames and other answers go to the parent; the socket has no other peer."),
        SystemCall("write", 1, 64, "Python prints an uncaught exception, and glibc why it aborts."),
        SystemCall("brk", 12, 214, "The allocator gets and returns memory."),
        SystemCall("mmap", 9, 222, "The allocator gets memory for a frame; never to be executed.", NOT_EXECUTABLE),
        SystemCall("munmap", 11, 215, "The allocator returns that memory."),
        SystemCall("mremap", 25, 216, "The allocator lets a large buffer grow."),
        SystemCall("madvise", 28, 233, "The allocator says which memory it does not need for now."),
        SystemCall("mprotect", 10, 226, "The allocator opens memory it has reserved; never code.", NOT_EXECUTABLE),
        SystemCall("futex", 202, 98, "The decoding thread and the one that watches the parent take turns."),
        SystemCall("poll", 7, None, "A thread waits for the parent's end."),
        SystemCall("ppoll", 271, 73, "The same, where there is no poll."),
        SystemCall("restart_syscall", 219, 128, "That wait goes on after the process was stopped and continued."),
        SystemCall("clock_gettime", 228, 113, "Python and FFmpeg read the clock, where that needs a system call."),
        SystemCall("gettimeofday", 96, 169, "FFmpeg reads the clock."),
        SystemCall("getrandom", 318, 278, "glibc's allocator and FFmpeg seed their tables."),
        SystemCall("rt_sigprocmask", 14, 135, "abort() lets its signal through."),
        SystemCall("rt_sigaction", 13, 134, "abort(), and Python when it ends, restore what signals do by default."),
        SystemCall("getpid", 39, 172, "abort() sends a signal to this process."),
        SystemCall("gettid", 186, 178, "abort() sends it to this thread."),
        SystemCall("tgkill", 234, 131, "abort() sends it; to no other process.", itself),
        SystemCall("exit", 60, 93, "A thread ends."),
        SystemCall("exit_group", 231, 94, "The process ends."),
    )


_INSTRUCTION = Struct("=HBBI")
"""struct sock_filter (linux/filter.h): the code, how far to jump if a condition holds and if not, and a constant."""

_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06  # BPF_LD|BPF_W|BPF_ABS, BPF_ALU|BPF_AND|BPF_K, BPF_RET|BPF_K
_JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST = 0x15, 0x35  # BPF_JMP|BPF_JEQ|BPF_K, BPF_JMP|BPF_JGE|BPF_K

_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
"""Offsets in struct seccomp_data (linux/seccomp.h). An argument has 64 bits, on both architectures the low 32 first."""

ALLOW, KILL_PROCESS, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000 | EPERM
"""What a filter returns (linux/seccomp.h): SECCOMP_RET_ALLOW, _KILL_PROCESS, and _ERRNO with an error number."""


def filter_program(architecture: Architecture, process: int) -> bytes:
    """Returns the filter for a process: instructions of eight bytes.

    >>> len(filter_program("x86_64", process=1)) // 8 < 4096  # the kernel's limit, BPF_MAXINSNS
    True
    """
    program = [
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_JUMP_IF_EQUAL, AUDIT_ARCH[architecture], if_true=1),
        _instruction(_RETURN, KILL_PROCESS),
        _instruction(_LOAD, _NUMBER),
    ]
    if architecture == "x86_64":
        program += [_instruction(_JUMP_IF_AT_LEAST, X32, if_false=1), _instruction(_RETURN, KILL_PROCESS)]
    for call in allowed(process):
        number = call.x86_64 if architecture == "x86_64" else call.aarch64
        if number is not None:
            answer = _answer(call.argument)
            program += [_instruction(_JUMP_IF_EQUAL, number, if_false=len(answer)), *answer]
    return b"".join([*program, _instruction(_RETURN, REFUSE)])


def _answer(argument: Argument | None) -> list[bytes]:
    """Returns the instructions that answer a call of a known number."""
    if argument is None:
        return [_instruction(_RETURN, ALLOW)]
    return [
        _instruction(_LOAD, _ARGUMENTS + 8 * argument.position),
        _instruction(_AND, argument.mask),
        _instruction(_JUMP_IF_EQUAL, argument.value, if_false=1),
        _instruction(_RETURN, ALLOW),
        _instruction(_RETURN, REFUSE),
    ]


def _instruction(code: int, constant: int, *, if_true: int = 0, if_false: int = 0) -> bytes:
    return _INSTRUCTION.pack(code, if_true, if_false, constant)
