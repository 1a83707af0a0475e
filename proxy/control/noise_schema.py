"""What the admin address tells of the champion's own noise, as JSON Schema."""

from typing import Any, Final

__all__ = ["noise_schema"]

Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": "string"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_RATE: Final[Schema] = {"type": "number", "minimum": 0, "maximum": 1}
_DIFFERENCE: Final[Schema] = {"type": "number", "minimum": -1, "maximum": 1}

_COUNTS: Final = (
    "triples",
    "same",
    "candidate",
    "champion",
    "both",
    "candidate_farther",
    "champion_farther",
    "left_out",
)


def noise_schema() -> Schema:
    """Return the schema of how much more a shadow differs than the champion from itself; null: nobody asks."""
    field = _object(
        path={**_TEXT, "description": "Of the place, * for each index; empty: the whole answer."},
        **dict.fromkeys(("candidate", "champion", "both"), _COUNT),
        is_above_noise={"type": "boolean", "description": "Of those 5 % are wrong on average, at most."},
    )
    found = _object(
        **dict.fromkeys(_COUNTS, _COUNT),
        candidate_rate={**_RATE, "description": "How often it differs from the client's answer."},
        noise_rate={**_RATE, "description": "How often the champion's second answer does."},
        excess={**_DIFFERENCE, "description": "candidate_rate less noise_rate."},
        low={**_DIFFERENCE, "description": "The excess is from low to high at all times with 95 %."},
        high=_DIFFERENCE,
        evidence_log10={
            "type": "number",
            "description": "Of the e-value against: no more than the champion.",
        },
        is_more={"type": "boolean", "description": "Shown at 1 %, however often one looks."},
        sentence={**_TEXT, "description": "The same in words."},
        fields={"type": "array", "items": field},
    )
    description = "How much more it differs than the champion from itself; null: compare.noise is 0."
    return {"anyOf": [found, {"type": "null"}], "description": description}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}
