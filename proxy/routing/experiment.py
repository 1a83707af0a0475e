"""What a route tries: its variants and their exact shares, named so that equal circumstances have equal names.

An *epoch* is a stretch of constant shares. Numbers of two epochs are never added up, because users who were not
assigned by the same odds cannot be compared; a table that comes again with the same odds goes on in the same epoch,
whatever else was edited.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

from proxy.evidence.layout import CELLS, CELLS_STANDING, FIELDS, LAYOUT, block_size
from proxy.routing.hashing import SPACE

__all__ = ["Arm", "Experiment", "compile_experiment"]


@dataclass(frozen=True, slots=True)
class Arm:
    """One variant, as far as evidence about it depends on it."""

    name: str
    urls: tuple[str, ...]
    """Of its model."""
    width: int
    """Buckets that it owns, of 2^64."""
    is_champion: bool = False


@dataclass(frozen=True, slots=True)
class Experiment:
    """What there may be evidence about."""

    rollout: str
    """Id of the rollout; of a route without one, derived from what is compared."""
    epoch: str
    """Id of the stretch of constant shares: 16 hex digits."""
    arms: tuple[Arm, ...]
    """Every variant, in the order of the route."""
    is_tried: bool
    """One of them is on its way by a rollout; else these are fixed weights."""

    @property
    def cells(self) -> int:
        """How many cells the map of units has; a power of two."""
        return CELLS if self.is_tried else CELLS_STANDING

    @property
    def size(self) -> int:
        """How many integers a block of evidence has."""
        return block_size(len(self.arms))

    @property
    def champion(self) -> int:
        """Index of the champion."""
        return next(i for i, arm in enumerate(self.arms) if arm.is_champion)

    @property
    def probabilities(self) -> tuple[float, ...]:
        """The chance of each variant; they add up to 1."""
        return tuple(arm.width / SPACE for arm in self.arms)

    def base(self, index: int) -> int:
        """Return where the integers of variant ``index`` begin in a block."""
        return index * FIELDS

    def share(self, index: int) -> float:
        """Return the chance of variant ``index``, given that it is this one or the champion; 0 if neither has any.

        The nearest float to the exact ratio of widths.
        """
        own, rest = self.arms[index].width, self.arms[self.champion].width
        return own / (own + rest) if own + rest else 0.0


def compile_experiment(
    arms: Sequence[Arm], circumstances: Iterable[str], rollout: str | None, *, is_tried: bool
) -> Experiment | None:
    """Return what the route tries, or None when only one variant can get traffic and none is on its way.

    Args:
        arms: every variant of the route.
        circumstances: what else evidence without a rollout depends on: the route's name, its salt, its units.
        rollout: id of the route's rollout; None: it has none, or it is not known.
        is_tried: the route has a rollout: then the champion is measured also while the other has no traffic yet.
    """
    if len(arms) < 2 or not (is_tried or sum(arm.width > 0 for arm in arms) > 1):
        return None
    if rollout is None:
        rollout = _digest([*circumstances], [[arm.name, *arm.urls] for arm in arms])
    champion = [arm.name for arm in arms if arm.is_champion]
    epoch = _digest(LAYOUT, rollout, [[arm.name, str(arm.width), *arm.urls] for arm in arms], champion)
    return Experiment(rollout, epoch, tuple(arms), is_tried)


def _digest(*parts: Any) -> str:
    return sha256(orjson.dumps(parts)).hexdigest()[:16]
