"""The JSON Schema of the file, so that an editor completes and checks it while it is written."""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from proxy.settings.fields import RELOAD
from proxy.settings.schema import Settings

__all__ = ["json_schema"]

_DIALECT = GenerateJsonSchema.schema_dialect
_VARIABLE = "Variable"
_REFERENCE = {"$ref": f"#/$defs/{_VARIABLE}"}
_SCALARS = ("string", "number", "integer")
_ANNOTATIONS = ("description", "default", RELOAD, "x-allowed")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the file.

    Every key has a description with its meaning, default, allowed range and what a reload does. Where the file may
    hold ``${VARIABLE}``, the schema allows that too.
    """
    schema = Settings.model_json_schema(by_alias=True)
    definitions = schema.pop("$defs")
    for section in (schema, *definitions.values()):
        for name, field in section.get("properties", {}).items():
            required = name in section.get("required", ())
            section["properties"][name] = _with_variables(_described(field, required=required))
    definitions[_VARIABLE] = {
        "description": "A variable of the environment: ${NAME}, or ${NAME:-default}.",
        "type": "string",
        "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}",
    }
    schema["$defs"] = dict(sorted(definitions.items()))
    return {"$schema": _DIALECT, "title": "modelproxy", **{k: v for k, v in schema.items() if k != "title"}}


def _described(field: dict[str, Any], *, required: bool) -> dict[str, Any]:
    """Return the schema of a field with everything about it in its description, where editors show it."""
    reload, allowed = field.get(RELOAD), _allowed(field)
    sentences = [field.get("description", "")]
    if required:
        sentences.append("Required.")
    elif reload is not None:
        sentences.append(f"Default: {_yaml(field.get('default'))}.")
    if allowed is not None:
        sentences.append(f"Allowed: {allowed}.")
    if reload is not None:
        sentences.append(
            f"A changed value takes effect: {'after a restart' if reload == 'restart' else reload}."
        )
    # pydantic's titles repeat the key.
    rest = {key: value for key, value in field.items() if key != "title"}
    description = " ".join(filter(None, sentences))
    # A mapping that is described like its class has no description of its own.
    return {**rest, "description": description} if description else rest


def _allowed(field: dict[str, Any]) -> str | None:
    """Return the range in words, of the value or of the entries of a list."""
    if "x-allowed" in field:
        return str(field["x-allowed"])
    choices = field.get("anyOf", ())
    for inner in (*choices, *(each.get("items", {}) for each in (field, *choices))):
        if "x-allowed" in inner:
            return f"{inner['x-allowed']}{', or null' if 'anyOf' in field else ''}"
    if any("$ref" in inner for inner in field.get("anyOf", ())):
        return "a mapping, or null"
    return None


def _yaml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_yaml(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}".replace("e-0", "e-")
    return "null" if value is None else str(value)


def _flat(alternatives: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return alternatives of alternatives as one list, each once."""
    flat: list[dict[str, Any]] = []
    for each in alternatives:
        inner = each.get("anyOf", [each]) if set(each) <= {"anyOf", "x-allowed"} else [each]
        flat += [one for one in inner if one not in flat]
    return flat


def _with_variables(schema: dict[str, Any]) -> dict[str, Any]:
    """Return ``schema`` with a variable allowed wherever a scalar is."""
    if schema.get("type") in _SCALARS or "enum" in schema:
        outer = {key: value for key, value in schema.items() if key in _ANNOTATIONS}
        inner = {key: value for key, value in schema.items() if key not in _ANNOTATIONS}
        return {**outer, "anyOf": [inner, _REFERENCE]}
    changed = dict(schema)
    if "anyOf" in schema:
        changed["anyOf"] = _flat([_with_variables(each) for each in schema["anyOf"]])
    if "items" in schema:
        changed["items"] = _with_variables(schema["items"])
    if "patternProperties" in changed:
        # pydantic says what the names look like, and would let others pass.
        changed["additionalProperties"] = False
        changed.pop("propertyNames", None)
    return changed
