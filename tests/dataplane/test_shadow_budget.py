"""Places that are held and returned."""

import asyncio
from typing import cast

from proxy.dataplane.shadow_budget import RETURN_S, ShadowBudget
from tests.fakes import FakeLoop


def test_places_return_one_at_a_time() -> None:
    """Each takes its time after the one before, and when none is held no timer is left."""
    loop = FakeLoop()
    budget = ShadowBudget(cast("asyncio.AbstractEventLoop", loop))
    for _ in range(3):
        budget.hold()
    held = [budget.held]
    for _ in range(3):
        loop.advance(RETURN_S * 1.01)
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
