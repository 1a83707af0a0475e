"""Each check of the rollouts holds in a world without faults and fails in the one made for it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from proxy.demo.checks import Check
from proxy.demo.facts import ShadowClaim
from proxy.demo.story import Release
from proxy.demo.trial_checks import TRIAL_CHECKS, judge_trials
from proxy.demo.trials import Counted, Paper, Steered, Trials
from tests.demo.trial_world import BROKEN, FIXED, SKEWED, TRIALS


def named(facts: Trials) -> dict[str, Check]:
    """Results by name."""
    return {check.name: check for check in judge_trials(facts)}


def with_answer(index: int, **changes: Any) -> Trials:
    """The world with one answer seen differently by its client."""
    answers = list(TRIALS.answers)
    answers[index] = replace(answers[index], **changes)
    return replace(TRIALS, answers=answers)


def with_trial(release: Release, **changes: Any) -> Trials:
    """The world with one trial changed."""
    trials = [replace(each, **changes) if each.release is release else each for each in TRIALS.trials]
    return replace(TRIALS, trials=trials)


def with_books(release: Release, **changes: Any) -> Trials:
    """The world with one model's books changed in the end."""
    backends = {**TRIALS.backends, release.model: replace(TRIALS.backends[release.model], **changes)}
    return replace(TRIALS, backends=backends)


def with_met(release: Release, **changes: Any) -> Trials:
    """The world with one model's books changed as they were when its evidence had come to rest."""
    return with_trial(release, met=replace(TRIALS.trial(release.variant).met, **changes))


def with_rehearsal(index: int, **changes: Any) -> Trials:
    """The world with one replay changed."""
    rehearsals = list(TRIALS.rehearsals)
    rehearsals[index] = replace(rehearsals[index], **changes)
    return replace(TRIALS, rehearsals=rehearsals)


def with_claims(**changes: Any) -> Trials:
    """The world with other claims of the proxy."""
    return replace(TRIALS, claims=replace(TRIALS.claims, **changes))


def with_line(said: str, release: Release, **changes: Any) -> Trials:
    """The world with the first line of a verdict changed."""
    lines = list(TRIALS.journal)
    index = next(i for i, each in enumerate(lines) if is_of(each, said, release))
    lines[index] = replace(lines[index], **changes)
    return replace(TRIALS, journal=lines)


def without_line(verdict: str, release: Release) -> Trials:
    """The world without the lines of a verdict."""
    return replace(TRIALS, journal=[each for each in TRIALS.journal if not is_of(each, verdict, release)])


def is_of(line: Steered, verdict: str, release: Release) -> bool:
    """Tell whether a line is about a release and says that."""
    return (line.verdict, line.rollout) == (verdict, f"id-{release.variant}")


def with_epoch(release: Release, number: int, **changes: Any) -> Trials:
    """The world with one stretch of a trial changed."""
    epochs = list(TRIALS.trial(release.variant).epochs)
    epochs[number] = replace(epochs[number], **changes)
    return with_trial(release, epochs=epochs)


def moved_back() -> Trials:
    """A visitor who had met the good build meets the champion again."""
    index = max(i for i, a in enumerate(TRIALS.answers) if a.user == "u1" and a.variant == FIXED.variant)
    return with_answer(index, variant="v1")


def nobody_moves() -> Trials:
    """No client ever says that it met the good build."""
    return replace(TRIALS, answers=[replace(a, variant="v1") for a in TRIALS.answers])


def without_evidence() -> Trials:
    """Nothing was counted of any canary."""
    return replace(TRIALS, trials=[replace(each, epochs=()) for each in TRIALS.trials])


LAST = len(TRIALS.answers) - 1
A_FEW = Counted(20, 20, 0)

BROKEN_WORLDS: list[tuple[str, str, Callable[[], Trials]]] = [
    ("a request failed", "rollout_unnoticed", lambda: with_answer(3, status=500, error="500")),
    ("there were no requests", "rollout_unnoticed", lambda: replace(TRIALS, answers=())),
    ("a client met another", "rollout_counted", lambda: with_answer(3, variant="v5")),
    ("the proxy counted one more", "rollout_counted", lambda: with_claims(requests={("v1", "parcels-v1", "200"): 9})),
    ("a failure was not caught", "rollout_counted", lambda: with_claims(fallbacks={"v4": 3})),
    ("a model saw one more", "rollout_counted", lambda: with_books(FIXED, requests=1)),
    ("it was not rolled back", "rolled_back", lambda: without_line("rollback", BROKEN)),
    ("a person did it", "rolled_back", lambda: with_line("rollback", BROKEN, by="admin")),
    ("for another reason", "rolled_back", lambda: with_line("rollback", BROKEN, reason="inconclusive")),
    ("on too little", "rolled_back", lambda: with_line("rollback", BROKEN, harm=4.6)),
    ("many met it", "rolled_back_soon", lambda: with_met(BROKEN, requests=201)),
    ("it failed nothing", "rolled_back_soon", lambda: with_met(BROKEN, failed=0)),
    ("too many at once", "no_more_than_the_step", lambda: with_epoch(BROKEN, 0, canary=A_FEW)),
    ("a weight that is no step", "no_more_than_the_step", lambda: with_epoch(FIXED, 1, canary_share=0.1)),
    ("there is no evidence", "no_more_than_the_step", without_evidence),
    ("somebody met it later", "nobody_left", lambda: with_answer(LAST, variant=BROKEN.variant)),
    ("its server saw one more", "nobody_left", lambda: with_books(BROKEN, requests=16)),
    ("it was left on", "nobody_left", lambda: with_trial(BROKEN, phase="ramping")),
    ("evidence lost a request", "evidence_counted", lambda: with_met(FIXED, requests=9)),
    ("evidence lost a failure", "evidence_counted", lambda: with_met(BROKEN, failed=5)),
    ("evidence invented a user", "evidence_counted", lambda: with_met(BROKEN, units={"u1": 15})),
    ("a client met it", "never_met", lambda: with_books(SKEWED, requests=1)),
    ("it got no copies", "never_met", lambda: with_met(SKEWED, shadow_requests=0)),
    ("nothing held it", "never_met", lambda: without_line("hold", SKEWED)),
    ("the engine raised it", "never_met", lambda: with_line("abort", SKEWED, event="decision", verdict="ramp")),
    ("it had a weight", "never_met", lambda: with_line("abort", SKEWED, from_weight=5.0)),
    ("one disagreement too many", "copies_counted", lambda: with_claims(
        shadows={SKEWED.model: ShadowClaim({"compared": 500}, {"agree": 249, "disagree": 251})})),
    ("evidence has more of them", "copies_counted", lambda: with_trial(SKEWED, disagreed=251)),
    ("evidence has none", "copies_counted", lambda: with_trial(SKEWED, disagreed=0)),
    ("it was not promoted", "promoted", lambda: without_line("promote", FIXED)),
    ("a step was left out", "promoted", lambda: with_line("ramp", FIXED, to_weight=25.0)),
    ("a person helped", "promoted", lambda: with_line("promote", FIXED, by="admin")),
    ("a person spoke", "promoted", lambda: with_line("promote", FIXED, event="verb")),
    ("a step was cut short", "hold_kept", lambda: with_line("promote", FIXED, wall_s=29.0)),
    ("there were no steps", "hold_kept", lambda: replace(TRIALS, journal=())),
    ("a visitor moved back", "only_forward", moved_back),
    ("nobody moved", "only_forward", nobody_moves),
    ("the coin is broken", "coin_fair", lambda: with_trial(FIXED, allocation=3.5)),
    ("a version is missing", "journalled", lambda: replace(TRIALS, versions=[1, 2, 4])),
    ("the metric lags", "journalled", lambda: with_claims(config_version=9)),
    ("a decision names no evidence", "journalled", lambda: with_line("promote", FIXED, evidence_digest="")),
    ("a decision names no file", "journalled", lambda: with_line("promote", FIXED, config_digest="")),
    ("nothing was journalled", "journalled", lambda: replace(TRIALS, journal=())),
    ("a decision is not counted", "decisions_counted", lambda: with_claims(decisions={"ramp": 3, "promote": 1})),
    ("a decision is counted twice", "decisions_counted", lambda: with_claims(
        decisions={"ramp": 4, "promote": 1, "rollback": 1})),
    ("a decision comes out otherwise", "verified", lambda: replace(TRIALS, paper=Paper(["a"], False, "differs"))),
    ("a replay let the wrong build through", "rehearsed", lambda: with_rehearsal(0, exit_code=0)),
    ("a replay stopped the good build", "rehearsed", lambda: with_rehearsal(1, exit_code=1)),
    ("a replay counted otherwise", "rehearsed", lambda: with_rehearsal(0, agree=31, disagree=9)),
    ("a replay found nothing", "rehearsed", lambda: with_rehearsal(0, logged={}, agree=0, disagree=0)),
    ("nothing was replayed", "rehearsed", lambda: replace(TRIALS, rehearsals=())),
    ("no report was written", "verified", lambda: replace(TRIALS, paper=Paper([], True, ""))),
]  # fmt: skip


@pytest.mark.parametrize("check", judge_trials(TRIALS), ids=lambda check: check.name)
def test_every_check_holds_in_a_faultless_world(check: Check) -> None:
    """A world whose numbers all agree passes."""
    assert check.ok, check


@pytest.mark.parametrize(
    ("name", "build"), [row[1:] for row in BROKEN_WORLDS], ids=[row[0] for row in BROKEN_WORLDS]
)
def test_a_check_fails_in_the_world_made_for_it(name: str, build: Callable[[], Trials]) -> None:
    """Each broken world fails at least the check that is about it."""
    check = named(build())[name]
    assert not check.ok
    assert check.expected != check.got


def test_every_check_has_a_world_that_breaks_it() -> None:
    """No check is only ever seen to pass."""
    assert {name for _, name, _ in BROKEN_WORLDS} == {check.name for check in judge_trials(TRIALS)}
    assert len(TRIAL_CHECKS) == len({check.name for check in judge_trials(TRIALS)})


def test_copies_given_up_may_hide_that_many_disagreements() -> None:
    """With three copies not compared, disagreement may lack three at most."""
    outcomes = {"compared": 497, "comparison_dropped": 3}
    for missing, ok in ((3, True), (4, False)):
        claim = ShadowClaim(outcomes, {"agree": 250, "disagree": 250 - missing})
        assert named(with_claims(shadows={SKEWED.model: claim}))["copies_counted"].ok is ok


def test_the_wall_clock_may_differ_a_little() -> None:
    """A hold that the journal's clock shows a moment short is kept."""
    assert named(with_line("promote", FIXED, wall_s=29.95))["hold_kept"].ok


def test_without_reports_none_is_claimed() -> None:
    """What was not tried is not shown as true."""
    assert "verified" not in named(replace(TRIALS, paper=None))
