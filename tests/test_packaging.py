"""What is installed is whole: the wheel works without the repository, and every package in it is locked."""

import re
import subprocess
import sys
import sysconfig
import zipfile
from email.parser import Parser
from pathlib import Path

import check_dependencies
import pytest

from tests.conftest import CONFIGS, Workshop
from yt8m_pipeline import __version__

ROOT = CONFIGS.parent
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-gcp.lock")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of what git would hand out, built outside of the repository."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    names = [name for name in listed.stdout.split("\0") if name.split("/")[0] not in ("", "tests", "scripts")]
    source = folder / "source"
    source.mkdir()
    copied = subprocess.run(["tar", "--create", *names], cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["tar", "--extract"], cwd=source, input=copied, check=True)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*build, "--wheel-dir", str(folder), str(source)], check=True)
    (built,) = folder.glob("*.whl")
    return built


class TestWheel:
    def test_it_has_every_module_and_every_config(self, wheel: Path) -> None:
        names = set(zipfile.ZipFile(wheel).namelist())
        modules = {str(path.relative_to(ROOT)) for path in (ROOT / "yt8m_pipeline").rglob("*.py")}
        configs = {f"yt8m_pipeline/configs/{path.name}" for path in CONFIGS.glob("*.yaml")}
        assert modules | configs | {"yt8m_pipeline/py.typed"} <= names
        assert {name.split("/")[0] for name in names} == {"yt8m_pipeline", f"yt8m_pipeline-{__version__}.dist-info"}

    def test_it_says_its_version_and_licence(self, wheel: Path) -> None:
        archive = zipfile.ZipFile(wheel)
        info = f"yt8m_pipeline-{__version__}.dist-info"
        metadata = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
        assert (metadata["Version"], metadata["License-Expression"]) == (__version__, "Apache-2.0")
        assert archive.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()

    def test_it_builds_the_demo_in_an_empty_folder_without_the_repository(
        self, wheel: Path, workshop: Workshop, tmp_path: Path
    ) -> None:
        """The libraries are those of the tests; only the package itself is installed anew."""
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
        python = tmp_path / "venv" / "bin" / "python"
        scheme = sysconfig.get_path("purelib", vars={"base": str(tmp_path / "venv")})
        (Path(scheme) / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
        install = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(python),
            "install",
            "--quiet",
            "--no-deps",
            "--no-index",
        ]
        subprocess.run([*install, "--ignore-installed", str(wheel)], check=True)
        work = tmp_path / "empty"
        work.mkdir()

        def yt8m(*arguments: str) -> str:
            command = [str(python.parent / "yt8m"), *arguments]
            return subprocess.run(command, cwd=work, capture_output=True, check=True, text=True).stdout

        where = "import yt8m_pipeline; print(yt8m_pipeline.__file__)"
        found = subprocess.run([python, "-c", where], cwd=work, capture_output=True, check=True, text=True).stdout
        assert found.startswith(str(tmp_path))
        yt8m("demo", "yt8m_demo/corpus", "--videos", "24", "--seconds", "2")
        yt8m("config", "init", "smoke")
        smaller = (
            f"inception.model={{saved_model: {workshop.model}}}",
            "inception.image_size=64",
            "pca.components=16",
            f"video_sampling.sample_size={workshop.summary.sample_size}",
        )
        yt8m("build", "smoke.yaml", *(part for setting in smaller for part in ("--set", setting)))
        assert yt8m("verify", "yt8m_demo/dataset") == "yt8m_demo/dataset: sound\n"


def pins(lock: str) -> dict[str, set[str]]:
    """The versions of each package of a lock file, with the Pythons and systems that they are for."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / "scripts" / lock).read_text().splitlines():
        if line and line[0] not in " #":
            name, _, version = line.removesuffix("\\").partition("==")
            found.setdefault(name, set()).add(version.strip())
    return found


class TestLocks:
    @pytest.mark.parametrize("lock", LOCKS)
    def test_every_package_is_pinned_with_hashes(self, lock: str) -> None:
        entries = re.split(r"\n(?=[^ #])", (ROOT / "scripts" / lock).read_text())
        assert entries
        assert all(re.match(r"[\w.-]+(\[[\w,]+\])?==\S", entry) and "--hash=sha256:" in entry for entry in entries)

    @pytest.mark.parametrize("lock", LOCKS[1:])
    def test_what_a_wider_lock_adds_moves_no_version(self, lock: str) -> None:
        narrow, wide = (
            pins("requirements.lock"),
            {re.sub(r"\[.*\]", "", name): value for name, value in pins(lock).items()},
        )
        assert narrow.items() <= wide.items()


class TestDependencies:
    def test_what_is_imported_and_what_is_declared_differ_by_the_named_exceptions_alone(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        excused = check_dependencies.NOT_IMPORTED.keys() | check_dependencies.NOT_DECLARED.keys()
        monkeypatch.setattr(check_dependencies, "NOT_IMPORTED", {})
        monkeypatch.setattr(check_dependencies, "NOT_DECLARED", {})
        assert {line.split(" is ")[0] for line in check_dependencies.differences()} == excused

    def test_an_import_of_what_nothing_declares_is_found(self, tmp_path: Path) -> None:
        code = tmp_path / "code.py"
        code.write_text("def f():\n    from google.protobuf import message\n    import absent.part, os, numpy as np\n")
        owner = check_dependencies.owners()
        assert check_dependencies.used([code], owner) == ({"protobuf", "numpy"}, {"absent"})
