"""Milliseconds per decision: from the counts of a rollout to a verdict, for small and large plans.

*rule* is what each look takes, twice a second: whether anything follows. *decide* is that and all that people are
shown: sentence, needs, intervals, forecasts; made when the verdict is another one or written down, or every 2 s.

Run from the project's folder: ``python -m benchmarks.decision``. What is shown is the time of the processor, which
other work on the machine disturbs least: the best and the median of many passes. *+ 24 hours* is with a day of users
who come back, each hour of which is judged by itself.
"""

import platform
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from time import process_time_ns

import numpy as np

from proxy.rollout.assemble import Assembly, assemble
from proxy.rollout.decide import decide, rule_on
from proxy.rollout.plan import Guardrail, Plan
from proxy.rollout.slices import BUCKETS, RENEWED_EVENTS, RENEWED_FIELDS, Renewals, Slices
from proxy.stats.latency import Reference
from tests.rollout.world import MINUTE, Behaviour, World, guardrail, plan

__all__ = ["main"]

PASSES = 100
HOUR_NS = 60 * MINUTE


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


def _day_of_hours(world: World) -> Slices:
    """Return the slices with a day of users who come back, 2,000 of them in each hour."""
    draw, hours = np.random.default_rng(1), 24
    counts = np.zeros((2, hours, RENEWED_FIELDS), np.int64)
    for arm, share in enumerate((0.25, 0.75)):
        for hour in range(hours):
            counts[arm, hour, :RENEWED_EVENTS] = draw.multinomial(int(2000 * share), world.reference.mass)
            counts[arm, hour, RENEWED_EVENTS:] = draw.binomial(int(2000 * share), 0.01, 3)
    first = world.state.started_ns // HOUR_NS
    again = Renewals(
        epochs=("e",) * hours,
        generation=np.arange(first, first + hours),
        share=np.full(hours, 0.25),
        canary=counts[0],
        champion=counts[1],
        reference=np.arange(hours),
        references=tuple(Reference(counts.sum(axis=0)[hour, :BUCKETS]) for hour in range(hours)),
    )
    return replace(world.slices(), renewals=again)


def _works(world: World, slices: Slices) -> dict[str, Callable[[], object]]:
    of, state, now_ns = world.plan, world.state, world.now_ns
    again = slices.renewals

    def counted() -> Slices:
        """Return the slices with one more answer in the present hour; those that are over stay."""
        if again.epochs:
            again.canary[-1, 0] += 1
        return slices

    return {
        "rule": lambda: rule_on(Assembly(of, state, counted(), now_ns)),
        "decide": lambda: decide(of, state, assemble(of, state, counted(), now_ns), now_ns),
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
            world = _world(of, bins)
            for hours, slices in (("", world.slices()), ("+ 24 hours", _day_of_hours(world))):
                for work, run in _works(world, slices).items():
                    best, median = _milliseconds(run)
                    print(f"{name:<14} {bins:>4} slices {hours:<10}  {work:<6} {best:8.2f} {median:8.2f}")


if __name__ == "__main__":
    main()
