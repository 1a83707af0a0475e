"""The outlook of a plan as a page: what it takes in time, in requests and in users, and what would take less."""

from dataclasses import replace
from math import isfinite

from proxy.plural import count
from proxy.report.experiment import Found, Outlook, Shown, Traffic, foresee, when_shown, with_steps
from proxy.report.pages import Block, Bullets, Heading, Page, Paragraph, Table
from proxy.report.words import amount, duration, joined, percent, times
from proxy.rollout.plan import Guardrail, Plan
from proxy.settings import Metric

__all__ = ["advice", "compile_outlook"]

_LADDERS = ((1, 5, 25, 50), (5, 25, 50), (10, 50), (50,))
_TOLERANCES = (0.005, 0.01, 0.02, 0.05)
_MARGINS = (0.5, 1.0)
_NS = 1e9
_SLOW_S = 86_400.0


def compile_outlook(route: str, outlook: Outlook, assumed: tuple[str, ...]) -> Page:
    """Return the outlook as a page.

    Args:
        route: its name.
        outlook: of the plan in the file.
        assumed: what had to be taken for true, a sentence each.
    """
    blocks: list[Block] = [
        Paragraph(_lead(outlook), lead=True),
        Bullets(_taken(outlook) + assumed),
        Heading("A canary that is as good"),
        *_good(outlook),
        Heading("A canary that is worse"),
        *_bad(outlook),
        Heading("Other steps"),
        *_others(outlook),
    ]
    if found := advice(outlook):
        blocks += [Heading("Advice"), Bullets(found)]
    return Page(f"Outlook of the rollout of {outlook.plan.canary.name} on route {route}", blocks)


def _lead(outlook: Outlook) -> str:
    name = outlook.plan.canary.name
    most = outlook.plan.max_duration_ns / _NS
    if not isfinite(outlook.seconds):
        never = [each.guardrail.name for each in outlook.shown if not isfinite(each.mean_s)]
        why = f"{joined(never)} can never be shown"
        if not isfinite(outlook.stages[-1].seconds) and outlook.stages[-1].why == "budget":
            why = f"the budget of errors never lets it leave {amount(outlook.stages[-1].weight)} %"
        good = f"By this plan {name} cannot be promoted, however good it is: {why}."
    elif outlook.fits:
        good = f"If {name} is as good, it is promoted after about {duration(outlook.seconds)}."
    else:
        good = (
            f"If {name} is as good, showing that takes about {duration(outlook.seconds)}, and max_duration is "
            f"{duration(most)}: the rollout ends before, by on_inconclusive."
        )
    worst = [each for each in outlook.found if isfinite(each.mean_s)]
    if not worst:
        return f"{good} A canary as bad as asked for is within the margins: it is not rolled back."
    last = max(worst, key=lambda each: each.canary_requests)
    return (
        f"{good} If it is as bad as asked for, it is rolled back after about {_requests(last.canary_requests)} of its "
        f"own, {duration(last.mean_s)} from the start, when only {last.guardrail.name} is worse."
    )


def _taken(outlook: Outlook) -> tuple[str, ...]:
    traffic, model = outlook.traffic, outlook.traffic.model
    users = (
        "every request counts as a user of its own" if traffic.units is None else f"{traffic.units:,} users"
    )
    rates = [
        f"{_event(each)} {percent(model.rate(each.metric))}"
        for each in outlook.plan.guardrails
        if each.metric not in (Metric.LATENCY, Metric.DISAGREEMENT)
    ]
    bad = f"{times(model.factor)} as often or long"
    if model.added:
        bad = f"in {percent(model.added)} of requests more (latency: {times(model.factor)} as long)"
    watched = f"; {outlook.plan.champion.name} has {joined(rates)}" if rates else ""
    return (
        f"Traffic: {amount(traffic.rate)} requests a second, {users}{watched}.",
        f"A canary counts as worse that does it {bad}.",
    )


def _event(guardrail: Guardrail) -> str:
    return "bad answers" if guardrail.metric is Metric.FEEDBACK else guardrail.name.replace("_", " ")


def _good(outlook: Outlook) -> list[Block]:
    stages = tuple(
        (
            f"{amount(each.weight)} %",
            duration(each.seconds),
            _why(each.why),
            _requests(each.canary_requests, ""),
        )
        for each in outlook.stages
    )
    shown = tuple(
        (each.guardrail.name, _asked(each.guardrail), duration(each.mean_s), duration(each.late_s))
        for each in outlook.shown
    )
    slowest = outlook.shown[0].guardrail.name if outlook.shown else "nothing"
    return [
        Table(("=step", ">lasts about", "because of", ">requests of the canary"), stages),
        Paragraph(f"What has to be shown before the promotion, and when it is; the slowest is {slowest}:"),
        Table(
            ("=guardrail", "shown to be worse by less than", ">on average", ">in 9 of 10 rollouts within"),
            shown,
        ),
    ]


def _why(why: str) -> str:
    return {
        "hold": "hold, the least time on each step",
        "budget": "the budget of errors for the next step",
        "reference": "the first answers to compare latency with",
    }.get(why, f"showing {why}" if not why[0].isdigit() else f"{why} at least")


def _asked(guardrail: Guardrail) -> str:
    if guardrail.metric is Metric.DISAGREEMENT:
        above = " above the champion's own noise" if guardrail.above_noise else ""
        return f"{percent(guardrail.tolerance or 0.0)} of copies{above} (tolerance)"
    text = f"{percent(guardrail.promotion_margin)} (promotion_margin)"
    return (
        f"{text}, or {percent(guardrail.tolerance)} of requests (tolerance)" if guardrail.tolerance else text
    )


def _bad(outlook: Outlook) -> list[Block]:
    rows = tuple(map(_found_row, outlook.found))
    blocks: list[Block] = [
        Paragraph("If the canary is worse in one guardrail and as good in the others:"),
        Table(
            (
                "=worse in", ">rolled back after", ">in 9 of 10 within", ">at step", ">requests it had",
                ">in 9 of 10 at most", ">users it met",
            ),
            rows,
        ),
    ]  # fmt: skip
    dead = [
        f"{amount(weight)} % after {failures}" for weight, failures in outlook.dead if failures is not None
    ]
    if dead:
        blocks.append(
            Paragraph(f"One that answers nothing but errors goes at {joined(dead)} failed requests.")
        )
    return blocks


def _found_row(found: Found) -> tuple[str, ...]:
    name = found.guardrail.name
    if not isfinite(found.mean_s):
        return (
            name,
            "never: too few users" if found.is_worse else "never: within the margin",
            "",
            "",
            "",
            "",
            "",
        )
    return (
        name,
        duration(found.mean_s),
        duration(found.late_s),
        f"{amount(found.weight)} %",
        _requests(found.canary_requests, ""),
        _requests(found.canary_late, ""),
        _requests(found.canary_units, ""),
    )


def _others(outlook: Outlook) -> list[Block]:
    room = float(outlook.plan.most)
    own = tuple(map(float, outlook.plan.ladder))
    ladders = [each for each in _LADDERS if each[-1] < room and tuple(map(float, each)) != own]
    rows = [_steps_row(outlook, "as in the file")]
    rows += [
        _steps_row(foresee(with_steps(outlook.plan, each), outlook.traffic), _named(each)) for each in ladders
    ]
    return [
        Paragraph(
            "The more traffic a canary has, the sooner both are known, and the more requests a bad one has had:"
        ),
        Table(
            ("=steps", ">good: promoted after", ">bad: rolled back after", ">requests a bad one had"),
            tuple(rows),
        ),
    ]


def _named(ladder: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, (*ladder, 100)))}]"


def _steps_row(outlook: Outlook, name: str) -> tuple[str, ...]:
    worst = [each for each in outlook.found if isfinite(each.mean_s)]
    last = max(worst, key=lambda each: each.canary_requests) if worst else None
    return (
        name,
        duration(outlook.seconds),
        "never" if last is None else duration(last.mean_s),
        "–" if last is None else _requests(last.canary_requests, ""),
    )


def _requests(number: float, noun: str = "request") -> str:
    if not isfinite(number):
        return "without limit"
    rounded = float(f"{number:.3g}")
    return count(max(1, round(rounded)), noun)


def advice(outlook: Outlook) -> tuple[str, ...]:
    """Return what to change, and what it brings, in plain sentences; nothing where the plan does well."""
    found = []
    limit = outlook.plan.max_duration_ns / _NS
    for each in outlook.shown:
        if each.mean_s > min(limit, _SLOW_S):
            found.append(_advised(outlook, each))
    budgeted = [s for s in outlook.stages if s.why == "budget" and s.seconds > 4 * outlook.plan.hold_ns / _NS]
    if budgeted:
        longest = max(budgeted, key=lambda stage: stage.seconds)
        found.append(
            f"The step of {amount(longest.weight)} % waits {duration(longest.seconds)} for the budget: a larger "
            "excess_errors, or a step in between, is sooner."
        )
    thin = [s for s in outlook.stages if s.why[0].isdigit() or s.why == "reference"]
    empty = [s for s in thin if s.seconds > 4 * outlook.plan.hold_ns / _NS]
    if empty:
        found.append(
            f"The step of {amount(empty[0].weight)} % waits {duration(empty[0].seconds)} for enough users: begin with "
            "a larger step."
        )
    if isfinite(outlook.seconds) and not outlook.fits and not found:
        found.append(f"Set max_duration to {duration(2 * outlook.seconds)} or more.")
    traffic = outlook.traffic
    if traffic.units is not None and any(not isfinite(each.mean_s) for each in outlook.shown):
        found.append(
            f"Each of the {traffic.units:,} users counts once: when all have been met, waiting longer shows nothing "
            "more. A larger last step, or a wider margin, does."
        )
    return tuple(found)


def _advised(outlook: Outlook, shown: Shown) -> str:
    guardrail, name = shown.guardrail, shown.guardrail.name
    takes = f"takes {duration(shown.mean_s)}" if isfinite(shown.mean_s) else "never comes to an end"
    if guardrail.metric is Metric.DISAGREEMENT:
        if not outlook.traffic.copies:
            return f"{name} {takes}: no shadow of this route copies requests to {outlook.plan.canary.model}; add one."
        more = "copy more requests (shadows.percent)"
        if guardrail.above_noise:
            more += ", ask the champion twice for more of them (compare.noise)"
        return f"{name} {takes}: {more}, or tolerate more than {_asked(guardrail)}."
    lead = f"At {amount(outlook.traffic.rate)} requests a second, showing {name} within {_asked(guardrail)} {takes}"
    better = _better(outlook.plan, outlook.traffic, guardrail, outlook.plan.max_duration_ns / _NS)
    if better is None:
        return f"{lead}; no margin that means something is sooner: decide by hand, or by another metric."
    change, seconds = better
    return f"{lead}: use {change}, which takes {duration(seconds)}."


def _better(plan: Plan, traffic: Traffic, guardrail: Guardrail, limit_s: float) -> tuple[str, float] | None:
    """Return the least change that gets it within the limit, else the one that gets nearest."""
    options: list[tuple[str, Guardrail]] = []
    if guardrail.metric is not Metric.LATENCY:
        options += [
            (f"tolerance: {percent(each)}".replace(" %", "%"), replace(guardrail, tolerance=each))
            for each in _TOLERANCES
            if each > (guardrail.tolerance or 0.0)
        ]
    options += [
        (f"promotion_margin: {percent(each)}".replace(" %", "%"), replace(guardrail, promotion_margin=each))
        for each in _MARGINS
        if each > guardrail.promotion_margin
    ]
    tried = []
    for text, option in options:
        changed = tuple(option if each.name == guardrail.name else each for each in plan.guardrails)
        seconds = when_shown(replace(plan, guardrails=changed), traffic, guardrail.name)
        if seconds <= limit_s:
            return text, seconds
        tried.append((text, seconds))
    best = min(tried, key=lambda each: each[1], default=None)
    return best if best is not None and isfinite(best[1]) else None
