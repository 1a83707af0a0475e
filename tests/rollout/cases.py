"""Rollouts of many kinds, each at some moment of its way."""

from dataclasses import replace
from decimal import Decimal

import numpy as np

from proxy.rollout.slices import ShadowEvidence
from proxy.rollout.state import Phase
from proxy.settings import Inconclusive
from tests.rollout.world import MINUTE, Behaviour, World, guardrail, plan

__all__ = ["case"]


def case(number: int) -> World:
    """Return one of many rollouts, at some moment of its way."""
    draw = np.random.default_rng(number)
    metrics = draw.permutation(["errors", "client_errors", "abandoned", "latency", "slow", "disagreement"])
    of = plan(
        steps=tuple(map(Decimal, ("0.5", 10, 40, 100)[int(draw.integers(4)) :])),
        guardrails=tuple(
            guardrail(
                str(each),
                margin=float(draw.choice([0.0, 0.1, 0.75])),
                advisory=bool(draw.random() < 0.2),
                asked_twice=0.5 if each == "disagreement" and number % 3 == 0 else 0.0,
            )
            for each in metrics[: int(draw.integers(1, 7))]
        ),
        bake_ns=int(draw.choice([0, MINUTE])),
        holdback=Decimal(int(draw.choice([0, 3]))),
        switch_back_ns=int(draw.choice([0, 60 * MINUTE])),
        on_inconclusive=Inconclusive(str(draw.choice(list(map(str, Inconclusive))))),
        excess_errors=None if draw.random() < 0.3 else 50,
        dry_run=bool(draw.random() < 0.1),
        max_duration_ns=int(draw.choice([5 * MINUTE, 24 * 60 * MINUTE])),
    )
    world = World(
        of,
        rate=int(draw.choice([5, 200])),
        canary=Behaviour(errors=float(draw.choice([0.0, 0.01, 0.3])), median_ms=float(draw.choice([20, 30]))),
        champion=Behaviour(errors=0.01, client_errors=0.02),
        seed=number,
        every=100,
    )
    phase = Phase(str(draw.choice(list(map(str, Phase)))))
    for step in range(-1, len(of.ladder)):
        serving = Phase.BAKING if step < 0 else Phase.RAMPING
        world.state = replace(world.state, phase=serving, step=step, since_ns=world.now_ns)
        world.serve(int(draw.integers(1, 12)))
    promoted_ns = world.now_ns if phase is Phase.PROMOTED else 0
    world.state = replace(
        world.state,
        phase=phase,
        promoted_ns=promoted_ns,
        paused_by=str(draw.choice(["", "", "anna"])),
        by=str(draw.choice(["engine", "engine", "ben"])),
    )
    world.serve(int(draw.integers(0, 12)))
    world.shadow = ShadowEvidence(1000, int(draw.integers(50)), 900, int(draw.integers(60)))
    if number % 3 == 0:  # the route asks the champion twice
        world.shadow = replace(
            world.shadow,
            triples=400,
            candidate_odd=int(draw.integers(60)),
            champion_odd=int(draw.integers(30)),
            both_odd=int(draw.integers(300)),
        )
    return world
