"""Who only reads datasets needs four packages; reading, `verify` and `inspect` need nothing that Windows lacks."""

import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.dataset.example import write_example

NEEDED = {"numpy", "pyarrow", "protobuf", "google-crc32c", "yt8m_pipeline"}
"""The distributions that a reader installs, and this one."""

BLOCKED = {name for name, distributions in packages_distributions().items() if NEEDED.isdisjoint(distributions)}

WITHOUT_THE_OTHERS = """
import sys
class Blocked:
    names = set(sys.argv.pop().split(","))
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names or name in ("google.cloud", "google.auth", "google.api_core"):
            raise ModuleNotFoundError(f"{name} is not installed", name=name)
sys.meta_path.insert(0, Blocked())
"""

READ = """
from yt8m_pipeline.dataset.reader import open_dataset, read_frames, read_videos
from yt8m_pipeline.dataset.verify import verify
folder = sys.argv[1]
assert [example.video_id for example in read_frames(folder, "train")] == ["a", "b", "c"]
assert [example.video_id for example in read_videos(folder, "test")] == ["e"]
assert verify(folder) == []
"""

AS_ON_WINDOWS = """
import os, sys
sys.modules["fcntl"] = sys.modules["resource"] = None
del os.O_NONBLOCK
from yt8m_pipeline.cli import main
folder, file = sys.argv[1:]
from yt8m_pipeline.dataset.reader import read_frames
assert [example.video_id for example in read_frames(folder, "train")] == ["a", "b", "c"]
for arguments in (["verify", folder], ["inspect", file]):
    sys.argv = ["yt8m", *arguments]
    try:
        main()
    except SystemExit as end:
        assert not end.code, end.code
"""


def python(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_reading_and_verifying_need_four_packages(tmp_path: Path) -> None:
    assert {"tensorflow", "scipy", "yaml", "typer", "pydantic"} < BLOCKED
    python(WITHOUT_THE_OTHERS + READ, write_example(tmp_path), ",".join(BLOCKED))


def test_reading_verify_and_inspect_need_no_module_that_windows_lacks(tmp_path: Path) -> None:
    folder = write_example(tmp_path)
    printed = python(AS_ON_WINDOWS, folder, str(tmp_path / "frame/train/train-00000-of-00002.tfrecord"))
    assert ": sound" in printed
    assert "shard of frame-level records" in printed
