"""Builds a dataset from a folder of any video files, without tables of its own, and compares frames with durations.

    python scripts/build_clips.py FOLDER OUTPUT

It writes the four tables (every clip carries the same few labels, so that no clip is filtered out) and a config into
OUTPUT, runs `yt8m build` on them, and prints for each clip the sampled frames or the reason why there are none.
"""

import argparse
import csv
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import yaml

from yt8m_pipeline import open_dataset

ENTITIES = [("/m/0k4j", "Car"), ("/m/0bt9lr", "Dog")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    clips = sorted(path.resolve() for path in options.folder.iterdir() if path.suffix != ".md")
    config = write_corpus(clips, options.output)
    subprocess.run([sys.executable, "-m", "yt8m_pipeline", "build", str(config)], check=True)
    for name, outcome in outcomes(options.output / "dataset").items():
        print(f"{name:24} {outcome}")


def write_corpus(clips: list[Path], output: Path) -> Path:
    """Writes the tables and the config for these clips; returns the config's path."""
    output.mkdir(parents=True, exist_ok=True)
    _write(output / "entities.csv", ["entity_id", "name", "types"], [(*entity, "thing") for entity in ENTITIES])
    scores = [(entity, rater, 1) for entity, _ in ENTITIES for rater in "abc"]
    _write(output / "ratings.csv", ["entity_id", "rater_id", "score"], scores)
    videos = [(clip.name, str(clip), 10, 1000) for clip in clips]
    _write(output / "videos.csv", ["video_id", "uri", "duration_seconds", "view_count"], videos)
    labels = [(clip.name, entity) for clip in clips for entity, _ in ENTITIES]
    _write(output / "annotations.csv", ["video_id", "entity_id"], labels)
    config = {
        "tables": {"videos": "videos.csv"},
        "vocabulary": {"type_whitelist": ["thing"], "type_blacklist": []},
        "video_sampling": {"min_duration_seconds": 0, "popular_videos_above": 0, "min_videos_per_entity": 1},
        "inception": {"model": {"random": 8}},
        "pca": {"components": 16},
        "shards": {"train": 2, "validate": 1, "test": 1},
        "max_failure_fraction": 0.5,
    }
    path = output / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def outcomes(dataset: Path) -> dict[str, str]:
    """Video id → its frames and partition, or the reason and detail of its reject."""
    rejects = [row for table in open_dataset(str(dataset)).rejects() for row in table.to_pylist()]
    found = {row["id"]: f"{row['reason']}: {row['detail']}" for row in rejects if row["table"] == "videos"}
    for row in pq.read_table(dataset / "videos.parquet").to_pylist():
        found[row["video_id"]] = f"{row['frames']} frames, {row['partition']}"
    return dict(sorted(found.items()))


def _write(path: Path, header: list[str], rows: Sequence[tuple[object, ...]]) -> None:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *map(list, rows)])


if __name__ == "__main__":
    main()
