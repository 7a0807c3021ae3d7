"""Writes what describes a finished dataset: its reader, its card, and of all files the manifest."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow.parquet as pq

from yt8m_pipeline import files
from yt8m_pipeline.dataset.card import card
from yt8m_pipeline.dataset.croissant import croissant
from yt8m_pipeline.dataset.index import write_reader
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.manifest import Manifest, write_manifest
from yt8m_pipeline.dataset.steps import FileEntry, file_entry
from yt8m_pipeline.dataset.typed_json import to_json
from yt8m_pipeline.dataset.vocabulary import vocabulary_rows


def describe_dataset(layout: Layout, values: Mapping[str, Any], tables: Iterable[FileEntry]) -> None:
    """Writes read_dataset.py, README.md, croissant.json and, as the last of all files but the mark, manifest.json.

    Args:
        layout: Where the dataset is; its vocabulary and its videos.parquet stand there.
        values: The values of the manifest but for `files`.
        tables: The files of the dataset that are neither shards nor of a fitted step.

    Raises:
        WrongJson: the manifest could not be read again.
    """
    listed = sorted([*tables, write_reader(layout)])
    manifest = _in_order({**values, "files": to_json(tuple(listed))})
    columns, train_videos = _classes(layout)
    with files.open_read(layout.path(Layout.VIDEOS)) as stream:
        schema = pq.read_schema(stream)
    listed.append(_write(layout, Layout.CARD, card(manifest, train_videos, schema.names)))
    described = sorted([*listed, *manifest.pca.files, *manifest.quantizer.files])
    listed.append(_write(layout, Layout.CROISSANT, croissant(manifest, described, schema, columns)))
    write_manifest(layout, {**values, "files": to_json(tuple(sorted(listed)))})


def _in_order(values: Mapping[str, Any]) -> Manifest:
    """The manifest as it is read from its file, whose keys are sorted: the card lists them in the same order always."""
    return Manifest.from_json(json.loads(json.dumps(values, sort_keys=True)))


def _classes(layout: Layout) -> tuple[list[str], list[int]]:
    """The columns of the vocabulary, and the train videos of each class."""
    rows = vocabulary_rows(files.read_bytes(layout.path(Layout.VOCABULARY)))
    train_videos = [int(row["TrainVideoCount"]) for row in rows]
    return list(rows.fieldnames or ()), train_videos


def _write(layout: Layout, name: str, data: bytes) -> FileEntry:
    layout.write_bytes(name, data)
    return file_entry(layout, name)
