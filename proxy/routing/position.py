"""Where a rollout stands: the weight that its variant has now, in place of one that the file would say."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from proxy.settings import Route

__all__ = ["Position", "parse_positions", "weights_of"]

_ID = re.compile("[0-9a-f]{16}")
"""Of a rollout. Files are named after it."""


@dataclass(frozen=True, slots=True)
class Position:
    """One variant's place on its way."""

    route: str
    variant: str
    rollout: str
    """Id of the rollout: 16 hex digits, new for each start."""
    weight: Decimal
    """Percent of the route's units, 0 to 100."""

    def document(self) -> dict[str, str]:
        """Return it for a message; the weight as text, so that it stays exact."""
        return {
            "route": self.route,
            "variant": self.variant,
            "rollout": self.rollout,
            "weight": str(self.weight),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Position":
        """Return what :meth:`document` described.

        Raises:
            ValueError: something is missing, or the weight is no percent.
        """
        try:
            route, variant, rollout = document["route"], document["variant"], document["rollout"]
            weight = Decimal(document["weight"])
        except (KeyError, TypeError, InvalidOperation) as error:
            raise ValueError(f"expected route, variant, rollout and weight, got {dict(document)}") from error
        is_named = all(isinstance(name, str) and name for name in (route, variant, rollout))
        if not is_named or not _ID.fullmatch(rollout) or weight.is_nan() or not 0 <= weight <= 100:
            raise ValueError(
                f"expected names, 16 hex digits and a weight from 0 to 100, got {dict(document)}"
            )
        return cls(route, variant, rollout, weight)


def parse_positions(documents: Iterable[Mapping[str, Any]]) -> tuple[Position, ...]:
    """Return the positions of a message.

    Raises:
        ValueError: one of them is malformed.
    """
    return tuple(map(Position.from_document, documents))


def weights_of(route: "Route", positions: Mapping[str, Position]) -> dict[int, Decimal]:
    """Return the weight in percent of every variant but the champion, by index; they add up to 100 at most.

    A rollout, of which a route has one at most, is taken to be at its first step when it has no position. It never
    takes what the file promises to others: its 100 % are all that they leave.

    Args:
        route: the route as the file has it.
        positions: where its rollouts stand, by the variant's name.
    """
    weights = {i: v.weight for i, v in enumerate(route.variants) if v.weight is not None}
    left = 100 - sum(weights.values(), Decimal(0))
    for index, variant in enumerate(route.variants):
        if variant.rollout is not None:
            position = positions.get(variant.name)
            weights[index] = min(position.weight if position else variant.rollout.steps[0], left)
    return weights
