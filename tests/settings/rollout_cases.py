"""A route with every key of a rollout, and files whose rollout or webhook is wrong in one way each."""

from typing import Any

from tests.settings.settings_world import canary, minimal

__all__ = ["CANARY", "CHALLENGER", "GUARDRAIL", "ROLLED", "ROLLED_ROUTE", "ROLLOUT_PROBLEMS", "guardrail"]

ROLLED_ROUTE = """\
  - name: rolled
    match: {path: /never}
    shadows: [{model: seven}]
    variants:
      - {name: v1, model: one, role: champion}
      - name: v2
        model: seven
        role: canary
        max_weight: 100
        rollout:
          steps: [0.5%, 10, "20%", 100]
          hold: 1s
          bake: 2s
          guardrails:
            - {metric: errors, margin: 0, promotion_margin: 1000%, tolerance: 0.5%}
            - {metric: client_errors, advisory: true}
            - {metric: abandoned, tolerance: 0}
            - {metric: latency, margin: 5%}
            - {metric: slow, threshold: 500ms}
            - {metric: slow, threshold: 1.5s, tolerance: 3%}
            - {metric: disagreement, tolerance: 2%}
            - {metric: feedback, margin: 20%}
          false_rollback: 0.1%
          false_promotion: 50
          budget: {excess_errors: 1}
          on_inconclusive: rollback
          max_duration: 1m
          dry_run: true
          holdback: 2%
          switch_back: 1h
"""
"""A route with every key of a rollout."""

ROLLED = f"""\
models:
  one: {{url: "http://127.0.0.1:9001"}}
  seven: {{url: "http://127.0.0.1:9007"}}
routes:
{ROLLED_ROUTE}"""

CANARY = "routes[0].variants[1]"
GUARDRAIL = f"{CANARY}.rollout.guardrails[0]"
CHALLENGER = {"name": "c", "model": "two", "role": "challenger", "weight": 10}


def guardrail(**keys: Any) -> str:
    """Return a file whose canary has a rollout with one guardrail."""
    return canary({"guardrails": [keys]})


ROLLOUT_PROBLEMS: dict[str, tuple[str, str, str]] = {
    "rollout as a word": (canary("on"), f"{CANARY}.rollout", "'on', expected a mapping"),
    "unknown key of a rollout": (canary({"stpes": [1]}), f"{CANARY}.rollout.stpes", "(did you mean steps?)"),
    "step over": (
        canary({"steps": [1, 101]}),
        f"{CANARY}.rollout.steps[1]",
        "101, expected a percent above 0 and at most 100",
    ),
    "step with a sign over": (
        canary({"steps": ["100.1%"]}),
        f"{CANARY}.rollout.steps[0]",
        "'100.1%', expected a percent above 0 and at most 100",
    ),
    "step of nothing": (
        canary({"steps": [0, 5]}),
        f"{CANARY}.rollout.steps[0]",
        "0.5: what comes before the first step is bake",
    ),
    "step below nothing": (
        canary({"steps": [-5]}),
        f"{CANARY}.rollout.steps[0]",
        "-5, expected a percent above 0",
    ),
    "step in words": (canary({"steps": ["ten"]}), f"{CANARY}.rollout.steps[0]", "'ten', expected a percent"),
    "one step without a list": (canary({"steps": 100}), f"{CANARY}.rollout.steps", "100, expected a list"),
    "no steps": (canary({"steps": []}), f"{CANARY}.rollout.steps", "expected at least one entry"),
    "too many steps": (
        canary({"steps": list(range(1, 22))}),
        f"{CANARY}.rollout.steps",
        "at most 20 entries",
    ),
    "steps that shrink": (
        canary({"steps": [1, 50, 25, 100]}),
        f"{CANARY}.rollout.steps[2]",
        "25, expected more than 50, the step before it (steps[1]): a rollout only grows",
    ),
    "steps that stand still": (
        canary({"steps": [5, "5%"]}),
        f"{CANARY}.rollout.steps[1]",
        "'5%', expected more than 5, the step before it (steps[0])",
    ),
    "no hold": (canary({"hold": "0s"}), f"{CANARY}.rollout.hold", "'0s', expected 1s to 168h"),
    "hold without a unit": (canary({"hold": 5}), f"{CANARY}.rollout.hold", "write 5s or 5ms, not 5"),
    "long bake": (canary({"bake": "169h"}), f"{CANARY}.rollout.bake", "'169h', expected 0s to 168h"),
    "no duration": (
        canary({"max_duration": "59s"}),
        f"{CANARY}.rollout.max_duration",
        "expected 1m to 8760h",
    ),
    "less than one hold": (
        canary({"hold": "10m", "max_duration": "10m"}),
        f"{CANARY}.rollout.max_duration",
        "'10m', expected more than hold (10m): else it is over on its first step",
    ),
    "hold over all": (
        canary({"hold": "25h"}),
        f"{CANARY}.rollout.hold",
        "'25h', expected less than max_duration (24h): else it is over on its first step",
    ),
    "no risk of a false rollback": (
        canary({"false_rollback": "0%"}),
        f"{CANARY}.rollout.false_rollback",
        "'0%', expected a percent above 0 and at most 50, such as 2% or 0.5: to be certain takes for ever",
    ),
    "a coin for a promotion": (
        canary({"false_promotion": 50.1}),
        f"{CANARY}.rollout.false_promotion",
        "50.1, expected a percent above 0 and at most 50",
    ),
    "no budget at all": (
        canary({"budget": {"excess_errors": 0}}),
        f"{CANARY}.rollout.budget.excess_errors",
        "0, expected a whole number from 1",
    ),
    "budget as a number": (canary({"budget": 50}), f"{CANARY}.rollout.budget", "50, expected a mapping"),
    "inconclusive": (
        canary({"on_inconclusive": "promot"}),
        f"{CANARY}.rollout.on_inconclusive",
        "one of hold, rollback, promote (did you mean promote?)",
    ),
    "dry run": (canary({"dry_run": "yes"}), f"{CANARY}.rollout.dry_run", "'yes', expected true or false"),
    "half held back": (canary({"holdback": "51%"}), f"{CANARY}.rollout.holdback", "a percent from 0 to 50"),
    "long switch-back": (canary({"switch_back": "169h"}), f"{CANARY}.rollout.switch_back", "0s to 168h"),
    "no guardrails": (
        canary({"guardrails": []}),
        f"{CANARY}.rollout.guardrails",
        "expected at least one entry",
    ),
    "too many guardrails": (
        canary({"guardrails": [{"metric": "slow", "threshold": f"{i}ms"} for i in range(1, 34)]}),
        f"{CANARY}.rollout.guardrails",
        "at most 32 entries",
    ),
    "guardrail as a word": (
        canary({"guardrails": ["errors"]}),
        f"{GUARDRAIL}",
        "'errors', expected a mapping",
    ),
    "guardrail of nothing": (guardrail(margin=5), f"{GUARDRAIL}.metric", "expected the key metric here"),
    "unknown metric": (guardrail(metric="latancy"), f"{GUARDRAIL}.metric", "(did you mean latency?)"),
    "metric as a number": (guardrail(metric=5), f"{GUARDRAIL}.metric", "5, expected text: one of errors,"),
    "metric in capitals": (
        guardrail(metric="ERRORS"),
        f"{GUARDRAIL}.metric",
        "'ERRORS', expected one of errors,",
    ),
    "metric with a label": (
        guardrail(metric='errors{code="500"}'),
        f"{GUARDRAIL}.metric",
        "expected one of errors,",
    ),
    "metric with a line break": (
        guardrail(metric="errors\n"),
        f"{GUARDRAIL}.metric",
        "expected one of errors,",
    ),
    "metric of no letters": (
        guardrail(metric="\u202e\u0000☃"),
        f"{GUARDRAIL}.metric",
        "expected one of errors,",
    ),
    "canary with an odd name": (
        canary({}, name='v3"} 1'),
        f"{CANARY}.name",
        "a name of letters, digits, '.', '_' and '-'",
    ),
    "margin over": (
        guardrail(metric="errors", margin="1000.1%"),
        f"{GUARDRAIL}.margin",
        "'1000.1%', expected a percent from 0 to 1000",
    ),
    "negative margin": (
        guardrail(metric="errors", margin=-1),
        f"{GUARDRAIL}.margin",
        "a percent from 0 to 1000",
    ),
    "margin with a blank": (
        guardrail(metric="errors", margin="10 %"),
        f"{GUARDRAIL}.margin",
        "'10 %', expected a percent from 0 to 1000, such as 2% or 0.5",
    ),
    "margin in quotes": (guardrail(metric="errors", margin="10"), f"{GUARDRAIL}.margin", "such as 2% or 0.5"),
    "margin too fine": (
        guardrail(metric="errors", margin="0.0000001%"),
        f"{GUARDRAIL}.margin",
        "at most 6 decimals",
    ),
    "promotion for no margin": (
        guardrail(metric="errors", promotion_margin=0),
        f"{GUARDRAIL}.promotion_margin",
        "such as 2% or 0.5: that a canary is no worse at all can never be shown",
    ),
    "tolerance over": (guardrail(metric="errors", tolerance=101), f"{GUARDRAIL}.tolerance", "from 0 to 100"),
    "tolerance of latency": (
        guardrail(metric="latency", tolerance=1),
        f"{GUARDRAIL}.tolerance",
        "1, expected no tolerance: latency is compared as a whole",
    ),
    "slow without a threshold": (
        guardrail(metric="slow"),
        f"{GUARDRAIL}.threshold",
        "nothing, expected a duration such as 500ms: what takes longer is slow",
    ),
    "errors with a threshold": (
        guardrail(metric="errors", threshold="1s"),
        f"{GUARDRAIL}.threshold",
        "'1s', expected no threshold: metric slow has one, errors has none",
    ),
    "a threshold for feedback": (
        guardrail(metric="feedback", threshold="1s"),
        f"{GUARDRAIL}.threshold",
        "'1s', expected no threshold: metric slow has one, feedback has none",
    ),
    "threshold over": (
        guardrail(metric="slow", threshold="5m"),
        f"{GUARDRAIL}.threshold",
        "'5m', expected 1ms to 4m",
    ),
    "threshold without a unit": (
        guardrail(metric="slow", threshold=500),
        f"{GUARDRAIL}.threshold",
        "write 500s or 500ms, not 500",
    ),
    "one metric twice": (
        canary(
            {"guardrails": [{"metric": "errors"}, {"metric": "latency"}, {"metric": "errors", "margin": 5}]}
        ),
        f"{CANARY}.rollout.guardrails[2].metric",
        "'errors', expected a metric that no other guardrail has (guardrails[0] has it)",
    ),
    "one threshold twice": (
        canary({"guardrails": [{"metric": "slow", "threshold": t} for t in ("1s", "2s", "1000ms")]}),
        f"{CANARY}.rollout.guardrails[2].threshold",
        "'1000ms', expected a threshold that no other guardrail has (guardrails[0] has it)",
    ),
    "advisory alone": (
        canary({"guardrails": [{"metric": "errors", "advisory": True}]}),
        f"{CANARY}.rollout.guardrails",
        "advisory guardrails alone, expected one at least without advisory: true",
    ),
    "disagreement without a tolerance": (
        canary({"guardrails": [{"metric": "disagreement"}]}, shadows=[{"model": "two"}]),
        f"{GUARDRAIL}.tolerance",
        "nothing, expected a percent such as 2%: how many answers may differ",
    ),
    "disagreement without a shadow": (
        guardrail(metric="disagreement", tolerance=2),
        f"{GUARDRAIL}.metric",
        "expected copies for the canary's model to answer; add to the route: shadows: [{model: two, percent: 10}]",
    ),
    "disagreement with another's shadow": (
        canary({"guardrails": [{"metric": "disagreement", "tolerance": 2}]}, shadows=[{"model": "one"}]),
        f"{GUARDRAIL}.metric",
        "disagreement, and no shadow of two",
    ),
    "disagreement without copies": (
        canary(
            {"guardrails": [{"metric": "disagreement", "tolerance": 2}]},
            shadows=[{"model": "two", "percent": 0}],
        ),
        f"{GUARDRAIL}.metric",
        "a shadow of two that gets 0 percent, expected a percent above 0 for the shadow of two",
    ),
    "disagreement that nobody looks for": (
        canary(
            {"guardrails": [{"metric": "disagreement", "tolerance": 2}]},
            shadows=[{"model": "two"}],
        ).replace('"shadows"', '"compare":{"as":"none"},"shadows"'),
        f"{GUARDRAIL}.metric",
        "disagreement, and compare: {as: none}, expected answers that are compared: another compare.as than none",
    ),
    "weight and rollout": (
        canary({}, weight=5),
        f"{CANARY}.rollout",
        "a weight and a rollout, expected one of them: a rollout moves the weight by itself",
    ),
    "neither weight nor rollout": (
        canary(None),
        f"{CANARY}.weight",
        "neither a weight nor a rollout, expected a percent: a canary needs a weight (0 is allowed), or",
    ),
    "rollout of a challenger": (
        canary({}, role="challenger", weight=5),
        f"{CANARY}.rollout",
        "expected no rollout: only a canary has one (role: canary)",
    ),
    "rollout of the champion": (
        minimal(route={"variants": [{"name": "v1", "model": "one", "role": "champion", "rollout": {}}]}),
        "routes[0].variants[0].rollout",
        "expected no rollout: the champion gets what the others leave",
    ),
    "two rollouts": (
        canary({}, others=[{"name": "v3", "model": "two", "role": "canary", "rollout": {}}]),
        "routes[0].variants[2].rollout",
        "a second rollout, expected a weight: one variant of a route has a rollout (variants[1] does)",
    ),
    "step into another's weight": (
        canary({"steps": [1, 91, 100]}, others=[CHALLENGER]),
        f"{CANARY}.rollout.steps[1]",
        "91, expected at most 90, which the weights of the other variants (10) leave of 100; or 100 for all of that",
    ),
    "step into the holdback": (
        canary({"steps": [99], "holdback": "2%"}),
        f"{CANARY}.rollout.steps[0]",
        "99, expected at most 98, which the holdback (2) leave of 100; or 100 for all of that",
    ),
    "default step into both": (
        canary({"holdback": "45%"}, others=[CHALLENGER]),
        f"{CANARY}.rollout.steps",
        "50, of the default steps, expected at most 45, which the weights of the other variants (10) and",
    ),
    "nothing left to take": (
        canary({}, others=[{**CHALLENGER, "weight": 100}]),
        f"{CANARY}.rollout",
        "expected something to take: the weights of the other variants (100) leave nothing of 100",
    ),
    "webhooks as a mapping": (minimal(webhooks={}), "webhooks", "a mapping, expected a list"),
    "webhook as a URL": (minimal(webhooks=["https://h/"]), "webhooks[0]", "not shown, expected a mapping"),
    "webhook without a secret": (
        minimal(webhooks=[{"url": "https://h/"}]),
        "webhooks[0].secret",
        "nothing, expected the key secret here",
    ),
    "webhook with a short secret": (
        minimal(webhooks=[{"url": "https://h/", "secret": "short"}]),
        "webhooks[0].secret",
        "not shown, expected whsec_ and a key in base64, or 24 to 4096 visible ASCII characters",
    ),
    "webhook by mail": (
        minimal(webhooks=[{"url": "mailto:ops@h", "secret": "x" * 24}]),
        "webhooks[0].url",
        "not shown, expected a URL such as https://hooks.example/modelproxy",
    ),
    "webhook on what": (
        minimal(webhooks=[{"url": "https://h/", "secret": "x" * 24, "on": ["rolback"]}]),
        "webhooks[0].on",
        "one of ramp, promote, rollback, invalid, hold (did you mean rollback?)",
    ),
    "slow webhook": (
        minimal(webhooks=[{"url": "https://h/", "secret": "x" * 24, "timeout": "2m"}]),
        "webhooks[0].timeout",
        "'2m', expected 100ms to 1m",
    ),
    "too many webhooks": (
        minimal(webhooks=[{"url": "https://h/", "secret": "x" * 24}] * 17),
        "webhooks",
        "at most 16 entries",
    ),
}
"""Name → file, path of its problem, part of the sentence about it."""
