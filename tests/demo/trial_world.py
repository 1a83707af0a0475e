"""Rollouts as a faultless proxy would have left them, made without any proxy."""

from collections import Counter
from dataclasses import replace

from proxy.demo.facts import Answer, Backend, Claims, ShadowClaim
from proxy.demo.story import RELEASES, STEPS, Release
from proxy.demo.trials import Counted, Epoch, Paper, Rehearsal, Steered, Trial, Trials

__all__ = ["BROKEN", "FIXED", "SKEWED", "TRIALS", "build_books"]

SKEWED, BROKEN, FIXED = RELEASES
START_S = {SKEWED.variant: 0.0, BROKEN.variant: 10.0, FIXED.variant: 20.0}
ENDED_S = {SKEWED.variant: 5.0, BROKEN.variant: 13.0, FIXED.variant: 35.0}
FAILED = 4
"""The broken build fails so many of the requests that meet it."""

CLIMB = ((22.0, 5), (25.0, 25), (28.0, 50), (33.0, 100))
"""When the good build gets which weight."""


def variant_of(number: int, at_s: float) -> str:
    """The variant that visitor ``number`` of a hundred is assigned at a moment."""
    weight, name = 0, ""
    if START_S[BROKEN.variant] <= at_s < ENDED_S[BROKEN.variant]:
        weight, name = STEPS[0], BROKEN.variant
    for since_s, step in CLIMB:
        if at_s >= since_s:
            weight, name = step, FIXED.variant
    return name if number < weight else "v1"


def build_answers() -> tuple[list[Answer], dict[str, str]]:
    """Return what the clients saw, and who was assigned by request id."""
    answers: list[Answer] = []
    assigned: dict[str, str] = {}
    for tick in range(35):
        for number in range(100):
            request_id, at_s = f"parcels-{len(answers):06d}", tick + number / 100
            assigned[request_id] = variant_of(number, at_s)
            is_failed = assigned[request_id] == BROKEN.variant and number < FAILED and tick == 10
            variant = "v1" if is_failed else assigned[request_id]
            answers.append(Answer(request_id, f"u{number}", number, 0, 0, variant, 200, 1, 0.002, "", at_s))
    return answers, assigned


def build_books(
    model: str, primary: dict[str, int | None], users: list[str], failed: int, copies: int
) -> Backend:
    """Return the books of one model; every second copy of the skewed one differs."""
    shadow = {
        f"parcels-{number:06d}": 1 + number % 2 if model == SKEWED.model else 1 for number in range(copies)
    }
    return Backend(model, len(primary), copies, 0, failed, 0, 0, Counter(users), primary, shadow)


def counted(
    answers: list[Answer], assigned: dict[str, str], span: tuple[float, float], begun_s: float, variant: str
) -> Counted:
    """Return what the evidence of a stretch of time has of ``variant``; a user counts once in a rollout."""
    own = [a for a in answers if span[0] <= a.at_s < span[1] and assigned[a.request_id] == variant]
    known = {a.user for a in answers if begun_s <= a.at_s < span[0]}
    return Counted(len(own), len({a.user for a in own} - known), sum(a.variant != variant for a in own))


def epochs_of(release: Release, answers: list[Answer], assigned: dict[str, str]) -> list[Epoch]:
    """Return the stretches of constant weights of one rollout."""
    edges = [(START_S[release.variant], 0)]
    if release is BROKEN:
        edges = [(START_S[release.variant], STEPS[0]), (ENDED_S[release.variant], 0)]
    if release is FIXED:
        edges += CLIMB
    found = []
    for number, (since_s, weight) in enumerate(edges):
        later = [at_s for at_s, _ in edges[number + 1 :]] or [
            START_S.get(f"v{int(release.variant[1]) + 1}", 99.0)
        ]
        span = (since_s, later[0])
        arms = (counted(answers, assigned, span, edges[0][0], name) for name in (release.variant, "v1"))
        found.append(Epoch(weight / 100, *arms))
    return found


def line(event: str, verdict: str, release: Release, **changes: object) -> Steered:
    """Return a line of the journal."""
    values: dict[str, object] = {
        "reason": "shown", "by": "engine", "version": 1, "wall_s": 0.0, "from_weight": 0.0, "to_weight": 0.0,
        "config_digest": "c0", "evidence_digest": "e0" if event != "verb" else "", "requests_exposed": 0,
        "units_exposed": 0, "harm": 0.0,
    }  # fmt: skip
    return Steered(event=event, verdict=verdict, rollout=f"id-{release.variant}", **{**values, **changes})  # type: ignore[arg-type]


def build_journal() -> list[Steered]:
    """Return what the proxy wrote of the rollouts."""
    lines = [
        line("note", "hold", SKEWED, reason="disagreement", version=2, from_weight=None, to_weight=None),
        line(
            "verb", "abort", SKEWED, by="admin 127.0.0.1", reason="it reads otherwise", version=3, wall_s=5.0
        ),
        line(
            "decision", "rollback", BROKEN, reason="harm", version=5, wall_s=13.0, from_weight=5.0, harm=10.3
        ),
    ]
    before = 0.0
    for number, (at_s, weight) in enumerate(CLIMB):
        verdict = "promote" if weight == 100 else "ramp"
        lines.append(
            line(
                "decision",
                verdict,
                FIXED,
                version=7 + number,
                wall_s=at_s,
                from_weight=before,
                to_weight=weight,
            )
        )
        before = float(weight)
    return lines


def build_trials() -> Trials:
    """Play three rollouts without any proxy: every number is what a faultless one would leave behind."""
    answers, assigned = build_answers()
    labels: dict[str, int | None] = {a.request_id: a.label for a in answers}
    backends = {}
    for release in RELEASES:
        own = {
            a.request_id: labels[a.request_id] for a in answers if assigned[a.request_id] == release.variant
        }
        users = [a.user for a in answers if a.request_id in own]
        copies = 500 if release is SKEWED else 20 if release is FIXED else 0
        failed = FAILED if release is BROKEN else 0
        backends[release.model] = build_books(release.model, own, users, failed, copies)
    first = {a.request_id: labels[a.request_id] for a in answers if a.variant == "v1"}
    backends["parcels-v1"] = build_books(
        "parcels-v1", first, [a.user for a in answers if a.variant == "v1"], 0, 0
    )
    requests = Counter((name, f"parcels-{name}", "200") for name in assigned.values())
    outcomes = {"eligible": 500, "sent": 500, "answered": 500, "compared": 500}
    claims = Claims(
        requests=requests,
        shadows={SKEWED.model: ShadowClaim(outcomes, {"agree": 250, "disagree": 250})},
        fallbacks={BROKEN.variant: FAILED},
        decisions={"ramp": 3, "promote": 1, "rollback": 1, "hold": 9},
        config_version=10,
    )
    logged: dict[str, int | None] = {f"replay-demo-{number:06d}": number % 10 for number in range(40)}
    rehearsals = []
    for release, wrong in ((SKEWED, 10), (FIXED, 1)):
        books = backends[release.model]
        replayed = {
            request_id: label if at >= wrong else -1 for at, (request_id, label) in enumerate(logged.items())
        }
        backends[release.model] = replace(
            books, shadow={**books.shadow, **replayed}, shadow_requests=books.shadow_requests + 40
        )
        code = int(release is SKEWED)
        rehearsals.append(Rehearsal(release.variant, code, 40, 40 - wrong, wrong, 0.0, 0.5, logged))
    trials = [
        Trial(
            release=release,
            rollout=f"id-{release.variant}",
            phase=release.phase,
            seconds=ENDED_S[release.variant] - START_S[release.variant],
            ended_s=ENDED_S[release.variant],
            epochs=epochs_of(release, answers, assigned),
            met=backends[release.model],
            compared=400 if release is SKEWED else 0,
            disagreed=200 if release is SKEWED else 0,
            allocation=-0.2,
        )
        for release in RELEASES
    ]
    paper = Paper(["report-v3.html", "report-v4.html", "report-v5.html"], True, "")
    return Trials(trials, answers, backends, claims, build_journal(), list(range(1, 11)), paper, rehearsals)


TRIALS = build_trials()
