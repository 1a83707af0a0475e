"""The plan: what the file asks for, as a value that can be written down."""

from dataclasses import replace
from decimal import Decimal

import orjson
import pytest

from proxy.rollout.plan import Arm, Plan, plan_of
from proxy.settings import parse
from tests.rollout.world import guardrail, plan

CONFIG = """
listen: 127.0.0.1:8080
models:
  wine-v1: {url: "http://127.0.0.1:9001"}
  wine-v2: {url: "http://127.0.0.1:9002"}
  wine-v3: {url: "http://127.0.0.1:9003"}
routes:
  - name: wine
    match: {path: "/*"}
    variants:
      - {name: v1, model: wine-v1, role: champion}
      - {name: v2, model: wine-v2, role: challenger, weight: 10}
      - name: v3
        model: wine-v3
        role: canary
        rollout: ROLLOUT
    shadows:
      - {model: wine-v3, percent: 100}
"""


def planned(rollout: str) -> Plan:
    settings = parse(CONFIG.replace("ROLLOUT", rollout), environ={})
    found = plan_of(settings, settings.routes[0])
    assert found is not None
    return found


def test_an_empty_rollout_is_a_whole_plan() -> None:
    """``rollout: {}`` has steps, guardrails and risks, as fractions and nanoseconds."""
    found = planned("{}")
    assert plan(others=Decimal(10), has_shadow=True) == found


def test_disagreement_goes_above_noise_where_it_is_measured() -> None:
    """The share that is asked twice is the plan's, of disagreement alone; without it a plan is what it always was."""
    rollout = "{guardrails: [{metric: errors}, {metric: disagreement, tolerance: 2%}]}"
    plain = planned(rollout)
    settings = parse(f"{CONFIG.replace('ROLLOUT', rollout)}    compare: {{noise: 5}}\n", environ={})
    found = plan_of(settings, settings.routes[0])
    assert found is not None
    assert [each.asked_twice for each in found.guardrails] == [0.0, 0.05]
    assert (found.goes_above_noise, plain.goes_above_noise) == (True, False)
    assert Plan.from_document(orjson.loads(orjson.dumps(found.document()))) == found
    assert found.digest() != plain.digest()
    assert not any("asked_twice" in each for each in plain.document()["guardrails"])


def test_a_full_rollout_is_read() -> None:
    """Every key of the file reaches the plan."""
    found = planned(
        "{steps: [2, 20, 100], hold: 1m, bake: 2m, false_rollback: 2%, false_promotion: 10, budget: null, "
        "on_inconclusive: rollback, max_duration: 1h, dry_run: true, holdback: 2%, switch_back: 10m, "
        "guardrails: [{metric: slow, threshold: 500ms, margin: 20, tolerance: 0.5}, "
        "{metric: disagreement, tolerance: 2%, advisory: true}]}"
    )
    assert found.ladder == (Decimal(2), Decimal(20))
    assert found.most == Decimal(88)
    assert [found.false_rollback, found.false_promotion, found.excess_errors] == [0.02, 0.1, None]
    assert found.dry_run
    assert [each.name for each in found.guardrails] == ["slow_500ms", "disagreement"]
    assert [each.tolerance for each in found.guardrails] == [0.005, 0.02]
    assert [each.name for each in found.critical] == ["slow_500ms"]


def test_a_route_without_rollout_has_no_plan() -> None:
    """A canary with a weight is a person's."""
    settings = parse(CONFIG.replace("rollout: ROLLOUT", "weight: 5"), environ={})
    assert plan_of(settings, settings.routes[0]) is None


@pytest.mark.parametrize(
    "written",
    [
        plan(),
        plan(guardrails=(guardrail("slow"), guardrail("disagreement", advisory=True)), excess_errors=None),
        plan(steps=(Decimal("0.5"), Decimal(100)), holdback=Decimal("2.50")),
    ],
)
def test_a_plan_survives_being_written_down(written: Plan) -> None:
    """A document, as JSON and back, is the same plan with the same digest."""
    read = Plan.from_document(orjson.loads(orjson.dumps(written.document())))
    assert read == written
    assert read.digest() == written.digest()


def test_another_plan_has_another_digest() -> None:
    """Each edit shows."""
    edits = (plan(hold_ns=1), plan(salt="x"), plan(guardrails=()), plan(dry_run=True))
    assert len({each.digest() for each in (plan(), *edits)}) == 5


@pytest.mark.parametrize("document", [{}, {"route": "x"}, plan().document() | {"steps": ["many"]}])
def test_what_is_no_plan_is_refused(document: dict[str, object]) -> None:
    """A damaged document is a ValueError, nothing else."""
    with pytest.raises(ValueError, match="expected a rollout's plan"):
        Plan.from_document(document)


@pytest.mark.parametrize(
    ("steps", "holdback", "others", "ladder", "most"),
    [
        ("1 50 100", 0, 0, "1 50", 100),
        ("1 50", 0, 0, "1 50", 100),
        ("100", 0, 0, "", 100),
        ("1 50 100", 5, 10, "1 50", 85),
        ("1 90 100", 5, 10, "1", 85),
    ],
)
def test_the_promotion_follows_the_ladder(
    steps: str, holdback: int, others: int, ladder: str, most: int
) -> None:
    """What others or the holdback have is no step, and the promotion takes the rest."""
    found = plan(steps=tuple(map(Decimal, steps.split())), holdback=Decimal(holdback), others=Decimal(others))
    assert tuple(map(Decimal, ladder.split())) == found.ladder
    assert found.most == most


def test_servers_may_come_and_go() -> None:
    """It is the same model as long as one server stays."""
    arm = Arm("v3", "m", ("a", "b"))
    assert arm.same_model(replace(arm, urls=("b", "c")))
    assert not arm.same_model(replace(arm, urls=("c",)))
    assert not arm.same_model(replace(arm, model="n"))
