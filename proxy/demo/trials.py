"""Everything that was seen of the rollouts, as frozen values.

As in ``facts``, what clients saw, what models did and what the proxy claims are kept apart; they meet only in
``trial_checks``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from proxy.demo.facts import Answer, Backend, Claims
from proxy.demo.story import CHAMPION, Release

__all__ = [
    "LIMIT_PERCENT",
    "Counted",
    "Epoch",
    "Paper",
    "Rehearsal",
    "Steered",
    "Trial",
    "Trials",
    "read_epochs",
    "read_trial",
]

LIMIT_PERCENT = 10
"""Of answers to logged requests that may differ. The good build differs in one of a hundred scans, the wrong one in 28,
and the log of a quick run has some hundred."""

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Counted:
    """What the evidence holds of one variant."""

    requests: int = 0
    units: int = 0
    failed: int = 0
    """Requests that it failed, whoever answered in its place."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """A stretch of constant weights, as the evidence has it."""

    canary_share: float
    """Of the route's units, 0..1."""
    canary: Counted
    champion: Counted


@dataclass(frozen=True, slots=True)
class Steered:
    """One line of the journal about a rollout."""

    event: str
    """``decision``: the engine's; ``verb``: a person's; ``note``: it was judged and nothing moves."""
    verdict: str
    reason: str
    by: str
    rollout: str
    version: int
    """Table version that is in force from then on."""
    wall_s: float
    from_weight: float | None
    to_weight: float | None
    """Percent; None in a note."""
    config_digest: str
    evidence_digest: str
    requests_exposed: int
    units_exposed: int
    harm: float
    """Natural log of the evidence of harm."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One build as a canary, from its edit of the file to its end."""

    release: Release
    rollout: str
    """The id; empty when it never began."""
    phase: str
    """In which it was left."""
    seconds: float
    """From the edit to the end."""
    ended_s: float
    """When that was in force in every worker, in seconds of the traffic."""
    epochs: Sequence[Epoch]
    met: Backend
    """The books of its model server, when its evidence had come to rest."""
    compared: int
    disagreed: int
    """What copies showed, as the evidence has it."""
    allocation: float
    """log10 e of a coin that does not fall as the weights say."""

    @property
    def canary(self) -> Counted:
        """What the evidence holds of the canary, whatever its weight was."""
        return Counted(
            sum(epoch.canary.requests for epoch in self.epochs),
            sum(epoch.canary.units for epoch in self.epochs),
            sum(epoch.canary.failed for epoch in self.epochs),
        )


@dataclass(frozen=True, slots=True)
class Paper:
    """The written reports of the rollouts."""

    paths: Sequence[str]
    """One for each rollout; empty when they could not be written."""
    verified: bool
    """Every decision was computed again from what is stored, and came out the same."""
    said: str
    """What the commands printed, when something went wrong."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a replay said of one build."""

    variant: str
    exit_code: int
    sent: int = 0
    agree: int = 0
    disagree: int = 0
    low: float = 0.0
    high: float = 1.0
    """Interval of the share that differs, 0..1."""
    logged: Mapping[str, int | None] = field(default_factory=dict)
    """Labels that the log has of the champion's answers, by the id of the request as it was replayed."""

    @property
    def has_passed(self) -> bool:
        """The replay would have let the build go on."""
        return self.exit_code == 0

    def sentence(self) -> str:
        """Return it in words."""
        share = self.disagree / max(self.agree + self.disagree, 1)
        verdict = "let through" if self.has_passed else "refused"
        return (
            f"{self.variant} met the log before any user: of {self.sent} requests {share:.1%} were answered "
            f"otherwise than v1 did ({self.low:.1%} to {self.high:.1%}), allowed {LIMIT_PERCENT} %: {verdict}"
        )


@dataclass(frozen=True, slots=True)
class Trials:
    """All rollouts of one run."""

    trials: Sequence[Trial]
    answers: Sequence[Answer]
    backends: Mapping[str, Backend]
    """By model, at the end."""
    claims: Claims
    journal: Sequence[Steered]
    """Of the route, oldest first."""
    versions: Sequence[int]
    """Every table version that the journal tells of, oldest first, of all routes."""
    paper: Paper | None = None
    """None: none was written."""
    rehearsals: Sequence[Rehearsal] = ()
    """Of the builds that met the log before any client."""

    def steered(self, trial: Trial, event: str) -> list[Steered]:
        """Return the lines of one rollout that are an ``event``, oldest first."""
        return [each for each in self.journal if each.rollout == trial.rollout and each.event == event]

    def trial(self, variant: str) -> Trial:
        """Return the trial of ``variant``; KeyError when there is none."""
        for each in self.trials:
            if each.release.variant == variant:
                return each
        raise KeyError(variant)


def read_epochs(release: Release, document: Document) -> list[Epoch]:
    """Return the stretches of constant weights with ``release`` in ``/api/v1/routes/{route}/rollout``."""
    found = []
    for epoch in (document.get("evidence") or {}).get("epochs", ()):
        arms = {each["name"]: each for each in epoch["variants"]}
        if release.variant in arms:
            canary, champion = arms[release.variant], arms[CHAMPION.variant]
            found.append(Epoch(canary["share"], _counted(canary), _counted(champion)))
    return found


def _counted(arm: Mapping[str, Any]) -> Counted:
    return Counted(arm["requests"], arm["units"], arm["errors_requests"])


def read_trial(release: Release, document: Document, books: Backend, seconds: float, ended_s: float) -> Trial:
    """Return what ``document`` (``/api/v1/routes/{route}/rollout``) says of ``release``; a trial of nothing when it is
    empty.

    Args:
        release: the build.
        document: as the admin address shows it.
        books: of its model server, at the same time.
        seconds: how long it took.
        ended_s: when it was over, in seconds of the traffic.
    """
    evidence = document.get("evidence") or {}
    shadow = evidence.get("shadow") or {}
    return Trial(
        release=release,
        rollout=document.get("rollout", ""),
        phase=document.get("phase", ""),
        seconds=seconds,
        ended_s=ended_s,
        epochs=read_epochs(release, document),
        met=books,
        compared=shadow.get("compared", 0),
        disagreed=shadow.get("disagreed", 0),
        allocation=evidence.get("allocation_log10_e", 0.0),
    )
