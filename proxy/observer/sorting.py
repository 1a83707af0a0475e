"""A batch of feedback, sorted by who can take it, and what is answered to it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from proxy.control.feedback import Item, Parsed, Refusal, Taken
from proxy.engine.feedback_store import Told
from proxy.evidence.ring import id_hash
from proxy.printable import printable
from proxy.routing.table import Table

__all__ = ["Sorted", "sort_out"]

_NO_ROUTE, _NO_GUARDRAIL, _BAD_ITEM = 404, 409, 400


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

    def said(self) -> dict[str, list[tuple[int, bool]]]:
        """Return what can be taken, by route: hash of a request's id, and whether its answer was good."""
        return {
            name: [(id_hash(item.request_id.encode()), item.good) for item in items]
            for name, items in self.items.items()
        }

    def taken(self, told: Mapping[str, Told]) -> Taken:
        """Return the answer, from what became of each route's items."""
        problems = list(self.refused)
        for name, each in told.items():
            problems += [_unknown(self.items[name][i]) for i in each.unknown_items]
        return Taken(
            accepted=sum(each.accepted for each in told.values()),
            duplicate=sum(each.duplicate for each in told.values()),
            unknown=sum(each.unknown for each in told.values()),
            invalid=len(self.refused),
            problems=[str(each) for each in sorted(problems, key=_number)],
            status=200 if self.items else self.status,
        )


def sort_out(batch: Parsed, table: Table) -> Sorted:
    """Sort a batch by what the routes of ``table`` can take."""
    routes = {route.name: route for route in table.routes}
    items: dict[str, list[Item]] = {}
    refused = list(batch.refused)
    status = _BAD_ITEM
    for item in batch.items:
        route = routes.get(item.route)
        if route is None:
            refused.append(Refusal(item.number, _no_route(item.route, list(routes))))
            status = _NO_ROUTE
        elif not route.settings.takes_feedback:
            refused.append(Refusal(item.number, _no_guardrail(item.route), item.route))
            status = max(status, _NO_GUARDRAIL) if status != _NO_ROUTE else status
        else:
            items.setdefault(item.route, []).append(item)
    counted = Counter(each.route for each in refused if each.route in routes)
    return Sorted(items, sorted(refused, key=_number), counted, status)


def _number(refusal: Refusal) -> int:
    return refusal.number


def _no_route(name: str, there: Sequence[str]) -> str:
    return f"no route is called {printable(name[:100])}; there are: {', '.join(there)}"


def _no_guardrail(name: str) -> str:
    return (
        f"route {name} has no guardrail on feedback, so nothing would come of it; write into its canary's rollout "
        "guardrails: [{metric: feedback}], beside those that it has"
    )


def _unknown(item: Item) -> Refusal:
    sentence = (
        f"no request {printable(item.request_id[:100])} of route {item.route} is evidence: no answer of its rollout "
        "had this x-request-id, the coin did not decide it, it is more than seven days ago, or not yet counted"
    )
    return Refusal(item.number, sentence, item.route)
