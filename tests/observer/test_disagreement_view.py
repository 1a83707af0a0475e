"""The document of disagreements: its figures are those of the counts, and it says how sure they are."""

import math
from collections.abc import Mapping
from typing import Any

import jsonschema
import orjson
import pytest

from proxy.control.disagreement_query import Query
from proxy.control.disagreement_schema import disagreements_schema
from proxy.labels import OUTCOMES, LabelCounts
from proxy.observer.breakdown import TOTAL, Cell, Numbers
from proxy.observer.disagreement_view import ALPHA, counts_document, disagreement_document
from proxy.observer.label_store import KnownLabels
from proxy.observer.route_rules import RouteRules
from proxy.observer.showing import Known, Shown, example_id, example_of
from proxy.stats.bounded import mean_sequence_of_sums
from proxy.stats.paired import losses
from proxy.stats.proportion import greater, proportion_sequence
from tests.observer.exchanges import (
    BASE_CONFIG,
    STARTED_WALL_NS,
    agreeing,
    primary_part,
    shadow_part,
    table_of,
)
from tests.observer.test_showing import judged

KEY = b"k" * 32
SLICED = BASE_CONFIG.replace("as: classification", "as: classification, slices: {tier: header:x-tier}")

CELLS: dict[Cell, Numbers] = {
    TOTAL: (900, 100, 7, 2000, 150, 1000, 40_000_000, 20_000_000),
    Cell("reason", "format"): (0, 20, 0, 20, 20, 0, 0, 0),
    Cell("slice", "tier", "gold"): (100, 80, 0, 400, 100, 180, 36_000_000, 18_000_000),
    Cell("reason", "label"): (0, 80, 0, 160, 130, 0, 0, 0),
    Cell("slice", "tier", "none"): (800, 20, 7, 1600, 50, 0, 0, 0),
    Cell("reason", "truncated"): (0, 0, 7, 0, 0, 0, 0, 0),
    Cell("labels", "cat", "dog"): (0, 0, 0, 0, 30, 0, 0, 0),
    Cell("labels", "dog", "cat"): (0, 0, 0, 0, 90, 0, 0, 0),
}


def counts(cells: Mapping[Cell, Numbers]) -> dict[str, Any]:
    return counts_document("wine-v4", STARTED_WALL_NS, cells)


def test_figures_are_the_counts() -> None:
    """Rate, reasons and labels are those that were counted, the most frequent first."""
    document = counts(CELLS)
    assert (document["agree"], document["disagree"], document["uncomparable"]) == (900, 100, 7)
    assert document["rate"] == 0.1
    assert list(document["reasons"].items()) == [("label", 80), ("format", 20)]
    assert document["uncomparable_reasons"] == {"truncated": 7}
    assert document["confusion"] == [
        {"label": "dog", "shadow_label": "cat", "rows": 90},
        {"label": "cat", "shadow_label": "dog", "rows": 30},
    ]
    assert document["since"] == "2025-10-09T08:53:20.123456Z"


def test_intervals_are_confidence_sequences() -> None:
    """A shadow's holds with 95 %, those of slices' values with their part of the 5 %, in the order of arrival."""
    document = counts(CELLS)
    assert document["interval"] == list(proportion_sequence(100, 1000, ALPHA))
    gold, none = document["slices"]["tier"]
    assert (gold["value"], none["value"]) == ("gold", "none")
    assert gold["interval"] == list(proportion_sequence(80, 180, ALPHA / 2))
    assert none["interval"] == list(proportion_sequence(20, 820, ALPHA / 6))


def test_mean_distances() -> None:
    """Each has an interval that holds with the same part of the 5 %, wider by what distances are rounded to."""
    document = counts(CELLS)
    low, high = mean_sequence_of_sums(1000, 40.0, 20.0, ALPHA)
    assert document["mean_distance"] == 0.04
    assert document["distance_interval"] == [low - 5e-7, high + 5e-7]
    assert 0.02 < low < 0.04 < high < 0.07
    gold, none = document["slices"]["tier"]
    low, high = mean_sequence_of_sums(180, 36.0, 18.0, ALPHA / 2)
    assert (gold["mean_distance"], gold["distance_interval"]) == (0.2, [low - 5e-7, high + 5e-7])
    assert (none["mean_distance"], none["distance_interval"]) == (None, [0.0, 1.0])


def test_distances_are_costs_where_mistakes_have_some() -> None:
    """The document says what the distance is."""
    costly = BASE_CONFIG.replace("as: classification", "as: classification, costs: {a: {b: 0.5}}")
    assert costly != BASE_CONFIG
    for config, expected in ((BASE_CONFIG, False), (costly, True)):
        (route,) = disagreement_document(Query(route="wine"), table_of(config), {})["routes"]
        assert route["distance_is_cost"] is expected


def test_what_stands_out() -> None:
    """The value that disagrees more is named, the other is not, and chance is not."""
    gold, none = counts(CELLS)["slices"]["tier"]
    assert (gold["stands_out"], none["stands_out"]) == (True, False)
    assert gold["log10_e"] > 5
    alike = {
        TOTAL: (950, 50, 0, 0, 0, 0, 0, 0),
        Cell("slice", "tier", "gold"): (94, 6, 0, 0, 0, 0, 0, 0),
        Cell("slice", "tier", "none"): (856, 44, 0, 0, 0, 0, 0, 0),
    }
    assert not any(value["stands_out"] for value in counts(alike)["slices"]["tier"])


def test_what_is_shown_comes_before_what_may_be_chance() -> None:
    """A value with one pair that disagrees says less than one with a hundred of a thousand."""
    cells: dict[Cell, Numbers] = {
        TOTAL: (1, 1, 0, 0, 0, 0, 0, 0),
        Cell("slice", "tier", "once"): (0, 1, 0, 0, 0, 0, 0, 0),
        Cell("slice", "tier", "often"): (900, 100, 0, 0, 0, 0, 0, 0),
        Cell("slice", "tier", "seldom"): (990, 10, 0, 0, 0, 0, 0, 0),
        Cell("slice", "tier", "worst"): (500, 500, 0, 0, 0, 0, 0, 0),
    }
    assert [each["value"] for each in counts(cells)["slices"]["tier"]] == ["worst", "often", "once", "seldom"]


def test_evidence_is_adjusted_for_all_values_that_may_come() -> None:
    """The first value has half of the money, whatever comes after it, and its evidence is so much less."""
    gold, _ = counts(CELLS)["slices"]["tier"]
    raw = greater(80, 180, 20, 820)
    assert gold["log10_e"] == pytest.approx((raw - math.log(2)) / math.log(10), abs=1e-3)


def test_many_values_need_more() -> None:
    """What would be enough of one value alone is not enough of the last of fifty."""

    def document(before: int) -> dict[str, Any]:
        cells = {Cell("slice", "tier", f"t{i}"): (20, 0, 0, 0, 0, 0, 0, 0) for i in range(before)}
        cells[Cell("slice", "tier", "gold")] = (17, 3, 0, 0, 0, 0, 0, 0)
        cells[Cell("slice", "tier", "none")] = (200, 0, 0, 0, 0, 0, 0, 0)
        return next(value for value in counts(cells)["slices"]["tier"] if value["value"] == "gold")

    assert document(0)["log10_e"] > document(49)["log10_e"]
    assert document(0)["interval"][1] < document(49)["interval"][1]
    assert document(49)["log10_e"] < -math.log10(ALPHA)


def test_nothing_was_compared() -> None:
    """Without pairs there is no rate, and the interval holds everything."""
    document = counts({TOTAL: (0, 0, 3, 0, 0, 0, 0, 0)})
    assert (document["rate"], document["interval"]) == (None, [0.0, 1.0])
    assert document["slices"] == {}
    only = counts({TOTAL: (2, 1, 0, 0, 0, 0, 0, 0), Cell("slice", "tier", "gold"): (2, 1, 0, 0, 0, 0, 0, 0)})
    assert only["slices"]["tier"][0]["stands_out"] is False


# Examples


def shown(number: int, tier: str = "gold", status: int = 200) -> Shown:
    rules = RouteRules(table_of(SLICED).routes[0], KEY)
    primary = primary_part(number=number, request_id=b"r%d" % number)
    part = shadow_part(number=number, response_body=agreeing(2), status=status)
    return example_of(rules, primary, part, judged(rules, primary, part), {"tier": tier}).what


EXAMPLES = [shown(1), shown(2, "none"), shown(3, status=500), shown(4)]


def ask(query: Query, text: str = SLICED) -> dict[str, Any]:
    """Return the document of a proxy that knows some examples of one shadow."""
    known = {"wine": [Known("wine-v4", 0, CELLS, EXAMPLES, EXAMPLES[2:]), Known("wine-v5", 0, {}, [], [])]}
    document = disagreement_document(query, table_of(text), known)
    jsonschema.validate(orjson.loads(orjson.dumps(document)), disagreements_schema())
    return document


ASKED: dict[str, tuple[Query, list[str]]] = {
    "everything": (Query(), ["r1", "r2", "r3", "r4"]),
    "some": (Query(limit=2), ["r1", "r2"]),
    "none": (Query(limit=0), []),
    "the most extreme": (Query(sort="extreme"), ["r3", "r4"]),
    "of a slice": (Query(slice=("tier", "none")), ["r2"]),
    "of a reason": (Query(reason="status"), ["r3"]),
    "of a reason and a slice": (Query(reason="label", slice=("tier", "gold")), ["r1", "r4"]),
    "of nothing there is": (Query(reason="rows"), []),
    "one": (Query(example=example_id(EXAMPLES[3])), ["r4"]),
    "one that is gone": (Query(example="0"), []),
}


@pytest.mark.parametrize(("query", "ids"), ASKED.values(), ids=ASKED)
def test_what_is_asked_for(query: Query, ids: list[str]) -> None:
    """Examples are those that were asked for, in that order; the counts are always there."""
    (route,) = ask(query)["routes"]
    first, second = route["shadows"]
    assert [example["request_id"] for example in first["examples"]] == ids
    assert second["examples"] == []
    assert first["disagree"] == 100


def test_one_shadow() -> None:
    """A query for one shadow has that one alone."""
    (route,) = ask(Query(route="wine", shadow="wine-v5"))["routes"]
    assert [shadow["shadow"] for shadow in route["shadows"]] == ["wine-v5"]


def test_what_is_said_of_the_route() -> None:
    """How it compares, what its slices are, and of how many requests examples can show the request."""
    (route,) = ask(Query())["routes"]
    assert (route["compare_as"], route["slices"], route["examples_percent"]) == (
        "classification",
        {"tier": "header:x-tier"},
        100.0,
    )
    (route,) = ask(Query(), BASE_CONFIG)["routes"]
    assert (route["slices"], route["examples_percent"]) == ({}, 5.0)


LABELS = LabelCounts(40, 30, 4, 6, 0, 0, 0, 8, 7, 1, 2, won_primary=9, won_shadow=1)


def test_true_answers() -> None:
    """What labels say stands beside the shadow that they speak of, variant by variant, as the schema has it."""
    known = {"wine": [Known("wine-v4", 0, CELLS, [], []), Known("wine-v5", 0, {}, [], [])]}
    labels = {"wine": [KnownLabels("wine-v4", "v1", LABELS), KnownLabels("wine-v4", "v2", LabelCounts())]}
    table = table_of(BASE_CONFIG.replace("as: classification", "as: classification, labels: 1h"))
    document = disagreement_document(Query(), table, known, labels=labels)
    jsonschema.validate(orjson.loads(orjson.dumps(document)), disagreements_schema())
    (route,) = document["routes"]
    assert route["takes_labels"]
    (first, second), others = (shadow["labels"] for shadow in route["shadows"])
    assert others == []
    assert first["rows"] == dict(zip(OUTCOMES, LABELS, strict=False))
    assert (first["units"], first["primary"]["right"], first["shadow"]["right"]) == (18, 15 / 18, 9 / 18)
    assert first["primary"]["interval"] == [*proportion_sequence(15, 18, 0.05)]
    assert first["differing_units"] == {"primary_better": 9, "shadow_better": 1}
    assert first["log10_e_worse"] == pytest.approx(losses(9, 1) / math.log(10), abs=1e-4)
    assert (second["primary"]["right"], second["sentence"]) == (None, "no row was labelled yet")
