"""A decoding process that a video has taken over: the video's text names system calls, and the process makes them.

`python -m tests.decoding.sandbox.taken_over NAME …` makes them where nothing holds the process.
"""

import ctypes
import mmap
import os
import sys
from collections.abc import Callable, Generator, Mapping
from errno import errorcode
from signal import SIGCHLD, SIGCONT, SIGKILL
from struct import pack
from typing import BinaryIO

from yt8m_pipeline.accounting.reasons import DropReason, VideoRejected
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.decoding.facts import Decoded, SampledFrame
from yt8m_pipeline.decoding.sandbox import child

PARENT = os.getppid()
AT_FDCWD, AT_EMPTY_PATH = -100, 0x1000
READ, READ_WRITE, CREATE = os.O_RDONLY, os.O_RDWR, os.O_WRONLY | os.O_CREAT
PATH, NEW = b"/etc/passwd", b"/tmp/taken_over"
ARGV = pack("QQ", 0, 0)
VECTOR = pack("QQ", 0, 8)
CLONE_VM, CLONE_SIGHAND, CLONE_THREAD, CLONE_NEWUSER = 0x100, 0x800, 0x10000, 0x10000000
LOOPBACK = pack("=HHI8x", 2, 0x5000, 0x0100007F)
ABSTRACT = pack("=H", 1) + b"\0abstract"
PRIVATE_MEMORY = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
EXECUTABLE = mmap.PROT_READ | mmap.PROT_EXEC

OWN_PAGE = mmap.mmap(-1, mmap.PAGESIZE, PRIVATE_MEMORY)
OWN_ADDRESS = ctypes.addressof(ctypes.c_char.from_buffer(OWN_PAGE))

CALLS: Mapping[str, tuple[int, *tuple[int | bytes, ...]]] = {
    # files
    "open": (2, PATH, READ),
    "open the environment of the parent": (2, f"/proc/{PARENT}/environ".encode(), READ),
    "open the memory of the parent": (2, f"/proc/{PARENT}/mem".encode(), READ_WRITE),
    "open its own environment": (2, b"/proc/self/environ", READ),
    "open its own memory": (2, b"/proc/self/mem", READ_WRITE),
    "open a device": (2, b"/dev/null", READ_WRITE),
    "open a folder": (2, b"/", READ | os.O_DIRECTORY),
    "open a new file": (2, NEW, CREATE, 0o600),
    "creat": (85, NEW, 0o600),
    "openat": (257, AT_FDCWD, PATH, READ),
    "openat2": (437, AT_FDCWD, PATH, pack("QQQ", 0, 0, 0), 24),
    "name_to_handle_at": (303, AT_FDCWD, PATH, pack("Ii", 128, 0) + bytes(128), bytes(8), 0),
    "open_by_handle_at": (304, AT_FDCWD, pack("Ii", 8, 1) + bytes(8), READ),
    "stat": (4, PATH, bytes(256)),
    "newfstatat": (262, AT_FDCWD, PATH, bytes(256), AT_EMPTY_PATH),
    "statx": (332, AT_FDCWD, PATH, 0, 0xFFF, bytes(256)),
    "access": (21, PATH, 4),
    "readlink": (89, b"/proc/self/exe", bytes(256), 256),
    "getcwd": (79, bytes(4096), 4096),
    "chdir": (80, b"/"),
    "chroot": (161, b"/"),
    "unlink": (87, NEW),
    "unlinkat": (263, AT_FDCWD, NEW, 0),
    "rename": (82, NEW, NEW),
    "renameat2": (316, AT_FDCWD, NEW, AT_FDCWD, NEW, 0),
    "symlink": (88, PATH, NEW),
    "link": (86, PATH, NEW),
    "mkdir": (83, NEW, 0o700),
    "rmdir": (84, NEW),
    "mknod": (133, NEW, 0o600, 0),
    "chmod": (90, NEW, 0o777),
    "fchmod": (91, 0, 0o777),
    "chown": (92, NEW, 0, 0),
    "truncate": (76, NEW, 0),
    "utimensat": (280, AT_FDCWD, NEW, 0, 0),
    "inotify_init1": (294, 0),
    "fanotify_init": (300, 0, 0),
    "sendfile": (40, 0, 0, 0, 1),
    "splice": (275, 0, 0, 0, 0, 1, 0),
    # the network
    "socket of IPv4": (41, 2, 1, 0),
    "socket of Unix": (41, 1, 1, 0),
    "socket of netlink": (41, 16, 3, 0),
    "socketpair": (53, 1, 1, 0, bytes(8)),
    "connect": (42, 0, LOOPBACK, len(LOOPBACK)),
    "bind": (49, 0, ABSTRACT, len(ABSTRACT)),
    "listen": (50, 0, 1),
    "accept4": (288, 0, 0, 0, 0),
    "sendmsg": (46, 0, bytes(56), 0),
    # programs and processes
    "execve": (59, b"/bin/true", ARGV, ARGV),
    "execveat": (322, AT_FDCWD, b"/bin/true", ARGV, ARGV, 0),
    "fork": (57,),
    "vfork": (58,),
    "clone a process": (56, SIGCHLD, 0, 0, 0, 0),
    "clone a thread": (56, CLONE_VM | CLONE_SIGHAND | CLONE_THREAD, 0, 0, 0, 0),
    "clone3": (435, pack("11Q", 0, 0, 0, 0, SIGCHLD, 0, 0, 0, 0, 0, 0), 88),
    "memfd_create": (319, b"program", 0),
    "memfd_secret": (447, 0),
    "execute new memory": (9, 0, mmap.PAGESIZE, EXECUTABLE, PRIVATE_MEMORY, -1, 0),
    "execute its own memory": (10, OWN_ADDRESS, mmap.PAGESIZE, EXECUTABLE),
    "pkey_mprotect": (329, OWN_ADDRESS, mmap.PAGESIZE, EXECUTABLE, -1),
    "ptrace the parent": (101, 16, PARENT, 0, 0),
    "be traced": (101, 0, 0, 0, 0),
    "process_vm_readv": (310, PARENT, VECTOR, 1, VECTOR, 1, 0),
    "process_vm_writev": (311, PARENT, VECTOR, 1, VECTOR, 1, 0),
    "process_madvise": (440, 0, VECTOR, 1, 4, 0),
    "kill the parent": (62, PARENT, SIGKILL),
    "kill everybody": (62, -1, SIGCONT),
    "ask for the parent": (62, PARENT, 0),
    "tkill the parent": (200, PARENT, SIGKILL),
    "tgkill the parent": (234, PARENT, PARENT, SIGKILL),
    "rt_sigqueueinfo": (129, PARENT, SIGKILL, bytes(128)),
    "pidfd_open": (434, PARENT, 0),
    "pidfd_getfd": (438, 0, 0, 0),
    "pidfd_send_signal": (424, 0, SIGKILL, 0, 0),
    "own the socket's signals": (72, 0, 8, PARENT),
    "ioctl": (16, 0, 0x5412, b"x"),
    "dup2": (33, 0, 3),
    "setsid": (112,),
    "setpriority": (141, 1, 0, -20),
    "sched_setaffinity": (203, PARENT, 8, bytes(8)),
    # the kernel
    "io_uring_setup": (425, 8, bytes(120)),
    "io_setup": (206, 8, bytes(8)),
    "bpf": (321, 0, bytes(128), 128),
    "userfaultfd": (323, 0),
    "perf_event_open": (298, bytes(128), 0, -1, -1, 0),
    "keyctl": (250, 0, -3, 0),
    "add_key": (248, b"user", b"name", b"value", 5, -3),
    "shmget": (29, 0, 4096, 0o1600),
    "msgget": (68, 0, 0o1600),
    "mq_open": (240, b"queue", CREATE, 0o600, 0),
    "eventfd2": (290, 0, 0),
    "modify_ldt": (154, 0, bytes(16), 16),
    "personality": (135, 0xFFFFFFFF),
    "prctl": (157, 4, 1, 0, 0, 0),
    "seccomp": (317, 2, 0, pack("I", 0)),
    "landlock_create_ruleset": (444, 0, 0, 1),
    "prlimit64": (302, PARENT, 7, 0, bytes(16)),
    "setresuid": (117, 0, 0, 0),
    "setgroups": (116, 0, 0),
    "capset": (126, pack("II", 0x20080522, 0), bytes(24)),
    "unshare": (272, CLONE_NEWUSER),
    "setns": (308, 0, 0),
    "mount": (165, b"proc", b"/proc", b"proc", 0, 0),
    "umount2": (166, b"/proc", 2),
    "pivot_root": (155, b"/", b"/"),
    "fsopen": (430, b"proc", 0),
    "open_tree": (428, AT_FDCWD, b"/", 0),
    "init_module": (175, b"", 0, b""),
    "kexec_load": (246, 0, 0, 0, 0),
    "reboot": (169, 0, 0, 0, 0),
    "sethostname": (170, b"name", 4),
    "settimeofday": (164, 0, 0),
    "swapon": (167, PATH, 0),
    "iopl": (172, 3),
    "syslog": (103, 3, bytes(64), 64),
    "acct": (163, NEW),
    "quotactl": (179, 0, 0, 0, 0),
}
"""System calls of x86-64: numbers and arguments, a buffer for each `bytes`."""

REACHABLE = (
    *("open", "openat", "openat2", "open its own environment", "open its own memory", "stat", "access", "getcwd"),
    *("socket of IPv4", "socket of Unix", "socketpair", "memfd_create", "execute new memory", "ask for the parent"),
    *("pidfd_open", "eventfd2", "inotify_init1", "prctl", "personality", "landlock_create_ruleset"),
)
"""Some of these, which every process may make that nothing holds, and which do no harm."""

FORKS = {"fork", "vfork", "clone a process", "clone a thread", "clone3"}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

INT_80 = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
INT_80.write(bytes.fromhex("b814000000 cd80 c3"))  # mov eax, 20 (getpid of 32 bits); int 0x80; ret
DEADLY: Mapping[str, Callable[[], object]] = {
    "call of 32 bits": ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(INT_80))),
    "call of x32": lambda: _libc.syscall(ctypes.c_long(0x40000000 | 39)),
    "abort": os.abort,
}
"""What ends the process."""


def outcome(name: str) -> str:
    """Makes a system call, and returns the name of its error, or its result."""
    number, *arguments = CALLS[name]
    words = [
        ctypes.create_string_buffer(word) if isinstance(word, bytes) else ctypes.c_long(word) for word in arguments
    ]
    result = _libc.syscall(number, *words)
    if name in FORKS and result == 0:
        os._exit(0)
    return errorcode[ctypes.get_errno()] if result == -1 else str(result)


def take_over(file: BinaryIO, _: Decoding, __: int | None) -> Generator[SampledFrame, None, Decoded]:
    """Makes what the video names, with all descriptors closed but the socket."""
    name = file.read().decode()
    file.close()
    os.close(1)
    os.close(2)
    if name in DEADLY:
        DEADLY[name]()
    outcomes = [outcome(name) for name in (CALLS if name == "all" else [name])]
    raise VideoRejected(DropReason.DAMAGED, " ".join(outcomes))


if __name__ == "__main__":
    if sys.argv[1] in CALLS:
        sys.stdout.write(" ".join(outcome(name) for name in sys.argv[1:]))
    else:
        child.decode_frames = take_over  # type: ignore[assignment, attr-defined]
        child.main(Decoding.model_validate_json(sys.argv[1]), int(sys.argv[2]) or None)
