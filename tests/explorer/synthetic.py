"""Datasets of any videos and entities, written by the project's own writers, to be explored."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from synthetic_dataset import describe

from yt8m_pipeline.accounting.counts import StageCount
from yt8m_pipeline.compression.quantization import Quantizer
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.index import VIDEOS, VOCABULARY_COLUMNS, write_reader, write_videos, write_vocabulary
from yt8m_pipeline.dataset.layout import Layout, Shard
from yt8m_pipeline.dataset.manifest import PartitionSummary
from yt8m_pipeline.dataset.rejects import write_rejects
from yt8m_pipeline.dataset.shards import Member, write_shard
from yt8m_pipeline.dataset.steps import FileEntry, Step

DIMENSIONS = 8


@dataclass(frozen=True)
class Film:
    """A video of a dataset that is to be written; its features are drawn with its seed."""

    video_id: str
    partition: str = "train"
    labels: tuple[int, ...] = ()
    uri: str = "videos/film.mp4"
    seconds: float | None = 12.5
    sound: float = 1.0
    seed: int = 0
    codec: str | None = "h264"

    @property
    def shard(self) -> Shard:
        return Shard(Partition(self.partition), 0, 1)

    @property
    def features(self) -> Any:
        return np.random.default_rng(self.seed).standard_normal((2, DIMENSIONS)).astype(np.float32)

    def row(self) -> dict[str, Any]:
        return {
            "video_id": self.video_id,
            "partition": self.partition,
            "labels": list(self.labels),
            "frames": 2,
            "shard": self.shard.name,
            "decoded_fraction": self.sound,
            "deviation_seconds": 0.02,
            "uri": self.uri,
            "duration_seconds": self.seconds,
            "view_count": 1016,
            "codec": self.codec,
            **({"width": 1280, "height": 720, "frame_rate": 24.0, "file_bytes": 2_500_000} if self.codec else {}),
        }


def entity_rows(count: int, verticals: int = 3) -> list[dict[str, Any]]:
    """Rows of a vocabulary: every entity has one or two of so many verticals."""
    kinds = [
        [f"Vertical {index % verticals}", f"Vertical {index % 5 % verticals}"] if verticals else []
        for index in range(count)
    ]
    return [
        {
            "KnowledgeGraphId": f"/m/{index}",
            "Name": f"Thing {index}",
            "WikiUrl": f"https://example.org/{index}",
            "WikiDescription": f"What thing {index} is.",
            "MeanRaterScore": 1 + index % 4 / 2,
            "Specificity": ("coarse", "medium", "fine")[index % 3],
            **{f"Vertical{place + 1}": name for place, name in enumerate(dict.fromkeys(kinds[index]))},
        }
        for index in range(count)
    ]


def write_dataset(
    folder: Path,
    films: Iterable[Film],
    entities: Sequence[Mapping[str, Any]],
    *,
    rejects: pa.Table | None = None,
    accounting: Sequence[StageCount] = (),
) -> str:
    """Writes the dataset, finished and sound, and returns its path."""
    layout, quantizer = Layout(str(folder)), Quantizer.uniform()
    quantizer.save(layout.path(Layout.QUANTIZER))
    ordered = sorted(films, key=lambda film: film.video_id)
    parts = {part: [film for film in ordered if film.partition == part.value] for part in Partition}
    describe(
        layout,
        quantizer,
        DIMENSIONS,
        partitions={part: PartitionSummary(videos=len(parts[part])) for part in Partition},
        shards=[_write_shard(layout, Shard(part, 0, 1), parts[part], quantizer) for part in Partition],
        tables=_write_tables(layout, ordered, entities, rejects),
        accounting=accounting,
    )
    return str(folder)


def _write_shard(layout: Layout, shard: Shard, films: Iterable[Film], quantizer: Quantizer) -> Step:
    members = ((Member(film.video_id, "sha256", film.labels), film.features) for film in films)
    return write_shard(layout, shard, "key", members, quantizer)


def _write_tables(
    layout: Layout, films: Sequence[Film], entities: Sequence[Mapping[str, Any]], rejects: pa.Table | None
) -> list[FileEntry]:
    text = io.StringIO()
    writer = csv.DictWriter(text, VOCABULARY_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({"Index": index, "TrainVideoCount": 0, **row} for index, row in enumerate(entities))
    rows = pa.Table.from_pylist([film.row() for film in films], schema=VIDEOS)
    return [
        write_vocabulary(layout, text.getvalue().encode(), frozen=False),
        *write_videos(layout, [rows], DIMENSIONS, "rgb"),
        write_reader(layout),
        *write_rejects(layout, [] if rejects is None else [rejects]),
    ]


def read_chunk(site: Path, name: str) -> Any:
    """The value in a chunk of a site."""
    text = (site / "data" / f"{name}.js").read_text("ascii")
    start, end = f"yt8m({json.dumps(name)},", ");\n"
    assert text.startswith(start)
    assert text.endswith(end)
    return json.loads(text[len(start) : -len(end)])


def read_chunks(site: Path, name: str) -> list[Any]:
    """The rows in all chunks of a kind, in their order."""
    paths = sorted((site / "data" / name).glob("*.js"), key=lambda path: int(path.stem))
    return [row for path in paths for row in read_chunk(site, f"{name}/{path.stem}")]
