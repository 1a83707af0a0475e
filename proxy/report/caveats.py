"""What was not tested: the questions that somebody might think the report has answered."""

from collections.abc import Iterator
from datetime import UTC, datetime

from proxy.plural import count
from proxy.report.facts import Facts, Judged
from proxy.report.pages import Block, Bullets, Heading
from proxy.report.words import duration, joined
from proxy.settings import Metric

__all__ = ["caveats"]

_FEW_UNITS = 1000
_STICKY = 1.5
"""Requests per unit from which on it is said that only units count."""

_DAY_S, _WEEK_S = 86_400, 604_800
_SECOND_NS = 1_000_000_000

_WATCHED = {
    Metric.ERRORS: "whether it fails requests (errors)",
    Metric.CLIENT_ERRORS: "whether it refuses more requests as mistakes of the client (client_errors)",
    Metric.ABANDONED: "whether more clients give up waiting (abandoned)",
    Metric.LATENCY: "whether it is slower (latency)",
}


def caveats(facts: Facts) -> list[Block]:
    """Return what the evidence says nothing about."""
    judged = facts.then
    items: list[str] = []
    if judged is not None:
        items += [*_metrics(judged), *_units(judged), *_hosts(judged), *_left_out(judged)]
        items += _hours(facts, judged)
    if facts.document.problem or not facts.document.kept:
        why = f": {facts.document.problem}" if facts.document.problem else ""
        items.append(f"Not all of the evidence is on the disk{why}.")
    return [Heading("What was not tested"), Bullets(tuple(items) or ("Nothing has been tested yet.",))]


def _metrics(judged: Judged) -> Iterator[str]:
    name, watched = judged.plan.canary.name, {each.metric for each in judged.plan.guardrails}
    missing = [text for metric, text in _WATCHED.items() if metric not in watched]
    if missing:
        yield f"No guardrail watched {joined(missing, 'or')}."
    yield _answers(judged)
    if Metric.DISAGREEMENT not in watched:
        yield f"Whether {name} answers the same as {judged.plan.champion.name}: no guardrail compared answers."
    elif not judged.plan.goes_above_noise:
        yield (
            f"How much of the disagreement is {judged.plan.champion.name}'s own: nobody asks it twice (compare.noise), "
            "and one that does not answer twice alike differs from any other."
        )
    advisory = [each.name for each in judged.plan.guardrails if each.advisory]
    if advisory:
        yield f"{joined(advisory)} only advised: nothing was decided by it."
    unknown = [each.name for each in judged.evidence.guardrails if not each.canary_total]
    if unknown:
        yield f"Nothing was counted yet for {joined(unknown)}."


def _answers(judged: Judged) -> str:
    name, found = judged.plan.canary.name, judged.evidence
    said = next((each for each in found.guardrails if each.metric is Metric.FEEDBACK), None)
    if said is None:
        return (
            f"Whether the answers of {name} are right: nothing here knows the right answers. That takes labels, which "
            "come later and from elsewhere, and a guardrail on feedback."
        )
    return (
        f"Whether the answers of {name} are right that nobody judged: feedback came for {said.canary_total:,} of its "
        f"{count(found.canary_units, 'unit')}. Nor whether those who judged were right."
    )


def _units(judged: Judged) -> Iterator[str]:
    found = judged.evidence
    units, requests = found.canary_units, found.canary_requests
    if units and requests / units >= _STICKY:
        yield (
            f"{count(requests, 'request')} to {judged.plan.canary.name} came from {count(units, 'unit')}. A unit "
            "always meets the same variant, so it counts once for each kind of event, by its first: more "
            "requests of the same units tell little more."
        )
    if units < _FEW_UNITS:
        yield f"{count(units, 'unit')} met {judged.plan.canary.name}: what is rare or small does not show yet."
    never = [each.name for each in found.guardrails if each.champion_total and not each.champion_events]
    never = ["bad feedback" if name == "feedback" else name for name in never]
    never = [name for name in never if name not in ("latency", "disagreement")]
    if never:
        champion = judged.plan.champion.name
        yield f"{champion} had no {joined(never)} at all, so how many times as often has no limit above."


def _hosts(judged: Judged) -> Iterator[str]:
    plan = judged.plan
    if any(each.metric in (Metric.LATENCY, Metric.SLOW) for each in plan.guardrails):
        single = " It has one server." if len(plan.canary.urls) == 1 else ""
        yield (
            f"Whether a difference in latency is the model's or its machine's: requests are dealt out by lot, machines "
            f"are not.{single} That is why a small difference has to last through many stretches of time before it "
            "rolls back; a difference that is the machine's and stays is taken for the model's."
        )


def _left_out(judged: Judged) -> Iterator[str]:
    if judged.plan.missing_unit == "champion":
        yield (
            "Requests without a unit: missing_unit is champion, so all of them go to the champion and none of them "
            "counts."
        )
    yield "Requests whose variant was forced by a header: nobody drew lots for them, so they do not count."
    if not judged.evidence.is_randomised:
        yield (
            "Everything was switched at once, so the comparison is with the time before, when other things may have "
            "differed."
        )


def _hours(facts: Facts, judged: Judged) -> Iterator[str]:
    begin_ns = judged.state.evidence_since_ns
    seconds = max(0, judged.now_ns - begin_ns) / _SECOND_NS
    try:
        begin, end = (datetime.fromtimestamp(ns // _SECOND_NS, UTC) for ns in (begin_ns, judged.now_ns))
    except (OverflowError, ValueError, OSError):
        return
    if seconds < _DAY_S:
        yield (
            f"Other hours: the evidence is from {duration(seconds)}, {begin:%A %H:%M} to {end:%A %H:%M} UTC; how "
            f"{facts.canary} does at other times of the day and the week was not seen."
        )
    elif seconds < _WEEK_S:
        yield f"Other days: the evidence is from {begin:%A} to {end:%A}; a whole week was not seen."
