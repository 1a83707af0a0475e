"""Models and routes: where answers come from, and which requests go where."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import ConfigDict, SecretStr
from pydantic.config import JsonDict

from proxy.model import Failure, Role
from proxy.settings import grammar, units
from proxy.settings.comparing import Compare
from proxy.settings.fields import REQUIRED, Section, section, setting
from proxy.settings.grammar import duration, size, text, whole
from proxy.settings.kinds import File, Name, Percent, Salt, Source
from proxy.settings.recording import Log
from proxy.settings.rollout import Rollout

__all__ = [
    "Health",
    "Match",
    "Model",
    "ModelTls",
    "Outlier",
    "Route",
    "Shadow",
    "Variant",
]

_MAX_VARIANTS = 64
_MAX_SHADOWS = 32
_MAX_URLS = 64

ModelUrl = text(units.parse_backend_url, "http[s]://host[:port][/path]", pattern=r"https?://[^?#@\s]+")
ModelUrls = Annotated[str | tuple[str, ...], grammar.one_or_many(ModelUrl, _MAX_URLS)]
CheckPath = Annotated[
    str, text(units.parse_check_path, "a path such as /v2/health/ready", pattern=units.CHECK_PATH_PATTERN)
]
PathPattern = Annotated[
    str, text(units.parse_path_pattern, "/path, or /path/* for all at and below it", pattern=r"/\S*|\*")
]
Host = Annotated[str, text(units.parse_host, "a host name or IP address, without port", longest=253)]
Methods = Annotated[
    tuple[str, ...],
    grammar.one_or_more(text(units.parse_method, "methods in capitals", pattern=units.METHOD_PATTERN), 32),
]
Protocols = Annotated[
    tuple[str, ...],
    grammar.one_or_more(
        text(units.parse_protocol, "names of protocols in lower case", pattern=units.PROTOCOL_PATTERN), 8
    ),
]
Failures = Annotated[tuple[Failure | int, ...], grammar.one_or_more(grammar.failure(), 32)]
Balance = Literal["least-loaded", "hash"]


class ModelTls(Section):
    """How connections to an https:// model are secured."""

    verify: Annotated[bool, grammar.yes_or_no()] = setting(
        True, "false: any certificate is taken. Whoever stands between can then read and answer everything."
    )
    ca: File | None = setting(
        None, "PEM file with the certificates that vouch for the model's; null: those the system trusts."
    )
    certificate: File | None = setting(
        None,
        "PEM file with the proxy's own certificate and its chain, for a model that asks for one; null: none.",
    )
    key: File | None = setting(
        None,
        "PEM file with its private key, without a passphrase; null: it stands in the certificate's file.",
    )
    server_name: Host | None = setting(
        None, "Name that the model's certificate must bear, and that it is told (SNI); null: the url's host."
    )


class Health(Section):
    """Asking a server whether it is ready, apart from the traffic."""

    path: CheckPath = setting(
        "/v2/health/ready",
        "What each server is asked for with GET, whatever path its URL has. 200 to 299 says ready.",
    )
    interval: Annotated[int, duration("10ms", "1h")] = setting(
        "5s", "From the end of one check to the next, up to a tenth more or less by chance."
    )
    timeout: Annotated[int, duration("1ms", "1m")] = setting(
        "1s", "From opening a check's connection to the head of its answer; else it has failed."
    )
    unhealthy_after: Annotated[int, whole(1, 1000)] = setting(
        3, "Failed checks in a row that take a server out. The very first check decides alone."
    )
    healthy_after: Annotated[int, whole(1, 1000)] = setting(
        2, "Passed checks in a row that bring a server back."
    )


class Outlier(Section):
    """Leaving a server out because of what became of requests. For models with several URLs."""

    consecutive: Annotated[int, whole(1, 1000)] = setting(
        5,
        "Requests in a row that a server failed (no connection, no answer or a broken one, 502, 503, 504) until it is "
        "left out.",
    )
    base_ejection_time: Annotated[int, duration("10ms", "1h")] = setting(
        "30s",
        "How long it is left out: so long the first time, twice so long the second, up to ten times. When it is back, "
        "its next failure takes it out again.",
    )
    max_ejection_percent: Percent = setting(
        50,
        "Most percent of a model's servers that are left out at once, but at least one, and never the last that is "
        "there; 0: none ever is.",
    )


class AdaptiveConcurrency(Section):
    """How many requests of one worker a model gets at once, found out from how long it takes to answer."""

    min: Annotated[int, whole(1, 10_000)] = setting(
        3, "Requests that are always let through, and no more while the time of an idle model is measured."
    )
    max: Annotated[int, whole(1, 1_000_000)] = setting(1000, "Most requests, however fast the model is.")
    buffer: Percent = setting(
        25, "Percent by which times to the first byte may rise before fewer are let through."
    )
    calibrate_every: Annotated[int, duration("1s", "24h")] = setting(
        "60s", "How often the time of an idle model is measured anew."
    )


class Model(Section):
    """Where answers come from."""

    url: ModelUrls = setting(
        REQUIRED,
        "Address of the model server; port 80 unless given, 443 for https. A path (other than /) replaces the part of "
        "the request's path that the route matched: what stands before '/*', or the whole of an exact path. A list "
        "names servers of which each is as good as the other, with one scheme and one path.",
    )
    balance: Annotated[Balance, grammar.choice(Balance)] = setting(
        "least-loaded",
        "Which of several servers gets a request: least-loaded, the one with the fewest requests of this worker; "
        "hash, always the same one for a unit as long as it is there.",
    )
    timeout: Annotated[int, duration("1ms", "24h")] = setting(
        "30s", "From the request sent to the response head complete; else 504."
    )
    idle_timeout: Annotated[int, duration("1ms", "24h")] = setting(
        "60s", "Longest gap between two pieces of a response body; then the connection is cut."
    )
    connect_timeout: Annotated[int, duration("1ms", "10m")] = setting(
        "2s", "Longest time to open a connection, TLS included; else 504."
    )
    max_connections: Annotated[int, whole(1, 65_535)] = setting(
        1024, "Most connections of one worker to each server of the model."
    )
    max_pending: Annotated[int, whole(0, 1_000_000)] = setting(
        1024,
        "Most requests of one worker that wait because all connections are busy; further ones are answered 503.",
    )
    pending_timeout: Annotated[int, duration("1ms", "24h")] = setting(
        "5s", "Longest time that a request waits because all connections are busy; else 503."
    )
    adaptive_concurrency: AdaptiveConcurrency | None = setting(
        None,
        "Lets through as many requests at once as the model answers without making them wait; others are answered 503 "
        "at once, or by the champion. null: no such limit.",
    )
    keep_alive: Annotated[int, duration("0s", "24h")] = setting(
        "30s", "An idle connection is closed after this long; choose less than the model server does."
    )
    health: Health | None = setting(
        None,
        "Asks each server whether it is ready, and sends requests to those that are; null: nobody asks.",
    )
    outlier: Outlier = section("Leaves a server that keeps failing out for a while, where there are several.")
    tls: ModelTls = section("How connections to an https:// model are secured.")

    @property
    def urls(self) -> tuple[str, ...]:
        """Every URL, in the order of the file."""
        return (self.url,) if isinstance(self.url, str) else self.url


class Match(Section):
    """Which requests a route takes."""

    path: PathPattern = setting(
        REQUIRED,
        "An exact path, or with '/*' at its end all at and below it: /a/* takes /a, /a/ and /a/b, not /ab. "
        "'*' takes every path. Compared as the request writes it, without the query.",
    )
    host: Host | None = setting(None, "Only requests for this host, whatever the port; null: any.")
    method: Methods = setting([], "Only requests with this method, or one of these; an empty list: any.")


def _given(key: str) -> JsonDict:
    return {"required": [key], "properties": {key: {"not": {"type": "null"}}}}


def _role_rule(role: Role, then: JsonDict) -> JsonDict:
    return {"if": {"required": ["role"], "properties": {"role": {"const": str(role)}}}, "then": then}


def _absent(*keys: str) -> JsonDict:
    return {"properties": {key: {"type": "null"} for key in keys}}


class Variant(Section):
    """One arm of a route: the model behind it, what it is for, and its part of the traffic."""

    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [
                _role_rule(Role.CHAMPION, _absent("weight", "max_weight", "rollout")),
                _role_rule(Role.CHALLENGER, {"allOf": [_given("weight"), _absent("rollout")]}),
                _role_rule(Role.CANARY, {"oneOf": [_given("weight"), _given("rollout")]}),
            ]
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
        None,
        "Percent of the route's units. Required for all but the champion, which must not have one, and a canary with a "
        "rollout.",
    )
    rollout: Rollout | None = setting(
        None,
        "For a canary, instead of a weight: its weight rises step by step as the evidence allows, and falls to 0 when "
        "it does harm. {}: with all defaults. null: no rollout. At most one variant of a route has one.",
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
    timeout: Annotated[int, duration("1ms", "168h")] = setting(
        "1h",
        "From the request's head complete to the last byte of its answer, retries and fallback included; else 504, or "
        "the answer is cut.",
    )
    retry: Failures = setting(
        ["connect-failure"],
        "What is sent once more to the same model, before the client got a byte of its answer: connect-failure, "
        "overflow, timeout, reset, or status codes. Beyond connect-failure the model may work twice; an empty list: "
        "nothing.",
    )
    retry_attempts: Annotated[int, whole(1, 10)] = setting(1, "Most retries of one request.")
    retry_budget: Percent = setting(
        20,
        "Percent of the route's requests in 10 s that may be retries, over 3 that always may; so that retries cannot "
        "bury a model that is down.",
    )
    fallback: Failures = setting(
        ["connect-failure", "overflow", "timeout", "reset", 502, 503, 504],
        "How a challenger or canary may fail so that the champion answers in its place, before the client got a byte. "
        "The request stays counted to its variant. An empty list: the client gets the failure.",
    )
    upgrade: Protocols = setting(
        ["websocket"],
        "Protocols that a request may switch to by Upgrade; the connection is a tunnel from then on, with its variant, "
        "and never mirrored. Others are answered as if they had not been asked for.",
    )
    shadows: tuple[Shadow, ...] = setting([], "Who gets copies.", max_length=_MAX_SHADOWS)
    compare: Compare = section("How a shadow's answer is compared with the one that the client got.")
    log: Log = section("Which requests and answers are written to the payload log.")

    @property
    def rollout_variant(self) -> Variant | None:
        """The canary with a rollout, of which a route has one at most."""
        return next((v for v in self.variants if v.rollout is not None), None)

    @property
    def takes_feedback(self) -> bool:
        """Whether feedback on its requests is evidence: its rollout has a guardrail on it."""
        canary = self.rollout_variant
        return canary is not None and canary.rollout is not None and canary.rollout.takes_feedback

    @property
    def promoted_weight(self) -> Decimal:
        """Percent that the canary with a rollout has once it is promoted: 100 less the holdback and other weights."""
        others = sum((v.weight for v in self.variants if v.weight is not None), Decimal(0))
        canary = self.rollout_variant
        holdback = (
            canary.rollout.holdback if canary is not None and canary.rollout is not None else Decimal(0)
        )
        return max(Decimal(0), 100 - holdback - others)
