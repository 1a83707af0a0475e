"""An exchange → a record, if there is a reason for one and room in the budget.

Each exchange that the worker has marked as recorded, and each that a rule wants only here (``chosen``), ends as exactly
one of thinned, written, dropped or failed; written and failed are said later, by the log.

Rules
    * What is drawn is drawn before the record is looked at, from a number that nobody chooses: a hash of the exchange's
      number, its moment and its request id.
    * One budget for a route, whatever the version of the table: a reload is no new second.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias

from proxy.clock import monotonic_ns
from proxy.compare import Comparison
from proxy.compare.pace import Pace
from proxy.exchange import RECORDED, Primary, ShadowPart
from proxy.observer.attributes import read_slices
from proxy.observer.blocks import Blocks
from proxy.observer.record import RecordRule, build_line, build_record, inclusion_of, kept_fields
from proxy.observer.route_rules import RouteRules
from proxy.records.budget import Budget
from proxy.records.keep import Kept
from proxy.routing.hashing import bucket, salt_prefix
from proxy.routing.table import Route, Table
from proxy.sinks.sink import Token

__all__ = ["Recorder", "Sink"]

_CERTAIN: Final = ("kept", 1.0)
_NO_SLICES: Final[Mapping[str, str]] = {}

_Comparisons: TypeAlias = Mapping[int, Comparison]
_Paces: TypeAlias = Mapping[int, Pace]
_Record: TypeAlias = dict[str, Any]


class Sink(Protocol):
    """Where records go; see :class:`proxy.sinks.sinks.Sinks`."""

    def has_room(self) -> bool:
        """Tell whether a record would be taken."""

    def submit(self, line: bytes, token: Token) -> bool:
        """Queue a record; False if there is no room."""

    def drop(self) -> None:
        """Count a record that was not even built, because there was no room."""


class _RouteBudget:
    """The budget of a route, and its salt."""

    def __init__(self, name: str, per_second: int) -> None:
        self.per_second = per_second
        self._budget = Budget(per_second)
        self._prefix = salt_prefix(f"{name}/budget")

    def admit(self, now_ns: int, primary: Primary) -> tuple[str, float]:
        drawn_by = b"%d:%d:%d:%b" % (
            primary.worker,
            primary.number,
            primary.started_wall_ns,
            primary.request_id,
        )
        return self._budget.admit(now_ns, bucket(self._prefix, drawn_by))


class Recorder:
    """Makes records and hands them on.

    Args:
        blocks: the counts.
        sink: of the records.
        note: told of faults of this program: where, and what.
        clock_ns: monotonic time.
    """

    def __init__(
        self,
        blocks: Blocks,
        sink: Sink,
        note: Callable[[str, Exception], None],
        clock_ns: Callable[[], int] = monotonic_ns,
    ) -> None:
        self._blocks = blocks
        self._sink = sink
        self._note = note
        self._clock_ns = clock_ns
        self._budgets: dict[str, _RouteBudget] = {}

    def admit(self, table: Table) -> None:
        """Take in the budgets of ``table``; one that has not changed goes on."""
        budgets = {}
        for route in table.routes:
            per_second = route.settings.log.budget
            present = self._budgets.get(route.name)
            if present is not None and present.per_second == per_second:
                budgets[route.name] = present
            elif per_second:
                budgets[route.name] = _RouteBudget(route.name, per_second)
        self._budgets = budgets

    def offer(
        self,
        rules: RouteRules,
        primary: Primary,
        shadows: Mapping[int, ShadowPart],
        comparisons: _Comparisons,
        paces: _Paces,
    ) -> None:
        """Record an exchange with details, if there is a reason to.

        Args:
            rules: of the route, in the version of the exchange.
            primary: request and answer.
            shadows: the shadow parts that came, by index.
            comparisons: what came out, by index of the shadow.
            paces: how fast the answers were generated that were streamed.
        """
        place = (primary.worker, primary.version, primary.route)
        rule, route = rules.record, rules.route
        last = len(route.shadows)  # what lies beyond is the champion, asked again
        disagrees = any(each.result == "disagree" for i, each in comparisons.items() if i < last)
        reasons = rule.keep.reasons(primary.flags, disagrees=disagrees)
        record: _Record | None = None
        if rule.keep.when:
            record = self._build(rules, primary, shadows, comparisons, paces)
            if record is not None and self._holds(rule, record, place):
                reasons.append("when")
        if not reasons:
            return
        if not primary.flags & RECORDED:
            self._blocks.count_sink(*place, "chosen")
        budget = self._budgets.get(route.name)
        outcome, chance = budget.admit(self._clock_ns(), primary) if budget is not None else _CERTAIN
        kept = Kept(tuple(reasons), chance)
        if outcome == "thinned":
            self._blocks.count_sink(*place, "thinned")
        elif outcome == "over":
            self._drop(place, route, kept)
        elif not self._sink.has_room():
            self._sink.drop()
            self._drop(place, route, kept)
        else:
            record = record or self._build(rules, primary, shadows, comparisons, paces)
            self._submit(place, route, record, kept)

    def _drop(self, place: Token, route: Route, kept: Kept) -> None:
        self._blocks.count_sink(*place, "dropped")
        self._blocks.count_lost(*place, 1 / inclusion_of(route, kept))

    def _build(
        self,
        rules: RouteRules,
        primary: Primary,
        shadows: Mapping[int, ShadowPart],
        comparisons: _Comparisons,
        paces: _Paces,
    ) -> _Record | None:
        """Return the record; None, and a fault of ours is noted, if it could not be built."""
        rule, route = rules.record, rules.route
        try:
            slices = read_slices(rules.slices, rule, primary) if rules.slices else _NO_SLICES
            return build_record(rule, route, primary, shadows, comparisons, paces=paces, slices=slices)
        except Exception as error:  # the loop must outlive any body
            self._note("record", error)
            return None

    def _holds(self, rule: RecordRule, record: _Record, place: Token) -> bool:
        try:
            return rule.keep.holds(record)
        except ValueError:
            self._blocks.count_sink(*place, "rule_failed")
            return False

    def _submit(self, place: Token, route: Route, record: _Record | None, kept: Kept) -> None:
        try:
            line = b"" if record is None else build_line({**record, **kept_fields(route, kept)})
        except Exception as error:
            self._note("record", error)
            line = b""
        if not line:
            self._blocks.count_sink(*place, "failed")
            return
        self._blocks.expect_sink(*place)
        if not self._sink.submit(line, place):
            self._blocks.settle_sink(*place, "dropped")
            self._blocks.count_lost(*place, 1 / inclusion_of(route, kept))
