"""What the settings of one route say about its exchanges, compiled."""

from proxy.compare import ComparisonRule
from proxy.observer.attributes import SliceReader, compile_slices
from proxy.observer.record import RecordRule, compile_record_rule
from proxy.routing.table import Route

__all__ = ["RouteRules"]


class RouteRules:
    """How the exchanges of a route, under one version of its table, are compared, recorded and sliced.

    Args:
        route: of that version.
        key: of every hash that is written.
    """

    __slots__ = ("asks_meaning", "compare", "record", "route", "slices")

    def __init__(self, route: Route, key: bytes) -> None:
        self.route = route
        self.compare = ComparisonRule.of(route.settings.compare)
        self.asks_meaning: bool = route.settings.compare.embedder
        """The embedder is asked how far its texts are apart."""
        self.record: RecordRule = compile_record_rule(route, key)
        self.slices: tuple[SliceReader, ...] = compile_slices(route)
