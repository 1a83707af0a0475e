"""True answers that come before the comparison: what is on its way is waited for, and nothing else."""

import asyncio
from collections.abc import Collection

import pytest

from proxy.observer import early
from proxy.observer.early import MAX_MISSING, MAX_WAITING, Early, is_among
from proxy.observer.pairing import Pair
from tests.observer.exchanges import primary_part, shadow_part


class Known:
    """Requests that are known after so many looks."""

    def __init__(self, *looks: int) -> None:
        self.looks = 0
        self._known_after = {b"%d" % i: after for i, after in enumerate(looks)}

    def missing(self) -> set[bytes]:
        """Return those that are not known, and count the look."""
        self.looks += 1
        return {name for name, after in self._known_after.items() if self.looks <= after}


@pytest.mark.parametrize(
    ("known", "looks"), [(Known(), 1), (Known(0, 0), 1), (Known(0, 1), 2), (Known(2), 3)]
)
async def test_what_arrives_is_waited_for(known: Known, looks: int) -> None:
    """No longer than until all of it is there; what is there already is not waited for."""
    await asyncio.wait_for(Early(lambda _: False).wait(known.missing), 5)
    assert (known.looks, known.missing()) == (looks, set())


async def test_what_does_not_come_is_given_up() -> None:
    """What no pair speaks of after a moment is not there."""
    known, asked = Known(10**9), list[Collection[bytes]]()

    def is_coming(ids: Collection[bytes]) -> bool:
        asked.append(ids)
        return False

    await asyncio.wait_for(Early(is_coming).wait(known.missing), 5)
    assert (known.looks, asked) == (4, [{b"0"}])


async def test_slow_shadows_are_waited_for() -> None:
    """As long as a pair waits for one; what is not among the pairs does not keep the others."""
    known = Known(6, 10**9)
    await asyncio.wait_for(Early(lambda ids: b"0" in ids).wait(known.missing), 5)
    assert (known.looks, known.missing()) == (7, {b"1"})


async def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client does not wait for a shadow that takes half a minute."""
    monkeypatch.setattr(early, "PATIENCE_S", 0.15)
    await asyncio.wait_for(Early(lambda _: True).wait(Known(10**9).missing), 5)


async def test_few_wait() -> None:
    """Posts beyond the bound are answered at once, as is one with very many unknown requests."""
    known, never = Known(10**9), Known(10**9)
    waiter = Early(lambda _: True)
    tasks = [asyncio.create_task(waiter.wait(known.missing)) for _ in range(MAX_WAITING)]
    await asyncio.sleep(0)
    await waiter.wait(never.missing)
    assert never.looks == 0
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    many = Known(*([10**9] * (MAX_MISSING + 1)))
    await waiter.wait(many.missing)
    assert many.looks == 1
    await waiter.wait((one := Known(1)).missing)
    assert one.looks == 2


def test_pairs_that_wait() -> None:
    """A pair is known by its primary."""
    pairs = [Pair(0, primary_part(request_id=b"a")), Pair(0, None, {0: shadow_part()})]
    assert is_among(pairs, {b"b", b"a"})
    assert not is_among(pairs, {b"b"})
    assert not is_among([], {b"a"})
