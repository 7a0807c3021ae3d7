"""Ids and groups made of paths."""

from hypothesis import given
from hypothesis import strategies as st

from yt8m_pipeline.intake.naming import HMDB, UCF, group_of, group_pattern
from yt8m_pipeline.tables.video_files import identify

PATHS = st.sets(st.text("ab./_ -é\n,", min_size=1).map(lambda path: f"{path}.mp4"), max_size=12)


@given(PATHS)
def test_ids_are_unique_and_safe_and_do_not_depend_on_the_order(paths: set[str]) -> None:
    ids, _ = identify(sorted(paths))
    assert len(set(ids.values())) == len(paths)
    assert ids == identify(sorted(paths, reverse=True))[0]
    assert all(sign.isalnum() or sign in "._-" for name in ids.values() for sign in name)
    assert not any(name.startswith((".", "-")) for name in ids.values())


def test_paths_that_share_an_id_are_told_apart_by_a_hash() -> None:
    ids, colliding = identify(["a/b.mp4", "a_b.mp4", "c.mp4"])
    assert colliding == ["a/b.mp4", "a_b.mp4"]
    assert ids["a/b.mp4"].startswith("a_b.mp4-") and ids["c.mp4"] == "c"


def test_known_patterns_are_taken_if_all_films_have_them() -> None:
    clips = ["Archery/v_Archery_g01_c02.avi", "HandstandPushups/v_HandStandPushups_g25_c04.avi"]
    assert group_pattern(clips, None) is UCF
    assert [group_of(name, UCF) for name in clips] == ["Archery_g01", "HandStandPushups_g25"]
    assert group_pattern([*clips, "a.mp4"], None) is None
    assert group_pattern([], None) is None
    video_file = "brush_hair/Brunette_Foxyanya_ultra_silky_long_hair_brushing_hair_brush_hair_u_nm_np1_ba_goo_12.avi"
    assert group_pattern([video_file], None) is HMDB
    assert group_of(video_file, HMDB) == "Brunette_Foxyanya_ultra_silky_long_hair_brushing_hair_brush_hair"
