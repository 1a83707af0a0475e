"""Did the rollouts go as they should? Pure functions of :class:`~proxy.demo.trials.Trials`.

As in ``checks``, each holds numbers against each other that were counted apart: by the clients, by the model servers,
by the proxy's evidence and metrics, or written in its journal. Comparisons of counts are exact; the one statistical
one (the share of a step) says its bound.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import pairwise
from math import ceil, log, sqrt

from proxy.demo.checks import MAX_SIGMA, Check, compare, none_wrong
from proxy.demo.facts import Answer
from proxy.demo.story import CHAMPION, HOLD_S, RELEASES, STEPS
from proxy.demo.trials import Rehearsal, Steered, Trials

__all__ = ["TRIAL_CHECKS", "judge_trials"]

_BY_ROLE = {release.role: release.variant for release in RELEASES}
SKEWED, BROKEN, FIXED = _BY_ROLE["skewed"], _BY_ROLE["broken"], _BY_ROLE["fixed"]

FALSE_ROLLBACK = 0.01
"""As the plans have it, which is the default."""

MOST_EXPOSED = 200
"""Requests that a canary which fails every eighth of them may meet. By the bets it takes 20 to 60."""

BROKEN_COIN = 3.0
"""log10 e from which on the engine itself would call the coin broken."""

_CLOCKS_S = 0.1
"""The journal's clock is the wall's, a hold is timed by another, and both are read a moment apart."""

Judge = Callable[[Trials], Check]


def judge_trials(facts: Trials) -> list[Check]:
    """Return the result of every check that can be made, in the order in which they are shown."""
    return [check(facts) for check in TRIAL_CHECKS if check is not check_paper or facts.paper is not None]


def check_unnoticed(facts: Trials) -> Check:
    """Every client got a label with status 200, also where the canary raised."""
    failed = [f"{a.request_id}: {a.status} {a.error}" for a in facts.answers if a.error or a.status != 200]
    return none_wrong(
        "rollout_unnoticed",
        "no client's request failed, whatever the canaries did",
        failed,
        len(facts.answers),
    )


def check_counted(facts: Trials) -> Check:
    """Clients, metrics and model servers counted the same; what a canary failed the champion answered."""
    clients = Counter(answer.variant for answer in facts.answers)
    claimed, expected, got = facts.claims.by_variant(), {}, {}
    fallbacks = sum(facts.claims.fallbacks.values())
    arms = [(CHAMPION.variant, CHAMPION.model), *((each.variant, each.model) for each in RELEASES)]
    for variant, model in arms:
        books = facts.backends[model]
        answered = books.requests - books.failed
        expected[variant] = f"{answered} + {books.failed}"
        own = claimed.get((variant, model), 0)
        failed = facts.claims.fallbacks.get(variant, 0)
        if variant == CHAMPION.variant:
            own += fallbacks
        got[variant] = f"{clients[variant]} + {own - clients[variant]}"
        if failed != books.failed:
            got[variant] += f" with {failed} answered by {CHAMPION.variant}"
    return compare(
        "rollout_counted", "clients, proxy and models counted the same requests and failures", expected, got
    )


def check_rolled_back(facts: Trials) -> Check:
    """The engine took the build off that raises, for harm, with evidence beyond what it accepts by chance."""
    trial = facts.trial(BROKEN)
    moves = facts.steered(trial, "decision")
    enough = log(1 / FALSE_ROLLBACK)
    got = [(each.verdict, each.reason, each.by, each.harm >= enough) for each in moves]
    return compare(
        "rolled_back",
        f"{BROKEN} was rolled back by the engine alone, on evidence of 100 to 1 or more",
        [("rollback", "harm", "engine", True)],
        got,
    )


def check_soon(facts: Trials) -> Check:
    """It was gone before many had met it, by its own server's count."""
    trial = facts.trial(BROKEN)
    met, failed = trial.met.requests, trial.met.failed
    return Check(
        "rolled_back_soon",
        0 < failed <= met <= MOST_EXPOSED,
        f"it was gone before {MOST_EXPOSED} requests had met it",
        f"1 to {MOST_EXPOSED} requests, some of them failed",
        f"{met} requests, {failed} failed",
    )


def check_step(facts: Trials) -> Check:
    """No canary ever had more of the units than its step, and none more than the steps before it allow."""
    wrong, epochs = [], 0
    for trial in facts.trials:
        for epoch in trial.epochs:
            epochs += 1
            units = epoch.canary.units + epoch.champion.units
            share = epoch.canary_share
            most = ceil(share * units + MAX_SIGMA * sqrt(units * share * (1 - share)))
            if epoch.canary.units > most or not _is_step(100 * share):
                wrong.append(f"{trial.release.variant}: {epoch.canary.units} of {units} at {share:.1%}")
    return none_wrong("no_more_than_the_step", "no canary had more users than its step", wrong, epochs)


def _is_step(percent: float) -> bool:
    return any(abs(percent - step) < 1e-6 for step in (0, *STEPS))


def check_gone(facts: Trials) -> Check:
    """Once a canary was off in every worker, nobody met it: neither by the clients' count nor by its server's."""
    wrong, after = [], 0
    for trial in facts.trials:
        if trial.release.phase != "rolled_back":
            continue
        late = [a for a in facts.answers if a.at_s > trial.ended_s]
        after += len(late)
        variant, model = trial.release.variant, trial.release.model
        wrong += [f"{a.user} met {variant}" for a in late if a.variant == variant]
        more = facts.backends[model].requests - trial.met.requests
        if trial.phase != "rolled_back" or more:
            wrong.append(f"{variant} is {trial.phase}, {more} requests more")
    return none_wrong("nobody_left", "once off, a canary met nobody any more", wrong, after)


def check_evidence(facts: Trials) -> Check:
    """The evidence holds each request that a canary's server saw, and each that it failed."""
    expected, got = {}, {}
    for trial in facts.trials:
        variant, counted = trial.release.variant, trial.canary
        expected[variant] = f"{trial.met.requests}, {trial.met.failed} failed"
        got[variant] = f"{counted.requests}, {counted.failed} failed"
        # A first visit can be missed where two users share a cell of the map of units; never invented.
        if counted.units > len(trial.met.units):
            got[variant] += f", {counted.units} users, not {len(trial.met.units)}"
    return compare(
        "evidence_counted",
        "the evidence is what the models counted themselves, failures included",
        expected,
        got,
    )


def check_unmet(facts: Trials) -> Check:
    """The build that reads wrongly got copies alone: no client, no weight, and no move but a person's."""
    trial = facts.trial(SKEWED)
    moves = facts.steered(trial, "decision") + facts.steered(trial, "verb")
    held = any(each.reason == "disagreement" for each in facts.steered(trial, "note"))
    weights = sorted({weight for each in moves for weight in (each.from_weight, each.to_weight)}, key=str)
    got = {
        "requests": facts.backends[trial.release.model].requests,
        "copies": trial.met.shadow_requests > 0,
        "held for": "disagreement" if held else "nothing",
        "moves": ", ".join(each.verdict for each in moves),
        "weights": weights,
    }
    expected = {
        "requests": 0,
        "copies": True,
        "held for": "disagreement",
        "moves": "abort",
        "weights": [0.0],
    }
    return compare(
        "never_met", f"{SKEWED} was held at 0 % by its copies, and no client met it", expected, got
    )


def check_disagreement(facts: Trials) -> Check:
    """What the proxy counted of its copies is what the models' own books say, joined by request id.

    Each copy that the proxy says it gave up may hide one agreement or one disagreement, not more.
    """
    model = facts.trial(SKEWED).release.model
    claim, copies = facts.claims.shadow(model), facts.backends[model].shadow
    primary = facts.backends[CHAMPION.model].primary
    joined = Counter(
        "agree" if label == primary[request_id] else "disagree"
        for request_id, label in copies.items()
        if request_id in primary
    )
    missing = {result: joined[result] - claim.result(result) for result in ("agree", "disagree")}
    trial = facts.trial(SKEWED)
    is_within = all(0 <= each <= claim.given_up() for each in missing.values())
    return Check(
        "copies_counted",
        is_within and 0 < trial.disagreed <= joined["disagree"] and trial.compared <= joined.total(),
        "its disagreement is that of the models' own books",
        f"{joined['disagree']} of {joined.total()}, less {claim.given_up()} at most",
        f"{claim.result('disagree')} of {claim.outcome('compared')}; as evidence {trial.disagreed} of {trial.compared}",
    )


def check_rehearsed(facts: Trials) -> Check:
    """What each replay of the log counted is what log and model's books say, and it stopped the right build."""
    expected, got = {}, {}
    for variant, verdict in ((SKEWED, "refused"), (FIXED, "let through")):
        found = next((each for each in facts.rehearsals if each.variant == variant), Rehearsal(variant, -1))
        answered = facts.backends[facts.trial(variant).release.model].shadow
        joined = Counter(
            "agree" if answered.get(request_id) == label else "disagree"
            for request_id, label in found.logged.items()
        )
        expected[variant] = f"{joined['agree']} agree, {joined['disagree']} differ, {verdict}"
        said = "let through" if found.has_passed else "refused"
        got[variant] = f"{found.agree} agree, {found.disagree} differ, {said}"
        if not found.logged:
            got[variant] = "no request of the log was replayed"
    return compare(
        "rehearsed",
        "a replay of the log refused the build that reads wrongly, before any client",
        expected,
        got,
    )


def check_promoted(facts: Trials) -> Check:
    """The good build went up by itself, step after step, none left out."""
    trial = facts.trial(FIXED)
    moves = facts.steered(trial, "decision")
    verdicts = ["ramp"] * (len(STEPS) - 1) + ["promote"]
    expected = [
        (verdict, "engine", float(before), float(after))
        for verdict, before, after in zip(verdicts, (0, *STEPS), STEPS, strict=False)
    ]
    got = [(each.verdict, each.by, each.from_weight, each.to_weight) for each in moves]
    if facts.steered(trial, "verb"):
        got.append(("a person's word", "", None, None))
    return compare("promoted", f"{FIXED} was promoted by the engine alone, step by step", expected, got)


def check_held(facts: Trials) -> Check:
    """No step was shorter than the plan's hold."""
    wrong, steps = [], 0
    for trial in facts.trials:
        moves = facts.steered(trial, "decision")
        for before, after in pairwise(moves):
            steps += 1
            lasted_s = after.wall_s - before.wall_s
            if after.verdict in ("ramp", "promote") and lasted_s < HOLD_S - _CLOCKS_S:
                wrong.append(f"{after.from_weight:g} % of {trial.release.variant} took {lasted_s:.2f} s")
    return none_wrong("hold_kept", f"every step took {HOLD_S} s at least", wrong, steps)


def check_forward(facts: Trials) -> Check:
    """Visitors moved to the good build, and no one was moved back."""
    visits: dict[str, list[Answer]] = defaultdict(list)
    for answer in facts.answers:
        if answer.variant in (CHAMPION.variant, FIXED):
            visits[answer.user].append(answer)
    wrong, moved = [], 0
    for user, answers in visits.items():
        answers.sort(key=lambda answer: answer.at_s)
        since = next((a.at_s + a.latency_s for a in answers if a.variant == FIXED), None)
        if since is None:
            continue
        moved += answers[0].variant == CHAMPION.variant
        wrong += [
            f"{user} went back to {a.variant}" for a in answers if a.at_s > since and a.variant != FIXED
        ]
    return none_wrong("only_forward", f"visitors only ever moved towards {FIXED}", wrong, moved)


def check_coin(facts: Trials) -> Check:
    """The coin fell as the weights say, in every rollout."""
    found = [
        f"{t.release.variant}: 10^{t.allocation:.1f}" for t in facts.trials if t.allocation >= BROKEN_COIN
    ]
    return none_wrong("coin_fair", "units fell to the canaries as the weights say", found, len(facts.trials))


def check_journal(facts: Trials) -> Check:
    """Versions follow each other without a gap, and each decision names the file and the evidence it rests on."""
    moves = [each for each in facts.journal if each.event in ("decision", "verb")]
    versions = [*facts.versions]
    first = versions[0] if versions else 1
    wrong = [
        f"version {got} after {expected - 1}"
        for expected, got in enumerate(versions, first)
        if expected != got
    ]
    wrong += [f"version {each.version} names no {what}" for each in moves for what in _unnamed(each)]
    if versions and versions[-1] != facts.claims.config_version:
        wrong.append(f"the journal ends with {versions[-1]}, the metrics say {facts.claims.config_version}")
    return none_wrong(
        "journalled", "each move is a version and names its file and its evidence", wrong, len(moves)
    )


def _unnamed(line: Steered) -> list[str]:
    wanted = {"file": line.config_digest, "rollout": line.rollout}
    if line.event == "decision":
        wanted["evidence"] = line.evidence_digest
    return [what for what, digest in wanted.items() if not digest]


def check_metrics(facts: Trials) -> Check:
    """The metric of decisions is the journal's count of them, and the present weight its last word."""
    written = Counter(each.verdict for each in facts.journal if each.event == "decision")
    claimed = {name: facts.claims.decisions.get(name, 0) for name in ("ramp", "promote", "rollback")}
    expected = {name: written[name] for name in claimed}
    return compare("decisions_counted", "the metrics count the decisions of the journal", expected, claimed)


def check_paper(facts: Trials) -> Check:
    """The reports are written, and every decision came out the same when computed again from what is stored."""
    paper = facts.paper
    assert paper is not None, "only asked for where there is one"
    got = (bool(paper.paths), paper.verified)
    check = compare(
        "verified",
        "every decision, computed again from what is stored, has the same bytes",
        (True, True),
        got,
    )
    return (
        check if check.ok else Check(check.name, False, check.sentence, check.expected, f"{got} {paper.said}")
    )


TRIAL_CHECKS: tuple[Judge, ...] = (
    check_unnoticed,
    check_counted,
    check_evidence,
    check_rolled_back,
    check_soon,
    check_gone,
    check_unmet,
    check_disagreement,
    check_rehearsed,
    check_promoted,
    check_held,
    check_step,
    check_forward,
    check_coin,
    check_journal,
    check_metrics,
    check_paper,
)
