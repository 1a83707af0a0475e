"""Every field of a payload record: its name, its kind, what it means, and since which version it is there.

One table, :data:`FIELDS`, from which the JSON Schema is made and against which the records that are built are held. A
new field is one more row here and one more row in the README's table, nothing else.

Versions
    A record says its version in ``schema``, its first key. Those without it are of version 1. A version is raised when
    a reader has to know of it: a field came that changes how others are to be read, went, or means something else. A
    field that is only added leaves the version as it is, so readers must let fields pass that they do not know.

===  ==================================================================================================================
  1  Without ``schema``. A record is there because its unit is in the sample, and ``inclusion_probability`` is that
     sample's.
  2  A record may be there by a rule, or be thinned by a budget: ``kept_by`` and ``budget_probability`` say so, and
     ``inclusion_probability`` is of all of this together. Version 1 means ``kept_by: [sample]`` and
     ``budget_probability: 1``.
===  ==================================================================================================================
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

__all__ = ["FIELDS", "SCHEMA_VERSION", "Field", "json_schema", "leaves", "paths_of"]

SCHEMA_VERSION: Final = 2
"""What records say that are written now."""

_KINDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "text": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "object": {"type": "object"},
    "list of text": {"type": "array", "items": {"type": "string"}},
    "map of numbers": {"type": "object", "additionalProperties": {"type": "number"}},
    "map of text": {"type": "object", "additionalProperties": {"type": "string"}},
    "list of objects": {"type": "array"},
}
"""Kinds of values and the JSON Schema of each."""


class Field(NamedTuple):
    """One field."""

    path: str
    """Names from the outside in, joined by dots; ``[]`` after the name of a list stands for each of its entries."""
    kind: str
    """A key of the kinds above, with ``?`` at the end where it may be null."""
    meaning: str
    """What it says, with its unit and range; a fragment that ends without a full stop."""
    since: int = 1
    """First version that has it."""
    is_always: bool = True
    """Whether each record (or entry of the list) of its version has it."""

    @property
    def is_nullable(self) -> bool:
        """Whether it may be null."""
        return self.kind.endswith("?")

    @property
    def plain_kind(self) -> str:
        """Its kind, when it is not null."""
        return self.kind.removesuffix("?")


def _body(where: str, whose: str) -> tuple[Field, ...]:
    """Return the fields of a body, which requests, answers and copies' answers have alike."""
    return (
        Field(f"{where}.content_type", "text?", f"`content-type` of {whose}"),
        Field(f"{where}.size", "integer", f"bytes of the whole body of {whose}, also when it is cut here"),
        Field(
            f"{where}.body",
            "text?",
            "the body, content-decoded; null: left out whole, as `redacted` or `withheld` says",
        ),
        Field(f"{where}.encoding", "text?", "`text` or `base64`: how `body` is written"),
        Field(f"{where}.truncated", "boolean", "whether `body` is not all of it"),
        Field(
            f"{where}.redacted",
            "boolean",
            "true: something of `body` is not there, or all of it: it had to be redacted and could not be read",
            is_always=False,
        ),
        Field(
            f"{where}.assembled",
            "boolean",
            "true: what was sent is a stream; `body` is JSON, the answer in one piece that it adds up to",
            since=2,
            is_always=False,
        ),
        Field(
            f"{where}.withheld",
            "boolean",
            "true: `body` is free text, which `log.content` keeps out of records",
            since=2,
            is_always=False,
        ),
        Field(
            f"{where}.content_hash",
            "text",
            "keyed hash of what a withheld body says: equal prompts have equal ones",
            since=2,
            is_always=False,
        ),
        Field(
            f"{where}.content_encoding",
            "text",
            "`content-encoding`, where it could not be undone: then `body` is still encoded",
            since=2,
            is_always=False,
        ),
        Field(
            f"{where}.inference_header_length",
            "integer",
            "bytes of the JSON before binary tensors, where there are some (Open Inference Protocol)",
            since=2,
            is_always=False,
        ),
    )


def _pace(where: str, whose: str, since: str) -> tuple[Field, ...]:
    """Return the fields of how fast an answer was generated."""
    kinds = {
        "time_to_first_token_ms": (
            "number",
            f"{since} to the first event with a part of the text or of a call, ms",
        ),
        "time_to_last_token_ms": ("number", "to the last such event, ms"),
        "tokens": ("integer", "tokens by the model's own count where it gives one, else `parts`"),
        "tokens_per_second": ("number?", "tokens after the first per second; null: all came at once"),
        "parts": ("integer", "events with a part of the text or of a call"),
        "gap_p50_ms": ("number?", "median time between two such events, ms; null: there was one"),
        "gap_p99_ms": ("number?", "99th percentile of it, nearest rank, ms"),
        "gap_max_ms": ("number?", "longest, ms"),
        "is_partial": (
            "boolean",
            "true: it is of a part, since the answer was longer than `limits.copy` or came in over 4096 reads",
        ),
    }
    whole = Field(f"{where}.pace", "object", f"how fast {whose} was generated, if it was streamed", 2, False)
    return whole, *(Field(f"{where}.pace.{name}", *told, since=2) for name, told in kinds.items())


def _tokens(where: str) -> tuple[Field, ...]:
    """Return what answers of generating models tell, where they are not written themselves."""
    return (
        Field(
            f"{where}.prompt_tokens",
            "integer",
            "tokens of what was asked, where a withheld body tells",
            since=2,
            is_always=False,
        ),
        Field(
            f"{where}.completion_tokens",
            "integer",
            "tokens that were generated, where a withheld body tells",
            since=2,
            is_always=False,
        ),
    )


def _comparison(where: str) -> tuple[Field, ...]:
    """Return what came of comparing an answer with the client's."""
    return (
        Field(
            f"{where}.comparison",
            "object?",
            "how it compares with the client's answer; null: it was not compared",
        ),
        Field(f"{where}.comparison.result", "text", "`agree`, `disagree` or `uncomparable`"),
        Field(f"{where}.comparison.distance", "number?", "0 to 1; null: there is none"),
        Field(
            f"{where}.comparison.reason",
            "text?",
            "what differs, or why it cannot be judged; null: they agree",
        ),
        Field(
            f"{where}.comparison.method", "text", "the method that judged, as `compare.as` names it", since=2
        ),
        Field(f"{where}.comparison.rows", "integer", "rows compared; 0: none could be", since=2),
        Field(f"{where}.comparison.rows_disagreeing", "integer", "how many of them differ", since=2),
        Field(
            f"{where}.comparison.scores",
            "map of numbers",
            "the method's other figures, such as `chrf`, `cosine` and `max_abs`, where it has some",
            since=2,
            is_always=False,
        ),
        Field(
            f"{where}.comparison.fields",
            "list of text",
            "where they differ, by their first 16 differences, `*` for an index; not where bodies are redacted",
            since=2,
            is_always=False,
        ),
    )


def _rows() -> tuple[Field, ...]:
    """Return the fields of what was compared row by row."""
    kinds = {
        "label": ("text", "the class, or the first item of a ranking"),
        "number": ("number", "the number, or how many boxes"),
        "score": ("number", "the row's highest probability"),
    }
    values = [
        Field(
            f"rows[].{side}_{name}",
            kind,
            f"{meaning}, in {whose} answer, if it has that",
            since=2,
            is_always=False,
        )
        for side, whose in (("primary", "the client's"), ("shadow", "the shadow's"))
        for name, (kind, meaning) in kinds.items()
    ]
    return (
        Field(
            "rows",
            "list of objects",
            "the rows that were compared, at most `log.rows` of all shadows, those that disagree first",
            since=2,
            is_always=False,
        ),
        Field("rows[].shadow", "text", "model of the shadow", since=2),
        Field("rows[].row", "integer", "index in the batch, from 0", since=2),
        Field("rows[].agrees", "boolean", "whether the two answers agree in it", since=2),
        Field("rows[].reason", "text", "what differs, if they do not", since=2, is_always=False),
        Field(
            "rows[].distance", "number", "0 to 1, where the method has one of a row", since=2, is_always=False
        ),
        *values,
        Field(
            "rows_omitted",
            "integer",
            "compared rows that are not in `rows`; then these are no sample of them",
            since=2,
            is_always=False,
        ),
    )


FIELDS: Final[tuple[Field, ...]] = (
    Field("schema", "integer", f"version of this table: {SCHEMA_VERSION}", since=2),
    Field("ts", "text", "when the request's head was complete: RFC 3339, UTC, microseconds"),
    Field("request_id", "text", "`x-request-id`: the client's, or ours"),
    Field("route", "text", "name of the route"),
    Field("table_version", "integer", "table that the request was assigned under"),
    Field("config_version", "integer", "configuration that table was made of"),
    Field("unit", "text?", "keyed hash of the unit, 32 hex digits; null: the request had none"),
    Field(
        "unit_key_id",
        "text",
        "names the key of every hash in the record; a new key gives other hashes",
        since=2,
    ),
    Field("unit_source", "text", "where the unit stood, such as `header:x-user-id`; or `missing`"),
    Field("variant", "text", "the assigned variant: analyse by this one"),
    Field("role", "text", "its role: `champion`, `challenger` or `canary`"),
    Field("model", "text", "its model"),
    Field("served_by", "text", "the variant that answered; another one after a fallback"),
    Field("probability", "number?", "how likely this assignment was, 0 to 1; null: the variant was forced"),
    Field(
        "inclusion_probability",
        "number",
        "how likely this record was, above 0 to 1: its weight is one over it",
    ),
    Field(
        "kept_by",
        "list of text",
        "why it is here: `sample`, `errors`, `slow`, `disagreement`, `when`",
        since=2,
    ),
    Field(
        "budget_probability",
        "number",
        "the part of `inclusion_probability` that `log.budget` is to blame for; 1: none",
        since=2,
    ),
    Field("request", "object", "what the client asked"),
    Field("request.method", "text", "method"),
    Field("request.path", "text", "path, without the query"),
    Field(
        "request.path_redacted",
        "boolean",
        "true: something that a detector found in `path` is not there",
        since=2,
        is_always=False,
    ),
    *_body("request", "the request"),
    Field(
        "request.accept",
        "text",
        "`accept`, where the client does not take anything",
        since=2,
        is_always=False,
    ),
    Field(
        "request.has_query",
        "boolean",
        "true: there was a query, which is not written",
        since=2,
        is_always=False,
    ),
    Field(
        "request.headers", "object", "headers that `log.headers` names, by lower-case name", is_always=False
    ),
    Field("response", "object", "what the client was answered"),
    Field("response.status", "integer", "status; 499: the client left before the answer began"),
    *_body("response", "the answer"),
    *_tokens("response"),
    Field("response.ttfb_ms", "number?", "request head complete to response head, ms; null: there was none"),
    Field("response.duration_ms", "number", "request head complete to the last byte of the answer, ms"),
    Field(
        "response.headers", "object", "headers that `log.headers` names, by lower-case name", is_always=False
    ),
    *_pace("response", "the answer", "request head complete"),
    Field(
        "fault",
        "text?",
        "fault of the assigned variant, as in `modelproxy_upstream_faults_total`; null: none",
    ),
    Field(
        "trace_id",
        "text",
        "trace of the request, 32 hex digits; only where spans are exported",
        since=2,
        is_always=False,
    ),
    Field(
        "span_id",
        "text",
        "span of the call to the model, 16 hex digits; beside `trace_id`",
        since=2,
        is_always=False,
    ),
    Field("shadows", "list of objects", "the copies whose answers came, or failed, in the order of the file"),
    Field("shadows[].model", "text", "who got the copy"),
    Field("shadows[].status", "integer?", "status of its answer; null: there was none"),
    Field("shadows[].fault", "text?", "why there is no whole answer; null: there is"),
    Field("shadows[].duration_ms", "number", "copy begun to answer complete, ms"),
    *_body("shadows[]", "its answer"),
    *_tokens("shadows[]"),
    *_comparison("shadows[]"),
    *_pace("shadows[]", "its answer", "copy begun"),
    *_rows(),
    Field(
        "noise",
        "object",
        "what came of asking the champion a second time, if it was (`compare.noise`)",
        since=2,
        is_always=False,
    ),
    Field("noise.status", "integer?", "status of its second answer; null: there was none", since=2),
    Field("noise.fault", "text?", "why there is no whole answer; null: there is", since=2),
    Field("noise.duration_ms", "number", "copy begun to answer complete, ms", since=2),
    *(field._replace(since=2) for field in _comparison("noise")),
    Field(
        "slices",
        "map of text",
        "the request's value in each of `compare.slices`, as far as it may be shown; `none`: it has none",
        since=2,
        is_always=False,
    ),
)
"""In the order in which a record has them."""


_OPEN: Final = frozenset(
    field.path for field in FIELDS if field.path.endswith(".headers") or field.kind.startswith("map of ")
)
"""Objects whose names are not of this table."""


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of one record of the present version; it lets unknown fields pass."""
    root: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Payload record of modelproxy, version {SCHEMA_VERSION}",
        "type": "object",
        "properties": {},
        "required": [],
    }
    for field in FIELDS:
        parent = root
        *outer, name = field.path.split(".")
        for step in outer:
            parent = parent["properties"][step.removesuffix("[]")]
            if step.endswith("[]"):
                parent = parent.setdefault("items", {"type": "object", "properties": {}, "required": []})
        parent["properties"][name] = _value_schema(field)
        if field.is_always:
            parent["required"].append(name)
    root["properties"]["schema"]["const"] = SCHEMA_VERSION
    return root


def _value_schema(field: Field) -> dict[str, Any]:
    schema = dict(_KINDS[field.plain_kind])
    if field.plain_kind == "object":
        schema |= {"properties": {}, "required": []}
    if field.is_nullable:
        schema["type"] = [schema["type"], "null"]
    return {**schema, "description": f"{field.meaning}; since version {field.since}"}


def paths_of(record: Mapping[str, Any], outer: str = "") -> Iterator[str]:
    """Yield the path of everything in ``record``, as :attr:`Field.path` writes it; each entry of a list by itself.

    What is below ``headers``, and in maps, has names of its own and is not looked into.
    """
    for name, value in record.items():
        path = f"{outer}.{name}" if outer else name
        yield path
        if path in _OPEN:
            continue
        if isinstance(value, Mapping):
            yield from paths_of(value, path)
        elif isinstance(value, list):
            for entry in value:
                if isinstance(entry, Mapping):
                    yield from paths_of(entry, f"{path}[]")


def leaves() -> tuple[Field, ...]:
    """Return the fields that hold a value of their own: all but objects with fields and lists of such."""
    outer = {field.path.rpartition(".")[0].removesuffix("[]") for field in FIELDS}
    return tuple(field for field in FIELDS if field.path not in outer)
