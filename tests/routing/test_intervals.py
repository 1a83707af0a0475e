"""Laws of nested assignment: who moves when a weight changes, and that nobody else does."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Literal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from proxy.routing.hashing import SPACE, share
from proxy.routing.intervals import Claim, Intervals, compile_intervals, reserved_percents

CHAMPION = 0

percents = st.one_of(
    st.integers(0, 100).map(Decimal),
    st.decimals(0, 100, places=3, allow_nan=False, allow_infinity=False),
    st.sampled_from([Decimal("1e-18"), Decimal("0.1"), Decimal("33.333333333"), Decimal("99.999999999999")]),
)

sides: st.SearchStrategy[Literal["top", "bottom"]] = st.sampled_from(("top", "bottom"))


def moved(before: Intervals, after: Intervals) -> dict[tuple[int, int], int]:
    """Return how many buckets go from one arm to another, by (from, to)."""
    edges = sorted({0, *before.bounds, *after.bounds})
    moves: dict[tuple[int, int], int] = {}
    for start, end in zip(edges, [*edges[1:], SPACE], strict=True):
        pair = (before.arm(start), after.arm(start))
        if pair[0] != pair[1]:
            moves[pair] = moves.get(pair, 0) + end - start
    return moves


def assert_partition(intervals: Intervals, claims: Sequence[Claim]) -> None:
    """Every bucket has one owner and every arm has exactly the share of its weight."""
    pieces = intervals.pieces()
    assert pieces[0][0] == 0
    assert pieces[-1][1] == SPACE
    for (_, end, owner), (start, _, following) in pairwise(pieces):
        assert end == start
        assert owner != following
    assert all(start < end for start, end, _ in pieces)
    for claim in claims:
        assert share(claim.weight) == intervals.width(claim.arm)
    rest = SPACE - sum(share(claim.weight) for claim in claims)
    assert rest == intervals.width(CHAMPION)


def claim(
    arm: int, side: Literal["top", "bottom"], weight: str | Decimal, reserved: str | None = None
) -> Claim:
    return Claim(arm, side, Decimal(weight), None if reserved is None else Decimal(reserved))


@st.composite
def any_claims(draw: st.DrawFn, max_arms: int = 6) -> list[Claim]:
    """Draw claims whose weights add to at most 100; ranges may be outgrown and may overlap."""
    count = draw(st.integers(0, max_arms))
    left = Decimal(100)
    claims = []
    open_sides = {"top": Decimal(100), "bottom": Decimal(100)}
    for arm in range(1, count + 1):
        side = draw(sides)
        weight = min(draw(percents), left)
        left -= weight
        reserved = draw(st.none() | percents)
        if reserved is not None:
            reserved = min(reserved, open_sides[side])
            open_sides[side] -= reserved
        claims.append(Claim(arm, side, weight, reserved))
    return claims


@st.composite
def disjoint_claims(draw: st.DrawFn) -> tuple[list[Claim], int, Decimal]:
    """Draw claims that stay inside disjoint reserved ranges, one of them, and another weight for it."""
    count = draw(st.integers(1, 6))
    cuts = sorted(draw(st.lists(percents, min_size=count, max_size=count)))
    widths = [high - low for low, high in zip([Decimal(0), *cuts], cuts, strict=False)]
    claims = []
    for arm, width in enumerate(widths, start=1):
        side = draw(sides)
        weight = min(draw(percents), width)
        claims.append(Claim(arm, side, weight, width))
    chosen = draw(st.integers(0, count - 1))
    return claims, chosen, min(draw(percents), widths[chosen])


def with_weight(claims: Sequence[Claim], index: int, weight: Decimal) -> list[Claim]:
    changed = list(claims)
    old = changed[index]
    changed[index] = Claim(old.arm, old.side, weight, old.max_weight)
    return changed


def assert_only_this_arm_trades(before: Intervals, after: Intervals, arm: int, delta: int) -> None:
    """Only champion and ``arm`` trade, in one direction, and by exactly the change of the arm's share."""
    if delta == 0:
        assert moved(before, after) == {}
    elif delta > 0:
        assert moved(before, after) == {(CHAMPION, arm): delta}
    else:
        assert moved(before, after) == {(arm, CHAMPION): -delta}


def test_no_claims_leave_everything_to_the_champion() -> None:
    """A route with a champion alone is one interval."""
    intervals = compile_intervals([], CHAMPION)
    assert intervals.pieces() == [(0, SPACE, CHAMPION)]
    assert intervals.bounds == ()


def test_canary_fills_from_the_bottom_and_challenger_from_the_top() -> None:
    """The place of each role is the one the contract names."""
    intervals = compile_intervals([claim(1, "top", "10"), claim(2, "bottom", "5")], CHAMPION)
    low, high = share(Decimal(5)), SPACE - share(Decimal(10))
    assert [(0, low, 2), (low, high, CHAMPION), (high, SPACE, 1)] == intervals.pieces()


def test_challengers_stand_in_the_order_of_the_file() -> None:
    """Two challengers have half of the space each; the second fills from the middle downwards."""
    intervals = compile_intervals([claim(1, "top", "10"), claim(2, "top", "10")], CHAMPION)
    tenth, half = share(Decimal(10)), SPACE // 2
    assert [
        (0, half - tenth, CHAMPION),
        (half - tenth, half, 2),
        (half, SPACE - tenth, CHAMPION),
        (SPACE - tenth, SPACE, 1),
    ] == intervals.pieces()


def test_full_weight_leaves_the_champion_nothing() -> None:
    """At 100 percent a variant owns every bucket."""
    intervals = compile_intervals([claim(1, "bottom", "100")], CHAMPION)
    assert intervals.pieces() == [(0, SPACE, 1)]


def test_zero_weight_owns_nothing() -> None:
    """At weight 0 nobody is left on a variant."""
    intervals = compile_intervals([claim(1, "bottom", "0"), claim(2, "top", "0")], CHAMPION)
    assert intervals.pieces() == [(0, SPACE, CHAMPION)]


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ([claim(1, "top", "1"), claim(2, "top", "1")], {1: 50, 2: 50}),
        ([claim(1, "top", "1", "20"), claim(2, "top", "1"), claim(3, "top", "1")], {1: 20, 2: 40, 3: 40}),
        ([claim(1, "top", "1", "20"), claim(2, "top", "1", "30")], {1: 20, 2: 30}),
        ([claim(1, "top", "1", "100"), claim(2, "top", "1")], {1: 100, 2: 0}),
        ([], {}),
    ],
)
def test_reserved_ranges(claims: list[Claim], expected: dict[int, int]) -> None:
    """Explicit ranges are kept and the others share equally what is left."""
    assert expected == reserved_percents(claims)


@given(any_claims())
def test_any_claims_give_a_partition_with_exact_widths(claims: list[Claim]) -> None:
    """Whatever is asked for, outgrown or not: every bucket has one owner, every width is its weight."""
    assert_partition(compile_intervals(claims, CHAMPION), claims)


@given(any_claims(), st.integers(0, SPACE - 1))
def test_arm_agrees_with_the_pieces(claims: list[Claim], bucket: int) -> None:
    """The lookup finds the owner that the list of pieces names."""
    intervals = compile_intervals(claims, CHAMPION)
    owners = [arm for start, end, arm in intervals.pieces() if start <= bucket < end]
    assert owners == [intervals.arm(bucket)]


@given(any_claims())
def test_borders_belong_to_the_interval_they_open(claims: list[Claim]) -> None:
    """A bound is the first bucket of the interval behind it."""
    intervals = compile_intervals(claims, CHAMPION)
    for start, end, arm in intervals.pieces():
        assert arm == intervals.arm(start)
        assert arm == intervals.arm(end - 1)


@given(percents, percents, percents, st.booleans())
def test_one_canary_and_one_challenger_are_exact_at_every_weight(
    canary: Decimal, challenger: Decimal, weight: Decimal, change_canary: bool
) -> None:
    """With one of each, a changed weight trades exactly |Δweight| between that variant and the champion."""
    assume(canary + challenger <= 100)
    assume(weight + (challenger if change_canary else canary) <= 100)
    claims = [Claim(1, "bottom", canary), Claim(2, "top", challenger)]
    index = 0 if change_canary else 1
    before = compile_intervals(claims, CHAMPION)
    after = compile_intervals(with_weight(claims, index, weight), CHAMPION)
    delta = share(weight) - share(claims[index].weight)
    assert_only_this_arm_trades(before, after, claims[index].arm, delta)


@given(percents, percents)
def test_adding_or_removing_a_canary_never_moves_the_challenger(canary: Decimal, challenger: Decimal) -> None:
    """A canary that comes or goes trades with the champion alone; the challenger keeps its units."""
    assume(canary + challenger <= 100)
    alone = compile_intervals([Claim(2, "top", challenger)], CHAMPION)
    both = compile_intervals([Claim(1, "bottom", canary), Claim(2, "top", challenger)], CHAMPION)
    assert_only_this_arm_trades(alone, both, 1, share(canary))
    assert_only_this_arm_trades(both, alone, 1, -share(canary))


@given(percents, percents)
def test_adding_or_removing_a_challenger_never_moves_the_canary(canary: Decimal, challenger: Decimal) -> None:
    """The same holds the other way round."""
    assume(canary + challenger <= 100)
    alone = compile_intervals([Claim(1, "bottom", canary)], CHAMPION)
    both = compile_intervals([Claim(1, "bottom", canary), Claim(2, "top", challenger)], CHAMPION)
    assert_only_this_arm_trades(alone, both, 2, share(challenger))


@given(disjoint_claims())
def test_any_number_is_exact_inside_reserved_ranges(drawn: tuple[list[Claim], int, Decimal]) -> None:
    """With disjoint reserved ranges, a change inside one trades exactly |Δweight| with the champion."""
    claims, chosen, weight = drawn
    before = compile_intervals(claims, CHAMPION)
    after = compile_intervals(with_weight(claims, chosen, weight), CHAMPION)
    delta = share(weight) - share(claims[chosen].weight)
    assert_partition(after, with_weight(claims, chosen, weight))
    assert_only_this_arm_trades(before, after, claims[chosen].arm, delta)


@given(st.integers(2, 5), st.data())
def test_default_ranges_are_exact_up_to_an_equal_share(count: int, data: st.DataObject) -> None:
    """Several challengers without ``max_weight`` are exact up to 100 / n percent each."""
    limit = Decimal(100) / count
    weights = [min(data.draw(percents), limit) for _ in range(count)]
    chosen = data.draw(st.integers(0, count - 1))
    weight = min(data.draw(percents), limit)
    claims = [Claim(arm + 1, "top", w) for arm, w in enumerate(weights)]
    assume(sum(weights) - weights[chosen] + weight <= 100)
    before = compile_intervals(claims, CHAMPION)
    after = compile_intervals(with_weight(claims, chosen, weight), CHAMPION)
    assert_only_this_arm_trades(before, after, chosen + 1, share(weight) - share(weights[chosen]))


@given(any_claims())
def test_abort_leaves_nobody_and_gives_all_to_somebody_else(claims: list[Claim]) -> None:
    """Setting every weight to 0 sends every unit to the champion, whatever the ranges were."""
    aborted = [Claim(c.arm, c.side, Decimal(0), c.max_weight) for c in claims]
    assert compile_intervals(aborted, CHAMPION).pieces() == [(0, SPACE, CHAMPION)]


OVERFLOWS: list[tuple[str, list[Claim]]] = [
    ("challenger past its half", [claim(1, "top", "70"), claim(2, "top", "10")]),
    ("both challengers past a small range", [claim(1, "top", "40", "10"), claim(2, "top", "40", "10")]),
    ("second challenger past the bottom", [claim(1, "top", "10", "90"), claim(2, "top", "60", "10")]),
    (
        "canary meets the lower challenger",
        [claim(1, "top", "10"), claim(2, "top", "10"), claim(3, "bottom", "60")],
    ),
    ("all full", [claim(1, "top", "30"), claim(2, "top", "30"), claim(3, "bottom", "40", "10")]),
    ("no range at all", [claim(1, "top", "20", "0"), claim(2, "bottom", "20", "0")]),
    ("two canaries, one past its half", [claim(1, "bottom", "80"), claim(2, "bottom", "20")]),
]


@pytest.mark.parametrize(("name", "claims"), OVERFLOWS, ids=[name for name, _ in OVERFLOWS])
def test_outgrown_ranges_are_still_a_partition(name: str, claims: list[Claim]) -> None:
    """A variant that outgrows its range still gets exactly its weight, of space that is free."""
    assert_partition(compile_intervals(claims, CHAMPION), claims)


def test_outgrowing_does_not_move_a_challenger_that_stays_in_its_range() -> None:
    """The overflow of one challenger takes free space: another inside its own range keeps every unit."""
    before = compile_intervals([claim(1, "top", "50"), claim(2, "top", "10")], CHAMPION)
    after = compile_intervals([claim(1, "top", "70"), claim(2, "top", "10")], CHAMPION)
    assert {(CHAMPION, 1): share(Decimal(70)) - share(Decimal(50))} == moved(before, after)
