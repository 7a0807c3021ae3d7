"""Decodes damaged variants of videos in the sandbox, under both policies: each must end as frames or as a reason.

    python scripts/fuzz_decode.py [CLIP|FOLDER ...] [--variants 300] [--seed 0] [--workers 2] [--keep FOLDER] [--json]

Without clips it encodes videos of its own, in each codec and container. A variant is named by seed, number, mutation
and clip; the same clips and seed give the same variants, and --keep leaves them in a folder. What is checked stands in
`tests/decoding/fuzzing.py`; the exit status is 1 if anything was broken. An exception that is no reason ends the run
(with --keep, its variant is the newest file).

The table counts, for each mutation, the ends that its variants came to; how many were accepted with too few frames (a
loss that the container does not tell of); the frames delivered, before a rejection too; how many of these have the pts
of a frame of the undamaged video; and how many of those its pixels, which after a truncation must be all.

Memory is the greatest resident set of a decoding process: VmHWM in /proc after each video, and at the end getrusage,
which also knows the processes that were lost.
"""

import argparse
import json
import resource
import sys
from collections import ChainMap, Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.append(str(Path(__file__).parent.parent))

from tests.decoding.damage import Video, variants
from tests.decoding.fuzzing import STRICT, Outcome, encode_videos, originals_of, outcomes
from yt8m_pipeline.accounting.reasons import DropReason

LOST = {DropReason.DECODER_CRASHED, DropReason.DECODE_TIMEOUT, DropReason.INTERNAL_ERROR}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path, metavar="CLIP|FOLDER")
    parser.add_argument("--variants", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    parser.add_argument("--json", action="store_true", help="one JSON object per variant and policy")
    options = parser.parse_args()
    videos = read_videos(options.clips) or encode_videos()
    with TemporaryDirectory() as scratch:
        found = fuzz(videos, options, Path(scratch))
    print(as_json(found) if options.json else as_text(found))
    return int(any(outcome.violations for outcome in found) or ended_children_mib() >= STRICT.memory_limit_mib)


def read_videos(clips: Iterable[Path]) -> list[Video]:
    """Returns the named files, and all files of the named folders but texts."""
    paths = [path for clip in clips for path in (sorted(clip.iterdir()) if clip.is_dir() else [clip])]
    return [Video.of(path.name, path.read_bytes()) for path in paths if path.suffix not in {".md", ".txt"}]


def fuzz(videos: Sequence[Video], options: argparse.Namespace, scratch: Path) -> list[Outcome]:
    """Each worker, a thread with child processes of its own, takes every n-th variant."""
    folder = options.keep or scratch
    folder.mkdir(parents=True, exist_ok=True)
    workers = options.workers
    with ThreadPoolExecutor(workers) as pool:
        read = pool.map(lambda worker: originals_of(videos[worker::workers], scratch), range(workers))
        originals = dict(ChainMap(*read))

        def share(worker: int) -> list[Outcome]:
            own = islice(variants(videos, options.seed), worker, options.variants, workers)
            return list(outcomes(own, originals, folder, keep=options.keep is not None))

        found = list(chain.from_iterable(pool.map(share, range(workers))))
    return sorted(found, key=lambda outcome: outcome.variant)


def ended_children_mib() -> float:
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def as_json(found: Iterable[Outcome]) -> str:
    return "\n".join(json.dumps(asdict(outcome)) for outcome in found)


def as_text(found: Sequence[Outcome]) -> str:
    policies = sorted({outcome.policy for outcome in found}, reverse=True)
    tables = [_table(policy, [outcome for outcome in found if outcome.policy == policy]) for policy in policies]
    lost = [f"{outcome.reason} {_place(outcome)}: {outcome.detail}" for outcome in found if outcome.reason in LOST]
    broken = [f"BROKEN {_place(outcome)}: {law}" for outcome in found for law in outcome.violations]
    slowest = max(found, key=lambda outcome: outcome.seconds)
    largest = max(found, key=lambda outcome: outcome.peak_mib)
    return "\n".join(
        [
            *tables,
            *lost,
            *broken,
            f"slowest: {slowest.seconds:.1f} s, {_place(slowest)}",
            f"peak memory: {largest.peak_mib:.0f} MiB, {_place(largest)}",
            f"peak memory of all processes that ended: {ended_children_mib():.0f} MiB",
            f"{len(found)} decodings, {len(lost)} lost children, {len(broken)} broken rules",
        ]
    )


def _place(outcome: Outcome) -> str:
    return f"{outcome.variant} ({outcome.policy})"


def _table(policy: str, found: Sequence[Outcome]) -> str:
    """Counts how often each mutation came to each end, and how the frames compare with those of the undamaged video."""
    ends = [end for end, _ in Counter(_end(outcome) for outcome in found).most_common()]
    titles = [*ends, "too few", "delivered", "same pts", "same pixels"]
    lines = [f"{policy:22}" + "".join(f"  {title}" for title in titles)]
    for mutation in [*sorted({outcome.mutation for outcome in found}), "all"]:
        cells = _cells([outcome for outcome in found if mutation in (outcome.mutation, "all")], ends)
        lines.append(
            f"{mutation:22}" + "".join(f"{cell:>{len(title) + 2}}" for cell, title in zip(cells, titles, strict=True))
        )
    return "\n".join(lines) + "\n"


def _cells(rows: Sequence[Outcome], ends: Sequence[str]) -> list[str]:
    counts = Counter(_end(outcome) for outcome in rows)
    too_few = sum(row.reason is None and row.frames < row.expected for row in rows)
    frames, known, identical = (sum(getattr(row, name) for row in rows) for name in ("frames", "known", "identical"))
    share = f"{identical / known:.1%}" if known else ""
    return [*(str(counts[end] or "") for end in ends), str(too_few or ""), str(frames), str(known), share]


def _end(outcome: Outcome) -> str:
    return outcome.reason or "frames"


if __name__ == "__main__":
    sys.exit(main())
