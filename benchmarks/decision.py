"""Milliseconds per decision: from the counts of a rollout to a verdict, for small and large plans.

*rule* is what each look takes, twice a second: whether anything follows. *decide* is that and all that people are
shown: sentence, needs, intervals, forecasts; made when the verdict is another one or written down, or every 2 s.

Run from the project's folder: ``python -m benchmarks.decision``. What is shown is the time of the processor, which
other work on the machine disturbs least: the best and the median of many passes.
"""

import platform
from collections.abc import Callable
from decimal import Decimal
from time import process_time_ns

import numpy as np

from proxy.rollout.assemble import Assembly, assemble
from proxy.rollout.decide import decide, rule_on
from proxy.rollout.plan import Guardrail, Plan
from tests.rollout.world import MINUTE, Behaviour, World, guardrail, plan

__all__ = ["main"]

PASSES = 100


def _guardrails(count: int) -> tuple[Guardrail, ...]:
    """Return so many guardrails: each kind once, and thresholds of what is slow."""
    kinds = [guardrail(each) for each in ("errors", "client_errors", "abandoned", "latency", "disagreement")]
    thresholds = [
        guardrail("slow", name=f"slow_{i}", threshold_ns=int(20_000_000 * 1.1**i)) for i in range(count)
    ]
    return tuple((*kinds, *thresholds)[:count])


def _world(of: Plan, bins: int) -> World:
    same = Behaviour(errors=0.01, client_errors=0.02)
    world = World(of, rate=2000, canary=same, champion=same)
    world.serve(bins)
    return world


def _works(world: World) -> dict[str, Callable[[], object]]:
    of, state, slices, now_ns = world.plan, world.state, world.slices(), world.now_ns
    return {
        "rule": lambda: rule_on(Assembly(of, state, slices, now_ns)),
        "decide": lambda: decide(of, state, assemble(of, state, slices, now_ns), now_ns),
    }


def _milliseconds(work: Callable[[], object]) -> tuple[float, float]:
    times = []
    for _ in range(PASSES):
        begun = process_time_ns()
        work()
        times.append((process_time_ns() - begun) / 1e6)
    times.sort()
    return times[0], times[PASSES // 2]


def main() -> None:
    """Print a line for each size."""
    print(
        f"decisions · Python {platform.python_version()} · numpy {np.__version__} · ms: best, median of {PASSES}"
    )
    for name, guardrails in (("default plan", plan().guardrails), ("20 guardrails", _guardrails(20))):
        for bins in (60, 512):
            of = plan(guardrails=guardrails, steps=(Decimal(25), Decimal(100)), hold_ns=5 * MINUTE)
            for work, run in _works(_world(of, bins)).items():
                best, median = _milliseconds(run)
                print(f"{name:<14} {bins:>4} slices  {work:<6} {best:8.2f} {median:8.2f}")


if __name__ == "__main__":
    main()
