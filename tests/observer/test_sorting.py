"""A batch of feedback, sorted by who can take it."""

from typing import Any

import orjson
import pytest

from proxy.control.feedback import CONTENT_TYPES, parse_feedback
from proxy.engine.feedback_store import Told
from proxy.evidence.ring import id_hash
from proxy.observer.labelling import LabelTold
from proxy.observer.sorting import Sorted, sort_out
from proxy.routing.table import compile_table
from proxy.settings import parse

TABLE = compile_table(
    parse(
        """
models:
  one: {url: "http://127.0.0.1:9001"}
  two: {url: "http://127.0.0.1:9002"}
routes:
  - name: wine
    match: {path: "/wine"}
    variants:
      - {name: v1, model: one, role: champion}
      - {name: v2, model: two, role: canary, rollout: {guardrails: [{metric: feedback}]}}
  - name: beer
    match: {path: "/beer"}
    variants:
      - {name: v1, model: one, role: champion}
      - {name: v2, model: two, role: canary, rollout: {}}
""",
        environ={},
    ),
    1,
)


def said(route: str, name: str = "x", good: Any = True) -> dict[str, Any]:
    return {"route": route, "request_id": name, "good": good}


def sort(*items: Any) -> Sorted:
    return sort_out(parse_feedback(orjson.dumps(items), CONTENT_TYPES[0]), TABLE)


def test_what_can_be_taken() -> None:
    """Items go to their route by the hash of the id, in their order."""
    found = sort(said("wine", "a"), said("wine", "b", good=False))
    assert found.said() == {"wine": [(id_hash(b"a"), True), (id_hash(b"b"), False)]}
    assert found.taken({"wine": Told(2)}).document() == {
        "accepted": 2, "duplicate": 0, "unknown": 0, "invalid": 0, "problems": [],
    }  # fmt: skip


CASES: dict[str, tuple[list[Any], int]] = {
    "no such route": ([said("cider")], 404),
    "no guardrail": ([said("beer")], 409),
    "no such route, and no guardrail": ([said("beer"), said("cider")], 404),
    "nothing right": ([5], 400),
    "nothing right, and no guardrail": ([5, said("beer")], 409),
    "one of them right": ([5, said("beer"), said("cider"), said("wine")], 200),
}


@pytest.mark.parametrize("name", CASES)
def test_statuses(name: str) -> None:
    """Where one item can be taken it is 200, else what says best what to do."""
    items, status = CASES[name]
    found = sort(*items)
    taken = found.taken({route: Told(len(each)) for route, each in found.items.items()})
    assert taken.status == status
    assert taken.invalid == len(items) - taken.accepted
    assert [problem.split(":")[0] for problem in taken.problems] == [
        f"item {number}" for number in range(1, taken.invalid + 1)
    ]


def test_what_to_do_is_said() -> None:
    """An unknown route is told those there are, and one without the guardrail what to write."""
    problems = sort(said("cider\n"), said("beer")).taken({}).problems
    assert problems[0] == "item 1: no route is called cider\\n; there are: wine, beer"
    assert "guardrails: [{metric: feedback}]" in problems[1]


def test_unknown_requests_are_named_in_their_place() -> None:
    """Problems come in the order of the batch, whoever found them."""
    found = sort(said("wine", "a"), 5, said("wine", "b"))
    taken = found.taken({"wine": Told(1, 0, 1, (1,))})
    assert (taken.unknown, taken.invalid) == (1, 1)
    assert taken.problems[0].startswith("item 2: expected a JSON object")
    assert taken.problems[1].startswith("item 3: no request b of route wine is evidence")


def test_refused_items_are_counted_for_routes_there_are() -> None:
    """Junk makes no series: what names no route there is counts nowhere."""
    found = sort(said("wine", "a", good=1), said("wine", ""), said("cider"), 5, said("beer"))
    assert dict(found.refused_of) == {"wine": 2, "beer": 1}


LABELLED = compile_table(
    parse(
        """
models:
  one: {url: "http://127.0.0.1:9001"}
  two: {url: "http://127.0.0.1:9002"}
routes:
  - name: wine
    match: {path: "/wine"}
    variants: [{name: v1, model: one, role: champion}]
    shadows: [{model: two}]
    compare: {labels: 1h}
  - name: alone
    match: {path: "/alone"}
    variants: [{name: v1, model: one, role: champion}]
    compare: {labels: 1h}
  - name: beer
    match: {path: "/beer"}
    variants: [{name: v1, model: one, role: champion}]
    shadows: [{model: two}]
""",
        environ={},
    ),
    1,
)


def true(route: str, label: Any = 1) -> dict[str, Any]:
    return {"route": route, "request_id": "x", "label": label}


def test_true_answers() -> None:
    """They go to the routes that remember what was predicted; what became of them is added to the answer."""
    items = [true("wine"), true("alone"), true("beer"), true("cider"), true("wine", label=None), said("wine")]
    found = sort_out(parse_feedback(orjson.dumps(items), CONTENT_TYPES[0]), LABELLED)
    assert [item.number for item in found.labels["wine"]] == [1]
    assert found.refused_labels_of == {"alone": 1, "beer": 1}
    assert found.refused_of == {"wine": 2}
    told = LabelTold(
        {"accepted": 1, "duplicate": 2, "unknown": 3, "late": 4, "mismatch": 5}, [(1, "because")]
    )
    taken = found.taken({}, {"wine": told})
    assert (taken.accepted, taken.duplicate, taken.unknown, taken.invalid, taken.status) == (1, 2, 7, 10, 200)
    assert taken.problems[0] == "item 1: because"
    assert "labels: 24h" in taken.problems[1]


@pytest.mark.parametrize(("route", "status"), [("beer", 409), ("cider", 404)])
def test_true_answers_that_nobody_takes(route: str, status: int) -> None:
    """Where no item can be taken the status says what to do."""
    found = sort_out(parse_feedback(orjson.dumps([true(route)]), CONTENT_TYPES[0]), LABELLED)
    assert found.taken({}).status == status
