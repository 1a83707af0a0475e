"""The part of the live view that shows a rollout: where it is, and how far its evidence is from deciding."""

from collections.abc import Mapping, Sequence
from math import log, log10
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

__all__ = ["Gauge", "describe_rollout", "gauges", "render_rollout"]

_BAR = 30
_LN10 = log(10)
_ROLLBACK = 2.0
_PROMOTION = _SUSPICION = log10(20)
"""log10 e from which on a canary is rolled back, a guardrail is shown to be kept (both the defaults of a plan), and
nothing is raised any more."""

Rollout = Mapping[str, Any]
"""As ``/api/v1/status`` has it."""


class Gauge:
    """Some evidence on its way to a threshold."""

    __slots__ = ("does", "enough", "is_bad", "log10_e", "name")

    def __init__(self, name: str, log_e: float | None, enough: float, does: str, *, is_bad: bool) -> None:
        self.name = name
        self.log10_e = (log_e or 0.0) / _LN10
        self.enough = enough
        self.does = does
        """What happens when it is reached."""
        self.is_bad = is_bad

    @property
    def share(self) -> float:
        """How far it is, 0..1."""
        return min(1.0, max(0.0, self.log10_e / self.enough))


def gauges(rollout: Rollout) -> list[Gauge]:
    """Return what the last judgement knew, as far as it can move the rollout from where it is.

    While it bakes, copies alone can: whether more of them differ than is tolerated. On the way it is evidence of harm,
    and of each guardrail that it is kept.
    """
    log_e = (rollout.get("judgement") or {}).get("log_e") or {}
    phase, found = rollout.get("phase"), []
    if phase == "baking" and "disagreement.suspicion" in log_e:
        found = [
            Gauge("differs", log_e["disagreement.suspicion"], _SUSPICION, "holds it at 0 %", is_bad=True)
        ]
    if phase != "ramping":
        return found
    found = [Gauge("harm", log_e.get("harm"), _ROLLBACK, "rolls it back", is_bad=True)]
    for name, value in log_e.items():
        guardrail, _, kind = name.partition(".")
        if kind == "noninferiority":
            found.append(Gauge(f"{guardrail} as good", value, _PROMOTION, "is enough", is_bad=False))
    return found


def describe_rollout(rollout: Rollout) -> str:
    """Return where a rollout stands, in one line."""
    judgement = rollout.get("judgement") or {}
    said = [f"{rollout['variant']} {rollout['phase'].replace('_', ' ')} at {rollout['weight']:g} %"]
    if "requests_exposed" in judgement and rollout["weight"]:
        said.append(f"met by {judgement['requests_exposed']}")
    found = gauges(rollout)
    line = ", ".join(said)
    if found:
        line += "; log10 e: " + ", ".join(
            f"{each.name} {each.log10_e:.1f}/{each.enough:.1f}" for each in found
        )
    return line


def render_rollout(rollout: Rollout, caption: str) -> RenderableType:
    """Return the whole part."""
    parts: list[RenderableType] = [
        _ladder(rollout),
        Text(caption, style="italic"),
        Text(),
        _bars(gauges(rollout)),
    ]
    judgement = rollout.get("judgement") or {}
    if sentence := judgement.get("sentence"):
        parts += [Text(), Text.assemble((f"{judgement['verdict']}  ".upper(), "bold"), str(sentence))]
    return Group(*parts)


def _ladder(rollout: Rollout) -> Text:
    line = Text(f"{rollout['variant']}  ", style="dim")
    steps: Sequence[float] = (0.0, *rollout["steps"], rollout["promoted_weight"])
    for number, step in enumerate(dict.fromkeys(steps)):
        is_here = step == rollout["weight"]
        style = "bold yellow" if is_here else "green" if step < rollout["weight"] else "dim"
        line.append(" ▸ " if number else "", style="dim").append(f"{step:g} %", style=style)
    words = str(rollout["phase"]).replace("_", " ")
    return line.append(f"   {words} for {rollout['seconds_in_step']:.0f} s", style="dim")


def _amount(log10_e: float) -> str:
    e = 10 ** min(log10_e, 12.0)
    return f"{e:,.0f}" if e >= 100 else f"{e:.2g}"


def _bars(found: Sequence[Gauge]) -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("evidence, e", no_wrap=True)
    table.add_column("", width=_BAR)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, style="dim")
    for each in found:
        colour = "red" if each.is_bad else "green"
        bar = ProgressBar(
            total=1.0,
            completed=each.share,
            width=_BAR,
            style="grey23",
            complete_style=colour,
            finished_style=colour,
        )
        table.add_row(each.name, bar, _amount(each.log10_e), f"{10**each.enough:.0f} {each.does}")
    return table
