"""llhttp's own messages through a running proxy."""

import re

import pytest

from tests.conformance.corpus import REASONS, CorpusRow, corpus_rows, judge_row, play_row
from tests.conformance.reading import Message
from tests.conformance.stage import Outcome, Seen, Stage
from tests.wire.referee import CORPUS

pytestmark = pytest.mark.slow

ROWS = list(corpus_rows())

needs_corpus = pytest.mark.skipif(not ROWS, reason=f"no {CORPUS}")


@needs_corpus
@pytest.mark.parametrize("row", ROWS, ids=[ascii(row.name)[1:-1] for row in ROWS])
def test_message(stage: Stage, row: CorpusRow) -> None:
    """A valid message is not refused and an invalid one not taken, or there is a reason."""
    assert play_row(stage, row).differences == ()


@needs_corpus
def test_all_reasons_are_needed() -> None:
    """No reason is kept that no message needs."""
    assert [
        reason for reason, pattern in REASONS.items() if not any(re.match(pattern, r.raw) for r in ROWS)
    ] == []


REFUSED = Outcome(answers=[Message(b"", status=400, is_whole=True)], closed=True)
TAKEN = Outcome(
    answers=[Message(b"", [(b"x-modelproxy-variant", b"v1")], status=200, is_whole=True)], seen=[Seen()]
)


@pytest.mark.parametrize(("is_valid", "outcome"), [(True, REFUSED), (False, TAKEN)], ids=["refused", "taken"])
def test_the_judge_sees(is_valid: bool, outcome: Outcome) -> None:
    """A valid message that is refused, or an invalid one that is taken, is told."""
    row = CorpusRow("", "request", b"GET / HTTP/1.1\r\n\r\n", is_valid, "")
    assert not judge_row(row, outcome).is_right
    assert judge_row(row._replace(is_valid=not is_valid), outcome).is_right
