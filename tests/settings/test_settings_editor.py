"""The JSON Schema against the reader: what one takes or refuses, the other does too."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from proxy.settings import json_schema
from proxy.settings.document import read_document
from tests.settings.rollout_cases import ROLLED
from tests.settings.settings_cases import FULL, PROBLEMS
from tests.settings.settings_world import MINIMAL, minimal, problems_of
from tests.settings.sink_cases import UNSEEN_BY_EDITORS

CONFIG = Path(__file__).parents[2] / "config"
SCHEMA = json_schema()
VALIDATOR = Draft202012Validator(SCHEMA)


class _AsWritten(dict[str, str]):
    """An environment in which every variable holds its own name, as an editor sees it."""

    def get(self, key: str, default: Any = None) -> Any:
        return f"${{{key}}}"

    def __contains__(self, key: object) -> bool:
        return True


def plain(value: Any) -> Any:
    """Return a document's value as JSON can hold it."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return float(value) if isinstance(value, Decimal) else value


def accepts(text: str) -> bool:
    """Tell whether an editor with the schema finds nothing wrong with ``text``."""
    document = read_document(text, environ=_AsWritten(), source="f.yaml")
    return VALIDATOR.is_valid(plain(document.value))


def test_is_a_schema() -> None:
    """It is a valid schema of draft 2020-12 and says so."""
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("name", ["modelproxy.yaml", "demo.yaml"])
def test_accepts_the_files_that_are_shipped(name: str) -> None:
    """An editor finds nothing wrong with a shipped file."""
    assert accepts((CONFIG / name).read_text())


@pytest.mark.parametrize(
    "text", [MINIMAL, FULL, ROLLED, MINIMAL + "workers: ${N:-2}\nlimits: {head: '${H}'}\n"]
)
def test_accepts_what_is_valid(text: str) -> None:
    """An editor finds nothing wrong with a valid file, variables included."""
    assert accepts(text)


NOT_THE_SCHEMAS_BUSINESS = {
    "k without a ranking",  # what a method looks at is left to the reader
    "one thing at two places",
    "no schema",  # a schema in the file is a mapping to that of the file
    "schema from elsewhere",
    "duplicate key",  # YAML's
    "the same url twice",  # nor how two texts are alike
    "another path",
    "another scheme",
    "missing variable",  # the environment's
    "short duration",  # a duration is text to JSON Schema, which has no order of texts
    "long duration",
    "size out of range",
    "payload directory above",  # nor does it resolve paths
    "payload directory from a variable",
    "percent too fine",  # JSON numbers have no decimals
    "tls key alone",  # what needs which other key is left to the reader
    "tls authority alone",
    "model tls over http",
    "model tls over http, unverified",
    "model tls over http, of several",
    "model tls key alone",
    "model tls authority for nothing",
    "no hold",  # durations again
    "long bake",
    "no duration",
    "long switch-back",
    "slow webhook",
    "threshold over",
    "a class twice",
    "a cost of what is right",
    "costs without classes",
    "nobody to ask",
    "meaning of numbers",
    "meaning of what must not be told",
    "half held back",  # a percent with its sign is text too
    "margin over",
    "margin too fine",
    "no risk of a false rollback",
    "step with a sign over",
    "advisory alone",  # nor does it compare what stands in different places
    "default step into both",
    "disagreement with another's shadow",
    "disagreement without a shadow",
    "disagreement without copies",
    "disagreement that nobody looks for",
    "hold over all",
    "less than one hold",
    "nothing left to take",
    "one metric twice",
    "one threshold twice",
    "step into another's weight",
    "step into the holdback",
    "steps that shrink",
    "steps that stand still",
    "two rollouts",
    *UNSEEN_BY_EDITORS,
}


@pytest.mark.parametrize("name", sorted(PROBLEMS.keys() - NOT_THE_SCHEMAS_BUSINESS))
def test_refuses_what_is_wrong(name: str) -> None:
    """An editor marks what the reader would refuse, as far as a schema can say it."""
    assert not accepts(PROBLEMS[name][0])


@pytest.mark.parametrize(
    "route",
    [
        {"variants": [{"name": "v1", "model": "one", "role": "champion", "weight": 5}]},
        {"variants": [{"name": "v1", "model": "one", "role": "canary"}]},
        {"variants": [{"name": "v1", "model": "one", "role": "challenger"}]},
        {"variants": [{"name": "v1", "model": "one", "role": "champion", "rollout": {}}]},
        {"variants": [{"name": "v1", "model": "one", "role": "challenger", "weight": 5, "rollout": {}}]},
        {"variants": [{"name": "v1", "model": "one", "role": "canary", "weight": 5, "rollout": {}}]},
        {"variants": [{"name": "v1", "model": "one", "role": "canary", "weight": None, "rollout": None}]},
        {"log": {"redact": [{"action": "drop"}]}},
        {"log": {"redact": [{"json": "/a", "header": "b"}]}},
        {"log": {"redact": [{"tensor": "a", "detect": "email"}]}},
    ],
)
def test_refuses_broken_rules(route: dict[str, Any]) -> None:
    """The rules inside one variant and one redaction are in the schema too."""
    text = minimal(route=route)
    assert problems_of(text)
    assert not accepts(text)


def fields() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, section in (("Settings", SCHEMA), *SCHEMA["$defs"].items()):
        for key, field in section.get("properties", {}).items():
            yield f"{name}.{key}", field


FIELDS = dict(fields())


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_described(name: str) -> None:
    """Each field tells its meaning, its default or that it is required, its range, and what a reload does."""
    field = FIELDS[name]
    if "description" not in field:
        field = SCHEMA["$defs"][field["$ref"].rpartition("/")[2]]
    description = field["description"]
    assert description[0].isalpha() or description.startswith("'")
    if "x-reload" in field:
        assert "Default: " in description or "Required." in description
        assert "A changed value takes effect: " in description
        items = field.get("items", {})
        if "$ref" not in items | field and "patternProperties" not in repr(field):
            assert "Allowed: " in description


def test_the_shipped_schema_is_current() -> None:
    """config/modelproxy.schema.json is what ``modelproxy schema`` prints."""
    shipped = orjson.loads((CONFIG / "modelproxy.schema.json").read_bytes())
    assert shipped == SCHEMA, "run: modelproxy schema > config/modelproxy.schema.json"
