"""What the file asks of one rollout, with everything about the route that its evidence rests on.

A plan is a value that can be written down whole: a decision is recorded with it, and an edit of the file is judged by
comparing the plan before with the plan after.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import orjson

from proxy.model import Inconclusive, Metric, Role

if TYPE_CHECKING:
    # For names alone: the observer has settings without their classes (:mod:`proxy.settled`).
    from proxy.settings import Guardrail as GuardrailSettings
    from proxy.settings import Route, Settings, Variant

__all__ = ["EVENT_METRICS", "HARM_METRICS", "Arm", "Guardrail", "Plan", "plan_of"]

EVENT_METRICS = (Metric.ERRORS, Metric.CLIENT_ERRORS, Metric.ABANDONED)
"""Metrics that workers count as events, in the order of their columns."""

HARM_METRICS = (*EVENT_METRICS, Metric.LATENCY, Metric.SLOW, Metric.FEEDBACK)
"""Metrics that may roll back. Answers that differ are not worse, so disagreement never does."""

_HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Guardrail:
    """A metric that the canary must not worsen; margins and tolerance as fractions."""

    name: str
    metric: Metric
    margin: float
    promotion_margin: float
    tolerance: float | None
    threshold_ns: int | None
    advisory: bool
    asked_twice: float = 0.0
    """Of disagreement: the part of the copies beside which the champion is asked once more."""

    @property
    def above_noise(self) -> bool:
        """Whether what is held to the tolerance is how much more the canary differs than the champion from itself."""
        return self.asked_twice > 0


@dataclass(frozen=True, slots=True)
class Arm:
    """A variant, as far as evidence about it depends on it."""

    name: str
    model: str
    urls: tuple[str, ...]

    def same_model(self, other: "Arm") -> bool:
        """Tell whether both are answered by the same model: its key, and a server that both have.

        Servers of a model are each as good as the other, so one more or one less changes nothing that was learned. A
        list that shares none with the one before is another deployment.
        """
        return self.model == other.model and not set(self.urls).isdisjoint(other.urls)


@dataclass(frozen=True, slots=True)
class Plan:
    """One rollout, as the file has it. Weights are percents, risks fractions, times nanoseconds."""

    route: str
    salt: str
    units: tuple[str, ...]
    missing_unit: str
    canary: Arm
    champion: Arm
    others: Decimal
    """Percent that the route's other variants have by weight."""
    has_shadow: bool
    """The canary's model also gets copies of this route's requests."""
    steps: tuple[Decimal, ...]
    hold_ns: int
    bake_ns: int
    guardrails: tuple[Guardrail, ...]
    false_rollback: float
    false_promotion: float
    excess_errors: int | None
    on_inconclusive: Inconclusive
    max_duration_ns: int
    dry_run: bool
    holdback: Decimal
    switch_back_ns: int

    @property
    def most(self) -> Decimal:
        """Percent of the canary once promoted: what the holdback and the other variants leave."""
        return max(Decimal(0), _HUNDRED - self.holdback - self.others)

    @property
    def ladder(self) -> tuple[Decimal, ...]:
        """The steps below the promotion; empty for a switch of everything at once (blue/green)."""
        return tuple(step for step in self.steps if step < self.most)

    @property
    def goes_above_noise(self) -> bool:
        """Whether some guardrail is about what is above the champion's own noise."""
        return any(each.above_noise for each in self.guardrails)

    @property
    def critical(self) -> tuple[Guardrail, ...]:
        """The guardrails that decide."""
        return tuple(each for each in self.guardrails if not each.advisory)

    def document(self) -> dict[str, Any]:
        """Return the plan as plain values; decimals as text."""
        document = {each.name: _plain(getattr(self, each.name)) for each in fields(self)}
        document["guardrails"] = [_guardrail_document(each) for each in self.guardrails]
        return document

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Plan":
        """Return the plan that :meth:`document` wrote.

        Raises:
            ValueError: it is not one.
        """
        try:
            return cls(**{name: _READ.get(name, _as_is)(document[name]) for name in _NAMES})
        except (KeyError, TypeError, ArithmeticError, AttributeError) as error:
            raise ValueError(f"expected a rollout's plan: {error!r}") from error

    def digest(self) -> str:
        """Return 16 hex digits that no two plans share."""
        return sha256(orjson.dumps(self.document(), option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


_NAMES = tuple(each.name for each in fields(Plan))


def _guardrail_document(guardrail: Guardrail) -> dict[str, Any]:
    document = {each.name: getattr(guardrail, each.name) for each in fields(guardrail)}
    # It is newer than the others: plans without it have the digest and the snapshots that they always had.
    if not guardrail.asked_twice:
        del document["asked_twice"]
    return document


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value.normalize() + 0)
    if isinstance(value, Arm):
        return {"name": value.name, "model": value.model, "urls": list(value.urls)}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value


def _as_is(value: Any) -> Any:
    return value


def _arm(value: Mapping[str, Any]) -> Arm:
    return Arm(value["name"], value["model"], tuple(value["urls"]))


def _guardrails(values: Any) -> tuple[Guardrail, ...]:
    return tuple(Guardrail(**{**value, "metric": Metric(value["metric"])}) for value in values)


_READ: dict[str, Any] = {
    "canary": _arm,
    "champion": _arm,
    "units": tuple,
    "others": Decimal,
    "steps": lambda values: tuple(map(Decimal, values)),
    "guardrails": _guardrails,
    "on_inconclusive": Inconclusive,
    "holdback": Decimal,
}


def plan_of(settings: "Settings", route: "Route") -> Plan | None:
    """Return the plan of a route's rollout; None without one."""
    canary = route.rollout_variant
    if canary is None or canary.rollout is None:
        return None
    rollout = canary.rollout
    champion = next(each for each in route.variants if each.role is Role.CHAMPION)
    return Plan(
        route=route.name,
        salt=route.salt or route.name,
        units=tuple(f"{source.kind}:{source.name}" for source in route.unit),
        missing_unit=route.missing_unit,
        canary=_arm_of(settings, canary),
        champion=_arm_of(settings, champion),
        others=sum((each.weight for each in route.variants if each.weight is not None), Decimal(0)),
        has_shadow=any(shadow.model == canary.model and shadow.percent > 0 for shadow in route.shadows),
        steps=tuple(rollout.steps),
        hold_ns=rollout.hold,
        bake_ns=rollout.bake,
        guardrails=tuple(_guardrail(each, route) for each in rollout.guardrails),
        false_rollback=_fraction(rollout.false_rollback),
        false_promotion=_fraction(rollout.false_promotion),
        excess_errors=None if rollout.budget is None else rollout.budget.excess_errors,
        on_inconclusive=rollout.on_inconclusive,
        max_duration_ns=rollout.max_duration,
        dry_run=rollout.dry_run,
        holdback=rollout.holdback,
        switch_back_ns=rollout.switch_back,
    )


def _arm_of(settings: "Settings", variant: "Variant") -> Arm:
    return Arm(variant.name, variant.model, settings.models[variant.model].urls)


def _guardrail(guardrail: "GuardrailSettings", route: "Route") -> Guardrail:
    return Guardrail(
        guardrail.label,
        guardrail.metric,
        _fraction(guardrail.margin),
        _fraction(guardrail.promotion_margin),
        None if guardrail.tolerance is None else _fraction(guardrail.tolerance),
        guardrail.threshold,
        guardrail.advisory,
        _fraction(route.compare.noise) if guardrail.metric is Metric.DISAGREEMENT else 0.0,
    )


def _fraction(percent: Decimal) -> float:
    return float(percent / 100)
