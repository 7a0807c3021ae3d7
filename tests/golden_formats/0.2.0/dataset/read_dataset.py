"""Reads the dataset beside this file. It needs Python 3.10 or later and NumPy, and nothing else.

    python read_dataset.py                       prints a summary

    from read_dataset import read_frames, read_videos, classes
    for video in read_frames("train"):           # "train", "validate" or "test"
        video.video_id, video.labels, video.features()    # str, list of int, float32 (frames, dimensions)
    for video in read_videos("train"):
        video.mean_rgb                           # float32 (dimensions,), the mean of the frames

Labels are indices into `classes()`; they are empty where the labels of the test partition are withheld.
Every record's checksum is verified; a damaged or missing file is a ValueError or an OSError that names it.
"""

import csv
import hashlib
import json
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Frames:
    """One video, frame by frame: frame k is the one on screen at k seconds, if the manifest says no other rate.

    `codes` are uint8 (frames, dimensions), as they are stored, and `levels` what each of them stands for: float32
    (levels,), or (dimensions, levels) where every dimension has its own.
    """

    video_id: str
    labels: list[int]
    codes: npt.NDArray[np.uint8]
    levels: npt.NDArray[np.float32]

    def features(self) -> npt.NDArray[np.float32]:
        """float32 (frames, dimensions): the level of each code."""
        shared = self.levels.ndim == 1
        return self.levels[self.codes] if shared else self.levels[np.arange(len(self.levels)), self.codes]


@dataclass(frozen=True)
class Mean:
    """One video as the mean of its frames: float32 (dimensions,)."""

    video_id: str
    labels: list[int]
    mean_rgb: npt.NDArray[np.float32]


def read_frames(partition: str, folder: Path | str = HERE) -> Iterator[Frames]:
    """Yields every video of a partition, frame by frame."""
    levels, name = _codebook(folder)
    for record in _records(folder, "frame", partition):
        parts = dict(_fields(record))
        context, (found, frames) = _entries(parts[1]), next(iter(_entries(parts[2]).items()))
        if found != name:
            raise ValueError(f"a record of {partition} has {found}, the codebook is of {name}")
        rows = [bytes(_value(feature)) for _, feature in _fields(frames)]
        codes = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1)
        if codes.max() >= levels.shape[-1]:
            raise ValueError(f"a record of {partition} has the code {codes.max()}, of {levels.shape[-1]} levels")
        yield Frames(*_id_and_labels(context), codes, levels)


def read_videos(partition: str, folder: Path | str = HERE) -> Iterator[Mean]:
    """Yields every video of a partition as the mean of its frames."""
    for record in _records(folder, "video", partition):
        features = _entries(dict(_fields(record))[1])
        yield Mean(*_id_and_labels(features), np.frombuffer(_value(features["mean_rgb"]), "<f4").astype(np.float32))


def classes(folder: Path | str = HERE) -> list[str]:
    """The names of the classes, in the order of their label indices; the id of a class without a name."""
    with Path(folder, "vocabulary.csv").open(encoding="utf-8", newline="") as stream:
        return [row.get("Name") or row.get("KnowledgeGraphId") or "" for row in csv.DictReader(stream)]


def manifest(folder: Path | str = HERE) -> dict[str, Any]:
    """What manifest.json says of the dataset."""
    values: dict[str, Any] = json.loads(Path(folder, "manifest.json").read_text(encoding="utf-8"))
    return values


def _codebook(folder: Path | str) -> tuple[npt.NDArray[np.float32], str]:
    """The levels, and the name of the feature list whose codes they are for."""
    with np.load(Path(folder, "quantizer.npz"), allow_pickle=False) as arrays:
        levels = arrays["levels" if "levels" in arrays else "levels_of_dimension"]
        name = str(arrays["name"])
    head = name if levels.ndim == 1 else f"{name} {levels.shape}"
    digest = hashlib.sha256(head.encode() + b"\0" + levels.astype("<f4").tobytes()).hexdigest()
    if digest != manifest(folder)["quantizer"]["fingerprint"]:
        raise ValueError(f"{Path(folder, 'quantizer.npz')} is not the codebook that the dataset was encoded with")
    return levels, "rgb" if name == "uniform" else "rgb_codes"


# TFRecord: length, checksum of the length, data, checksum of the data; all little-endian ------------------------------


def _records(folder: Path | str, level: str, partition: str) -> Iterator[memoryview]:
    """Yields the records of every shard of a partition, and compares their number with the manifest's."""
    rows = [row for row in manifest(folder)["shards"] if (row["level"], row["partition"]) == (level, partition)]
    if not rows:
        raise ValueError(f"{folder} has no partition {partition!r}")
    for row in sorted(rows, key=lambda row: str(row["path"])):
        path, count = Path(folder, row["path"]), 0
        with path.open("rb") as stream:
            while head := stream.read(12):
                where = f"{path}, record {count}"
                (length,) = struct.unpack("<Q", _checked(head, 8, where))
                if length > row["bytes"]:
                    raise ValueError(f"{where}: its length is wrong")
                yield memoryview(_checked(stream.read(length + 4), length, where))
                count += 1
        if count != row["records"]:
            raise ValueError(f"{path} has {count} records, the manifest says {row['records']}")


def _checked(block: bytes, size: int, where: str) -> bytes:
    """The first bytes of a block, if the masked CRC-32C that follows is theirs."""
    data, crc = block[:size], crc32c(block[:size])
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    if len(block) != size + 4 or struct.pack("<I", masked) != block[size:]:
        raise ValueError(f"{where} is damaged or cut off")
    return data


def _shifted(block: int) -> npt.NDArray[np.uint32]:
    """uint32 (block, 256): row k is the CRC register after each byte and block - 1 - k zero bytes behind it."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(0x82F63B78), table >> 1)
    rows = [table]
    for _ in range(block - 1):
        rows.append(rows[-1] >> 8 ^ table[rows[-1] & 255])
    return np.stack(rows[::-1])


_BLOCK = 1024
_SHIFTED = _shifted(_BLOCK)
_BYTE, *_WORD = (row.tolist() for row in (_SHIFTED[-1], *_SHIFTED[:4]))


def crc32c(data: bytes) -> int:
    """The CRC-32C (RFC 3720) of bytes. The CRC is linear, so whole blocks are looked up at once, with NumPy."""
    crc, head = 0xFFFFFFFF, len(data) % _BLOCK
    for byte in data[:head]:
        crc = crc >> 8 ^ _BYTE[(crc ^ byte) & 255]
    blocks = np.frombuffer(data, np.uint8, offset=head).reshape(-1, _BLOCK) if len(data) > head else np.empty((0, 1))
    for own in np.bitwise_xor.reduce(_SHIFTED[np.arange(_BLOCK), blocks], axis=1).tolist() if len(blocks) else ():
        first, second, third, fourth = (_WORD[k][crc >> 8 * k & 255] for k in range(4))
        crc = own ^ first ^ second ^ third ^ fourth
    return crc ^ 0xFFFFFFFF


# Protocol buffers: a message is a sequence of fields; here each has a number below 16 and a value of some bytes -------


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yields the number and the value of each field of a message."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        length, at = _varint(message, at)
        if tag & 7 != 2 or at + length > len(message):
            raise ValueError("a record is no tf.train.Example or SequenceExample of this schema")
        yield tag >> 3, message[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """The number that begins at a byte, 7 bits in each, and the byte behind it."""
    number, shift = 0, 0
    while True:
        number |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 128:
            return number, at


def _entries(features: memoryview) -> dict[str, memoryview]:
    """The entries of the map that a Features or FeatureLists message is."""
    pairs = (dict(_fields(entry)) for _, entry in _fields(features))
    return {bytes(pair[1]).decode(): pair[2] for pair in pairs}


def _value(feature: memoryview) -> memoryview:
    """The only value of a Feature, or its packed numbers; empty if there is none."""
    ((_, values),) = _fields(feature)
    return next((value for _, value in _fields(values)), memoryview(b""))


def _id_and_labels(features: dict[str, memoryview]) -> tuple[str, list[int]]:
    packed, at, labels = _value(features["labels"]), 0, []
    while at < len(packed):
        label, at = _varint(packed, at)
        labels.append(label)
    return bytes(_value(features["id"])).decode(), labels


def main() -> None:
    """Prints how much the dataset has."""
    values = manifest()
    levels, name = _codebook(HERE)
    sys.stdout.write(f"{len(classes())} classes; codes of {levels.shape[-1]} levels in the feature list {name}\n")
    for partition, totals in values["partitions"].items():
        sys.stdout.write(f"{partition}: {totals['videos']} videos, {totals['frames']} frames\n")


if __name__ == "__main__":
    main()
