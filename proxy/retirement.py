"""When is a table version over? A pure question to its counts.

A version that was replaced still serves the requests that began under it. It is over, and its counters may be
folded, once everything that was begun was also ended:

* a request: ``started = finished + lost``;
* a shadow: ``sent = answered + failed`` and ``answered = shipped + comparison_dropped``;
* a comparison: ``shipped = agree + disagree + uncomparable + dropped``, counted in the observer;
* a logged exchange: ``shipped = written + dropped + failed``, counted in the observer.

Every count on the right only grows, up to the one on the left, and those on the left stand still once no
worker uses the version for new requests. So a sum over all workers is enough, and a file read while a worker
writes can only look less quiet than it is.
"""

from collections import Counter
from collections.abc import Mapping

from proxy.tally import Key

__all__ = ["is_quiet"]

_Side = Counter[tuple[str, ...]]


def is_quiet(workers: Mapping[Key, int], observer: Mapping[Key, int]) -> bool:
    """Tell whether nothing of a replaced version is under way.

    Args:
        workers: counts of the version, summed over all workers.
        observer: counts of the version in the observer, summed over all workers.
    """
    begun: _Side = Counter()
    ended: _Side = Counter()
    for (kind, field, *labels), count in workers.items():
        if kind == "variant":
            _add_variant(field, ("request", *labels), count, begun, ended)
        elif kind == "shadow":
            _add_shadow(field, labels, count, begun, ended)
        elif kind == "payload" and field == "shipped":
            begun[("record", *labels)] += count
    for (kind, field, *labels), count in observer.items():
        if kind == "comparison" and field in ("agree", "disagree", "uncomparable", "dropped"):
            route, _, model = labels
            ended[("comparison", route, model)] += count
        elif kind == "sink" and field in ("written", "dropped", "failed"):
            ended[("record", *labels)] += count
    return begun == ended


def _add_variant(field: str, name: tuple[str, ...], count: int, begun: _Side, ended: _Side) -> None:
    if field == "started":
        begun[name] += count
    elif field == "lost" or field.startswith("code_"):
        ended[name] += count


def _add_shadow(field: str, labels: list[str], count: int, begun: _Side, ended: _Side) -> None:
    if field == "sent":
        begun[("shadow", *labels)] += count
    elif field == "failed":
        ended[("shadow", *labels)] += count
    elif field == "answered":
        ended[("shadow", *labels)] += count
        begun[("answer", *labels)] += count
    elif field == "comparison_dropped":
        ended[("answer", *labels)] += count
    elif field == "shipped":
        ended[("answer", *labels)] += count
        begun[("comparison", *labels)] += count
