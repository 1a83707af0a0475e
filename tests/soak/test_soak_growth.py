"""Growth: a leak is seen, noise is not."""

import pytest

from tests.soak.growth import Sample, growth

MIB = 2**20


def samples(*grown: float, pid: int = 1) -> list[Sample]:
    return [Sample(float(i), "worker 0", pid, int(50 * MIB + g * MIB), 40) for i, g in enumerate(grown)]


def test_leak_is_seen() -> None:
    """A steady rise is reported in full, whatever the outliers."""
    rise = [0.1 * i for i in range(100)]
    rise[30] = rise[60] = 40.0
    (found,) = growth(samples(*rise))
    assert found.rss_grown_bytes == pytest.approx(9.9 * MIB, rel=0.05)
    assert found.seconds == 99.0


def test_spikes_are_not_growth() -> None:
    """What comes and goes is not growth."""
    (found,) = growth(samples(*(8.0 * (i % 7 == 3) for i in range(100))))
    assert abs(found.rss_grown_bytes) < MIB / 100
    assert found.open_files_grown == 0


def test_short_lives_are_left_out() -> None:
    """A role that changed its process, or was hardly seen, has no growth."""
    assert growth(samples(*[0.0] * 20) + samples(*[0.0] * 20, pid=2)) == []
    assert growth(samples(0.0, 0.0)) == []
