"""The table of the record's fields: what is written is in it, README and JSON Schema are made of it."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jsonschema
import orjson
import pytest

from proxy.compare import Answer, Comparison, ComparisonRule, Difference, compare
from proxy.compare.pace import Pace
from proxy.exchange import Flag
from proxy.model import Fault
from proxy.observer.pacing import ANSWER
from proxy.observer.record import build_record, compile_record_rule
from proxy.records.keep import REASONS
from proxy.records.schema import FIELDS, SCHEMA_VERSION, Field, json_schema, leaves, paths_of
from tests.observer.exchanges import BASE_CONFIG, primary_part, shadow_part, table_of

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
KINDS: dict[str, type | tuple[type, ...]] = {
    "text": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "list of text": list,
    "list of objects": list,
    "map of numbers": dict,
    "map of text": dict,
}
FULL = BASE_CONFIG.replace(
    "log: {percent: 50, body: 1KiB}",
    "log: {percent: 50, headers: [content-type], redact: [{json: /secret}]}",
)
ASKED_TWICE = BASE_CONFIG.replace("as: classification", "as: text, noise: 50, slices: {tier: header:x-tier}")
STREAM = b'data: {"choices":[{"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
DISAGREE = Comparison("disagree", 0.5, "label", "classification", 1, 1)
WORDS = Comparison(
    "disagree", 0.6, "text", "text", 1, 1, (Difference("/choices/0", "a", "b"),), (), (("chrf", 40.0),)
)

FAST = Pace(10_000_000, 90_000_000, 3, 9, 40_000_000, 40_000_000, 40_000_000, False)
SLOW = Pace(10_000_000, 10_000_000, 1, 1, None, None, None, True)


def record(
    config: str,
    lines: bytes = b"",
    paces: Mapping[int, Pace] = MappingProxyType({}),
    judged: Comparison = DISAGREE,
    slices: Mapping[str, str] = MappingProxyType({}),
    **changes: Any,
) -> dict[str, Any]:
    """Return a record of an exchange with two copies, and a third where the route measures its noise.

    ``lines`` stand in all three heads.
    """
    route = table_of(config).routes[0]
    copy = shadow_part(response_lines=lines) if lines else shadow_part()
    if "response_body" in changes:
        copy = replace(copy, response_body=changes["response_body"])
    shadows = {0: copy, 1: shadow_part(shadow=1, status=0, fault=Fault.RESET, response_body=b"cut")}
    if route.noise is not None:
        shadows[2] = shadow_part(shadow=2)
    if lines:
        changes["request_head"] = b"POST /v2 HTTP/1.1\r\n" + lines + b"\r\n"
        changes["response_head"] = b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n"
    rule, primary = compile_record_rule(route, b"k" * 32), primary_part(**changes)
    built = build_record(rule, route, primary, shadows, {0: judged, 2: judged}, paces=paces, slices=slices)
    parsed: dict[str, Any] = orjson.loads(orjson.dumps(built))
    return parsed


def judged_numbers() -> Comparison:
    """Return what comes of two rows of numbers, of which one differs."""
    primary, shadow = (
        Answer(200, None, None, body) for body in (b'{"predictions":[1.5,2]}', b'{"predictions":[1.5,3]}')
    )
    return compare(ComparisonRule("regression"), primary, shadow)


def judged_classes() -> Comparison:
    """Return what comes of a row of probabilities."""
    primary, shadow = (
        Answer(200, None, None, body)
        for body in (b'{"predictions":[[0.5,0.5]]}', b'{"predictions":[[0.75,0.25]]}')
    )
    return compare(ComparisonRule("classification"), primary, shadow)


RECORDS = {
    "plain": record(BASE_CONFIG),
    "with headers": record(FULL),
    "redacted": record(FULL, request_body=b"{", response_body=b"no JSON"),
    "without a unit": record(BASE_CONFIG, unit=b"", unit_source=255),
    "still encoded": record(BASE_CONFIG, b"accept: text/csv\r\ncontent-encoding: x-odd\r\n"),
    "binary tensors": record(BASE_CONFIG, b"inference-header-content-length: 2\r\n"),
    "streamed": record(BASE_CONFIG, paces={ANSWER: FAST, 0: SLOW}),
    "assembled": record(
        FULL.replace("redact:", "content: true, redact:"),
        b"content-type: text/event-stream\r\n",
        request_body=STREAM,
        response_body=STREAM,
    ),
    "withheld": record(
        BASE_CONFIG,
        b"content-type: application/json\r\n",
        request_body=b'{"prompt":"hi"}',
        response_body=b'{"choices":[],"object":"x","usage":{"prompt_tokens":1,"completion_tokens":2}}',
    ),
    "traced": record(
        BASE_CONFIG,
        b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n",
        flags=Flag.LOGGED | Flag.TRACED,
    ),
    "rows": record(BASE_CONFIG.replace("classification", "regression"), judged=judged_numbers()),
    "rows with labels": record(BASE_CONFIG, judged=judged_classes()),
    "asked twice": record(ASKED_TWICE, judged=WORDS, slices={"tier": "gold"}),
    "detected in the path": record(
        BASE_CONFIG.replace("body: 1KiB}", "body: 1KiB, redact: [{detect: email}]}"),
        target=b"/v2/models/wine/of/ada@example.org",
    ),
    "without an answer": record(BASE_CONFIG, status=499, response_body=b"", ttfb_ns=0),
}


def values(document: Any, path: str) -> list[Any]:
    """Return what stands at a path of the table, in each entry of its lists; nothing where it is not there."""
    found = [document]
    for step in path.split("."):
        inner = [each[step.removesuffix("[]")] for each in found if each and step.removesuffix("[]") in each]
        found = [entry for each in inner for entry in each] if step.endswith("[]") else inner
    return found


@pytest.mark.parametrize("name", RECORDS)
def test_what_is_written_is_in_the_table(name: str) -> None:
    """A record has every field that it must have, of its kind, in the order of the table, and no other."""
    written = RECORDS[name]
    known = [field.path for field in FIELDS]
    assert set(paths_of(written)) <= set(known)
    at_top = [path for path in known if "." not in path]
    assert list(written) == [path for path in at_top if path in written]
    for field in FIELDS:
        found = values(written, field.path)
        outer, _, _ = field.path.rpartition(".")
        if field.is_always and outer:
            assert len(found) == len([each for each in values(written, outer) if each is not None])
        elif field.is_always:
            assert len(found) == 1
        for value in found:
            assert field.is_nullable if value is None else isinstance(value, KINDS[field.plain_kind]), (
                field.path
            )


def test_every_field_is_written() -> None:
    """The table has no field that no record has."""
    written = {path for each in RECORDS.values() for path in paths_of(each)}
    assert written == {field.path for field in FIELDS}


@pytest.mark.parametrize("name", RECORDS)
def test_the_json_schema_takes_what_is_written(name: str) -> None:
    """A record is valid by the JSON Schema, and so is one with fields that only later versions know."""
    validator = jsonschema.Draft202012Validator(json_schema())
    validator.validate(RECORDS[name])
    validator.validate({**RECORDS[name], "of_tomorrow": 1})


BROKEN: dict[str, dict[str, Any]] = {
    "a field is missing": {"ts": None},
    "another version": {"schema": 1},
    "a text for a number": {"inclusion_probability": "0.5"},
    "a reason that is none": {"kept_by": "sample"},
    "a body that is no text": {"request": {**RECORDS["plain"]["request"], "body": 5}},
    "a copy without a model": {"shadows": [{}]},
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_json_schema_refuses(name: str) -> None:
    """What is no record is not valid."""
    validator = jsonschema.Draft202012Validator(json_schema())
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({**RECORDS["plain"], **BROKEN[name]})


def test_the_json_schema_is_one() -> None:
    """It is valid itself, and each of its fields says what it means."""
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["properties"]["schema"]["const"] == SCHEMA_VERSION
    assert all(part["description"] for part in schema["properties"].values())


def test_the_readme_prints_the_table() -> None:
    """The README has one row for each field, in order, with its kind and its meaning."""
    section = README.split("\n## Payload log\n", 1)[1].split("\n## ", 1)[0]
    table = section.split("| field |", 1)[1]
    written = [line for line in table.split("\n\n", 1)[0].splitlines() if line.startswith("| `")]
    assert written == [row(field) for field in FIELDS]


def row(field: Field) -> str:
    """Return the README's row of a field."""
    return (
        f"| `{field.path}` | {field.kind} | {field.since} | {field.meaning[0].upper()}{field.meaning[1:]}. |"
    )


def test_each_field_is_said_once() -> None:
    """Paths are unique, versions are those there are, meanings are fragments; reasons are all named."""
    paths = [field.path for field in FIELDS]
    assert len(paths) == len(set(paths))
    assert {field.since for field in FIELDS} <= set(range(1, SCHEMA_VERSION + 1))
    assert not [field for field in FIELDS if field.meaning.endswith(".") or "|" in field.meaning]
    (kept_by,) = (field for field in FIELDS if field.path == "kept_by")
    assert re.findall(r"`(\w+)`", kept_by.meaning) == list(REASONS)


def test_leaves() -> None:
    """Columns are made of the fields that hold values of their own."""
    names = [field.path for field in leaves()]
    assert "request.body" in names
    assert "shadows[].comparison.result" in names
    assert not {"request", "response", "shadows", "shadows[].comparison"} & set(names)
