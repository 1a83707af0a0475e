"""A batch of feedback, sorted by who can take it, and what is answered to it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from proxy.control.feedback import Item, Parsed, Refusal, Taken
from proxy.control.label_items import LabelItem
from proxy.engine.feedback_store import Told
from proxy.evidence.ring import id_hash
from proxy.observer.labelling import LabelTold
from proxy.printable import printable
from proxy.routing.table import Route, Table

__all__ = ["Sorted", "sort_out"]

_NO_ROUTE, _NOT_ASKED_FOR, _BAD_ITEM = 404, 409, 400
_NO_LABELS: Final[Mapping[str, LabelTold]] = {}


@dataclass(frozen=True, slots=True)
class Sorted:
    """A batch, sorted by route."""

    items: Mapping[str, Sequence[Item]]
    """What can be taken, by route."""
    refused: Sequence[Refusal]
    """What cannot, in the order of the batch."""
    refused_of: Mapping[str, int]
    """How many of these name each route there is."""
    status: int
    """HTTP, where nothing can be taken."""
    labels: Mapping[str, Sequence[LabelItem]]
    """True answers that can be taken, by route."""
    refused_labels_of: Mapping[str, int]
    """How many that cannot name each route there is."""

    def said(self) -> dict[str, list[tuple[int, bool]]]:
        """Return what can be taken, by route: hash of a request's id, and whether its answer was good."""
        return {
            name: [(id_hash(item.request_id.encode()), item.good) for item in items]
            for name, items in self.items.items()
        }

    def taken(self, told: Mapping[str, Told], labels: Mapping[str, LabelTold] = _NO_LABELS) -> Taken:
        """Return the answer, from what became of each route's items, and of its true answers."""
        problems = list(self.refused)
        for name, each in told.items():
            problems += [_unknown(self.items[name][i]) for i in each.unknown_items]
        counts: Counter[str] = Counter()
        for name, tally in labels.items():
            counts.update(tally.counts)
            problems += [Refusal(number, sentence, name) for number, sentence in tally.problems]
        return Taken(
            accepted=sum(each.accepted for each in told.values()) + counts["accepted"],
            duplicate=sum(each.duplicate for each in told.values()) + counts["duplicate"],
            unknown=sum(each.unknown for each in told.values()) + counts["unknown"] + counts["late"],
            invalid=len(self.refused) + counts["mismatch"],
            problems=[str(each) for each in sorted(problems, key=_number)],
            status=200 if self.items or self.labels else self.status,
        )


def sort_out(batch: Parsed, table: Table) -> Sorted:
    """Sort a batch by what the routes of ``table`` can take."""
    routes = {route.name: route for route in table.routes}
    items: dict[str, list[Item]] = {}
    labels: dict[str, list[LabelItem]] = {}
    refused = list(batch.refused)
    refused_labels: Counter[str] = Counter()
    status = _BAD_ITEM
    for item in batch.items:
        route = routes.get(item.route)
        if route is not None and route.settings.takes_feedback:
            items.setdefault(item.route, []).append(item)
            continue
        refused.append(_refusal(item, _no_guardrail(item.route), routes))
        status = _gravest(status, _NO_ROUTE if route is None else _NOT_ASKED_FOR)
    counted = Counter(each.route for each in refused if each.route in routes)
    for label in batch.labels:
        route = routes.get(label.route)
        if route is not None and route.takes_labels:
            labels.setdefault(label.route, []).append(label)
            continue
        refused.append(_refusal(label, _no_labels(label.route), routes))
        status = _gravest(status, _NO_ROUTE if route is None else _NOT_ASKED_FOR)
        if route is not None:
            refused_labels[label.route] += 1
    return Sorted(items, sorted(refused, key=_number), counted, status, labels, refused_labels)


def _gravest(status: int, other: int) -> int:
    """Return what says best what to do: nothing helps where the route is not there."""
    return _NO_ROUTE if _NO_ROUTE in (status, other) else max(status, other)


def _refusal(item: Item | LabelItem, sentence: str, routes: Mapping[str, Route]) -> Refusal:
    if item.route not in routes:
        return Refusal(item.number, _no_route(item.route, list(routes)))
    return Refusal(item.number, sentence, item.route)


def _number(refusal: Refusal) -> int:
    return refusal.number


def _no_route(name: str, there: Sequence[str]) -> str:
    return f"no route is called {printable(name[:100])}; there are: {', '.join(there)}"


def _no_guardrail(name: str) -> str:
    return (
        f"route {name} has no guardrail on feedback, so nothing would come of it; write into its canary's rollout "
        "guardrails: [{metric: feedback}], beside those that it has"
    )


def _no_labels(name: str) -> str:
    return (
        f"route {name} does not remember what was predicted, so nothing would come of a true answer; give it shadows "
        "and write into its compare how long it shall: labels: 24h"
    )


def _unknown(item: Item) -> Refusal:
    sentence = (
        f"no request {printable(item.request_id[:100])} of route {item.route} is evidence: no answer of its rollout "
        "had this x-request-id, the coin did not decide it, it is more than seven days ago, or not yet counted"
    )
    return Refusal(item.number, sentence, item.route)
