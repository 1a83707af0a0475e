"""Who moves when one configuration replaces another: exact, from the intervals, before anything is applied.

Theory of operation
    Two tables of one route cut the same bucket space. Laid over each other they give stretches that had one
    owner and get one owner; the sum of those where the two differ is who moves. Everything is an integer number
    of buckets, so the shares are exact and not sampled.

    That holds as long as a unit keeps its bucket. With another salt the two buckets of a unit are independent,
    so the share that goes from *a* to *b* is the product of their shares. The same figure stands for other
    unit sources: it is what moves among the requests that now bring another unit, and no file can tell which.

Rule
    Variants are the same when their names are the same. Routes too.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Literal

from proxy.model import Role
from proxy.routing.hashing import SPACE
from proxy.routing.intervals import Claim, Intervals, compile_intervals, reserved_percents
from proxy.routing.table import Route, Table, Variant

__all__ = ["FIRST_MOVERS", "Move", "Plan", "RoutePlan", "UnitCount", "compile_plan", "count_units"]

FIRST_MOVERS = 20
"""How many of the units that move are named."""


@dataclass(frozen=True, slots=True)
class Move:
    """Units of one variant that go to another."""

    source: str
    target: str
    share: Fraction
    """Part of all units of the route, 0 to 1, exact."""


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """What a change does to the units of one route."""

    route: str
    redrawn: str | None
    """Why units get another bucket, or another unit; None: every unit keeps its bucket."""
    moves: tuple[Move, ...]
    """Largest first."""
    notes: tuple[str, ...]
    """What else changes for the same units, such as the model behind a variant."""
    warnings: tuple[str, ...]
    """Where the promise that only a changed variant trades units does not hold."""

    @property
    def moved(self) -> Fraction:
        """Part of all units that change variant, 0 to 1."""
        return sum((move.share for move in self.moves), Fraction(0))


@dataclass(frozen=True, slots=True)
class Plan:
    """What a change does, route by route."""

    routes: tuple[RoutePlan, ...]
    """Routes that are in both files, in the order of the new one."""
    added: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def is_quiet(self) -> bool:
        """Tell whether nobody moves and no route comes or goes."""
        return not (self.added or self.removed or any(plan.moves for plan in self.routes))


@dataclass(slots=True)
class UnitCount:
    """Given units under the old and the new configuration of one route."""

    total: int = 0
    moved: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Number of units by (from, to)."""
    first: list[tuple[str, str, str]] = field(default_factory=list)
    """The first units that move: (unit, from, to)."""


def compile_plan(old: Table, new: Table) -> Plan:
    """Return who moves when ``new`` replaces ``old``."""
    before = {route.name: route for route in old.routes}
    after = {route.name: route for route in new.routes}
    return Plan(
        routes=tuple(_plan_route(before[name], route) for name, route in after.items() if name in before),
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
    )


def count_units(old: Table, new: Table, units: Iterable[bytes]) -> dict[str, UnitCount]:
    """Assign every one of ``units`` twice; return the counts by route, for routes that are in both tables."""
    before = {route.name: route for route in old.routes}
    pairs = [(before[route.name], route, UnitCount()) for route in new.routes if route.name in before]
    for unit in units:
        for earlier, later, count in pairs:
            count.total += 1
            source = earlier.assign(earlier.bucket(unit)).name
            target = later.assign(later.bucket(unit)).name
            if source != target:
                count.moved[source, target] += 1
                if len(count.first) < FIRST_MOVERS:
                    count.first.append((unit.decode("utf-8", "backslashreplace"), source, target))
    return {later.name: count for _, later, count in pairs}


def _plan_route(old: Route, new: Route) -> RoutePlan:
    redrawn = _redrawn(old, new)
    shares = _overlap(old, new) if redrawn is None else _product(old, new)
    moves = [
        Move(source, target, part) for (source, target), part in shares.items() if source != target and part
    ]
    moves.sort(key=lambda move: (-move.share, move.source, move.target))
    return RoutePlan(new.name, redrawn, tuple(moves), tuple(_notes(old, new)), tuple(_warnings(old, new)))


def _redrawn(old: Route, new: Route) -> str | None:
    if old.unit_prefix != new.unit_prefix:
        return "the salt changed: everyone is re-drawn"
    if [reader.text for reader in old.readers] != [reader.text for reader in new.readers]:
        return "the unit sources changed: every request that now brings another unit is re-drawn"
    return None


def _overlap(old: Route, new: Route) -> dict[tuple[str, str], Fraction]:
    """Return the share of every (from, to), for units that keep their bucket."""
    buckets: Counter[tuple[str, str]] = Counter()
    for start, end in pairwise(sorted({0, *old.bounds, *new.bounds, SPACE})):
        buckets[old.assign(start).name, new.assign(start).name] += end - start
    return {pair: Fraction(size, SPACE) for pair, size in buckets.items()}


def _product(old: Route, new: Route) -> dict[tuple[str, str], Fraction]:
    """Return the share of every (from, to), for units whose two buckets are independent."""
    return {
        (a.name, b.name): Fraction(old.intervals.width(a.index), SPACE)
        * Fraction(new.intervals.width(b.index), SPACE)
        for a in old.variants
        for b in new.variants
    }


def _notes(old: Route, new: Route) -> Iterable[str]:
    if old.settings.match != new.settings.match or old.index != new.index:
        yield "the match or the place in the list changed: other requests may come to this route"
    if old.missing_champion != new.missing_champion:
        choice = "go to the champion" if new.missing_champion else "draw by their request id"
        yield f"requests without a unit now {choice}"
    for later in new.variants:
        earlier = old.variant(later.name)
        if earlier is None:
            continue
        if earlier.model.name != later.model.name:
            yield f"{later.name}: answered by model {later.model.name} instead of {earlier.model.name}"
        if earlier.role != later.role:
            yield f"{later.name}: {later.role.value} instead of {earlier.role.value}"
    for when, route in (("in the old file", old), ("in the new file", new)):
        if (tried := route.settings.rollout_variant) is not None:
            yield (
                f"{when}, a rollout moves the weight of {tried.name}; counted is its first step, wherever it is on "
                "a running proxy"
            )


def _warnings(old: Route, new: Route) -> Iterable[str]:
    """Name every variant that is not where it would be if the others had no weight."""
    for when, route in (("in the old file", old), ("in the new file", new)):
        claims = [_claim(variant) for variant in route.variants if variant is not route.champion]
        reserved = {
            arm: percent
            for side in ("top", "bottom")
            for arm, percent in reserved_percents([c for c in claims if c.side == side]).items()
        }
        for claim in claims:
            name = route.variants[claim.arm].name
            if claim.weight > reserved[claim.arm]:
                yield (
                    f"{when}, {name} has weight {claim.weight} in a reserved range of {reserved[claim.arm]:.6g} "
                    f"percent: changes of it can move units of others; raise its max_weight"
                )
            elif _places(route.intervals, claim.arm) != _places(_alone(claims, claim.arm, route), claim.arm):
                yield (
                    f"{when}, {name} is displaced by a variant of the other side, whose changes move units of "
                    f"{name}: give the variants a max_weight that keeps their ranges apart"
                )


def _claim(variant: Variant) -> Claim:
    side: Literal["top", "bottom"] = "bottom" if variant.role is Role.CANARY else "top"
    return Claim(variant.index, side, variant.weight, variant.settings.max_weight)


def _alone(claims: Sequence[Claim], arm: int, route: Route) -> Intervals:
    """Return the intervals as if only ``arm`` had a weight."""
    return compile_intervals(
        [c if c.arm == arm else replace(c, weight=Decimal(0)) for c in claims], route.champion.index
    )


def _places(intervals: Intervals, arm: int) -> list[tuple[int, int, int]]:
    return [piece for piece in intervals.pieces() if piece[2] == arm]
