"""What blocks of evidence say: several writers, readers at any time."""

import sys
from pathlib import Path

import numpy as np
import pytest

from proxy.evidence.blocks import block_path, epochs
from proxy.evidence.counts import read
from proxy.evidence.layout import FIELDS, FIRST_LATENCY, LATENCY
from tests.evidence.counting import EPOCH, OTHER, add, named


def test_workers_add_up_by_variant_and_epoch(tmp_path: Path) -> None:
    """Each variant has its own run of integers; an epoch's are never another's."""
    add(tmp_path, 0, {2: 1, FIELDS + 3: 4})
    add(tmp_path, 1, {2: 2})
    add(tmp_path, 11, {2: 8})
    add(tmp_path, 0, {2: 99}, OTHER)
    assert named(tmp_path, 0) == {"error_requests": 11}
    assert named(tmp_path, 1) == {"client_error_requests": 4}
    assert epochs(tmp_path) == {EPOCH, OTHER}
    assert read(tmp_path, EPOCH, 2).dtype == np.int64


def test_requests_and_units_are_sums(tmp_path: Path) -> None:
    """They are not counted: so they agree with the durations at any moment, whoever was killed."""
    add(tmp_path, 0, {LATENCY: 1, LATENCY + 399: 2, FIRST_LATENCY + 7: 1})
    assert named(tmp_path, 0) == {
        "requests": 3,
        "units": 1,
        "latency_0": 1,
        "latency_399": 2,
        "first_latency_7": 1,
    }


@pytest.mark.parametrize("length", [0, 7, 8, 3 * 8 + 5])
def test_a_short_file_counts_as_far_as_it_goes(tmp_path: Path, length: int) -> None:
    """A file that is being made, or was cut, is no error."""
    add(tmp_path, 1, {3: 1})
    data = b"".join((5).to_bytes(8, sys.byteorder) for _ in range(4))
    block_path(tmp_path, EPOCH, 0).write_bytes(data[:length])
    row = read(tmp_path, EPOCH, 2)[0]
    assert row[3] == 1
    assert row[2] == (5 if length >= 24 else 0)


def test_a_file_that_goes_while_it_is_read_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block that was listed and is deleted then counts nothing."""
    gone = block_path(tmp_path, EPOCH, 3)
    monkeypatch.setattr(Path, "glob", lambda *_: iter([gone]))
    assert not read(tmp_path, EPOCH, 2).any()


def test_an_epoch_of_fewer_variants_does_not_read_beyond(tmp_path: Path) -> None:
    """A reader that asks for less gets less; nothing at all is zeros."""
    add(tmp_path, 0, {2: 1, FIELDS + 2: 1})
    assert read(tmp_path, EPOCH, 1).shape == (1, FIELDS)
    assert not read(tmp_path / "nowhere", EPOCH, 2).any()
    assert epochs(tmp_path / "nowhere") == frozenset()
