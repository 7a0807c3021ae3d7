"""The tables that tables/README.md shows are read without a fault."""

import re
from pathlib import Path

import pytest

from yt8m_pipeline import tables
from yt8m_pipeline.tables.headers import check_schema
from yt8m_pipeline.tables.reading import TABLES, TableFiles, read_batches

README = (Path(tables.__file__).parent / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```(csv|jsonl) (\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_there_is_an_example_of_each_table() -> None:
    assert {table for ending, table, _ in EXAMPLES if ending == "csv"} == set(TABLES)


@pytest.mark.parametrize(("ending", "table", "text"), EXAMPLES)
def test_each_example_is_a_sound_table(tmp_path: Path, ending: str, table: str, text: str) -> None:
    (tmp_path / f"table.{ending}").write_text(text, encoding="utf-8")
    check_schema(str(tmp_path / f"table.{ending}"), table)
    [outcome] = read_batches(TableFiles(table, str(tmp_path), (f"table.{ending}",)), f"table.{ending}")
    assert outcome.kept.num_rows == len(text.splitlines()) - (ending == "csv")
    assert outcome.rejects.num_rows == 0


def test_each_column_is_described() -> None:
    for columns in TABLES.values():
        for column in columns:
            assert re.search(rf"^\| .*\b{column.name}\b.*\|", README, re.MULTILINE), column.name
