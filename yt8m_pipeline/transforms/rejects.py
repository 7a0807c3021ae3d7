"""The Beam shell of rejects: rows that stages drop in, parts on disk out.

Rows travel packed, thousands together and compressed: a table of one row takes 22 KiB of memory, a packed row of a
failed video some tens of bytes.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import AsSingleton, PCollection
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from yt8m_pipeline.dataset.layout import Layout, RejectsPart
from yt8m_pipeline.dataset.rejects import WrittenPart, divide, write_part
from yt8m_pipeline.transforms.combiners import Sum
from yt8m_pipeline.transforms.steps import FlatMap, Map

Packed: TypeAlias = tuple[str, int, bytes]
"""Rejected rows of one stage: the stage, how many rows there are, and the rows as a compressed Arrow stream."""

Parts: TypeAlias = PCollection[WrittenPart]
"""The files of rejects that stand on disk."""

ROWS_PER_PACK = 1 << 16
TABLES_PER_PACK = 1000
"""How many rows a bundle holds before it packs them, and how many tables, since one of one row takes 22 KiB."""


def pack(rows: pa.Table) -> bytes:
    """Writes a table as a compressed Arrow stream."""
    sink, options = pa.BufferOutputStream(), pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, rows.schema, options=options) as writer:
        writer.write_table(rows.combine_chunks())
    return bytes(sink.getvalue())


def unpack(packed: bytes) -> pa.Table:
    """Reads the table of a compressed Arrow stream."""
    with pa.ipc.open_stream(packed) as reader:
        return reader.read_all()


class PackRejects(beam.DoFn):
    """Tables of rejected rows → `Packed`, many tables together."""

    def __init__(self) -> None:
        self.start_bundle()

    def start_bundle(self) -> None:
        self._held: list[pa.RecordBatch] = []
        self._rows = 0

    def process(self, rejects: pa.Table) -> Iterator[Packed]:
        for piece in rejects.to_batches(max_chunksize=ROWS_PER_PACK):
            self._held.append(piece)
            self._rows += piece.num_rows
            if self._rows >= ROWS_PER_PACK or len(self._held) >= TABLES_PER_PACK:
                yield from self._release()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        yield from (GlobalWindows.windowed_value(packed) for packed in self._release())

    def _release(self) -> Iterator[Packed]:
        if self._rows:
            rows = pa.Table.from_batches(self._held)
            self._held, self._rows = [], 0
            for stage in rows["stage"].unique().to_pylist():
                of_stage = rows.filter(pc.equal(rows["stage"], stage))
                yield stage, of_stage.num_rows, pack(of_stage)


@dataclass
class WriteRejects(beam.PTransform[PCollection[Packed], PCollection[WrittenPart]]):
    """PCollection[Packed] of all the rejects that its stages will ever have → PCollection[WrittenPart].

    A stage has as many parts as its number of rows asks for, which is counted first. So the files are the same on
    every engine and however the rows are bundled, and a worker sorts `ROWS_PER_PART` rows at a time.
    """

    layout: Layout

    def expand(self, rejects: PCollection[Packed]) -> PCollection[WrittenPart]:
        rows = rejects | "rows" >> Map(_rows_of) | "all rows" >> beam.CombineGlobally(Sum(Counter()))
        divided = rejects | "divide" >> FlatMap(_divide, AsSingleton(rows))
        return divided | beam.GroupByKey() | "write" >> Map(_write, self.layout)


def _rows_of(packed: Packed) -> Counter[str]:
    stage, rows, _ = packed
    return Counter({stage: rows})


def _divide(packed: Packed, totals: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
    for part, rows in divide(unpack(packed[2]), totals):
        yield part.path, pack(rows)


def _write(group: tuple[str, Iterable[bytes]], layout: Layout) -> WrittenPart:
    path, packed = group
    return write_part(layout, RejectsPart.of_path(path), map(unpack, packed))
