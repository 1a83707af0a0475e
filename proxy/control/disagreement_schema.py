"""What ``GET /api/v1/disagreements`` takes and answers, as JSON Schema."""

from typing import Any, Final

from proxy.control.disagreement_query import DEFAULT_LIMIT, MAX_LIMIT, SORTS
from proxy.control.noise_schema import noise_schema
from proxy.model import DISAGREEMENT_REASONS

__all__ = ["disagreements_schema", "query_parameters"]

Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": "string"}
_MAYBE_TEXT: Final[Schema] = {"type": ["string", "null"]}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_SHARE: Final[Schema] = {"type": "number", "minimum": 0, "maximum": 1}

_PARAMETERS: Final[dict[str, Schema]] = {
    "route": {**_TEXT, "description": "Only this route."},
    "shadow": {**_TEXT, "description": "Only the shadow to this model."},
    "reason": {"enum": list(DISAGREEMENT_REASONS), "description": "Only examples with this reason."},
    "slice": {**_TEXT, "pattern": "^[^:]+:.+$", "description": "Only examples with this value: tier:gold."},
    "sort": {"enum": list(SORTS), "default": SORTS[0], "description": "Order of the examples."},
    "limit": {
        "type": "integer",
        "minimum": 0,
        "maximum": MAX_LIMIT,
        "default": DEFAULT_LIMIT,
        "description": "Most examples of each shadow.",
    },
    "example": {**_TEXT, "description": "Only the example with this id."},
}


def query_parameters() -> list[Schema]:
    """Return the parameters of the query."""
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "schema": {key: value for key, value in schema.items() if key != "description"},
            "description": schema["description"],
        }
        for name, schema in _PARAMETERS.items()
    ]


def disagreements_schema() -> Schema:
    """Return the schema of the answer."""
    route = _object(
        route=_TEXT,
        compare_as=_TEXT,
        distance_is_cost={"type": "boolean", "description": "Mistakes have costs: compare.costs."},
        slices={"type": "object", "additionalProperties": _TEXT},
        noise_percent={
            "type": "number",
            "minimum": 0,
            "maximum": 100,
            "description": "Of the mirrored requests that the champion answers, those it answers twice: compare.noise.",
        },
        examples_percent={"type": "number", "minimum": 0, "maximum": 100},
        takes_labels={"type": "boolean", "description": "True answers may be posted, see POST feedback."},
        shadows=_list(_shadow()),
    )
    return _object(confidence=_SHARE, routes=_list(route))


def _counted() -> dict[str, Schema]:
    return {
        **dict.fromkeys(("agree", "disagree", "uncomparable", "rows", "rows_disagreeing"), _COUNT),
        "rate": {
            "type": ["number", "null"],
            "minimum": 0,
            "maximum": 1,
            "description": "disagree of agree + disagree; null before anything was compared.",
        },
        "interval": _interval(
            "Holds the rate at every moment at once; those of all slices' values hold together."
        ),
        "mean_distance": {
            "type": ["number", "null"],
            "minimum": 0,
            "maximum": 1,
            "description": "Of agree + disagree, or of those since it is counted; what it measures: the method's.",
        },
        "distance_interval": _interval("Holds the mean distance likewise."),
        "meaning": {
            "type": ["object", "null"],
            "properties": {"pairs": _COUNT, "mean_distance": _SHARE, "distance_interval": _list(_SHARE)},
            "required": ["pairs", "mean_distance", "distance_interval"],
            "description": "1 - cosine of the texts' embeddings, with such an interval; null: nobody was asked.",
        },
    }


def _shadow() -> Schema:
    counts: Schema = {"type": "object", "additionalProperties": _COUNT}
    value = _object(
        value=_TEXT,
        **_counted(),
        log10_e={
            "type": "number",
            "description": "Evidence for a higher rate than the slice's other values.",
        },
        stands_out={"type": "boolean", "description": "That evidence is enough, all values considered."},
    )
    return _object(
        shadow=_TEXT,
        since={**_TEXT, "format": "date-time"},
        **_counted(),
        noise=noise_schema(),
        noise_sentence={
            **_TEXT,
            "description": "In words, also that no noise is measured and how it can be.",
        },
        reasons=counts,
        uncomparable_reasons=counts,
        slices={"type": "object", "additionalProperties": _list(value)},
        confusion=_list(_object(label=_TEXT, shadow_label=_TEXT, rows=_COUNT)),
        labels={**_list(_labels()), "description": "What true answers say, by the variant that answered."},
        examples=_list(_example()),
    )


def _labels() -> Schema:
    right = {
        "type": ["number", "null"],
        "minimum": 0,
        "maximum": 1,
        "description": "Share of units, each by its first row that got a label.",
    }
    share = _object(right=right, interval=_interval("Holds the share at every moment at once."))
    evidence = "Evidence that the shadow is the {} one where they differ."
    return _object(
        variant=_TEXT,
        rows={"type": "object", "additionalProperties": _COUNT},
        units=_COUNT,
        primary=share,
        shadow=share,
        differing_units=_object(primary_better=_COUNT, shadow_better=_COUNT),
        log10_e_worse={"type": "number", "description": evidence.format("worse")},
        log10_e_better={"type": "number", "description": evidence.format("better")},
        shown={
            "enum": ["worse", "better", None],
            "description": "What is shown, each wrongly with 1 % at most.",
        },
        sentence=_TEXT,
    )


def _interval(description: str) -> Schema:
    return {"type": "array", "items": _SHARE, "minItems": 2, "maxItems": 2, "description": description}


def _example() -> Schema:
    answer: Schema = {"type": "object", "properties": {"status": _COUNT}, "required": ["status"]}
    return _object(
        id=_TEXT,
        ts={**_TEXT, "format": "date-time"},
        request_id=_TEXT,
        table_version=_COUNT,
        unit=_MAYBE_TEXT,
        variant=_TEXT,
        shadow=_TEXT,
        method=_TEXT,
        reason=_TEXT,
        distance=_SHARE,
        scores={"type": "object", "additionalProperties": {"type": "number"}},
        rows=_COUNT,
        rows_disagreeing=_COUNT,
        differing_rows={
            **_list(_COUNT),
            "description": "Rows to be labelled first, from 0.",
        },
        slices={"type": "object", "additionalProperties": _TEXT},
        differences=_list(_object(path=_TEXT, primary=_TEXT, shadow=_TEXT)),
        request={
            "type": ["object", "null"],
            "description": "As in a payload record; null: it did not go along.",
        },
        response=answer,
        shadow_response=answer,
        omitted=_MAYBE_TEXT,
    )


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}
