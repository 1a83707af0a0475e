"""What happens when: the parts of the story, and the configuration file that says so.

First a person steers the canary of ``digits`` by hand (``SCENES``). Then three builds come to ``parcels``, each as a
canary with a rollout, and nobody steers (``RELEASES``).

The run gets a directory of its own with a copy of ``config/demo.yaml``. Each edit replaces that copy whole
(written beside it, then renamed), as a deployment tool would; each version is kept beside it for
``modelproxy plan``.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import proxy
from proxy.demo.facts import Arm
from proxy.demo.models import ROLES
from proxy.routing.hashing import bucket
from proxy.routing.table import Route, compile_table
from proxy.settings import parse

__all__ = [
    "BAKE_S",
    "CHAMPION",
    "COPIES",
    "HOLD_S",
    "RELEASES",
    "ROLLOUT_ROUTE",
    "ROUTE",
    "SCENES",
    "STEPS",
    "ConfigFile",
    "Release",
    "Scene",
    "crowd",
    "find_config",
    "log_sample",
    "rounds",
    "user_names",
    "variants_of",
]

ROUTE = "digits"
"""Name of the route of ``config/demo.yaml`` that is steered by hand."""

ROLLOUT_ROUTE = "parcels"
"""Name of the route whose canaries have a rollout."""

CHAMPION = Arm("v1", "champion", "parcels-v1")
"""Of ``ROLLOUT_ROUTE``, before every release."""

STEPS = (5, 25, 50, 100)
HOLD_S = 2
BAKE_S = 3
COPIES = 20
"""Steps in percent, hold, bake and percent of copies of the rollouts, as the file has them."""

_CANARY_WEIGHT = re.compile(r"(role: canary, weight: )[0-9.]+")
_RELEASED = re.compile(rf"(^  - name: {ROLLOUT_ROUTE}\n.*?^    variants:\n)(.*)\Z", re.MULTILINE | re.DOTALL)
"""The variants are the last part of the last route, so that an edit is all that follows."""
_RELEASED_MODEL = re.compile(r"^  parcels-v3: .*\n", re.MULTILINE)
_SERVER = "${DEMO_PARCELS_URL:-http://127.0.0.1:9005}"


@dataclass(frozen=True, slots=True)
class Scene:
    """One part of the run with one weight of the canary that is steered by hand."""

    canary_weight: int
    """Percent of the route's traffic."""
    share: float
    """Share of the time, 0..1."""
    caption: str
    """What the operator does, for the reader of the demo."""


SCENES: tuple[Scene, ...] = (
    Scene(5, 0.3, "the canary gets its first 5 % of users"),
    Scene(20, 0.4, "fast and no errors, so the operator raises it to 20 %"),
    Scene(0, 0.3, "but it disagrees with the champion, so the operator takes it out"),
)


@dataclass(frozen=True, slots=True)
class Release:
    """One build that comes to ``ROLLOUT_ROUTE`` as a canary with a rollout."""

    variant: str
    role: str
    """What it is: a key of :data:`~proxy.demo.models.ROLES`."""
    bakes: bool
    """Copies are judged before any client meets it."""
    phase: str
    """How it ends."""
    caption: str
    """What the operator does, for the reader of the demo."""

    @property
    def model(self) -> str:
        """Its model in the file."""
        return f"parcels-{self.variant}"

    @property
    def model_line(self) -> str:
        """Its model's line in the file."""
        version = ROLES[self.role].version
        return f'  {self.model}: {{url: "{_SERVER}/v2/models/digits/versions/{version}"}}\n'


RELEASES: tuple[Release, ...] = (
    Release(
        "v3", "skewed", True, "rolled_back", "the same v3 once more, but now with a plan: copies come first"
    ),
    Release(
        "v4",
        "broken",
        False,
        "rolled_back",
        "v4 in a hurry, without copies; it raises where ink touches the edge",
    ),
    Release("v5", "fixed", True, "promoted", "v5 raises nothing and reads as v1 does"),
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


def rounds(users: Sequence[str], seed: int) -> Iterator[str]:
    """Yield users for ever, in rounds of random order: everybody visits as often as everybody else."""
    random = np.random.default_rng(seed)
    while True:
        for number in random.permutation(len(users)).tolist():
            yield users[number]


def crowd(regulars: Sequence[str]) -> Iterator[str]:
    """Yield visitors for ever: every third is a regular, in always the same order; the others never come again.

    Evidence counts a visitor's first error, so it grows with those who are new; whether anybody is ever moved back
    shows in those who return.
    """
    number = 0
    while True:
        for regular in regulars:
            yield regular
            for _ in range(2):
                number += 1
                yield f"guest-{number:06d}"


class ConfigFile:
    """The run's copy of the configuration file."""

    def __init__(self, template: str, folder: Path, environ: Mapping[str, str]) -> None:
        self.path = folder / "modelproxy.yaml"
        self.versions: list[Path] = []
        """Every version that was in force, oldest first."""
        self._template = template
        self._environ = environ

    def text(self, canary_weight: int, release: Release | None = None) -> str:
        """Return the file with the canary of ``ROUTE`` at ``canary_weight`` percent and ``release`` under way.

        Raises:
            ValueError: the template does not have exactly one canary with a weight, or not the route of releases.
        """
        text, found = _CANARY_WEIGHT.subn(rf"\g<1>{canary_weight}", self._template)
        if found != 1:
            raise ValueError(f"expected one canary with a weight in demo.yaml, found {found}")
        text, models = _RELEASED_MODEL.subn(release.model_line if release else "", text)
        text, found = _RELEASED.subn(lambda match: match[1] + _variants(release), text)
        if (models, found) != (1, 1):
            raise ValueError(f"expected a model parcels-v3, and {ROLLOUT_ROUTE} at the end of demo.yaml")
        return text

    def write(self, canary_weight: int, release: Release | None = None) -> None:
        """Replace the file atomically: a reader sees the old text or the new one, never half of one."""
        text = self.text(canary_weight, release)
        what = f"canary-{canary_weight}" if release is None else f"rollout-of-{release.variant}"
        kept = self.path.parent / "versions" / f"{len(self.versions) + 1}-{what}.yaml"
        kept.parent.mkdir(exist_ok=True)
        for target in (kept, self.path):
            fresh = target.with_suffix(".new")
            fresh.write_text(text, encoding="utf-8")
            fresh.replace(target)
        self.versions.append(kept)

    def route(self, canary_weight: int) -> Route:
        """Return ``ROUTE`` with its canary at ``canary_weight``, compiled without the running proxy."""
        settings = parse(self.text(canary_weight), environ=self._environ, source=str(self.path))
        return next(route for route in compile_table(settings, 1).routes if route.name == ROUTE)

    def arms(self) -> list[Arm]:
        """Return the variants of ``ROUTE``."""
        return [Arm(v.name, str(v.role), v.model.name) for v in self.route(SCENES[0].canary_weight).variants]


def _variants(release: Release | None) -> str:
    """Return what follows ``variants:`` in the route of releases."""
    champion = f"      - {{name: {CHAMPION.variant}, model: {CHAMPION.model}, role: champion}}\n"
    if release is None:
        return champion
    lines = [
        f"      - name: {release.variant}",
        f"        model: {release.model}",
        "        role: canary",
        "        rollout:                              # instead of a weight: what the canary shows moves it",
        f"          steps: [{', '.join(map(str, STEPS))}]             # percent of the users",
        f"          hold: {HOLD_S}s                            # at least so long on each step; in earnest minutes",
    ]
    if release.bakes:
        lines.append(
            f"          bake: {BAKE_S}s                            # before the first step: copies alone"
        )
    lines += [
        "          guardrails:",
        "            - {metric: errors, tolerance: 2%}",
        "            - {metric: latency, margin: 50%, promotion_margin: 200%}   # wide: one laptop runs all of this",
    ]
    if release.bakes:
        lines += [
            "            - {metric: disagreement, tolerance: 5%}",
            "    shadows:",
            f"      - {{model: {release.model}, percent: {COPIES}}}",
        ]
    return champion + "".join(f"{line}\n" for line in lines)


def variants_of(route: Route, users: list[str]) -> dict[str, str]:
    """Return the variant of each user, as assigned by ``route`` alone."""
    return {user: route.assign(route.bucket(user.encode())).name for user in users}


def log_sample(route: Route, users: list[str]) -> frozenset[str]:
    """Return the users whose requests ``route`` logs."""
    return frozenset(user for user in users if bucket(route.log_prefix, user.encode()) < route.log_limit)
