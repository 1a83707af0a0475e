"""What a route's settings say, compiled once for all of its exchanges."""

from proxy.observer.route_rules import RouteRules
from tests.observer.exchanges import BASE_CONFIG, table_of


def test_rules_are_those_of_the_settings() -> None:
    """Comparison, record and slices follow the route."""
    text = BASE_CONFIG.replace(
        "as: classification", "as: json, rtol: 0.5, ignore: [/a], slices: {t: header:x-t}"
    )
    route = table_of(text).routes[0]
    rules = RouteRules(route, b"k" * 32)
    assert rules.route is route
    assert (rules.compare.as_, rules.compare.rtol, rules.compare.ignore) == ("json", 0.5, ("/a",))
    assert rules.record.body_cap == 1024
    assert [(each.name, each.reader.text) for each in rules.slices] == [("t", "header:x-t")]
