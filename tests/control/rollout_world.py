"""A file with rollouts, their plans, and states to begin with."""

from itertools import count

from proxy.control.book import Entry
from proxy.rollout.plan import Plan, plan_of
from proxy.rollout.state import RolloutState
from proxy.rollout.transitions import begin
from proxy.settings import Settings, parse

__all__ = ["MINUTE", "START_NS", "TEXT", "Ids", "entry_of", "plan_in", "settings_of"]

START_NS = 1_700_000_000_000_000_000
MINUTE = 60_000_000_000

TEXT = """
models:
  m1: {url: "http://127.0.0.1:9001"}
  m2: {url: "http://127.0.0.1:9002"}
routes:
  - name: wine
    match: {path: "/wine/*"}
    variants:
      - {name: v1, model: m1, role: champion}
      - {name: v2, model: m2, role: canary, rollout: {steps: [5, 25, 50], hold: 1m}}
  - name: beer
    match: {path: "/beer/*"}
    variants:
      - {name: v1, model: m1, role: champion}
      - {name: v3, model: m2, role: canary, rollout: {steps: [10], bake: 1m}}
  - name: water
    match: {path: "/water/*"}
    variants:
      - {name: v1, model: m1, role: champion}
      - {name: v2, model: m2, role: canary, weight: 5}
"""


class Ids:
    """Ids that no rollout had, in an order that a test can say."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def __call__(self) -> str:
        """Return the next one."""
        return f"{next(self._numbers):016x}"


def settings_of(text: str = TEXT) -> Settings:
    """Return the settings of a document."""
    return parse(text, environ={})


def plan_in(settings: Settings, route: str = "wine") -> Plan:
    """Return the plan of a route's rollout."""
    plan = plan_of(settings, next(each for each in settings.routes if each.name == route))
    assert plan is not None
    return plan


def entry_of(settings: Settings, route: str = "wine", state: RolloutState | None = None) -> Entry:
    """Return the entry of a rollout, by default one that has just begun."""
    plan = plan_in(settings, route)
    return Entry(state or begin(plan, "00000000000000ff", START_NS), plan.document())
