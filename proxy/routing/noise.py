"""The champion asked once more: what a route's ``compare.noise`` compiles to.

A share of the requests that a champion answers and that are mirrored goes to the champion again, as a copy beside the
candidates'. For the road it is one more shadow of the table, with a pool, a budget and counts of its own; nothing else
of a request knows of it, but that its order among the copies is drawn (:mod:`proxy.dataplane.order`).

Rules
    * It is asked as the candidates are: marked as a copy, never retried, with their timeout (the longest, where they
      differ; ``validate`` warns then). Else the two answers could not change places, see :mod:`proxy.noise.triples`.
    * Its sample has a salt of its own and is drawn among the requests that go to some candidate, so that each candidate
      has the same share of its copies beside it.
    * It is worth least of all: it has half of the budget of the smallest shadow, and is dropped when a worker, or its
      model, has half of what it may have under way, where others are at three quarters.
"""

from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.settings import Model as ModelSettings
    from proxy.settings import Route as RouteSettings

__all__ = ["NoiseSettings", "noise_settings", "stretch_of"]


@dataclass(frozen=True, slots=True)
class NoiseSettings:
    """What :class:`proxy.settings.Shadow` says of others, derived from those of the route."""

    percent: Decimal
    timeout: int
    max_in_flight: int
    max_bytes: int
    salt: str


def noise_settings(route: "RouteSettings") -> NoiseSettings | None:
    """Return the settings of the champion's second call; None where the route wants none, or has nothing to compare."""
    compare = route.compare
    candidates = [shadow for shadow in route.shadows if shadow.percent]
    if not compare.noise or compare.as_ == "none" or not candidates:
        return None
    return NoiseSettings(
        percent=compare.noise,
        timeout=max(shadow.timeout for shadow in candidates),
        max_in_flight=max(1, min(shadow.max_in_flight for shadow in candidates) // 2),
        max_bytes=min(shadow.max_bytes for shadow in candidates) // 2,
        salt=f"{route.name}/noise",
    )


def stretch_of(
    route: "RouteSettings", champion: tuple[str, "ModelSettings"], candidate: tuple[str, "ModelSettings"]
) -> str:
    """Return the name of what evidence about the noise is gathered for: another rule or another model begins anew.

    16 hex digits, of the route's name, its rule of comparison, and of both models, their names and where they are: a
    model that is another one at the same address needs another name.
    """
    models = [(name, settings.urls) for name, settings in (champion, candidate)]
    said = (route.name, route.compare.digest, models)
    return sha256(repr(said).encode()).hexdigest()[:16]
