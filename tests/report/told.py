"""What the admin address tells of a simulated rollout, for reports about it: decisions, snapshots, points, journal."""

from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

import orjson

from proxy.engine.judging import Judgement, judge, point
from proxy.rollout.evidence import GuardrailEvidence
from proxy.rollout.plan import Plan
from proxy.rollout.slices import ERRORS, FIRST_LATENCY, REQUESTS, UNITS
from proxy.rollout.state import ENGINE, Phase, RolloutState, weight
from proxy.rollout.transitions import Action, apply
from proxy.rollout.verdict import rounded
from tests.rollout.world import Behaviour, World, plan

__all__ = ["Told", "bad_rollout", "good_rollout", "tell"]

_LN10 = 2.302585092994046


class Told:
    """A simulated rollout and all that is kept of it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.snapshots: dict[str, bytes] = {}
        self.decisions: list[dict[str, Any]] = []
        self.points: list[dict[str, Any]] = []
        self.history: list[dict[str, Any]] = []
        self.last: Judgement | None = None

    def run(self, bins: int, until: Phase | None = None) -> "Told":
        """Let time pass, judge as often as the world says, keep and do what is decided."""
        for number in range(bins):
            self.world.serve()
            if (number + 1) % self.world.every:
                continue
            self.judge()
            if self.world.state.phase is until:
                break
        return self

    def judge(self) -> None:
        world = self.world
        found = judge(world.plan, world.state, world.slices(), world.now_ns)
        self.points.append(orjson.loads(point(found)))
        before, self.last = self.last, found
        gist = found.decision.changed_from(before.decision if before else None)
        if found.moves or gist:
            self.keep(found)
        if found.moves and found.action is not None:
            self.move(found.action, ENGINE, found.decision.sentence, found)

    def keep(self, found: Judgement) -> None:
        self.snapshots[found.digest] = found.snapshot
        self.decisions.append(
            {
                "number": len(self.decisions) + 1,
                "rollout": found.state.rollout,
                "engine_ns": found.now_ns,
                "moves": found.moves,
                "evidence": found.digest,
                "decision": orjson.loads(found.decision_bytes),
            }
        )

    def move(self, action: Action, by: str, reason: str, found: Judgement | None = None) -> None:
        """Do what the engine or a person wants, and write it into the journal."""
        world = self.world
        after = apply(world.plan, world.state, action, world.now_ns, by, reason)
        assert isinstance(after, RolloutState), after
        ts = datetime.fromtimestamp(world.now_ns / 1e9, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "ts": ts.replace("+00:00", "Z"),
            "event": "verb" if found is None else "decision",
            "version": len(self.history) + 2,
            "by": by,
            "digest": "c0ffee",
            "route": world.plan.route,
            "rollout": after.rollout,
            "verdict": str(action),
            "reason": reason,
            "from_weight": float(weight(world.plan, world.state)),
            "to_weight": float(weight(world.plan, after)),
        }
        if found is not None:
            document = found.document
            line |= {
                name: document[name] for name in ("verdict", "reason", "sentence", "log_e", "confidence")
            }
            line["evidence"] = found.digest
        self.history.append(line)
        world.state = after

    def document(self) -> dict[str, Any]:
        """Return what the admin address tells of it."""
        world = self.world
        now = judge(world.plan, world.state, world.slices(), world.now_ns)
        evidence = now.evidence
        document: dict[str, Any] = {
            "rollout": world.state.rollout,
            "variant": world.plan.canary.name,
            "champion": world.plan.champion.name,
            "read_ns": world.now_ns,
            "kept": True,
            "problem": "",
            "shadow": {"answered": 0, "failed": 0, "compared": 0, "disagreed": 0},
            "epochs": self.epochs(),
            "points": self.points,
            "decisions": self.decisions,
            "history": self.history,
            "plan": world.plan.document(),
            "state": world.state.document(),
            "judged_ns": now.now_ns,
            "harm_log10_e": evidence.harm / _LN10,
            "allocation_log10_e": evidence.allocation / _LN10,
            "problems": list(evidence.problems),
            "canary_units": evidence.canary_units,
            "champion_units": evidence.champion_units,
            "canary_requests": evidence.canary_requests,
            "champion_requests": evidence.champion_requests,
            "request_rate": evidence.request_rate,
            "guardrails": [_guardrail(each) for each in evidence.guardrails],
        }
        plain: dict[str, Any] = rounded(document)
        return orjson.loads(orjson.dumps(plain))  # type: ignore[no-any-return]

    def epochs(self) -> list[dict[str, Any]]:
        slices = self.world.slices()
        epochs = []
        for allocation in slices.allocations:
            rows = [i for i, each in enumerate(slices.epochs) if each == allocation.epoch]
            arms = (slices.canary[rows].sum(axis=0), slices.champion[rows].sum(axis=0))
            variants = []
            names = (self.world.plan.canary.name, self.world.plan.champion.name)
            for name, share, counts in zip(names, allocation.shares, arms, strict=True):
                latency = counts[FIRST_LATENCY:]
                filled = latency.nonzero()[0]
                variants.append(
                    {
                        "name": name,
                        "share": share,
                        "requests": int(counts[REQUESTS]),
                        "units": int(counts[UNITS]),
                        "errors": int(counts[ERRORS]),
                        "client_errors": int(counts[ERRORS + 1]),
                        "abandoned": int(counts[ERRORS + 2]),
                        "latency": [filled.tolist(), latency[filled].tolist()],
                    }
                )
            begin = int(slices.start_ns[rows[0]])
            epochs.append({"epoch": allocation.epoch, "first_ns": begin, "variants": variants})
        return epochs


def _guardrail(found: GuardrailEvidence) -> dict[str, Any]:
    return {**asdict(found), "metric": str(found.metric), "parts": dict(found.parts)}


def tell(of: Plan, **changes: Any) -> Told:
    """Return a rollout of this plan that has just begun; ``changes`` are the world's."""
    world = World(of, **changes)
    shift = 1_763_700_000 * 1_000_000_000 - world.now_ns
    world.now_ns += shift
    world.state = replace(
        world.state,
        since_ns=world.state.since_ns + shift,
        started_ns=world.state.started_ns + shift,
    )
    return Told(world)


@cache
def bad_rollout() -> Told:
    """Return a canary that fails five times as often, up to its end."""
    told = tell(
        plan(),
        rate=2000,
        canary=Behaviour(errors=0.05, client_errors=0.02),
        champion=Behaviour(errors=0.01, client_errors=0.02),
    )
    return told.run(400, Phase.ROLLED_BACK).run(6)


@cache
def good_rollout() -> Told:
    """Return a canary that is as good, up to its promotion."""
    told = tell(
        plan(),
        rate=3000,
        every=6,
        canary=Behaviour(errors=0.01, client_errors=0.02),
        champion=Behaviour(errors=0.01, client_errors=0.02),
    )
    return told.run(600, Phase.PROMOTED)
