"""Places that are held and returned."""

import asyncio
from typing import cast

import pytest

from proxy.dataplane import shadow_budget
from proxy.dataplane.shadow_budget import LONGEST_S, REST_S, RETURN_S, ShadowBudget
from tests.fakes import FakeLoop


def test_places_return_one_at_a_time() -> None:
    """Each takes its time after the one before, and when none is held no timer is left."""
    loop = FakeLoop()
    budget = ShadowBudget(cast("asyncio.AbstractEventLoop", loop))
    for _ in range(3):
        budget.hold()
    held = [budget.held]
    for turn in range(3):
        loop.advance(RETURN_S * 2**turn * 1.01)
        held.append(budget.held)
    assert held == [3, 2, 1, 0]
    assert budget.in_flight == 0
    assert not loop.handles


def test_a_place_that_is_given_back_meanwhile_is_not_returned_twice() -> None:
    """What the timer finds returned it leaves alone; another place has a time of its own from then."""
    loop = FakeLoop()
    budget = ShadowBudget(cast("asyncio.AbstractEventLoop", loop))
    budget.hold()
    budget.give_back()
    loop.advance(RETURN_S)
    assert (budget.held, budget.in_flight) == (0, 0)
    budget.hold()
    loop.advance(RETURN_S / 2)
    assert budget.held == 1
    loop.advance(RETURN_S / 2)
    assert budget.held == 0


def test_the_time_to_the_next_place_doubles_until_one_is_given_back() -> None:
    """Without a whole answer each place takes twice as long as the one before, to a second; with one it begins anew."""
    loop = FakeLoop()
    budget = ShadowBudget(cast("asyncio.AbstractEventLoop", loop))
    for _ in range(9):
        budget.hold()
    waited = []
    for held in range(8, 3, -1):
        waited.append(0.0)
        while budget.held > held:
            loop.advance(RETURN_S / 2)
            waited[-1] += RETURN_S / 2
    assert waited == pytest.approx([0.1, 0.2, 0.4, 0.8, LONGEST_S])
    budget.give_back()
    assert (budget.held, budget.in_flight) == (3, 3)
    loop.advance(LONGEST_S)  # the timer that is set runs out
    assert budget.held == 2
    loop.advance(2 * RETURN_S)
    assert budget.held == 1


def test_rests_of_who_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that fail at the same time make one rest, later ones longer rests, and one that succeeds ends it."""
    now = [10**9]
    monkeypatch.setattr(shadow_budget, "monotonic_ns", lambda: now[0])
    budget = ShadowBudget(cast("asyncio.AbstractEventLoop", FakeLoop()))
    rests = []
    for _ in range(6):
        for _ in range(3):
            budget.rest()
        rests.append((budget.rests_until_ns - now[0]) / 1e9)
        now[0] = budget.rests_until_ns
    assert rests == pytest.approx([REST_S, 0.2, 0.4, 0.8, LONGEST_S, LONGEST_S])
    budget.end_rest()
    assert budget.rests_until_ns == 0
    budget.rest()
    assert budget.rests_until_ns - now[0] == REST_S * 1e9
