"""Where reports get their evidence from: the admin address of a running proxy, or the state directory of any."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from proxy.commands.asking import ask, refuse
from proxy.commands.output import fail
from proxy.printable import printable

if TYPE_CHECKING:
    from proxy.engine.archive import Archive, Stored
    from proxy.engine.ledger import Ledger
    from proxy.engine.store import Recorded
    from proxy.rollout.state import RolloutState

__all__ = ["Found", "ask_for_evidence", "list_stored", "read_evidence"]

TIMEOUT_S = 15

_MOST_DECISIONS = 10_000

_AT_ONCE_NS = 60_000_000_000
"""Of rollouts that were written within a minute of each other it is chance which was the last."""

Snapshots = Callable[[str], bytes | None]


@dataclass(frozen=True, slots=True)
class Found:
    """Evidence of one rollout, or of one split by fixed weights."""

    route: str
    document: Mapping[str, Any]
    """As the admin address shows it under ``evidence``."""
    snapshot_of: Snapshots
    """Returns what the decision with a digest was made from; None: it is not there."""
    place: str
    """Options that find the same again."""


def ask_for_evidence(admin: str, route: str) -> Found:
    """Return the evidence of what the proxy at ``admin`` tries on ``route`` now.

    Raises:
        click.exceptions.Exit: with code 1, after one sentence that says why.
    """
    code, document = ask(admin, f"/api/v1/routes/{quote(route, safe='')}/rollout", timeout_s=TIMEOUT_S)
    if isinstance(document, dict) and code in (404, 503) and "error" in document:
        hint = "; --state-dir DIR also tells of what is over" if code == 404 else ""
        raise fail(f"{admin}: {document['error']}{hint}")
    evidence = document.get("evidence") if code == 200 and isinstance(document, dict) else None
    if code != 200 or not isinstance(document, dict):
        raise refuse(admin, code)
    if not isinstance(evidence, dict):
        raise fail(f"{route}: nothing has been counted yet; try again in a moment")
    return Found(route, evidence, lambda digest: _ask_for_snapshot(admin, digest), f"--admin {admin}")


def _ask_for_snapshot(admin: str, digest: str) -> bytes | None:
    """Return a snapshot as it was written: what was read as JSON is written canonically, which gives the same bytes."""
    from proxy.rollout.verdict import canonical

    code, document = ask(admin, f"/api/v1/evidence/{quote(digest, safe='')}", timeout_s=TIMEOUT_S)
    return canonical(document) if code == 200 and document is not None else None


def list_stored(state_dir: Path, route: str | None) -> "list[Stored]":
    """Return what is kept in a state directory, of one route or of all, what began last at the end.

    Raises:
        click.exceptions.Exit: with code 1, after one sentence that says why.
    """
    archive = _open(state_dir)
    try:
        return [each for each in archive.rollouts() if route in (None, each.route)]
    finally:
        archive.close()


def read_evidence(state_dir: Path, route: str, rollout: str | None) -> Found:
    """Return the evidence of a rollout from the state directory of a proxy, whether that runs or not.

    Args:
        state_dir: the directory.
        route: its name.
        rollout: the rollout's id, or the beginning of it; None: the newest.

    Raises:
        click.exceptions.Exit: with code 1, after one sentence that says why.
    """
    kept = list_stored(state_dir, route)
    if not kept:
        names = sorted({each.route for each in list_stored(state_dir, None)})
        raise fail(f"{state_dir}: nothing is kept of route {route}; there are: {', '.join(names) or 'none'}")
    chosen = [each for each in kept if rollout is None or each.rollout.startswith(rollout)]
    if not chosen or (rollout is not None and len(chosen) > 1):
        ids = ", ".join(each.rollout for each in kept)
        raise fail(f"{route}: expected one of the rollouts {ids}, got {rollout}")
    archive = _open(state_dir)
    try:
        newest = _newest(state_dir, route, chosen)
        document = _document(state_dir, archive, newest)
        digests = {each["evidence"] for each in document["decisions"]}
        snapshots = {digest: data for digest in digests if (data := _snapshot(archive, digest)) is not None}
    finally:
        archive.close()
    place = f"--state-dir {state_dir} --rollout {newest.rollout}"
    return Found(route, document, snapshots.get, place)


def _newest(state_dir: Path, route: str, kept: "list[Stored]") -> "Stored":
    """Return what the route tries now; of a route that tries nothing any more, what began last.

    A canary that comes back goes on under the id that it had, so of what was written last it may have begun first.
    """
    from proxy.control.book import Book

    entry = Book(state_dir).read().content.entries.get(route)
    standing = [each for each in kept if entry is not None and each.rollout == entry.state.rollout]
    latest_ns = max(each.last_ns for each in kept)
    return (standing or [each for each in kept if each.last_ns >= latest_ns - _AT_ONCE_NS])[-1]


def _open(state_dir: Path) -> "Archive":
    from proxy.engine.archive import open_archive
    from proxy.engine.store import StoreError

    try:
        return open_archive(state_dir)
    except StoreError as error:
        raise fail(str(error)) from None


def _snapshot(archive: "Archive", digest: str) -> bytes | None:
    import sqlite3
    import zlib

    try:
        return archive.snapshot(digest)
    except (zlib.error, sqlite3.Error):
        return b""  # something is there, and it is not what was written


def _document(state_dir: Path, archive: "Archive", stored: "Stored") -> dict[str, Any]:
    """Return what the admin address would show of it."""
    from proxy.control.history import read_history
    from proxy.engine.dossier import Dossier
    from proxy.engine.evidence_view import Seen, evidence_document
    from proxy.engine.judging import judge
    from proxy.engine.ledger import Ledger
    from proxy.rollout.slices import FIELDS

    history = read_history(state_dir, stored.route)
    decisions = [
        each
        for each in archive.decisions(stored.route, _MOST_DECISIONS, stored.rollout)
        if each.verdict.rollout == stored.rollout
    ]
    planned = _planned(state_dir, archive, stored, decisions, history)
    ledger = Ledger(FIELDS)
    loaded = archive.load(stored.rollout, ledger)
    champion = planned[0].champion.name if planned is not None else _champion(ledger)
    dossier = Dossier(stored.rollout, stored.route, stored.variant, champion)
    dossier.ledger.join(ledger)
    dossier.take_stored(loaded)
    dossier.is_stored = True
    judgement = None
    if planned is not None:
        plan, state = planned
        judgement = judge(plan, state, dossier.slices(stored.variant), max(stored.last_ns, state.since_ns))
    seen = Seen.of(dossier, is_whole=True)
    return {**evidence_document(seen, judgement, decisions, ""), "history": history}


def _champion(ledger: "Ledger") -> str:
    """Return the champion of the last epoch; an earlier version left only the weights, of which the most is its."""
    epochs = list(ledger.epochs.values())
    if not epochs:
        return ""
    last = epochs[-1]
    widths = dict(zip(last.variants, last.widths, strict=True))
    return last.champion or max(widths, key=lambda name: widths[name])


def _planned(
    state_dir: Path,
    archive: "Archive",
    stored: "Stored",
    decisions: "list[Recorded]",
    history: list[dict[str, Any]],
) -> Any:
    """Return plan and state of a rollout: from the book while it is there, else from what was decided last."""
    from proxy.control.book import Book
    from proxy.rollout import record
    from proxy.rollout.plan import Plan

    if not stored.variant:
        return None
    entry = Book(state_dir).read().content.entries.get(stored.route)
    if entry is not None and entry.state.rollout == stored.rollout:
        try:
            return Plan.from_document(entry.plan), entry.state
        except ValueError:
            pass
    for each in reversed(decisions):
        data = _snapshot(archive, each.verdict.digest)
        try:
            plan, state, _, _ = record.read(data or b"")
        except ValueError:
            continue
        return plan, _afterwards(state, each, history)
    return None


def _afterwards(state: "RolloutState", last: "Recorded", history: list[dict[str, Any]]) -> "RolloutState":
    """Return the state that the last decision, or whoever moved it later, left behind."""
    import orjson

    from proxy.rollout.state import ENGINE, Phase

    verdict = last.verdict
    if verdict.moves:
        decision = orjson.loads(verdict.document)
        phase = Phase(decision["phase"])
        state = replace(
            state,
            phase=phase,
            step=decision["step"],
            since_ns=verdict.engine_ns,
            promoted_ns=verdict.engine_ns if phase is Phase.PROMOTED else state.promoted_ns,
            by=ENGINE,
            reason=decision["sentence"],
            sequence=state.sequence + 1,
        )
    for line in history:
        later = line.get("rollout") == state.rollout and line.get("event") == "verb"
        if later and int(line.get("sequence", 0)) > state.sequence:
            state = _after_verb(state, line)
    return state


def _after_verb(state: "RolloutState", line: Mapping[str, Any]) -> "RolloutState":
    """Return the state that a person's word left behind: a pause stops the engine and settles nothing."""
    from proxy.rollout.state import Phase

    by, reason = printable(str(line.get("by"))), printable(str(line.get("reason", "")))
    moved = replace(state, phase=Phase(line["phase"]), sequence=int(line["sequence"]))
    if line.get("verdict") == "pause":
        return replace(moved, paused_by=by, paused_reason=reason)
    moved = replace(moved, paused_by="", paused_reason="")
    return (
        moved if state.paused_by and line.get("verdict") == "resume" else replace(moved, by=by, reason=reason)
    )
