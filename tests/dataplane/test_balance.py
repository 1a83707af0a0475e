"""Which of several servers."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from proxy.dataplane.balance import (
    SLOTS,
    least_loaded,
    next_draw,
    server_salt,
    slot_of,
    two_places,
    winner,
)
from proxy.routing.hashing import SPACE, bucket

URLS = [f"http://10.0.0.{i}:9001" for i in range(1, 6)]
SALTS = [server_salt(url) for url in URLS]
SAMPLE = range(0, SLOTS, 7)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.integers(0, 1000))
def test_the_least_loaded(loads: list[int], start: int) -> None:
    """No other load is smaller, and of equal ones it is the first from the start on."""
    place = least_loaded(loads, start)
    assert loads[place] == min(loads)
    before = [(start + i) % len(loads) for i in range((place - start) % len(loads))]
    assert all(loads[other] > loads[place] for other in before)


def test_ties_go_round() -> None:
    """Equal servers are chosen one after the other."""
    assert [least_loaded([0, 0, 0], turn) for turn in range(6)] == [0, 1, 2, 0, 1, 2]


@given(st.integers(0, SPACE - 1), st.integers(2, 64))
def test_two_places_are_two(draw: int, count: int) -> None:
    """The two are different and exist."""
    first, second = two_places(draw, count)
    assert first != second
    assert {first, second} <= set(range(count))


def test_two_choices_spread() -> None:
    """Among ten servers that keep what they get, two choices leave no two far apart, and every pair is drawn."""
    loads, draw, pairs = [0] * 10, 1, set()
    for _ in range(20_000):
        draw = next_draw(draw)
        first, second = two_places(draw, 10)
        pairs.add((first, second))
        loads[first if loads[first] <= loads[second] else second] += 1
    assert len(pairs) == 90
    assert max(loads) - min(loads) <= 10


@given(st.integers(0, len(URLS) - 1), st.permutations(range(len(URLS))))
def test_losing_a_server_moves_its_units_alone(lost: int, order: list[int]) -> None:
    """Without one server only its slots go elsewhere, whatever the order of the list."""
    left = [place for place in order if place != lost]
    moved = 0
    for slot in SAMPLE[:400]:
        owner = winner(slot, SALTS)
        fresh = left[winner(slot, [SALTS[place] for place in left])]
        assert fresh == owner or owner == lost
        moved += fresh != owner
    assert moved > 0


def test_units_spread_evenly() -> None:
    """Each of five servers gets a fifth of the units, also of a small canary's, whose buckets are all small."""
    owners = [winner(slot, SALTS) for slot in range(SLOTS)]
    for share in (1, 1000):
        got = Counter(owners[slot_of(bucket(b"s:", b"%d" % i) // share)] for i in range(20_000))
        assert all(3_600 < got[place] < 4_400 for place in range(5))


@given(st.integers(0, SPACE - 1))
def test_slots(unit: int) -> None:
    """Every bucket has a slot."""
    assert 0 <= slot_of(unit) < SLOTS
