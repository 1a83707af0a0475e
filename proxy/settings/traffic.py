"""Models and routes: where answers come from, and which requests go where."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import ConfigDict, SecretStr

from proxy.model import Role
from proxy.settings import grammar, units
from proxy.settings.fields import NOW, REQUIRED, Section, section, setting
from proxy.settings.grammar import duration, size, text, whole

__all__ = ["Compare", "Log", "Match", "Model", "Name", "Redaction", "Route", "Shadow", "Variant"]

_MAX_VARIANTS = 64
_MAX_SHADOWS = 32

Name = Annotated[
    str,
    text(
        units.parse_name,
        "letters, digits, '.', '_' and '-', 1 to 63 characters",
        pattern=units.NAME_PATTERN,
    ),
]
Salt = Annotated[str, text(str, "1 to 256 characters", longest=256)]
Pointer = Annotated[
    str, text(units.parse_pointer, "a JSON pointer (RFC 6901)", pattern=units.POINTER_PATTERN)
]
HeaderName = Annotated[
    str, text(units.parse_header_name, "a header name (RFC 9110 token)", pattern=units.TOKEN_PATTERN)
]
Percent = Annotated[Decimal, grammar.percent()]
ModelUrl = Annotated[
    str, text(units.parse_backend_url, "http://host[:port][/path]", pattern=r"http://[^?#@\s]+")
]
PathPattern = Annotated[
    str, text(units.parse_path_pattern, "/path, or /path/* for all at and below it", pattern=r"/\S*|\*")
]
Host = Annotated[str, text(units.parse_host, "a host name or IP address, without port", longest=253)]
Methods = Annotated[
    tuple[str, ...],
    grammar.one_or_more(text(units.parse_method, "methods in capitals", pattern=units.METHOD_PATTERN), 32),
]
Source = Annotated[
    units.UnitSource,
    text(
        units.parse_unit_source,
        "header:NAME, cookie:NAME, query:NAME, json:/POINTER, client_ip",
        pattern=units.SOURCE_PATTERN,
    ),
]
Label = Annotated[str, text(units.parse_label, "a JSON pointer, or a tensor's name")]
Method = Literal["auto", "exact", "json", "classification", "regression"]


class Model(Section):
    """Where answers come from."""

    url: ModelUrl = setting(
        REQUIRED,
        "Address of the model server; port 80 unless given. A path (other than /) replaces the part of the "
        "request's path that the route matched: what stands before '/*', or the whole of an exact path.",
    )
    timeout: Annotated[int, duration("1ms", "24h")] = setting(
        "30s", "From the request sent to the response head complete; else 504."
    )
    idle_timeout: Annotated[int, duration("1ms", "24h")] = setting(
        "60s", "Longest gap between two pieces of a response body; then the connection is cut."
    )
    connect_timeout: Annotated[int, duration("1ms", "10m")] = setting(
        "2s", "Longest time to open a connection; else 504."
    )
    max_connections: Annotated[int, whole(1, 65_535)] = setting(256, "Most connections of one worker.")
    max_pending: Annotated[int, whole(0, 1_000_000)] = setting(
        1024, "Most requests of one worker that wait for a connection; further ones are answered 503."
    )
    keep_alive: Annotated[int, duration("0s", "24h")] = setting(
        "30s", "An idle connection is closed after this long; choose less than the model server does."
    )


class Match(Section):
    """Which requests a route takes."""

    path: PathPattern = setting(
        REQUIRED,
        "An exact path, or with '/*' at its end all at and below it: /a/* takes /a, /a/ and /a/b, not /ab. "
        "'*' takes every path. Compared as the request writes it, without the query.",
    )
    host: Host | None = setting(None, "Only requests for this host, whatever the port; null: any.")
    method: Methods = setting([], "Only requests with this method, or one of these; an empty list: any.")


class Variant(Section):
    """One arm of a route: the model behind it, what it is for, and its part of the traffic."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"role": {"const": "champion"}}, "required": ["role"]},
            "then": {"properties": {"weight": {"type": "null"}, "max_weight": {"type": "null"}}},
            "else": {"properties": {"weight": {"not": {"type": "null"}}}, "required": ["weight"]},
        }
    )

    name: Name = setting(
        REQUIRED, "Name in metrics, in records and in the response header x-modelproxy-variant."
    )
    model: Name = setting(REQUIRED, "The model that answers: a key of models.")
    role: Annotated[Role, grammar.choice(Role)] = setting(
        REQUIRED,
        "champion: the current model, gets what is left; challenger: an alternative under comparison; "
        "canary: the next champion on trial. Each route has exactly one champion.",
    )
    weight: Percent | None = setting(
        None, "Percent of the route's units. Required for all but the champion, which must not have one."
    )
    max_weight: Percent | None = setting(
        None,
        "Percent reserved for this variant: up to here a change of its weight moves units only between it "
        "and the champion. null: an equal share of what the others of its role leave.",
    )


class Shadow(Section):
    """A model that gets copies of requests. Its answers never reach a client."""

    model: Name = setting(REQUIRED, "The model that gets the copies: a key of models.")
    percent: Percent = setting(100, "Percent of the route's units whose requests are copied.")
    timeout: Annotated[int, duration("1ms", "24h")] = setting(
        "10s", "From the copy begun to its answer complete; then it is given up and counted as failed."
    )
    max_in_flight: Annotated[int, whole(1, 65_535)] = setting(
        64, "Most copies of one worker under way; further ones are dropped and counted."
    )
    max_bytes: Annotated[int, size("1KiB", "16GiB")] = setting(
        "16MiB",
        "Most bytes of copied bodies of one worker under way; further copies are dropped and counted.",
    )
    salt: Salt | None = setting(
        None, "Text that is hashed with the unit to pick the percent; null: ROUTE/shadow/MODEL."
    )


class Compare(Section):
    """How a shadow's answer is compared with the one that the client got."""

    as_: Annotated[Method, grammar.choice(Method)] = setting(
        "auto",
        "exact: the same bytes; json: the same document, numbers within tolerance; classification: the same "
        "label; regression: numbers within tolerance; auto: what fits the answer.",
        NOW,
        alias="as",
    )
    rtol: Annotated[float, grammar.real(0, 1)] = setting(
        1e-5, "Relative tolerance: numbers agree when |a - b| <= atol + rtol * |b|.", NOW
    )
    atol: Annotated[float, grammar.real(0, 1e12)] = setting(
        1e-8, "Absolute tolerance, in the unit of the numbers that are compared.", NOW
    )
    ignore: tuple[Pointer, ...] = setting(
        [],
        "JSON pointers to what does not count; '*' stands for one key or index, '**' for any number of them.",
        NOW,
        max_length=256,
    )
    label: Label | None = setting(
        None,
        "Where the label stands: a JSON pointer, or the name of an output tensor; null: by convention.",
        NOW,
    )


class Redaction(Section):
    """What must not be written, and what is written instead. It names either json or header."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": [name], "properties": {name: {"not": {"type": "null"}}}}
                for name in ("json", "header")
            ]
        }
    )

    pointer: Pointer | None = setting(
        None,
        "JSON pointer into bodies; '*' stands for one key or index, '**' for any number of them.",
        alias="json",
    )
    header: HeaderName | None = setting(None, "Name of a request or response header.")
    action: Annotated[Literal["drop", "hash"], grammar.choice(Literal["drop", "hash"])] = setting(
        "drop",
        "drop: leave it out; hash: write a keyed hash (unit_key), so that equal values stay equal.",
    )


class Log(Section):
    """Which requests and answers of a route are written to the payload log."""

    percent: Percent = setting(0, "Percent of the route's units whose requests are logged.")
    body: Annotated[int, size("0B", "1GiB")] = setting(
        "64KiB", "Longest logged body; a longer one is cut and marked truncated."
    )
    headers: tuple[HeaderName, ...] = setting(
        [], "Request and response headers that are logged; all others are not.", max_length=128
    )
    redact: tuple[Redaction, ...] = setting([], "What is left out of records, or hashed.", max_length=256)
    salt: Salt | None = setting(
        None, "Text that is hashed with the unit to pick the percent; null: ROUTE/log."
    )


class Route(Section):
    """One kind of request: who answers, who gets a copy, what is written down."""

    name: Name = setting(REQUIRED, "Name in metrics, records and commands.")
    match: Match = setting(
        REQUIRED, "Which requests the route takes. The first route that matches a request wins."
    )
    unit: tuple[Source, ...] = setting(
        ["header:x-user-id"],
        "Who a request belongs to: the first source that is present decides. A unit stays with its variant.",
        min_length=1,
        max_length=16,
    )
    missing_unit: Annotated[Literal["random", "champion"], grammar.choice(Literal["random", "champion"])] = (
        setting(
            "random",
            "When no source is present: random draws a variant by weight, champion takes the champion.",
        )
    )
    salt: Salt | None = setting(
        None, "Text that is hashed with the unit; null: the route's name. Another salt deals all units anew."
    )
    force_secret: Annotated[SecretStr, grammar.secret(8)] | None = setting(
        None,
        "Lets a request that brings it in x-modelproxy-force-secret choose its variant by x-modelproxy-force; "
        "null: trusted peers only.",
    )
    variants: tuple[Variant, ...] = setting(
        REQUIRED,
        "Who answers: one champion, any number of challengers and canaries.",
        min_length=1,
        max_length=_MAX_VARIANTS,
    )
    shadows: tuple[Shadow, ...] = setting([], "Who gets copies.", max_length=_MAX_SHADOWS)
    compare: Compare = section("How a shadow's answer is compared with the one that the client got.")
    log: Log = section("Which requests and answers are written to the payload log.")
