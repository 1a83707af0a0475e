"""Is what the demo is about to claim true? Pure functions of :class:`~proxy.demo.facts.Facts`.

Each check compares numbers that were counted apart from each other: by the clients, by the model servers,
by the proxy, or computed from the configuration file alone. A check never looks at only one of them. All
comparisons of counts are exact; the one statistical one (the moved share) says its bound.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import ceil, sqrt

from proxy.demo.facts import Facts, ShadowClaim

__all__ = ["CHECKS", "MAX_SIGMA", "Check", "compare", "joined_agreement", "judge", "none_wrong"]

MAX_SIGMA = 4.0
"""Standard deviations of sampling error allowed for the moved share: about 6 in 100,000 by chance.
The users' names are fixed, so a run that passes once passes always."""


@dataclass(frozen=True, slots=True)
class Check:
    """One claim, held against what was counted elsewhere."""

    name: str
    ok: bool
    sentence: str
    """The claim, true exactly when ``ok``."""
    expected: str
    got: str


Judge = Callable[[Facts], Check]


def judge(facts: Facts) -> list[Check]:
    """Return the result of every check that can be made, in the order in which they are shown.

    Whether the proxy drains is known only once it was asked to end.
    """
    return [check(facts) for check in CHECKS if check is not check_drained or facts.proxy_exit is not None]


def compare(name: str, sentence: str, expected: object, got: object) -> Check:
    """Both must be equal."""
    return Check(name, expected == got, sentence, _short(expected), _short(got))


def none_wrong(name: str, sentence: str, wrong: Iterable[str], of: int) -> Check:
    """All of ``of`` things must be right, and there must be at least one."""
    found = list(wrong)
    got = f"{len(found)} of {of}" + (f", first: {found[0]}" if found else "")
    return Check(name, not found and of > 0, sentence, f"0 of {max(of, 1)}", got)


def _short(thing: object) -> str:
    if isinstance(thing, Mapping):
        return ", ".join(f"{key} {value}" for key, value in sorted(thing.items())) or "nothing"
    return str(thing)


def _models(facts: Facts) -> dict[str, str]:
    return {arm.variant: arm.model for arm in facts.arms}


def check_no_failures(facts: Facts) -> Check:
    """Every request was answered 200 with a label, reloads included."""
    failed = [
        f"{a.request_id}: {a.status} {a.error}".strip() for a in facts.answers if a.error or a.status != 200
    ]
    return none_wrong("no_failures", "no request failed, also not during reloads", failed, len(facts.answers))


def check_no_faults(facts: Facts) -> Check:
    """The proxy saw no upstream fault, and no model server refused or saw a request twice."""
    got = {"faults": sum(facts.claims.faults.get(model, 0) for model in facts.backends)}
    for model, backend in facts.backends.items():
        for what in ("refused", "failed", "repeated", "forgotten"):
            if count := getattr(backend, what):
                got[f"{what} by {model}"] = count
    return compare("no_faults", "no upstream fault, no refusal, no request sent twice", {"faults": 0}, got)


def check_requests_counted(facts: Facts) -> Check:
    """For each variant the clients, the proxy and the model server counted the same number of requests."""
    clients = Counter(answer.variant for answer in facts.answers)
    claimed = facts.claims.by_variant()
    wrong, expected = {}, {}
    for variant, model in _models(facts).items():
        counts = (clients[variant], claimed.get((variant, model), 0), facts.backends[model].requests)
        expected[variant] = str(counts[0])
        wrong[variant] = (
            str(counts[0]) if len(set(counts)) == 1 else "clients {}, proxy {}, model {}".format(*counts)
        )
    for key, count in claimed.items():
        if _models(facts).get(key[0]) != key[1] and count:
            wrong[f"{key[0]}/{key[1]}"] = f"proxy {count}"
    for variant in set(clients) - set(expected):
        wrong[variant or "(no header)"] = f"clients {clients[variant]}"
    return compare(
        "requests_counted", "clients, proxy and models counted the same requests per variant", expected, wrong
    )


def check_status_codes(facts: Facts) -> Check:
    """The proxy counted the status codes that the clients received."""
    clients = Counter(str(answer.status) for answer in facts.answers)
    claimed: Counter[str] = Counter()
    for (_, _, code), count in facts.claims.requests.items():
        claimed[code] += count
    return compare(
        "status_codes",
        "the proxy counted the status codes that clients received",
        dict(clients),
        dict(+claimed),
    )


def check_durations_counted(facts: Facts) -> Check:
    """The latency histogram of each variant holds every request of it."""
    expected = dict.fromkeys(_models(facts), 0)
    for (variant, _), count in facts.claims.by_variant().items():
        expected[variant] = expected.get(variant, 0) + count
    got = {variant: facts.claims.durations[variant].total for variant in facts.claims.durations}
    got = {variant: got.get(variant, 0) for variant in expected | got}
    return compare("durations_counted", "each latency histogram holds every request", expected, got)


def check_header_true(facts: Facts) -> Check:
    """The model of the variant named to the client is the one that answered, with that very label."""
    models, wrong = _models(facts), []
    for answer in facts.answers:
        model = models.get(answer.variant)
        kept = facts.backends[model].primary if model else {}
        if answer.request_id not in kept or kept[answer.request_id] != answer.label:
            wrong.append(f"{answer.request_id} said {answer.variant or 'nothing'}")
    return none_wrong(
        "header_true", "the variant named to the client is the model that answered", wrong, len(facts.answers)
    )


def check_users_counted(facts: Facts) -> Check:
    """Each model server was asked by exactly the users that the clients sent there, that many times each."""
    sent: dict[str, Counter[str]] = defaultdict(Counter)
    for answer in facts.answers:
        sent[_models(facts).get(answer.variant, "")][answer.user] += 1
    wrong = [
        f"{user} at {model}: clients {sent[model][user]}, model {backend.units.get(user, 0)}"
        for model, backend in facts.backends.items()
        for user in sorted(sent[model].keys() | backend.units.keys())
        if sent[model][user] != backend.units.get(user, 0)
    ]
    users = len({answer.user for answer in facts.answers})
    return none_wrong("users_counted", "each model counted the same requests of each user", wrong, users)


def _seen(facts: Facts) -> list[dict[str, set[str]]]:
    """For each step the variants each user certainly met in it."""
    seen: list[dict[str, set[str]]] = [defaultdict(set) for _ in facts.steps]
    for answer in facts.answers:
        if answer.earliest == answer.latest:
            seen[answer.earliest][answer.user].add(answer.variant)
    return seen


def check_sticky(facts: Facts) -> Check:
    """Within one version of the configuration no user met two variants."""
    seen = _seen(facts)
    wrong = [
        f"{user} met {' and '.join(sorted(variants))}"
        for users in seen
        for user, variants in users.items()
        if len(variants) != 1
    ]
    total = min((len(users) for users in seen), default=0)
    return none_wrong("sticky", "within a configuration nobody met two variants", wrong, total)


def check_assigned_as_computed(facts: Facts) -> Check:
    """Every answer came from the variant that the configuration file alone gives for that user."""
    wrong = []
    for answer in facts.answers:
        allowed = {facts.expected[i].get(answer.user) for i in range(answer.earliest, answer.latest + 1)}
        if answer.variant not in allowed:
            wrong.append(f"{answer.user} met {answer.variant}")
    return none_wrong(
        "assigned_as_computed", "every user met the variant computed from the file", wrong, len(facts.answers)
    )


def check_movers(facts: Facts) -> Check:
    """Across a reload users moved only between champion and canary, in the direction of the change."""
    seen, wrong, users = _seen(facts), [], 0
    champion, canary = facts.arm("champion").variant, facts.arm("canary").variant
    for i in range(1, len(facts.steps)):
        rising = facts.steps[i].canary_weight > facts.steps[i - 1].canary_weight
        allowed = (champion, canary) if rising else (canary, champion)
        for user in seen[i - 1].keys() & seen[i].keys():
            users += 1
            for before in seen[i - 1][user]:
                for after in seen[i][user]:
                    if before != after and (before, after) != allowed:
                        wrong.append(f"{user} went from {before} to {after}")
    return none_wrong("movers", "only users who join or leave the canary moved", wrong, users)


def check_moved_share(facts: Facts) -> Check:
    """The share of users who moved is the change of the weight, to sampling error."""
    seen = _seen(facts)
    expected, got, ok = [], [], len(facts.steps) > 1
    for i in range(1, len(facts.steps)):
        users = seen[i - 1].keys() & seen[i].keys()
        moved = sum(seen[i - 1][user] != seen[i][user] for user in users)
        share = abs(facts.steps[i].canary_weight - facts.steps[i - 1].canary_weight) / 100
        slack = ceil(MAX_SIGMA * sqrt(len(users) * share * (1 - share)))
        ok = ok and len(users) > 0 and abs(moved - share * len(users)) <= slack
        expected.append(f"{share * len(users):.0f} ± {slack} of {len(users)} users")
        got.append(f"{moved}")
    if not expected:
        expected, got = ["at least one reload"], ["none"]
    return Check(
        "moved_share", ok, "the share that moved is the change of weight", ", ".join(expected), ", ".join(got)
    )


def check_canary_empty(facts: Facts) -> Check:
    """With its weight at 0 nobody met the canary any more."""
    canary, last = facts.arm("canary").variant, len(facts.steps) - 1
    after = [a for a in facts.answers if a.earliest == last]
    wrong = [f"{a.user} met {canary}" for a in after if a.variant == canary]
    if facts.steps[last].canary_weight != 0:
        wrong.append(f"its weight is {facts.steps[last].canary_weight:g}")
    return none_wrong("canary_empty", "with weight 0 nobody met the canary any more", wrong, len(after))


def check_versions(facts: Facts) -> Check:
    """Each edit of the file became one version, and the last reload is reported as successful."""
    versions = [step.config_version for step in facts.steps]
    first = versions[0] if versions else 0
    expected = (list(range(first, first + len(versions))), first + len(versions) - 1, True)
    return compare(
        "versions",
        "each edit became one numbered version",
        expected,
        (versions, facts.claims.config_version, facts.claims.reload_successful),
    )


def _identities(claim: ShadowClaim) -> dict[str, tuple[int, int]]:
    return {
        "eligible = sent + dropped": (
            claim.outcome("eligible"),
            claim.outcome("sent") + claim.outcome("dropped"),
        ),
        "sent = answered + failed": (
            claim.outcome("sent"),
            claim.outcome("answered") + claim.outcome("failed"),
        ),
        "answered = compared + uncomparable + comparison_dropped": (
            claim.outcome("answered"),
            sum(claim.outcome(part) for part in ("compared", "uncomparable", "comparison_dropped")),
        ),
        "compared = agree + disagree": (
            claim.outcome("compared"),
            claim.result("agree") + claim.result("disagree"),
        ),
    }


def check_shadow_accounts(facts: Facts) -> Check:
    """For each shadow the outcomes add up, and every request of the route was eligible (percent is 100)."""
    wrong = []
    for model in facts.shadow_models:
        claim = facts.claims.shadow(model)
        if claim.outcome("eligible") != len(facts.answers):
            wrong.append(f"{model}: eligible {claim.outcome('eligible')}, requests {len(facts.answers)}")
        wrong += [f"{model}: {law}: {a} ≠ {b}" for law, (a, b) in _identities(claim).items() if a != b]
    return none_wrong(
        "shadow_accounts", "shadow outcomes add up to every request", wrong, len(facts.shadow_models)
    )


def check_shadows_received(facts: Facts) -> Check:
    """Each model server received exactly the shadow requests the proxy says it sent, marked, and no other."""
    expected, got = {}, {}
    for model, backend in facts.backends.items():
        claim = facts.claims.shadow(model)
        expected[model], got[model] = claim.outcome("sent"), backend.shadow_requests
    return compare("shadows_received", "models received the shadow requests that were sent", expected, got)


def joined_agreement(facts: Facts, shadow_model: str) -> dict[str, Counter[str]]:
    """Return for each variant how often its answers ``agree`` and ``disagree`` with those of
    ``shadow_model``.

    Computed from the model servers' own books, joined by request id; nothing of the proxy is in it.
    """
    shadow = facts.backends[shadow_model].shadow
    joined: dict[str, Counter[str]] = {arm.variant: Counter() for arm in facts.arms}
    for arm in facts.arms:
        for request_id, label in facts.backends[arm.model].primary.items():
            if request_id in shadow:
                joined[arm.variant]["agree" if shadow[request_id] == label else "disagree"] += 1
    return joined


def check_agreement(facts: Facts) -> Check:
    """Agreement as the proxy counted it is agreement as computed from the models' own books.

    Exact when every shadow answer was compared. Each answer the proxy says it gave up may hide one
    agreement or one disagreement, not more.
    """
    wrong = []
    for model in facts.shadow_models:
        claim = facts.claims.shadow(model)
        given_up = claim.given_up()
        joined: Counter[str] = sum(joined_agreement(facts, model).values(), Counter())
        for result in ("agree", "disagree"):
            missing = joined[result] - claim.result(result)
            if not 0 <= missing <= given_up:
                wrong.append(
                    f"{model}: {result} {claim.result(result)}, from the models' books {joined[result]}"
                )
        if sum(joined.values()) - claim.outcome("compared") > given_up:
            wrong.append(f"{model}: compared {claim.outcome('compared')} of {sum(joined.values())}")
    return none_wrong(
        "agreement", "agreement equals that computed from the models' books", wrong, len(facts.shadow_models)
    )


def check_agreement_by_variant(facts: Facts) -> Check:
    """The proxy's agreement of each variant with each shadow is that of the models' own books, too."""
    wrong = []
    for model in facts.shadow_models:
        given_up = facts.claims.shadow(model).given_up()
        for variant, joined in joined_agreement(facts, model).items():
            claimed = facts.by_variant.get((model, variant), {})
            for result in ("agree", "disagree"):
                if not 0 <= joined[result] - claimed.get(result, 0) <= given_up:
                    wrong.append(
                        f"{variant} and {model} {result}: {claimed.get(result, 0)}, not {joined[result]}"
                    )
    pairs = len(facts.shadow_models) * len(facts.arms)
    return none_wrong("agreement_by_variant", "so does the agreement of each single variant", wrong, pairs)


def check_noise_floor(facts: Facts) -> Check:
    """The champion's second answer to the same question never differs from its first."""
    champion = facts.arm("champion")
    joined = joined_agreement(facts, champion.model)[champion.variant]
    return Check(
        "noise_floor",
        joined["agree"] > 0 and joined["disagree"] == 0,
        "the champion agrees with itself, so disagreement is no noise",
        "0 disagreements",
        f"{joined['disagree']} of {joined.total()}",
    )


def check_defect_found(facts: Facts) -> Check:
    """The canary disagrees with the champion clearly more often than the challenger does."""
    joined = joined_agreement(facts, facts.arm("champion").model)
    shares = {}
    for role in ("challenger", "canary"):
        counts = joined[facts.arm(role).variant]
        shares[role] = counts["agree"] / counts.total() if counts.total() else 0.0
    gap = shares["challenger"] - shares["canary"]
    return Check(
        "defect_found",
        gap >= 0.1 and shares["canary"] > 0,
        "the canary's defect shows in its disagreement with the champion",
        "at least 10 points below the challenger",
        f"{shares['canary']:.1%} against {shares['challenger']:.1%}",
    )


def check_log_counted(facts: Facts) -> Check:
    """The log holds the lines the proxy says it wrote; these and those it says it lost are all of the sampled users'.

    Losing a record to keep a client fast is allowed; losing one without counting it is not.
    """
    payload = facts.claims.payload
    lost = payload.get("dropped", 0) + payload.get("failed", 0)
    due = sum(answer.user in facts.logged_users for answer in facts.answers)
    expected = {"lines": payload.get("written", 0), "lines and lost": due}
    got = {"lines": len(facts.log), "lines and lost": len(facts.log) + lost}
    return compare(
        "log_counted", "every request of a sampled user is a line or counted as lost", expected, got
    )


def check_log_true(facts: Facts) -> Check:
    """Each line names the variant and the label that its client saw, and one hash per user, never the user."""
    answers = {answer.request_id: answer for answer in facts.answers}
    hashes: dict[str, set[str]] = defaultdict(set)
    wrong = []
    for line in facts.log:
        answer = answers.get(line.request_id)
        if answer is None or answer.variant != line.variant or answer.label != line.body_label:
            wrong.append(f"{line.request_id} says {line.variant}, {line.body_label}")
            continue
        versions = [facts.steps[i].config_version for i in range(answer.earliest, answer.latest + 1)]
        if line.config_version not in versions or answer.user in line.unit:
            wrong.append(f"{line.request_id}: version {line.config_version}, unit {line.unit}")
        hashes[answer.user].add(line.unit)
    wrong += [f"{user} has {len(units)} hashes" for user, units in hashes.items() if len(units) > 1]
    return none_wrong("log_true", "each logged line is what its client saw", wrong, len(facts.log))


def check_drained(facts: Facts) -> Check:
    """After SIGTERM the proxy drained and ended by itself with exit code 0."""
    return compare("drained", "asked to end, the proxy drained and exited with 0", 0, facts.proxy_exit)


CHECKS: tuple[Judge, ...] = (
    check_no_failures,
    check_no_faults,
    check_requests_counted,
    check_status_codes,
    check_header_true,
    check_users_counted,
    check_durations_counted,
    check_sticky,
    check_assigned_as_computed,
    check_movers,
    check_moved_share,
    check_canary_empty,
    check_versions,
    check_shadow_accounts,
    check_shadows_received,
    check_agreement,
    check_agreement_by_variant,
    check_noise_floor,
    check_defect_found,
    check_log_counted,
    check_log_true,
    check_drained,
)
