"""Reads an export with the program that it is for, in an environment of that program's own, and prints what it found.

Usage: python peers.py hf|webdataset FOLDER
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read_hf(folder: str) -> Iterator[dict[str, Any]]:
    from datasets import load_dataset

    splits = {"train": "train", "validation": "validate", "test": "test"}
    for split, examples in load_dataset(folder).items():
        names = examples.features["labels"].feature.names
        for example in examples.with_format("arrow").iter(batch_size=1):
            labels, frames = example["labels"][0].as_py(), example["features"][0].values
            features = frames.flatten().to_numpy(zero_copy_only=False).reshape(len(frames), -1)
            yield {
                "id": example["video_id"][0].as_py(),
                "partition": splits[split],
                "labels": labels,
                "names": None if labels is None else [names[label] for label in labels],
                "values": features.tolist(),
                "dtype": str(features.dtype),
            }


def read_webdataset(folder: str) -> Iterator[dict[str, Any]]:
    import webdataset

    paths = sorted(map(str, Path(folder).glob("*.tar")))
    for sample in webdataset.WebDataset(paths, shardshuffle=False, empty_check=False).decode():
        told = sample["json"]
        kept = {name: told[name] for name in ("id", "partition", "labels", "names")}
        yield {**kept, "values": sample["npy"].tolist(), "dtype": str(sample["npy"].dtype)}


if __name__ == "__main__":
    for found in {"hf": read_hf, "webdataset": read_webdataset}[sys.argv[1]](sys.argv[2]):
        sys.stdout.write(json.dumps(found) + "\n")
