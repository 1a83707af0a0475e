"""What the counts say about a rollout: natural logarithms of e-values, with what they were made of.

An e-value of 100 against a claim means: had the claim been true, evidence like this would have come up in one of 100
rollouts at most, however often one looked.

*Grounds* are what a verdict rests on, and are made at each look. *Evidence* is that and what only people are shown
(intervals, quantiles, how much more it takes): dearer, and made when a decision is written down or somebody asks.
"""

from dataclasses import dataclass

from proxy.model import Metric

__all__ = ["Evidence", "Grounds", "GuardrailEvidence", "GuardrailGrounds", "Parts"]

Parts = tuple[tuple[str, float], ...]
"""Name → log e of what a guardrail's evidence was made of, for the report."""


@dataclass(frozen=True, slots=True)
class GuardrailGrounds:
    """What decides of one guardrail. Without data every log e is 0."""

    name: str
    metric: Metric
    advisory: bool
    harm: float = 0.0
    """log e against "worse than the champion by the margin at most"."""
    suspicion: float = 0.0
    """log e against "not worse at all", for latency against the margin without the guard against noise of hosts; for
    disagreement against "within the tolerance"."""
    noninferiority: float = 0.0
    """log e against "worse by the promotion margin or more"."""
    parts: Parts = ()


@dataclass(frozen=True, slots=True)
class GuardrailEvidence(GuardrailGrounds):
    """One guardrail, as it is shown. Without data the interval is the whole range."""

    low: float = 0.0
    high: float = float("inf")
    """95 % confidence sequence of the canary's figure as a multiple of the champion's; for disagreement, of the share
    itself, or of what it is above noise, -1 to 1."""
    canary_events: int = 0
    champion_events: int = 0
    canary_total: int = 0
    champion_total: int = 0
    """Coins, of which events. For latency: first completions, and no events. For disagreement: copies compared, and
    disagreed, as the canary's; above noise copies for which the champion was asked twice, in both, and as the
    champion's events where it differed from itself."""
    canary_ns: tuple[int, ...] = ()
    champion_ns: tuple[int, ...] = ()
    """For latency: p50, p95 and p99 in the present epoch."""
    is_of_one_hour: bool = False
    """Users who came back speak louder than first times: the figures are those of the hour in which they do."""
    requests_to_show: int | None = None
    """About so many more requests of the route, at the present share, until a canary that goes on as before is shown to
    be within the promotion margin; for feedback so many more that are judged. 0: it is shown; None: no telling, or
    never."""
    events_to_harm: int | None = None
    """About so many events of the canary, one after another, until it would be rolled back; None: no telling."""


@dataclass(frozen=True, slots=True)
class Grounds:
    """What a verdict about a rollout rests on, at one moment."""

    guardrails: tuple[GuardrailGrounds, ...] = ()
    harm: float = 0.0
    """log e of all critical guardrails together: of the greatest, each times its weight. Below 0 without data."""
    harm_of_events: float = 0.0
    """The same with nothing from latency: what the canary's own failures say, whoever else is missing."""
    suspicion: float = 0.0
    """The greatest of what guardrails suspect, each times its weight."""
    blamed: tuple[str, ...] = ()
    """Guardrails that fail on their own at the accepted risk, all of them together (e-Holm)."""
    is_randomised: bool = True
    """False where all traffic is the canary's: it is compared with the champion of before."""
    allocation: float = 0.0
    """log e against "the coin falls as the shares say"."""
    problems: tuple[str, ...] = ()
    """What is wrong with the counts, as stable words; see :mod:`~proxy.rollout.assemble`."""
    held_ns: int = 0
    """Time on this phase and step in which somebody watched."""
    canary_units: int = 0
    champion_units: int = 0
    canary_requests: int = 0
    champion_requests: int = 0
    """In this stretch of evidence; what clients were exposed to is ``canary_requests``."""
    is_latency_seen: bool = True
    """Whether latency has been compared at all: a reference was frozen, and canary requests came after it."""
    expected_units: float = 0.0
    """Units that the canary should have had, from what the champion had and the shares."""
    request_rate: float = 0.0
    """Requests per second of canary and champion together: lately, or of the whole stretch, whichever is more."""
    excess_errors: float = 0.0
    """Requests that the canary failed beyond what the champion would have, estimated; 0 at least."""
    excess_share: float = 1.0
    """Share of its requests that the canary fails beyond the champion's at most, with 95 % confidence. 1 is always
    true; how much less it is takes long to tell, and is asked only where a step depends on it."""
    shadow_failed: float = 0.0
    """log e against "copies fail within the tolerance of errors", while baking."""
    shadow_sound: float = 0.0
    """log e against "copies fail beyond the tolerance of errors", while baking."""
    shadow_answered: int = 0
    shadow_failures: int = 0


@dataclass(frozen=True, slots=True)
class Evidence(Grounds):
    """All that is known about a rollout at one moment."""

    guardrails: tuple[GuardrailEvidence, ...] = ()
