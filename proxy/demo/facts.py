"""Everything that was seen during a run, as frozen values.

What clients saw, what models did, and what the proxy claims are collected apart from each other and meet
only in ``checks``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Answer", "Arm", "Backend", "Claims", "Facts", "Histogram", "LogLine", "ShadowClaim", "Step"]


@dataclass(frozen=True, slots=True)
class Arm:
    """One variant of the route, as the configuration file has it."""

    variant: str
    role: str
    model: str


@dataclass(frozen=True, slots=True)
class Step:
    """One version of the configuration file that was in force."""

    canary_weight: float
    """Percent of the route's traffic."""
    config_version: int
    """The version the proxy gave it."""
    applied_ms: float
    """From the renamed file to the last worker that uses it; 0 for the first step."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One request as its client saw it."""

    request_id: str
    user: str
    row: int
    """Which held-out row was asked about."""
    earliest: int
    """Index of the first step that may have been in force for it."""
    latest: int
    """Index of the last one; the same as ``earliest`` unless a reload was under way."""
    variant: str
    """Value of ``x-modelproxy-variant``; empty when the header was missing."""
    status: int
    """0: no answer at all."""
    label: int | None
    latency_s: float
    error: str = ""
    """Why there was no usable answer; empty when there was."""
    at_s: float = 0.0
    """When it was sent, in seconds of the traffic it belongs to."""


@dataclass(frozen=True, slots=True)
class Backend:
    """One model server's own books."""

    model: str
    """Its name in the configuration file."""
    requests: int
    shadow_requests: int
    refused: int
    failed: int
    """Requests of either kind on which the model raised."""
    repeated: int
    forgotten: int
    units: Mapping[str, int]
    """Requests without the shadow mark by user."""
    primary: Mapping[str, int | None]
    """Labels answered to clients, by request id."""
    shadow: Mapping[str, int | None]
    """Labels answered to shadow requests, by request id."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Cumulative counts: ``counts[i]`` observations were at most ``bounds[i]`` seconds.

    The last bound is infinite.
    """

    bounds: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()

    @property
    def total(self) -> int:
        """Number of observations."""
        return self.counts[-1] if self.counts else 0

    def quantile(self, q: float) -> float | None:
        """Return the ``q`` quantile in seconds (0 < q < 1), linear inside its bucket; None when empty.

        The rule is that of ``histogram_quantile`` in Prometheus: a quantile in the infinite bucket is the
        largest finite bound.
        """
        if not self.total:
            return None
        rank, below, start = q * self.total, 0, 0.0
        for bound, count in zip(self.bounds, self.counts, strict=True):
            if count >= rank and count > below:
                if bound == float("inf"):
                    return start
                return start + (bound - start) * (rank - below) / (count - below)
            start, below = bound, count
        return start


@dataclass(frozen=True, slots=True)
class ShadowClaim:
    """What ``/metrics`` says of one shadow, all workers and versions together."""

    outcomes: Mapping[str, int]
    """``modelproxy_shadow_requests_total`` by outcome."""
    results: Mapping[str, int]
    """``modelproxy_comparisons_total`` by result."""
    mean_distance: float | None = None
    """Mean of ``modelproxy_disagreement_distance``; None before the first comparison."""

    def outcome(self, name: str) -> int:
        """Return one outcome, 0 when it was never counted."""
        return self.outcomes.get(name, 0)

    def under_way(self) -> int:
        """Return how many shadow requests are not yet accounted for to the end."""
        ended = sum(
            map(self.outcome, ("dropped", "failed", "compared", "uncomparable", "comparison_dropped"))
        )
        return self.outcome("eligible") - ended

    def given_up(self) -> int:
        """Return how many shadow requests were sent and never compared, as far as that is decided."""
        return sum(map(self.outcome, ("failed", "uncomparable", "comparison_dropped")))

    def result(self, name: str) -> int:
        """Return one comparison result, 0 when it was never counted."""
        return self.results.get(name, 0)


@dataclass(frozen=True, slots=True)
class Claims:
    """What the proxy says of itself on ``/metrics``."""

    requests: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    """By (variant, model, status code)."""
    durations: Mapping[str, Histogram] = field(default_factory=dict)
    """``modelproxy_request_duration_seconds`` by variant."""
    shadows: Mapping[str, ShadowClaim] = field(default_factory=dict)
    """By the shadow's model."""
    payload: Mapping[str, int] = field(default_factory=dict)
    """``modelproxy_payload_records_total`` by outcome."""
    faults: Mapping[str, int] = field(default_factory=dict)
    """``modelproxy_upstream_faults_total`` by model, of whatever kind."""
    fallbacks: Mapping[str, int] = field(default_factory=dict)
    """``modelproxy_fallbacks_total`` by variant."""
    decisions: Mapping[str, int] = field(default_factory=dict)
    """``modelproxy_decisions_total`` by decision."""
    config_version: int = 0
    reload_successful: bool = False

    def shadow(self, model: str) -> ShadowClaim:
        """Return the claim about one shadow; one of nothing at all when there is none."""
        return self.shadows.get(model) or ShadowClaim({}, {})

    def is_settled(self, requests: int, records: int) -> bool:
        """Return whether all ``requests`` are counted, and no shadow request or log record is under way."""
        recorded = sum(self.payload.get(outcome, 0) for outcome in ("written", "dropped", "failed"))
        return (
            sum(self.requests.values()) >= requests
            and recorded >= records
            and all(
                claim.outcome("eligible") >= requests and claim.under_way() == 0
                for claim in self.shadows.values()
            )
        )

    def by_variant(self) -> dict[tuple[str, str], int]:
        """Return requests by (variant, model), all status codes together."""
        totals: dict[tuple[str, str], int] = {}
        for (variant, model, _), count in self.requests.items():
            totals[variant, model] = totals.get((variant, model), 0) + count
        return totals


@dataclass(frozen=True, slots=True)
class LogLine:
    """The part of a payload record that is checked."""

    request_id: str
    variant: str
    unit: str
    """The keyed hash of the user, never the user."""
    config_version: int
    body_label: int | None
    """The label in the logged response body."""


@dataclass(frozen=True, slots=True)
class Facts:
    """One run."""

    arms: Sequence[Arm]
    steps: Sequence[Step]
    answers: Sequence[Answer]
    backends: Mapping[str, Backend]
    """By model."""
    claims: Claims
    log: Sequence[LogLine]
    expected: Sequence[Mapping[str, str]]
    """For each step the variant of each user, computed from the configuration file alone."""
    logged_users: frozenset[str]
    """Users whose requests the file says are logged, computed from it alone."""
    shadow_models: Sequence[str]
    """Models of the route's shadows, in the order of the file."""
    truth: Sequence[int]
    """The digit that each held-out row shows."""
    by_variant: Mapping[tuple[str, str], Mapping[str, int]]
    """What the proxy's status says: by (shadow model, variant) how often they ``agree`` and ``disagree``."""
    proxy_exit: int | None = None
    """Exit code of the proxy after SIGTERM; None while it is kept running."""

    def arm(self, role: str) -> Arm:
        """Return the first variant with ``role``; KeyError when there is none."""
        for arm in self.arms:
            if arm.role == role:
                return arm
        raise KeyError(role)
