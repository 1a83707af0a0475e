"""The live view: what is going on right now, on a terminal as one moving page, elsewhere as plain lines."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from proxy.demo.facts import Arm
from proxy.demo.story import SCENES
from proxy.demo.traffic import VariantScore
from proxy.demo.trial_view import describe_rollout, render_rollout

__all__ = ["Clock", "LiveView", "PlainView", "Snapshot", "View", "render"]

_BAR = 14
_EVENTS = 5
_PLAIN_EVERY_S = 5.0
_PLAIN_ROLLOUT_EVERY_S = 2.0
_COLOURS = {"champion": "green", "challenger": "cyan", "canary": "yellow"}


@dataclass
class Snapshot:
    """Everything the view shows, at one moment."""

    addresses: Mapping[str, str]
    """What listens where."""
    arms: Sequence[Arm]
    part: str = ""
    """Name of the route that is looked at; empty before traffic."""
    caption: str = ""
    """What the operator did last, where nobody steers."""
    rollout: Mapping[str, Any] | None = None
    """The route's rollout as ``/api/v1/status`` has it; None where there is none."""
    scene: int = -1
    """Index of the running scene; -1 before traffic, ``len(SCENES)`` after it."""
    elapsed_s: float = 0.0
    total_s: float = 0.0
    """0: as long as it takes."""
    rate: float = 0.0
    """Answers a second over the last moments."""
    requests: int = 0
    failed: int = 0
    config_version: int = 0
    weights: Mapping[str, float] = field(default_factory=dict)
    """Percent by variant."""
    scores: Mapping[str, VariantScore] = field(default_factory=dict)
    shadows: Sequence[Mapping[str, Any]] = ()
    """The route's shadows as ``/api/v1/status`` has them."""

    @property
    def champion_model(self) -> str:
        """The champion's model; empty before the configuration is known."""
        return next((arm.model for arm in self.arms if arm.role == "champion"), "")

    def agreement(self) -> dict[str, float]:
        """Return for each variant the share of its answers that are the champion's too, where known, 0..1.

        It is what the proxy says of the shadow that is the champion's own model.
        """
        for shadow in self.shadows:
            if shadow.get("model") == self.champion_model:
                shares = {name: _share(counts) for name, counts in (shadow.get("by_variant") or {}).items()}
                return {name: share for name, share in shares.items() if share is not None}
        return {}


Clock = Callable[[], float]
"""Seconds since the demo started."""


class View(Protocol):
    """Something that shows a run."""

    def event(self, text: str) -> None:
        """Show one thing that happened; stays visible."""

    def update(self, snapshot: Snapshot) -> None:
        """Show the present state."""

    def close(self) -> None:
        """Give the terminal back; once is enough, more often does nothing."""


class PlainView:
    """Lines, for logs and pipes."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self._console = console
        self._clock = clock
        self._last_s = -_PLAIN_EVERY_S

    def event(self, text: str) -> None:
        """Print one line."""
        self._console.print(_event(self._clock(), text), soft_wrap=True)

    def update(self, snapshot: Snapshot) -> None:
        """Print one line every few seconds."""
        every_s = _PLAIN_EVERY_S if snapshot.rollout is None else _PLAIN_ROLLOUT_EVERY_S
        if self._clock() - self._last_s < every_s or not snapshot.requests:
            return
        self._last_s = self._clock()
        if snapshot.rollout is not None:
            self.event(describe_rollout(snapshot.rollout))
            return
        counts = ", ".join(f"{name} {score.requests}" for name, score in sorted(snapshot.scores.items()))
        self.event(
            f"config v{snapshot.config_version}: {snapshot.requests} requests ({counts}), "
            f"{snapshot.failed} failed, {snapshot.rate:.0f}/s"
        )

    def close(self) -> None:
        """Nothing to give back."""


class LiveView:
    """One page that is drawn again a few times a second."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self._clock = clock
        self._events: list[tuple[float, str]] = []
        self._snapshot = Snapshot(addresses={}, arms=())
        self._live = Live(console=console, auto_refresh=False, transient=True, vertical_overflow="crop")
        self._live.start()

    def event(self, text: str) -> None:
        """Add a line to the list of events."""
        self._events.append((self._clock(), text))
        self.update(self._snapshot)

    def update(self, snapshot: Snapshot) -> None:
        """Draw the page."""
        self._snapshot = snapshot
        self._live.update(render(snapshot, self._events), refresh=True)

    def close(self) -> None:
        """Remove the page; its events are printed once, as lines that stay."""
        self._live.stop()
        events, self._events = self._events, []
        for elapsed_s, text in events:
            self._live.console.print(_event(elapsed_s, text), soft_wrap=True)


def render(snapshot: Snapshot, events: Sequence[tuple[float, str]]) -> RenderableType:
    """Return the whole page. Pure, so that it can be looked at without a terminal."""
    addresses = "   ".join(f"[dim]{what}[/] {address}" for what, address in snapshot.addresses.items())
    parts: list[RenderableType] = [Text.from_markup(addresses), Text(), _story(snapshot), _pulse(snapshot)]
    if snapshot.part:
        parts += [Text(), _variants(snapshot)]
    if snapshot.shadows:
        parts += [Text(), _shadows(snapshot)]
    parts.append(Text())
    for elapsed_s, text in events[-_EVENTS:]:
        parts.append(_event(elapsed_s, text))
    return Panel(Group(*parts), title="[bold]modelproxy demo[/]", border_style="blue", padding=(0, 2))


def _event(elapsed_s: float, text: str) -> Text:
    return Text.assemble((f"{elapsed_s:5.1f} s  ", "dim"), text)


def _story(snapshot: Snapshot) -> RenderableType:
    if snapshot.rollout is not None:
        return render_rollout(snapshot.rollout, snapshot.caption)
    return Text(snapshot.caption, style="italic") if snapshot.caption else _scenes(snapshot)


def _scenes(snapshot: Snapshot) -> RenderableType:
    line = Text("canary  ", style="dim")
    for i, scene in enumerate(SCENES):
        style = "bold yellow" if i == snapshot.scene else "green" if i < snapshot.scene else "dim"
        line.append(" ▸ " if i else "", style="dim").append(f"{scene.canary_weight} %", style=style)
    if 0 <= snapshot.scene < len(SCENES):
        line.append(f"\n{SCENES[snapshot.scene].caption}", style="italic")
    return line


def _pulse(snapshot: Snapshot) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    failed = "[bold red]" if snapshot.failed else "[green]"
    grid.add_row(
        *_time(snapshot),
        f"[bold]{snapshot.requests:,}[/] requests",
        f"{snapshot.rate:.0f}/s",
        f"{failed}{snapshot.failed} failed[/]",
        f"config [bold]v{snapshot.config_version}[/]",
    )
    return grid


def _time(snapshot: Snapshot) -> tuple[RenderableType, ...]:
    elapsed_s, total_s = snapshot.elapsed_s, snapshot.total_s
    if not total_s:
        return (f"{elapsed_s:.0f} s",)
    bar = ProgressBar(total=total_s, completed=min(elapsed_s, total_s), width=_BAR)
    return bar, f"{elapsed_s:.0f}/{total_s:.0f} s"


def _table(names: Sequence[str], numbers: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    for title in names:
        table.add_column(title, no_wrap=True)
    for title in numbers:
        table.add_column(title, justify="right", no_wrap=True)
    return table


def _variants(snapshot: Snapshot) -> RenderableType:
    table = _table(("variant", "its share"), ("weight", "requests", "failed", "p50 ms", "right", "agreement"))
    agreement = snapshot.agreement()
    for arm in snapshot.arms:
        score = snapshot.scores.get(arm.variant) or VariantScore()
        colour = _COLOURS.get(arm.role, "white")
        table.add_row(
            f"[{colour}]{arm.variant} {arm.role}[/]",
            _bar(score.requests / max(snapshot.requests, 1), colour),
            f"{snapshot.weights.get(arm.variant, 0):g} %",
            f"{score.requests:,}",
            f"[red]{score.failed}[/]" if score.failed else "0",
            f"{median(score.recent_s) * 1000:.1f}" if score.recent_s else "",
            f"{score.right / score.requests:.1%}" if score.requests else "",
            f"{agreement[arm.variant]:.1%}" if arm.variant in agreement else "",
        )
    return table


def _share(counts: Mapping[str, Any]) -> float | None:
    agree, disagree = int(counts.get("agree") or 0), int(counts.get("disagree") or 0)
    return agree / (agree + disagree) if agree + disagree else None


def _shadows(snapshot: Snapshot) -> RenderableType:
    table = _table(("shadow", "agrees"), ("", "mirrored", "answered", "dropped", "compared"))
    for shadow in snapshot.shadows:
        share = _share(shadow)
        again = " again" if shadow.get("model") == snapshot.champion_model else ""
        table.add_row(
            f"[magenta]{shadow.get('model')}{again}[/]",
            _bar(share or 0.0, "magenta"),
            f"{share:.1%}" if share is not None else "",
            *(f"{int(shadow.get(what) or 0):,}" for what in ("sent", "answered", "dropped")),
            f"{int(shadow.get('agree') or 0) + int(shadow.get('disagree') or 0):,}",
        )
    return table


def _bar(share: float, colour: str) -> RenderableType:
    return ProgressBar(
        total=1.0,
        completed=share,
        width=_BAR,
        style="grey23",
        complete_style=colour,
        finished_style=colour,
    )
