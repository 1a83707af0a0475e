"""The payload record: exactly its fields, and never what must not be written."""

import base64
import gzip
import unicodedata
import zlib
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.compare import Answer, Comparison, ComparisonRule, compare
from proxy.errors import StateError
from proxy.exchange import MISSING_UNIT, Flag, Primary, ShadowPart
from proxy.model import Fault
from proxy.observer.record import build_line, build_record, compile_record_rule
from proxy.privacy.actions import key_id, keyed_hash
from tests.observer.exchanges import BASE_CONFIG, agreeing, primary_part, shadow_part, table_of

KEY = b"k" * 32
AGREE = Comparison("agree", 0.0, None, "classification", 1, 0)


def record_of(
    primary: Primary,
    shadows: dict[int, ShadowPart] | None = None,
    comparisons: dict[int, Comparison] | None = None,
    config: str = BASE_CONFIG,
) -> dict[str, Any]:
    route = table_of(config).routes[0]
    record = build_record(compile_record_rule(route, KEY), route, primary, shadows or {}, comparisons or {})
    parsed: dict[str, Any] = orjson.loads(orjson.dumps(record))
    return parsed


def with_log(log: str) -> str:
    return BASE_CONFIG.replace("log: {percent: 50, body: 1KiB}", f"log: {log}")


REDACTING = with_log(
    "{percent: 50, content: true, redact: [{json: /parameters/user, action: hash}, {json: '/**/secret'}]}"
)


def test_golden() -> None:
    """One whole record, field by field."""
    answer = Answer(200, b"application/json", None, agreeing(1))
    judged = compare(ComparisonRule("classification"), answer, answer)
    record = record_of(primary_part(), {0: shadow_part()}, {0: judged})
    assert record == {
        "schema": 2,
        "ts": "2025-10-09T08:53:20.123456Z",
        "request_id": "req-1",
        "route": "wine",
        "table_version": 1,
        "config_version": 1,
        "unit": keyed_hash(KEY, b"ada@example.org"),
        "unit_key_id": key_id(KEY),
        "unit_source": "header:x-user-id",
        "variant": "v1",
        "role": "champion",
        "model": "wine-v1",
        "served_by": "v1",
        "probability": 0.75,
        "inclusion_probability": 0.5,
        "kept_by": ["sample"],
        "budget_probability": 1.0,
        "request": {
            "method": "POST",
            "path": "/v2/models/wine/infer",
            "content_type": "application/json",
            "size": 13,
            "body": '{"inputs":[]}',
            "encoding": "text",
            "truncated": False,
            "has_query": True,
        },
        "response": {
            "status": 200,
            "content_type": "application/json",
            "size": len(agreeing(1)),
            "body": agreeing(1).decode(),
            "encoding": "text",
            "truncated": False,
            "ttfb_ms": 2.5,
            "duration_ms": 3.0,
        },
        "fault": None,
        "shadows": [
            {
                "model": "wine-v4",
                "status": 200,
                "fault": None,
                "duration_ms": 4.0,
                "content_type": "application/json",
                "size": len(agreeing(1)),
                "body": agreeing(1).decode(),
                "encoding": "text",
                "truncated": False,
                "comparison": {
                    "result": "agree",
                    "distance": 0.0,
                    "reason": None,
                    "method": "classification",
                    "rows": 1,
                    "rows_disagreeing": 0,
                },
            }
        ],
        "rows": [
            {"shadow": "wine-v4", "row": 0, "agrees": True, "primary_label": "1", "shadow_label": "1"},
        ],
        "rows_omitted": 0,
    }
    assert list(record)[:4] == ["schema", "ts", "request_id", "route"]


def test_nothing_personal_by_default() -> None:
    """Raw unit, client address, query, and headers nobody asked for are nowhere in the record."""
    line = orjson.dumps(record_of(primary_part(), {0: shadow_part()}))
    for secret in (b"ada", b"192.0.2.7", b"hunter2", b"s=1", b"?user"):
        assert secret not in line


def test_kept_headers() -> None:
    """``log.headers`` keeps headers of both heads; those the unit may come from are hashed, unasked."""
    config = with_log(
        "{percent: 50, headers: [content-type, x-user-id, cookie, authorization, x-two], "
        "redact: [{header: authorization}]}"
    )
    details = primary_part().details
    assert details is not None
    head = details.request_head.replace(b"host: model\r\n", b"X-Two: a\r\nx-two: b\r\ncookie: uid=ada\r\n")
    record = record_of(primary_part(request_head=head), config=config)
    assert record["request"]["headers"] == {
        "x-two": "a, b",
        "content-type": "application/json",
        "x-user-id": keyed_hash(KEY, b"ada@example.org"),
        "cookie": keyed_hash(KEY, b"uid=ada"),
    }
    assert record["response"]["headers"] == {"content-type": "application/json"}


PROBABILITIES: dict[str, tuple[dict[str, Any], float | None]] = {
    "champion": ({}, 0.75),
    "challenger": ({"variant": 1, "served_by": 1}, 0.25),
    "forced: nothing was drawn": ({"variant": 1, "flags": Flag.LOGGED | Flag.FORCED}, None),
    "missing unit, drawn": ({"unit_source": MISSING_UNIT, "unit": b""}, 0.75),
}


@pytest.mark.parametrize("name", PROBABILITIES)
def test_probability(name: str) -> None:
    """The probability is that of the assignment as it was made."""
    changes, expected = PROBABILITIES[name]
    assert record_of(primary_part(**changes))["probability"] == expected


def test_missing_unit() -> None:
    """Without a unit there is no hash; the champion is certain where the route says so."""
    primary = primary_part(unit_source=MISSING_UNIT, unit=b"")
    config = BASE_CONFIG.replace("    variants:", "    missing_unit: champion\n    variants:")
    record = record_of(primary, config=config)
    assert (record["unit"], record["unit_source"], record["probability"]) == (None, "missing", 1.0)


def test_served_by_another_variant() -> None:
    """The assigned variant stays; ``served_by`` says who answered."""
    record = record_of(primary_part(variant=1, served_by=0, fault=Fault.TIMEOUT))
    assert (record["variant"], record["model"], record["served_by"]) == ("v2", "wine-v2", "v1")
    assert (record["fault"], record["response"]["truncated"]) == ("timeout", False)


def test_fault() -> None:
    """A failed request is logged like any other: our own answer whole, its fault named, no time to first byte."""
    record = record_of(
        primary_part(fault=Fault.CONNECT, status=502, ttfb_ns=0, response_body=b'{"error":"x"}')
    )
    assert record["fault"] == "connect"
    assert (record["response"]["status"], record["response"]["ttfb_ms"]) == (502, None)
    assert (record["response"]["body"], record["response"]["truncated"]) == ('{"error":"x"}', False)


def test_fault_after_the_head_is_a_cut_answer() -> None:
    """An answer that stopped in the middle is marked as truncated."""
    assert record_of(primary_part(flags=Flag.LOGGED | Flag.CUT))["response"]["truncated"] is True
    assert record_of(primary_part(flags=Flag.LOGGED | Flag.CLIENT_LEFT))["response"]["truncated"] is True


def test_failed_shadow() -> None:
    """A shadow without an answer has a fault, no status and no comparison."""
    part = shadow_part(fault=Fault.TIMEOUT, status=0, response_lines=b"", response_body=b"")
    (shadow,) = record_of(primary_part(), {0: part})["shadows"]
    assert (shadow["fault"], shadow["status"], shadow["comparison"]) == ("timeout", None, None)


def response(
    body: bytes, content_type: bytes = b"application/json", coding: bytes = b"", **changes: Any
) -> Primary:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: " + content_type + b"\r\n"
    head += b"content-encoding: " + coding + b"\r\n" if coding else b""
    lines = head.partition(b"\r\n")[2]
    return primary_part(response_head=head + b"\r\n", response_lines=lines, response_body=body, **changes)


RAW_DEFLATE = zlib.compress(b'{"a":1}')[2:-4]
CUT = Flag.LOGGED | Flag.RESPONSE_TRUNCATED
BOMB = gzip.compress(b"0" * (8 << 20))

BODIES: dict[str, tuple[Primary, str | None, str | None, bool]] = {
    "text": (response(b"h\xc3\xa9", b"text/plain"), "hé", "text", False),
    "empty": (response(b""), "", "text", False),
    "binary": (response(b"\xff\x00"), base64.b64encode(b"\xff\x00").decode(), "base64", False),
    "over the cap": (response(b"x" * 1025), "x" * 1024, "text", True),
    "just the cap": (response(b"x" * 1024), "x" * 1024, "text", False),
    "cut inside a character": (response(b"x" * 1023 + b"\xc3\xa9"), "x" * 1023, "text", True),
    "copy cut inside a character": (response(b"a\xc3", flags=CUT), "a", "text", True),
    "half a character at the end is no text": (
        response(b"a\xc3"),
        base64.b64encode(b"a\xc3").decode(),
        "base64",
        False,
    ),
    "gzip": (response(gzip.compress(b'{"a":1}'), coding=b"gzip"), '{"a":1}', "text", False),
    "deflate": (response(zlib.compress(b'{"a":1}'), coding=b"deflate"), '{"a":1}', "text", False),
    "raw deflate": (response(RAW_DEFLATE, coding=b"Deflate"), '{"a":1}', "text", False),
    "unknown coding stays as it is": (
        response(b"br", coding=b"br"),
        base64.b64encode(b"br").decode(),
        "base64",
        False,
    ),
    "a bomb stays as it is": (
        response(BOMB, coding=b"gzip"),
        base64.b64encode(BOMB[:1024]).decode(),
        "base64",
        True,
    ),
    "cut gzip stays as it is": (
        response(gzip.compress(b"abc")[:12], coding=b"gzip", flags=CUT),
        base64.b64encode(gzip.compress(b"abc")[:12]).decode(),
        "base64",
        True,
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies(name: str) -> None:
    """Text is text, anything else base64; what is not whole says so."""
    primary, body, encoding, truncated = BODIES[name]
    document = record_of(primary, config=with_log("{percent: 50, body: 1KiB, content: true}"))["response"]
    assert (document["body"], document["encoding"], document["truncated"]) == (body, encoding, truncated)
    assert "redacted" not in document


def test_what_could_not_be_decoded_names_its_coding() -> None:
    """A body that is written in its coding says which; one that was decoded says none."""
    coded = record_of(response(b"??", coding=b"Compress"))["response"]
    assert (coded["content_encoding"], coded["encoding"]) == ("Compress", "base64")
    assert "content_encoding" not in record_of(response(gzip.compress(b"a"), coding=b"gzip"))["response"]


def test_binary_tensors_say_where_they_begin() -> None:
    """Request, answer and copy each have the length of the JSON before their tensors, if they have tensors."""
    line = b"Inference-Header-Content-Length: 2\r\n"
    details = primary_part().details
    assert details is not None
    head = details.request_head.replace(b"host: model\r\n", line)
    answer = response(b"{}\x01\xff")
    answer_head = (answer.details or details).response_head.replace(b"\r\n\r\n", b"\r\n" + line + b"\r\n")
    primary = replace(answer, details=replace(details, request_head=head, response_head=answer_head))
    part = shadow_part(response_lines=line, response_body=b"{}\x02\xff")
    record = record_of(primary, {0: part})
    for message in (record["request"], record["response"], record["shadows"][0]):
        assert message["inference_header_length"] == 2
    redacted = record_of(response(SECRET_JSON), {0: shadow_part(response_body=SECRET_JSON)}, config=REDACTING)
    assert "inference_header_length" not in redacted["response"]


def test_a_path_that_is_not_whole() -> None:
    """What detectors take out of a path is said: who asks again would ask for something else."""
    config = BASE_CONFIG.replace("body: 1KiB}", "body: 1KiB, redact: [{detect: email}]}")
    plain, hidden = (
        record_of(primary_part(target=b"/v2/models/wine/of/" + who), config=config)["request"]
        for who in (b"ada", b"ada@example.org")
    )
    assert (plain["path"], "path_redacted" in plain) == ("/v2/models/wine/of/ada", False)
    assert (hidden["path"], hidden["path_redacted"]) == ("/v2/models/wine/of/***", True)


ASKED: dict[str, tuple[bytes, bytes, dict[str, Any]]] = {
    "plain": (b"/a", b"", {}),
    "a query, which is not written": (b"/a?token=s3cr3t", b"", {"has_query": True}),
    "anything": (b"/a", b"Accept: */*\r\n", {}),
    "a stream": (b"/a", b"Accept: text/event-stream\r\n", {"accept": "text/event-stream"}),
    "two lines": (b"/a", b"accept: a/b \r\naccept: c/d\r\n", {"accept": "a/b, c/d"}),
    "another field that ends so": (b"/a", b"x-accept: a/b\r\n", {}),
}


@pytest.mark.parametrize("name", ASKED)
def test_what_else_decides_the_answer(name: str) -> None:
    """Whether there was a query and what the client takes are told where they matter."""
    target, lines, expected = ASKED[name]
    head = b"POST " + target + b" HTTP/1.1\r\nhost: model\r\n" + lines + b"\r\n"
    request = record_of(primary_part(target=target, request_head=head))["request"]
    assert {key: request[key] for key in ("accept", "has_query") if key in request} == expected


SECRET_JSON = b'{"parameters":{"user":"ada"},"a":[{"secret":"s3cr3t"}]}'
KEPT_JSON = '{"parameters":{"user":"' + keyed_hash(KEY, b"ada") + '"},"a":[{}]}'

REDACTED: dict[str, tuple[Primary, str | None]] = {
    "json": (response(SECRET_JSON), KEPT_JSON),
    "json by another name": (response(SECRET_JSON, b"text/plain"), KEPT_JSON),
    "gzip": (response(gzip.compress(SECRET_JSON), coding=b"gzip"), KEPT_JSON),
    "utf-16": (
        response(SECRET_JSON.decode().encode("utf-16"), b"application/json; charset=utf-16"),
        KEPT_JSON,
    ),
    "a key that stands twice": (response(b'{"secret":"s3cr3t","secret":"s3cr3t2"}'), "{}"),
    "empty": (response(b""), ""),
    "cut copy": (response(SECRET_JSON, flags=CUT), None),
    "no json": (response(b"secret=s3cr3t", b"application/x-www-form-urlencoded"), None),
    "broken json": (response(SECRET_JSON[:-1]), None),
    "unknown coding": (response(SECRET_JSON, coding=b"br"), None),
    "wrong coding": (response(SECRET_JSON, coding=b"gzip"), None),
    "bomb": (response(BOMB, coding=b"gzip"), None),
    "too deep to write": (response(b"[" * 400 + b'{"secret":"s3cr3t"}' + b"]" * 400), None),
    "json and binary": (response(SECRET_JSON + b"\x00\x01s3cr3t"), None),
}


@pytest.mark.parametrize("name", REDACTED)
def test_redaction(name: str) -> None:
    """What must not be written is not written: redacted where the body can be read, else left out whole."""
    primary, body = REDACTED[name]
    assert primary.details is not None
    asked = replace(primary, details=replace(primary.details, request_body=SECRET_JSON))
    record = record_of(asked, config=REDACTING)
    document = record["response"]
    assert document["body"] == body
    assert document.get("redacted", False) == (body != "")
    assert document["encoding"] == (None if body is None else "text")
    assert record["request"]["body"] == KEPT_JSON
    assert b"s3cr3t" not in orjson.dumps(record)
    assert b'"ada"' not in orjson.dumps(record)


def test_redaction_covers_shadows() -> None:
    """A shadow's body is redacted like the others."""
    record = record_of(primary_part(), {0: shadow_part(response_body=SECRET_JSON)}, config=REDACTING)
    assert record["shadows"][0]["body"] == KEPT_JSON


def test_redaction_comes_before_the_cap() -> None:
    """A body is redacted whole and then cut, so that a cut cannot make it unreadable."""
    config = with_log("{percent: 50, body: 20B, redact: [{json: /a/0/secret}]}")
    document = record_of(response(SECRET_JSON), config=config)["response"]
    assert (document["body"], document["truncated"]) == ('{"parameters":{"user', True)


CHAT = b'{"model":"m","temperature":1,"messages":[{"role":"user","content":"ask s3cr3t"}]}'
SAID = b'{"object":"chat.completion","choices":[{"message":{"content":"s3cr3t"}}],"usage":{"completion_tokens":2}}'
PROBLEM = b'{"detail":[{"input":{"messages":"s3cr3t"}}]}'
NUMBERS = b'{"outputs":[]}'
AUTO, NEVER, ALWAYS = ("{percent: 50, content: %s}" % word for word in ("auto", "false", "true"))  # noqa: UP031

WITHHELD: dict[str, tuple[str, bytes, Primary, tuple[bool, bool, bool]]] = {
    "a conversation": (AUTO, CHAT, response(SAID), (True, True, True)),
    "an error may quote what was asked": (AUTO, CHAT, response(PROBLEM, status=422), (True, True, True)),
    "an answer tells of what kind the request is": (AUTO, b'{"a":"s3cr3t', response(SAID), (True, True, True)),
    "a cut request": (
        AUTO,
        CHAT[:50],
        response(PROBLEM, status=500, flags=Flag.LOGGED | Flag.REQUEST_TRUNCATED),
        (True, True, True),
    ),
    "nothing can be read": (
        AUTO,
        b'{"a":"s3cr3t',
        response(PROBLEM, status=500, flags=Flag.LOGGED | Flag.REQUEST_TRUNCATED),
        (True, True, True),
    ),
    "nothing can be read, and nobody answered": (
        AUTO,
        b'{"a":"s3cr3t',
        response(b"", status=499, flags=Flag.LOGGED | Flag.REQUEST_TRUNCATED),
        (True, False, False),
    ),
    "numbers": (AUTO, b'{"inputs":[]}', response(NUMBERS), (False, False, False)),
    "a cut request of numbers": (
        AUTO,
        b'{"inputs":[',
        response(NUMBERS, flags=Flag.LOGGED | Flag.REQUEST_TRUNCATED),
        (False, False, False),
    ),
    "a note where there are numbers else": (
        AUTO,
        b'{"inputs":[]}',
        response(b"s3cr3t", b"text/plain", status=500),
        (False, True, False),
    ),
    "numbers that nobody wants": (NEVER, b'{"inputs":[]}', response(NUMBERS), (True, True, True)),
    "a conversation that is wanted": (ALWAYS, CHAT, response(SAID), (False, False, False)),
}  # fmt: skip


@pytest.mark.parametrize("name", WITHHELD)
def test_free_text(name: str) -> None:
    """Free text is not written unless it is asked for, in no part of an exchange; everything else is."""
    log, request, primary, expected = WITHHELD[name]
    assert primary.details is not None
    asked = replace(primary, details=replace(primary.details, request_body=request))
    part = shadow_part(response_body=primary.response_body if primary.status == 200 else NUMBERS)
    if "nobody answered" in name:
        part = shadow_part(response_body=b"", status=500)
    if name in ("an error may quote what was asked", "a cut request", "nothing can be read"):
        part = shadow_part(response_body=PROBLEM, status=500)
    record = record_of(asked, {0: part}, config=with_log(log))
    parts = (record["request"], record["response"], record["shadows"][0])
    assert tuple(part["body"] is None for part in parts) == expected
    assert tuple(part.get("withheld", False) for part in parts) == expected
    if log == AUTO:
        assert b"s3cr3t" not in orjson.dumps(record)


def test_what_is_kept_of_free_text() -> None:
    """Size, type, tokens, and hashes by which equal prompts and equal answers are found."""
    primary = response(SAID)
    assert primary.details is not None
    asked = replace(primary, details=replace(primary.details, request_body=CHAT))
    again = replace(primary, details=replace(primary.details, request_body=CHAT.replace(b":1,", b":0,")))
    record, other = record_of(asked, {0: shadow_part(response_body=SAID)}), record_of(again)
    assert record["request"]["content_hash"] == other["request"]["content_hash"]
    assert record["request"]["content_hash"] != record["response"]["content_hash"]
    assert record["response"] | {"ttfb_ms": 0, "duration_ms": 0} == {
        "status": 200,
        "content_type": "application/json",
        "size": primary.details.response_bytes,
        "body": None,
        "encoding": None,
        "truncated": False,
        "withheld": True,
        "content_hash": record["shadows"][0]["content_hash"],
        "completion_tokens": 2,
        "ttfb_ms": 0,
        "duration_ms": 0,
    }


def test_without_details_there_is_no_record() -> None:
    """An exchange that was not to be logged cannot be: its request was not even sent."""
    with pytest.raises(StateError):
        record_of(primary_part(details=None))


TARGETS = {
    b"/a/b?x=1": "/a/b",
    b"/a#f": "/a",
    b"http://host/a?x": "/a",
    b"http://host": "/",
    b"*": "*",
    b"/\xff": "/\ufffd",
}


@pytest.mark.parametrize("target", TARGETS)
def test_path(target: bytes) -> None:
    """The path has no query, whatever the form of the target."""
    assert record_of(primary_part(target=target))["request"]["path"] == TARGETS[target]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_line_is_harmless_on_a_terminal(text: str) -> None:
    """A line of the log is one line, says what was meant, and holds no control character but its end."""
    line = build_line({"body": text})
    assert orjson.loads(line) == {"body": text}
    assert not any(unicodedata.category(c) == "Cc" for c in line.decode()[:-1])
    assert line.endswith(b"\n")


def test_a_body_without_what_is_redacted() -> None:
    """A body that is written anew and lacks nothing is not marked: it says what was sent."""
    document = record_of(response(b'{ "a": 1 }'), config=REDACTING)["response"]
    assert document["body"] == '{"a":1}'
    assert "redacted" not in document


def test_redaction_by_name_and_by_form() -> None:
    """Tensors by their name, and what detectors find in bodies, headers and path, are not in the record."""
    config = with_log(
        "{percent: 50, headers: [x-note], redact: [{tensor: ssn, action: keep_last, keep: 2}, {detect: email}, "
        "{detect: card, action: hash}]}"
    )
    body = b'{"instances":[{"ssn":"078-05-1120","q":"from ada@example.com"}]}'
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-note: 4111111111111111\r\n\r\n"
    record = record_of(
        primary_part(response_head=head, response_body=body, target=b"/v1/ada%40example.com:predict"),
        config=config,
    )
    assert record["response"]["body"] == '{"instances":[{"ssn":"***20","q":"from ***"}]}'
    assert record["response"]["redacted"] is True
    assert record["response"]["headers"] == {"x-note": keyed_hash(KEY, b"4111111111111111")}
    assert record["request"]["path"] == "/v1/***:predict"
    head = b"POST / HTTP/1.1\r\naccept: a/b;by=ada@example.com\r\ncontent-type: text/csv;by=ada@example.com\r\n\r\n"
    asked = record_of(primary_part(request_head=head, request_body=b"1"), config=config)["request"]
    assert (asked["accept"], asked["content_type"]) == ("a/b;by=***", "text/csv;by=***")


def test_a_header_that_is_told_by_itself_is_redacted_too() -> None:
    """Id, ``accept`` and ``content-type`` have fields of their own: rules for headers hold there as well, and a word
    that a client calls a method is looked at."""
    rules = (
        "{header: Accept}, {header: content-type, action: mask}, {header: x-request-id, action: hash}, "
        "{detect: token}"
    )
    head = f"ghp_{'a1B2' * 9} / HTTP/1.1\r\naccept: s3cr3t\r\ncontent-type: s3cr3t\r\n\r\n".encode()
    record = record_of(
        primary_part(request_head=head), config=with_log(f"{{percent: 50, redact: [{rules}]}}")
    )
    asked = record["request"]
    assert (asked["method"], asked["content_type"], "accept" in asked) == ("***", "***", False)
    assert record["request_id"] == keyed_hash(KEY, primary_part().request_id)


def test_an_id_that_is_the_unit_is_told() -> None:
    """By it a record is found: only who says so has it hidden."""
    config = BASE_CONFIG.replace('unit: ["header:x-user-id"', 'unit: ["header:x-request-id"')
    assert config != BASE_CONFIG
    assert record_of(primary_part(), config=config)["request_id"] == primary_part().request_id.decode()


def test_ids_of_the_trace() -> None:
    """A traced request's record says trace and span as the model saw them; another one's says nothing of it."""
    trace_id, span_id = "4bf92f3577b34da6a3ce929d0e0e4736", "1122334455667788"
    head = f"POST / HTTP/1.1\r\nhost: a\r\ntraceparent: 00-{trace_id}-{span_id}-01\r\n\r\n".encode()
    for own in (0, int(span_id, 16)):
        part = primary_part(flags=Flag.LOGGED | Flag.TRACED, request_head=head, span_id=own)
        record = record_of(part)
        assert (record["trace_id"], record["span_id"]) == (trace_id, span_id)
    assert "trace_id" not in record_of(primary_part(request_head=head))
    assert "trace_id" not in record_of(primary_part(flags=Flag.LOGGED | Flag.TRACED))
