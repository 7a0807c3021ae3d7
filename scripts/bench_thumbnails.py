"""What thumbnails cost beside the decoding of the frames that they are made of: `bench_thumbnails.py VIDEO...`.

Each video is decoded with and without a strip of pictures, in turns. Ratios compare neighbours of one round.
"""

from collections import deque
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from benching import Cost, cost_of, paired, ratio_text

from yt8m_pipeline.config import Decoding
from yt8m_pipeline.decoding.frames import decode_frames
from yt8m_pipeline.decoding.thumbnails import Strip

SIZE = 299
"""Height and width of the frames that Inception gets, in pixels."""


def main(
    videos: Annotated[list[Path], typer.Argument(help="What is decoded.")],
    pictures: Annotated[int, typer.Option(help="Pictures of each video.")] = 4,
    rounds: Annotated[int, typer.Option(help="How often.")] = 9,
) -> None:
    """Prints CPU milliseconds, ratios and bytes."""
    for video in videos:

        def decoded(number: int, video: Path = video) -> Cost[bytes]:
            return cost_of(lambda: _decoded(video, number))

        costs = paired({"without": lambda: decoded(0), "with": lambda: decoded(pictures)}, rounds)
        seconds = {name: np.array([cost.cpu_seconds for cost in found]) for name, found in costs.items()}
        more = np.median(seconds["with"] - seconds["without"])
        print(
            f"{video.name}: {1000 * np.median(seconds['without']):.0f} ms, with thumbnails "
            f"{ratio_text(seconds['with'] / seconds['without'])}, {1000 * more:+.1f} ms; "
            f"{len(costs['with'][0].answer):,} bytes"
        )


def _decoded(video: Path, pictures: int) -> bytes:
    """Decodes a video; its strip, or nothing where no picture is wanted."""
    strip = Strip(pictures)
    with video.open("rb") as file:
        deque(strip.watching(decode_frames(file, Decoding(), SIZE)), maxlen=0)
    return strip.to_jpeg() if pictures else b""


if __name__ == "__main__":
    typer.run(main)
