"""What happened when: who moved the canary where, and why; and with what it can be checked."""

from datetime import UTC, datetime

from proxy.report.documents import Line
from proxy.report.facts import Facts
from proxy.report.pages import Block, Bullets, Command, Heading, Paragraph, Table
from proxy.report.words import percent, when
from proxy.rollout.record import ENGINE_VERSION

__all__ = ["reproducing", "timeline"]

_MOST_ROWS = 60

_EVENTS = {"decision", "verb", "publish"}
"""Lines of the journal that tell of a move; notes say that nothing moves."""


def timeline(facts: Facts) -> list[Block]:
    """Return what moved the canary, in the order of time."""
    rows = _journalled(facts) or _stored(facts)
    blocks: list[Block] = [Heading("What happened when")]
    if facts.state is not None:
        begun = (when(facts.state.started_ns), "–", "", "its evidence begins")
        rows = [begun, *rows]
    if not rows:
        return [*blocks, Paragraph("Nothing has moved yet.")]
    if len(rows) > _MOST_ROWS:
        left = len(rows) - _MOST_ROWS
        blocks.append(Paragraph(f"{left:,} earlier rows are left out; --json has all of them."))
        rows = rows[-_MOST_ROWS:]
    return [*blocks, Table(("=when", "who", "=weight", "why"), tuple(rows))]


def _journalled(facts: Facts) -> list[tuple[str, str, str, str]]:
    return [
        (_moment(line.ts), line.by or "–", _weight(line), _why(line))
        for line in facts.history
        if line.event in _EVENTS
    ]


def _moment(ts: str) -> str:
    try:
        moment = datetime.fromisoformat(ts.replace("Z", "+00:00")).astimezone(UTC)
    except (ValueError, OverflowError):
        return ts
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _weight(line: Line) -> str:
    if line.from_weight is None or line.to_weight is None:
        return ""
    if line.from_weight == line.to_weight:
        return f"stays at {percent(line.to_weight / 100)}"
    return f"{percent(line.from_weight / 100)} → {percent(line.to_weight / 100)}"


def _why(line: Line) -> str:
    if line.event == "publish":
        return "the configuration was edited: " + "; ".join(line.changes)
    if line.event == "verb":
        return f"{line.verdict}: {line.reason}" if line.reason else line.verdict
    return line.sentence or line.reason or line.verdict


def _stored(facts: Facts) -> list[tuple[str, str, str, str]]:
    """Return the moves as the store has them, which knows nothing of what people did."""
    return [
        (
            when(said.engine_ns),
            "engine",
            f"{percent(said.decision.weight_now / 100)} → {percent(said.decision.weight / 100)}",
            said.decision.sentence,
        )
        for said in facts.said
        if said.moves
    ]


def reproducing(facts: Facts, version: str, command: str) -> list[Block]:
    """Return how to read the report in three sentences, and what it takes to check it."""
    alpha = facts.then.plan.false_rollback if facts.then is not None else 0.01
    digests = [f"rollout {facts.document.rollout}"]
    if facts.plan is not None:
        digests.append(f"plan {facts.plan.digest()}")
    said = facts.deciding or facts.last_said
    if said is not None:
        digests.append(f"evidence of the last decision {said.evidence}")
    lines = [line for line in facts.history if line.digest]
    if lines:
        digests.append(f"configuration {lines[-1].digest} (table version {lines[-1].version})")
    digests.append(f"modelproxy {version}, engine {ENGINE_VERSION}")
    blocks: list[Block] = [
        Heading("How to read this"),
        Paragraph(
            "The proxy itself draws by lot which of the two answers a request, so if the canary were no worse, "
            "knowing what came of a request would not help to guess who answered it. An e-value is what somebody "
            "would have who had bet 1 on such guesses: without a difference it seldom grows, and it reaches "
            f"{round(1 / alpha):,} in at most {percent(alpha)} of rollouts, however often and however long one "
            "looks. Limits hold in the same way: 95 of 100 rollouts keep the true value between them, all the time."
        ),
        Heading("Checking this report"),
        Bullets(tuple(digests)),
    ]
    if command:
        blocks += [
            Paragraph(
                "Every decision can be made again from what was counted; this says whether it comes out the same:"
            ),
            Command(command),
        ]
    return blocks
