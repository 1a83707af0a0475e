"""From slots to outcomes: what the counters of all writers mean together.

Pure. The input is what :func:`proxy.tally.read_all` returns: named integers of workers and observer, added
up. The output are the accounts that ``/metrics`` and ``status`` show.

Identities, exact when nothing is in flight::

    started  = answered by code + lost + in flight
    eligible = sent + dropped (by reason)
    sent     = answered + failed
    answered = compared + uncomparable + comparison_dropped        compared = agree + disagree
    sampled  = written + dropped + failed + thinned

``answered`` is counted by the worker when a shadow's answer is complete, the rest of its line by the
observer once the pair is judged: in between, the answers in the pipe and in the pairing book are missing on
the right.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from proxy.compare import DISTANCE_BOUNDS
from proxy.model import DISAGREEMENT_REASONS, DROPS, DURATION_BOUNDS_NS, Fault
from proxy.noise import TRIPLE_FIELDS, Triples
from proxy.routing.outcome_fields import DISTANCE_SLOTS
from proxy.routing.table import Table
from proxy.tally import Key

__all__ = [
    "Accounts",
    "Comparisons",
    "EndpointAccount",
    "Histogram",
    "PaceAccount",
    "Payloads",
    "ShadowAccount",
    "VariantAccount",
    "build_accounts",
    "merge",
    "wanted_slots",
]

Fields = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts per bucket and the sum of what was observed.

    ``counts[i]`` is what fell into ``bounds[i - 1] < x <= bounds[i]``; the last one is beyond every bound.
    """

    bounds: Sequence[float]
    counts: tuple[int, ...]
    total: float
    """Sum of the observed values, in the unit of ``bounds``."""

    @property
    def count(self) -> int:
        """Number of observations."""
        return sum(self.counts)

    @property
    def mean(self) -> float | None:
        """Average of the observed values; None when there are none."""
        return self.total / count if (count := self.count) else None

    def cumulative(self, slots: Sequence[int]) -> list[int]:
        """Return how many observations lie at or below each bound of ``slots``, and at last all of them."""
        sums = list(accumulate(self.counts))
        return [*(sums[slot] for slot in slots), sums[-1]]

    def quantile(self, q: float) -> float | None:
        """Return the ``q`` quantile (0 to 1), in the unit of ``bounds``; None when nothing was observed.

        Linear inside a bucket, the first of which begins at 0; beyond the last bound that bound is
        returned: the rule of Prometheus's ``histogram_quantile``, on ten buckets a decade instead of three.
        """
        if not (count := self.count):
            return None
        rank = q * count
        below = 0
        for slot, inside in enumerate(self.counts[:-1]):
            if inside and below + inside >= rank:
                low = self.bounds[slot - 1] if slot else 0.0
                return low + (self.bounds[slot] - low) * (rank - below) / inside
            below += inside
        return self.bounds[-1]


@dataclass(frozen=True, slots=True)
class VariantAccount:
    """What became of the requests assigned to one variant. Times in nanoseconds."""

    started: int
    lost: int
    """In flight when their worker died."""
    retries: int
    fallbacks: int
    """Answered by the champion, because the variant's own model failed."""
    codes: Mapping[int, int]
    """Finished requests by status; 499: the client left first; 0: a status outside 100 to 599."""
    duration: Histogram
    ttfb: Histogram
    gap: Histogram
    """Between two pieces of one response."""
    tunnel_received: int
    """Bytes from clients through tunnels."""
    tunnel_sent: int
    """Bytes to clients through tunnels."""

    @property
    def requests(self) -> int:
        """Finished requests."""
        return sum(self.codes.values())

    @property
    def errors(self) -> int:
        """Requests answered with 5xx (the model's, or ours for its fault) and those lost with their worker.

        A response that broke after its head went out keeps the status of that head and is a fault of the
        model.
        """
        return self.lost + sum(number for code, number in self.codes.items() if code >= 500)

    @property
    def in_flight(self) -> int:
        """Requests under way. Not below 0: a slot may be read a moment later than another."""
        return max(0, self.started - self.requests - self.lost)


@dataclass(frozen=True, slots=True)
class Comparisons:
    """What the observer made of answered shadow responses."""

    agree: int = 0
    disagree: int = 0
    uncomparable: int = 0
    dropped: int = 0

    @property
    def compared(self) -> int:
        """Pairs that were judged."""
        return self.agree + self.disagree

    @property
    def disagreement_rate(self) -> float | None:
        """Share of judged pairs that disagree; None when none was judged."""
        return self.disagree / self.compared if self.compared else None

    def __add__(self, other: "Comparisons") -> "Comparisons":
        return Comparisons(
            self.agree + other.agree,
            self.disagree + other.disagree,
            self.uncomparable + other.uncomparable,
            self.dropped + other.dropped,
        )


@dataclass(frozen=True, slots=True)
class ShadowAccount:
    """What became of the requests that one shadow should have seen."""

    eligible: int
    sent: int
    drop_reasons: Mapping[str, int]
    answered: int
    failed: int
    not_compared: int
    """Answers that nobody wanted compared (``compare.as: none``)."""
    comparison_dropped: int
    """Answers that the worker could not hand over or the observer could not keep."""
    comparisons: Comparisons
    """Of all variants together."""
    by_variant: Mapping[str, Comparisons]
    """By the variant that the request was assigned to; after a fallback they are uncomparable."""
    distance: Histogram
    """Disagreement distance of judged pairs, 0 to 1."""
    reasons: Mapping[str, int]
    """Disagreements by reason."""

    @property
    def uncomparable(self) -> int:
        """Answers without a judgement, though nothing was lost."""
        return self.comparisons.uncomparable + self.not_compared

    @property
    def outcomes(self) -> dict[str, int]:
        """Every outcome by the value of its metric label."""
        return {
            "eligible": self.eligible,
            "sent": self.sent,
            "dropped": sum(self.drop_reasons.values()),
            "answered": self.answered,
            "failed": self.failed,
            "compared": self.comparisons.compared,
            "uncomparable": self.uncomparable,
            "comparison_dropped": self.comparison_dropped,
        }


@dataclass(frozen=True, slots=True)
class Payloads:
    """What became of the exchanges that a record was to be made of."""

    sampled: int = 0
    written: int = 0
    dropped: int = 0
    failed: int = 0
    thinned: int = 0
    """Left out by the budget, with a probability that the others say."""
    rule_failures: int = 0
    """Exchanges over which an expression of ``log.keep`` could not be evaluated."""
    lost_requests: float = 0.0
    """For how many requests those would have stood that the observer dropped."""

    @property
    def outcomes(self) -> dict[str, int]:
        """Every outcome by the value of its metric label."""
        return {
            "sampled": self.sampled,
            "written": self.written,
            "dropped": self.dropped,
            "failed": self.failed,
            "thinned": self.thinned,
        }


@dataclass(frozen=True, slots=True)
class PaceAccount:
    """How fast streamed answers that were copied were generated. Times in nanoseconds."""

    first_token: Histogram
    per_token: Histogram
    """Per token after the first, one value an answer."""


@dataclass(frozen=True, slots=True)
class EndpointAccount:
    """What is known of one server of a model that is watched."""

    unhealthy: int
    """Workers whose health checks say that it is not ready."""
    ejected: int
    """Pools (of a worker; each shadow has its own) that leave it out because it failed requests in a row."""
    ejections: int
    """How often one did."""
    checks: Mapping[str, int]
    """Health checks by result: ``passed``, ``failed``."""
    asked_unhealthy: int
    """Requests that were sent there for want of a healthy server."""

    @property
    def is_up(self) -> bool:
        """Whether every worker sends requests there."""
        return not self.unhealthy and not self.ejected


@dataclass(slots=True)
class Accounts:
    """Everything that was counted, by the names it is shown under."""

    variants: dict[tuple[str, str, str], VariantAccount] = field(default_factory=dict)
    """By (route, variant, model)."""
    shadows: dict[tuple[str, str], ShadowAccount] = field(default_factory=dict)
    """By (route, shadow model)."""
    noise: dict[str, ShadowAccount] = field(default_factory=dict)
    """What became of the requests that went to the champion once more, by route."""
    triples: dict[tuple[str, str], dict[str, Triples]] = field(default_factory=dict)
    """By (route, shadow model), then by what they are evidence for; see :mod:`proxy.routing.noise`."""
    payloads: dict[str, Payloads] = field(default_factory=dict)
    """By route."""
    paces: dict[tuple[str, str, str], PaceAccount] = field(default_factory=dict)
    """By (route, variant, model), those that have streamed; without a variant: a shadow's."""
    feedback: dict[tuple[str, str], int] = field(default_factory=dict)
    """Items of feedback by (route, outcome)."""
    labels: dict[tuple[str, str], int] = field(default_factory=dict)
    """Requests that true answers came for, by (route, outcome)."""
    labelled: dict[tuple[str, str, str], dict[str, int]] = field(default_factory=dict)
    """Rows that they came for, by (route, variant, shadow model) and by outcome."""
    units: dict[tuple[str, str], int] = field(default_factory=dict)
    """Assignments by (route, unit source)."""
    faults: dict[tuple[str, str], int] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    """Adaptive limit by model, all workers together; only models that have one."""
    """Faults by (model, kind)."""
    endpoints: dict[tuple[str, str], EndpointAccount] = field(default_factory=dict)
    """By (model, URL); only models that are watched."""
    unrouted: dict[int, int] = field(default_factory=dict)
    """Answers to requests that no variant was assigned to, by status."""
    worker: dict[str, int] = field(default_factory=dict)
    """``WORKER_FIELDS`` of all workers."""


def merge(counts: Iterable[Mapping[Key, int]]) -> Counter[Key]:
    """Add up counts, for example of every table version."""
    total: Counter[Key] = Counter()
    for part in counts:
        total.update(part)
    return total


def wanted_slots(bounds: Sequence[int], shown: Iterable[int]) -> tuple[int, ...]:
    """Return the slots of ``bounds`` that end exactly at the ``shown`` bounds.

    Raises:
        ValueError: one of them is no bound; a cumulative count there would be a guess.
    """
    slots = []
    for bound in shown:
        slot = bisect_left(bounds, bound)
        if slot == len(bounds) or bounds[slot] != bound:
            raise ValueError(f"expected one of the {len(bounds)} bounds, got {bound}")
        slots.append(slot)
    return tuple(slots)


def build_accounts(counts: Mapping[Key, int], table: Table | None = None) -> Accounts:
    """Return the accounts of ``counts``.

    Args:
        counts: named counts, see :data:`proxy.tally.Key`.
        table: everything this table names is present, with zeros if need be, so that rates start at 0.
    """
    sections = _group(counts)
    if table is not None:
        _cover(sections, table)
    accounts = Accounts()
    for (kind, *labels), fields in sections.items():
        if kind == "variant":
            accounts.variants[_three(labels)] = _variant(fields)
        elif kind == "model":
            if "limit_raised" in fields:
                accounts.limits[labels[0]] = fields["limit_raised"] - fields.get("limit_lowered", 0)
            for fault in Fault:
                if fault not in (Fault.NONE, Fault.LOST):
                    accounts.faults[labels[0], fault.label] = fields.get(f"fault_{fault.label}", 0)
        elif kind == "endpoint":
            accounts.endpoints[labels[0], labels[1]] = _endpoint(fields)
        elif kind == "unit":
            accounts.units.update(((labels[0], source), number) for source, number in fields.items())
        elif kind == "unrouted":
            accounts.unrouted = _codes(fields)
        elif kind == "worker":
            accounts.worker = dict(fields)
    accounts.feedback, accounts.labels = (
        {
            (labels[0], outcome): number
            for (kind, *labels), fields in sections.items()
            if kind == wanted
            for outcome, number in fields.items()
        }
        for wanted in ("feedback", "label")
    )
    accounts.labelled = {
        _three(labels): dict(fields) for (kind, *labels), fields in sections.items() if kind == "label_rows"
    }
    # Most models stream nothing: no series of zeros for them.
    accounts.paces = {
        _three(labels): PaceAccount(_durations(fields, "first_token"), _durations(fields, "per_token"))
        for (kind, *labels), fields in sections.items()
        if kind == "pace" and fields
    }
    _add_lost(accounts)
    _add_shadows(accounts, sections)
    _add_noise(accounts, sections)
    _add_payloads(accounts, sections)
    return accounts


def _group(counts: Mapping[Key, int]) -> dict[tuple[str, ...], dict[str, int]]:
    sections: defaultdict[tuple[str, ...], dict[str, int]] = defaultdict(dict)
    for (kind, name, *labels), number in counts.items():
        sections[kind, *labels][name] = number
    return dict(sections)


def _cover(sections: dict[tuple[str, ...], dict[str, int]], table: Table) -> None:
    for layout in (table.layout, table.observer_layout):
        for section in layout.sections:
            fields = sections.setdefault((section.kind, *section.labels), {})
            if section.kind in ("unit", "feedback", "label", "label_rows"):
                for source in section.fields:
                    fields.setdefault(source, 0)


def _three(labels: Sequence[str]) -> tuple[str, str, str]:
    first, second, third = labels
    return first, second, third


def _variant(fields: Fields) -> VariantAccount:
    return VariantAccount(
        fields.get("started", 0),
        fields.get("lost", 0),
        fields.get("retries", 0),
        fields.get("fallbacks", 0),
        _codes(fields),
        _durations(fields, "whole", "duration"),
        _durations(fields, "whole", "ttfb"),
        _durations(fields, "gap"),
        fields.get("tunnel_received_bytes", 0),
        fields.get("tunnel_sent_bytes", 0),
    )


def _endpoint(fields: Fields) -> EndpointAccount:
    def lasting(began: str, ended: str) -> int:
        return max(0, fields.get(began, 0) + fields.get(f"{began}_carried", 0) - fields.get(ended, 0))

    return EndpointAccount(
        lasting("unhealthy", "healthy_again"),
        lasting("ejected", "readmitted"),
        fields.get("ejected", 0),
        {result: fields.get(f"check_{result}", 0) for result in ("passed", "failed")},
        fields.get("asked_unhealthy", 0),
    )


def _codes(fields: Fields) -> dict[int, int]:
    return dict(
        sorted((int(name[5:]), number) for name, number in fields.items() if name.startswith("code_"))
    )


def _durations(fields: Fields, *names: str) -> Histogram:
    slots = len(DURATION_BOUNDS_NS) + 1
    counts = tuple(sum(fields.get(f"{name}_{slot}", 0) for name in names) for slot in range(slots))
    return Histogram(DURATION_BOUNDS_NS, counts, sum(fields.get(f"{name}_sum_ns", 0) for name in names))


def _add_lost(accounts: Accounts) -> None:
    """Show what was lost with a worker as a fault of the model that had it.

    Counted once, from the variant: a model's own slots know nothing of requests that no worker saw the end
    of.
    """
    lost: Counter[str] = Counter({model: 0 for model, _ in accounts.faults})
    for (_, _, model), variant in accounts.variants.items():
        lost[model] += variant.lost
    accounts.faults.update(((model, Fault.LOST.label), number) for model, number in lost.items())


def _add_shadows(accounts: Accounts, sections: Mapping[tuple[str, ...], Fields]) -> None:
    judged: defaultdict[tuple[str, str], dict[str, Fields]] = defaultdict(dict)
    for (kind, *labels), fields in sections.items():
        if kind == "comparison":
            route, variant, model = labels
            judged[route, model][variant] = fields
    sent = {(labels[0], labels[1]): f for (kind, *labels), f in sections.items() if kind == "shadow"}
    for route, model in {**sent, **judged}:
        by_variant = judged.get((route, model), {})
        accounts.shadows[route, model] = _shadow(sent.get((route, model), {}), by_variant)


def _add_noise(accounts: Accounts, sections: Mapping[tuple[str, ...], Fields]) -> None:
    """Add up what was sent to any champion of a route once more, and name the triples."""
    sent: defaultdict[str, Counter[str]] = defaultdict(Counter)
    judged: defaultdict[str, dict[str, Fields]] = defaultdict(dict)
    for (kind, *labels), fields in sections.items():
        if kind == "noise":
            sent[labels[0]].update(fields)
        elif kind == "noise_comparison":
            judged[labels[0]]["\n".join(labels[1:])] = fields
        elif kind == "triple":
            route, model, stretch = labels
            counts = Triples(*(fields.get(name, 0) for name in TRIPLE_FIELDS))
            accounts.triples.setdefault((route, model), {})[stretch] = counts
    for route in {**sent, **judged}:
        accounts.noise[route] = _shadow(sent[route], judged[route])


def _shadow(fields: Fields, judged: Mapping[str, Fields]) -> ShadowAccount:
    by_variant = {variant: _comparisons(counts) for variant, counts in judged.items()}
    comparisons = sum(by_variant.values(), Comparisons())
    return ShadowAccount(
        fields.get("eligible", 0),
        fields.get("sent", 0),
        {drop.label: fields.get(f"dropped_{drop.label}", 0) for drop in DROPS},
        fields.get("answered", 0),
        fields.get("failed", 0),
        fields.get("not_compared", 0),
        fields.get("comparison_dropped", 0) + comparisons.dropped,
        comparisons,
        by_variant,
        _distances(judged.values()),
        {
            reason: sum(counts.get(f"reason_{reason}", 0) for counts in judged.values())
            for reason in DISAGREEMENT_REASONS
        },
    )


def _comparisons(fields: Fields) -> Comparisons:
    return Comparisons(*(fields.get(name, 0) for name in ("agree", "disagree", "uncomparable", "dropped")))


def _distances(judged: Iterable[Fields]) -> Histogram:
    total: Counter[str] = Counter()
    for fields in judged:
        total.update(fields)
    counts = [total[f"distance_{slot}"] for slot in range(DISTANCE_SLOTS)]
    last = len(DISTANCE_BOUNDS)
    return Histogram(
        DISTANCE_BOUNDS, (*counts[:last], sum(counts[last:])), total["distance_sum_millionths"] / 1e6
    )


def _add_payloads(accounts: Accounts, sections: Mapping[tuple[str, ...], Fields]) -> None:
    routes = dict.fromkeys(labels[0] for kind, *labels in sections if kind in ("payload", "sink"))
    for route in routes:
        worker, sink = sections.get(("payload", route), {}), sections.get(("sink", route), {})
        accounts.payloads[route] = Payloads(
            worker.get("sampled", 0) + sink.get("chosen", 0),
            sink.get("written", 0),
            worker.get("dropped", 0) + sink.get("dropped", 0),
            sink.get("failed", 0),
            sink.get("thinned", 0),
            sink.get("rule_failed", 0),
            sink.get("lost_thousandths", 0) / 1000,
        )
