"""A JSON Schema tells documents that fit from those that do not, and never asks the network."""

import time
from typing import Any

import orjson
import pytest

from proxy.schemas import compile_schema, fits

FOURTH = "http://json-schema.org/draft-04/schema#"
NEWEST = "https://json-schema.org/draft/2020-12/schema"
OBJECT = {
    "type": "object",
    "$defs": {"age": {"type": "integer", "minimum": 0}},
    "properties": {"age": {"$ref": "#/$defs/age"}},
    "required": ["age"],
    "additionalProperties": False,
}

FITS: dict[str, tuple[Any, Any, bool]] = {
    "as asked for": (OBJECT, {"age": 3}, True),
    "out of range": (OBJECT, {"age": -1}, False),
    "missing": (OBJECT, {}, False),
    "one more": (OBJECT, {"age": 3, "name": "x"}, False),
    "a boolean is no integer": (OBJECT, {"age": True}, False),
    "anything": ({}, [None], True),
    "no default is filled in": ({"properties": {"a": {"default": 3}}}, {}, True),
    "a pattern is searched": ({"pattern": "b+$"}, "abb", True),
    "its end is the end": ({"pattern": "^b$"}, "b\n", False),
    "a pattern of names": ({"patternProperties": {"^x": False}}, {"xy": 1}, False),
    "a format": ({"format": "date"}, "2026-02-30", False),
    "a format that nobody knows": ({"format": "postcode"}, "x", True),
    "a format of a later draft": ({"$schema": NEWEST, "format": "uuid"}, "x", False),
    "draft 4": ({"$schema": FOURTH, "minimum": 3, "exclusiveMinimum": True}, 3, False),
    "draft 7 where nothing is said": ({"items": [{"type": "integer"}]}, ["x"], False),
    "draft 2020-12": ({"$schema": NEWEST, "prefixItems": [{"type": "integer"}]}, ["x"], False),
    "an anchor": (
        {"$schema": NEWEST, "$defs": {"a": {"$anchor": "n", "type": "null"}}, "$ref": "#n"},
        1,
        False,
    ),
    "its own address": (
        {"$id": "http://example.com/a", "items": {"$ref": "#"}, "type": "array"},
        [[[]]],
        True,
    ),
    "a number with a fraction of nothing": ({"type": "integer"}, 3.0, True),
    "beyond 64 bits": ({"type": "integer", "minimum": 2**60}, 2**70, True),
}

NO_JSON: dict[str, tuple[Any, Any]] = {
    "not a number": ({"type": "number"}, float("nan")),
    "infinity": ({"items": {"type": "number"}}, [float("inf")]),
    "half a pair": ({"additionalProperties": {"pattern": "."}}, {"a": "\ud800"}),
    "half a pair as a name": ({"patternProperties": {".": True}}, {"\ud800": 1}),
}


@pytest.mark.parametrize("name", NO_JSON)
def test_no_json_fits_nothing(name: str) -> None:
    """What a tolerant parser may give and JSON cannot say is no number, and no text where its letters count."""
    schema, document = NO_JSON[name]
    assert not fits(orjson.dumps(schema).decode(), document)


@pytest.mark.parametrize("name", FITS)
def test_fits(name: str) -> None:
    """One schema, one document; the document is left as it was."""
    schema, document, expected = FITS[name]
    before = repr(document)
    assert fits(orjson.dumps(schema).decode(), document) is expected
    assert repr(document) == before


def test_as_deep_as_parsers_go() -> None:
    """A document that is nested deeper than Python calls itself is judged like any other."""
    document: dict[str, Any] = {"b": 1}
    for _ in range(5000):
        document = {"a": document}
    schema = '{"type":"object","properties":{"a":{"$ref":"#"}},"additionalProperties":false}'
    assert fits(schema, {"a": {"a": {}}})
    assert not fits(schema, document)


def doubling(levels: int, key: str) -> dict[str, Any]:
    """Return a schema each definition of which refers to the next one twice."""
    named = {f"d{at}": {key: [{"$ref": f"#/definitions/d{at + 1}"}] * 2} for at in range(levels)}
    return {"definitions": {**named, f"d{levels}": {"type": "integer"}}, "$ref": "#/definitions/d0"}


BAD: dict[str, tuple[str, str]] = {
    "no JSON": ("{", "a JSON Schema of draft 4, 6, 7, 2019-09 or 2020-12"),
    "a list": ("[]", "expected a mapping"),
    "unknown type": ('{"type":"objekt"}', '/type: "objekt" is not valid'),
    "unknown draft": ('{"$schema":"http://json-schema.org/draft-03/schema#"}', "Unknown meta-schema"),
    "bad pattern": ('{"pattern":"("}', 'is not a "regex"[)]$'),
    "a pattern that looks ahead": ('{"pattern":"a(?=b)"}', "such may try forever"),
    "a pattern that looks behind": ('{"items":{"pattern":"(?<!a)b"}}', "such may try forever"),
    "a pattern that refers back": (r'{"pattern":"(a+)\\1"}', "such may try forever"),
    "a pattern of names that looks ahead": ('{"patternProperties":{"(?!x)":{}}}', "such may try forever"),
    "draft 4 that looks ahead": (
        orjson.dumps({"$schema": FOURTH, "pattern": "(?=a)"}).decode(),
        "try forever",
    ),
    "a pattern of megabytes": ('{"pattern":"(a{1000}){1000}"}', 'is not a "regex"'),
    "references that double": (orjson.dumps(doubling(40, "allOf")).decode(), "unfolds into at most"),
    "references too far": (orjson.dumps(doubling(2000, "anyOf")).decode(), "unfolds into at most"),
    "nothing behind the reference": ('{"$ref":"#/definitions/a"}', "does not exist"),
    "a draft's own schema": (
        orjson.dumps({"$ref": "https://json-schema.org/draft/2020-12/schema", "$schema": FOURTH}).decode(),
        "point into the schema itself",
    ),
    "elsewhere": ('{"$ref":"https://example.com/a.json"}', "may only point into the schema itself"),
    "a file": ('{"$ref":"file:///etc/passwd"}', "may only point into the schema itself"),
}


@pytest.mark.parametrize("name", BAD)
def test_no_schema(name: str) -> None:
    """What is none is refused with a sentence."""
    text, expected = BAD[name]
    with pytest.raises(ValueError, match=expected):
        compile_schema(text)


GREEDY = ("^(a+)+$", "^(a|aa)+$", "(.*a){12}$", "(a*)*(a*)*b", "^(a|a?)+$", "(a+b?)+c")
"""Patterns that take an engine with backtracking longer than the universe is old, for some thousand letters."""
STEPS = ("a", "ab", "a" * 60)


@pytest.mark.parametrize("pattern", GREEDY)
@pytest.mark.parametrize("place", ["pattern", "patternProperties"])
def test_no_pattern_tries_forever(pattern: str, place: str) -> None:
    """A pattern judges a hundred thousand letters, whatever they are, at once."""
    value: Any = {pattern: False} if place == "patternProperties" else pattern
    schema = orjson.dumps({place: value}).decode()
    compile_schema(schema)
    for step in STEPS:
        text = step * (100_000 // len(step)) + "!"
        began = time.process_time()
        fits(schema, {text: 1} if place == "patternProperties" else text)
        assert time.process_time() - began < 1.0, step


FORMATS = (
    "date", "date-time", "duration", "email", "hostname", "idn-email", "idn-hostname", "ipv4", "ipv6", "iri",
    "iri-reference", "json-pointer", "regex", "relative-json-pointer", "time", "uri",
    "uri-reference", "uri-template", "uuid",
)  # fmt: skip
PIECES = (
    "a",
    "a.",
    "a@",
    "%41",
    "{a}",
    "/",
    "~0",
    "1:",
    "(a*)*",
    "P1",
    "[",
    "-",
    "é",
    '"',
    ":",
    "\\",
    "((a{9}){9}){9}",
)


@pytest.mark.parametrize("name", FORMATS)
def test_no_format_tries_forever(name: str) -> None:
    """Every format judges sixty thousand letters at once."""
    schema = orjson.dumps({"$schema": NEWEST, "format": name}).decode()
    for piece in PIECES:
        began = time.process_time()
        fits(schema, piece * (60_000 // len(piece)))
        assert time.process_time() - began < 1.0, piece


@pytest.mark.parametrize("key", ["allOf", "anyOf", "oneOf"])
def test_what_refers_to_itself_twice(key: str) -> None:
    """A schema that is its own twice at each level judges a document as deep as parsers give at once."""
    each = {"properties": {"a": {"$ref": "#"}}, "type": "object"}
    schema = orjson.dumps({key: [each, {**each, "maxProperties": 1}]}).decode()
    leaves: tuple[Any, ...] = ({}, 3)
    for leaf in leaves:
        document: Any = leaf
        for _ in range(900):
            document = {"a": document}
        began = time.process_time()
        fits(schema, document)
        assert time.process_time() - began < 1.0


def test_what_unfolds_a_little_is_read() -> None:
    """A chain of references, however long, and a few that double are schemas like others."""
    chain = {f"d{at}": {"items": {"$ref": f"#/definitions/d{at + 1}"}} for at in range(300)}
    schema = {"definitions": {**chain, "d300": {}}, "$ref": "#/definitions/d0"}
    assert fits(orjson.dumps(schema).decode(), [[]])
    assert fits(orjson.dumps(doubling(10, "allOf")).decode(), 1)
