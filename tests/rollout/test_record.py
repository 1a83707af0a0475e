"""Decisions that can be decided again."""

from pathlib import Path

import orjson
import pytest

from proxy.rollout import record
from proxy.rollout.assemble import Assembly, assemble
from proxy.rollout.decide import decide, rule_on
from proxy.rollout.slices import Health, ShadowEvidence, no_slices
from tests.rollout.cases import case
from tests.rollout.world import START, World, guardrail, plan

CASES = 200


@pytest.mark.parametrize("number", range(CASES))
def test_a_snapshot_leads_to_the_same_bytes(number: int) -> None:
    """Written down, read and decided again, every decision is the same, byte for byte; so is the snapshot."""
    world = case(number)
    slices = world.slices()
    written = record.snapshot(world.plan, world.state, slices, world.now_ns)
    decision = decide(
        world.plan, world.state, assemble(world.plan, world.state, slices, world.now_ns), world.now_ns
    )
    assert record.recompute(written) == record.decision_bytes(decision)
    assert record.snapshot(*record.read(written)) == written


@pytest.mark.parametrize("number", range(0, CASES, 2))
def test_what_is_only_shown_decides_nothing(number: int) -> None:
    """The ruling that is made without it is the decision's, and leaves the decision its bytes."""
    world = case(number)
    assembly = Assembly(world.plan, world.state, world.slices(), world.now_ns)
    ruling = rule_on(assembly)
    assert "evidence" not in vars(assembly)
    assert ("excess_share" in vars(assembly)) <= (assembly.grounds.held_ns >= world.plan.hold_ns)
    decision = decide(world.plan, world.state, assembly.evidence, world.now_ns)
    for name in ("verdict", "reason", "action", "would", "would_reason"):
        assert getattr(ruling, name) == getattr(decision, name)
    assert (ruling.after.phase, ruling.after.step) == (decision.phase, decision.step)
    written = record.snapshot(world.plan, world.state, assembly.slices, world.now_ns)
    assert record.recompute(written) == record.decision_bytes(decision)


def test_the_cases_are_of_many_kinds() -> None:
    """Among them is most of what can be decided."""
    found = set()
    for number in range(0, CASES, 4):
        world = case(number)
        evidence = assemble(world.plan, world.state, world.slices(), world.now_ns)
        found.add(decide(world.plan, world.state, evidence, world.now_ns).would_reason)
    assert len(found) >= 10


def test_decisions_of_engine_2_are_made_again() -> None:
    """What the program before wrote leads to the bytes that it decided then."""
    lines = (Path(__file__).parent / "engine_2.jsonl").read_bytes().splitlines()
    reasons = set()
    for line in map(orjson.loads, lines):
        assert orjson.loads(line["snapshot"])["engine"] == 2
        assert record.recompute(line["snapshot"].encode()) == line["decision"].encode()
        assert record.snapshot(*record.read(line["snapshot"].encode())) == line["snapshot"].encode()
        reasons.add(orjson.loads(line["decision"])["reason"])
    assert reasons == {"disagreement", "shown", "inconclusive"}


def test_only_what_goes_above_noise_is_of_engine_3() -> None:
    """Other plans are written as ever, whatever else was counted: a program that knows no noise makes them again."""
    shadow = ShadowEvidence(9, 0, 9, 5, triples=4, candidate_odd=1)
    slices = no_slices(Health(read_ns=START), shadow)
    for asked_twice, engine in ((0.0, 2), (0.05, 3)):
        of = plan(guardrails=(guardrail("errors"), guardrail("disagreement", asked_twice=asked_twice)))
        written = orjson.loads(record.snapshot(of, World(of).state, slices, START))
        assert written["engine"] == engine
        assert ("triples" in written["slices"]["shadow"]) == (engine == 3)
        assert ("asked_twice" in written["plan"]["guardrails"][1]) == (engine == 3)
        assert "asked_twice" not in written["plan"]["guardrails"][0]


def test_a_snapshot_of_nothing() -> None:
    """The first second of a rollout can be written down, too."""
    world = World(plan())
    empty = no_slices(Health(read_ns=START))
    written = record.snapshot(world.plan, world.state, empty, START)
    assert orjson.loads(record.recompute(written))["reason"] == "hold_time"


def test_digests_tell_snapshots_apart() -> None:
    """One more second is another snapshot."""
    world = World(plan())
    later = [record.snapshot(world.plan, world.state, no_slices(), START + second) for second in (0, 1)]
    assert len({record.digest(each) for each in later}) == 2
    assert len(record.digest(later[0])) == 64


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"engine": record.ENGINE_VERSION + 1}, "expected a snapshot of engine"),
        ({"plan": {}}, "expected a rollout's plan"),
        ({"state": {}}, "of a rollout's state"),
        ({"slices": {}}, "expected a whole snapshot"),
    ],
)
def test_what_is_no_snapshot_is_refused(damage: dict[str, object], message: str) -> None:
    """A damaged or later snapshot is a ValueError, never another decision."""
    world = World(plan())
    whole = orjson.loads(record.snapshot(world.plan, world.state, no_slices(), START))
    with pytest.raises(ValueError, match=message):
        record.recompute(orjson.dumps(whole | damage))
    with pytest.raises(ValueError, match="expected a snapshot"):
        record.recompute(b"[]")
