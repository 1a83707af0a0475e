"""What is read of a ring: each entry once, and what was written over is counted."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.evidence import ring as ring_module
from proxy.evidence import stretch as stretch_module
from proxy.evidence.ring import ENTRIES, HEADER, WORDS, id_hash, open_ring, ring_path, rings
from proxy.evidence.stretch import read_ring

PLACE = 811
EPOCH = 0xFEDC_BA98_7654_3210


def test_an_entry_comes_back(tmp_path: Path) -> None:
    """Every word of an entry is read as it was written, also the greatest."""
    ring = open_ring(tmp_path, 3)
    ring.put(b"one", EPOCH, 0, 0, 0)
    ring.put(b"two", 0, (1 << 23) - 1, (1 << 64) - 1, 1)
    ring.close()
    assert rings(tmp_path) == {3: ring_path(tmp_path, 3)}
    found = read_ring(ring_path(tmp_path, 3), 0)
    assert found.ids.tolist() == [id_hash(b"one"), id_hash(b"two")]
    assert found.epochs.tolist() == [EPOCH, 0]
    assert found.buckets.tolist() == [0, (1 << 64) - 1]
    assert found.places.tolist() == [0, (1 << 23) - 1]
    assert found.own_coins.tolist() == [False, True]
    assert (found.position, found.missed) == (2, 0)


def test_nothing_where_there_is_nothing(tmp_path: Path) -> None:
    """A ring that is gone, or still growing, is an empty one."""
    path = ring_path(tmp_path, 0)
    assert read_ring(path, 7).position == 7
    path.write_bytes((5).to_bytes(8, "little"))
    assert read_ring(path, 0).position == 0
    assert len(read_ring(path, 0).ids) == 0


def test_what_is_written_over_while_it_is_read(tmp_path: Path) -> None:
    """An entry that does not say the number that it should have is missed, not taken for another."""
    ring = open_ring(tmp_path, 0)
    for number in range(3):
        ring.put(b"%d" % number, EPOCH, PLACE, number, 0)
    ring._slots[HEADER + WORDS + 3] += ENTRIES << 24
    found = read_ring(ring_path(tmp_path, 0), 0)
    assert found.ids.tolist() == [id_hash(b"0"), id_hash(b"2")]
    assert (found.position, found.missed) == (3, 1)


def test_another_file_is_read_from_its_beginning(tmp_path: Path) -> None:
    """A count below what was read is another ring."""
    open_ring(tmp_path, 0).put(b"one", EPOCH, PLACE, 1, 0)
    assert read_ring(ring_path(tmp_path, 0), 900).ids.tolist() == [id_hash(b"one")]


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.one_of(st.integers(0, 40), st.none()), max_size=30))
def test_nothing_twice_and_nothing_unsaid(steps: list[int | None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: however writing and reading alternate, each entry is read once in order or counted as missed."""
    for name, value in {"ENTRIES": 16, "MASK": 15, "SIZE": 8 + 16 * 4}.items():
        monkeypatch.setattr(ring_module, name, value)
        monkeypatch.setattr(stretch_module, name, value)
    with tempfile.TemporaryDirectory() as folder:
        path, ring = ring_path(Path(folder), 0), open_ring(Path(folder), 0)
        written, position, missed = 0, 0, 0
        read: list[int] = []
        for step in [*steps, None]:
            if step is None:
                found = read_ring(path, position)
                assert found.position == written
                # At most 15: the oldest place may be written to at this moment.
                assert (
                    len(found.buckets) == min(written - position, 15)
                    or len(found.buckets) == written - position
                )
                position, missed = found.position, missed + found.missed
                read += found.buckets.tolist()
                assert read[-1:] in ([], [written - 1]) or written == 0
            else:
                for _ in range(step):
                    ring.put(b"%d" % written, EPOCH, PLACE, written, 0)
                    written += 1
        assert read == sorted(set(read))
        assert len(read) + missed == written
