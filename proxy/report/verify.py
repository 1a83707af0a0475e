"""Decisions made again from what they were made from: the same bytes, or the report says that they are not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import orjson

from proxy.report.documents import Line, Said
from proxy.rollout import record
from proxy.rollout.verdict import canonical

__all__ = ["Check", "Outcome", "verify"]


class Outcome(StrEnum):
    """What came of one check."""

    SAME = "same"
    DIFFERS = "differs"
    """The snapshot leads to another decision than the one that was kept."""
    ALTERED = "altered"
    """The snapshot is not the one that the decision names, or the journal says otherwise than the store."""
    MISSING = "missing"
    """There is no snapshot, or no decision, where there has to be one."""
    OTHER_ENGINE = "other engine"
    """Another version of the program made it; only that one can make it again."""

    @property
    def is_good(self) -> bool:
        """Tell whether nothing is wrong, as far as this program can tell."""
        return self in (Outcome.SAME, Outcome.OTHER_ENGINE)


@dataclass(frozen=True, slots=True)
class Check:
    """One decision."""

    number: int
    """In the store; 0: only the journal knows it."""
    digest: str
    outcome: Outcome
    sentence: str


def verify(
    said: Sequence[Said], history: Sequence[Line], snapshot_of: Callable[[str], bytes | None]
) -> list[Check]:
    """Return one check for each decision that was kept, and one for each that only the journal knows.

    Args:
        said: decisions, as they are stored.
        history: lines of the journal about the same rollout.
        snapshot_of: returns what a decision with this digest was made from; None: it is not there.
    """
    checks = [_check(each, snapshot_of(each.evidence)) for each in said]
    known = {each.evidence: each for each in said}
    for line in history:
        if line.event != "decision" or not line.evidence:
            continue
        if line.evidence not in known:
            sentence = f"the journal tells of a decision ({line.verdict}) that is not stored"
            checks.append(Check(0, line.evidence, Outcome.MISSING, sentence))
        elif (other := _contradiction(line, known[line.evidence])) is not None:
            checks.append(Check(known[line.evidence].number, line.evidence, Outcome.ALTERED, other))
    return checks


def _check(said: Said, data: bytes | None) -> Check:
    def found(outcome: Outcome, sentence: str) -> Check:
        return Check(said.number, said.evidence, outcome, sentence)

    verdict = said.decision.verdict
    if data is None:
        return found(Outcome.MISSING, f"{verdict}: what it was made from is not there")
    if record.digest(data) != said.evidence:
        return found(Outcome.ALTERED, f"{verdict}: what it was made from is not what it names")
    try:
        again = record.recompute(data)
    except (ValueError, ArithmeticError, KeyError, TypeError, IndexError) as error:
        if _engine(data) not in (*record.ENGINES, None):
            return found(Outcome.OTHER_ENGINE, f"{verdict}: made by engine {_engine(data)}")
        return found(Outcome.DIFFERS, f"{verdict}: cannot be made again: {error}")
    if again != canonical(said.raw):
        return found(
            Outcome.DIFFERS,
            f"{verdict}: made again it is {orjson.loads(again)['verdict']}, or differs in figures",
        )
    return found(Outcome.SAME, f"{verdict}: comes out the same")


def _engine(data: bytes) -> int | None:
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return document.get("engine") if isinstance(document, dict) else None


def _contradiction(line: Line, said: Said) -> str | None:
    decision = said.decision
    if line.verdict != decision.verdict or line.reason != decision.reason:
        return f"the journal says {line.verdict} ({line.reason}), the store {decision.verdict} ({decision.reason})"
    if not line.is_cut and line.log_e and line.log_e != decision.log_e:
        return f"{line.verdict}: the journal has other figures than the store"
    return None
