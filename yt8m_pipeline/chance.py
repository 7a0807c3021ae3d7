"""Random choices, made by a salted hash of the id, so that every engine, worker and run makes the same ones.

>>> salted_hash("yt8m-sample", "dQw4w9WgXcQ") == salted_hash("yt8m-sample", "dQw4w9WgXcQ")
True
>>> [int(number) % 4 for number in salted_hashes("yt8m-shard", ["a", "b", "c"])]
[0, 3, 1]
"""

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt


def salted_hash(salt: str, identifier: str) -> int:
    """Hashes an id under a salt: 64 bits of BLAKE2b (RFC 7693), keyed by the salt's SHA-256; uniform on [0, 2**64)."""
    key = hashlib.sha256(salt.encode()).digest()
    return int.from_bytes(hashlib.blake2b(identifier.encode(), digest_size=8, key=key).digest(), "big")


def salted_hashes(salt: str, identifiers: Iterable[str]) -> npt.NDArray[np.uint64]:
    """Hashes many ids as `salted_hash` does: uint64, (ids,)."""
    seed = hashlib.blake2b(digest_size=8, key=hashlib.sha256(salt.encode()).digest())
    digests = bytearray()
    for identifier in identifiers:
        keyed = seed.copy()
        keyed.update(identifier.encode())
        digests += keyed.digest()
    return np.frombuffer(bytes(digests), dtype=">u8").astype(np.uint64)
