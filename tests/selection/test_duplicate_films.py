"""Films that several videos have: their clusters against brute force, and what becomes of them."""

from itertools import pairwise, permutations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yt8m_pipeline.accounting.reasons import Stage
from yt8m_pipeline.config import Config
from yt8m_pipeline.dataset.layout import Layout
from yt8m_pipeline.errors import DataError
from yt8m_pipeline.jobs.sufficiency import check_given_partitions
from yt8m_pipeline.selection.duplicate_films import (
    Cluster,
    Copy,
    clusters_of,
    divided,
    first_copies,
    home_of,
    moves_of,
    reject_copies,
    warnings_of_kept,
    warnings_of_moved,
)

from .rows import table

PARTITIONS = ("train", "validate", "test")


def copies(units: list[int]) -> list[Copy]:
    """Videos of numbered units; a unit is in one partition."""
    return [Copy(f"v{index:02}", f"u{unit}", PARTITIONS[unit % 3]) for index, unit in enumerate(units)]


films_of_units = st.lists(st.integers(0, 8), min_size=2, max_size=14).flatmap(
    lambda units: st.lists(
        st.lists(st.sampled_from(copies(units)), min_size=2, max_size=4, unique=True), min_size=0, max_size=7
    )
)


def brute_force(films: list[list[Copy]]) -> list[Cluster]:
    """Joins sets of copies with a common unit until no two have one."""
    sets = [set(film) for film in films]
    while pair := next(((a, b) for a, b in permutations(sets, 2) if {c.unit for c in a} & {c.unit for c in b}), None):
        sets = [item for item in sets if item is not pair[0] and item is not pair[1]] + [pair[0] | pair[1]]
    return sorted(map(sorted, sets))


@given(films_of_units)
def test_clusters_are_the_components_of_units_that_films_join(films: list[list[Copy]]) -> None:
    assert clusters_of(films) == brute_force(films)


@given(films_of_units, st.randoms())
def test_no_order_changes_a_cluster(films: list[list[Copy]], random: object) -> None:
    shuffled = [list(film) for film in films]
    for part in (shuffled, *shuffled):
        random.shuffle(part)  # type: ignore[attr-defined]
    assert clusters_of(shuffled) == clusters_of(films)


@given(films_of_units)
def test_after_the_moves_every_film_is_in_the_partition_of_the_first_id(films: list[list[Copy]]) -> None:
    clusters = clusters_of(films)
    moves = moves_of(clusters)
    for cluster in clusters:
        assert {moves.get(copy.unit, copy.partition) for copy in cluster} == {min(cluster).partition}
    assert all(moves[copy.unit] != copy.partition for film in films for copy in film if copy.unit in moves)


def test_a_long_chain_of_films_is_one_cluster() -> None:
    chain = copies(list(range(20_000)))
    (cluster,) = clusters_of(list(pair) for pair in reversed(list(pairwise(chain))))
    assert cluster == sorted(chain)


A, B = Copy("a", "a", "train", is_given=True), Copy("b", "b", "test", is_given=True)
HASHED = Copy("0", "0", "validate")


class TestGivenPartitions:
    def test_the_given_partition_is_that_of_the_copies_without_one(self) -> None:
        clusters = clusters_of([[HASHED, B]])
        assert home_of(clusters[0]) == "test"
        assert moves_of(clusters) == {"0": "test"}

    def test_two_given_ones_move_nothing(self) -> None:
        clusters = clusters_of([[HASHED, A, B]])
        assert home_of(clusters[0]) is None
        assert moves_of(clusters) == {}

    def test_they_are_an_error_that_names_them(self) -> None:
        with pytest.raises(DataError, match="one film several partitions") as caught:
            check_given_partitions(clusters_of([[A, B]]), config(), Layout("dataset"))
        assert caught.value.why.endswith("in several given partitions: 1; first a in train; b in test")
        assert "partitioning.divided_groups: warn" in caught.value.fix

    @pytest.mark.parametrize("duplicates", ["keep", "reject"])
    def test_they_pass_where_films_are_not_kept_together(self, duplicates: str) -> None:
        check_given_partitions(clusters_of([[A, B]]), config(duplicates=duplicates), Layout("dataset"))

    def test_they_are_a_warning_where_the_config_says_so(self) -> None:
        clusters = clusters_of([[A, B]])
        check_given_partitions(clusters, config(partitioning={"divided_groups": "warn"}), Layout("dataset"))
        (warning,) = warnings_of_moved(clusters, [])
        assert warning.endswith("equal features: 1, as 2 videos; 1 are in several given partitions, first a")


def config(**fields: object) -> Config:
    return Config.model_validate({"inception": {"model": {"random": 0}}, **fields})


class TestWarnings:
    APART = clusters_of([copies([0, 1]), copies([0, 0])])

    def test_no_film_given_twice_is_no_warning(self) -> None:
        assert warnings_of_moved([], []) == warnings_of_kept([]) == []

    def test_moved_videos_are_counted_and_the_first_ten_named(self) -> None:
        (warning,) = warnings_of_moved(self.APART, [f"v{index:02}" for index in reversed(range(11))])
        assert warning == (
            "films given several times, by their uri or equal features: 1, as 3 videos; 11 videos were moved to the "
            "partition of their film's first id: v00, v01, v02, v03, v04, v05, v06, v07, v08, v09, …"
        )

    def test_films_of_one_partition_are_counted_too(self) -> None:
        (warning,) = warnings_of_moved(clusters_of([copies([0, 0])]), [])
        assert warning.endswith("1, as 2 videos; none was in several partitions")

    def test_kept_ones_name_the_first_in_several_partitions(self) -> None:
        (warning,) = warnings_of_kept(self.APART)
        assert warning.endswith(
            "as 3 videos; in several partitions: 1, first v00; `duplicates: group` keeps each in one"
        )
        assert len(divided(self.APART)) == 1


@pytest.mark.parametrize(("stage", "by"), [(Stage.SAME_URI, "uri"), (Stage.SAME_FEATURES, "features")])
def test_later_copies_are_rejected_and_name_the_first(stage: Stage, by: str) -> None:
    videos = table([{"video_id": name} for name in "abcd"], {"video_id": pa.string()})
    outcome = reject_copies(videos, first_copies([["b", "d", "a"]]), stage)
    assert outcome.kept["video_id"].to_pylist() == ["b", "c"]
    assert outcome.rejects["detail"].to_pylist() == [f"the same {by} as video b, which is kept"] * 2
    assert set(outcome.rejects["reason"].to_pylist()) == {"duplicate_film"}
