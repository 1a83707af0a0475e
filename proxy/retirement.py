"""When is a table version over? A pure question to its counts.

A version that was replaced still serves the requests that began under it. It is over, and its counters may be
folded, once everything that was begun was also ended:

* a request: ``started = finished + lost``;
* a shadow: ``sent = answered + failed`` and ``answered = shipped + not_compared + comparison_dropped``;
* a comparison: ``shipped = agree + disagree + uncomparable + dropped``, counted in the observer;
* a recorded exchange: ``shipped + chosen = written + dropped + failed + thinned``, counted in the observer, which
  chooses some by itself.

Every count on the right only grows, up to the one on the left, and those on the left stand still once no
worker uses the version for new requests. So a sum over all workers is enough, and a file read while a worker
writes can only look less quiet than it is.

What was under way in processes that have ended, and that nobody will start again, is ended by :func:`settle`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from proxy.tally import Key

__all__ = ["is_quiet", "settle"]

_Side = Counter[tuple[str, ...]]

_COMPARED_AS = {"shadow": "comparison", "noise": "noise_comparison"}
"""Kinds of copies, and of what became of their answers."""
_COPY_OF = {compared: kind for kind, compared in _COMPARED_AS.items()}

_JUDGED = ("agree", "disagree", "uncomparable", "dropped")
_WRITTEN = ("written", "dropped", "failed", "thinned")

_LASTING = {
    "worker": (("connections_opened", "connections_carried", "connections_closed"),),
    "endpoint": (
        ("unhealthy", "unhealthy_carried", "healthy_again"),
        ("ejected", "ejected_carried", "readmitted"),
    ),
}
"""What begins, is carried over from table to table, and ends."""


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
        elif kind in _COMPARED_AS:
            _add_shadow(kind, field, labels, count, begun, ended)
        elif kind == "payload" and field == "shipped":
            begun[("record", *labels)] += count
    for (kind, field, *labels), count in observer.items():
        if kind in _COPY_OF and field in _JUDGED:
            route, _, model = labels
            ended[(kind, route, model)] += count
        elif kind == "sink" and field in _WRITTEN:
            ended[("record", *labels)] += count
        elif kind == "sink" and field == "chosen":
            begun[("record", *labels)] += count
    return begun == ended


def _add_variant(field: str, name: tuple[str, ...], count: int, begun: _Side, ended: _Side) -> None:
    if field == "started":
        begun[name] += count
    elif field == "lost" or field.startswith("code_"):
        ended[name] += count


def _add_shadow(kind: str, field: str, labels: list[str], count: int, begun: _Side, ended: _Side) -> None:
    if field == "sent":
        begun[(kind, *labels)] += count
    elif field == "failed":
        ended[(kind, *labels)] += count
    elif field == "answered":
        ended[(kind, *labels)] += count
        begun[("answer", kind, *labels)] += count
    elif field in ("not_compared", "comparison_dropped"):
        ended[("answer", kind, *labels)] += count
    elif field == "shipped":
        ended[("answer", kind, *labels)] += count
        begun[(_COMPARED_AS[kind], *labels)] += count


def settle(counts: Counter[Key]) -> Counter[Key]:
    """Return ``counts`` with an end for everything that was begun, for writers that will never write again.

    A request is lost; a copy that was not sent is dropped, one that was not answered failed; an answer that was not
    compared, and a record that was not written, are dropped; a record that a sink had taken failed there; a connection
    is closed, no server is out any more, and no limit is in force.

    Args:
        counts: of all workers and of their observer.
    """
    sections: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    judged: Counter[tuple[str, ...]] = Counter()
    for (kind, field, *labels), count in counts.items():
        sections[kind, *labels][field] += count
        if kind in _COPY_OF and field in _JUDGED:
            route, _, model = labels
            judged[_COPY_OF[kind], route, model] += count
        elif kind == "sink" and field in _WRITTEN:
            judged["payload", *labels] += count
        elif kind == "sink" and field == "chosen":
            judged["payload", *labels] -= count
            sections["payload", *labels].update()  # also where no worker has sampled anything
    settled = Counter(counts)
    for (kind, *labels), fields in sections.items():
        for field, missing in _missing_ends(kind, fields, judged[kind, *labels]):
            if missing > 0:
                settled[kind, field, *labels] += missing
    return settled


def _missing_ends(kind: str, fields: Counter[str], judged: int) -> Iterator[tuple[str, int]]:
    """Yield what must be added to which count."""
    if kind == "variant":
        codes = sum(count for field, count in fields.items() if field.startswith("code_"))
        yield "lost", fields["started"] - fields["lost"] - codes
    elif kind in _COMPARED_AS:
        drops = sum(count for field, count in fields.items() if field.startswith("dropped_"))
        yield "dropped_draining", fields["eligible"] - fields["sent"] - drops
        yield "failed", fields["sent"] - fields["answered"] - fields["failed"]
        known = fields["not_compared"] + fields["comparison_dropped"] + judged
        yield "comparison_dropped", fields["answered"] - known
    elif kind == "payload":
        yield "dropped", fields["sampled"] - fields["dropped"] - judged
    elif kind == "delivery":
        yield "failed", fields["taken"] - fields["written"] - fields["failed"]
    elif kind == "model":
        yield "limit_lowered", fields["limit_raised"] - fields["limit_lowered"]
    else:
        for begun, carried, ended in _LASTING.get(kind, ()):
            yield ended, fields[begun] + fields[carried] - fields[ended]
