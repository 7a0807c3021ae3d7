"""Measures what the sandbox's protections cost: a child that gives everything up against one with its limits alone.

    python scripts/bench_sandbox.py VIDEO --rounds 11 --times 20

Each round starts two children of either kind: one decodes the video once, the other one `--times` more. The first is
the cost of a start; the difference, divided, is that of a video.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from benching import Cost, cost_of, median_text, paired, ratio_text

from yt8m_pipeline.config import Decoding
from yt8m_pipeline.decoding.sandbox import parent

LIMITS_ALONE = """
import sys
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.decoding.sandbox import child, confinement
confinement.renounce = confinement.filter_system_calls = list
child.main(Decoding.model_validate_json(sys.argv[1]), int(sys.argv[2]) or None)
"""
"""A child that neither seccomp nor Landlock holds, nor another user."""

KINDS = {"held": parent.CHILD, "limits alone": "limits_alone"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--times", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "limits_alone.py").write_text(LIMITS_ALONE, encoding="utf-8")
        sys.path.append(folder)
        work: dict[str, Callable[[], Cost[int]]] = {}
        for name, child in KINDS.items():
            for times in (1, 1 + options.times):
                work[f"{name}, {times}"] = partial(cost_of, partial(decode, child, options.video, times))
        found = paired(work, options.rounds)
    for unit in ("wall_seconds", "cpu_seconds"):
        milliseconds = {name: 1000 * np.array([getattr(cost, unit) for cost in costs]) for name, costs in found.items()}
        starts = {name: milliseconds[f"{name}, 1"] for name in KINDS}
        videos = {name: (milliseconds[f"{name}, {1 + options.times}"] - starts[name]) / options.times for name in KINDS}
        for what, costs in (("start and one video", starts), ("each video more", videos)):
            for name, values in costs.items():
                print(f"{unit}, {what}, {name}: {median_text(list(values))} ms")
            print(f"{unit}, {what}: {ratio_text(costs['held'] / costs['limits alone'])}")


def decode(child: str, video: str, times: int) -> int:
    """Decodes a video some times in one child, which has then ended, and returns the number of frames."""
    parent.CHILD = child
    with parent.Sandbox(Decoding(), 299) as sandbox:
        return sum(1 for _ in range(times) for _ in sandbox.decode(video))


if __name__ == "__main__":
    main()
