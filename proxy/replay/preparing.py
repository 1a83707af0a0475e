"""A record → what a run sends and compares for it, by its route's rule; or the reason why it is left out. Pure."""

from collections.abc import Collection
from typing import NamedTuple

from proxy.compare import Answer
from proxy.records.record import Record
from proxy.replay.calls import Call, prepare, read_reference
from proxy.replay.rules import RouteRule, RouteRules

__all__ = ["Prepared", "Preparer"]


class Prepared(NamedTuple):
    """A record that can be replayed."""

    rule: RouteRule
    call: Call
    recorded: Answer | None
    """The reference, where it is the record's."""


class Preparer:
    """Makes of records what a run takes.

    Args:
        rules: how each route's records are compared.
        is_recorded: the recorded answers are the reference.
        replaces_paths: a model's URL has a path, which stands for what a route matched.
        despite: see :func:`proxy.replay.calls.prepare`.
        kept_headers: see there.
    """

    def __init__(
        self,
        rules: RouteRules,
        *,
        is_recorded: bool = True,
        replaces_paths: bool = False,
        despite: Collection[str] = (),
        kept_headers: Collection[str] = (),
    ) -> None:
        self._rules = rules
        self._is_recorded = is_recorded
        self._replaces_paths = replaces_paths
        self._despite = despite
        self._kept_headers = kept_headers

    def prepare(self, record: Record) -> Prepared | str:
        """Return what to do for ``record``, or the reason why it is left out: a key of ``REASONS``."""
        rule = self._rules.find(record.route)
        if rule is None:
            return "unknown_route"
        call = prepare(record, self._despite, self._kept_headers)
        if isinstance(call, str):
            return call
        if self._replaces_paths and not rule.matches(call.path):
            return "path_unmatched"
        if not self._is_recorded:
            return Prepared(rule, call, None)
        recorded = read_reference(record, self._despite)
        return recorded if isinstance(recorded, str) else Prepared(rule, call, recorded)
