"""Response splitting: whatever a model server sends, a client reads one answer for each of its requests.

The proxy is wrong when parsers that others wrote read different answers from what the client got, when the answer to
one request is read as that to the next, or when bytes are left over.
"""

import pytest
from hypothesis import HealthCheck, given, settings

from tests.conformance.case import get, response
from tests.conformance.hostile import hostile_responses, mutations
from tests.conformance.judges import Read, Reading, aiohttp_answers, h11_answers, stdlib_answers
from tests.conformance.reading import Message, MessageReader
from tests.conformance.stage import CLOSE, Outcome, Script, Stage

pytestmark = pytest.mark.slow

MESSAGES = hostile_responses()
SECOND = response(b"200 OK", b"X-Second: yes", b"Content-Length: 6", body=b"second")
GET_TWICE, HEAD_FIRST = (b"GET", b"GET"), (b"HEAD", b"GET")


def ask(stage: Stage, methods: tuple[bytes, bytes], *pieces: bytes) -> Outcome:
    """Ask twice over one connection; the model server answers the first with ``pieces``, the second well."""
    sent = [get(target=b"/%d" % number, method=method) for number, method in enumerate(methods)]
    return stage.play(sent, [Script(at_end=pieces), Script(at_end=(SECOND,))], methods)


def readings(outcome: Outcome, methods: tuple[bytes, bytes]) -> dict[str, Reading]:
    """Return how other parsers read what the client got."""
    ended = outcome.closed
    found = {"h11": h11_answers(outcome.raw, methods, ended), "stdlib": stdlib_answers(outcome.raw, methods)}
    if b"HEAD" not in methods:
        found["aiohttp"] = aiohttp_answers(outcome.raw, ended)
    return found


def check(outcome: Outcome, methods: tuple[bytes, bytes]) -> None:
    """Fail when the client could take something for an answer that is none, or for another's."""
    reader = MessageReader(methods)
    reader.feed(outcome.raw)
    reader.end()
    assert reader.error == ""
    finals = [message for message in reader.messages if message.status >= 200]
    whole = [message for message in finals if message.is_whole]
    is_cut = len(whole) < len(finals)
    assert is_cut or reader.is_between
    expected = tuple(Read((b"%d" % message.status, b""), (), message.body) for message in whole)
    for name, reading in readings(outcome, methods).items() if outcome.raw else ():
        assert reading.messages == expected, f"{name}: {reading}, not {expected}"
        assert reading.is_between != is_cut, f"{name}: {reading}"
    check_answers(finals, whole, is_waiting=not outcome.closed)


def check_answers(finals: list[Message], whole: list[Message], *, is_waiting: bool) -> None:
    """Fail unless each answer belongs to its request."""
    assert len(finals) <= 2
    for message in finals:
        assert len(message.values(b"x-request-id")) == 1
        assert len(message.values(b"x-modelproxy-variant")) <= 1
    if whole and is_waiting:
        assert len(finals) == 2, "the second request was never answered"
    if len(finals) == 2:
        assert (finals[1].status, finals[1].body) == (200, b"second")
        assert finals[1].values(b"x-second") == [b"yes"]


@pytest.mark.parametrize("methods", [GET_TWICE, HEAD_FIRST], ids=["get", "head"])
@pytest.mark.parametrize("end", [(), (CLOSE,)], ids=["kept", "closed"])
def test_hostile_responses(stage: Stage, methods: tuple[bytes, bytes], end: tuple[bytes, ...]) -> None:
    """A client reads one answer for each request, whatever its model answered."""
    for raw in MESSAGES:
        check(ask(stage, methods, raw, *end), methods)


def test_hostile_responses_in_pieces(stage: Stage) -> None:
    """The same when the response comes in two pieces."""
    for raw in MESSAGES:
        check(ask(stage, GET_TWICE, raw[: len(raw) // 2], raw[len(raw) // 2 :]), GET_TWICE)


@given(raw=mutations(MESSAGES))
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_mutated_responses(stage: Stage, raw: bytes) -> None:
    """The same when bytes go astray, or are put in on purpose."""
    check(ask(stage, GET_TWICE, raw), GET_TWICE)


def test_there_is_something_to_disagree_about() -> None:
    """Without the proxy in front, parsers read many of these messages in different ways."""
    differing = 0
    for raw in MESSAGES:
        found = readings(Outcome(raw=raw + SECOND, closed=True), GET_TWICE).values()
        differing += len({reading.messages for reading in found}) > 1
    assert differing > 30


SPLIT = {
    "an answer too many": SECOND * 3,
    "another's answer": SECOND + response(b"200 OK", b"Content-Length: 4", body=b"evil"),
    "bytes between answers": SECOND + b"x" + SECOND,
    "two lengths": response(b"200 OK", b"Content-Length: 3", b"Content-Length: 0", body=b"abc") + SECOND,
}


@pytest.mark.parametrize("raw", SPLIT.values(), ids=SPLIT)
def test_the_judge_sees(raw: bytes) -> None:
    """Had the proxy let such answers pass, the judge would have told."""
    with pytest.raises(AssertionError):
        check(Outcome(raw=raw.replace(b"X-Second", b"x-request-id: 1\r\nX-Second")), GET_TWICE)
