"""What happens when: the steps of the canary's weight, and the configuration file that says so.

The run gets a directory of its own with a copy of ``config/demo.yaml``. Each step replaces that copy whole
(written beside it, then renamed), as a deployment tool would; each version is kept beside it for
``modelproxy plan``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import proxy
from proxy.demo.facts import Arm
from proxy.routing.hashing import bucket
from proxy.routing.table import Route, compile_table
from proxy.settings import parse

__all__ = ["ROUTE", "SCENES", "ConfigFile", "Scene", "find_config", "log_sample", "user_names", "variants_of"]

ROUTE = "digits"
"""Name of the only route of ``config/demo.yaml``."""

_CANARY_WEIGHT = re.compile(r"(role: canary, weight: )[0-9.]+")


@dataclass(frozen=True, slots=True)
class Scene:
    """One part of the run with one weight of the canary."""

    canary_weight: int
    """Percent of the route's traffic."""
    share: float
    """Share of the traffic time, 0..1."""
    caption: str
    """What the operator does, for the reader of the demo."""


SCENES: tuple[Scene, ...] = (
    Scene(5, 0.3, "the canary gets its first 5 % of users"),
    Scene(20, 0.4, "fast and no errors, so the operator raises it to 20 %"),
    Scene(0, 0.3, "but it disagrees with the champion, so the operator takes it out"),
)


def find_config() -> Path:
    """Return the shipped ``demo.yaml``: inside the installed package, or in the repository beside it.

    Raises:
        FileNotFoundError: neither exists.
    """
    package = Path(proxy.__file__).parent
    for folder in (package / "config", package.parent / "config"):
        if (folder / "demo.yaml").is_file():
            return folder / "demo.yaml"
    raise FileNotFoundError(
        "config/demo.yaml is neither in the installed package nor in the repository beside it"
    )


def user_names(count: int) -> list[str]:
    """Return the names of the users, always the same."""
    return [f"user-{number:03d}" for number in range(1, count + 1)]


class ConfigFile:
    """The run's copy of the configuration file."""

    def __init__(self, template: str, folder: Path, environ: Mapping[str, str]) -> None:
        self.path = folder / "modelproxy.yaml"
        self.versions: list[Path] = []
        """Every version that was in force, oldest first."""
        self._template = template
        self._environ = environ

    def text(self, canary_weight: int) -> str:
        """Return the file with the canary at ``canary_weight`` percent.

        Raises:
            ValueError: the template does not have exactly one canary line.
        """
        text, found = _CANARY_WEIGHT.subn(rf"\g<1>{canary_weight}", self._template)
        if found != 1:
            raise ValueError(f"expected one canary with a weight in demo.yaml, found {found}")
        return text

    def write(self, canary_weight: int) -> None:
        """Replace the file atomically: a reader sees the old text or the new one, never half of one."""
        text = self.text(canary_weight)
        kept = self.path.parent / "versions" / f"{len(self.versions) + 1}-canary-{canary_weight}.yaml"
        kept.parent.mkdir(exist_ok=True)
        for target in (kept, self.path):
            fresh = target.with_suffix(".new")
            fresh.write_text(text, encoding="utf-8")
            fresh.replace(target)
        self.versions.append(kept)

    def route(self, canary_weight: int) -> Route:
        """Return the route with the canary at ``canary_weight``, compiled without the running proxy."""
        settings = parse(self.text(canary_weight), environ=self._environ, source=str(self.path))
        return next(route for route in compile_table(settings, 1).routes if route.name == ROUTE)

    def arms(self) -> list[Arm]:
        """Return the route's variants."""
        return [Arm(v.name, str(v.role), v.model.name) for v in self.route(SCENES[0].canary_weight).variants]


def variants_of(route: Route, users: list[str]) -> dict[str, str]:
    """Return the variant of each user, as assigned by ``route`` alone."""
    return {user: route.assign(route.bucket(user.encode())).name for user in users}


def log_sample(route: Route, users: list[str]) -> frozenset[str]:
    """Return the users whose requests ``route`` logs."""
    return frozenset(user for user in users if bucket(route.log_prefix, user.encode()) < route.log_limit)
