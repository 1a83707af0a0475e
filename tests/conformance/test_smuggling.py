"""Request smuggling: what the proxy forwards of hostile bytes is read alike by parsers that others wrote.

The proxy is wrong when two of them see different requests, when one of them sees another number of requests than the
proxy answered, or when one of them refuses what was forwarded.
"""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings

from tests.conformance.hostile import hostile_requests, mutations
from tests.conformance.judges import Judge, Read, request_judges
from tests.conformance.reading import Message, MessageReader
from tests.conformance.stage import Outcome, Seen, Stage, open_stage

pytestmark = pytest.mark.slow

MESSAGES = tuple(raw for raw in hostile_requests() if len(raw) < 5000)
LARGE = tuple(raw for raw in hostile_requests() if len(raw) >= 5000)


OFFER = b"\r\nconnection: upgrade\r\n"
PARTICULAR = ("Sec-WebSocket-Key1", "Duplicate '")
"""What aiohttp refuses altogether for what it would mean to an application: a draft of WebSocket, and some fields that
it wants once. That is another verdict, not another reading."""


@pytest.fixture(scope="module")
def judges() -> Iterator[dict[str, Judge]]:
    """Every parser of requests that there is here."""
    with request_judges() as judges:
        yield judges


def as_read(message: Message) -> Read:
    """Return a message in the form in which the judges give theirs."""
    method, target, _ = message.start.split(b" ")
    return Read(
        (method, target), tuple((name.lower(), value) for name, value in message.fields), message.body
    )


def disagreements(judges: dict[str, Judge], seen: Seen) -> list[str]:
    """Return who reads what was forwarded over one connection in another way than the strict reader."""
    whole = tuple(as_read(message) for message in seen.requests if message.is_whole)
    begun = len(seen.requests) > len(whole)
    found = [seen.error] if seen.error else []
    for name, judge in judges.items():
        reading = judge(seen.raw)
        if any(reason in reading.error for reason in PARTICULAR):
            continue
        if reading.error or reading.messages != whole or reading.is_between == begun:
            found.append(f"{name}: {reading}, not {whole}")
    return found


def check(judges: dict[str, Judge], outcome: Outcome) -> None:
    """Fail when parsers disagree on what was forwarded, or requests and answers do not match."""
    for seen in outcome.seen:
        # What stands behind an offer to switch protocols depends on its answer, which these parsers do not see.
        if seen.raw and OFFER not in seen.raw:
            assert disagreements(judges, seen) == [], seen.raw
    # A client knows what it asked for: here, what was forwarded, and behind it at most what was refused.
    reader = MessageReader((*(request.start.partition(b" ")[0] for request in outcome.requests), b"GET"))
    reader.feed(outcome.raw)
    assert (reader.error, reader.buffer) == ("", b"")
    answered = [answer for answer in reader.messages if b"x-modelproxy-variant" in _names(answer)]
    assert len(answered) == sum(request.is_whole for request in outcome.requests)
    assert all(answer.status == 200 and answer.body in (b"ok", b"") for answer in answered)
    assert not any(answer.status == 500 for answer in reader.messages)


def _names(answer: Message) -> set[bytes]:
    return {name.lower() for name, _ in answer.fields}


@pytest.mark.parametrize("messages", [MESSAGES, LARGE], ids=["usual", "large"])
def test_hostile_requests(stage: Stage, judges: dict[str, Judge], messages: tuple[bytes, ...]) -> None:
    """Nobody reads anything else into what is forwarded of a hostile request, and each request is answered once."""
    for raw in messages:
        check(judges, stage.play([raw]))


@pytest.mark.parametrize("cut", [1, 7])
def test_hostile_requests_in_pieces(stage: Stage, judges: dict[str, Judge], cut: int) -> None:
    """The same in two pieces."""
    for raw in MESSAGES[cut::7]:
        at = len(raw) * cut // 8
        check(judges, stage.play([raw[:at], raw[at:]]))


@given(raw=mutations(MESSAGES))
@settings(max_examples=800, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_mutated_requests(stage: Stage, judges: dict[str, Judge], raw: bytes) -> None:
    """The same when bytes go astray, or are put in on purpose."""
    check(judges, stage.play([raw]))


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A proxy that sends a copy of everything to a shadow."""
    with open_stage(tmp_path_factory.mktemp("mirrored"), is_mirrored=True) as stage:
        yield stage


def test_copies_of_hostile_requests(mirrored: Stage, judges: dict[str, Judge]) -> None:
    """Nobody reads anything else into a copy either: it is the request that the model got, marked."""
    copies = 0
    for raw in MESSAGES:
        outcome = mirrored.play([raw])
        check(judges, outcome)
        for seen in filter(lambda seen: seen.raw, outcome.copied):
            assert disagreements(judges, seen) == [], seen.raw
        copied = [request for seen in outcome.copied for request in seen.requests]
        assert all(request.values(b"x-modelproxy-shadow") == [b"1"] for request in copied)
        meant = [r for r in outcome.requests if r.is_whole and not r.values(b"upgrade")]
        assert sorted(map(essence, copied)) == sorted(map(essence, meant))
        copies += len(copied)
    assert copies > 200


ABOUT_FRAMING = {
    b"content-length",
    b"transfer-encoding",
    b"expect",
    b"connection",
    b"upgrade",
    b"x-modelproxy-shadow",
}


def essence(message: Message) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    """Return what a copy has in common with its request: all but how its body is framed."""
    fields = [pair for pair in message.fields if pair[0].lower() not in ABOUT_FRAMING]
    return message.start, sorted(fields), message.body


def test_there_is_something_to_disagree_about(judges: dict[str, Judge]) -> None:
    """Without the proxy in front, parsers read many of these messages in different ways."""
    differing = [raw for raw in MESSAGES if len({judge(raw).messages for judge in judges.values()}) > 1]
    assert len(differing) > 40


def test_the_judges_see_a_smuggled_request(judges: dict[str, Judge]) -> None:
    """Had the proxy forwarded a length beside a coding, the judges would have told."""
    raw = (
        b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET"
    )
    assert len(disagreements(judges, Seen(raw=raw))) > 1
