"""Where a rollout stands, as it is shown."""

from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from proxy.control.openapi import build_openapi
from proxy.engine import rollout_view
from proxy.engine.rollout_view import rollout_document
from proxy.rollout.state import Phase, RolloutState
from tests.control.rollout_world import START_NS, entry_of, settings_of

SETTINGS = settings_of()
ROUTES = {route.name: route for route in SETTINGS.routes}
STATE = entry_of(SETTINGS).state


def told(state: RolloutState) -> dict[str, Any]:
    """The supervisor's message, 90 s after the start of the rollout."""
    return {"rollouts": {"states": [{"route": "other"}, state.document()], "clock_offset_ns": START_NS}}


@pytest.fixture(autouse=True)
def fixture_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The monotonic clock stands at 90 s."""
    monkeypatch.setattr(rollout_view, "monotonic_ns", lambda: 90_000_000_000)


def test_it_is_all_there() -> None:
    """Names, place, times, words and the engine's last judgement."""
    state = replace(
        STATE,
        step=1,
        since_ns=START_NS + 60_000_000_000,
        paused_by="admin 127.0.0.1",
        paused_reason="a sale",
        reason="shown",
    )
    assert rollout_document(SETTINGS, ROUTES["wine"], told(state), {"verdict": "hold"}) == {
        "route": "wine", "variant": "v2", "rollout": STATE.rollout, "phase": "ramping", "step": 1,
        "steps": [5.0, 25.0, 50.0], "weight": 25.0, "promoted_weight": 100.0, "seconds_in_step": 30.0,
        "seconds_since_start": 90.0, "paused_by": "admin 127.0.0.1", "paused_reason": "a sale",
        "by": "engine", "reason": "shown", "dry_run": False, "sequence": 1, "judgement": {"verdict": "hold"},
    }  # fmt: skip


@pytest.mark.parametrize("phase", Phase)
def test_it_is_as_described(phase: Phase) -> None:
    """Every phase is what the API description says."""
    document = rollout_document(SETTINGS, ROUTES["wine"], told(replace(STATE, phase=phase, step=-1)), None)
    assert document is not None
    jsonschema.validate({**document, "evidence": None}, build_openapi()["components"]["schemas"]["Rollout"])


@pytest.mark.parametrize(
    ("route", "fleet"),
    [
        ("water", told(STATE)),
        ("beer", told(STATE)),
        ("wine", {}),
        ("wine", {"rollouts": {"states": [{"route": "wine"}]}}),
    ],
    ids=["none", "of another route", "not told yet", "not understood"],
)
def test_there_is_none(route: str, fleet: dict[str, Any]) -> None:
    """A route without a rollout, or whose place is not known yet, shows none."""
    assert rollout_document(SETTINGS, ROUTES[route], fleet, None) is None


def test_a_time_before_now_is_none() -> None:
    """Clocks that do not agree yet make no negative time."""
    document = rollout_document(SETTINGS, ROUTES["wine"], told(replace(STATE, since_ns=2 * START_NS)), None)
    assert document is not None
    assert document["seconds_in_step"] == 0.0
