"""Measures how fast stored videos are looked up: prints the rate, and the seconds for a million videos.

    python scripts/bench_store.py FOLDER --videos 100000

The stored files are whole, with as many bytes as --frames and --dimensions make; the store is filled once, as a build
fills it, and kept in FOLDER. Timed are the listing alone; what a build does by the indices, with a look at each video's
source or without; the same inside Beam's local engine; and, on a few shelves, without an index, when each file is read
and its seal checked.
"""

import argparse
import gc
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import apache_beam as beam
import numpy as np
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.transforms.combiners import Count
from benching import cost_of

from yt8m_pipeline import files
from yt8m_pipeline.accounting.reasons import Retry
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.data_model import Partition, Video
from yt8m_pipeline.store.failures import Source
from yt8m_pipeline.store.feature_store import INDEX, SHELVES, FeatureStore, place
from yt8m_pipeline.store.features import VideoFeatures
from yt8m_pipeline.transforms.extraction import remember
from yt8m_pipeline.transforms.lookup import FindInStore, LookUp

MILLION = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--videos", type=int, default=100_000)
    parser.add_argument("--frames", type=int, default=1)
    parser.add_argument("--dimensions", type=int, default=8)
    parser.add_argument("--read-shelves", type=int, default=1, help="shelves, of 256, whose files are all read")
    options = parser.parse_args()
    store = FeatureStore(str(options.folder), f"{options.videos}x{options.frames}x{options.dimensions}")
    source = options.folder / "video.mp4"
    videos = [Video(f"video{k:07d}", str(source), Partition.TRAIN, ("/m/a",)) for k in range(options.videos)]
    source.parent.mkdir(parents=True, exist_ok=True)
    source.touch()
    shelves = by_shelf(videos)
    fill(store, shelves, np.random.default_rng(0).random((options.frames, options.dimensions), np.float32))
    far = by_shelf([replace(video, uri="gs://bucket/video.mp4") for video in videos])
    gc.freeze()  # a build has no million of videos in its memory for the garbage collector to walk through
    few = dict(islice(shelves.items(), options.read_shelves))
    report("listing alone", len(videos), lambda: list_all(store))
    report("by the indices", len(videos), lambda: look_up(store, far))
    report("by the indices, and each source looked at", len(videos), lambda: look_up(store, shelves))
    report("the same in Beam", len(videos), lambda: look_up_in_beam(store, videos))
    report("each file read", sum(map(len, few.values())), lambda: look_up(store, few, verify=True))


def by_shelf(videos: Sequence[Video]) -> dict[str, list[Video]]:
    groups: dict[str, list[Video]] = defaultdict(list)
    for video in videos:
        groups[place(video.video_id)[0]].append(video)
    return groups


def fill(store: FeatureStore, shelves: Mapping[str, Sequence[Video]], features: np.ndarray) -> None:
    """Stores the videos and writes the indices, of shelves that have none yet."""
    pts_seconds = np.arange(1.0 * len(features))
    for name, videos in shelves.items():
        if files.exists(files.join(store.folder, name, INDEX)):
            continue
        source, written = Source.of(videos[0].uri), []
        for video in videos:
            stored = store.write(VideoFeatures(video.video_id, features, pts_seconds), source, 1.0, Fraction(1))
            written.append((video.video_id, stored))
        remember((name, written), store)


def look_up(store: FeatureStore, shelves: Mapping[str, Sequence[Video]], *, verify: bool = False) -> None:
    """Looks the videos up as a build does, without an engine."""
    function = LookUp(store, Decoding(), Retry.TRANSIENT, refresh=False, verify=verify)
    for group in shelves.items():
        for _ in function.process(group):
            pass


def look_up_in_beam(store: FeatureStore, videos: Sequence[Video]) -> None:
    with beam.Pipeline(runner=FnApiRunner()) as root:
        found = root | beam.Create(videos) | FindInStore(store, Decoding(), Retry.TRANSIENT)
        _ = found.outputs.kept | Count.Globally()


def list_all(store: FeatureStore) -> None:
    for name in SHELVES:
        files.list_states(files.join(store.folder, name))


def report(what: str, videos: int, function: Callable[[], None]) -> None:
    cost = cost_of(function)
    rates = f"{videos / cost.wall_seconds:>9,.0f} videos/s  {1e6 * cost.cpu_seconds / videos:>7.1f} µs CPU"
    print(f"{what:<45}{rates}  {MILLION * cost.wall_seconds / videos:>8,.1f} s for a million")


if __name__ == "__main__":
    main()
