"""The API description is a sound OpenAPI document."""

from collections.abc import Iterator
from typing import Any

import jsonschema
import orjson

from proxy import __version__
from proxy.control.openapi import build_openapi


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for child in node.values():
            yield from references(child)
    elif isinstance(node, list):
        for child in node:
            yield from references(child)


def test_is_json() -> None:
    """The document survives JSON and names this version."""
    document = build_openapi()
    assert document == orjson.loads(orjson.dumps(document))
    assert (document["openapi"], document["info"]["version"]) == ("3.1.0", __version__)


def test_references_lead_somewhere() -> None:
    """Every reference names a schema that is there, and every schema is used."""
    document = build_openapi()
    names = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert names == set(references(document["paths"]))


def test_schemas_are_schemas() -> None:
    """Every schema is valid JSON Schema."""
    for schema in build_openapi()["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_operations_are_complete() -> None:
    """Every operation has its own name, a summary, and says what each status means."""
    operations = [verb for verbs in build_openapi()["paths"].values() for verb in verbs.values()]
    assert len(operations) == len({operation["operationId"] for operation in operations})
    for operation in operations:
        assert operation["summary"]
        assert all(response["description"] for response in operation["responses"].values())
