"""``modelproxy plan-experiment``: how long a rollout takes, and who meets a bad canary, before it begins."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp, isfinite, log
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from proxy.commands.asking import ask
from proxy.commands.output import CONFIG, as_json_option, fail, load_settings, print_json
from proxy.commands.status import fetch_status

if TYPE_CHECKING:
    from proxy.report.experiment import Outlook, Traffic
    from proxy.rollout.plan import Plan

__all__ = ["plan_experiment"]

MEASURE_S = 5.0
"""Between the two readings of a running proxy that its rate is told from."""

TIMEOUT_S = 5

_PER = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:/\s*(s|m|min|h|d))?")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%?")
_TIMES = re.compile(r"(\d+(?:\.\d+)?)\s*x")
_MORE = re.compile(r"\+\s*(\d+(?:\.\d+)?)\s*%")

_USUAL_ERRORS = 0.01
_USUAL_SPREAD = 0.5
_USUAL_BAD = 0.1
_USUAL_JUDGED = 0.1
_LEAST_REQUESTS = 1000
"""Of the champion, without which its rates are not taken from a running proxy."""

_Z95 = 1.6448536269514722


class _Matched(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.2 only
    """An option whose text has to match; what it is converted to is up to the subclass."""

    pattern: re.Pattern[str]
    example = ""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return what the text means."""
        if not isinstance(value, str):
            return value
        found = self.pattern.fullmatch(value.strip())
        result = None if found is None else self.read(found)
        if result is None:
            self.fail(f"expected {self.example}, got {value!r}", param, ctx)
        return result

    def read(self, found: "re.Match[str]") -> Any:
        """Return the value; None: it is out of range."""
        raise NotImplementedError


class _Rate(_Matched):
    name = "rate"
    pattern = _RATE
    example = "a rate above 0 such as 200/s, 12000/min or 90/h"

    def read(self, found: "re.Match[str]") -> float | None:
        rate = float(found[1]) / _PER[found[2] or "s"]
        return rate if 0 < rate < 1e7 else None


class _Percent(_Matched):
    name = "percent"
    pattern = _PERCENT
    example = "a percent from 0 to 99, such as 1%"

    def read(self, found: "re.Match[str]") -> float | None:
        share = float(found[1]) / 100
        return share if share <= 0.99 else None


class _Part(_Matched):
    name = "percent"
    pattern = _PERCENT
    example = "a percent above 0, such as 10%"

    def read(self, found: "re.Match[str]") -> float | None:
        share = float(found[1]) / 100
        return share if 0 < share <= 1 else None


class _Detect(_Matched):
    name = "difference"
    pattern = re.compile(f"{_TIMES.pattern}|{_MORE.pattern}")
    example = "how much worse: a factor above 1 such as 2x, or percent points such as +1%"

    def read(self, found: "re.Match[str]") -> tuple[float, float] | None:
        if found[1] is not None:
            return (float(found[1]), 0.0) if 1 < float(found[1]) <= 1000 else None
        added = float(found[2]) / 100
        return (2.0, added) if 0 < added < 1 else None


@dataclass(slots=True)
class _Observed:
    """What a running proxy tells of a route."""

    rate: float | None = None
    errors: float | None = None
    client_errors: float | None = None
    abandoned: float | None = None
    spread: float | None = None
    units: int | None = None
    judged: float | None = None
    bad_answers: float | None = None
    notes: list[str] = field(default_factory=list)


@click.command("plan-experiment")
@click.argument("config", type=CONFIG)
@click.argument("route")
@click.option("--admin", help="Admin address of a running proxy: take rate, error rates and users from it.")
@click.option("--rate", type=_Rate(), help="Requests of the route: 200/s, 12000/min, 90/h.")
@click.option("--error-rate", type=_Percent(), help="Percent of requests that the champion fails.")
@click.option("--judged", type=_Part(), help="Percent of answers that get feedback, for a guardrail on it.")
@click.option(
    "--bad-answers", type=_Percent(), help="Percent of the champion's judged answers that are called bad."
)
@click.option(
    "--units", type=click.IntRange(1), help="How many users (units) send them; default: one a request."
)
@click.option(
    "--detect",
    type=_Detect(),
    default="2x",
    show_default=True,
    help="How much worse a bad canary is: 2x as often or long, or +1% (percent points) of requests.",
)
@as_json_option
def plan_experiment(
    config: Path,
    route: str,
    admin: str | None,
    rate: float | None,
    error_rate: float | None,
    judged: float | None,
    bad_answers: float | None,
    units: int | None,
    detect: tuple[float, float],
    as_json: bool,
) -> None:
    """Say how the rollout of ROUTE in CONFIG would go: how long a good canary takes, and who meets a bad one.

    What is not given is asked of the proxy at --admin, or assumed; every assumption is named.

    \b
    Examples:
      modelproxy plan-experiment modelproxy.yaml wine --rate 200/s --error-rate 1%
      modelproxy plan-experiment modelproxy.yaml wine --admin http://127.0.0.1:9090 --detect +1%
    """
    from proxy.report.experiment import foresee
    from proxy.report.experiment_page import compile_outlook
    from proxy.report.markdown import render_markdown

    plan, copies = _plan(config, route)
    observed = _observe(admin, route) if admin is not None else _Observed()
    rate = rate if rate is not None else observed.rate
    if rate is None:
        raise click.UsageError(
            "give --rate, such as --rate 200/s, or --admin to take it from a running proxy"
        )
    observed.errors = error_rate if error_rate is not None else observed.errors
    observed.judged, observed.bad_answers = judged, bad_answers
    observed.units = units if units is not None else observed.units
    traffic, assumed = _traffic(plan, observed, rate, copies, detect)
    try:
        outlook = foresee(plan, traffic)
    except ValueError as error:
        raise fail(f"{route}: {error}") from None
    if as_json:
        print_json(_document(route, outlook, assumed))
    else:
        click.echo(render_markdown(compile_outlook(route, outlook, assumed)).encode(), nl=False)


def _plan(config: Path, name: str) -> "tuple[Plan, float]":
    """Return the plan of the route's rollout, and which part of its requests is copied to the canary's model."""
    from proxy.rollout.plan import plan_of

    settings = load_settings(config)
    route = next((each for each in settings.routes if each.name == name), None)
    if route is None:
        names = ", ".join(each.name for each in settings.routes)
        raise fail(f"{config}: no route is called {name}; there are: {names}")
    plan = plan_of(settings, route)
    if plan is None:
        raise fail(
            f"{config}: route {name} has no rollout; give a variant of role canary `rollout: {{}}` for its weight"
        )
    copies = sum(float(each.percent) for each in route.shadows if each.model == plan.canary.model)
    return plan, min(1.0, copies / 100)


def _traffic(
    plan: "Plan", observed: _Observed, rate: float, copies: float, detect: tuple[float, float]
) -> "tuple[Traffic, tuple[str, ...]]":
    from proxy.report.experiment import Traffic
    from proxy.report.needed import Model
    from proxy.settings import Metric

    metrics = {each.metric for each in plan.guardrails}
    assumed = list(observed.notes)
    rates = []
    known = {
        Metric.ERRORS: observed.errors,
        Metric.CLIENT_ERRORS: observed.client_errors,
        Metric.ABANDONED: observed.abandoned,
    }
    for metric in (*known, Metric.SLOW):
        value = known.get(metric)
        rates.append((metric, _USUAL_ERRORS if value is None else value))
        if value is None and metric in metrics:
            assumed.append(
                f"Assumed: {plan.champion.name} has 1 % of {metric}; --admin takes it from a running proxy."
            )
    if observed.spread is None and Metric.LATENCY in metrics:
        assumed.append(
            "Assumed: 95 % of answers come within 2.3 times the median latency; --admin takes it too."
        )
    if Metric.FEEDBACK in metrics:
        rates.append((Metric.FEEDBACK, _bad_answers(plan, observed, assumed)))
    if Metric.DISAGREEMENT in metrics:
        assumed.append("Assumed: a canary that is as good disagrees half as often as is tolerated.")
    tolerated = [each.tolerance or 0.0 for each in plan.guardrails if each.metric is Metric.DISAGREEMENT]
    factor, added = detect
    model = Model(
        tuple(rates),
        observed.spread or _USUAL_SPREAD,
        min(tolerated, default=0.02) / 2,
        factor,
        added,
        observed.judged or _USUAL_JUDGED,
    )
    return Traffic(rate, observed.units, copies, model), tuple(assumed)


def _bad_answers(plan: "Plan", observed: _Observed, assumed: list[str]) -> float:
    """Return the champion's share of bad answers; what is taken for granted of feedback goes to ``assumed``."""
    if observed.judged is None:
        assumed.append("Assumed: there is feedback on 10 % of answers; --judged says otherwise.")
    if observed.bad_answers is None:
        assumed.append(
            f"Assumed: 10 % of the judged answers of {plan.champion.name} are bad; --bad-answers says otherwise."
        )
    assumed.append("Assumed: feedback comes at once; one that comes hours later takes hours more.")
    return _USUAL_BAD if observed.bad_answers is None else observed.bad_answers


# From a running proxy


def _observe(admin: str, name: str) -> _Observed:
    from proxy.clock import monotonic, sleep

    before, started_s = _route_status(admin, name), monotonic()
    sleep(MEASURE_S)
    after, seconds = _route_status(admin, name), monotonic() - started_s
    observed = _Observed()
    requests = _requests(after) - _requests(before)
    if requests > 0:
        observed.rate = requests / seconds
        observed.notes.append(f"The rate is that of {seconds:.0f} seconds just now: {admin}.")
    champion = next((each for each in after["variants"] if each.get("role") == "champion"), None)
    if champion is not None and champion["requests"] >= _LEAST_REQUESTS:
        _take_rates(observed, champion)
    observed.units = _units(admin, name)
    return observed


def _route_status(admin: str, name: str) -> dict[str, Any]:
    routes = fetch_status(admin, name)["routes"]
    route: dict[str, Any] = routes[0]
    return route


def _requests(route: Mapping[str, Any]) -> int:
    return sum(int(each["requests"]) for each in route["variants"])


def _take_rates(observed: _Observed, champion: Mapping[str, Any]) -> None:
    total, codes = champion["requests"], champion.get("codes") or {}
    counted = {int(code): count for code, count in codes.items() if str(code).isdigit()}
    observed.errors = champion["errors"] / total
    observed.client_errors = sum(count for code, count in counted.items() if 400 <= code <= 498) / total
    observed.abandoned = counted.get(499, 0) / total
    middle, late = (champion["latency_ms"].get(name) for name in ("p50", "p95"))
    if middle and late and late > middle:
        observed.spread = max(0.05, log(late / middle) / _Z95)


def _units(admin: str, name: str) -> int | None:
    """Return about how many units there are, where they come again and again; None: no telling."""
    code, document = ask(admin, f"/api/v1/routes/{quote(name, safe='')}/rollout", timeout_s=TIMEOUT_S)
    evidence = document.get("evidence") if code == 200 and isinstance(document, dict) else None
    epochs = evidence.get("epochs", ()) if isinstance(evidence, dict) else ()
    variants = [each for epoch in epochs for each in epoch.get("variants", ())]
    requests, units = (sum(int(each.get(what, 0)) for each in variants) for what in ("requests", "units"))
    if units < 100 or requests < 1.1 * units:
        return None
    low, high = float(units), 1e12
    # Of N units that come alike, N (1 - exp(-n/N)) have come after n requests.
    for _ in range(200):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if middle * (1 - exp(-requests / middle)) < units else (low, middle)
    return round(high)


def _document(route: str, outlook: "Outlook", assumed: tuple[str, ...]) -> dict[str, Any]:
    from proxy.report.experiment_page import advice

    def number(value: float) -> float | None:
        return round(value, 3) if isfinite(value) else None

    traffic = outlook.traffic
    return {
        "route": route,
        "requests_per_second": traffic.rate,
        "units": traffic.units,
        "champion_rates": {str(metric): rate for metric, rate in traffic.model.rates},
        "detect": {"factor": traffic.model.factor, "added": traffic.model.added},
        "assumed": list(assumed),
        "promoted_after_s": number(outlook.seconds),
        "within_max_duration": outlook.fits,
        "steps": [
            {
                "weight": each.weight,
                "seconds": number(each.seconds),
                "because_of": each.why,
                "canary_requests": number(each.canary_requests),
            }
            for each in outlook.stages
        ],
        "shown": [
            {"guardrail": each.guardrail.name, "mean_s": number(each.mean_s), "p90_s": number(each.late_s)}
            for each in outlook.shown
        ],
        "rolled_back": [
            {
                "guardrail": each.guardrail.name,
                "mean_s": number(each.mean_s),
                "p90_s": number(each.late_s),
                "weight": each.weight,
                "canary_requests_mean": number(each.canary_requests),
                "canary_requests_p90": number(each.canary_late),
                "canary_units_mean": number(each.canary_units),
            }
            for each in outlook.found
        ],
        "dead_after_failures": [
            {"weight": weight, "failures": failures} for weight, failures in outlook.dead
        ],
        "advice": list(advice(outlook)),
    }
