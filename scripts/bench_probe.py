"""How many videos per second are measured, and how many are known from before: `bench_probe.py FOLDER VIDEO...`.

Each video is linked into the folder many times, and all links are measured: once without kept durations, and once more
with them.
"""

import os
import shutil
import time
from pathlib import Path
from typing import Annotated

import typer

from yt8m_pipeline.config import Decoding
from yt8m_pipeline.decoding.sandbox.threads import prober
from yt8m_pipeline.jobs.measuring import Measuring, measure
from yt8m_pipeline.places import Places


def main(
    folder: Annotated[Path, typer.Argument(help="A new folder for links to the videos, and for durations.")],
    videos: Annotated[list[Path], typer.Argument(help="What is measured.")],
    copies: Annotated[int, typer.Option(help="Links to each.")] = 200,
    workers: Annotated[int, typer.Option(help="Videos at once.")] = os.cpu_count() or 1,
) -> None:
    """Prints videos per second."""
    for video in videos:
        root = folder / video.stem
        root.mkdir(parents=True)
        uris = [str(root / f"{number}{video.suffix}") for number in range(copies)]
        for uri in uris:
            os.link(video, uri) if os.stat(video).st_dev == os.stat(root).st_dev else shutil.copy(video, uri)
        for state in ("measured", "known"):
            print(f"{video.name}, {state}: {copies / _seconds(uris, root, workers):.1f} videos/s")


def _seconds(uris: list[str], root: Path, workers: int) -> float:
    measuring = Measuring(Decoding(), Places(str(root)), f"{root}/features")
    start = time.perf_counter()
    with prober(measuring.probing(workers)) as probe:
        assert all(isinstance(found, float) for _, found in measure(uris, measuring, probe))
    return time.perf_counter() - start


if __name__ == "__main__":
    typer.run(main)
