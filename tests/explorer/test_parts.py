"""The small parts of the explorer: chunks, buckets and sources."""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yt8m_pipeline.explorer import similarity
from yt8m_pipeline.explorer.chunks import SPILLS, Buckets, amount, bucket_of, chunk
from yt8m_pipeline.explorer.similarity import plane
from yt8m_pipeline.explorer.sources import Sources


@given(name=st.text(), value=st.recursive(st.text() | st.integers() | st.none(), st.lists, max_leaves=5))
def test_a_chunk_is_harmless_and_says_what_it_was_given(name: str, value: object) -> None:
    data = chunk(name, value)
    assert data.isascii()
    assert not set(data) & set(b"<>&")
    assert data.count(b"\n") == 1
    inside = data.decode().removeprefix("yt8m(").removesuffix(");\n")
    assert json.loads(f"[{inside}]") == [name, value]


def test_a_chunk_has_no_number_that_json_lacks() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        chunk("a", float("nan"))
    assert [amount(value, 1) for value in (None, float("nan"), float("inf"), -1, 1.25)] == [None, None, None, None, 1.2]


@pytest.mark.parametrize("dimensions", [2, 3, 8])
def test_strangers_are_alike_by_chance_as_rarely_as_is_said(dimensions: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "CHANCE", 0.05)
    monkeypatch.setattr(similarity, "NEAR_DUPLICATE", 0.0)
    one, other = np.random.default_rng(0).standard_normal((2, 100_000, dimensions))
    cosines = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    assert (cosines >= similarity.near_duplicate(dimensions)).mean() == pytest.approx(0.05, abs=0.005)


@pytest.mark.parametrize("count", [1, 7, SPILLS, 3 * SPILLS + 1])
def test_buckets_have_their_rows_in_order(count: int) -> None:
    expected = defaultdict(list)
    with Buckets(count) as buckets:
        for number in range(2_000):
            bucket = bucket_of(str(number), count)
            buckets.add(bucket, [number, "\u2028\n\t"])
            expected[bucket].append([number, "\u2028\n\t"])
        assert list(buckets) == [(bucket, expected[bucket]) for bucket in range(count)]


@pytest.mark.parametrize(
    ("uri", "root", "href"),
    [
        ("https://example.org/a.mp4", None, "https://example.org/a.mp4"),
        ("a.mp4", "https://example.org/films/", "https://example.org/films/a.mp4"),
        ("a b#1?.mp4", "https://example.org/films", "https://example.org/films/a%20b%231%3F.mp4"),
        ("HTTP://example.org/a.mp4", None, "HTTP://example.org/a.mp4"),
        ("https://example.org/a b", None, None),
        ("gs://bucket/a.mp4", None, None),
        ("a.mp4", "gs://bucket", None),
        ("javascript:alert(1)", None, None),
        ("javascript:alert(1)", "ROOT/corpus", "../corpus/javascript%3Aalert%281%29"),
        ("JavaScript://x/%0aalert(1)", "ROOT/corpus", None),
        ("data:text/html,<script>", "ROOT/corpus", "../corpus/data%3Atext/html%2C%3Cscript%3E"),
        ("//evil.example/a.mp4", "ROOT/corpus", "UP/evil.example/a.mp4"),
        ("a.mp4", None, None),
        ("a.mp4", "ROOT/site/films", "./films/a.mp4"),
        ("a\0.mp4", "ROOT/corpus", None),
    ],
)
def test_only_the_web_and_known_files_are_linked(tmp_path: Path, uri: str, root: str | None, href: str | None) -> None:
    sources = Sources(str(tmp_path / "site"), root.replace("ROOT", str(tmp_path)) if root else None)
    up = "/".join([".."] * len((tmp_path / "site").parts[1:]))
    found = sources.of(uri)
    assert found["text"] == uri
    assert found.get("href") == (href.replace("UP", up) if href else None)


def test_no_place_in_the_plane_is_minus_zero() -> None:
    """Whose sign would depend on the processor, and with it the bytes of a site."""
    means = np.array([[-3, 1e-6], [0, -1e-6], [3, 1e-6], [1, 0], [-1, 0]], np.float32)
    found = plane(means).places
    assert np.abs(found).max() == 1
    assert not np.signbit(found[found == 0]).any()
