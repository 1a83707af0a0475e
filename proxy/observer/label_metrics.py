"""What labels say, in Prometheus's words: a part of :mod:`proxy.observer.metrics`."""

from collections.abc import Mapping, Sequence
from math import log
from typing import Any, Final

from proxy.labels import judge
from proxy.observer.accounting import Accounts
from proxy.observer.label_store import KnownLabels
from proxy.routing.table import Table

__all__ = ["add_labels"]

_LN10: Final = log(10)


def add_labels(
    families: Mapping[str, Any], accounts: Accounts, table: Table, known: Mapping[str, Sequence[KnownLabels]]
) -> None:
    """Add the series: of routes that take labels, and of those that ever got any.

    Args:
        families: by name without its prefix.
        accounts: of all versions.
        table: in force.
        known: what labels say of shadows, by route.
    """
    wanted = {route.name for route in table.routes if route.takes_labels}
    wanted |= {route for (route, _), number in accounts.labels.items() if number}
    for (route, outcome), number in accounts.labels.items():
        if route in wanted:
            families["labels_total"].add_metric((route, outcome), number)
    for labels, outcomes in accounts.labelled.items():
        for outcome, number in outcomes.items():
            families["labelled_rows_total"].add_metric((*labels, outcome), number)
    for route, found in known.items():
        for each in found:
            judged = judge(each.counts)
            for word, log_e in (("worse", judged.log_e_worse), ("better", judged.log_e_better)):
                families["label_evidence"].add_metric((route, each.variant, each.shadow, word), log_e / _LN10)
