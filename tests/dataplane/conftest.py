"""Roads that most tests of the data plane begin with."""

import pytest

from tests.dataplane.road import LIMITS, Road


@pytest.fixture
def road(monkeypatch: pytest.MonkeyPatch) -> Road:
    """A road with one model."""
    return Road(monkeypatch)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Road:
    """A road with tight limits."""
    return Road(monkeypatch, LIMITS)
