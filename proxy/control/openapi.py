"""The description of the admin address: OpenAPI 3.1, of exactly what is served."""

from typing import Any, Final

from proxy import __version__
from proxy.control.disagreement_schema import disagreements_schema, query_parameters
from proxy.control.feedback import CONTENT_TYPES, MAX_BYTES, MAX_ITEMS, SHOWN_PROBLEMS
from proxy.control.label_items import MAX_ROW_LABELS
from proxy.control.noise_schema import noise_schema
from proxy.model import DROPS, Fault, Role

__all__ = ["build_openapi"]

Schema = dict[str, Any]

_COUNT: Schema = {"type": "integer", "minimum": 0}
_TEXT: Schema = {"type": "string"}
_PERCENT: Schema = {"type": "number", "minimum": 0, "maximum": 100}
_SHARE: Schema = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
_OUTCOMES = (
    "eligible",
    "sent",
    "dropped",
    "answered",
    "failed",
    "compared",
    "uncomparable",
    "comparison_dropped",
)
_ROUTE: Schema = {"name": "route", "in": "path", "required": True, "schema": _TEXT}
_DIGEST: Schema = {"name": "digest", "in": "path", "required": True, "schema": _TEXT}
_VERBS = {
    "promote": "Give the canary everything now, whatever the evidence.",
    "abort": "Take the canary back to 0 % now.",
    "pause": "Keep the canary at its weight until it is resumed.",
    "resume": "Let the engine decide again.",
}


def build_openapi() -> dict[str, Any]:
    """Return the OpenAPI document of the admin address."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "modelproxy admin address",
            "version": __version__,
            "description": "Health, metrics, status and reload of a running proxy. Errors are an object whose "
            "member error is a sentence. On a loopback address the Host header must name the loopback.",
        },
        "paths": _paths(),
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "admin_token of the configuration; asked for when it is set.",
                }
            },
            "schemas": {
                "Disagreements": disagreements_schema(),
                "Error": _object(error=_TEXT),
                "Feedback": _object(**_taken()),
                "FeedbackRefused": _object(**_taken(), error=_TEXT),
                "Refused": _object({"problems": _list(_TEXT)}, error=_TEXT),
                "Reloaded": _object({}, version=_COUNT),
                "Rollout": _judged(),
                "Steered": _object({}, version=_COUNT, changes=_list(_TEXT)),
                "Ready": _object(ready={"const": True}),
                "Status": _status(),
                "Table": _table(),
            },
        },
    }


def _paths() -> dict[str, Any]:
    not_ready = {"503": _answer("No configuration is in force yet.", "Error")}
    return {
        "/": {"get": _operation("dashboard", "The dashboard.", {"200": _page("The page.", "text/html")})},
        "/healthz": {
            "get": _operation("healthz", "Alive?", {"200": _page("The process answers.", "text/plain")})
        },
        "/readyz": {
            "get": _operation(
                "readyz",
                "Does at least one worker serve the configuration in force?",
                {"200": _answer("Yes.", "Ready"), "503": _answer("No; the error says why.", "Error")},
            )
        },
        "/metrics": {
            "get": _operation(
                "metrics",
                "Prometheus metrics of all workers; OpenMetrics when Accept asks for it.",
                {"200": _page("The exposition.", "text/plain"), **not_ready},
            )
        },
        "/api/v1/status": {
            "get": _operation(
                "status", "State and totals.", {"200": _answer("Status.", "Status"), **not_ready}
            )
        },
        "/api/v1/table": {
            "get": _operation(
                "table", "The table in force.", {"200": _answer("Secrets are masked.", "Table"), **not_ready}
            )
        },
        "/api/v1/openapi.json": {
            "get": _operation("openapi", "This document.", {"200": _page("OpenAPI 3.1.", "application/json")})
        },
        "/api/v1/disagreements": {"get": _disagreements(not_ready)},
        "/api/v1/reload": {"post": _reload()},
        "/api/v1/feedback": {"post": _feedback()},
        "/api/v1/routes/{route}/rollout": {
            "get": _on_route(
                "rollout",
                "Where the route's rollout stands, the engine's last judgement, and what it is judged by.",
                {
                    "200": _answer("The rollout.", "Rollout"),
                    "404": _answer("There is no such route, or it tries nothing.", "Error"),
                    **not_ready,
                },
            ),
        },
        "/api/v1/evidence/{digest}": {
            "get": {
                **_operation(
                    "evidence",
                    "What a decision was made from; made again from it, the decision has the same bytes.",
                    {
                        "200": _page("Plan, state and counts.", "application/json"),
                        "404": _answer("It is not, or no longer, kept.", "Error"),
                        **not_ready,
                    },
                ),
                "parameters": [_DIGEST],
            },
        },
        **{
            f"/api/v1/routes/{{route}}/{verb}": {"post": _steer(verb, summary)}
            for verb, summary in _VERBS.items()
        },
    }


def _refusals(expected_body: str) -> dict[str, Any]:
    refusals = {
        "400": f"The body is not {expected_body}.",
        "401": "The token is missing or wrong.",
        "403": "The Origin is another site.",
        "413": "The body is too long.",
        "415": "The body is not application/json.",
        "503": "Nobody is there to do it.",
    }
    return {status: _answer(text, "Error") for status, text in refusals.items()}


def _steer(verb: str, summary: str) -> dict[str, Any]:
    reason = _object({"reason": {**_TEXT, "description": "Why; 500 printable characters of it are kept."}})
    return {
        **_on_route(
            verb,
            summary,
            {
                "200": _answer(
                    "In force in every worker; the same version when nothing had to change.", "Steered"
                ),
                "404": _answer("There is no such route.", "Error"),
                "409": _answer("The route has no rollout, or the rollout does not allow it now.", "Refused"),
                **_refusals('empty or a JSON object with "reason" at most'),
            },
        ),
        "security": [{}, {"token": []}],
        "requestBody": {
            "required": False,
            "content": {"application/json": {"schema": {**reason, "additionalProperties": False}}},
        },
    }


def _disagreements(not_ready: dict[str, Any]) -> dict[str, Any]:
    refusals = {
        "400": "The query cannot be meant; the error says what to write.",
        "401": "The token is missing or wrong.",
        "403": "This address needs a token and has none.",
        "404": "There is no such route, shadow, slice or example.",
    }
    return {
        **_operation(
            "disagreements",
            "How often shadows disagree with the answers that clients got, by reason and slice, and examples of it.",
            {
                "200": _answer("Counts with their confidence, and examples.", "Disagreements"),
                **{status: _answer(text, "Error") for status, text in refusals.items()},
                **not_ready,
            },
        ),
        "security": [{}, {"token": []}],
        "parameters": query_parameters(),
    }


def _reload() -> dict[str, Any]:
    return {
        **_operation(
            "reload",
            "Read the configuration file again; answers when every worker has it.",
            {
                "200": _answer("In force; the same version when nothing had changed.", "Reloaded"),
                "409": _answer("Refused; the table in force stays.", "Refused"),
                **_refusals("empty or an empty JSON object"),
            },
        ),
        "security": [{}, {"token": []}],
        "requestBody": {
            "required": False,
            "content": {"application/json": {"schema": {"type": "object", "maxProperties": 0}}},
        },
    }


_SCALAR: Final[Schema] = {"type": ["string", "number", "boolean"]}
_LABEL: Final[Schema] = {"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR, "maxItems": MAX_ROW_LABELS}]}
"""A class or a number; several classes where a row has several."""


def _feedback() -> dict[str, Any]:
    about = {
        "route": {**_TEXT, "description": "The route that answered."},
        "request_id": {**_TEXT, "description": "What the answer's x-request-id said."},
    }
    items = [
        _object(**about, good={"type": "boolean", "description": "Whether the answer was right."}),
        _object(**about, label={**_LABEL, "description": "The true answer, of a request with one row."}),
        _object(
            **about,
            labels={
                **_list({"anyOf": [_LABEL, {"type": "null"}]}),
                "minItems": 1,
                "description": "The true answer of each row, null where it is not known.",
            },
        ),
    ]
    item: Schema = {"anyOf": items}
    batch: Schema = {
        "anyOf": [item, {"type": "array", "items": item, "minItems": 1, "maxItems": MAX_ITEMS}],
        "description": f"One or at most {MAX_ITEMS} of them in {MAX_BYTES} bytes.",
    }
    lines: Schema = {**_TEXT, "description": "The same objects, one on each line."}
    refusals = _refusals("such an object, an array of them, or a line each")
    refusals["413"] = _answer(f"More than {MAX_ITEMS} items, or {MAX_BYTES} bytes.", "Error")
    refusals["415"] = _answer(f"The body is none of {', '.join(CONTENT_TYPES)}.", "Error")
    refusals["503"] = _answer("Nothing was taken: send the same again, after Retry-After.", "Error")
    return {
        **_operation(
            "feedback",
            "Say of answers whether they were good, which is evidence for a rollout with a guardrail on feedback; or "
            "what the true answer is, which says of each shadow whether it is better.",
            {
                "200": _answer(
                    "Each item was counted, had been before, or is unknown or invalid; what was counted stays.",
                    "Feedback",
                ),
                "404": _answer("There is no such route.", "FeedbackRefused"),
                "409": _answer(
                    "The route has no rollout with a guardrail on feedback, or remembers no predictions "
                    "(compare.labels).",
                    "FeedbackRefused",
                ),
                **refusals,
            },
        ),
        "security": [{}, {"token": []}],
        "requestBody": {
            "required": True,
            "content": {
                name: {"schema": batch if name == CONTENT_TYPES[0] else lines} for name in CONTENT_TYPES
            },
        },
    }


def _taken() -> dict[str, Schema]:
    return {
        "accepted": {**_COUNT, "description": "Counted."},
        "duplicate": {**_COUNT, "description": "Said before; the first word stays."},
        "unknown": {
            **_COUNT,
            "description": "No request with this id is known that the coin decided, or that was compared: not yet, no "
            "longer, or never.",
        },
        "invalid": {**_COUNT, "description": "Not to be taken; problems say why."},
        "problems": {**_list(_TEXT), "description": f"The first {SHOWN_PROBLEMS}."},
    }


def _operation(name: str, summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    misdirected = _answer("The Host does not name the loopback (on a loopback address).", "Error")
    exempt = name in ("healthz", "readyz")
    return {
        "operationId": name,
        "summary": summary,
        "responses": responses if exempt else {**responses, "421": misdirected},
    }


def _on_route(name: str, summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {**_operation(name, summary, responses), "parameters": [_ROUTE]}


def _answer(description: str, schema: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": description, "content": content}


def _page(description: str, content_type: str) -> dict[str, Any]:
    schema: Schema = {"type": "object"} if content_type == "application/json" else _TEXT
    return {"description": description, "content": {content_type: {"schema": schema}}}


def _object(further: dict[str, Schema] | None = None, **required: Schema) -> Schema:
    """Return the schema of an object with these members; ``further`` ones may be absent, {} lets in any."""
    schema: Schema = {
        "type": "object",
        "properties": {**required, **(further or {})},
        "required": [*required],
    }
    if further is None:
        schema["additionalProperties"] = False
    return schema


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _map(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


def _each(names: Any, schema: Schema) -> Schema:
    return _object(**dict.fromkeys(names, schema))


def _status() -> Schema:
    worker = _object(
        {},
        index=_COUNT,
        pid={"type": ["integer", "null"]},
        up={"type": "boolean"},
        version={"type": ["integer", "null"]},
        restarts=_COUNT,
        hangs=_COUNT,
    )
    server = _object(url=_TEXT)
    server["properties"] |= {
        "up": {"type": "boolean"},
        "unhealthy_workers": _COUNT,
        "ejected": _COUNT,
        "ejections": _COUNT,
        "checks": _each(("passed", "failed"), _COUNT),
        "asked_unhealthy": _COUNT,
    }
    model = _object(
        name=_TEXT,
        url=_TEXT,
        servers=_list(server),
        faults=_each((fault.label for fault in Fault if fault is not Fault.NONE), _COUNT),
    )
    return _object(
        version=_TEXT,
        config=_object({}, version=_COUNT, digest=_TEXT),
        workers=_list(worker),
        observer=_object({}, restarts=_COUNT),
        connections=_each(("opened", "open"), _COUNT),
        unrouted=_map(_COUNT),
        sinks=_list(_sink()),
        routes=_list(_route()),
        models=_list(model),
    )


def _sink() -> Schema:
    return _object(
        name=_TEXT,
        kind=_TEXT,
        written=_COUNT,
        dropped=_COUNT,
        failed=_COUNT,
        queue_bytes=_COUNT,
        failing={"type": "boolean"},
        problem={"type": "string", "description": "What is wrong; empty: the last attempt was a success."},
    )


def _route() -> Schema:
    log = _each(("budget", "sampled", "written", "dropped", "failed", "thinned"), _COUNT)
    log["properties"] = {"percent": _PERCENT, "keep": _list(_TEXT), "dir": _TEXT, **log["properties"]}
    log["required"] = ["percent", "keep", "dir", *log["required"]]
    return _object(
        name=_TEXT,
        table_version=_COUNT,
        variants=_list(_variant()),
        unit_sources=_map(_COUNT),
        shadows=_list(_shadow()),
        noise={
            "anyOf": [_object(percent=_PERCENT, **dict.fromkeys(_OUTCOMES, _COUNT)), {"type": "null"}],
            "description": "What went to the champion once more; null: compare.noise is 0.",
        },
        log=log,
        rollout={"anyOf": [_rollout(), {"type": "null"}], "description": "null: the route has none."},
    )


def _rollout() -> Schema:
    judgement: Schema = {
        "type": ["object", "null"],
        "description": "What the engine thought last; null before it did, and while it cannot.",
    }
    return _object(
        judgement=judgement,
        route=_TEXT,
        variant=_TEXT,
        rollout={**_TEXT, "description": "Its id, new for each start."},
        phase={"enum": ["baking", "ramping", "promoted", "rolled_back", "inconclusive"]},
        step={**_COUNT, "description": "Index into steps."},
        steps={**_list(_PERCENT), "description": "Those below the promotion."},
        weight=_PERCENT,
        promoted_weight={**_PERCENT, "description": "What it gets once promoted."},
        seconds_in_step={"type": "number", "minimum": 0},
        seconds_since_start={"type": "number", "minimum": 0},
        paused_by={**_TEXT, "description": "Who paused it; empty: the engine decides."},
        paused_reason={**_TEXT, "description": "What was given as the reason for the pause; empty: nothing."},
        by={**_TEXT, "description": "Who brought it where it stands."},
        reason=_TEXT,
        dry_run={"type": "boolean"},
        sequence=_COUNT,
    )


def _judged() -> Schema:
    """Return the schema of a rollout with its evidence; of a split by fixed weights there is the evidence alone."""
    evidence: Schema = {
        "type": ["object", "null"],
        "description": "What it is judged by: plan, guardrails, counts by epoch, points of the plots, and "
        "the last verdicts; null: nothing is known yet.",
    }
    rollout = _object(**_rollout()["properties"], evidence=evidence)
    return {"anyOf": [rollout, _object(route=_TEXT, evidence={**evidence, "type": "object"})]}


def _variant() -> Schema:
    latency = _each(("p50", "p95", "p99"), {"type": ["number", "null"], "minimum": 0})
    counted: dict[str, Schema] = {
        "requests": _COUNT,
        "errors": {**_COUNT, "description": "Answered with 5xx, or lost with their worker."},
        "lost": _COUNT,
        "retries": _COUNT,
        "fallbacks": {
            **_COUNT,
            "description": "Answered by the champion because the variant's model failed.",
        },
        "codes": _map(_COUNT),
        "latency_ms": latency,
        "ttfb_ms": latency,
    }
    return _object(
        name=_TEXT,
        role={"enum": [role.value for role in Role]},
        model=_TEXT,
        weight=_PERCENT,
        in_flight=_COUNT,
        since_version={**_object(**counted), "description": "Under the table in force alone."},
        **counted,
    )


def _shadow() -> Schema:
    results = _each(("agree", "disagree", "uncomparable"), _COUNT)
    counts = ("eligible", "sent", "dropped", "answered", "failed", "agree", "disagree", "uncomparable")
    return _object(
        model=_TEXT,
        percent=_PERCENT,
        **dict.fromkeys((*counts, "comparison_dropped"), _COUNT),
        drop_reasons=_each((drop.label for drop in DROPS), _COUNT),
        disagreement_rate=_SHARE,
        disagreement_reasons={"type": "object", "additionalProperties": _COUNT},
        mean_distance=_SHARE,
        by_variant=_map(results),
        noise=noise_schema(),
    )


def _table() -> Schema:
    interval = _object(variant=_TEXT, from_percent=_PERCENT, to_percent=_PERCENT)
    return _object(
        version=_COUNT,
        digest=_TEXT,
        settings={"type": "object", "description": "The configuration, secrets masked."},
        intervals={**_map(_list(interval)), "description": "By route: who owns which stretch of the units."},
    )
