"""A line of a payload log → a record, or a reason; every version, never an exception."""

import base64
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.records.record import (
    Damaged,
    Record,
    parse_record,
    read_document,
    rfc3339_of,
    wall_ns_of,
)
from proxy.records.schema import SCHEMA_VERSION
from tests.observer.exchanges import STARTED_WALL_NS, agreeing
from tests.records.lines import built_document, line_of, plain_document


def record_of(document: dict[str, Any]) -> Record:
    found = read_document(document)
    assert isinstance(found, Record), found
    return found


def changed(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return ``document`` with one value replaced, or taken out if it is ``...``."""
    copy: dict[str, Any] = orjson.loads(orjson.dumps(document))
    *outer, name = path.split(".")
    inner = copy
    for step in outer:
        inner = inner[step]
    if value is ...:
        del inner[name]
    else:
        inner[name] = value
    return copy


def test_what_is_written_is_read() -> None:
    """Each field of a record that the observer builds comes back as what went in."""
    document = built_document()
    record = record_of(document)
    assert record.ts_wall_ns == STARTED_WALL_NS // 1000 * 1000
    assert (record.request_id, record.route, record.variant, record.role) == (
        "req-1",
        "wine",
        "v1",
        "champion",
    )
    assert (record.model, record.served_by, record.table_version) == ("wine-v1", "v1", 1)
    assert (record.probability, record.inclusion_probability) == (0.75, 0.5)
    assert (record.unit, record.fault) == (document["unit"], None)
    request, response = record.request, record.response
    assert (request.method, request.path, request.has_query) == ("POST", "/v2/models/wine/infer", True)
    assert (request.content.body, request.content.content_type) == (b'{"inputs":[]}', "application/json")
    assert (response.status, response.duration_ms, response.ttfb_ms) == (200, 3.0, 2.5)
    assert (response.content.body, response.content.size) == (agreeing(1), len(agreeing(1)))
    (shadow,) = record.shadows
    assert (shadow.model, shadow.status, shadow.duration_ms) == ("wine-v4", 200, 4.0)
    assert shadow.comparison is not None
    assert shadow.comparison["reason"] == "label"
    assert record.document == document


def test_the_first_version_has_no_schema() -> None:
    """A line without a schema is of version 1; one with a later one that is known is read too."""
    assert record_of(plain_document()).schema == 1
    assert record_of(plain_document(schema=SCHEMA_VERSION)).schema == SCHEMA_VERSION


def test_what_is_not_known_is_kept() -> None:
    """A field that this program does not know is no damage, and not lost."""
    document = plain_document(novel={"a": [1]})
    assert record_of(document).document["novel"] == {"a": [1]}


def test_bodies_are_bytes_again() -> None:
    """Text and base64 come back as the bytes that were sent; what was left out is none."""
    raw = b"\x00\xff{"
    document = changed(plain_document(), "response.body", base64.b64encode(raw).decode())
    document = changed(document, "response.encoding", "base64")
    document["request"] |= {"body": None, "encoding": None, "redacted": True}
    record = record_of(document)
    assert record.response.content.body == raw
    content = record.request.content
    assert (content.body, content.redacted, content.encoding) == (None, True, None)


def test_what_came_later() -> None:
    """What tells how to read or repeat a message is read where it is there."""
    document = plain_document()
    document["request"] |= {"has_query": True, "accept": "text/event-stream", "headers": {"x-a": "b"}}
    document["response"] |= {"content_encoding": "br", "inference_header_length": 7, "truncated": True}
    record = record_of(document)
    assert (record.request.has_query, record.request.accept) == (True, "text/event-stream")
    assert record.request.content.headers == {"x-a": "b"}
    content = record.response.content
    assert (content.content_encoding, content.inference_header_length, content.truncated) == ("br", 7, True)


WRONG: dict[str, tuple[bytes, str]] = {
    "no json": (b'{"ts":', "no JSON"),
    "empty": (b"", "no JSON"),
    "too deep": (b"[" * 100_000, "no JSON"),
    "a list": (b"[]", "no JSON object"),
    "a newer version": (
        line_of(schema=SCHEMA_VERSION + 1),
        f"schema {SCHEMA_VERSION + 1} is newer than this program, which reads up to {SCHEMA_VERSION}",
    ),
    "no version": (line_of(schema="2"), "schema is no version"),
    "another object": (b'{"event":"publish"}', "ts is no text"),
    "no time": (line_of(ts="yesterday"), "ts is no time"),
    "a time beyond all calendars": (line_of(ts="9999-12-31T23:59:59-14:00"), "ts is no time"),
    "a number for a text": (line_of(route=1), "route is no text"),
    "no request": (line_of(request=None), "request is no object"),
    "a list for an answer": (line_of(response=[]), "response is no object"),
    "shadows are no list": (line_of(shadows={}), "shadows is no list"),
    "a shadow is no object": (line_of(shadows=[1]), "shadows holds no objects"),
    "a weight without end": (line_of(inclusion_probability=0), "inclusion_probability is not in (0, 1]"),
    "a probability above 1": (line_of(inclusion_probability=1.5), "inclusion_probability is not in (0, 1]"),
    "a budget that is none": (line_of(budget_probability=None), "budget_probability is no number"),
    "a budget below the whole": (
        line_of(inclusion_probability=0.5, budget_probability=0.25),
        "budget_probability is below inclusion_probability",
    ),
    "a header that is no text": (
        line_of(request={**plain_document()["request"], "headers": {"x-a": ["b"]}}),
        "headers holds no texts",
    ),
    "a duration without end": (
        line_of(response={**plain_document()["response"], "duration_ms": 1e308}),
        "duration_ms is no duration",
    ),
    "true is no number": (line_of(table_version=True), "table_version is no whole number"),
    "below zero": (line_of(table_version=-1), "table_version is no whole number"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_lines(name: str) -> None:
    """A line that is no record is damaged, and says why."""
    line, reason = WRONG[name]
    assert parse_record(line) == Damaged(reason)


WRONG_PARTS: dict[str, tuple[Any, str]] = {
    "response.encoding": ("utf-7", "encoding is neither text nor base64"),
    "response.status": ("200", "status is no whole number"),
    "response.duration_ms": (None, "duration_ms is no number"),
    "request.headers": ([], "headers is no object"),
    "request.size": (..., "size is no whole number"),
    "request.inference_header_length": (1.5, "inference_header_length is no whole number"),
}


@pytest.mark.parametrize("path", WRONG_PARTS)
def test_wrong_parts(path: str) -> None:
    """Each part of a message has its type, or the line is damaged."""
    value, reason = WRONG_PARTS[path]
    assert read_document(changed(plain_document(), path, value)) == Damaged(reason)


def test_broken_base64() -> None:
    """A body that is no base64 is damage."""
    for body in ("a", "ä===", "a b="):
        document = changed(plain_document(), "response.body", body)
        found = read_document(changed(document, "response.encoding", "base64"))
        assert found == Damaged("body is no base64")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(plain_document())), JSON)
def test_any_value_anywhere(key: str, value: Any) -> None:
    """Whatever stands in a field, there is a record or a reason."""
    assert isinstance(read_document(plain_document() | {key: value}), Record | Damaged)


@given(st.sampled_from(["request", "response"]), st.sampled_from(sorted(plain_document()["response"])), JSON)
def test_any_value_in_a_message(outer: str, key: str, value: Any) -> None:
    """The same within request and answer."""
    document = plain_document()
    document[outer] = document[outer] | {key: value}
    assert isinstance(read_document(document), Record | Damaged)


@given(st.binary())
def test_any_bytes(line: bytes) -> None:
    """Any bytes give a record or a reason."""
    assert isinstance(parse_record(line), Record | Damaged)


MOMENTS = {
    "1970-01-01T00:00:01Z": 1_000_000_000,
    "1970-01-01T01:00:01+01:00": 1_000_000_000,
    "1970-01-01T00:00:00.000001": 1_000,
    "1970-01-02": 86_400_000_000_000,
    "2026-11-21T04:05:20.111541Z": 1_795_233_920_111_541_000,
}


@pytest.mark.parametrize("text", MOMENTS)
def test_moments(text: str) -> None:
    """A time is read to the microsecond, in UTC unless it says otherwise."""
    assert wall_ns_of(text) == MOMENTS[text]


@given(st.integers(0, 4_000_000_000_000_000))
def test_a_moment_comes_back(micros: int) -> None:
    """A time that is written is the time that is read."""
    assert wall_ns_of(rfc3339_of(micros * 1000)) == micros * 1000
