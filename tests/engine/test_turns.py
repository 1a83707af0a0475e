"""Who is judged next, when there is not time for all."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.engine.turns import IDLE_NS, MOST_HASTE, Candidate, Turns

SECOND = 1_000_000_000


def judge(turns: Turns, candidates: list[Candidate], now_ns: int, at_most: int = 1000) -> list[str]:
    named = {each.route: each for each in candidates}
    order = turns.order(candidates, now_ns)[:at_most]
    for route in order:
        turns.done(named[route], now_ns)
    return order


def test_what_has_not_changed_waits() -> None:
    """A rollout without news is judged once, and again when the time for it has come."""
    turns, quiet = Turns(), [Candidate("a", (1,), 0)]
    assert judge(turns, quiet, 0) == ["a"]
    assert judge(turns, quiet, IDLE_NS - 1) == []
    assert turns.left == 0
    assert judge(turns, quiet, IDLE_NS) == ["a"]
    assert judge(turns, [Candidate("a", (2,), 0)], IDLE_NS + 1) == ["a"]


def test_a_canary_that_fails_is_next() -> None:
    """New events are worth seconds of waiting, so that the one of many that fails is the first."""
    turns = Turns()
    many = [Candidate(str(i), (1,), 0) for i in range(100)]
    judge(turns, many, 0)
    busy = [each._replace(mark=(2,), events=3 if each.route == "57" else 0) for each in many]
    assert turns.order(busy, SECOND)[0] == "57"
    assert turns.left == 100


def test_who_waits_for_an_answer_is_first() -> None:
    """An order that is not done yet is asked for again in each tick, whatever else is due."""
    turns = Turns()
    both = [Candidate("a", (1,), 0), Candidate("b", (1,), 0, is_pressing=True)]
    judge(turns, both, 0)
    assert judge(turns, both, 1) == ["b"]
    failing = [both[0]._replace(mark=(2,), events=50), both[1]]
    assert turns.order(failing, 2) == ["b", "a"]


def test_a_route_that_is_gone_is_forgotten() -> None:
    """What comes again under the name of a route that was gone is judged at once."""
    turns, one = Turns(), [Candidate("a", (1,), 0)]
    judge(turns, one, 0)
    turns.order([], 1)
    assert judge(turns, one, 2) == ["a"]


@given(st.lists(st.integers(0, 3), min_size=2, max_size=12), st.integers(1, 4))
def test_nobody_waits_for_ever(rates: list[int], at_most: int) -> None:
    """However the others fail, everybody's turn comes within a round of all and the most haste there is."""
    turns = Turns()
    last = dict.fromkeys(range(len(rates)), 0)
    bound = (MOST_HASTE + len(rates) / at_most + 2) * SECOND
    for tick in range(100):
        now_ns = tick * SECOND
        candidates = [Candidate(str(i), (tick,), rate * tick) for i, rate in enumerate(rates)]
        for route in judge(turns, candidates, now_ns, at_most):
            assert now_ns - last[int(route)] <= bound
            last[int(route)] = now_ns
    assert min(last.values()) >= 99 * SECOND - bound
