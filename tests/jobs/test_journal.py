"""The journal finds a step only by its own key, and only while its files stand."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yt8m_pipeline.compression.distortion import Distortion
from yt8m_pipeline.data_model import Partition
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.dataset.steps import (
    FileEntry,
    PcaFacts,
    PcaStep,
    ShardFacts,
    ShardStep,
    Step,
    file_entry,
    require_intact,
    step_key,
)
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.jobs.journal import Journal


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    for name, text in (("mean.npy", b"mean"), ("pca/eigenvals.npy", b"values")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(text)
    return Layout(str(tmp_path))


@pytest.fixture
def step(layout: Layout) -> Step:
    entries = tuple(file_entry(layout, name) for name in ("mean.npy", "pca/eigenvals.npy"))
    return PcaStep("pca", "key", entries, PcaFacts("fitted", 8, 1e-4, "fingerprint", {"frames": 12}))


def test_a_file_is_described_by_its_size_and_sha256(layout: Layout) -> None:
    assert file_entry(layout, "mean.npy") == FileEntry("mean.npy", 4, hashlib.sha256(b"mean").hexdigest())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"mead", "its bytes are not those that the manifest lists"),
        (b"mea", "its bytes are not those that the manifest lists"),
        (None, "it is missing"),
    ],
)
def test_a_file_is_intact_while_its_bytes_are_those_that_were_described(
    layout: Layout, tmp_path: Path, text: bytes | None, why: str
) -> None:
    entry = file_entry(layout, "mean.npy")
    require_intact(layout, entry)
    (tmp_path / "mean.npy").unlink()
    if text is not None:
        (tmp_path / "mean.npy").write_bytes(text)
    with pytest.raises(DataError, match="A file of the dataset is damaged") as caught:
        require_intact(layout, entry)
    assert (caught.value.where, caught.value.why) == (layout.path("mean.npy"), why)
    assert caught.value.fix == "`yt8m verify` lists all damage, and names the command that mends it"


def test_a_recorded_step_is_found(layout: Layout, step: Step) -> None:
    journal = Journal(layout)
    assert journal.find("pca", "key") is None
    assert journal.record(step) is step
    assert Journal(layout).find("pca", "key") == step
    assert Step.from_json(json.loads(json.dumps(step.to_json()))) == step


def test_a_step_of_another_key_or_name_is_not_found(layout: Layout, step: Step) -> None:
    journal = Journal(layout)
    journal.record(step)
    assert journal.find("pca", "another") is None
    assert journal.find("quantizer", "key") is None


@pytest.mark.parametrize("text", [b"mea", b"mean ", None])
def test_a_step_whose_file_is_gone_or_of_another_size_is_not_found(
    layout: Layout, step: Step, tmp_path: Path, text: bytes | None
) -> None:
    journal = Journal(layout)
    journal.record(step)
    (tmp_path / "mean.npy").unlink()
    if text is not None:
        (tmp_path / "mean.npy").write_bytes(text)
    assert journal.find("pca", "key") is None


def test_the_last_record_of_a_name_counts(layout: Layout, step: Step) -> None:
    journal = Journal(layout)
    journal.record(step)
    later = journal.record(PcaStep("pca", "later", step.files, step.facts))
    assert journal.find("pca", "key") is None
    assert journal.find("pca", "later") == later


@pytest.mark.parametrize("name", ["../outside", "a/b", "..", "é %2F"])
def test_a_name_never_becomes_a_path(layout: Layout, tmp_path: Path, name: str) -> None:
    journal = Journal(layout)
    step = journal.record(ShardStep(name, "key", (), ShardFacts(Partition.TRAIN, 0, 0, Distortion())))
    assert journal.find(name, "key") == step
    (entry,) = (tmp_path / ".journal").iterdir()
    assert entry.is_file()
    assert not list(tmp_path.parent.glob("outside*"))


def test_a_cleared_journal_finds_nothing_and_leaves_the_dataset(layout: Layout, step: Step, tmp_path: Path) -> None:
    journal = Journal(layout)
    journal.clear()
    journal.record(step)
    journal.clear()
    assert journal.find("pca", "key") is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mean.npy", "pca"]


values = st.recursive(st.integers() | st.text() | st.none(), lambda item: st.lists(item, max_size=3), max_leaves=6)


@given(st.lists(values, max_size=3), st.lists(values, max_size=3))
def test_keys_are_equal_where_the_parts_are(first: list[object], second: list[object]) -> None:
    assert (step_key(*first) == step_key(*second)) == (first == second)


def test_a_key_depends_neither_on_the_order_of_a_mapping_nor_on_the_kind_of_a_sequence() -> None:
    assert step_key({"a": 1, "b": (1, 2)}) == step_key({"b": [1, 2], "a": 1})
    assert step_key("ab", "c") != step_key("a", "bc")


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\0" * 300, b'{"name": "pca"}'])
def test_a_step_that_does_not_parse_was_not_done(layout: Layout, step: Step, text: bytes) -> None:
    """A power failure may leave a file empty, cut or full of zeros."""
    journal = Journal(layout)
    journal.record(step)
    (path,) = Path(layout.path(".journal")).iterdir()
    path.write_bytes(text)
    assert journal.find(step.name, step.key) is None
    assert journal.record(step) == journal.find(step.name, step.key)


def test_a_step_that_was_begun_is_not_done(layout: Layout, step: Step) -> None:
    journal = Journal(layout)
    assert not journal.has_news
    journal.record(step)
    journal.forget(step.name)
    assert journal.find(step.name, step.key) is None
    assert journal.has_news


def test_bytes_are_looked_at_where_they_must_be_intact(layout: Layout, step: Step) -> None:
    journal = Journal(layout)
    journal.record(step)
    Path(layout.path(step.files[0].path)).write_bytes(b"mead")
    assert journal.find(step.name, step.key) == step
    assert journal.find(step.name, step.key, intact=True) is None
