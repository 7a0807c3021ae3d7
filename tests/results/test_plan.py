"""Which feature sets and models the tables need."""

import pytest

from yt8m_pipeline.errors import UsageError
from yt8m_pipeline.results import paper
from yt8m_pipeline.results.plan import MODELS, plan_tables


def test_table_3_has_the_papers_seven_rows_in_its_order() -> None:
    planned = plan_tables()
    assert [row.model.name for row in planned.benchmarks] == list(paper.TABLE_3)
    assert [row.papers[0]["map"] for row in planned.benchmarks] == [0.11, 0.269, 0.266, 0.17, 0.281, 0.296, 0.3]
    assert not planned.compression + planned.transfer


def test_models_that_are_not_asked_for_are_not_planned() -> None:
    planned = plan_tables(["moe", "dbof"], has_store=True, compression=True, transfer=True)
    assert {row.model.model for row in planned.benchmarks} == {"dbof", "moe"}
    assert {row.model.model for row in planned.compression} == {"moe"}
    assert {row.model.model for row in planned.transfer} == {"moe"}
    with_states = plan_tables(["lstm", "logistic"], transfer=True).transfer
    assert "transfer-lstm-states" in {row.model.name for row in with_states}


def test_full_size_and_compressed_differ_in_their_features_alone() -> None:
    planned = plan_tables(has_store=True, compression=True)
    for full, pca, codes in zip(*(planned.compression[place::3] for place in range(3)), strict=True):
        assert full.model.model == pca.model.model == codes.model.model
        sets = [row.model.features for row in (full, pca, codes)]
        assert [(one.space, one.is_exact, one.blocks) for one in sets if one] == [
            ("relu", True, "mu"), ("pca", True, "mu"), ("pca", False, "mu"),
        ]  # fmt: skip


def test_full_size_is_a_row_of_table_3() -> None:
    planned = plan_tables(has_store=True, compression=True)
    assert {row.model for row in planned.compression[::3]} <= {row.model for row in planned.benchmarks}


def test_names_are_of_one_part_each() -> None:
    planned = plan_tables(has_store=True, compression=True, transfer=True)
    rows = (*planned.benchmarks, *planned.compression, *planned.transfer)
    assert len({row.model for row in rows}) == len(planned.models)
    sets = {row.model.features for row in rows if row.model.features}
    assert len(sets) == len({one.name for one in sets})


def test_every_figure_of_table_5_stands_in_a_row() -> None:
    rows = plan_tables(transfer=True).transfer
    shown = [dict(figures) for row in rows for figures in row.papers if figures]
    assert sorted(map(str, shown)) == sorted(
        str(dict(figures)) for table in (paper.SPORTS_1M, paper.ACTIVITY_NET) for figures in table.values()
    )


@pytest.mark.parametrize("models", [["moe", "svm"], []])
def test_an_unknown_model_is_refused(models: list[str]) -> None:
    with pytest.raises(UsageError, match="no such model"):
        plan_tables(models)


def test_compression_needs_a_store() -> None:
    with pytest.raises(UsageError, match="no uncompressed features"):
        plan_tables(MODELS, compression=True)
