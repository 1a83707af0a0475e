"""The description of disagreements names what can be asked."""

import jsonschema

from proxy.control.disagreement_query import DEFAULT_LIMIT, MAX_LIMIT, PARAMETERS, parse_query
from proxy.control.disagreement_schema import disagreements_schema, query_parameters


def test_every_parameter_is_described() -> None:
    """The parameters are those of the query, with its bounds; the example of each can be asked."""
    described = {parameter["name"]: parameter for parameter in query_parameters()}
    assert tuple(described) == PARAMETERS
    assert described["limit"]["schema"]["maximum"] == MAX_LIMIT
    assert parse_query([("limit", str(described["limit"]["schema"]["default"]))]).limit == DEFAULT_LIMIT
    for name in ("sort", "reason"):
        assert all(parse_query([(name, each)]) for each in described[name]["schema"]["enum"])
    assert all(parameter["description"].endswith(".") for parameter in described.values())


def test_the_schema_is_one() -> None:
    """It is valid JSON Schema, and refuses what is not the document."""
    schema = disagreements_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert jsonschema.Draft202012Validator(schema).is_valid({"confidence": 0.95, "routes": []})
    assert not jsonschema.Draft202012Validator(schema).is_valid({"routes": [{}]})
