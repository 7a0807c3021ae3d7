"""What holds a decoding process: each part, all of them against code that took over, and systems that lack one."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from struct import iter_unpack, pack
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Workshop
from tests.decoding.clips import encode
from tests.decoding.sandbox.taken_over import CALLS, DEADLY, REACHABLE
from tests.decoding.test_golden_frames import GOLDEN, SIZE, VIDEOS
from yt8m_pipeline.accounting.reasons import VideoRejected
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.decoding.facts import Decoded, SampledFrame
from yt8m_pipeline.decoding.frames import decode_frames
from yt8m_pipeline.decoding.sandbox.confinement import NOBODY, Protection
from yt8m_pipeline.decoding.sandbox.parent import Sandbox, missing_protections
from yt8m_pipeline.decoding.sandbox.system_calls import (
    ALLOW,
    AUDIT_ARCH,
    KILL_PROCESS,
    REFUSE,
    X32,
    Architecture,
    SystemCall,
    allowed,
    filter_program,
)

ROOT = Path(__file__).parents[3]
PROCESS = 4711
ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}

only_on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the protections are Linux'")
only_on_x86_64 = pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine != "x86_64", reason="the hostile calls have the numbers of x86-64"
)


def number_of(call: SystemCall, architecture: Architecture) -> int | None:
    return call.x86_64 if architecture == "x86_64" else call.aarch64


def answer(architecture: Architecture, number: int, arguments: Sequence[int] = (), *, called_by: int = 0) -> int:
    """What the filter answers: classic BPF as the kernel runs it (net/core/filter.c), of what the filter uses."""
    six = [*arguments, *[0] * (6 - len(arguments))]
    data = pack("=II7Q", number, called_by or AUDIT_ARCH[architecture], 0, *six)
    program = list(iter_unpack("=HBBI", filter_program(architecture, PROCESS)))
    accumulator = at = 0
    while True:
        code, if_true, if_false, constant = program[at]
        at += 1
        if code == 0x06:
            return int(constant)
        if code == 0x20:
            accumulator = int.from_bytes(data[constant : constant + 4], sys.byteorder)
        elif code == 0x54:
            accumulator &= constant
        else:
            at += if_true if {0x15: accumulator == constant, 0x35: accumulator >= constant}[code] else if_false


@pytest.mark.parametrize("architecture", ARCHITECTURES)
class TestFilter:
    def test_it_allows_what_is_listed_and_refuses_all_else(self, architecture: Architecture) -> None:
        listed = {number_of(call, architecture): call.argument for call in allowed(PROCESS)}
        for number in range(1024):
            argument = listed.get(number)
            arguments = [0] * argument.position + [argument.value] if argument else []
            assert answer(architecture, number, arguments) == (ALLOW if number in listed else REFUSE)

    def test_the_numbers_are_those_of_the_kernel(self, architecture: Architecture) -> None:
        if not HEADERS[architecture].exists():
            pytest.skip("the kernel's headers are not installed")
        defined = re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)$", HEADERS[architecture].read_text(), re.M)
        numbers = {name: int(number) for name, number in defined}
        assert {call.name: number_of(call, architecture) for call in allowed(PROCESS)} == {
            call.name: numbers.get(call.name) for call in allowed(PROCESS)
        }

    def test_each_call_stands_there_once_with_a_reason(self, architecture: Architecture) -> None:
        numbers = [number_of(call, architecture) for call in allowed(PROCESS) if number_of(call, architecture)]
        assert len(set(numbers)) == len(numbers)
        assert all(re.fullmatch(r"[A-Za-z].{10,}\.", call.reason) for call in allowed(PROCESS))

    def test_a_call_of_another_architecture_is_the_end(self, architecture: Architecture) -> None:
        others = {0x40000003, 0x40000028, *AUDIT_ARCH.values()} - {AUDIT_ARCH[architecture]}
        for other in others:
            assert (
                answer(architecture, number_of(allowed(PROCESS)[0], architecture) or 0, called_by=other) == KILL_PROCESS
            )

    @given(number=st.integers(X32, 2**32 - 1))
    def test_a_number_beyond_all_is_no_call(self, architecture: Architecture, number: int) -> None:
        assert answer(architecture, number) == (KILL_PROCESS if architecture == "x86_64" else REFUSE)

    @given(protection=st.integers(0, 2**64 - 1))
    @pytest.mark.parametrize("name", ["mmap", "mprotect"])
    def test_no_memory_is_executable(self, architecture: Architecture, name: str, protection: int) -> None:
        number = self.number(name, architecture)
        assert answer(architecture, number, [0, 4096, protection]) == (REFUSE if protection & 4 else ALLOW)

    @given(target=st.integers(0, 2**64 - 1) | st.just(PROCESS), high=st.integers(0, 2**32 - 1))
    def test_only_the_process_itself_gets_a_signal(self, architecture: Architecture, target: int, high: int) -> None:
        number = self.number("tgkill", architecture)
        assert answer(architecture, number, [target, 1, 9]) == (ALLOW if target & 0xFFFFFFFF == PROCESS else REFUSE)
        assert answer(architecture, number, [high << 32 | PROCESS, 1, 9]) == ALLOW  # the kernel takes an int

    def number(self, name: str, architecture: Architecture) -> int:
        return next(number_of(call, architecture) or 0 for call in allowed(PROCESS) if call.name == name)


# ---------------------------------------------------------------- Whoever takes the process over

DRIVER = """
import os, sys
from yt8m_pipeline.accounting.reasons import VideoRejected
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.decoding.sandbox import parent
parent.CHILD = "tests.decoding.sandbox.taken_over"
with parent.Sandbox(Decoding(timeout_seconds=60), 64) as sandbox:
    try:
        list(sandbox.decode(sys.argv[1]))
    except VideoRejected as refused:
        print(os.getuid(), refused.detail)
"""


@pytest.fixture(scope="module")
def public_folder() -> Iterator[Path]:
    """A folder that every user may read."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def python(user: int, code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Runs code as a user: this one, or another one, for whom the interpreter may have to be the system's."""
    path, command = os.pathsep.join([str(ROOT), *sys.path]), [sys.executable, "-B", "-c", code, *arguments]
    if user == os.getuid():
        return subprocess.run(command, env={"PYTHONPATH": path}, cwd="/", capture_output=True, text=True, check=False)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for command[0] in (sys.executable, f"/usr/bin/{version}"):
        try:
            return subprocess.run(
                command,
                env={"PYTHONPATH": path},
                cwd="/",
                capture_output=True,
                text=True,
                check=False,
                user=user,
                group=user,
                extra_groups=[],
            )
        except (PermissionError, FileNotFoundError):
            pass
    pytest.skip("an ordinary user cannot run this Python")


def taken_over(user: int, folder: Path, text: str) -> str:
    """How a video ended that makes these calls, decoded by a user."""
    video = folder / "video.mp4"
    video.write_text(text)
    result = python(user, DRIVER, str(video))
    who, _, detail = result.stdout.strip().partition(" ")
    assert (who, result.stderr) == (str(user), "")
    return detail


@pytest.fixture(scope="module")
def every_protection() -> None:
    """Skips a test where this system lacks a protection itself."""
    if missing := missing_protections(Decoding()):
        pytest.skip(f"this system lacks {', '.join(missing)}")


@pytest.fixture(params=["root", "an ordinary user"])
def user(request: pytest.FixtureRequest) -> int:
    if os.getuid() == 0:
        return 0 if request.param == "root" else 1000
    if request.param == "root":
        pytest.skip("only root can be root")
    return os.getuid()


@only_on_x86_64
@pytest.mark.usefixtures("every_protection")
class TestTakenOver:
    def test_no_call_gets_out(self, user: int, public_folder: Path) -> None:
        outcomes = taken_over(user, public_folder, "all").split(" ")
        assert dict(zip(CALLS, outcomes, strict=True)) == dict.fromkeys(CALLS, "EPERM")

    @pytest.mark.parametrize(("name", "number"), list(zip(DEADLY, ["SIGSYS", "SIGSYS", "SIGABRT"], strict=True)))
    def test_calls_by_other_numbers_and_an_abort_end_the_process(
        self, user: int, public_folder: Path, name: str, number: str
    ) -> None:
        assert taken_over(user, public_folder, name) == f"the decoder ended by signal {number}"

    def test_where_nothing_holds_them_calls_do_what_they_say(self) -> None:
        """So the tests above can fail."""
        command = [sys.executable, "-m", "tests.decoding.sandbox.taken_over", *REACHABLE]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        outcomes = dict(zip(REACHABLE, result.stdout.split(), strict=True))
        assert not [name for name, outcome in outcomes.items() if not outcome.isdigit()], outcomes


RENOUNCED = """
import os, socket, sys
from yt8m_pipeline.decoding.sandbox import confinement
assert not confinement.renounce()
def attempt(act):
    try:
        act()
        print("it can")
    except OSError as error:
        print(error.strerror)
attempt(lambda: open("/etc/passwd"))
attempt(lambda: open(sys.argv[2], "w"))
attempt(lambda: os.listdir("/"))
attempt(lambda: os.remove("/etc/passwd"))
attempt(lambda: os.execv("/bin/true", ["true"]))
attempt(lambda: os.kill(os.getppid(), 0))
attempt(lambda: socket.socket().connect((b"127.0.0.1", int(sys.argv[1]))))
attempt(lambda: socket.socket().bind((b"127.0.0.1", 0)))
print(os.getresuid(), os.getresgid(), os.getgroups(), dict(os.environ))
"""


@only_on_linux
@pytest.mark.usefixtures("every_protection")
class TestRenouncing:
    def test_what_is_given_up_is_gone_without_the_filter_too(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            result = python(os.getuid(), RENOUNCED, str(server.getsockname()[1]), str(tmp_path / "new"))
        *attempts, who = result.stdout.splitlines()
        assert set(attempts) == {"Permission denied", "Operation not permitted"}, result.stderr
        assert len(attempts) == 8
        ids = NOBODY if os.getuid() == 0 else os.getuid()
        assert who.startswith(f"{(ids,) * 3} ")
        assert who.endswith(" {}")
        if os.getuid() == 0:
            assert who == f"{(ids,) * 3} {(ids,) * 3} [] {{}}"


# ---------------------------------------------------------------- What decoding needs

DAMAGES: Mapping[str, Callable[[bytes], bytes]] = {
    "whole": lambda data: data,
    "cut": lambda data: data[: len(data) * 2 // 3],
    "with a hole": lambda data: data[: len(data) // 2] + bytes(500) + data[len(data) // 2 + 500 :],
    "without its beginning": lambda data: data[len(data) // 3 :],
}


@pytest.fixture(scope="module", params=["strict", "salvage"])
def sandbox(request: pytest.FixtureRequest) -> Iterator[tuple[Sandbox, Decoding]]:
    decoding = Decoding.model_validate({"damage": request.param, "min_decoded_fraction": 0})
    with Sandbox(decoding, SIZE) as ready:
        yield ready, decoding


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("video", VIDEOS)
def test_frames_and_verdicts_are_those_of_a_process_that_nothing_holds(
    sandbox: tuple[Sandbox, Decoding], tmp_path: Path, video: str, damage: str
) -> None:
    """Of every golden video. So the table of system calls lacks none that decoding needs, on sound and other paths."""
    confined, decoding = sandbox
    path = tmp_path / video
    path.write_bytes(DAMAGES[damage]((GOLDEN / video).read_bytes()))
    with path.open("rb") as file:
        expected = decoded(decode_frames(file, decoding, SIZE))
    assert decoded(confined.decode(str(path))) == expected
    assert damage != "whole" or isinstance(expected[-1], Decoded)


def decoded(frames: Generator[SampledFrame, None, Decoded]) -> list[object]:
    """Times and digests of a video's frames, and what is known of it then or the reason why not."""
    found: list[object] = []
    try:
        while True:
            frame = next(frames)
            found.append((frame.index, frame.pts_seconds, sha256(frame.rgb.tobytes()).hexdigest()))
    except StopIteration as end:
        return [*found, end.value]
    except VideoRejected as rejection:
        return [*found, (rejection.reason, rejection.detail, rejection.decoded_fraction)]


# ---------------------------------------------------------------- Systems that lack a protection

LACKING = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]
def without(call):
    code = b"".join(struct.pack("=HBBI", *step) for step in [
        (0x20, 0, 0, 0), (0x15, 0, 1, call), (0x06, 0, 0, 0x50000 | 38), (0x06, 0, 0, 0x7FFF0000)])
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, ctypes.byref(Program(4, code)), 0, 0) == 0
"""
"""As where the kernel has no such call, or where a container's own filter hides it."""

LACKS: Mapping[str, tuple[str, Protection]] = {
    "a kernel without Landlock": ("without(444)", Protection.FILES),
    "a kernel that lets no ruleset hold": ("without(446)", Protection.FILES),
    "a container without seccomp": (
        "without({'x86_64': 317, 'aarch64': 277}[os.uname().machine])",
        Protection.SYSTEM_CALLS,
    ),
    "an unknown architecture": ("libc.personality(8)", Protection.SYSTEM_CALLS),
    "a root that may not change its user": ("libc.prctl(24, 7, 0, 0, 0)", Protection.USER),
    "a root that may not kill nobody": ("libc.prctl(24, 5, 0, 0, 0)", Protection.USER),
}

DECODING = """
import json
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.decoding.sandbox.parent import Sandbox, missing_protections
from yt8m_pipeline.errors import UsageError
with Sandbox(Decoding(), 64) as sandbox:
    frames = [len(list(sandbox.decode(sys.argv[1]))) for _ in range(2)]
try:
    list(Sandbox(Decoding(sandbox="strict"), 64).decode(sys.argv[1]))
    refused = {}
except UsageError as error:
    refused = error.parts
print(json.dumps([frames, missing_protections(Decoding()), refused]))
"""


@only_on_linux
@pytest.mark.usefixtures("every_protection")
class TestLackingSystems:
    @pytest.mark.parametrize("kind", LACKS)
    def test_best_effort_decodes_and_names_what_is_lacking_and_strict_refuses(self, tmp_path: Path, kind: str) -> None:
        restrict, lacking = LACKS[kind]
        if lacking is Protection.USER and os.getuid() != 0:
            pytest.skip("only root has privileges to give up")
        (tmp_path / "video.mp4").write_bytes(encode(range(0, 3500, 100)))
        result = python(os.getuid(), f"{LACKING}\n{restrict}\n{DECODING}", str(tmp_path / "video.mp4"))
        frames, missing, refused = json.loads(result.stdout)
        assert (frames, missing) == ([4, 4], [lacking])
        assert result.stderr == f"the sandbox that decodes videos lacks {lacking}\n"
        assert refused["what"] == "Videos cannot be decoded with every protection"
        assert refused["where"] == "decoding.sandbox: strict"
        assert refused["why"].startswith("this system (Linux ")
        assert refused["why"].endswith(f") lacks {lacking}")
        assert "best_effort" in refused["fix"]

    def test_where_nothing_is_lacking_strict_decodes_too(self, tmp_path: Path) -> None:
        (tmp_path / "video.mp4").write_bytes(encode(range(0, 3500, 100)))
        result = python(os.getuid(), f"import sys\n{DECODING}", str(tmp_path / "video.mp4"))
        assert json.loads(result.stdout) == [[4, 4], [], {}]
        assert result.stderr == ""


COMMANDS = """
import json
from tests.command_line import run
def ended(*arguments):
    done = run(*arguments)
    return done.returncode, done.stdout, done.stderr
print(json.dumps([ended(*command.split(" ")) for command in sys.argv[1:]]))
"""


@only_on_linux
@pytest.mark.usefixtures("every_protection")
class TestCommandsOnLackingSystems:
    def test_check_and_the_manifest_name_what_is_lacking_and_strict_refuses(
        self, workshop: Workshop, tmp_path: Path
    ) -> None:
        usual = workshop.config(tmp_path / "usual")
        strict = workshop.config(tmp_path / "strict", decoding__sandbox="strict")
        commands = [f"config check {usual}", f"build {usual}", f"config check {strict}", f"build {strict}"]
        restrict, lacking = LACKS["a kernel without Landlock"]
        result = python(os.getuid(), f"{LACKING}\n{restrict}\n{COMMANDS}", *commands)
        checked, built, refused, stopped = json.loads(result.stdout.splitlines()[-1])
        warning = f"where the build was planned, the sandbox that decodes videos lacked {lacking}"
        manifest = json.loads((tmp_path / "usual" / "dataset" / "manifest.json").read_text())
        assert (checked[0], built[0]) == (0, 0)
        assert f"warning: {warning}\n" in checked[1]
        assert "with every protection" not in checked[1]
        assert warning in manifest["warnings"]
        assert "sandbox" not in manifest["config"]["decoding"]
        for code, _, error in (refused, stopped):
            assert code == 2
            assert "error: Videos cannot be decoded with every protection\n  where: decoding.sandbox: strict\n" in error
        assert not (tmp_path / "strict" / "dataset" / "manifest.json").exists()
