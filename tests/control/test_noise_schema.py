"""The description of noise has every figure that is told of it."""

import jsonschema

from proxy.control.noise_schema import noise_schema
from proxy.noise import TRIPLE_FIELDS


def test_the_schema_is_one() -> None:
    """It is valid JSON Schema, has a place for each count, and lets nothing stand for nobody asking but null."""
    schema = noise_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    told, nothing = schema["anyOf"]
    assert set(TRIPLE_FIELDS) | {"triples"} <= set(told["required"])
    assert nothing == {"type": "null"}
    assert not jsonschema.Draft202012Validator(schema).is_valid({})
