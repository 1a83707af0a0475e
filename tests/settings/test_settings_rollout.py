from decimal import Decimal
from typing import Any

import pytest

from proxy.settings import (
    EVENT_METRICS,
    Announced,
    Guardrail,
    Inconclusive,
    Metric,
    Rollout,
    Route,
    Webhook,
    restart_needed,
)
from tests.settings.rollout_cases import CHALLENGER, ROLLED
from tests.settings.settings_world import canary, minimal, problems_of, read

SECOND_NS = 10**9


def rollout_of(text: str) -> Rollout:
    """Return the rollout of the first route."""
    variant = read(text).routes[0].rollout_variant
    assert variant is not None
    assert variant.rollout is not None
    return variant.rollout


def test_every_key() -> None:
    """Percents are exact whether they have their sign or not, durations nanoseconds."""
    rollout = rollout_of(ROLLED)
    assert rollout.steps == (Decimal("0.5"), Decimal(10), Decimal(20), Decimal(100))
    assert (rollout.hold, rollout.bake) == (SECOND_NS, 2 * SECOND_NS)
    assert (rollout.false_rollback, rollout.false_promotion) == (Decimal("0.1"), Decimal(50))
    assert rollout.budget is not None
    assert rollout.budget.excess_errors == 1
    assert (rollout.on_inconclusive, rollout.max_duration) == (Inconclusive.ROLLBACK, 60 * SECOND_NS)
    assert (rollout.dry_run, rollout.holdback, rollout.switch_back) == (True, Decimal(2), 3600 * SECOND_NS)


def test_guardrails() -> None:
    """A guardrail has its own margins, and a label that tells it from the others."""
    errors, client_errors, *_, latency, slow, slower, disagreement, feedback = rollout_of(ROLLED).guardrails
    margins = [errors.margin, errors.promotion_margin, errors.tolerance]
    assert margins == [0, 1000, Decimal("0.5")]
    assert (client_errors.advisory, errors.advisory) == (True, False)
    assert latency.margin == 5
    assert (slow.threshold, slower.threshold) == (SECOND_NS // 2, 3 * SECOND_NS // 2)
    assert disagreement.tolerance == 2
    assert feedback.margin == 20
    assert feedback.tolerance is None
    assert rollout_of(ROLLED).takes_feedback
    assert not rollout_of(canary({})).takes_feedback
    assert [each.label for each in rollout_of(ROLLED).guardrails] == [
        "errors",
        "client_errors",
        "abandoned",
        "latency",
        "slow_500ms",
        "slow_1s500ms",
        "disagreement",
        "feedback",
    ]


def test_defaults() -> None:
    """An empty rollout watches errors and latency, goes in five steps, and costs at most a hundred errors."""
    rollout = rollout_of(canary({}))
    assert list(rollout.steps) == [1, 5, 25, 50, 100]
    assert [g.metric for g in rollout.guardrails] == [Metric.ERRORS, Metric.CLIENT_ERRORS, Metric.LATENCY]
    assert {g.margin for g in rollout.guardrails} == {10}
    assert {g.promotion_margin for g in rollout.guardrails} == {25}
    assert [g.tolerance for g in rollout.guardrails] == [1, 1, None]
    assert rollout.budget is not None
    assert rollout.budget.excess_errors == 100
    assert (rollout.on_inconclusive, rollout.dry_run) == (Inconclusive.HOLD, False)
    assert rollout.holdback == 0
    assert Rollout() == rollout


@pytest.mark.parametrize("metric", Metric)
def test_the_usual_tolerance(metric: Metric) -> None:
    """A percent point is tolerated of what is an event, also where null is said; 0 stays 0."""
    usual = Decimal(1) if metric in EVENT_METRICS else None
    assert usual == Guardrail(metric=metric).tolerance
    assert usual == Guardrail.model_validate({"metric": metric, "tolerance": None}).tolerance
    assert Guardrail.model_validate({"metric": metric, "tolerance": 0}).tolerance == 0


def test_no_budget() -> None:
    """A budget of null is no limit."""
    assert rollout_of(canary({"budget": None})).budget is None


def test_percents_from_variables() -> None:
    """A variable may hold a percent, with its sign or without."""
    text = canary({"holdback": "${A}", "steps": ["${B}", 100]})
    variant = read(text, A="2%", B="5").routes[0].rollout_variant
    assert variant is not None
    assert variant.rollout is not None
    assert [variant.rollout.holdback, variant.rollout.steps[0]] == [2, 5]


def route_of(text: str) -> Route:
    return read(text).routes[0]


@pytest.mark.parametrize(
    ("text", "percent"),
    [
        (canary({}), 100),
        (canary({"holdback": "2%"}), 98),
        (canary({}, others=[CHALLENGER]), 90),
        (canary({"holdback": 0.5}, others=[CHALLENGER]), Decimal("89.5")),
        (canary(None, weight=5), 95),
    ],
)
def test_promoted_weight(text: str, percent: Decimal) -> None:
    """A promoted canary has what the holdback and the other variants leave."""
    assert percent == route_of(text).promoted_weight


def test_a_route_without_a_rollout() -> None:
    """A canary with a weight has no rollout."""
    assert route_of(canary(None, weight=5)).rollout_variant is None


WEBHOOK = {"url": "https://H.example:8443/T0/x?y=z", "secret": "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"}


def webhook_of(**changes: Any) -> Webhook:
    (webhook,) = read(minimal(webhooks=[{**WEBHOOK, **changes}])).webhooks
    return webhook


def test_webhook() -> None:
    """A webhook has a URL and a key for who asks for them, and a name that may be shown."""
    webhook = webhook_of()
    assert webhook.url.get_secret_value() == "https://h.example:8443/T0/x?y=z"
    assert webhook.receiver == "https://h.example:8443"
    assert webhook.key == b"012345678901234567890123"
    assert webhook.timeout == 5 * SECOND_NS
    assert webhook.on == (Announced.ROLLBACK, Announced.PROMOTE, Announced.RAMP, Announced.INVALID)
    assert webhook_of(secret="x" * 24).key == b"x" * 24
    assert webhook_of(on="hold").on == (Announced.HOLD,)


def test_a_reload_is_enough() -> None:
    """Rollouts and webhooks change without a restart."""
    old = read(canary({}))
    new = read(canary({"steps": [1, 100], "guardrails": [{"metric": "errors"}], "budget": None}))
    assert restart_needed(old, new) == ()
    assert restart_needed(read(minimal()), read(minimal(webhooks=[WEBHOOK]))) == ()


HOLDS = {
    "nothing said": canary({}),
    "one step to all": canary({"steps": [100], "bake": "1h"}),
    "no step to all": canary({"steps": [1, 50]}),
    "twenty steps": canary({"steps": [*range(1, 20), 100]}),
    "a step to what is left": canary({"steps": [90, 100]}, others=[CHALLENGER]),
    "a step to all that is left": canary({}, others=[CHALLENGER]),
    "beside another canary": canary(
        {}, others=[{"name": "v3", "model": "two", "role": "canary", "weight": 1}]
    ),
    "margins of nothing": canary({"guardrails": [{"metric": "errors", "margin": "0%", "tolerance": "0%"}]}),
    "null for everything optional": canary(
        {"guardrails": [{"metric": "latency", "tolerance": None, "threshold": None}], "budget": None},
        weight=None,
        max_weight=None,
    ),
    "slow twice": canary({"guardrails": [{"metric": "slow", "threshold": t} for t in ("1s", "1s1ms")]}),
    "one advisory of two": canary(
        {"guardrails": [{"metric": "errors"}, {"metric": "latency", "advisory": True}]}
    ),
    "disagreement with its shadow": canary(
        {"guardrails": [{"metric": "disagreement", "tolerance": "2%"}]}, shadows=[{"model": "two"}]
    ),
    "just longer than hold": canary({"hold": "10m", "max_duration": "10m1s"}),
    "a rollout in each of two routes": minimal(
        routes=[
            {
                "name": name,
                "match": {"path": f"/{name}"},
                "variants": [
                    {"name": "v1", "model": "one", "role": "champion"},
                    {"name": "v2", "model": "two", "role": "canary", "rollout": {}},
                ],
            }
            for name in ("a", "b")
        ]
    ),
}


@pytest.mark.parametrize("name", HOLDS)
def test_holds(name: str) -> None:
    """What is at the edge of a rule is allowed."""
    assert problems_of(HOLDS[name]) == ()
