"""The conformance table, row by row, over TCP through a running proxy; ``make conformance`` prints it."""

from collections import Counter

import pytest

from tests.conformance.__main__ import table_of
from tests.conformance.case import Case, Expected, answered, get, judge, passes, play
from tests.conformance.reading import Message
from tests.conformance.rows import ROOMS
from tests.conformance.stage import Outcome, Seen, Stage

pytestmark = pytest.mark.slow

CASES = [(f"{room}: {case.name}", case) for room, cases in ROOMS.items() for case in cases]


@pytest.mark.parametrize("case", [case for _, case in CASES], ids=[ascii(name)[1:-1] for name, _ in CASES])
def test_row(stage: Stage, case: Case) -> None:
    """What the proxy does is what the row says."""
    assert play(stage, case).differences == ()


def test_names_tell_rows_apart() -> None:
    """No two rows have one name, and each names its source."""
    assert [name for name, times in Counter(name for name, _ in CASES).items() if times > 1] == []
    assert all(case.source for _, case in CASES)


def whole(**fields: object) -> Message:
    """Return a whole message."""
    return Message(b"", is_whole=True, **fields)  # type: ignore[arg-type]


ANSWER = [(b"X-B", b"2"), (b"x-request-id", b"1"), (b"x-modelproxy-variant", b"v1")]
GOOD = Outcome(
    answers=[whole(status=200, fields=ANSWER, body=b"ok")],
    seen=[Seen(raw=b"x", requests=[whole(fields=[(b"X-A", b"1")], body=b"abc")])],
)

JUDGED: dict[str, tuple[Expected, Outcome]] = {
    "another status": (answered(404), GOOD),
    "not closed": (passes(closed=True), GOOD),
    "not forwarded": (passes(), Outcome(answers=GOOD.answers)),
    "forwarded twice": (passes(), Outcome(answers=GOOD.answers, seen=GOOD.seen * 2)),
    "a line that is missing": (passes(b"X-A: 2"), GOOD),
    "a line that must not be": (passes(lacks=[b"x-a"]), GOOD),
    "another body": (passes(body=b"abcd"), GOOD),
    "another target": (passes(start=b"GET / HTTP/1.1"), GOOD),
    "trailers": (passes(trailers=[b"X-A: 1"]), GOOD),
    "a line of the answer that is missing": (answered(200, b"X-A: 1"), GOOD),
    "a line of the answer that must not be": (answered(200, lacks=[b"x-b"]), GOOD),
    "another body of the answer": (answered(200, body=b""), GOOD),
    "trailers of the answer": (answered(200, trailers=[b"X-A: 1"]), GOOD),
    "a connection that stays": (answered(200, model_closed=True), GOOD),
    "another number of connections": (answered(200, connections=2), GOOD),
    "no request id": (passes(), Outcome(answers=[whole(status=200, fields=ANSWER[2:])], seen=GOOD.seen)),
    "no date in a reply of ours": (passes(), Outcome(answers=[whole(status=200, fields=ANSWER[:2])], seen=GOOD.seen)),
    "junk at the client": (passes(), Outcome(answers=GOOD.answers, seen=GOOD.seen, error="left over")),
    "junk at the model": (passes(), Outcome(answers=GOOD.answers, seen=[Seen(requests=GOOD.requests, error="?")])),
}  # fmt: skip


@pytest.mark.parametrize(("expected", "outcome"), JUDGED.values(), ids=JUDGED)
def test_the_judge_sees(expected: Expected, outcome: Outcome) -> None:
    """Whatever differs from what is expected is told."""
    case = Case("", "", (get(),), expected)
    assert not judge(case, outcome).is_right


def test_the_judge_is_content() -> None:
    """What is as expected has no differences."""
    expected = Expected(
        has=(b"X-A: 1",), body=b"abc", answer_has=(b"X-B: 2",), answer_body=b"ok", connections=1
    )
    assert judge(Case("", "", (get(),), expected), GOOD).differences == ()


def test_the_table_tells_what_is_wrong(stage: Stage) -> None:
    """A row that is not as expected is marked, with what differs."""
    right = Case("right", "RFC 1", (get(),), passes())
    wrong = Case("wrong", "RFC 2", (get(),), answered(418))
    table = table_of("title", [play(stage, right), play(stage, wrong)])
    verdicts = list(table.columns[-1].cells)
    assert verdicts[0] == "ok"
    assert str(verdicts[1]).startswith("WRONG: expected 418")
