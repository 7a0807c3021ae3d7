"""Chance is a salted hash of the id: reproducible, uniform, and another one for another salt."""

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from yt8m_pipeline.chance import salted_hash, salted_hashes

texts = st.text(st.characters(codec="utf-8"), max_size=20)


@given(texts, st.lists(texts, max_size=8))
def test_many_hashes_are_each_the_hash_of_one(salt: str, identifiers: list[str]) -> None:
    hashes = salted_hashes(salt, identifiers)
    assert hashes.dtype == np.uint64
    assert hashes.tolist() == [salted_hash(salt, identifier) for identifier in identifiers]


def test_the_hash_is_keyed_blake2b_in_network_order() -> None:
    key = hashlib.sha256(b"salt").digest()
    assert (
        salted_hash("salt", "vidéo").to_bytes(8, "big")
        == hashlib.blake2b(b"vid\xc3\xa9o", digest_size=8, key=key).digest()
    )
    assert salted_hash("yt8m-sample", "a") == 2959043828698470758


def test_the_hashes_are_uniform() -> None:
    """64 equal ranges of 64,000 ids each get 1,000: within five standard deviations, √1000 each."""
    hashes = salted_hashes("salt", map(str, range(64_000)))
    for bits in (hashes >> np.uint64(58), hashes & np.uint64(63)):
        counts = np.bincount(bits.astype(np.int64), minlength=64)
        assert np.abs(counts - 1000).max() < 5 * np.sqrt(1000)


@given(texts, texts, texts)
def test_another_salt_or_another_id_gives_another_hash(salt: str, other: str, identifier: str) -> None:
    if salt != other:
        assert salted_hash(salt, identifier) != salted_hash(other, identifier)
    if identifier != other:
        assert salted_hash(salt, identifier) != salted_hash(salt, other)


def test_the_draws_of_two_salts_are_independent() -> None:
    first, second = (salted_hashes(salt, map(str, range(10_000))) < np.uint64(2**63) for salt in ("one", "two"))
    assert abs(int((first & second).sum()) - 2500) < 5 * np.sqrt(10_000 * 3 / 16)
