"""Each check holds in a world without faults and fails in the one world made for it."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from proxy.demo.checks import CHECKS, Check, joined_agreement, judge
from proxy.demo.facts import Claims, Facts, Histogram
from tests.demo.demo_world import USERS, WEIGHTS, WORLD, label_of, variant_of


def named(facts: Facts) -> dict[str, Check]:
    """Results by name."""
    return {check.name: check for check in judge(facts)}


def with_answer(index: int, **changes: Any) -> Facts:
    """The world with one answer seen differently by its client."""
    answers = list(WORLD.answers)
    answers[index] = replace(answers[index], **changes)
    return replace(WORLD, answers=answers)


def with_backend(model: str, **changes: Any) -> Facts:
    """The world with one model server's books changed."""
    return replace(WORLD, backends={**WORLD.backends, model: replace(WORLD.backends[model], **changes)})


def with_claims(**changes: Any) -> Facts:
    """The world with other claims of the proxy."""
    return replace(WORLD, claims=replace(WORLD.claims, **changes))


def with_shadow(
    model: str, outcomes: dict[str, int] | None = None, results: dict[str, int] | None = None
) -> Facts:
    """The world with some outcomes or results of a shadow changed by the given amounts."""
    claim = WORLD.claims.shadows[model]
    changed = replace(
        claim,
        outcomes={**claim.outcomes, **_moved(claim.outcomes, outcomes or {})},
        results={**claim.results, **_moved(claim.results, results or {})},
    )
    return with_claims(shadows={**WORLD.claims.shadows, model: changed})


def _moved(counts: Mapping[str, int], by: dict[str, int]) -> dict[str, int]:
    return {name: counts.get(name, 0) + amount for name, amount in by.items()}


def with_requests(key: tuple[str, str, str], amount: int) -> Facts:
    """The world with one request count of the proxy changed by ``amount``."""
    requests = dict(WORLD.claims.requests)
    requests[key] = requests.get(key, 0) + amount
    return with_claims(requests=requests)


def with_step(index: int, **changes: Any) -> Facts:
    """The world with one step changed."""
    steps = list(WORLD.steps)
    steps[index] = replace(steps[index], **changes)
    return replace(WORLD, steps=steps)


def with_line(**changes: Any) -> Facts:
    """The world with the first line of the log changed."""
    return replace(WORLD, log=(replace(WORLD.log[0], **changes), *WORLD.log[1:]))


def nobody_moves() -> Facts:
    """The canary's weight changed and every client still met what it met before."""
    stuck = [replace(a, variant=variant_of(int(a.user[1:]), WEIGHTS[0])) for a in WORLD.answers]
    return replace(WORLD, answers=stuck)


def other_labels(model: str) -> Facts:
    """The model's second answer to the first request differs from its first."""
    shadow = dict(WORLD.backends[model].shadow)
    first = next(a for a in WORLD.answers if a.variant == "v1")
    shadow[first.request_id] = 99
    return with_backend(model, shadow=shadow)


def tame_canary() -> Facts:
    """The canary answers as the champion does."""
    backend = WORLD.backends["m3"]
    rows = {a.request_id: a.row for a in WORLD.answers}
    return with_backend("m3", primary={i: label_of("m1", rows[i]) for i in backend.primary})


def moved_to_v1(user: str) -> Facts:
    """In the second step ``user`` met the champion, whatever it met before."""
    moved = [replace(a, variant="v1") if a.user == user and a.earliest == 1 else a for a in WORLD.answers]
    return replace(WORLD, answers=moved)


def without_reloads() -> Facts:
    """Only the first step was played."""
    return replace(WORLD, steps=WORLD.steps[:1], answers=[a for a in WORLD.answers if a.earliest == 0])


def with_unit(model: str, user: str) -> Facts:
    """The world with one more request of ``user`` in the books of ``model``."""
    units = Counter(WORLD.backends[model].units)
    units[user] += 1
    return with_backend(model, units=units)


def with_agreement(model: str, variant: str, amount: int) -> Facts:
    """The world with one variant's agreement changed by ``amount``."""
    counts = WORLD.by_variant[model, variant]
    changed = {**counts, "agree": counts["agree"] + amount}
    return replace(WORLD, by_variant={**WORLD.by_variant, (model, variant): changed})


def with_histogram(variant: str, amount: int) -> Facts:
    """The world with the observations of one histogram changed by ``amount``."""
    total = WORLD.claims.durations[variant].total + amount
    changed = Histogram((0.01, float("inf")), (total, total))
    return with_claims(durations={**WORLD.claims.durations, variant: changed})


ONE_LESS = {"eligible": -1, "sent": -1, "answered": -1, "compared": -1}
USER_50_STEP_0 = 50

BROKEN: list[tuple[str, str, Callable[[], Facts]]] = [
    ("a request failed", "no_failures", lambda: with_answer(3, status=502, error="502")),
    ("a request had no answer", "no_failures", lambda: with_answer(3, error="TimeoutError")),
    ("there were no requests", "no_failures", lambda: replace(WORLD, answers=())),
    ("the proxy counted a fault", "no_faults", lambda: with_claims(faults={"m2": 1})),
    ("a model refused", "no_faults", lambda: with_backend("m2", refused=1)),
    ("a model raised", "no_faults", lambda: with_backend("m2", failed=1)),
    ("a model saw a retry", "no_faults", lambda: with_backend("m1", repeated=1)),
    ("a model forgot", "no_faults", lambda: with_backend("m1", forgotten=1)),
    ("the proxy counted one more", "requests_counted", lambda: with_requests(("v1", "m1", "200"), 1)),
    ("the proxy counted one less", "requests_counted", lambda: with_requests(("v3", "m3", "200"), -1)),
    ("the proxy counted an unknown arm", "requests_counted", lambda: with_requests(("v1", "m9", "200"), 1)),
    ("a model counted one more", "requests_counted", lambda: with_backend("m2", requests=61)),
    ("an answer without the header", "requests_counted", lambda: with_answer(0, variant="")),
    ("the proxy counted another code", "status_codes", lambda: with_requests(("v1", "m1", "500"), 1)),
    ("another model answered", "header_true", lambda: with_answer(USER_50_STEP_0, variant="v2")),
    ("the label changed on the way", "header_true", lambda: with_answer(USER_50_STEP_0, label=11)),
    ("the model never saw the request", "header_true", lambda: with_answer(USER_50_STEP_0, request_id="x")),
    ("a model saw a user once more", "users_counted", lambda: with_unit("m1", "u050")),
    ("a model saw a stranger", "users_counted", lambda: with_unit("m4", "stranger")),
    ("a histogram lost one", "durations_counted", lambda: with_histogram("v1", -1)),
    ("a histogram is missing", "durations_counted", lambda: with_claims(durations={})),
    ("a user met two variants", "sticky", lambda: with_answer(USER_50_STEP_0, variant="v2")),
    ("a user met the wrong variant", "assigned_as_computed", lambda: with_answer(USER_50_STEP_0, variant="v3")),
    ("a challenger's user moved", "movers", lambda: moved_to_v1("u095")),
    ("a user left a rising canary", "movers", lambda: moved_to_v1("u001")),
    ("nobody moved", "moved_share", nobody_moves),
    ("there was no reload", "moved_share", without_reloads),
    ("somebody met the canary at 0 %", "canary_empty", lambda: with_answer(-100, variant="v3")),
    ("the canary was left in", "canary_empty", lambda: with_step(2, canary_weight=1.0)),
    ("a version was skipped", "versions", lambda: with_step(2, config_version=10)),
    ("the metric lags", "versions", lambda: with_claims(config_version=8)),
    ("the last reload failed", "versions", lambda: with_claims(reload_successful=False)),
    ("eligible and not accounted", "shadow_accounts", lambda: with_shadow("m4", {"sent": -1})),
    ("sent and not accounted", "shadow_accounts", lambda: with_shadow("m4", {"answered": -1})),
    ("answered and not accounted", "shadow_accounts", lambda: with_shadow("m4", {"compared": -1})),
    ("compared and neither", "shadow_accounts", lambda: with_shadow("m4", None, {"agree": -1})),
    ("a request was not eligible", "shadow_accounts", lambda: with_shadow("m4", ONE_LESS, {"agree": -1})),
    ("a shadow is not counted", "shadow_accounts", lambda: with_claims(shadows={})),
    ("a model got one shadow more", "shadows_received", lambda: with_backend("m4", shadow_requests=601)),
    ("a model got an unsent shadow", "shadows_received", lambda: with_backend("m2", shadow_requests=1)),
    ("one agreement too many", "agreement", lambda: with_shadow("m4", None, {"agree": 1, "disagree": -1})),
    ("one disagreement too many", "agreement", lambda: with_shadow("m1", None, {"agree": -1, "disagree": 1})),
    ("one comparison too few", "agreement", lambda: with_shadow("m1", {"compared": -1}, {"agree": -1})),
    ("an agreement of another variant", "agreement_by_variant", lambda: with_agreement("m4", "v2", 1)),
    ("a variant is not compared", "agreement_by_variant", lambda: replace(WORLD, by_variant={})),
    ("the champion changed its mind", "noise_floor", lambda: other_labels("m1")),
    ("the canary has no defect", "defect_found", tame_canary),
    ("the canary had no traffic", "defect_found", lambda: with_backend("m3", primary={})),
    ("a line is missing", "log_counted", lambda: replace(WORLD, log=WORLD.log[1:])),
    ("a line was not claimed", "log_counted", lambda: with_claims(payload={"written": len(WORLD.log) - 1})),
    ("a line of a user not sampled", "log_counted", lambda: replace(WORLD, logged_users=frozenset(USERS[40:49]))),
    ("a line of nobody", "log_true", lambda: with_line(request_id="nobody")),
    ("a line with another variant", "log_true", lambda: with_line(variant="v2")),
    ("a line with another label", "log_true", lambda: with_line(body_label=99)),
    ("a line of another version", "log_true", lambda: with_line(config_version=8)),
    ("a line with the user in clear", "log_true", lambda: with_line(unit="u040")),
    ("two hashes for a user", "log_true", lambda: with_line(unit="another")),
    ("the proxy did not drain", "drained", lambda: replace(WORLD, proxy_exit=-9)),
]  # fmt: skip


@pytest.mark.parametrize("check", judge(WORLD), ids=lambda check: check.name)
def test_every_check_holds_in_a_faultless_world(check: Check) -> None:
    """A world whose numbers all agree passes."""
    assert check.ok, check


@pytest.mark.parametrize(("name", "build"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_a_check_fails_in_the_world_made_for_it(name: str, build: Callable[[], Facts]) -> None:
    """Each broken world fails at least the check that is about it."""
    check = named(build())[name]
    assert not check.ok
    assert check.expected != check.got


def test_every_check_has_a_world_that_breaks_it() -> None:
    """No check is only ever seen to pass."""
    assert {name for _, name, _ in BROKEN} == {check.name for check in judge(WORLD)}
    assert len(CHECKS) == len({check.name for check in judge(WORLD)})


def test_answers_during_a_reload_may_come_from_either_version() -> None:
    """A request under way while the file changed may meet the old or the new variant, and no third one."""
    moving = next(i for i, a in enumerate(WORLD.answers) if a.user == "u020" and a.earliest == 0)
    either = with_answer(moving, latest=1, variant="v3")
    assert named(either)["assigned_as_computed"].ok
    assert named(either)["sticky"].ok
    third = with_answer(USER_50_STEP_0, latest=1, variant="v2")
    assert not named(third)["assigned_as_computed"].ok


def test_answers_given_up_may_hide_that_many_comparisons() -> None:
    """With three shadow answers not compared, agreement may lack three at most."""
    lost = {"compared": -3, "comparison_dropped": 3}
    assert named(with_shadow("m4", lost, {"agree": -3}))["agreement"].ok
    assert named(with_shadow("m4", lost, {"agree": -1, "disagree": -2}))["agreement"].ok
    assert not named(with_shadow("m4", lost, {"agree": -4, "disagree": 1}))["agreement"].ok


def test_a_shadow_that_was_dropped_is_not_missed_by_the_model() -> None:
    """A request that was eligible and dropped needs no answer of the shadow."""
    outcomes = {"sent": -1, "dropped": 1, "answered": -1, "compared": -1}
    backend = WORLD.backends["m4"]
    dropped, label = next(iter(backend.shadow.items()))
    agreed = label == WORLD.answers[0].label
    result = "agree" if agreed else "disagree"
    facts = with_shadow("m4", outcomes, {result: -1})
    counts = dict(WORLD.by_variant["m4", WORLD.answers[0].variant])
    counts[result] -= 1
    facts = replace(facts, by_variant={**WORLD.by_variant, ("m4", WORLD.answers[0].variant): counts})
    shadow = {request_id: label for request_id, label in backend.shadow.items() if request_id != dropped}
    changed = replace(backend, shadow=shadow, shadow_requests=backend.shadow_requests - 1)
    facts = replace(facts, backends={**facts.backends, "m4": changed})
    assert all(check.ok for check in judge(facts))


def test_a_record_that_was_dropped_and_counted_is_accounted_for() -> None:
    """A lost record is no fault when the proxy says so, and one when it does not."""
    shorter = replace(WORLD, log=WORLD.log[1:])
    written = len(WORLD.log) - 1
    counted = replace(shorter, claims=replace(WORLD.claims, payload={"written": written, "dropped": 1}))
    silent = replace(shorter, claims=replace(WORLD.claims, payload={"written": written}))
    assert named(counted)["log_counted"].ok
    assert not named(silent)["log_counted"].ok


def test_a_proxy_that_is_kept_running_makes_no_claim_to_have_drained() -> None:
    """What was not tried is not shown as true."""
    assert "drained" not in named(replace(WORLD, proxy_exit=None))
    assert len(judge(replace(WORLD, proxy_exit=None))) == len(CHECKS) - 1


def test_joined_agreement_uses_nothing_of_the_proxy() -> None:
    """Agreement from the models' books is the same whatever the proxy claims."""
    assert joined_agreement(replace(WORLD, claims=Claims()), "m4") == joined_agreement(WORLD, "m4")
