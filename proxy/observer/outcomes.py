"""A pair that leaves the book → comparisons, counts, a record, spans.

Each answered shadow part ends here as exactly one of agree, disagree, uncomparable or dropped, each logged
primary as exactly one of written, dropped or failed (the log says later which). What is compared and
written follows the table version of the exchange, never the current one.
"""

import logging
import traceback
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from proxy.compare import DISTANCE_BOUNDS, Answer, Comparison, ComparisonRule, compare
from proxy.compare.pace import Pace
from proxy.exchange import DETAILED, Flag, Primary, ShadowPart
from proxy.observer.blocks import Blocks
from proxy.observer.heads import answer_fields
from proxy.observer.noise import NoiseBook
from proxy.observer.pacing import ANSWER, pace_of
from proxy.observer.pairing import Pair
from proxy.observer.record import is_cut_short
from proxy.observer.recorder import Recorder, Sink
from proxy.observer.route_rules import RouteRules
from proxy.routing.outcome_fields import DISTANCE_SLOTS
from proxy.routing.table import Table

__all__ = ["Outcomes", "Tracer", "Witness"]

assert len(DISTANCE_BOUNDS) < DISTANCE_SLOTS, "the last slot is for what is beyond every bound"

Compare = Callable[[ComparisonRule, Answer, Answer], Comparison]

_log = logging.getLogger("modelproxy")


class Tracer(Protocol):
    """Where spans go; see :mod:`proxy.observer.tracing`."""

    def trace(self, table: Table, pair: Pair) -> None:
        """Export the spans of an exchange whose primary is there. Never waits."""


class Witness(Protocol):
    """Who hears of every judged pair; see :class:`proxy.observer.disagreements.Disagreements`."""

    def note(self, rules: RouteRules, primary: Primary, part: ShadowPart, comparison: Comparison) -> None:
        """Take note of a pair. Never waits."""


class Rememberer(Protocol):
    """Who remembers what was predicted; see :class:`proxy.observer.labelling.Labelling`."""

    def remember(self, primary: Primary, comparisons: Mapping[int, Comparison], key: bytes) -> None:
        """Remember an exchange of a route that asks for it, its unit hashed with ``key``. Never waits."""


class NullWitness:
    """Takes no note, and remembers nothing."""

    def note(self, rules: RouteRules, primary: Primary, part: ShadowPart, comparison: Comparison) -> None:
        """Do nothing."""

    def remember(self, primary: Primary, comparisons: Mapping[int, Comparison], key: bytes) -> None:
        """Do nothing."""


NO_WITNESS: Final = NullWitness()


class Outcomes:
    """Judges pairs and accounts for them.

    Args:
        blocks: the counts.
        sink: of the records.
        tracer: of the spans.
        key: of every hash that is written.
        judge: how two answers are compared.
        noise: where it is counted how much the champion differs from itself.
        witness: hears of every pair.
        rememberer: hears what was predicted, where labels may come.
    """

    def __init__(
        self,
        blocks: Blocks,
        sink: Sink,
        tracer: Tracer,
        key: bytes,
        judge: Compare = compare,
        noise: NoiseBook | None = None,
        witness: Witness = NO_WITNESS,
        rememberer: Rememberer = NO_WITNESS,
    ) -> None:
        self.errors = 0
        """Comparisons and records that failed by a fault of this program."""
        self.noise = noise or NoiseBook(blocks)
        """How much the champion differs from itself."""
        self._blocks = blocks
        self._recorder = Recorder(blocks, sink, self._note)
        self._tracer = tracer
        self._key = key
        self._witness = witness
        self._rememberer = rememberer
        self._judge = judge
        self._rules: dict[int, list[RouteRules]] = {}
        self._logged: set[str] = set()

    def admit(self, table: Table) -> None:
        """Compile what ``table`` says about comparing and recording."""
        self._recorder.admit(table)
        self.noise.admit(table)
        self._rules[table.version] = [RouteRules(route, self._key) for route in table.routes]

    def rekey(self, key: bytes) -> None:
        """Write every hash from now on with ``key``."""
        if key == self._key:
            return
        self._key = key
        for version, rules in self._rules.items():
            self._rules[version] = [RouteRules(each.route, key) for each in rules]

    def rules_of(self, version: int, route: str) -> RouteRules | None:
        """Return the rules of a route by its name; None where the version has none of the name."""
        return next((each for each in self._rules.get(version, ()) if each.route.name == route), None)

    def retire(self, versions: Sequence[int]) -> None:
        """Forget what was compiled for ``versions``."""
        for version in versions:
            self._rules.pop(version, None)

    def settle(self, pair: Pair, *, shed: bool = False) -> None:
        """Account for ``pair``, which may lack parts.

        Args:
            pair: what has left the book.
            shed: there is no room; count its shadow parts as dropped and do not compare them.
        """
        primary = pair.primary
        if primary is None or (rules := self._find(primary)) is None:
            self._drop(pair)
            return
        comparisons: dict[int, Comparison] = {}
        for index, part in pair.shadows.items():
            if shed or part.fault or not self._belongs(rules, primary, part):
                self._blocks.drop_frame(part)
            else:
                comparisons[index] = self._compare(rules, primary, part)
        if rules.route.noise is not None:
            # Where something must not be written, the name of the place may be just that.
            tells_fields = not rules.record.redactor.concerns_bodies
            self._guard(
                "noise",
                lambda: self.noise.observe(
                    rules.route, primary, pair.shadows, comparisons, tells_fields=tells_fields
                ),
            )
        if rules.compare.keeps_predictions:
            key = rules.record.redactor.key
            self._guard("labels", lambda: self._rememberer.remember(primary, comparisons, key))
        paces = {} if shed else self._paces(rules, primary, pair)
        if primary.flags & DETAILED:
            self._tell(rules, primary, pair, comparisons, paces)

    def _paces(self, rules: RouteRules, primary: Primary, pair: Pair) -> Mapping[int, Pace]:
        """Measure and count how fast streamed answers were generated; return it by shadow, the client's by `ANSWER`."""
        paces: dict[int, Pace] = {}
        if not primary.arrivals and not any(part.arrivals for part in pair.shadows.values()):
            return paces
        sound = {
            index: part
            for index, part in pair.shadows.items()
            if not part.fault and self._belongs(rules, primary, part) and index < len(rules.route.shadows)
        }
        parts: dict[int, Primary | ShadowPart] = {ANSWER: primary, **sound}
        for index, part in parts.items():
            try:
                pace = pace_of(part)
            except Exception as error:  # the loop must outlive any answer
                self._note("pace", error)
                continue
            if pace is not None:
                paces[index] = pace
                # After a fallback it is the champion's, and says nothing of the variant it would be counted to.
                if part is not primary or primary.served_by == primary.variant:
                    self._blocks.count_pace(part, pace)
        return paces

    def _find(self, primary: Primary) -> RouteRules | None:
        """Return the rules for ``primary``; None if its indexes name nothing."""
        routes = self._rules.get(primary.version)
        if routes is None or primary.route >= len(routes):
            return None
        rules = routes[primary.route]
        variants = len(rules.route.variants)
        return rules if primary.variant < variants and primary.served_by < variants else None

    def _belongs(self, rules: RouteRules, primary: Primary, part: ShadowPart) -> bool:
        return (
            part.version == primary.version
            and part.route == primary.route
            and part.variant == primary.variant
            and part.shadow < len(rules.route.copies)
        )

    def _drop(self, pair: Pair) -> None:
        for part in pair.shadows.values():
            self._blocks.drop_frame(part)
        if pair.primary is not None:
            self._blocks.drop_frame(pair.primary)

    def _compare(self, rules: RouteRules, primary: Primary, part: ShadowPart) -> Comparison:
        if primary.flags & Flag.CLIENT_LEFT:
            # There is no answer to compare with, or only what was sent before the client hung up.
            comparison = Comparison("uncomparable", None, "client_left", rules.compare.as_, 0, 0)
        elif primary.served_by != primary.variant:
            # The champion's answer says nothing of the variant to which the comparison would be counted.
            comparison = Comparison("uncomparable", None, "fallback", rules.compare.as_, 0, 0)
        else:
            comparison = self._judged(rules, primary, part)
        distance = comparison.distance
        bucket = bisect_left(DISTANCE_BOUNDS, distance) if distance else 0
        self._blocks.count_comparison(part, comparison.result, distance, bucket, comparison.reason)
        if part.shadow >= len(rules.route.shadows):
            return comparison  # of the champion with itself
        try:
            self._witness.note(rules, primary, part, comparison)
        except Exception as error:  # the loop must outlive any answer
            self._note("disagreement", error)
        return comparison

    def _judged(self, rules: RouteRules, primary: Primary, part: ShadowPart) -> Comparison:
        try:
            kind, coding, length = answer_fields(primary.response_lines)
            answer = Answer(
                primary.status, kind, coding, primary.response_body, is_cut_short(primary), length
            )
            kind, coding, length = answer_fields(part.response_lines)
            is_cut = part.flags & Flag.RESPONSE_TRUNCATED != 0
            return self._judge(
                rules.compare, answer, Answer(part.status, kind, coding, part.response_body, is_cut, length)
            )
        except Exception as error:  # the loop must outlive any answer
            self._note("comparison", error)
            return Comparison("uncomparable", None, "error", rules.compare.as_, 0, 0)

    def _tell(
        self,
        rules: RouteRules,
        primary: Primary,
        pair: Pair,
        comparisons: Mapping[int, Comparison],
        paces: Mapping[int, Pace],
    ) -> None:
        """Leave a record and spans of an exchange, where there is a reason for them."""
        self._recorder.offer(rules, primary, pair.shadows, comparisons, paces)
        if primary.flags & Flag.TRACED:
            self._guard("spans", lambda: self._tracer.trace(self._blocks.tables[primary.version], pair))

    def _guard(self, what: str, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:
            self._note(what, error)

    def _note(self, what: str, error: Exception) -> None:
        """Count a fault of ours; log each kind once, with its place but without the answer that showed it."""
        self.errors += 1
        kind = f"{what}: {type(error).__name__}"
        if kind not in self._logged:
            self._logged.add(kind)
            # Not the message: it may quote the answer.
            place = "".join(traceback.format_tb(error.__traceback__)).rstrip()
            _log.error("%s; further ones of this kind are only counted\n%s", kind, place)
