"""Vectors are kept by the hash of their text, those that were used last, in bounded space."""

import numpy as np

from proxy.embedder.cache import VectorCache


def vector(number: int) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    """Return a vector that takes 512 bytes, 768 in the cache."""
    return np.full(128, number, np.float32)


def test_it_finds_what_it_has() -> None:
    """An equal text has the vector of the one before, another text none."""
    cache = VectorCache(10_000)
    cache.put("a", vector(1))
    cache.put("a", vector(2))
    assert cache.get("b") is None
    found = cache.get("a")
    assert found is not None
    assert found[0] == 2
    assert (len(cache), cache.weight) == (1, 768)


def test_what_was_not_used_for_longest_goes() -> None:
    """However many texts come, the bound holds; a look at a vector keeps it."""
    cache = VectorCache(3 * 768)
    for number, text in enumerate("abc"):
        cache.put(text, vector(number))
    cache.get("a")
    cache.put("d", vector(3))
    assert [text for text in "abcd" if cache.get(text) is not None] == ["a", "c", "d"]
    for number in range(1000):
        cache.put(f"more {number} \ud800", vector(number))
        assert cache.weight <= cache.max_bytes


def test_no_cache() -> None:
    """A cache without room keeps nothing."""
    cache = VectorCache(0)
    cache.put("a", vector(1))
    assert (cache.get("a"), len(cache), cache.weight) == (None, 0, 0)
