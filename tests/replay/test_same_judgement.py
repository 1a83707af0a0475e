"""The law of replays: what a record holds of an answer is judged as the answer itself was, whatever it is.

Bodies of every format, whole and mutated, go through the observer's record and back, and are compared by every method.
"""

from random import Random
from typing import Any

import pytest

from proxy.compare import Answer, ComparisonRule, compare
from proxy.exchange import Flag
from proxy.methods import METHODS
from proxy.observer.record import build_line, build_record, compile_record_rule
from proxy.records.record import Record, parse_record
from proxy.replay.calls import Call, prepare, read_reference
from proxy.replay.judging import judge
from proxy.routing.table import Route
from proxy.settings import Compare
from tests.compare.bodies import BODIES, Body
from tests.compare.fuzz import mutated
from tests.observer.exchanges import BASE_CONFIG, primary_part, table_of

ROUNDS = 4000
OPTIONS: list[dict[str, Any]] = [
    {"as": "classification", "costs": {"1": {"2": 0.25}, "cat": {"dog": 0.5}}, "label": "/outputs/0/data"},
    {"as": "regression", "rtol": 0.5, "atol": 1, "scale": 3},
    {"as": "json", "ignore": ["/outputs/*/data", "/id"], "rtol": 0.1},
    {"as": "tensor", "at": "/predictions", "tolerance": 0.1},
    {"as": "probabilities", "threshold": 0.6},
    {"as": "text", "schema": {"type": "object"}},
    {"as": "ranking", "k": 3},
]
RULES = [
    *(ComparisonRule(method) for method in METHODS),
    *(ComparisonRule.of(Compare.model_validate(options)) for options in OPTIONS),
]
NAMES = [*METHODS, *(f"{options['as']}, with more" for options in OPTIONS)]


def route_of(log: str) -> Route:
    return table_of(BASE_CONFIG.replace("log: {percent: 50, body: 1KiB}", f"log: {log}")).routes[0]


WHOLE = route_of("{percent: 50, body: 1MiB, content: true}")
SHORT = route_of("{percent: 50, body: 200B, content: true}")


def lines_of(body: Body) -> bytes:
    """Return the header lines that say what a body is."""
    said = {b"content-type": body.kind, b"content-encoding": body.coding}
    if body.header_length is not None:
        said[b"inference-header-content-length"] = b"%d" % body.header_length
    return b"".join(b"%b: %b\r\n" % (name, value) for name, value in said.items() if value is not None)


def recorded(body: Body, status: int = 200, route: Route = WHOLE, flags: int = 0) -> Record:
    """Return the record of an exchange with this body both as request and as answer."""
    lines = lines_of(body)
    primary = primary_part(
        status=status,
        flags=Flag.LOGGED | flags,
        target=b"/v2/models/wine/infer",
        response_lines=lines,
        response_body=body.data,
        response_head=b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n",
        request_head=b"POST /v2/models/wine/infer HTTP/1.1\r\n" + lines + b"\r\n",
        request_body=body.data,
    )
    document = build_record(compile_record_rule(route, b"k" * 32), route, primary, {}, {})
    record = parse_record(build_line(document))
    assert isinstance(record, Record), record
    return record


def answer_of(body: Body, status: int = 200) -> Answer:
    return Answer(status, body.kind, body.coding, body.data, False, body.header_length)


def sendable(body: Body) -> Body:
    """Return ``body`` with a length that a head can say."""
    return body if (body.header_length or 0) >= 0 else body._replace(header_length=None)


def check(rule: ComparisonRule, first: Body, second: Body, status: int) -> None:
    """Compare two answers, and the record of the first with the second: it comes out the same."""
    record = recorded(first, status)
    reference = read_reference(record)
    assert isinstance(reference, Answer)
    live = compare(rule, answer_of(first, status), answer_of(second))
    replayed = judge(rule, record, reference, answer_of(second), is_recorded=True)
    # By their text: NaN of one is not equal to NaN of the other.
    assert repr(replayed) == repr(live._replace(read=None)), (rule.as_, first, second)


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_every_format_by_every_method(rule: ComparisonRule) -> None:
    """Each body against each other one, by one method."""
    for first in BODIES.values():
        for second in BODIES.values():
            check(rule, first, second, 200)


def test_mutated_bodies() -> None:
    """Broken bodies, wrong types, codings that cannot be undone, errors: the same judgement, or none of both."""
    random = Random(20261121)  # noqa: S311 - tests come back
    for _ in range(ROUNDS):
        first = sendable(mutated(random))
        second = random.choice((first, sendable(mutated(random))))
        check(random.choice(RULES), first, second, random.choice((200, 200, 200, 404, 500)))


def test_nothing_at_all_is_no_gzip() -> None:
    """An empty body that names a coding cannot be decoded: a record of it says so too."""
    for rule in RULES:
        check(rule, Body(b"", coding=b"gzip"), BODIES["OIP"], 200)


def test_requests_come_back() -> None:
    """What is sent again means what was sent: the same type, and the body, decoded if it could be."""
    for name, body in BODIES.items():
        call = prepare(recorded(body))
        assert isinstance(call, Call), name
        headers = dict(call.headers)
        assert headers.get("content-type", "").encode() == (body.kind or b"")
        length = headers.get("inference-header-content-length")
        assert (None if length is None else int(length)) == body.header_length
        if body.coding is None:
            assert call.body == body.data
        else:
            assert "content-encoding" not in headers
            assert call.body == BODIES["OIP"].data


def test_a_request_that_could_not_be_decoded_goes_as_it_came() -> None:
    """A coding that the proxy does not know goes along with the body in it."""
    call = prepare(recorded(Body(b"\x00\xff", b"a/b", b"compress")))
    assert isinstance(call, Call)
    assert (dict(call.headers)["content-encoding"], call.body) == ("compress", b"\x00\xff")


def test_what_was_cut_is_never_judged() -> None:
    """Of a record that holds not all of an answer, or of a request, nothing is made."""
    long = Body(b'{"a": "' + b"x" * 300 + b'"}')
    assert read_reference(recorded(long, route=SHORT)) == "answer_truncated"
    assert prepare(recorded(long, route=SHORT)) == "request_truncated"
    for flag in (Flag.RESPONSE_TRUNCATED, Flag.CUT, Flag.CLIENT_LEFT):
        assert read_reference(recorded(BODIES["OIP"], flags=flag)) == "answer_truncated"
    assert prepare(recorded(BODIES["OIP"], flags=Flag.REQUEST_TRUNCATED)) == "request_truncated"


REDACTING = {
    "a place": ("redact: [{json: /outputs/0/data}]", "OIP", "redacted"),
    "a tensor": ("redact: [{tensor: predict, action: hash}]", "OIP", "redacted"),
    "what cannot be read": ("redact: [{json: /a}], content: true", "text", "redacted"),
    "free text": ("content: auto", "chat", "missing"),
    "everything": ("content: false", "OIP", "missing"),
}


@pytest.mark.parametrize("name", REDACTING)
def test_what_was_redacted_is_never_sent_nor_judged(name: str) -> None:
    """A body that is not what was sent, by whatever rule of the log, is neither sent nor compared."""
    more, form, reason = REDACTING[name]
    record = recorded(BODIES[form], route=route_of(f"{{percent: 50, body: 1MiB, {more}}}"))
    assert (prepare(record), read_reference(record)) == (f"request_{reason}", f"answer_{reason}")


FINDS_NOTHING = route_of("{percent: 50, body: 1MiB, content: true, redact: [{detect: email}]}")
STREAMS = {
    name: body
    for name, body in BODIES.items()
    if recorded(body, route=FINDS_NOTHING).response.content.assembled
}


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_a_stream_that_was_put_together(rule: ComparisonRule) -> None:
    """A stream in which nothing was to be redacted is judged as it was, by every method that does not compare bytes."""
    assert {"chat, streamed", "Ollama, streamed", "responses, streamed"} <= STREAMS.keys()
    for first in STREAMS.values():
        record = recorded(first, route=FINDS_NOTHING)
        reference = read_reference(record)
        assert isinstance(reference, Answer)
        assert prepare(record) == "request_assembled"
        for second in BODIES.values():
            replayed = judge(rule, record, reference, answer_of(second), is_recorded=True)
            if rule.as_ == "exact":
                assert (replayed.result, replayed.reason) == ("uncomparable", "assembled")
            else:
                live = compare(rule, answer_of(first), answer_of(second))
                assert repr(replayed) == repr(live._replace(read=None))


def test_a_stream_in_which_something_was_redacted() -> None:
    """It is not judged, and the reason is said."""
    chunk = b'data: {"choices":[{"delta":{"content":"%b"},"finish_reason":"stop"}]}\n\n'
    body = Body(chunk % b"ada@" + chunk % b"example.com" + b"data: [DONE]\n\n", b"text/event-stream")
    record = recorded(body, route=FINDS_NOTHING)
    assert record.response.content.body is not None
    assert b'"content":"***"' in record.response.content.body
    assert read_reference(record) == "answer_redacted"
    assert isinstance(read_reference(record, {"redacted"}), Answer)


def test_a_rule_that_found_nothing_keeps_nothing_back() -> None:
    """Where there was nothing to redact, the body is written anew and means the same."""
    record = recorded(BODIES["OIP"], route=route_of("{percent: 50, redact: [{json: /parameters/user}]}"))
    assert isinstance(prepare(record), Call)
    reference = read_reference(record)
    assert isinstance(reference, Answer)
    assert compare(ComparisonRule("json"), answer_of(BODIES["OIP"]), reference).result == "agree"
