"""Rollouts: how a canary goes from nothing to everything, what it must not break on the way, and who is told.

Margins and tolerances say how much worse than the champion is still the same. A *margin* is relative: with 10 a
champion that fails 1 % of its requests lets the canary fail 1.1 %. A *tolerance* is absolute, in percent points.
"""

from decimal import Decimal
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import ConfigDict, SecretStr, ValidationInfo, field_validator
from pydantic.config import JsonDict

from proxy.durations import format_duration
from proxy.model import Announced, Inconclusive, Metric
from proxy.settings import grammar, units
from proxy.settings.fields import NOW, REQUIRED, Section, setting
from proxy.settings.grammar import duration, rate, whole

__all__ = [
    "EVENT_METRICS",
    "Announced",
    "Budget",
    "Guardrail",
    "Inconclusive",
    "Metric",
    "Rollout",
    "Webhook",
]

_MAX_STEPS = 20
_MAX_GUARDRAILS = 32
_EVENT_TOLERANCE = Decimal(1)
"""Percent points of errors that are tolerated unless the file says otherwise."""


EVENT_METRICS = frozenset({Metric.ERRORS, Metric.CLIENT_ERRORS, Metric.ABANDONED, Metric.SLOW})
"""Metrics of which a request either is an event or not; these have both margins and a tolerance."""

Rate = Annotated[Decimal, rate(0, 100)]
Margin = Annotated[Decimal, rate(0, 1000)]
PromotionMargin = Annotated[
    Decimal, rate(0, 1000, above=True, because="that a canary is no worse at all can never be shown")
]
Step = Annotated[Decimal, rate(0, 100, above=True, because="what comes before the first step is bake")]
Risk = Annotated[Decimal, rate(0, 50, above=True, because="to be certain takes for ever")]
Holdback = Annotated[Decimal, rate(0, 50)]


def _given(key: str) -> JsonDict:
    return {"required": [key], "properties": {key: {"not": {"type": "null"}}}}


def _metric_rule(metrics: list[Metric], then: JsonDict) -> JsonDict:
    among: JsonDict = {"required": ["metric"], "properties": {"metric": {"enum": [str(m) for m in metrics]}}}
    return {"if": among, "then": then}


class Guardrail(Section):
    """A metric that the canary must not worsen."""

    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [
                _metric_rule([Metric.SLOW], _given("threshold")),
                _metric_rule(
                    [metric for metric in Metric if metric is not Metric.SLOW],
                    {"properties": {"threshold": {"type": "null"}}},
                ),
                _metric_rule([Metric.LATENCY], {"properties": {"tolerance": {"type": "null"}}}),
                _metric_rule([Metric.DISAGREEMENT], _given("tolerance")),
            ]
        }
    )

    metric: Annotated[Metric, grammar.choice(Metric)] = setting(
        REQUIRED,
        "errors: 5xx, or no whole answer; client_errors: 400 to 498; abandoned: the client left before the answer "
        "began; latency: how long answers take; slow: answers that take longer than threshold; disagreement: copies "
        "that the canary answers otherwise than the champion, above its own noise where compare.noise measures it; "
        "feedback: answers that your system called bad, of those that it judged, by POST /api/v1/feedback.",
        NOW,
    )
    margin: Margin = setting(
        "10%",
        "The canary is rolled back when it is worse than the champion by more than this part of the champion's "
        "figure. Not for disagreement.",
        NOW,
    )
    promotion_margin: PromotionMargin = setting(
        "25%",
        "The canary is promoted only when it is shown to be worse by less than this part of the champion's figure. "
        "The smaller, the more requests that takes. Not for disagreement.",
        NOW,
    )
    tolerance: Rate | None = setting(
        None,
        "Percent points. A canary that is shown to be worse by less than this may be promoted too, however rare the "
        "events are; 0: only promotion_margin counts; null: 1 for errors, client_errors, abandoned and slow, none for "
        "feedback, where it takes that good answers are reported too. For disagreement, where it is required: the "
        "percent of copies that may be answered otherwise, with compare.noise beyond those that the champion itself "
        "answers otherwise when it is asked again. Not for latency.",
        NOW,
    )
    threshold: Annotated[int, duration("1ms", "4m")] | None = setting(
        None, "Longer than this is slow, to within 5 percent. Required for slow, and for slow alone.", NOW
    )
    advisory: Annotated[bool, grammar.yes_or_no()] = setting(
        False, "true: is judged and shown, and neither rolls back nor keeps from promotion.", NOW
    )

    @field_validator("tolerance", mode="after")
    @classmethod
    def _usual_tolerance(cls, value: Decimal | None, info: ValidationInfo) -> Decimal | None:
        usual = _EVENT_TOLERANCE if info.data.get("metric") in EVENT_METRICS else None
        return usual if value is None else value

    @property
    def label(self) -> str:
        """What tells a rollout's guardrails apart: the metric, for ``slow`` with its threshold (``slow_500ms``)."""
        if self.metric is Metric.SLOW and self.threshold is not None:
            return f"{self.metric}_{format_duration(self.threshold)}"
        return str(self.metric)


class Budget(Section):
    """What a rollout may cost."""

    excess_errors: Annotated[int, whole(1, 1_000_000_000)] = setting(
        100,
        "Requests that the canary may fail beyond what the champion would have: those of the whole rollout so far, and "
        "as many as the next step could cost in one hold, as far as the evidence can tell. The next step waits until "
        "both together are within it; once it is spent, no step follows but by hand.",
        NOW,
    )


class Rollout(Section):
    """A canary's way from nothing to everything, one step after another, as the evidence allows."""

    steps: tuple[Step, ...] = setting(
        [1, 5, 25, 50, 100],
        "Percent of the route's units, each step larger than the one before. Units that join the canary come from the "
        "champion and stay. 100 is the promotion: everything but the holdback and the other variants' weights. It "
        "follows the last step, also where it is left out.",
        NOW,
        min_length=1,
        max_length=_MAX_STEPS,
    )
    hold: Annotated[int, duration("1s", "168h")] = setting("5m", "Least time on each step.", NOW)
    bake: Annotated[int, duration("0s", "168h")] = setting(
        "0s", "Time at weight 0 before the first step, in which only shadows show what the canary does.", NOW
    )
    guardrails: tuple[Guardrail, ...] = setting(
        [{"metric": "errors"}, {"metric": "client_errors"}, {"metric": "latency"}],
        "What the canary must not worsen.",
        NOW,
        min_length=1,
        max_length=_MAX_GUARDRAILS,
    )
    false_rollback: Risk = setting(
        "1%",
        "How often a canary that worsens nothing is rolled back at most, over the whole rollout, however often it is "
        "looked at.",
        NOW,
    )
    false_promotion: Risk = setting(
        "5%",
        "How often a canary that worsens a guardrail by its promotion_margin is promoted at most.",
        NOW,
    )
    budget: Budget | None = setting({}, "What the rollout may cost at most; null: no limit.", NOW)
    on_inconclusive: Annotated[Inconclusive, grammar.choice(Inconclusive)] = setting(
        "hold",
        "What happens when max_duration is over and nothing is shown: hold, stay where it is until a person decides; "
        "rollback; promote.",
        NOW,
    )
    max_duration: Annotated[int, duration("1m", "8760h")] = setting(
        "24h", "Longest time of the rollout, from its beginning to its promotion.", NOW
    )
    dry_run: Annotated[bool, grammar.yes_or_no()] = setting(
        False, "true: judges and writes down what it would do, and changes no weight.", NOW
    )
    holdback: Holdback = setting(
        "0%",
        "Percent of the route's units that stay with the old champion after the promotion, to compare with.",
        NOW,
    )
    switch_back: Annotated[int, duration("0s", "168h")] = setting(
        "0s",
        "How long after the promotion the old champion stays warm, and the canary is still judged: when it worsens "
        "then, everything goes back at once.",
        NOW,
    )

    @property
    def takes_feedback(self) -> bool:
        """Whether feedback on requests is evidence."""
        return any(each.metric is Metric.FEEDBACK for each in self.guardrails)


class Webhook(Section):
    """Who is told of decisions: a POST with JSON, signed as Standard Webhooks says, and sent again until it arrives."""

    url: Annotated[SecretStr, grammar.hidden_url()] = setting(
        REQUIRED,
        "Where to; http:// or https://, perhaps with a query. Its path and query are not shown again: many services "
        "put a token there.",
        NOW,
    )
    secret: Annotated[SecretStr, grammar.signing_secret()] = setting(
        REQUIRED, "Key of the signature, shared with the receiver.", NOW
    )
    on: Annotated[tuple[Announced, ...], grammar.one_or_more(grammar.choice(Announced), len(Announced))] = (
        setting(
            ["rollback", "promote", "ramp", "invalid"],
            "Verdicts that are sent: one or a list. hold: each time its reason changes.",
            NOW,
        )
    )
    timeout: Annotated[int, duration("100ms", "1m")] = setting(
        "5s", "From opening the connection to the whole answer, of one attempt.", NOW
    )

    @property
    def receiver(self) -> str:
        """The URL's scheme, host and port: what may be shown and logged."""
        parts = urlsplit(self.url.get_secret_value())
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def key(self) -> bytes:
        """The key of the signature: what ``whsec_`` is followed by, out of base64, or the secret's own bytes."""
        return units.signing_key(self.secret.get_secret_value())
