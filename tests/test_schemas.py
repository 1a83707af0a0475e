"""A JSON Schema tells documents that fit from those that do not, and never asks the network."""

from typing import Any

import orjson
import pytest

from proxy.schemas import compile_schema, fits

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
}


@pytest.mark.parametrize("name", FITS)
def test_fits(name: str) -> None:
    """One schema, one document; the document is left as it was."""
    schema, document, expected = FITS[name]
    before = orjson.dumps(document)
    assert fits(orjson.dumps(schema).decode(), document) is expected
    assert orjson.dumps(document) == before


def test_too_deep() -> None:
    """A document deeper than can be followed does not fit, and raises nothing."""
    document: dict[str, Any] = {}
    for _ in range(5000):
        document = {"a": document}
    schema = '{"type":"object","properties":{"a":{"$ref":"#"}}}'
    assert fits(schema, {"a": {"a": {}}})
    assert not fits(schema, document)


BAD: dict[str, tuple[str, str]] = {
    "no JSON": ("{", "a JSON Schema of draft 4, 6 or 7"),
    "a list": ("[]", "a JSON Schema"),
    "unknown type": ('{"type":"objekt"}', "Unknown type"),
    "bad pattern": ('{"pattern":"("}', "a JSON Schema"),
    "nothing behind the reference": ('{"$ref":"#/definitions/a"}', "Unresolvable"),
    "elsewhere": ('{"$ref":"https://example.com/a.json"}', "may only point into the schema itself"),
    "a file": ('{"$ref":"file:///etc/passwd"}', "may only point into the schema itself"),
}


@pytest.mark.parametrize("name", BAD)
def test_no_schema(name: str) -> None:
    """What is none is refused with a sentence."""
    text, expected = BAD[name]
    with pytest.raises(ValueError, match=expected):
        compile_schema(text)
