"""The ring of requests that may get feedback, as a worker writes it."""

from pathlib import Path

from proxy.evidence.ring import HEADER, WORDS, id_hash, open_ring, ring_path
from proxy.evidence.stretch import read_ring
from proxy.routing.hashing import bucket

PLACE = 811
EPOCH = 0xFEDC_BA98_7654_3210


def test_the_hash_is_that_of_buckets() -> None:
    """An id's hash is the bucket that the id has without a salt: one hash in the whole program."""
    assert id_hash(b"some-id") == bucket(b"", b"some-id")


def test_the_file_is_private(tmp_path: Path) -> None:
    """Nobody else may read who asked what."""
    open_ring(tmp_path, 0).close()
    assert ring_path(tmp_path, 0).stat().st_mode & 0o777 == 0o600


def test_a_successor_goes_on(tmp_path: Path) -> None:
    """A writer that was killed is followed by one that writes after it; what it had half written is not there."""
    first = open_ring(tmp_path, 0)
    first.put(b"one", EPOCH, PLACE, 1, 0)
    first._slots[HEADER + WORDS] = 42  # killed before the count
    first.close()
    second = open_ring(tmp_path, 0)
    second.put(b"two", EPOCH, PLACE, 2, 0)
    found = read_ring(ring_path(tmp_path, 0), 0)
    assert found.ids.tolist() == [id_hash(b"one"), id_hash(b"two")]
