"""How long a replay takes, said before it begins."""

from proxy.compare import ComparisonRule
from proxy.replay.forecast import Forecast, forecast
from proxy.replay.pacing import Pace
from proxy.replay.preparing import Preparer
from proxy.replay.rules import RouteRule, RouteRules
from tests.replay.asking import record_of

PREPARER = Preparer(RouteRules({"wine": RouteRule(ComparisonRule("json"))}, None))
RECORDS = [
    record_of(0),
    record_of(10),
    record_of(20, route="beer"),
    record_of(3000),
    record_of(3010),
]  # milliseconds
MS = 1_000_000


def test_what_is_ahead() -> None:
    """The requests that will be sent, and when the last one is due."""
    assert forecast(RECORDS, PREPARER, Pace(1.0)) == Forecast(4, 3010 * MS, 0, is_whole=True)
    assert forecast(RECORDS, PREPARER, Pace(10.0, most_wait_ns=50 * MS)) == Forecast(
        4, 52 * MS, 1, is_whole=True
    )
    assert forecast(RECORDS, PREPARER, Pace(rate=2.0)) == Forecast(4, 1500 * MS, 0, is_whole=True)
    assert forecast([], PREPARER, Pace(1.0)) == Forecast(0, 0, 0, is_whole=True)


def test_no_more_than_is_asked_for() -> None:
    """With a limit no more is looked at; a log that is too long is looked at in part, which is told."""
    assert forecast(RECORDS, PREPARER, Pace(1.0), limit=2) == Forecast(2, 10 * MS, 0, is_whole=True)
    assert forecast(RECORDS, PREPARER, Pace(1.0), most=3) == Forecast(2, 10 * MS, 0, is_whole=False)
    assert forecast(RECORDS, PREPARER, Pace(1.0), most=5).is_whole
