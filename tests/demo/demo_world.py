"""A run of the demo as a faultless proxy would have left it, made without any proxy."""

from collections import Counter

from proxy.demo.facts import Answer, Arm, Backend, Claims, Facts, Histogram, LogLine, ShadowClaim, Step

__all__ = ["USERS", "WEIGHTS", "WORLD", "label_of", "variant_of"]

ARMS = (Arm("v1", "champion", "m1"), Arm("v2", "challenger", "m2"), Arm("v3", "canary", "m3"))
WEIGHTS = (10.0, 30.0, 0.0)
USERS = [f"u{number:03d}" for number in range(100)]
ROUNDS = 2
SHADOWS = ("m4", "m1")


def variant_of(number: int, weight: float) -> str:
    """The canary fills from the bottom, the challenger has the top tenth."""
    return "v3" if number < weight else "v2" if number >= 90 else "v1"


def label_of(model: str, row: int) -> int:
    """What a model says of a row: the canary is wrong on each third, challenger and shadow on each eleventh."""
    wrong = {"m1": 0, "m2": row % 11 == 0, "m3": row % 3 == 0, "m4": row % 11 == 1}[model]
    return (row + int(wrong)) % 10


def build_world() -> Facts:
    """Play three steps without any proxy: every number is what a faultless one would leave behind."""
    models = {arm.variant: arm.model for arm in ARMS}
    answers: list[Answer] = []
    for step, weight in enumerate(WEIGHTS):
        for row in range(ROUNDS * len(USERS)):
            number = row % len(USERS)
            variant = variant_of(number, weight)
            request_id = f"r{len(answers):04d}"
            label = label_of(models[variant], row)
            answers.append(
                Answer(request_id, USERS[number], row, step, step, variant, 200, label, 0.002 + row * 1e-6)
            )
    return Facts(
        arms=ARMS,
        steps=tuple(Step(weight, 7 + i, 100.0) for i, weight in enumerate(WEIGHTS)),
        answers=tuple(answers),
        backends={model: build_backend(model, answers, models) for model in ("m1", "m2", "m3", "m4")},
        claims=build_claims(answers, models),
        log=tuple(
            LogLine(a.request_id, a.variant, f"hash-{USERS.index(a.user)}", 7 + a.earliest, a.label)
            for a in answers
            if a.user in USERS[40:50]
        ),
        expected=tuple({user: variant_of(i, weight) for i, user in enumerate(USERS)} for weight in WEIGHTS),
        logged_users=frozenset(USERS[40:50]),
        shadow_models=SHADOWS,
        truth=[row % 10 for row in range(ROUNDS * len(USERS))],
        by_variant={
            (model, arm.variant): count_agreement(model, [a for a in answers if a.variant == arm.variant])
            for model in SHADOWS
            for arm in ARMS
        },
        proxy_exit=0,
    )


def build_backend(model: str, answers: list[Answer], models: dict[str, str]) -> Backend:
    """The books of one model server."""
    own = [a for a in answers if models[a.variant] == model]
    mirrored = answers if model in SHADOWS else []
    return Backend(
        model=model,
        requests=len(own),
        shadow_requests=len(mirrored),
        refused=0,
        failed=0,
        repeated=0,
        forgotten=0,
        units=Counter(a.user for a in own),
        primary={a.request_id: a.label for a in own},
        shadow={a.request_id: label_of(model, a.row) for a in mirrored},
    )


def count_agreement(model: str, answers: list[Answer]) -> dict[str, int]:
    """How often ``model`` says what the clients were told."""
    agree = sum(label_of(model, a.row) == a.label for a in answers)
    return {"agree": agree, "disagree": len(answers) - agree}


def build_claims(answers: list[Answer], models: dict[str, str]) -> Claims:
    """What a faultless proxy says."""
    requests = Counter((a.variant, models[a.variant], "200") for a in answers)
    shadows = {}
    for model in SHADOWS:
        outcomes = {
            "eligible": len(answers),
            "sent": len(answers),
            "answered": len(answers),
            "compared": len(answers),
        }
        shadows[model] = ShadowClaim(outcomes, count_agreement(model, answers), 0.1)
    return Claims(
        requests=requests,
        durations={v: Histogram((0.01, float("inf")), (n, n)) for (v, _, _), n in requests.items()},
        shadows=shadows,
        payload={"written": sum(a.user in USERS[40:50] for a in answers)},
        config_version=9,
        reload_successful=True,
    )


WORLD = build_world()
