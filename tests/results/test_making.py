"""A whole run on a small build: every part, a model that fails, what is done again and what is not."""

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_line import four_parts, run
from tests.conftest import shared
from yt8m_pipeline import open_dataset
from yt8m_pipeline.dataset.typed_json import from_json
from yt8m_pipeline.evaluation.evaluating import evaluate
from yt8m_pipeline.results.facts import Facts

MODELS = "frame_logistic,dbof,logistic"
FAILED = "dbof"


@pytest.fixture(scope="module")
def made(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a run with a store, ratings and another dataset, in which one model failed."""
    with shared(tmp_path_factory, "results") as (folder, is_new):
        if is_new:
            opened = open_dataset(str(built / "dataset"))
            rows = [f"{video_id},{place % 2}" for place, video_id in enumerate(opened.ids("test"))]
            (folder / "rated.csv").write_text("\n".join(["video_id,labels", *rows]) + "\n")
            (folder / "out" / "models" / FAILED).mkdir(parents=True)
            (folder / "out" / "models" / FAILED / "model.json").write_text("{")
            finished = run(*arguments(built, folder))
            assert finished.returncode == 1, finished.stderr
            (folder / "printed.json").write_text(finished.stdout)
        yield folder


def arguments(built: Path, folder: Path, *more: str) -> list[str]:
    dataset, store = str(built / "dataset"), str(built / "features")
    options = ["--store", store, "--transfer", dataset, "--rated", str(folder / "rated.csv"), "--bootstrap", "10"]
    models = [] if "--models" in more else ["--models", MODELS]
    return ["results", dataset, "--output", str(folder / "out"), "--small", "--json", *options, *models, *more]


def facts_of(folder: Path) -> Facts:
    return from_json(Facts, json.loads((folder / "out" / "results.json").read_text()))


def times(folder: Path) -> dict[str, int]:
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in paths}


def test_every_table_has_its_rows(made: Path) -> None:
    rows = {table.name: {row.model: row for row in table.rows} for table in facts_of(made).tables}
    models = {"frame_logistic", FAILED, "logistic-mu"}
    assert rows["table-3"].keys() == rows["table-4"].keys() == models
    assert rows["compression"].keys() == {"logistic-mu", "logistic-mu-float-pca", "logistic-mu-codes"}
    assert rows["loss"].keys() == {"logistic-mu-float-pca", "logistic-mu-codes"}
    assert rows["table-5"].keys() == {"transfer-logistic-mu"}
    lacking = {row.model for table in rows.values() for row in table.values() if not row.values}
    assert lacking == {FAILED}


def test_no_page_is_written_into_its_dataset(built: Path) -> None:
    dataset = built / "dataset"
    before = sorted(dataset.rglob("*"))
    finished = run("results", str(dataset), "--output", str(dataset / "results"), "--small", "--models", "logistic")
    assert finished.returncode == 2
    assert "A page of results needs a folder of its own" in four_parts(finished)[0]
    assert sorted(dataset.rglob("*")) == before


def test_the_figures_are_those_of_the_predictions(made: Path, built: Path) -> None:
    table = facts_of(made).tables[0]
    for row in table.rows:
        if row.values:
            predictions = str(made / "out" / "predictions" / f"{row.model}-validate.parquet")
            report = evaluate(str(built / "dataset"), predictions, bootstrap=10)
            assert {name: figure.value for name, figure in row.values.items()} == {
                name: report.evaluation.values[name] for name in row.values
            }


def test_human_ratings_are_of_the_predictions_of_their_partition(made: Path, built: Path) -> None:
    table = next(table for table in facts_of(made).tables if table.name == "table-4")
    row = next(row for row in table.rows if row.model == "frame_logistic")
    predictions = str(made / "out" / "predictions" / "frame_logistic-test.parquet")
    report = evaluate(str(built / "dataset"), predictions, rated=str(made / "rated.csv"))
    assert row.values["perr"].value == report.evaluation.values["perr"]
    assert report.missing == report.unknown == 0


def test_a_model_that_fails_says_why_and_loses_no_other(made: Path) -> None:
    facts = facts_of(made)
    failed = next(model for model in facts.models if model.name == FAILED)
    assert "model.json" in (failed.why or "")
    assert any(warning.startswith(f"{FAILED} has no results: ") for warning in facts.warnings)
    assert [model.name for model in facts.models if model.why] == [FAILED]
    assert "description of a model" in (made / "out" / "index.html").read_text()
    assert all(model.epochs and model.settings for model in facts.models if not model.why)


def test_the_command_prints_the_tables_and_where_the_page_is(made: Path) -> None:
    printed = json.loads((made / "printed.json").read_text())
    assert len(printed["Table 3"]) == 3
    assert printed["files"][0]["file"].endswith("index.html")


def test_a_csv_has_ours_and_the_papers(made: Path) -> None:
    with (made / "out" / "results.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["source"] for row in rows} >= {"ours", "YouTube-8M"}


@pytest.fixture
def copied_results(made: Path, tmp_path: Path) -> Path:
    """A copy of the run to change, in which the model that failed is not there any more."""
    shutil.copytree(made, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "out" / "models" / FAILED)
    return tmp_path / "copy"


WITHOUT_FAILED = ("--models", "frame_logistic,logistic")


def test_a_second_run_does_nothing_and_a_lost_part_is_made_again_with_the_same_bytes(
    copied_results: Path, built: Path
) -> None:
    assert run(*arguments(built, copied_results, *WITHOUT_FAILED)).returncode == 0
    before = times(copied_results)
    assert run(*arguments(built, copied_results, *WITHOUT_FAILED)).returncode == 0
    assert times(copied_results) == before
    lost = [
        copied_results / "out" / path
        for path in ("predictions/logistic-mu-validate.parquet", "evaluations/frame_logistic-validate.json")
    ]
    bytes_before = [path.read_bytes() for path in lost]
    for path in lost:
        path.unlink()
    assert run(*arguments(built, copied_results, *WITHOUT_FAILED)).returncode == 0
    assert [path.read_bytes() for path in lost] == bytes_before
    changed = {name for name, time in times(copied_results).items() if before.get(name) != time}
    made_again = {str(path.relative_to(copied_results)) for path in lost} | {"out/parts.json"}
    assert made_again <= changed
    assert not [name for name in changed if name.startswith(("out/models", "out/features"))]


def test_what_is_made_from_a_part_is_made_again_with_it(copied_results: Path, built: Path) -> None:
    assert run(*arguments(built, copied_results, *WITHOUT_FAILED)).returncode == 0
    before = times(copied_results / "out")
    shutil.rmtree(copied_results / "out" / "models" / "logistic-mu")
    assert run(*arguments(built, copied_results, *WITHOUT_FAILED)).returncode == 0
    changed = {name for name, time in times(copied_results / "out").items() if before.get(name) != time}
    assert {f"predictions/logistic-mu-{part}.parquet" for part in ("validate", "test")} <= changed
    assert not [name for name in changed if "frame_logistic" in name or name.startswith("features")]


def test_another_dataset_may_be_left_out_but_not_exchanged(copied_results: Path, built: Path) -> None:
    words = arguments(built, copied_results, *WITHOUT_FAILED)
    place = words.index("--transfer")
    without = [*words[:place], *words[place + 2 :]]
    before = times(copied_results / "out" / "models")
    assert run(*without).returncode == run(*words).returncode == 0
    assert times(copied_results / "out" / "models") == before
    assert [table.name for table in facts_of(copied_results).tables][-1] == "table-5"
    ledger = copied_results / "out" / "parts.json"
    told = json.loads(ledger.read_text())
    told["identity"]["other_build_key"] = "another"
    ledger.write_text(json.dumps(told))
    assert "other_build_key" in four_parts(run(*words))[2]


def test_more_samples_are_drawn_without_training(copied_results: Path, built: Path) -> None:
    before = times(copied_results / "out" / "models")
    more = run(*arguments(built, copied_results, *WITHOUT_FAILED, "--bootstrap", "12"))
    assert more.returncode == 0
    assert facts_of(copied_results).samples == 12
    assert times(copied_results / "out" / "models") == before


def test_a_folder_with_other_results_is_refused(made: Path, built: Path) -> None:
    before = times(made / "out")
    others = [word for word in arguments(built, made) if word != "--small"]
    refused = run(*others)
    assert refused.returncode == 2
    assert "something else" in four_parts(refused)[0]
    assert "small" in four_parts(refused)[2]
    assert times(made / "out") == before


def test_wrong_options_are_refused_before_anything_is_done(built: Path, tmp_path: Path) -> None:
    for options, what in (
        (("--models", "svm"), "no such model"),
        (("--compression",), "no uncompressed features"),
        (("--rated", "none.csv"), "no table of human ratings"),
    ):
        refused = run("results", str(built / "dataset"), "--output", str(tmp_path / "out"), *options)
        assert refused.returncode == 2
        assert what in four_parts(refused)[0]
    assert not (tmp_path / "out").exists()
