from typing import Any

import pytest

from proxy.settings import warnings
from proxy.settings.rollout_advice import _BUCKET
from proxy.stats import histogram
from proxy.stats.histogram import GAMMA
from tests.settings.rollout_cases import CHALLENGER
from tests.settings.settings_world import canary, minimal, read

ROLLOUT = "routes[0].variants[1].rollout"
GUARDRAIL = f"{ROLLOUT}.guardrails[0]"
ERRORS = {"metric": "errors"}


def advice(text: str) -> dict[str, str]:
    """Return path → ``found …, expected …`` of every warning."""
    return {p.path: f"found {p.found}, expected {p.expected}" for p in warnings(read(text))}


def watching(*guardrails: dict[str, Any], **more: Any) -> str:
    """Return a file whose canary is watched by ``guardrails``."""
    return canary({"guardrails": list(guardrails)}, **more)


PLAIN = {
    "nothing said": canary({}),
    "one step": canary({"steps": [100]}),
    "holdback beside challengers": canary({"holdback": "1%"}, others=[CHALLENGER]),
    "a short hold without latency": canary({"guardrails": [ERRORS], "hold": "1s"}),
    "a hold just long enough": canary({"hold": "20s"}),
    "switch-back without a holdback": canary({"switch_back": "1h"}),
    "switch-back with a holdback": canary({"holdback": "1%", "switch_back": "1h"}),
    "bake with a shadow": canary({"bake": "1h"}, shadows=[{"model": "two", "percent": 1}]),
    "equal margins": watching({**ERRORS, "margin": 25, "promotion_margin": 25}),
    "no margin for errors": watching({**ERRORS, "margin": 0}),
    "a small margin for errors": watching({**ERRORS, "margin": 1, "promotion_margin": 1}),
    "a bucket of latency": watching({"metric": "latency", "margin": 5, "promotion_margin": 5}, ERRORS),
    "less than a bucket, for show": watching(
        {"metric": "latency", "margin": 1, "promotion_margin": 1, "advisory": True}, ERRORS
    ),
    "time for every step": canary({"max_duration": "25m"}),
    "a range for all": canary({}, max_weight=100),
    "a range for all that others leave": canary({"holdback": "1%"}, max_weight=89, others=[CHALLENGER]),
    "disagreement beside errors": watching(
        {"metric": "disagreement", "tolerance": 1}, ERRORS, shadows=[{"model": "two"}]
    ),
}


@pytest.mark.parametrize("name", PLAIN)
def test_nothing_to_say(name: str) -> None:
    """A rollout as most are gets no warning."""
    assert advice(PLAIN[name]) == {}


WORTH_A_LOOK: dict[str, tuple[str, str, str]] = {
    "promotion before harm": (
        watching({**ERRORS, "margin": 30}),
        f"{GUARDRAIL}.promotion_margin",
        "found 25, expected at least the margin (30)",
    ),
    "no margin for latency": (
        watching({"metric": "latency", "margin": 0}, ERRORS),
        f"{GUARDRAIL}.margin",
        "found 0, expected a margin such as 10%: no two hosts are equally fast",
    ),
    "no margin for slow answers": (
        watching({"metric": "slow", "threshold": "1s", "margin": "0%"}, ERRORS),
        f"{GUARDRAIL}.margin",
        "the slower one is rolled back",
    ),
    "less than a bucket of latency": (
        watching({"metric": "latency", "margin": "4%", "promotion_margin": "4.9%"}, ERRORS),
        f"{GUARDRAIL}.promotion_margin",
        "found 4.9, expected at least 5%: latency is counted in buckets that wide",
    ),
    "margin of disagreement": (
        watching({"metric": "disagreement", "tolerance": 1, "margin": 5}, ERRORS, shadows=[{"model": "two"}]),
        f"{GUARDRAIL}.margin",
        "found 5, expected no margin: of disagreement the limit is tolerance, in percent points",
    ),
    "no errors": (
        watching({"metric": "latency"}),
        f"{ROLLOUT}.guardrails",
        "expected {metric: errors} among them: a canary that fails at once is fast",
    ),
    "errors for show": (
        watching({"metric": "latency"}, {**ERRORS, "advisory": True}),
        f"{ROLLOUT}.guardrails",
        "no critical guardrail for errors",
    ),
    "feedback that comes too late": (
        canary({"steps": [100], "guardrails": [{"metric": "errors"}, {"metric": "feedback"}]}),
        f"{ROLLOUT}.steps",
        "found 100 alone, expected steps below 100 beside a guardrail on feedback",
    ),
    "disagreement alone": (
        watching({"metric": "disagreement", "tolerance": 1}, shadows=[{"model": "two"}]),
        f"{ROLLOUT}.guardrails",
        "found disagreement alone, expected a guardrail that rolls back",
    ),
    "too little time": (
        canary({"max_duration": "24m59s"}),
        f"{ROLLOUT}.max_duration",
        "found 24m59s, expected at least 25m, which bake and hold on each step take",
    ),
    "too little time after bake": (
        canary({"bake": "10m", "max_duration": "34m"}, shadows=[{"model": "two"}]),
        f"{ROLLOUT}.max_duration",
        "at least 35m",
    ),
    "bake without a shadow": (
        canary({"bake": "1h"}, shadows=[{"model": "one"}]),
        f"{ROLLOUT}.bake",
        "found 1h, expected a shadow of two in this route",
    ),
    "bake without copies": (
        canary({"bake": "1h"}, shadows=[{"model": "two", "percent": 0}]),
        f"{ROLLOUT}.bake",
        "expected a shadow of two",
    ),
    "a hold too short for latency": (
        canary({"hold": "19s"}),
        f"{ROLLOUT}.hold",
        "found 19s, expected 20s or more beside a guardrail for latency",
    ),
    "challengers left alone": (
        canary({}, others=[CHALLENGER]),
        f"{ROLLOUT}.holdback",
        "found 0, beside challengers, expected a holdback",
    ),
    "a range that it outgrows": (
        canary({}, max_weight=50),
        ROLLOUT,
        "found a rollout to 100, expected at most 50, its max_weight: beyond it a change of weight also moves units",
    ),
    "its share among canaries": (
        canary({}, others=[{"name": "v3", "model": "two", "role": "canary", "weight": 1}]),
        ROLLOUT,
        "found a rollout to 99, expected at most 50, its share among 2 canary variants",
    ),
}


@pytest.mark.parametrize("name", WORTH_A_LOOK)
def test_warning(name: str) -> None:
    """What is probably not meant is one warning, at its place."""
    text, path, sentence = WORTH_A_LOOK[name]
    found = advice(text)
    assert [path] == list(found)
    assert sentence in found[path]


def test_width_of_a_bucket() -> None:
    """What is advised is what a promotion can be shown by: one bucket, and no less."""
    assert float(_BUCKET) == pytest.approx((GAMMA - 1) * 100)
    assert [histogram.buckets_within_margin(margin) for margin in (0.049, 0.05)] == [0, 1]


def test_who_has_no_unit() -> None:
    """Requests without a unit that always take the champion are no evidence, where there is a rollout to judge."""
    variants = [{"name": "v1", "model": "one", "role": "champion"}]
    second = {"name": "v2", "model": "two", "role": "canary"}
    rolled = minimal(route={"missing_unit": "champion", "variants": [*variants, {**second, "rollout": {}}]})
    fixed = minimal(route={"missing_unit": "champion", "variants": [*variants, {**second, "weight": 1}]})
    assert advice(fixed) == {}
    (path,) = found = advice(rolled)
    assert path == "routes[0].missing_unit"
    assert "found champion, expected random, beside a rollout" in found[path]
