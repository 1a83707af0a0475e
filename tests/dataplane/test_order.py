"""The order in which copies are sent where the champion is asked once more."""

from collections import Counter
from collections.abc import Iterator
from itertools import permutations

import pytest

from proxy.dataplane.order import Drawn, drawn_order
from tests.dataplane.road import build_table

CONFIG = """
models:
  one: {url: "http://127.0.0.1:9001"}
  two: {url: "http://127.0.0.1:9002"}
  three: {url: "http://127.0.0.1:9003"}
routes:
  - name: wine
    match: {path: "/v2/models/wine/*"}
    variants:
      - {name: v1, model: one, role: champion}
    shadows: [{model: two}, {model: three}]
    compare: {noise: 100}
"""


def every_order(size: int) -> Counter[tuple[int, ...]]:
    """Return how often each order comes up over all pairs of bytes that are not drawn again."""
    found: Counter[tuple[int, ...]] = Counter()
    for turn in range(256 - 256 % size):
        for side in range(256):
            found[tuple(drawn_order(size, iter((turn, side)).__next__))] += 1
    return found


@pytest.mark.parametrize("size", [2, 3, 5, 33])
def test_any_two_places_are_exchanged_exactly_as_often(size: int) -> None:
    """Over all bytes, copy a stands at place i and copy b at j exactly as often as the other way round."""
    places: Counter[tuple[int, int, int, int]] = Counter()
    for order, times in every_order(size).items():
        assert sorted(order) == list(range(size))
        place = {copy: at for at, copy in enumerate(order)}
        for a, b in permutations(range(size), 2):
            places[a, b, place[a], place[b]] += times
    assert all(times == places[a, b, j, i] for (a, b, i, j), times in places.items())


def test_two_copies_are_a_fair_coin() -> None:
    """With one candidate each of the two orders comes up in exactly half of the cases."""
    assert every_order(2) == {(0, 1): 256 * 128, (1, 0): 256 * 128}


def test_uneven_bytes_are_drawn_again() -> None:
    """255 would make the first of three turns likelier than the others."""
    assert list(drawn_order(3, iter((255, 1, 0)).__next__)) == [1, 2, 0]


def test_every_iteration_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shadows are the same in any order, and as a sequence they have that of the table."""
    route = build_table(CONFIG).routes[0]
    assert route.noise is not None
    shadows = Drawn((*route.shadows, route.noise))
    draws: Iterator[int] = iter((0, 0, 2, 1))
    monkeypatch.setattr("proxy.dataplane.order.urandom", lambda size: bytes([next(draws)]))
    first, second, noise = tuple.__iter__(shadows)
    assert list(shadows) == [first, second, noise]
    assert list(shadows) == [noise, second, first]
    assert (len(shadows), shadows[2], bool(shadows)) == (3, noise, True)
