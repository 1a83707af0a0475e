"""A canary that is the champion's twin, through hundreds of looks: incidents, quiet hours and all, it stays."""

from pathlib import Path

import numpy as np
import pytest

from proxy.evidence.blocks import open_evidence
from proxy.evidence.layout import (
    BUCKETS,
    ERRORS,
    EVENTS,
    FIELDS,
    FIRST_EVENTS,
    FIRST_LATENCY,
    LATENCY,
    REQUEST_EVENTS,
    REQUESTS,
    UNITS,
)
from tests.engine.deciding_world import CONFIG, WAIT_S, World

pytestmark = pytest.mark.slow

RATE = 300
"""Requests of a tick, on the average of a day."""


def serve(world: World, tick: int, generator: np.random.Generator) -> None:
    """Count a second of traffic: one shape for both variants, which an incident and the hour change for both."""
    experiment = world.table.routes[0].experiment
    assert experiment is not None
    widths = np.array([arm.width for arm in experiment.arms], np.float64)
    requests = generator.poisson(RATE * (1 + 0.4 * np.sin(tick / 80)))
    is_incident = 100 <= tick < 140 or 400 <= tick < 440
    block = open_evidence(world.run_dir, experiment.epoch, 0, experiment.size)
    for index, number in enumerate(generator.multinomial(requests, widths / widths.sum()).tolist()):
        failed = int(generator.binomial(number, 0.2 if is_incident else 0.01))
        took_us = 20_000 * (3 if is_incident else 1) * np.exp(0.5 * generator.standard_normal(number))
        buckets = np.bincount((1 + np.log(took_us) / np.log(1.05)).astype(int), minlength=BUCKETS)
        counts = np.zeros(FIELDS, np.int64)
        counts[[REQUESTS, UNITS]] = number
        counts[[REQUEST_EVENTS + ERRORS, FIRST_EVENTS + ERRORS, EVENTS + ERRORS]] = failed
        counts[LATENCY : LATENCY + BUCKETS] = counts[FIRST_LATENCY : FIRST_LATENCY + BUCKETS] = buckets
        for field in np.flatnonzero(counts).tolist():
            block.slots[index * FIELDS + field] += int(counts[field])
    block.close()


@pytest.mark.parametrize("looks", [300, pytest.param(1000, marks=pytest.mark.long)])
async def test_a_twin_survives_every_look(tmp_path: Path, looks: int) -> None:
    """It goes up step by step, and is never rolled back: not on the way, and not by the holdback after it."""
    world = World(tmp_path, CONFIG.replace("hold: 60s", "hold: 60s, holdback: 5%"))
    world.publish()
    generator = np.random.default_rng(1)
    worst = 0.0
    for tick in range(looks):
        serve(world, tick, generator)
        await world.tick()
        judged = world.deciding.judgements["wine"]
        assert judged["verdict"] in ("hold", "ramp", "promote"), (tick, judged["sentence"])
        worst = max(worst, judged["log_e"]["harm"])
    await world.deciding.finish(WAIT_S)
    assert world.deciding.tick_failures == 0
    assert world.decided() == ["ramp"] * 3 + ["promote"]
    assert worst < np.log(100)
    assert world.state is not None
    assert str(world.state.phase) == "promoted"
