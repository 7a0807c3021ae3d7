"""Looks up synthetic stored videos, and prints the rate and the seconds for a million.

    python scripts/bench_store.py FOLDER --videos 100000

The stored files are whole, with as many bytes as --frames and --dimensions make; the store is filled once and kept in
FOLDER. Four ways are timed: by the indices, with a look at each video's source or without; without an index, when each
file is read and its seal checked; and the store's listing alone.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from yt8m_pipeline import files
from yt8m_pipeline.config import Decoding
from yt8m_pipeline.data_model import Partition, Retry, Video, VideoFeatures
from yt8m_pipeline.extraction.failures import Source
from yt8m_pipeline.extraction.feature_store import INDEX, SHELVES, FeatureStore, place
from yt8m_pipeline.transforms.extraction import _LookUp

MILLION = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--videos", type=int, default=100_000)
    parser.add_argument("--frames", type=int, default=1)
    parser.add_argument("--dimensions", type=int, default=8)
    parser.add_argument("--read", type=int, default=2000, help="How many to read where every file is read.")
    options = parser.parse_args()
    store = FeatureStore(str(options.folder), f"{options.videos}x{options.frames}x{options.dimensions}")
    film = options.folder / "film.mp4"
    videos = [Video(f"video{k:07d}", str(film), Partition.TRAIN, ("/m/a",)) for k in range(options.videos)]
    film.parent.mkdir(parents=True, exist_ok=True)
    film.touch()
    fill(store, videos, np.random.default_rng(0).random((options.frames, options.dimensions), np.float32))
    far = [Video(video.video_id, "gs://bucket/film.mp4", video.partition, video.entity_ids) for video in videos]
    forget(store)
    report("each file read", options.read, lambda: look_up(store, videos[: options.read]))
    look_up(store, videos)
    report("by the indices", len(videos), lambda: look_up(store, far))
    report("by the indices, and each source looked at", len(videos), lambda: look_up(store, videos))
    report("listing alone", len(videos), lambda: list_all(store))


def fill(store: FeatureStore, videos: Sequence[Video], features: np.ndarray) -> None:
    """Stores the videos, if the last of them is not there yet."""
    if files.exists(store.path(videos[-1].video_id)):
        return
    source, pts_seconds = Source.of(videos[0].uri), np.arange(1.0 * len(features))
    for video in videos:
        store.write(VideoFeatures(video.video_id, features, pts_seconds), source, 1.0, Fraction(1))


def forget(store: FeatureStore) -> None:
    for name in SHELVES:
        files.delete(files.join(store.folder, name, INDEX))


def look_up(store: FeatureStore, videos: Sequence[Video]) -> None:
    """What a build does with the videos, without an engine."""
    groups: dict[str, list[Video]] = defaultdict(list)
    for video in videos:
        groups[place(video.video_id)[0]].append(video)
    function = _LookUp(store, Decoding(), Retry.TRANSIENT, refresh=False, verify=False)
    for group in groups.items():
        for _ in function.process(group):
            pass


def list_all(store: FeatureStore) -> None:
    for name in SHELVES:
        files.list_states(files.join(store.folder, name))


def report(what: str, videos: int, function: Callable[[], None]) -> None:
    start, cpu = time.perf_counter(), time.process_time()
    function()
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    rates = f"{videos / wall:>9,.0f} videos/s  {1e6 * cpu / videos:>7.1f} µs CPU"
    print(f"{what:<45}{rates}  {MILLION * wall / videos:>8,.1f} s for a million")


if __name__ == "__main__":
    main()
