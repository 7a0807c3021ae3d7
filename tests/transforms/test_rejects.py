"""Rejects on an engine: the same files as one process writes, whatever the bundles and the workers."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.utils.windowed_value import WindowedValue
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import published_bytes
from tests.transforms.harness import run
from yt8m_pipeline.accounting.counts import StageCount, total_counts
from yt8m_pipeline.accounting.outcome import REJECTS, reject_video
from yt8m_pipeline.accounting.reasons import DropReason, Stage, VideoRejected
from yt8m_pipeline.dataset import rejects as rejects_module
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.rejects import write_rejects
from yt8m_pipeline.jobs.engine import beam_pipeline
from yt8m_pipeline.transforms.combiners import AddCounts
from yt8m_pipeline.transforms.dataset import SumUpRejects
from yt8m_pipeline.transforms.ledger import Ledger, Outputs
from yt8m_pipeline.transforms.rejects import ROWS_PER_PACK, TABLES_PER_PACK, PackRejects, WriteRejects, pack, unpack

TWO_WORKERS = ("--direct_num_workers=2", "--direct_running_mode=multi_threading")


def rejects_of_a_stage(stage: Stage, rows: int) -> pa.Table:
    values = [
        {"stage": stage.value, "table": "videos", "id": f"v{row // 2}", "reason": "damaged", "detail": f"{row}"}
        for row in range(rows)
    ]
    return pa.Table.from_pylist(values, schema=REJECTS)


def write(folder: Path, tables: list[list[pa.Table]], options: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Writes the rejects of several steps of a pipeline, and gives every file."""
    layout = Layout(str(folder))
    with beam_pipeline(options) as root:
        ledger = Ledger()
        for number, of_step in enumerate(tables):
            rejects = root | f"step {number}" >> beam.Create(of_step) | f"spread {number}" >> beam.Reshuffle()
            ledger.keep(Outputs(rejects, rejects, root | f"count {number}" >> beam.Create([])))
        parts = ledger.take_rejects("test") | WriteRejects(layout)
        _ = parts | SumUpRejects(layout, root | "good" >> beam.Create([True]))
    return published_bytes(folder)


@pytest.mark.parametrize("options", [(), TWO_WORKERS])
@settings(max_examples=5)
@given(st.lists(st.integers(0, 40), min_size=2, max_size=4), st.integers(1, 17), st.integers(1, 9))
def test_the_files_are_those_of_one_process_however_the_rows_are_bundled(
    options: tuple[str, ...], rows: list[int], rows_per_part: int, piece: int
) -> None:
    wholes = [rejects_of_a_stage(stage, number) for stage, number in zip(Stage, rows, strict=False)]
    pieces = [[whole.slice(start, piece) for start in range(0, len(whole) + 1, piece)] for whole in wholes]
    with TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch:
        patch.setattr(rejects_module, "ROWS_PER_PART", rows_per_part)
        write_rejects(Layout(f"{root}/one process"), wholes)
        expected = published_bytes(Path(root, "one process"))
        assert write(Path(root, "pieces"), pieces, options) == expected
        assert write(Path(root, "backwards"), [of_step[::-1] for of_step in pieces[::-1]], options) == expected


def test_nothing_is_written_where_another_split_has_changed(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    assert run(lambda parts, bad: parts | SumUpRejects(layout, bad), parts=[], bad=[False]) == []
    assert list(tmp_path.iterdir()) == []


def test_each_call_takes_what_was_booked_since_the_last(tmp_path: Path) -> None:
    with beam_pipeline([]) as root:
        ledger = Ledger()
        for stage in (Stage.READ, Stage.DECODE):
            rejects = root | f"given of {stage}" >> beam.Create([rejects_of_a_stage(stage, 3)])
            ledger.keep(Outputs(rejects, rejects, root | f"counts of {stage}" >> beam.Create([])))
            _ = ledger.take_rejects(stage) | f"write {stage}" >> WriteRejects(Layout(f"{tmp_path}/{stage}"))
    for stage in (Stage.READ, Stage.DECODE):
        (found,) = published_bytes(tmp_path / stage)
        assert found == f"rejects/{stage}-00000-of-00001.parquet"


class TestPacking:
    def packed(self, tables: list[pa.Table]) -> Iterator[tuple[str, int, bytes]]:
        function = PackRejects()
        function.start_bundle()
        for table in tables:
            yield from function.process(table)
        yield from (item.value for item in function.finish_bundle() if isinstance(item, WindowedValue))

    def test_failed_videos_are_packed_together_and_small(self) -> None:
        rejection = VideoRejected(DropReason.MISSING_FILE, "there is no such file")
        rows = [reject_video(Stage.DECODE, f"v{row}", f"v{row}.mp4", rejection) for row in range(TABLES_PER_PACK + 7)]
        packs = list(self.packed(rows))
        assert [(stage, number) for stage, number, _ in packs] == [("decode", TABLES_PER_PACK), ("decode", 7)]
        assert len(packs[0][2]) < 30 * TABLES_PER_PACK
        assert pa.concat_tables(unpack(data) for _, _, data in packs) == pa.concat_tables(rows)

    def test_no_pack_has_more_rows_than_a_bundle_may_hold(self) -> None:
        packs = list(self.packed([rejects_of_a_stage(Stage.SAMPLING, ROWS_PER_PACK + 10)]))
        assert [number for _, number, _ in packs] == [ROWS_PER_PACK, 10]

    def test_stages_are_packed_apart_and_no_rows_as_nothing(self) -> None:
        tables = [rejects_of_a_stage(stage, 2) for stage in (Stage.READ, Stage.UNIQUE, Stage.READ)]
        assert [(stage, number) for stage, number, _ in self.packed(tables)] == [("read", 4), ("unique", 2)]
        assert list(self.packed([REJECTS.empty_table()])) == []

    def test_a_table_comes_back(self) -> None:
        table = rejects_of_a_stage(Stage.READ, 5)
        assert unpack(pack(table)) == table
        assert unpack(pack(REJECTS.empty_table())) == REJECTS.empty_table()


def test_the_counts_of_a_bundle_are_added_up() -> None:
    counts = [
        StageCount(Stage.DECODE, "videos", 0, (("damaged", 1),)),
        StageCount(Stage.DECODE, "videos", 1),
        StageCount(Stage.EXTRACT, "videos", 1),
        StageCount(Stage.DECODE, "videos", 0, (("damaged", 2), ("truncated", 1))),
    ]
    function = AddCounts()
    function.start_bundle()
    for count in counts:
        function.process(count)
    assert Counter(item.value for item in function.finish_bundle()) == Counter(total_counts(counts))
