"""Chance as a salted hash of the id: the same on every engine, worker and run (DESIGN rule 5)."""

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt


def salted_hash(salt: str, identifier: str) -> int:
    """The 64-bit BLAKE2b hash of an id under a salt, uniform on [0, 2**64)."""
    key = hashlib.sha256(salt.encode()).digest()
    return int.from_bytes(hashlib.blake2b(identifier.encode(), digest_size=8, key=key).digest(), "big")


def salted_hashes(salt: str, identifiers: Iterable[str]) -> npt.NDArray[np.uint64]:
    """`salted_hash` of many ids: uint64, (ids,)."""
    seed = hashlib.blake2b(digest_size=8, key=hashlib.sha256(salt.encode()).digest())
    digests = bytearray()
    for identifier in identifiers:
        keyed = seed.copy()
        keyed.update(identifier.encode())
        digests += keyed.digest()
    return np.frombuffer(bytes(digests), dtype=">u8").astype(np.uint64)
